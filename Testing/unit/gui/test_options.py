"""Options of the panels are those of the command line, with its defaults."""

import argparse

import pytest

from lungperfusion.__main__ import make_parser
from lungperfusion.iodine.score import AERATED_HU

MODULES = {
    "PerfusionIPv": "ipv",
    "CTVQ": "ctvq",
    "VesselBV": "vesselbv",
}


def options_of(command):
    """Option by name."""
    parser = make_parser(command)
    subparsers = next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    return {
        name: action
        for action in subparsers.choices[command]._actions
        for name in action.option_strings
    }


def command_of(panel):
    return panel.logic.command


@pytest.fixture(params=MODULES)
def panel(request, desktop, modules):
    modules(request.param)
    return desktop.select(request.param)


def test_defaults_are_those_of_the_command_line(panel):
    from lungperfusion_gui.logic import option_name

    options = options_of(panel.logic.command)
    for name in panel.logic.option_fields:
        action = options[option_name(name)]
        shown = getattr(panel.parameters, name)
        if action.default is not None:
            assert shown == action.default, name
        elif name == "windowHu":  # off unless `windowed`
            assert (shown.minimum, shown.maximum) == AERATED_HU
        if action.choices and name != "iodineUnit":
            assert shown in action.choices
    for name in panel.logic.optional_fields:
        assert options[option_name(name)].type in (float, None)
        assert getattr(panel.parameters, name) == 0.0


def test_choices_are_those_of_the_command_line(panel):
    from lungperfusion_gui.logic import option_name

    options = options_of(panel.logic.command)
    for name in panel.logic.option_fields:
        choices = options[option_name(name)].choices
        if choices and name != "iodineUnit":
            widget = getattr(panel.ui, name)
            assert {widget.itemText(n) for n in range(widget.count)} == set(choices), name


def test_every_correction_is_an_option(panel):
    options = options_of(panel.logic.command)
    others = options_of("xenon") if panel.moduleName == "CTVQ" else {}
    assert set(panel.logic.corrections.values()) <= {*options, *others}
    assert {"--corrections", "--case", "--no-report", "--out"} <= set(options)
    if panel.logic.transforms:
        assert "--transform" in options


def test_default_arguments_are_accepted(panel):
    if command_of(panel) == "ipv":
        panel.parameters.iodineUnit = "HU"
    words = panel.logic.option_words(panel.parameters)
    inputs = {"ipv": [], "ctvq": ["--expiration", "e", "--inspiration", "i"], "vesselbv": ["ct"]}
    command = panel.logic.command
    make_parser(command).parse_args([command, *inputs[command], *words, "--out", "results"])


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("defectBelowHu", "--defect-below-hu"),
        ("bsaM2", "--bsa-m2"),
        ("pao2Mmhg", "--pao2-mmhg"),
        ("fev1", "--fev1"),
        ("dlcoC", "--dlco-c"),
        ("iodineHuPerMgMl", "--iodine-hu-per-mg-ml"),
        ("zones", "--zones"),
    ],
)
def test_option_names(desktop, modules, name, option):
    modules()
    from lungperfusion_gui.logic import option_name

    assert option_name(name) == option


ELSEWHERE = {
    "--out", "--overwrite", "--help", "--quiet", "--case", "--no-report", "--corrections",
    "--keep-stages", "--keep-identifiers", "--uncompressed",  # the panel's own buttons and fields
    "--lung-mask", "--removed-lobe", "--fissure-points", "--transform", "--defects",
    # corrections and marks
    "--vessel-mask",
    "--iodine", "--low", "--high", "--contrast", "--native", "--native-lung-mask", "--ct",
    "--kv", "--trunk",
    "--clots", "--lines", "--expiration", "--inspiration", "--inspiration-lung-mask",
    "--landmarks", "--reference", "--reference-ct", "--ratings", "--arteries-veins",
    "--blood-mask",  # node selectors and their companions
    "--perfusion-map", "--perfusion-ct",  # node selectors beside perfusionSource
    "--engine",  # lungEngine and lobeEngine
}  # fmt: skip
LEFT_TO_THE_COMMAND_LINE = {
    "--series": "Slicer's DICOM module chooses the series",
    "--lobe-convention": "segments of a node have names and codes",
    "--engine-timeout-min": "the panel has Cancel",
    "--sensitivity": "a physicist's calibration",
    "--preset": "a bundle of options that the panel shows one by one",
    "--collateral-model": "a file of the command train",
    "--edges-mm2": "a table for research",
    "--soft-tissue-hu": "a physicist's calibration",
    "--rim-fraction": "the panel gives the rim in mm",
    "--subpleural-mm": "a shell of its usual thickness is always measured",
    "--grid": "the panel shows everything on one scan, the expiratory one",
    "--defect-model": "a file of the command train",
    "--healthy-bins": "a table of the user's own healthy people",
    "--reference-alignment": "the usual one is right for a reference with its CT",
    "--perfusion-from": "the panel takes the iodine volume that ipv has shown",
    "--perfusion-breath": "found by the lungs that the map fits",
    "--perfusion-blur": "usual for the kind of map",
    "--low-measured-perfusion": "the share of --low-perfusion is right for every kind",
    **{
        f"--ventilation-{name}": "measured ventilation is for the command line"
        for name in ("map", "kind", "ct", "breath", "blur")
    },
    "--low-measured-ventilation": "measured ventilation is for the command line",
    "--harmonise-mm": "for comparing scanners; it brings no gain on phantoms",
}


def test_no_option_is_forgotten(panel):
    """Every option of the command is in the panel, or it is said why not."""
    from lungperfusion_gui.logic import option_name

    logic = panel.logic
    shown = {option_name(name) for name in (*logic.option_fields, *logic.optional_fields)}
    options = {name for name in options_of(logic.command) if name.startswith("--")}
    assert options <= shown | ELSEWHERE | set(LEFT_TO_THE_COMMAND_LINE)


def test_options_of_a_first_pass_are_those_of_the_command_line(desktop, modules):
    modules("PerfusionIPv")
    panel = desktop.select("PerfusionIPv")
    from lungperfusion_gui import first_pass
    from lungperfusion_gui.logic import option_name

    options = options_of(first_pass.COMMAND)
    for name in first_pass.OPTIONS:
        assert getattr(panel.parameters, name) == options[option_name(name)].default
        assert option_name(name) in getattr(panel.ui, name).toolTip
    shown = {option_name(name) for name in first_pass.OPTIONS}
    marked = {*(f"--{name}" for name in first_pass.MARKS), "--leave-out", "--times"}
    always = {"--enhancement"}  # curves of any place come from it
    given = {name for name in options if name.startswith("--")}
    assert given <= shown | marked | always | ELSEWHERE | set(LEFT_TO_THE_COMMAND_LINE)


def test_what_plays_no_part_is_hidden_and_not_sent(desktop, modules):
    modules("PerfusionIPv")
    panel = desktop.select("PerfusionIPv")
    assert not panel.ui.kvLow.isVisibleTo(panel.parent)
    assert not panel.ui.kvLowLabel.isVisibleTo(panel.parent)
    assert "--model" not in panel.logic.option_words(panel.parameters)
    panel.ui.source.currentText = "image pair"
    assert not panel.ui.iodine.isVisibleTo(panel.parent)
    assert panel.ui.kvLow.isVisibleTo(panel.parent)
    assert panel.ui.kvLowLabel.isVisibleTo(panel.parent)
    panel.ui.selfCalibrate.checked = True
    panel.ui.windowed.checked = True
    panel.ui.removedRightMiddleLobe.checked = True
    words = " ".join(panel.logic.option_words(panel.parameters))
    assert "--model three-material" in words
    assert "--self-calibrate" in words
    assert "--window-hu -960 -600" in words
    assert "--removed-lobe right_middle_lobe" in words
    assert "--iodine-slope" not in words


def test_tooltips_name_the_option(panel):
    """The reader who wants to repeat a case on the command line finds the option's name."""
    from lungperfusion_gui.logic import option_name

    for name in (*panel.logic.option_fields, *panel.logic.optional_fields):
        assert option_name(name) in getattr(panel.ui, name).toolTip, name

"""Options of the panels are those of the command line, with its defaults."""

import argparse

import pytest

from lungperfusion.__main__ import make_parser

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
        if action.choices:
            assert shown in action.choices
    for name in panel.logic.optional_fields:
        assert options[option_name(name)].type is float
        assert getattr(panel.parameters, name) == 0.0


def test_choices_are_those_of_the_command_line(panel):
    from lungperfusion_gui.logic import option_name

    options = options_of(panel.logic.command)
    for name in panel.logic.option_fields:
        choices = options[option_name(name)].choices
        if choices:
            widget = getattr(panel.ui, name)
            assert {widget.itemText(n) for n in range(widget.count)} == set(choices), name


def test_every_correction_is_an_option(panel):
    options = options_of(panel.logic.command)
    assert set(panel.logic.corrections.values()) <= set(options)
    assert {"--corrections", "--case", "--no-report", "--out"} <= set(options)
    if panel.logic.transform:
        assert "--transform" in options


def test_default_arguments_are_accepted(panel):
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


def test_tooltips_name_the_option(panel):
    """The reader who wants to repeat a case on the command line finds the option's name."""
    from lungperfusion_gui.logic import option_name

    for name in (*panel.logic.option_fields, *panel.logic.optional_fields):
        assert option_name(name) in getattr(panel.ui, name).toolTip, name

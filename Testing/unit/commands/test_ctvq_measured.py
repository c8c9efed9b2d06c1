"""``lungperfusion ctvq --perfusion-map``: files in, refusals before anything is read."""

from __future__ import annotations

import numpy as np
import pytest

from lungperfusion.__main__ import main, make_parser
from lungperfusion.commands.measured_arguments import read_measured
from lungperfusion.errors import InputError
from lungperfusion.io import results_folder, write_volume
from lungperfusion.measurement import measured
from lungperfusion.results.analysis import Analysis
from lungperfusion.results.provenance import Provenance
from lungperfusion.results.writing import write_results
from lungperfusion.volume import Geometry, Labelmap, Volume

GRID = Geometry.axial((3, 4, 5), (2.0, 2.0, 2.0))
BASE = ("ctvq", "--expiration", "e.nrrd", "--inspiration", "i.nrrd", "-o", "out")


def arguments(*words):
    return make_parser("ctvq").parse_args([*BASE, *map(str, words)])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--perfusion-map", "q.nrrd"), "say what --perfusion-map shows: --perfusion-kind iodine"),
        (("--perfusion-kind", "spect"), "--perfusion-kind says something of --perfusion-map"),
        (("--ventilation-breath", "expiration"), "says something of --ventilation-map"),
        (("--perfusion-from", "r", "--perfusion-map", "q"), "leave out --perfusion-map"),
        (("--perfusion-from", "r", "--perfusion-kind", "iodine"), "leave out --perfusion-kind"),
        (("--perfusion-from", "r", "--perfusion-blur", "90"), "a width of 0 to 40 mm, not 90"),
        (("--low-measured-perfusion", "0"), "a share of the mean between 0 and 2, not 0"),
    ],
)
def test_what_does_not_belong_together_is_refused_first(words, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main([*BASE, *words, "--quiet"]) == 2
    lines = capsys.readouterr().err
    assert lines.count("\n") == 1
    assert said in lines
    assert not list(tmp_path.iterdir())


def iodine_results(folder, **changes):
    lungs = np.zeros(GRID.shape, np.uint8)
    lungs[:, 1:3], lungs[:, 1:3, 3:] = 1, 2
    out = np.zeros(GRID.shape, np.uint8)
    out[1, 1, 1] = 1
    kept = {
        "module": "ipv",
        "measurements": (measured("lungs", "ipv", 98.0, "sum"),),
        "gates": (),
        "maps": {"iodine": Volume(np.full(GRID.shape, 1.5, np.float32), GRID, "mg/mL")},
        "labelmaps": {
            "lungs": Labelmap(lungs, GRID, {1: "left_lung", 2: "right_lung"}),
            "exclusions": Labelmap(out, GRID, {1: "streak"}),
        },
    }
    analysis = Analysis(**{**kept, **changes})
    with results_folder(folder) as temporary:
        write_results(
            temporary, [analysis], case="c", provenance=Provenance(inputs=()), report=False
        )
    return folder


def test_results_bring_lungs_exclusions_and_unit(tmp_path):
    folder = iodine_results(tmp_path / "ipv")
    found, scans = read_measured(
        arguments("--perfusion-from", folder, "--perfusion-breath", "expiration")
    )
    assert found.ventilation is None
    image = found.perfusion.image
    assert (found.perfusion.kind, found.perfusion.breath) == ("iodine", "expiration")
    assert image.unit == "mg/mL"
    assert not image.valid[1, 1, 1]
    assert image.valid.sum() == 3 * 2 * 5 - 1
    assert set(scans) == {"perfusion_map"}


def test_results_without_iodine_are_refused(tmp_path):
    folder = iodine_results(tmp_path / "other", maps={})
    with pytest.raises(
        InputError, match="other holds no iodine map with its lungs; give a results"
    ):
        read_measured(arguments("--perfusion-from", folder))


def test_xenon_says_nothing_where_there_was_no_gas(tmp_path):
    values = np.ones(GRID.shape, np.float32)
    values[0] = 0
    write_volume(Volume(values, GRID, "1"), tmp_path / "xe.nrrd")
    words = ("--perfusion-map", tmp_path / "xe.nrrd", "--perfusion-kind")
    xenon = read_measured(arguments(*words, "xenon"))[0].perfusion
    assert not xenon.image.valid[0].any()
    assert xenon.image.valid[1:].all()
    other = read_measured(arguments(*words, "other"))[0].perfusion.image.valid
    assert other is None or other.all()

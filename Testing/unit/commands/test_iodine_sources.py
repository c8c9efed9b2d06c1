"""Units, voltages and quantities: what the header says is used, or contradicted in a sentence."""

from __future__ import annotations

import json
from argparse import Namespace

import numpy as np
import pytest

from lungperfusion.__main__ import main
from lungperfusion.acquisition import Acquisition
from lungperfusion.commands import iodine_sources
from lungperfusion.commands.iodine_sources import (
    _read_in_its_unit,
    _require_order,
    _voltages,
)
from lungperfusion.errors import InputError
from lungperfusion.io import Scan, write_volume
from lungperfusion.resampling import resample_volume
from lungperfusion.volume import Geometry, Volume

GEOMETRY = Geometry.axial((3, 3, 3), (1.0, 1.0, 1.0))


def scan_in(unit, description="Iodine", **facts):
    volume = Volume(np.ones(GEOMETRY.shape, np.float32), GEOMETRY, "mg/mL")
    return Scan(
        volume,
        Acquisition(rescale_unit=unit or None, **facts),
        "map",
        "0" * 64,
        identifiers={"SeriesDescription": description},
    )


@pytest.fixture
def reading(monkeypatch):
    """Read a map whose header says something, with options."""

    def read(scan, unit=None, slope=1.0, offset=0.0):
        monkeypatch.setattr(iodine_sources, "read_map", lambda *_, **__: scan)
        options = Namespace(
            iodine="map", iodine_unit=unit, iodine_slope=slope, iodine_offset=offset
        )
        return _read_in_its_unit(options, lambda *_: None)

    return read


@pytest.mark.parametrize("unit", ["MGML", "UG/ML", "HU"])
def test_the_unit_of_the_header_is_enough(reading, unit):
    assert reading(scan_in(unit)).acquisition.rescale_unit == unit


@pytest.mark.parametrize("unit", ["", "US"])
def test_no_unit_is_never_guessed(reading, unit):
    with pytest.raises(InputError, match="does not state the unit of its iodine"):
        reading(scan_in(unit))
    assert reading(scan_in(unit), unit="mg/mL", slope=0.1).name == "map"


@pytest.mark.parametrize(
    ("scan", "quantity"),
    [
        (scan_in("Z_EFF"), "effective atomic numbers"),
        (scan_in("EDW"), "electron densities"),
        (scan_in("G/ML"), "something in G/ML"),
        (scan_in("US", image_type=("DERIVED", "PRIMARY", "AXIAL", "EFF_ATOMIC_NUM")), "effective"),
        (scan_in("", description="Rho/Z Thorax"), "electron density"),
    ],
)
@pytest.mark.parametrize("unit", [None, "mg/mL"])
def test_other_quantities_are_no_iodine(reading, scan, quantity, unit):
    with pytest.raises(InputError, match=f"{quantity}.* by its header, no iodine"):
        reading(scan, unit=unit)


def test_a_unit_that_contradicts_the_header_is_refused(reading):
    with pytest.raises(InputError, match="--iodine-unit says mg/mL, the header of map says UG/ML"):
        reading(scan_in("UG/ML"), unit="mg/mL")
    with pytest.raises(InputError, match="is converted from UG/ML"):
        reading(scan_in("UG/ML"), slope=0.001)
    assert reading(scan_in("MGML"), slope=0.1).name == "map"


def voltages(kv, *facts):
    return _voltages(Namespace(kv=kv), facts)


LOW, HIGH, TIN = Acquisition(kvp=80), Acquisition(kvp=140), Acquisition(kvp=140, tin_filter=True)


def test_voltages_of_the_header_and_their_filter():
    assert voltages(None, LOW, HIGH) == ("80", "140")
    assert voltages(None, LOW, TIN) == ("80", "140Sn")
    assert voltages(["80", "140Sn"], LOW, HIGH) == ("80", "140Sn"), "headers seldom name tin"
    assert voltages(["80", "140Sn"], Acquisition(), Acquisition()) == ("80", "140Sn")


@pytest.mark.parametrize(
    ("kv", "facts", "sentence"),
    [
        (["100", "140"], (LOW, HIGH), "--kv says 100 kV, the header of the file says 80 kV"),
        (["80", "150Sn"], (LOW, HIGH), "--kv says 150Sn kV, the header of the file says 140 kV"),
        (["80", "140"], (LOW, TIN), "--kv says 140 kV, the header of the file says 140Sn kV"),
        (None, (LOW, Acquisition()), "tube voltages are not in the files"),
    ],
)
def test_voltages_that_contradict_the_header_are_refused(kv, facts, sentence):
    with pytest.raises(InputError, match=sentence):
        voltages(kv, *facts)


def test_order_and_kind_by_the_header():
    _require_order(LOW, HIGH)
    _require_order(Acquisition(), HIGH)
    with pytest.raises(InputError, match="wrong way round: their headers say 140 and 80 kV"):
        _require_order(HIGH, LOW)
    with pytest.raises(InputError, match="--high is a virtual monoenergetic one of 190 keV"):
        _require_order(LOW, Acquisition(kvp=140, monoenergetic_kev=190.0))


def run_on_map(folder, image, ct):
    """Values and gates of the command on a map in HU that states no sensitivity."""
    write_volume(image, folder / "map.nrrd")
    write_volume(ct, folder / "ct.nrrd")
    words = ["ipv", "--iodine", str(folder / "map.nrrd"), "--iodine-unit", "HU"]
    words += ["--ct", str(folder / "ct.nrrd"), "--no-report", "--quiet", "-o", str(folder / "out")]
    assert main(words) == 0
    analysis = json.loads((folder / "out" / "results.json").read_text())["analyses"][0]
    values = {row["measure"]: row for row in analysis["measurements"] if row["region"] == "lungs"}
    return values, {gate["id"]: gate for gate in analysis["quality_gates"]}


@pytest.mark.parametrize(("mark", "regrid"), [(-1024, False), (0, False), (-1000, True)])
def test_what_a_vendor_cut_out_is_left_out_and_said(chest, tmp_path, mark, regrid):
    lungs = chest.truth.lungs.array > 0
    rng = np.random.default_rng(1)
    iodine = np.where(lungs, 30 + rng.normal(0, 5, lungs.shape), mark).round()
    iodine[lungs & (chest.ct.array > -750)] = mark
    stored = chest.ct.with_array(iodine.astype(np.int16))
    if regrid:
        finer = chest.ct.geometry.with_spacing((3.1, 3.3, 3.7))
        stored = resample_volume(stored, finer, interpolation="nearest", fill=mark)
    values, gates = run_on_map(tmp_path, stored, chest.ct)
    assert values["iodine_mean"]["value"] == pytest.approx(30, abs=0.3)
    assert "were not stated" in values["iodine_mean"]["reason"]
    assert values["iodine_relative"]["status"] == "ok"
    assert 0.3 < gates["iodine_map_coverage"]["value"] < 0.97
    assert gates["iodine_level"]["verdict"] == "pass"
    assert "were not stated" in values["iodine_mass"]["reason"]


def test_a_ct_given_as_an_iodine_map_cannot_be_ok(chest, tmp_path):
    values, gates = run_on_map(tmp_path, chest.ct, chest.ct)
    assert gates["iodine_map_coverage"]["verdict"] == "fail"
    assert values["ipv"]["status"] != "ok"

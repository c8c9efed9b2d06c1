"""Maps and signals of a scanner as DICOM: place, values, parts of the complex signal, refusals."""

from __future__ import annotations

import csv
import shutil
import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
from highdicom.sr.coding import CodedConcept
from mr_files import LEVELS, write_enhanced_mr, write_mr
from pydicom.dataset import Dataset

from lungperfusion.__main__ import main
from lungperfusion.errors import InputError
from lungperfusion.io import read_ct, read_map, write_volume
from lungperfusion.io.xenon.maps import (
    Placement,
    mask_of,
    read_complex,
    read_xenon_map,
    read_xenon_mask,
    values_of,
)
from lungperfusion.orientation import as_stored, axial
from lungperfusion.volume import Geometry, Volume
from lungperfusion.xenon.orienting import grid_of_field

GRID = grid_of_field((12, 20, 16), (160.0, 200.0, 180.0), "coronal")
RNG = np.random.default_rng(3)
RATIO = RNG.uniform(0.001, 0.010, GRID.shape)
SIGNAL = RNG.normal(0, 900, GRID.shape) + 1j * RNG.normal(0, 900, GRID.shape)
"""Also below the value that stands for padding in other maps."""


def mapped(slope: float, intercept: float, unit: str):
    """Give every slice a Real World Value Mapping."""

    def edit(data: Dataset, _: object) -> None:
        mapping, code = Dataset(), Dataset()
        mapping.RealWorldValueSlope, mapping.RealWorldValueIntercept = slope, intercept
        code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = unit, "UCUM", unit
        mapping.MeasurementUnitsCodeSequence = [code]
        data.RealWorldValueMappingSequence = [mapping]

    return edit


def philips(scale: float, data: Dataset, _: object) -> None:
    block = data.private_block(0x2005, "Philips MR Imaging DD 001", create=True)
    block.add_new(0x0E, "FL", scale)


def same_voxels(scan, array, geometry=GRID, *, within):
    """Whatever way the reader stacks the slices."""
    expected = axial(Volume(np.asarray(array, np.float32), geometry, "1"))
    found = axial(Volume(np.asarray(scan.volume.array, np.float32), scan.volume.geometry, "1"))
    assert found.geometry.same_as(expected.geometry)
    np.testing.assert_allclose(found.array, expected.array, atol=within)


@pytest.mark.parametrize("how", ["folder", "file", "zip", "enhanced"])
def test_a_map_lies_where_dicom_says(tmp_path, how):
    folder = write_mr(RATIO, GRID, tmp_path / "map")
    path = {
        "folder": lambda: folder,
        "file": lambda: next(folder.iterdir()),
        "zip": lambda: Path(shutil.make_archive(str(tmp_path / "map"), "zip", folder)),
        "enhanced": lambda: write_enhanced_mr({"MAGNITUDE": RATIO}, GRID, tmp_path / "e.dcm"),
    }[how]()
    scan = read_xenon_map(path)

    same_voxels(scan, RATIO, within=np.ptp(RATIO) / LEVELS)
    assert scan.acquisition.modality == "MR"
    assert scan.volume.geometry.spacing_ijk_mm == pytest.approx((10.0, 10.0, 15.0))
    assert scan.warnings == ()


def test_a_real_world_value_mapping_wins_over_the_rescale_slope(tmp_path):
    whole = np.rint(RATIO * 1e5).astype(np.uint16)
    edit = mapped(1e-3, 0.0, "%")
    scan = read_xenon_map(write_mr(whole, GRID, tmp_path / "a", scale=(7.0, 3.0), edit=edit))
    same_voxels(scan, RATIO, within=6e-6)  # a thousandth of a per cent, as a fraction
    assert "in %" in " ".join(scan.warnings)

    enhanced = write_enhanced_mr(
        {"MIXED": RATIO}, GRID, tmp_path / "e.dcm", edit=mapped(2.0, 1.0, "1")
    )
    doubled = read_xenon_map(enhanced).volume.array
    assert doubled.min() == 1.0
    assert doubled.max() == pytest.approx(1 + 2 * LEVELS)

    def half(data, k):
        if k % 2:
            edit(data, k)

    with pytest.raises(
        InputError, match=r"some slices .* Real World Value Mapping and others none"
    ):
        read_xenon_map(write_mr(RATIO, GRID, tmp_path / "b", edit=half))


def test_a_private_scale_is_said_and_taken_out_of_signals_only(tmp_path):
    scan = read_xenon_map(write_mr(RATIO, GRID, tmp_path / "map", edit=partial(philips, 0.02)))
    same_voxels(scan, RATIO, within=np.ptp(RATIO) / LEVELS)
    assert (
        "private scale of Philips, element (2005,100E), of 0.02, which was not applied"
        in scan.warnings[0]
    )

    parts = []
    for name, scale in (("R", 0.5), ("I", 4.0)):  # each series is stretched for itself
        part = SIGNAL.real if name == "R" else SIGNAL.imag
        whole = np.rint((part + 4096) * scale).astype(np.uint16)
        folder = tmp_path / name
        kind = ("ORIGINAL", "PRIMARY", f"{name}_FFE", name)
        rescale = (2.0, -4096 * scale * 2.0)
        parts.append(
            write_mr(
                whole, GRID, folder, image_type=kind, scale=rescale, edit=partial(philips, scale)
            )
        )
    scan = read_complex(parts)
    same_voxels(_real(scan), SIGNAL.real, within=1.1)
    same_voxels(_imaginary(scan), SIGNAL.imag, within=0.2)
    assert "taken out of the signal" in " ".join(scan.warnings)


def _real(scan):
    return _with(scan, scan.volume.array.real)


def _imaginary(scan):
    return _with(scan, scan.volume.array.imag)


def _with(scan, array):
    return replace(scan, volume=Volume(array, scan.volume.geometry, "1"))


STEP = 2 * 4000 / LEVELS


def ge(data: Dataset, number: int) -> None:
    block = data.private_block(0x0043, "GEMS_PARM_01", create=True)
    block.add_new(0x2F, "SS", number)


KINDS = {
    "Siemens": {name: ("ORIGINAL", "PRIMARY", name, "DIS2D") for name in "RI"},
    "Philips": {name: ("ORIGINAL", "PRIMARY", f"{name}_FFE", name, "FFE") for name in "RI"},
    "GE": {name: ("ORIGINAL", "PRIMARY", "OTHER") for name in "RI"},
}


@pytest.mark.parametrize("vendor", KINDS)
def test_real_and_imaginary_part_are_told_apart(tmp_path, vendor):
    """In one folder: two series, but one of Philips."""
    for number, name in enumerate("RI", 2):
        write_mr(
            {"R": SIGNAL.real, "I": SIGNAL.imag}[name],
            GRID,
            tmp_path / ("gas" if vendor != "GE" else name),
            image_type=KINDS[vendor][name],
            edit=(lambda data, _, number=number: ge(data, number)) if vendor == "GE" else None,
            series="1.2.77" if vendor == "Philips" else f"1.2.{number}",
        )
    scan = read_complex([tmp_path / "I", tmp_path / "R"] if vendor == "GE" else [tmp_path / "gas"])
    same_voxels(_real(scan), SIGNAL.real, within=STEP)
    same_voxels(_imaginary(scan), SIGNAL.imag, within=STEP)


def test_one_enhanced_object_holds_both_parts(tmp_path):
    both = {"IMAGINARY": SIGNAL.imag, "REAL": SIGNAL.real}
    scan = read_complex([write_enhanced_mr(both, GRID, tmp_path / "gas.dcm")])
    same_voxels(_real(scan), SIGNAL.real, within=STEP)
    same_voxels(_imaginary(scan), SIGNAL.imag, within=STEP)


@pytest.mark.parametrize(
    ("scale", "steps_of_pi", "edit"),
    [
        ((2.0, -4096.0), 4096, None),  # Siemens
        ((1.0, 0.0), 2048, None),  # 12 bits around their middle
        ((np.pi / 2048 * 1000, -1000 * np.pi), 1000 * np.pi, None),  # Philips: milliradians
        ((1.0, 0.0), 2048, mapped(np.pi / 4096, -np.pi / 2, "rad")),  # half a turn, said
    ],
)
def test_magnitude_and_phase_make_the_signal(tmp_path, scale, steps_of_pi, edit):
    phase = np.angle(SIGNAL) / (1 if edit is None else 2)
    whole = np.rint((np.angle(SIGNAL) / np.pi + 1) * 2048).clip(0, 4095).astype(np.uint16)
    write_mr(np.abs(SIGNAL), GRID, tmp_path / "gas")
    write_mr(
        whole,
        GRID,
        tmp_path / "gas",
        image_type=("ORIGINAL", "PRIMARY", "P", "DIS2D"),
        scale=scale,
        edit=edit,
    )
    scan = read_complex([tmp_path / "gas"])
    expected = np.abs(SIGNAL) * np.exp(1j * phase)
    same_voxels(_real(scan), expected.real, within=8.0)
    same_voxels(_imaginary(scan), expected.imag, within=8.0)


def test_signals_of_other_files_are_no_padding_either(tmp_path):
    for name, part in (("real", SIGNAL.real), ("imag", SIGNAL.imag)):
        write_volume(Volume(part.astype(np.float32), GRID, "1"), tmp_path / f"{name}.nrrd")
    scan = read_complex([tmp_path / "real.nrrd", tmp_path / "imag.nrrd"])
    assert (scan.volume.array == SIGNAL.astype(np.complex64)).all()


def test_what_is_refused_says_what_was_found(tmp_path):
    phase = ("ORIGINAL", "PRIMARY", "P", "DIS2D")
    magnitude = write_mr(np.abs(SIGNAL), GRID, tmp_path / "m")
    alone = write_mr(np.angle(SIGNAL), GRID, tmp_path / "p", image_type=phase)
    short = write_mr(0.1 * np.angle(SIGNAL), GRID, tmp_path / "short", image_type=phase)
    unsaid = write_mr(RATIO, GRID, tmp_path / "unsaid", image_type=("DERIVED", "PRIMARY"))
    ct = write_mr(RATIO, GRID, tmp_path / "ct", modality="CT")
    two = tmp_path / "two"
    for name in ("1.2.5", "1.2.6"):
        write_mr(RATIO, GRID, two, series=name)
    few = write_mr(RATIO[:2], Geometry((2, *GRID.shape[1:]), GRID.ijk_to_ras), tmp_path / "few")
    for read, match in (
        (lambda: read_xenon_map(alone), "expected, but the DICOM images are 12 slice.s. phase"),
        (lambda: read_xenon_map(ct), "DICOM images are CT, not MR"),
        (lambda: read_xenon_map(two), "2 MR series of the same kind .12, 12 slices"),
        (lambda: read_xenon_map(few), "longest MR series has 2 slice"),
        (lambda: read_xenon_map(unsaid, Placement(field_mm=(160.0,) * 3)), "leave --fov-mm"),
        (lambda: read_complex([magnitude]), "found: 12 slice.s. magnitude"),
        (lambda: read_complex([unsaid, alone]), "of no part that is named, 12 slice.s. phase"),
        (lambda: read_complex([magnitude, short]), "neither radians nor the scale of a vendor"),
        (lambda: read_complex([magnitude, tmp_path / "a.nrrd"]), "no file or folder"),
    ):
        with pytest.raises(InputError, match=match):
            read()


def test_magnitude_is_taken_beside_its_phase(tmp_path):
    write_mr(np.abs(SIGNAL), GRID, tmp_path / "gas")
    write_mr(np.angle(SIGNAL), GRID, tmp_path / "gas", image_type=("ORIGINAL", "PRIMARY", "P"))
    scan = read_xenon_map(tmp_path / "gas")
    same_voxels(scan, np.abs(SIGNAL), within=STEP)
    assert scan.warnings == ("12 slice(s) of other parts of the complex signal left out",)


def test_mr_is_no_ct(tmp_path):
    folder = write_mr(RATIO, GRID, tmp_path / "map")
    with pytest.raises(InputError, match="MR, not CT"):
        read_ct(folder)
    for unit in ("HU", "mg/mL"):
        with pytest.raises(InputError, match="is of MR, whose values are never in"):
            read_map(folder, unit=unit)


def test_a_mask_of_the_same_voxels_may_be_stored_otherwise(tmp_path):
    """Turned round by a converter, or as DICOM SEG with its own slices only."""
    inside = np.zeros(GRID.shape, np.bool_)
    inside[3:8, 4:15, 3:9] = True
    turned = axial(Volume(inside.astype(np.float32), GRID, "1"))
    map_of = read_xenon_map(write_mr(RATIO, GRID, tmp_path / "map"))
    scan = replace(map_of, volume=turned)
    assert (mask_of(scan, GRID) == inside).all()
    assert np.array_equal(values_of(scan, GRID, "mask"), inside)

    seg = read_xenon_mask(_seg(tmp_path, inside))
    assert seg.volume.array.size < inside.size
    found = mask_of(seg, map_of.volume.geometry)
    expected = as_stored(turned, map_of.volume.geometry).array > 0
    assert np.array_equal(found, expected)

    apart = Geometry(GRID.shape, GRID.ijk_to_ras + np.eye(4, k=3) * 2.5)
    with pytest.raises(InputError, match="maps and mask of the xenon MRI"):
        mask_of(replace(scan, volume=Volume(inside.astype(np.float32), apart, "1")), GRID)


def _seg(tmp_path, inside):
    slices = [pydicom.dcmread(path) for path in (tmp_path / "map").iterdir()]
    slices.sort(key=lambda data: data.InstanceNumber)
    described = highdicom.seg.SegmentDescription(
        segment_number=1,
        segment_label="lungs",
        segmented_property_category=CodedConcept("123037004", "SCT", "Anatomical Structure"),
        segmented_property_type=CodedConcept("39607008", "SCT", "Lung"),
        algorithm_type="MANUAL",
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        seg = highdicom.seg.Segmentation(
            slices,
            inside.astype(np.uint8),
            "BINARY",
            [described],
            *("2.25.44", 1, "2.25.45", 1, "m", "m", "1", "1"),
        )
        seg.save_as(tmp_path / "lungs.dcm")
    return tmp_path / "lungs.dcm"


def test_the_command_takes_dicom_for_every_image(files, xenon, tmp_path, capsys):
    given = {"rbc-gas": xenon.rbc_gas, "ventilation": xenon.ventilation, "mask": xenon.mask}
    words = files.words("--no-report", maps=("rbc-gas", "ventilation"))
    for name, array in given.items():
        folder = write_mr(np.nan_to_num(array).astype(float), xenon.geometry, tmp_path / name)
        words[words.index(f"--{name}") + 1] = str(folder)
    assert main([*words, "-o", str(tmp_path / "r")]) == 0
    with (tmp_path / "r" / "measurements.csv").open(encoding="utf-8") as stream:
        found = {(row["region"], row["measure"]): row["value"] for row in csv.DictReader(stream)}
    mean = 100 * float(np.nanmean(xenon.rbc_gas[xenon.mask]))
    assert float(found["lungs", "xe_rbc_gas"]) == pytest.approx(mean, rel=0.03)
    volume_ml = xenon.mask.sum() * xenon.geometry.voxel_volume_ml
    assert float(found["lungs", "xe_volume"]) == pytest.approx(volume_ml, rel=1e-5)
    assert float(found["right_lower_zone", "xe_volume"]) > 50

    words[words.index("--ct") + 1] = str(tmp_path / "rbc-gas")
    assert main([*words, "-o", str(tmp_path / "refused")]) == 2
    assert "MR, not CT" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "refused").exists()

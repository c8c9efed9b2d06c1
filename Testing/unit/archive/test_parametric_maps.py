"""Maps come back from DICOM with the same numbers, whoever reads them."""

from __future__ import annotations

import highdicom
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from archive_support import (
    GRID,
    faults,
    make_analysis,
    on_grid,
    read_json,
    run_program,
    write_archive,
    written_sagittal,
)

from lungperfusion.io import read_map, read_segmentation
from lungperfusion.terms.archive import DYNAMIC, quantity

NAMES = ("iodine", "perfusion")


@pytest.fixture(scope="module")
def inside(study) -> np.ndarray:
    return read_segmentation(study.results / "lungs.seg.nrrd").array > 0


def values_of(path) -> np.ndarray:
    """Values in the order of the grid, slices from foot to head, as highdicom reads them."""
    made = highdicom.pm.ParametricMap.from_file(path)
    frames = made.get_frames(apply_real_world_transform=False, dtype=np.float32)
    groups = made.PerFrameFunctionalGroupsSequence
    heights = [g.PlanePositionSequence[0].ImagePositionPatient[2] for g in groups]
    return np.asarray(frames)[np.argsort(heights)]


@pytest.mark.parametrize("name", NAMES)
def test_highdicom_reads_the_same_numbers(study, inside, name):
    original = read_map(study.results / f"{name}.nrrd", unit="1").volume.array
    values = values_of(study.objects / f"map_{name}.dcm")

    assert values.dtype == np.float32
    known = np.isfinite(values)
    np.testing.assert_array_equal(values[known], original[known])
    assert known.any()
    assert not known[~inside].any()
    assert known[inside].all()


@pytest.mark.parametrize("name", NAMES)
def test_dcmqi_reads_the_same_numbers(study, tmp_path, name):
    words = ["--inputDICOM", study.objects / f"map_{name}.dcm", "--outputDirectory", tmp_path]
    run_program("paramap2itkimage", *words, "--outputType", "nrrd")

    image = sitk.ReadImage(str(tmp_path / "pmap.nrrd"))
    values = sitk.GetArrayFromImage(image)
    np.testing.assert_array_equal(values, values_of(study.objects / f"map_{name}.dcm"))
    np.testing.assert_allclose(image.GetOrigin(), (-87.5, -91.25, -140.625))
    np.testing.assert_allclose(image.GetSpacing(), GRID.spacing_ijk_mm)
    record = read_json(tmp_path / "meta.json")
    assert record["QuantityValueCode"]["CodeValue"] == f"{name}_map"
    assert record["QuantityValueCode"]["CodingSchemeDesignator"] == "99LUNGPERF"
    unit = {"iodine": "mg/ml", "perfusion": "1"}[name]
    assert record["MeasurementUnitsCode"]["CodeValue"] == unit


def test_dcmqi_puts_maps_of_other_orientation_in_their_place(tmp_path):
    volume, objects = written_sagittal(tmp_path)
    words = ["--inputDICOM", objects / "map_iodine.dcm", "--outputDirectory", tmp_path]
    run_program("paramap2itkimage", *words, "--outputType", "nrrd")

    image = read_map(tmp_path / "pmap.nrrd", unit="mg/mL").volume
    iodine = make_analysis(volume).maps["iodine"].array
    values = on_grid(np.where(image.valid, image.array, np.nan), image.geometry, volume.geometry)
    known = np.isfinite(values)
    assert known.any()
    np.testing.assert_array_equal(values[known], iodine[known])


@pytest.mark.parametrize("name", NAMES)
def test_dciodvfy_finds_no_error(study, name):
    assert faults(study.objects / f"map_{name}.dcm") == []


def test_zero_may_stand_outside_the_lungs(study, inside, tmp_path):
    objects = write_archive(tmp_path / "objects", study.results, study.source, outside=0.0)
    values = values_of(objects / "map_iodine.dcm")

    assert (values[~inside] == 0).all()
    assert (values[inside] != 0).all()


def test_maps_are_marked_as_research(study):
    made = pydicom.dcmread(study.objects / "map_iodine.dcm", stop_before_pixels=True)

    assert made.ContentQualification == "RESEARCH"
    assert made.ContentLabel == "IODINE"
    shared = made.SharedFunctionalGroupsSequence[0]
    anatomy = shared.FrameAnatomySequence[0]
    assert anatomy.AnatomicRegionSequence[0].CodeValue == "39607008"
    assert anatomy.FrameLaterality == "B"
    window = shared.FrameVOILUTSequence[0]
    assert (window.WindowCenter, window.WindowWidth) == (2.5, 5.0)


@pytest.mark.parametrize(
    "name", ["iodine", "ventilation", "perfusion", "vq_ratio", "jacobian", "rbc_gas", "new_thing"]
)
def test_no_map_of_a_still_scan_claims_to_be_flow(name):
    what = quantity(name)

    assert what.code.scheme == "99LUNGPERF"
    assert what.code.value not in {code.value for code in DYNAMIC.values()}
    assert ("surrogate" in what.code.meaning) == (name in {"perfusion", "ventilation", "vq_ratio"})


def test_flow_of_a_dynamic_study_has_the_public_code():
    assert str(quantity("pulmonary_flow").code) == "DCM^126390^Absolute Regional Blood Flow"

"""Label maps come back from DICOM as they were, whoever reads them."""

from __future__ import annotations

import json

import numpy as np
import pydicom
import pytest
from archive_support import (
    GRID,
    faults,
    make_analysis,
    masks_of,
    on_grid,
    read_json,
    run_program,
    write_archive,
    write_enhanced_source,
    write_measured,
    write_source,
    written_sagittal,
)
from pydicom.uid import generate_uid

from lungperfusion.io import read_ct, read_labelmap, read_segmentation
from lungperfusion.results.corrections import corrected_names
from lungperfusion.terms import LOBES, STRUCTURES
from lungperfusion.volume import Geometry

ALL = ("perfusion_defects", "lobes", "lungs", "vessels", "vq_classes")


def require_equal(masks, path):
    original = read_segmentation(path)
    assert set(masks) == set(original.names.values())
    for name, mask in masks.items():
        np.testing.assert_array_equal(mask, original.mask(name))


@pytest.mark.parametrize("name", ALL)
def test_highdicom_reads_the_same_voxels(study, name):
    masks = masks_of(study.objects / f"seg_{name}.dcm")

    require_equal(masks, study.results / f"{name}.seg.nrrd")


@pytest.mark.parametrize("name", ["lobes", "vessels"])
def test_dcmqi_reads_the_same_voxels(study, tmp_path, name):
    words = ["--inputDICOM", study.objects / f"seg_{name}.dcm", "--outputDirectory", tmp_path]
    run_program("segimage2itkimage", *words, "--outputType", "nrrd", "--prefix", "s")

    masks = {}
    for (record,) in read_json(tmp_path / "s-meta.json")["segmentAttributes"]:
        image = read_labelmap(tmp_path / f"s-{record['labelID']}.nrrd")
        masks[record["TrackingIdentifier"]] = on_grid(image.array > 0, image.geometry)
    require_equal(masks, study.results / f"{name}.seg.nrrd")


def test_own_reader_takes_the_lobes_back(study):
    read = read_labelmap(study.objects / "seg_lobes.dcm")
    original = read_segmentation(study.results / "lobes.seg.nrrd")

    assert [s.name for s in read.segments] == [STRUCTURES[lobe].title for lobe in LOBES]
    assert {s.modifier for s in read.segments} == {"SCT^7771000^Left", "SCT^24028007^Right", ""}
    for segment, lobe in zip(read.segments, LOBES, strict=True):
        mask = on_grid(read.mask(segment), read.geometry)
        np.testing.assert_array_equal(mask, original.mask(lobe))


def test_segments_have_codes_sides_colours_and_stable_uids(study):
    lungs = pydicom.dcmread(study.objects / "seg_lungs.dcm")
    left, right = lungs.SegmentSequence
    defect = pydicom.dcmread(study.objects / "seg_perfusion_defects.dcm").SegmentSequence[0]

    kind = left.SegmentedPropertyTypeCodeSequence[0]
    assert (kind.CodeValue, kind.CodingSchemeDesignator) == ("39607008", "SCT")
    assert kind.SegmentedPropertyTypeModifierCodeSequence[0].CodeMeaning == "Left"
    assert left.SegmentAlgorithmType == "AUTOMATIC"
    assert left.TrackingID == "left_lung"
    assert left.TrackingUID == generate_uid(
        entropy_srcs=["tracked", "2.25.1", "2.25.2", "left_lung"]
    )
    assert left.RecommendedDisplayCIELabValue != right.RecommendedDisplayCIELabValue
    kind = defect.SegmentedPropertyTypeCodeSequence[0]
    assert (kind.CodeValue, kind.CodingSchemeDesignator) == ("perfusion_defect", "99LUNGPERF")
    assert defect.SegmentedPropertyCategoryCodeSequence[0].CodeValue == "49755003"
    assert defect.AnatomicRegionSequence[0].CodeValue == "39607008"


def test_colours_are_those_of_the_project(study, tmp_path):
    words = ["--inputDICOM", study.objects / "seg_lungs.dcm", "--outputDirectory", tmp_path]
    run_program("segimage2itkimage", *words, "--outputType", "nrrd", "--prefix", "s")

    for (record,) in read_json(tmp_path / "s-meta.json")["segmentAttributes"]:
        colour = STRUCTURES[record["TrackingIdentifier"]].colour
        shown = np.array(record["recommendedDisplayRGBValue"])
        np.testing.assert_allclose(shown, 255 * np.array(colour), atol=1.5)


def test_label_maps_without_a_voxel_are_left_out(study):
    assert not (study.objects / "seg_nothing.dcm").exists()


@pytest.mark.parametrize("name", ALL)
def test_dciodvfy_finds_no_error(study, name):
    assert faults(study.objects / f"seg_{name}.dcm") == []


# What a reader corrected ----------------------------------------------------------------------


def algorithms(path):
    segments = pydicom.dcmread(path, stop_before_pixels=True).SegmentSequence
    return {segment.TrackingID: segment.SegmentAlgorithmType for segment in segments}


def test_corrected_segments_are_semiautomatic(tmp_path, study):
    results = write_measured(tmp_path / "results", study.source, corrected=("left_upper_lobe",))
    objects = write_archive(tmp_path / "objects", results, study.source)

    found = algorithms(objects / "seg_lobes.dcm")
    assert found.pop("left_upper_lobe") == "SEMIAUTOMATIC"
    assert set(found.values()) == {"AUTOMATIC"}
    assert set(algorithms(objects / "seg_lungs.dcm").values()) == {"AUTOMATIC"}


def test_label_maps_from_files_are_semiautomatic(tmp_path, study):
    results = write_measured(tmp_path / "results", study.source, roles=("ct", "lobes"))
    objects = write_archive(tmp_path / "objects", results, study.source)

    assert set(algorithms(objects / "seg_lobes.dcm").values()) == {"SEMIAUTOMATIC"}
    assert set(algorithms(objects / "seg_lungs.dcm").values()) == {"AUTOMATIC"}


def test_trail_knows_what_was_taken_back(tmp_path):
    edit = {"voxels_added": 1, "voxels_removed": 0, "ml_added": 1.0, "ml_removed": 0.0}
    entries = [
        {"segmentation": "lungs", "segment": "left_lung", **edit},
        {"segmentation": "lobes", "segment": "left_upper_lobe", **edit},
        {"segmentation": "lungs", "restored": True},
        {"marked": "trunk"},
    ]
    trail = tmp_path / "trail.json"
    trail.write_text(json.dumps([{"time": "2026-01-02T03:04:05", **e} for e in entries]))
    assert corrected_names(trail) == ("left_upper_lobe",)

    entries.append({"discarded": ["lobes"]})
    trail.write_text(json.dumps([{"time": "2026-01-02T03:04:05", **e} for e in entries]))
    assert corrected_names(trail) == ()


# Sources of every kind ------------------------------------------------------------------------


def test_label_map_objects_hold_the_same_voxels(tmp_path, study):
    objects = write_archive(tmp_path / "objects", study.results, study.source, kind="labelmap")
    path = objects / "seg_lobes.dcm"

    assert pydicom.dcmread(path).SOPClassUID == "1.2.840.10008.5.1.4.1.1.66.7"
    assert faults(path) == []
    require_equal(masks_of(path), study.results / "lobes.seg.nrrd")


def test_enhanced_source_is_referred_to_frame_by_frame(tmp_path):
    order = [4, 0, 8, 2, 6, 1, 3, 7, 5]
    source = write_enhanced_source(tmp_path / "source", order)
    results = write_measured(tmp_path / "results", source)
    objects = write_archive(tmp_path / "objects", results, source)

    require_equal(masks_of(objects / "seg_lobes.dcm"), results / "lobes.seg.nrrd")
    for name in ("seg_lobes", "map_iodine", "report"):
        assert faults(objects / f"{name}.dcm") == []
    made = pydicom.dcmread(objects / "seg_lobes.dcm")
    for frame in made.PerFrameFunctionalGroupsSequence:
        place = float(frame.PlanePositionSequence[0].ImagePositionPatient[2])
        k = round((place + 140.625) / 12.5)
        named = frame.DerivationImageSequence[0].SourceImageSequence[0]
        assert named.ReferencedFrameNumber == order.index(k) + 1


def test_frames_refer_to_the_slice_they_lie_on(study):
    made = pydicom.dcmread(study.objects / "seg_lobes.dcm")

    for frame in made.PerFrameFunctionalGroupsSequence:
        place = float(frame.PlanePositionSequence[0].ImagePositionPatient[2])
        named = frame.DerivationImageSequence[0].SourceImageSequence[0]
        k = round((place + 140.625) / 12.5)
        assert named.ReferencedSOPInstanceUID == f"2.25.10.{k + 1}"


def test_tilted_gantry_keeps_places(tmp_path):
    matrix = GRID.ijk_to_ras.copy()
    matrix[1, 2] = -12.5 * np.tan(np.radians(15))
    source = write_source(tmp_path / "source", geometry=Geometry(GRID.shape, matrix))
    straight = read_ct(source).volume
    assert straight.geometry.shape != GRID.shape
    results = write_measured(tmp_path / "results", source)
    objects = write_archive(tmp_path / "objects", results, source)

    masks = masks_of(objects / "seg_lobes.dcm", straight.geometry)
    lobes = make_analysis(straight).labelmaps["lobes"]
    for name, mask in masks.items():
        np.testing.assert_array_equal(mask, lobes.mask(name))
    for name in ("seg_lobes", "map_iodine", "report"):
        assert faults(objects / f"{name}.dcm") == []


def test_sagittal_source_keeps_places(tmp_path):
    volume, objects = written_sagittal(tmp_path)

    lobes = make_analysis(volume).labelmaps["lobes"]
    for name, mask in masks_of(objects / "seg_lobes.dcm", volume.geometry).items():
        np.testing.assert_array_equal(mask, lobes.mask(name))

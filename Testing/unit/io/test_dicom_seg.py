"""DICOM segmentations come in with their codes, on their own grid."""

from __future__ import annotations

import warnings
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
from highdicom.sr.coding import CodedConcept

from lungperfusion.errors import InputError
from lungperfusion.io import read_labelmap, read_segmentation


@pytest.fixture
def write_seg(tmp_path, chest, grid, write_series):
    def write(masks: np.ndarray, kind: str = "BINARY") -> Path:
        """Write one segment for every last index of ``masks`` (K, J, I, segment)."""

        def complete(data, k):
            data.StudyTime = data.StudyID = data.ReferringPhysicianName = ""
            data.PatientSex, data.FrameOfReferenceUID = "O", "2.25.33"

        folder = write_series(tmp_path / "ct", chest(), grid, edit=complete)
        slices = [pydicom.dcmread(path) for path in folder.iterdir()]
        slices.sort(key=lambda data: float(data.ImagePositionPatient[2]))
        described = []
        for number in range(masks.shape[-1]):
            segment = highdicom.seg.SegmentDescription(
                segment_number=number + 1,
                segment_label=f"part {number + 1}",
                segmented_property_category=CodedConcept(
                    "123037004", "SCT", "Anatomical Structure"
                ),
                segmented_property_type=CodedConcept("39607008", "SCT", "Lung"),
                algorithm_type="MANUAL",
            )
            side = CodedConcept("7771000", "SCT", "Left")
            segment.SegmentedPropertyTypeCodeSequence[
                0
            ].SegmentedPropertyTypeModifierCodeSequence = [side]
            described.append(segment)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            seg = highdicom.seg.Segmentation(
                slices, masks, kind, described, "2.25.44", 1, "2.25.45", 1, "m", "m", "1", "1"
            )
            seg.save_as(tmp_path / "lungs.dcm")
        return tmp_path / "lungs.dcm"

    return write


def two_boxes(shape: tuple[int, int, int], *, apart: bool) -> np.ndarray:
    masks = np.zeros((*shape, 2), np.uint8)
    masks[2:5, 3:9, 2:7, 0] = 1
    masks[3:7, 3:9, 10 if apart else 5 : 15, 1] = 1
    return masks


def test_segments_and_codes(write_seg, grid):
    masks = two_boxes(grid.shape, apart=True)
    image = read_labelmap(write_seg(masks))
    first, second = image.segments
    assert (first.id, first.name, first.label) == ("label_1", "part 1", 1)
    assert first.category == "SCT^123037004^Anatomical Structure"
    assert (first.type, first.modifier) == ("SCT^39607008^Lung", "SCT^7771000^Left")
    for segment, mask in ((first, masks[..., 0]), (second, masks[..., 1])):
        found = np.argwhere(image.mask(segment))[:, ::-1]
        expected = np.argwhere(mask)[:, ::-1]
        here = image.geometry.ras_from_ijk(found)
        there = grid.ras_from_ijk(expected)
        np.testing.assert_allclose(
            here[np.lexsort(here.round(3).T)], there[np.lexsort(there.round(3).T)], atol=1e-6
        )


def test_overlapping_segments_are_layers(write_seg, grid):
    masks = two_boxes(grid.shape, apart=False)
    path = write_seg(masks)
    image = read_labelmap(path)
    assert [image.mask(segment).sum() for segment in image.segments] == [
        masks[..., 0].sum(),
        masks[..., 1].sum(),
    ]
    with pytest.raises(InputError, match="overlapping segments in 2 layers"):
        read_segmentation(path)


def test_fractional_is_refused(write_seg, grid):
    path = write_seg(two_boxes(grid.shape, apart=True) * 0.5, "FRACTIONAL")
    with pytest.raises(InputError, match="is a fractional segmentation; expected a binary"):
        read_labelmap(path)


def test_ct_slice_is_no_segmentation(tmp_path, chest, grid, write_series):
    folder = write_series(tmp_path / "ct", chest(), grid)
    with pytest.raises(InputError, match="is no readable DICOM segmentation"):
        read_labelmap(folder / "IM0003")

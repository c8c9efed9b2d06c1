"""Reading DICOM segmentation objects."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import SegmentationStorage

from lungperfusion.errors import InputError
from lungperfusion.io.bounds import without_deflation
from lungperfusion.io.dicom.header import warnings_off
from lungperfusion.io.dicom.sources import read_header
from lungperfusion.labels import Segment
from lungperfusion.naming import named
from lungperfusion.volume import Geometry

_RAS_FROM_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def is_dicom_seg(path: Path) -> bool:
    """Whether a DICOM file is a segmentation, binary or fractional."""
    with warnings_off(), without_deflation(path.open("rb"), path.name) as stream:
        header = read_header(stream, path.name, ["SOPClassUID", "Modality"])
    return header is not None and str(header.get("SOPClassUID")) == SegmentationStorage


def read_dicom_seg(
    path: Path,
) -> tuple[NDArray[np.unsignedinteger[Any]], Geometry, tuple[Segment, ...]]:
    """Read a DICOM SEG file.

    Returns
    -------
    array
        Labels, shape (K, J, I); one layer for every segment, (layers, K, J, I), if they overlap.
    geometry, segments
        Grid of the segmentation and what its header says of the segments.

    Raises
    ------
    InputError
        If the file is no DICOM segmentation, fractional or not a volume.

    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            seg = _read(path)
        except InputError:
            raise
        except (ValueError, AttributeError, KeyError, EOFError, OSError) as error:
            raise InputError(
                f"{named(path.name)} is no readable DICOM segmentation; give a DICOM SEG file, or "
                "the label map as NRRD or NIfTI"
            ) from error
        if str(seg.SegmentationType) == "FRACTIONAL":
            raise InputError(
                f"{named(path.name)} is a fractional segmentation; expected a binary one: export "
                "thresholded labels"
            )
        array, affine, overlapping = _voxels(seg, path)
    geometry = Geometry.as_stated(
        (array.shape[-3], array.shape[-2], array.shape[-1]),
        _RAS_FROM_LPS @ affine[:, [2, 1, 0, 3]],
    )
    segments = tuple(
        _segment(seg, number, layer if overlapping else 0, 1 if overlapping else number)
        for layer, number in enumerate(seg.segment_numbers)
    )
    return array, geometry, segments


def _read(path: Path) -> Any:
    with without_deflation(path.open("rb"), path.name) as stream:
        import highdicom  # slow to import and rarely needed

        return highdicom.seg.segread(stream)


def _voxels(
    seg: Any, path: Path
) -> tuple[NDArray[np.unsignedinteger[Any]], NDArray[np.float64], bool]:
    try:
        try:
            volume = seg.get_volume(combine_segments=True)
            overlapping = False
        except RuntimeError:
            seg = _read(path)  # the first keeps its index locked after the failure
            volume = seg.get_volume(combine_segments=False)
            overlapping = True
    except (RuntimeError, ValueError) as error:
        raise InputError(
            f"the slices of {named(path.name)} do not form a volume ({named(error)}); export the "
            "segmentation as NRRD or NIfTI"
        ) from error
    array = np.asarray(volume.array)
    if overlapping:
        array = np.moveaxis(array, -1, 0)
    smallest = np.min_scalar_type(int(array.max()))
    return array.astype(smallest), np.asarray(volume.affine), overlapping


def _segment(seg: Any, number: int, layer: int, label: int) -> Segment:
    described = seg.get_segment_description(number)
    kind = described.SegmentedPropertyTypeCodeSequence[0]
    modifiers = kind.get("SegmentedPropertyTypeModifierCodeSequence")
    return Segment(
        id=f"label_{number}",
        name=str(described.segment_label),
        label=label,
        layer=layer,
        category=_code(described.SegmentedPropertyCategoryCodeSequence[0]),
        type=_code(kind),
        modifier=_code(modifiers[0]) if modifiers else "",
    )


def _code(concept: Any) -> str:
    return f"{concept.CodingSchemeDesignator}^{concept.CodeValue}^{concept.CodeMeaning}"

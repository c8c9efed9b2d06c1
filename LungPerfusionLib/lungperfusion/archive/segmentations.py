"""Label maps as DICOM segmentations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import highdicom as hd
import numpy as np

from lungperfusion.archive.objects import Export, code_string, concept, shortened
from lungperfusion.io.writing import segment_colour
from lungperfusion.terms import title
from lungperfusion.terms.archive import structure_codes
from lungperfusion.volume import Labelmap, present_labels

Kind = Literal["binary", "labelmap"]


@dataclass(frozen=True, eq=False)
class SegmentationObject:
    """One label map as an object."""

    dataset: Any
    numbers: Mapping[str, int]
    """Segment number by name."""


def make_segmentation(
    export: Export,
    name: str,
    labels: Labelmap,
    *,
    number: int,
    by_hand: Mapping[str, bool],
    kind: Kind = "binary",
) -> SegmentationObject | None:
    """Make the segmentation object of one label map.

    Parameters
    ----------
    export
        What it belongs to.
    name
        Name of the label map, such as ``lobes``.
    labels
        On the grid of the source.
    number
        Of its series.
    by_hand
        Whether a reader or another program had a hand in a segment, by its name.
    kind
        ``binary``: one bit per voxel and segment, which every viewer reads; ``labelmap``: the
        newer object (2024) with one number per voxel.

    Returns
    -------
    SegmentationObject or None
        None where no label has a voxel.

    """
    present = present_labels(labels.array)
    if not present:
        return None
    names = [labels.names[value] for value in present]
    table = np.zeros(max(present) + 1, np.uint8 if len(present) < 255 else np.uint16)
    table[present] = np.arange(1, len(present) + 1)
    role = f"seg {name}"
    made = hd.seg.Segmentation(
        source_images=export.source.references,
        pixel_array=export.volume(table[labels.array], labels.geometry),
        segmentation_type="LABELMAP" if kind == "labelmap" else "BINARY",
        segment_descriptions=[
            _description(export, segment, index + 1, by_hand.get(segment, False))
            for index, segment in enumerate(names)
        ],
        omit_empty_frames=True,
        content_label=code_string(name),
        content_description=shortened(f"{title(name)}, {export.module}"),
        content_creator_name=None,
        **export.base(role, number, f"{export.module} {name}"),
    )
    return SegmentationObject(
        export.finish(made, role), {segment: n + 1 for n, segment in enumerate(names)}
    )


def _description(export: Export, segment: str, number: int, by_hand: bool) -> Any:
    coded = structure_codes(segment)
    description = hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=shortened(title(segment)),
        segmented_property_category=concept(coded.category),
        segmented_property_type=concept(coded.type),
        algorithm_type="SEMIAUTOMATIC" if by_hand else "AUTOMATIC",
        algorithm_identification=export.algorithm(),
        tracking_uid=export.tracking_uid(segment),
        tracking_id=segment,
        anatomic_regions=None if coded.region is None else [concept(coded.region)],
        display_color=hd.color.CIELabColor.from_rgb(
            *(round(255 * part) for part in segment_colour(segment))
        ),
    )
    if coded.side is not None:
        holder = (
            description.AnatomicRegionSequence[0]
            if coded.region is not None
            else description.SegmentedPropertyTypeCodeSequence[0]
        )
        keyword = (
            "AnatomicRegionModifierSequence"
            if coded.region is not None
            else "SegmentedPropertyTypeModifierCodeSequence"
        )
        setattr(holder, keyword, [concept(coded.side)])
    return description

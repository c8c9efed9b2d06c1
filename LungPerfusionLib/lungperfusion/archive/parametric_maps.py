"""Maps as DICOM parametric maps in floating point."""

from __future__ import annotations

from typing import Any

import highdicom as hd
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from lungperfusion.archive.objects import Export, concept, shortened
from lungperfusion.terms import title
from lungperfusion.terms.archive import BOTH_SIDES, LUNG, quantity, unit_code
from lungperfusion.volume import Geometry, Mask, Volume, lps_from_ras


def make_parametric_map(
    export: Export,
    name: str,
    image: Volume,
    *,
    number: int,
    inside: Mask | None,
    outside: float = np.nan,
) -> Any:
    """Make the object of one map.

    Parameters
    ----------
    export
        What it belongs to.
    name
        Name of the map, such as ``iodine``.
    image
        The map on the grid of the source.
    number
        Of its series.
    inside
        Where the map means something: the lungs; None for everywhere.
    outside
        Stored elsewhere.

    """
    what = quantity(name)
    values = _values(image, inside, outside)
    low, high = what.shown or _range(values)
    finite = _range(values)
    role = f"map {name}"
    made = hd.pm.ParametricMap(
        source_images=export.source.references,
        pixel_array=export.volume(values, image.geometry),
        contains_recognizable_visual_features=False,
        real_world_value_mappings=[
            hd.pm.RealWorldValueMapping(
                lut_label=shortened(name, 16),
                lut_explanation=shortened(what.code.meaning),
                unit=concept(unit_code(image.unit)),
                value_range=finite,
                slope=1.0,
                intercept=0.0,
                quantity_definition=concept(what.code),
            )
        ],
        window_center=(low + high) / 2,
        window_width=high - low,
        content_label=what.label,
        content_description=shortened(f"{title(name)} [{image.unit}], {export.module}"),
        **export.base(role, number, f"{export.module} {name} [{image.unit}]"),
    )
    made.SharedFunctionalGroupsSequence[0].FrameAnatomySequence = [_anatomy()]
    _order_frames(made, values, image.geometry)
    return export.finish(made, role)


def _order_frames(made: Any, values: NDArray[np.float32], geometry: Geometry) -> None:
    """Store frames along the normal of the slices.

    Converters of others put the first frame at the lowest place along rows x columns, whatever its
    own header says; highdicom stores them the other way round, so that lungs would stand on
    their head.
    """
    directions = lps_from_ras(geometry.ijk_to_ras[:3, :3].T)
    normal = np.cross(directions[0], directions[1])
    groups = list(made.PerFrameFunctionalGroupsSequence)
    places = [group.PlanePositionSequence[0].ImagePositionPatient for group in groups]
    ordered = [groups[number] for number in np.argsort(np.array(places, dtype=float) @ normal)]
    for index, group in enumerate(ordered, start=1):
        group.FrameContentSequence[0].DimensionIndexValues = [index]
    made.PerFrameFunctionalGroupsSequence = ordered
    along = directions[2] @ normal > 0
    made.FloatPixelData = (values if along else values[::-1]).astype("<f4").tobytes()


def _values(image: Volume, inside: Mask | None, outside: float) -> NDArray[np.float32]:
    values = np.array(image.array, dtype=np.float32)
    for known in (inside, image.valid):
        if known is not None:
            values[~known] = outside
    return values


def _range(values: NDArray[np.float32]) -> tuple[float, float]:
    """Lowest and highest number; any two where there is none or one."""
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    return (low, high) if high > low else (low, low + 1.0)


def _anatomy() -> Dataset:
    """Say that frames show both lungs: converters look for it and crash where it is missing."""
    region = concept(LUNG)
    region.AnatomicRegionModifierSequence = [concept(BOTH_SIDES)]
    item = Dataset()
    item.AnatomicRegionSequence = [region]
    item.FrameLaterality = "B"
    return item

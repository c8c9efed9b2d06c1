"""Labels as a file holds them, before their meaning is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungperfusion.errors import InputError
from lungperfusion.volume import Geometry, Labelmap, Mask


@dataclass(frozen=True)
class Segment:
    """One segment as its file describes it."""

    id: str
    """Identifier of the file; ``"label_<value>"`` where it has none."""
    name: str
    """Display name; never use it to find a segment."""
    label: int
    """Value of its voxels within its layer."""
    layer: int = 0
    """Which of overlapping label maps holds the segment."""
    category: str = ""
    """Code as ``scheme^value^meaning``, empty where the file has none."""
    type: str = ""
    """Code of the structure, such as ``SCT^39607008^Lung``."""
    modifier: str = ""
    """Code of the side or part, such as ``SCT^7771000^Left``."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """All tags as stored, such as ``TerminologyEntry``."""


@dataclass(frozen=True, eq=False)
class LabelImage:
    """Labels as a file holds them, before their meaning is known."""

    array: NDArray[np.unsignedinteger[Any]]
    """Shape (K, J, I), or (layers, K, J, I) where segments overlap."""
    geometry: Geometry
    segments: tuple[Segment, ...]
    """What the file says of its labels; for plain label maps one for every value present."""
    metadata: Mapping[str, str]
    """Header fields as stored."""
    name: str
    sha256: str
    warnings: tuple[str, ...] = ()

    def mask(self, segment: Segment) -> Mask:
        """Voxels of one segment."""
        return np.asarray(self.layer(segment.layer) == segment.label)

    def layer(self, number: int) -> NDArray[np.unsignedinteger[Any]]:
        """One of the overlapping label maps, shape (K, J, I)."""
        return self.array[number] if self.array.ndim == 4 else self.array


def labelmap_of(image: LabelImage) -> Labelmap:
    """Take the labels of a file under the segment IDs it gives them.

    Raises
    ------
    InputError
        If segments overlap or share a label.

    """
    if image.array.ndim == 4:
        raise InputError(
            f"{image.name} holds overlapping segments in {len(image.array)} layers; "
            "expected segments that do not overlap"
        )
    names = {segment.label: segment.id for segment in image.segments}
    if len(names) != len(image.segments):
        raise InputError(f"{image.name} gives one label value to several segments; save it again")
    return Labelmap(image.array, image.geometry, names)

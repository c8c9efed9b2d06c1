"""What a segmentation file says of one segment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


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

"""What one analysis of one case yields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lungperfusion.measurement import Measurement
from lungperfusion.quality import Gate
from lungperfusion.results.report import Section
from lungperfusion.volume import Labelmap, Volume


@dataclass(frozen=True, kw_only=True, eq=False)
class Analysis:
    """Results of one command on one case, ready to be written or shown in Slicer."""

    module: str
    """Command name: ``lungs``, ``ipv``, ``ctvq``, ``vesselbv``."""
    measurements: tuple[Measurement, ...]
    gates: tuple[Gate, ...] = ()
    warnings: tuple[str, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Every setting that shapes the numbers; plain JSON values."""
    maps: Mapping[str, Volume] = field(default_factory=dict)
    """Images to write as ``<name>.nrrd``."""
    labelmaps: Mapping[str, Labelmap] = field(default_factory=dict)
    """Label maps to write as ``<name>.seg.nrrd``."""
    tables: Mapping[str, tuple[Mapping[str, Any], ...]] = field(default_factory=dict)
    """Lists of findings (defects, vessels) to write as ``<name>.csv``, one mapping a row."""
    sections: tuple[Section, ...] = ()
    """Report blocks in reading order, between the summary table and the methods."""

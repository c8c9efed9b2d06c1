"""What one analysis of one case yields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lungperfusion.measurement import Measurement
from lungperfusion.quality import Gate
from lungperfusion.results.section import Section
from lungperfusion.volume import Labelmap, Volume


@dataclass(frozen=True, slots=True)
class Table:
    """List of findings, such as defects or vessels; written as CSV with its columns when empty."""

    columns: tuple[str, ...]
    """Column names in snake_case with the unit as suffix, such as ``volume_ml``."""
    rows: tuple[Mapping[str, Any], ...]


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
    transforms: Mapping[str, Any] = field(default_factory=dict)
    """ITK displacement fields (SimpleITK vector images, LPS mm) to write as ``<name>.nrrd``."""
    tables: Mapping[str, Table] = field(default_factory=dict)
    """Lists of findings to write as ``<name>.csv``."""
    sections: tuple[Section, ...] = ()
    """Report blocks in reading order, between the summary table and the methods."""

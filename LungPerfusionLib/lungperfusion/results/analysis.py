"""What one analysis of one case yields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lungperfusion.dynamic.series import Frames
from lungperfusion.measurement import Measurement
from lungperfusion.quality import Gate
from lungperfusion.results.section import Section
from lungperfusion.terms import Region
from lungperfusion.verdicts import follow_gates, row_status
from lungperfusion.volume import Labelmap, Volume
from lungperfusion.vq.displacement import DisplacementField


@dataclass(frozen=True, slots=True)
class Table:
    """List of findings, such as defects or vessels; written as CSV with its columns when empty."""

    columns: tuple[str, ...]
    """Column names in snake_case with the unit as suffix, such as ``volume_ml``."""
    rows: tuple[Mapping[str, Any], ...]
    rests_on: str = ""
    """Measure whose status the rows have, in columns ``status`` and ``reason``; none by default."""

    def following(self, gates: Sequence[Gate]) -> Table:
        """Table whose rows have the status that the gates leave them."""
        if not self.rests_on:
            return self
        columns = tuple(name for name in self.columns if name not in _STATUS_COLUMNS)
        rows = (row_status(row, self.rests_on, gates, region=_region(row)) for row in self.rows)
        return Table((*columns, *_STATUS_COLUMNS), tuple(rows), self.rests_on)


_STATUS_COLUMNS = ("status", "reason")


def _region(row: Mapping[str, Any]) -> str:
    """Region that a row is about: the lungs where it names none."""
    named = (row.get(column) for column in ("region", "lobe", "fissure"))
    return next((str(name) for name in named if name in set(Region)), Region.LUNGS)


@dataclass(frozen=True, kw_only=True, eq=False)
class Analysis:
    """Results of one command on one case, ready to be written or shown in Slicer.

    Whoever makes one gets values and findings whose status follows the gates: what a command, a
    batch, a script and a panel get cannot differ.
    """

    module: str
    """Command name: ``lungs``, ``ipv``, ``ctvq``, ``vesselbv``."""
    measurements: tuple[Measurement, ...]
    gates: tuple[Gate, ...] = ()
    warnings: tuple[str, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Every setting that shapes the numbers; plain JSON values."""
    maps: Mapping[str, Volume] = field(default_factory=dict)
    """Images to write as ``<name>.nrrd``."""
    series: Mapping[str, Frames] = field(default_factory=dict)
    """Frames in HU to write as ``<name>.seq.nrrd``."""
    labelmaps: Mapping[str, Labelmap] = field(default_factory=dict)
    """Label maps to write as ``<name>.seg.nrrd``."""
    transforms: Mapping[str, DisplacementField] = field(default_factory=dict)
    """Displacement fields to write as ITK's, ``<name>.nrrd``."""
    tables: Mapping[str, Table] = field(default_factory=dict)
    """Lists of findings to write as ``<name>.csv``."""
    sections: tuple[Section, ...] = ()
    """Report blocks in reading order, between the summary table and the methods."""
    corrected: tuple[str, ...] = ()
    """Segments that a reader changed by hand."""

    def __post_init__(self) -> None:
        """Lower values and rows to the status that the gates leave them."""
        object.__setattr__(self, "measurements", follow_gates(self.measurements, self.gates))
        tables = {name: table.following(self.gates) for name, table in self.tables.items()}
        object.__setattr__(self, "tables", tables)

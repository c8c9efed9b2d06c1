"""Results of one analysis as a batch keeps them, ready to be joined with others of the case."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lungperfusion.measurement import measurement_of
from lungperfusion.naming import plain
from lungperfusion.progress import Progress, ignore
from lungperfusion.quality import Gate
from lungperfusion.results.analysis import Analysis, Table
from lungperfusion.results.provenance import Provenance
from lungperfusion.results.section import Section
from lungperfusion.results.writing import write_results

PARTS_FILE = "report_parts.json"
"""Report blocks and lists of one analysis, from which the case's report is made."""


def write_parts(
    folder: Path,
    analyses: Sequence[Analysis],
    *,
    case: str,
    provenance: Provenance,
    report: bool = True,
    compressed: bool = True,
    progress: Progress = ignore,
) -> None:
    """Write one analysis as `write_results` does, but with parts of a report for the report."""
    (analysis,) = analyses
    parts = {
        "sections": [
            {"title": s.title, "html": s.html, "place": s.place} for s in analysis.sections
        ],
        "tables": {
            name: {
                "columns": list(table.columns),
                "rows": [dict(row) for row in table.rows],
                "rests_on": table.rests_on,
            }
            for name, table in analysis.tables.items()
        },
        "report": report,
    }
    write_json(parts, folder / PARTS_FILE, provenance.kept)
    write_results(
        folder,
        analyses,
        case=case,
        provenance=provenance,
        report=False,
        compressed=compressed,
        progress=progress,
    )


def read_parts(folder: Path) -> tuple[Analysis, dict[str, Any], bool]:
    """Read back what `write_parts` wrote.

    Returns
    -------
    tuple
        The analysis without its images, its provenance as plain values, and whether a report was
        wanted.

    """
    record = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    parts = json.loads((folder / PARTS_FILE).read_text(encoding="utf-8"))
    (entry,) = record["analyses"]
    analysis = Analysis(
        module=entry["module"],
        measurements=tuple(map(measurement_of, entry["measurements"])),
        gates=tuple(Gate(**gate) for gate in entry["quality_gates"]),
        warnings=tuple(entry["warnings"]),
        parameters=entry["parameters"],
        tables={
            name: Table(tuple(table["columns"]), tuple(table["rows"]), table["rests_on"])
            for name, table in parts["tables"].items()
        },
        sections=tuple(Section(**section) for section in parts["sections"]),
    )
    return analysis, record["provenance"], parts["report"]


def write_json(content: Any, path: Path, kept: Callable[[str], str] = plain) -> None:
    """Write JSON as all results files are written; ``kept`` takes names out of its text."""
    text = kept(json.dumps(content, indent=1, ensure_ascii=False, default=_plain))
    path.write_text(text + "\n", encoding="utf-8", newline="\n")


def _plain(value: Any) -> Any:
    """NumPy scalars as Python numbers, everything else as text."""
    return value.item() if hasattr(value, "item") else str(value)

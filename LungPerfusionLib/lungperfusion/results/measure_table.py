"""The reference of all measures, written from their definitions.

``python -m lungperfusion.results.measure_table docs/measures.md`` renews the file; a test fails
when it no longer agrees with `lungperfusion.terms`.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from pathlib import Path

from lungperfusion import terms
from lungperfusion.results.report import format_value, unit_text
from lungperfusion.terms import (
    FISSURES,
    HALVES,
    LOBES,
    LUNGS,
    MEASURES,
    SHELLS,
    TISSUES,
    ZONES,
    Measure,
    Region,
    title,
)

_REGIONS = (
    ("Both lungs together", (Region.LUNGS,)),
    ("One lung", LUNGS),
    ("Lobes", LOBES),
    ("Fissures between lobes", FISSURES),
    ("Zones: thirds of each lung from top to bottom", ZONES),
    ("Front and back half", HALVES),
    ("Core, rim and subpleural shell", SHELLS),
    ("Classes of lung by density", TISSUES),
)

_INTRODUCTION = """\
# Measures

What the columns `region`, `measure` and `unit` of `measurements.csv` and `results.json` can hold.
This page is written from `lungperfusion.terms`
(`python -m lungperfusion.results.measure_table docs/measures.md`); do not edit it by hand.

A value that could not be computed is `NaN` with status `missing` and a reason, never 0. Status
`caution` means that the value stands, and why it should be read with care. The column `method` says
what distinguishes this value from others of the same name: thresholds, settings, reference energy.

References are mean ± SD of the named source. The report gives the distance from the mean in SD (z)
and whether the value lies below, within or above mean ± 2 SD; only for the region given there.
"""


def measures_markdown() -> str:
    """Write regions and measures as Markdown."""
    parts = [_INTRODUCTION, "## Regions\n", "| regions | names |", "|---|---|"]
    parts += [
        f"| {words} | {', '.join(f'`{region}`' for region in regions)} |"
        for words, regions in _REGIONS
    ]
    for heading, measures in _groups().items():
        parts += [
            f"\n## {heading}\n",
            "| measure | unit | meaning | formula | source | reference |",
            "|---|---|---|---|---|---|",
            *(_row(measure) for measure in measures),
        ]
    return "\n".join(parts) + "\n"


def _groups() -> dict[str, list[Measure]]:
    """Measures by the module that defines them, under the first line of its docstring."""
    groups: dict[str, list[Measure]] = {}
    for info in pkgutil.iter_modules(terms.__path__):
        module = importlib.import_module(f"{terms.__name__}.{info.name}")
        heading = (module.__doc__ or info.name).strip().splitlines()[0].rstrip(".")
        for name, group in vars(module).items():
            if name.endswith("_MEASURES"):
                groups.setdefault(heading, []).extend(group)
    order = list(MEASURES)
    return dict(sorted(groups.items(), key=lambda item: order.index(item[1][0].id)))


def _row(measure: Measure) -> str:
    cells = (
        f"`{measure.id}`",
        f"`{measure.unit}`",
        measure.title,
        measure.formula,
        measure.source,
        _reference(measure),
    )
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _reference(measure: Measure) -> str:
    if measure.reference is None:
        return ""
    mean = format_value(measure.reference.mean, measure.unit)
    sd = format_value(measure.reference.sd, measure.unit)
    where = title(measure.reference_region).lower()
    unit = unit_text(measure.unit)
    return f"{mean} ± {sd} {unit} ({where}; {measure.reference.cohort})".replace("  ", " ")


if __name__ == "__main__":
    with Path(sys.argv[1]).open("w", encoding="utf-8", newline="\n") as stream:
        stream.write(measures_markdown())

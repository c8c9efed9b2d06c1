"""docs/references.md from `lungperfusion.terms.references`.

``python -m lungperfusion.results.reference_list docs/references.md`` renews the file; a test fails
while it differs.
"""

from __future__ import annotations

import sys
from pathlib import Path

from lungperfusion.terms.references import WORKS

HEADER = """# References

Every paper, report and book that code, results, reports and docs name, by the short name used
there.
This page is written from `lungperfusion.terms.references`
(`python -m lungperfusion.results.reference_list docs/references.md`); do not edit it by hand.

| short name | reference |
|---|---|
"""


def references_markdown() -> str:
    """Write the page, sorted by short name."""
    works = sorted(WORKS, key=lambda work: work.short.casefold())
    return HEADER + "".join(f"| {work.short} | {work.entry} |\n" for work in works)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(references_markdown(), encoding="utf-8", newline="\n")

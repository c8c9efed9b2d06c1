"""Everything cited can be looked up, and docs/references.md says what the code says."""

from __future__ import annotations

from pathlib import Path

import pytest

from lungperfusion.results.reference_list import references_markdown
from lungperfusion.terms.references import WORKS, Work, cited, short_names

ROOT = Path(__file__).resolve().parents[3]
PLACES = (
    "LungPerfusionLib/lungperfusion",
    "LungPerfusionLib/lungperfusion_gui",
    "PerfusionIPv",
    "CTVQ",
    "VesselBV",
    "docs",
    "README.md",
)
ITSELF = {"references.py", "references.md", "reference_list.py"}
NO_AUTHORS = {"January", "Implementation", "Representation", "Segmentation"}
"""Words before a number that looks like a year."""


def texts() -> list[str]:
    found = []
    for place in (ROOT / name for name in PLACES):
        files = [place] if place.is_file() else place.rglob("*")
        found += [
            path.read_text(encoding="utf-8")
            for path in files
            if path.suffix in (".py", ".md", ".ui") and path.name not in ITSELF
        ]
    return found


@pytest.fixture(scope="module")
def mentioned() -> set[str]:
    names = set().union(*(short_names(text) for text in texts()))
    return {name for name in names if name.split()[0] not in NO_AUTHORS}


def test_every_short_name_has_its_reference(mentioned):
    known = {f"{work.author} {work.year}" for work in WORKS} | {work.short for work in WORKS}
    assert sorted(mentioned - known) == [], "add them to lungperfusion.terms.references"


def test_no_reference_is_cited_nowhere(mentioned):
    assert [work.short for work in WORKS if work.short not in mentioned] == []


def test_page_is_up_to_date():
    page = (ROOT / "docs" / "references.md").read_text(encoding="utf-8")
    assert page == references_markdown(), (
        "renew it: python -m lungperfusion.results.reference_list docs/references.md"
    )


def test_short_names_are_unique():
    names = [work.short for work in WORKS]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("(Galban 2012, Nat Med)", "Galban 2012"),
        ("Elam, Ravel & Sieber 2002 (Radiat Phys Chem)", "Elam 2002"),
        ("after Eilers and Marx\n    1996, Stat Sci", "Eilers 1996"),
        ("Tawhai et al. (2004)", "Tawhai 2004"),
        ("of the iodine perfusion\n    letter", "iodine perfusion letter"),
    ],
)
def test_short_names_are_found(text, name):
    assert name in short_names(text)


def test_numbers_and_unknown_letters_are_no_short_names():
    assert short_names("HU from -1000 to 2000; in 2012; GALBAN; the letter 2012") == set()


def test_cited_keeps_the_order_and_leaves_out_the_rest():
    works = cited(["Schroeder 2013; Galban 2012", "Nobody 1999"])
    assert [work.short for work in works] == ["Galban 2012", "Schroeder 2013"]


def test_entry_reads_as_a_reference():
    work = Work("Weibel", 1963, "Morphometry of the human lung", "Springer, Berlin")
    assert work.entry == "Weibel 1963. Morphometry of the human lung. Springer, Berlin."

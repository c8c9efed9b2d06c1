"""docs/measures.md says what the code says."""

from __future__ import annotations

from pathlib import Path

from lungperfusion.results.measure_table import measures_markdown
from lungperfusion.terms import MEASURES, Region

ROOT = Path(__file__).resolve().parents[3]


def test_page_is_up_to_date():
    page = (ROOT / "docs" / "measures.md").read_text(encoding="utf-8")
    assert page == measures_markdown(), (
        "renew it: python -m lungperfusion.results.measure_table docs/measures.md"
    )


def test_every_measure_and_region_has_its_row():
    text = measures_markdown()
    for name in MEASURES:
        assert text.count(f"| `{name}` |") == 1
    for region in Region:
        assert f"`{region}`" in text
    assert "5.06 ± 1.35 L" in text

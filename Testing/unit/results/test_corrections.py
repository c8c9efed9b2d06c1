"""The audit trail of a review, as the report prints it."""

import json

import pytest

from lungperfusion.errors import InputError
from lungperfusion.results.corrections import corrections_section

ENTRIES = [
    {
        "time": "2026-03-01T12:30:00+01:00",
        "segmentation": "lungs",
        "segment": "left_lung",
        "voxels_added": 12,
        "voxels_removed": 3400,
        "ml_added": 0.123,
        "ml_removed": 34.5,
    },
    {
        "time": "2026-03-01T12:31:00+01:00",
        "recomputed": ["lungs"],
        "changes": [
            {"region": "left_lung", "measure": "tlv", "unit": "L", "before": 2.5, "after": 2.25},
            {"region": "lungs", "measure": "mld", "unit": "HU", "before": None, "after": -850.0},
        ],
    },
    {"time": "2026-03-01T12:32:00+01:00", "segmentation": "lungs", "restored": True},
    {"time": "2026-03-01T12:33:00+01:00", "discarded": ["lungs", "defects"]},
    {"time": "2026-03-01T12:34:00+01:00", "marked": "Point in the pulmonary trunk"},
]


def section(tmp_path, content):
    path = tmp_path / "trail.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return corrections_section(path)


def test_every_entry_is_printed_with_time_amount_and_effect(tmp_path):
    html = section(tmp_path, ENTRIES).html
    assert html.count("<tr>") == 1 + len(ENTRIES)
    assert "2026-03-01 12:30:00" in html
    assert "+12 voxels (0.12 mL), −3400 voxels (34.50 mL)" in html
    assert "(left lung) 2.50 → 2.25 L" in html
    assert "– → −850" in html
    assert "Original lungs restored" in html
    assert "Corrections of lungs, defects discarded" in html
    assert "Point in the pulmonary trunk" in html


def test_text_from_the_file_is_escaped(tmp_path):
    entry = {**ENTRIES[0], "segment": "<script>alert(1)</script>"}
    assert "<script>" not in section(tmp_path, [entry]).html


@pytest.mark.parametrize("content", ["no json", '{"a": 1}', '[{"time": "2026"}]', "[1]"])
def test_other_files_are_refused(tmp_path, content):
    with pytest.raises(InputError, match="no audit trail of corrections"):
        section(tmp_path, content)

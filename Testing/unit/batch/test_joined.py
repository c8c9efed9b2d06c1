"""Several analyses of a case become one table and one report, from files alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lungperfusion.batch.joined import (
    MOST_COLUMNS,
    by_column,
    column_name,
    joined_report,
    region_rows,
)
from lungperfusion.batch.parts import read_parts, write_parts
from lungperfusion.measurement import measured, missing
from lungperfusion.quality import Gate
from lungperfusion.registry import lobar_columns
from lungperfusion.results.analysis import Analysis, Table
from lungperfusion.results.provenance import InputFile, Provenance
from lungperfusion.results.report import render_report
from lungperfusion.results.section import Section
from lungperfusion.results.tables import measurement_rows
from lungperfusion.terms import MEASURES


@pytest.fixture
def lungs():
    return Analysis(
        module="lungs",
        measurements=(
            measured("lungs", "tlv", 1 / 3, "voxels"),
            measured("left_lung", "tlv", 0.1 + 0.2, "voxels", caution="cut off"),
            measured("left_upper_lobe", "laa_950", 12.0, "below -950 HU"),
            missing("right_lung", "tlv", "no right lung"),
        ),
        gates=(
            Gate(id="noise", verdict="warn", message="much noise", value=31.5, unit="HU"),
            Gate(id="view", verdict="unknown", message="not said"),
        ),
        warnings=("a warning",),
        parameters={"zones": "thirds", "rim_mm": 10.0, "edges": [1, 2]},
        tables={
            "found": Table(("name", "volume_ml", "kept"), ({"name": "x", "volume_ml": 1 / 3},)),
            "none": Table(("name",), ()),
        },
        sections=(
            Section(title="Picture", html="<svg></svg>", place="top"),
            Section(title="More", html="<p>ü</p>"),
        ),
    )


@pytest.fixture
def iodine():
    return Analysis(
        module="ipv",
        measurements=(
            measured("lungs", "iodine_mean", 45.7, "smoothed"),
            measured("lungs", "tlv", 5.0, "another image"),
            measured("left_upper_lobe", "iodine_mean", 40.0, "smoothed"),
        ),
    )


PROVENANCE = Provenance(
    inputs=(InputFile(role="ct", name="scan", sha256="ab" * 32),),
)


def written(tmp_path, analysis, **options):
    folder = tmp_path / analysis.module
    folder.mkdir()
    write_parts(folder, [analysis], case="p1", provenance=PROVENANCE, **options)
    return folder


def test_report_from_files_is_that_of_a_single_run(tmp_path, lungs):
    analysis, provenance, _ = read_parts(written(tmp_path, lungs))

    page = joined_report([analysis], case="p1", provenances=[provenance], failures={})

    costless = PROVENANCE.as_json()
    assert page == render_report([lungs], case="p1", provenance=costless)


def test_files_hold_no_cost_so_that_bytes_repeat(tmp_path, lungs):
    _, provenance, wanted = read_parts(written(tmp_path, lungs, report=False))

    assert not {"duration_s", "peak_memory_mib"} & provenance.keys()
    assert not wanted


def test_joined_report_shows_lobes_of_all_analyses(tmp_path, lungs, iodine):
    read = [read_parts(written(tmp_path, analysis)) for analysis in (lungs, iodine)]

    page = joined_report(
        [analysis for analysis, _, _ in read],
        case="p1",
        provenances=[provenance for _, provenance, _ in read],
        failures={"ctvq": "no <expiration>"},
    )

    table = page.partition("All analyses by lobe")[2].partition("</table>")[0]
    (lobe,) = [row for row in table.split("<tr>") if "Left upper lobe" in row]
    assert "12.0" in lobe
    assert "40.0" in lobe
    (right,) = [row for row in table.split("<tr>") if "Right lung" in row]
    assert 'title="no right lung">n/a' in right
    assert "5.00" not in table  # of two analyses without lobes the first one gives the volume
    assert "no &lt;expiration&gt;" in page
    assert page.count("ab" * 6 + "</code>") == 1  # one scan in two analyses is one input
    assert "lungs ct, ipv ct".lower() in page.lower()


def test_tables_of_all_analyses_fit_on_a_page(tmp_path, lungs):
    every = tuple(measured("left_lung", measure, 1.0, "toy") for measure in lobar_columns())
    _, provenance, _ = read_parts(written(tmp_path, lungs))

    page = joined_report(
        [replace(lungs, measurements=every), replace(lungs, module="ipv", measurements=())],
        case="p1",
        provenances=[provenance] * 2,
        failures={},
    )

    section = page.partition("All analyses by lobe")[2].partition("</section>")[0]
    rows = [row for row in section.split("<tr>") if "Left lung" in row]
    widths = [row.count("<td") for row in rows]
    assert sum(widths) == len(every)
    assert len(widths) > 1
    assert max(widths) <= MOST_COLUMNS


def test_measure_comes_from_the_analysis_that_has_it_by_lobe(tmp_path, lungs, iodine):
    more = (*iodine.measurements, measured("left_upper_lobe", "tlv", 1.23, "another image"))
    read = [
        read_parts(written(tmp_path, analysis))
        for analysis in (lungs, replace(iodine, measurements=more))
    ]

    page = joined_report(
        [analysis for analysis, _, _ in read],
        case="p1",
        provenances=[provenance for _, provenance, _ in read],
        failures={},
    )

    table = page.partition("All analyses by lobe")[2].partition("</section>")[0]
    assert "1.23" in table
    assert "5.00" in table
    assert "Total lung volume (ipv)" in table


def test_regions_side_by_side(lungs, iodine):
    rows = [
        *measurement_rows("p1", "lungs", lungs.measurements),
        *measurement_rows("p1", "ipv", iodine.measurements),
    ]

    table, columns = region_rows(rows)

    assert columns == [
        *("region", "cautions", "lungs_tlv_l", "lungs_laa_950_percent"),
        *("ipv_iodine_mean_hu", "ipv_tlv_l"),
    ]
    assert [row["region"] for row in table] == [
        *("lungs", "left_lung", "right_lung", "left_upper_lobe")
    ]
    assert table[0]["lungs_tlv_l"] == 1 / 3
    assert table[3] == {
        "region": "left_upper_lobe",
        "cautions": "lungs_laa_950_percent",
        "lungs_laa_950_percent": 12.0,
        "ipv_iodine_mean_hu": 40.0,
    }


def test_values_to_read_with_care_are_marked(iodine):
    cut = Gate(id="truncation", verdict="warn", message="The lungs are <cut> off.")
    cut_off = replace(iodine, gates=(cut,))

    table, _ = region_rows(measurement_rows("p1", "ipv", cut_off.measurements))
    other = replace(iodine, module="lungs", measurements=())
    provenances = [PROVENANCE.as_json()] * 2
    page = joined_report([cut_off, other], case="p1", provenances=provenances, failures={})

    assert [row["cautions"] for row in table] == ["ipv_tlv_l", ""]
    marked = '5.00<abbr title="Caution: The lungs are &lt;cut&gt; off">*</abbr>'
    assert marked in page.partition("All analyses by lobe")[2].partition("</section>")[0]


def test_methods_of_one_measure_get_columns_of_their_own():
    rows = measurement_rows(
        "p1",
        "lungs",
        (
            measured("lungs", "tlv", 1.0, "method A, 2 mm"),
            measured("lungs", "tlv", 2.0, "method B"),
            measured("left_lung", "tlv", 3.0, "method B"),
        ),
    )

    assert {key: row["value"] for key, row in by_column(rows).items()} == {
        ("lungs", "lungs_tlv_l_method_a_2_mm"): 1.0,
        ("lungs", "lungs_tlv_l_method_b"): 2.0,
        ("left_lung", "lungs_tlv_l_method_b"): 3.0,
    }


def test_every_measure_has_a_column_name_that_scripts_can_use():
    names = [column_name("m", measure.id, measure.unit) for measure in MEASURES.values()]

    assert len(set(names)) == len(names)
    assert all(name.isidentifier() for name in names)

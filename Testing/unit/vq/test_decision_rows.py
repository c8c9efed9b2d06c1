"""What volume reduction and the search for defects come to stands in the tables."""

from __future__ import annotations

from lungperfusion.measurement import measured
from lungperfusion.vq.decisions import measure_decisions
from lungperfusion.vq.planning import flag_surgery, rank_targets

ZONES = ("left_upper_zone", "right_upper_zone")
LOBES = ("left_upper_lobe", "left_lower_lobe")


def rows_of(measurements):
    flag, targets = flag_surgery(measurements), rank_targets(measurements)
    found = measure_decisions(flag, targets, (), calibration="uncalibrated")
    return {(row.region, row.measure): row for row in found}


def zone(name, emphysema, perfusion):
    return (
        measured(name, "inspiratory_volume", 800.0, ""),
        measured(name, "emphysema", emphysema, ""),
        measured(name, "perfusion_share", perfusion, ""),
    )


def test_the_flag_is_a_row_and_unknown_is_missing():
    met = rows_of([m for name in ZONES for m in zone(name, 55.0, 3.0)])
    not_met = rows_of([m for name in ZONES for m in zone(name, 55.0, 5.0)])
    unknown = rows_of(zone("left_upper_zone", 55.0, 3.0))

    assert met["lungs", "lvrs_flag"].value == 1
    assert "55 % emphysema, 6 %" in met["lungs", "lvrs_flag"].method
    assert not_met["lungs", "lvrs_flag"].value == 0
    assert unknown["lungs", "lvrs_flag"].status == "missing"
    assert met["lungs", "perfusion_defect_score"].value == 0


def test_lobes_have_rank_and_score_or_a_reason():
    values = {"left_upper_lobe": (40.0, 10.0), "left_lower_lobe": (5.0, 40.0)}
    rows = rows_of(
        [
            measured(lobe, measure, value, "")
            for lobe, (emphysema, share) in values.items()
            for measure, value in (
                ("emphysema", emphysema),
                ("inspiratory_volume", 1000.0),
                ("ventilation_share", share),
                ("perfusion_share", share),
                ("volume_share", 25.0),
            )
        ]
    )
    assert rows["left_upper_lobe", "target_rank"].value == 1
    assert rows["left_upper_lobe", "target_score"].value == 40 + 15
    assert rows["left_lower_lobe", "target_rank"].value == 2
    assert rows["right_upper_lobe", "target_rank"].status == "missing"

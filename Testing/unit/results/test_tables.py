"""Result tables: columns, numbers, bytes."""

import csv
import io
import math

import pytest

from lungperfusion.measurement import measured, missing
from lungperfusion.results.tables import COLUMNS, csv_text, measurement_rows, number_text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (4.0000000001, "4"),
        (1234567.0, "1.23457e+06"),
        (-839.6, "-839.6"),
        (-0.0, "0"),
        (1e-9, "1e-09"),
        (math.nan, "NaN"),
        (100 / 3, "33.3333"),
    ],
)
def test_numbers_have_six_digits(value, text):
    assert number_text(value) == text


def test_measurements_csv_has_the_agreed_columns():
    rows = measurement_rows(
        "case-1",
        "lungs",
        [
            measured("lungs", "tlv", 4.0, "voxels"),
            measured("left_lung", "tlv", 1.9, "voxels", caution="cut by the field of view"),
            missing("right_lung", "tlv", "no voxel of the right lung, or two"),
        ],
    )
    text = csv_text(rows, COLUMNS)
    assert text.splitlines()[0] == "case,module,region,measure,value,unit,method,status,reason"
    assert "\r" not in text
    parsed = list(csv.DictReader(io.StringIO(text)))
    assert [row["status"] for row in parsed] == ["ok", "caution", "missing"]
    assert [row["value"] for row in parsed] == ["4", "1.9", "NaN"]
    assert parsed[2]["reason"] == "no voxel of the right lung, or two"


def test_an_empty_table_keeps_its_columns():
    assert csv_text([], ("defect", "volume_ml")) == "defect,volume_ml\n"


def test_refuses_a_row_with_an_unknown_column():
    with pytest.raises(ValueError, match="volume_l"):
        csv_text([{"volume_l": 1.0}], ("volume_ml",))

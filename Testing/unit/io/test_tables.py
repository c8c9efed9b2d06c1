"""Tables as spreadsheets and people save them."""

from __future__ import annotations

import pytest

from lungperfusion.errors import InputError
from lungperfusion.io.tables import read_small_table, with_hyphens

HEAD, LINE = "case;analysis;ct\r\n", "p1;lungs;ct.nrrd\r\n"


@pytest.fixture
def table(tmp_path):
    def write(content: str | bytes, encoding: str = "utf-8"):
        path = tmp_path / "table.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
        return read_small_table(path)

    return write


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (HEAD + LINE, "utf-8"),
        (HEAD + LINE, "utf-8-sig"),
        (HEAD + LINE, "utf-16"),
        ((HEAD + LINE).replace(";", "\t"), "utf-16"),
        ((HEAD + LINE).replace(";", ","), "utf-8"),
        ("sep=;\r\n" + HEAD + LINE, "utf-8"),
        ("sep=;\r\n" + HEAD + LINE, "utf-8-sig"),
        ("sep=|\n" + (HEAD + LINE).replace(";", "|"), "utf-8"),
        ((HEAD + LINE).replace("\r\n", "\r"), "utf-8"),
        ("\r\n" + HEAD + "\r\n;;\r\n" + LINE, "utf-8"),
        (HEAD.replace("ct\r", "ct;;\r") + "p1;lungs;ct.nrrd;;\r\n", "utf-8"),
        (HEAD + "\u00a0p1;lungs\u200b;ct.nrrd\r\n", "utf-8"),
        (HEAD + 'p1;lungs;"""ct.nrrd"""\r\n', "utf-8"),
    ],
)
def test_habits_of_spreadsheets_make_no_difference(table, text, encoding):
    (row,) = table(text, encoding).rows
    assert {k: v for k, v in row.cells.items() if k} == {
        "case": "p1",
        "analysis": "lungs",
        "ct": "ct.nrrd",
    }


def test_line_numbers_are_those_of_the_file(table):
    assert [row.number for row in table("sep=;\n" + HEAD + "\n" + LINE + LINE).rows] == [4, 5]


def test_other_encoding_is_read_and_said(table):
    found = table("case;x\nM\u00fcller;1\n", "cp1252")
    assert found.rows[0].cells["case"] == "M\u00fcller"
    assert "Windows-1252" in found.notes[0]


@pytest.mark.parametrize(
    ("text", "value"),
    [("a;b\n12,5;x\n", "12.5"), ("a\tb\n-1,5e3\tx\n", "-1.5e3"), ('a,b\n"12,5",x\n', "12,5")],
)
def test_decimal_comma_is_one_where_commas_do_not_separate(table, text, value):
    assert table(text).mappings[0]["a"] == value


@pytest.mark.parametrize("error", ["#NAME?", "#name?", "#N/A", "#REF!"])
def test_spreadsheet_errors_are_refused_with_their_place(table, error):
    with pytest.raises(InputError, match="line 3, column options: the spreadsheet saved"):
        table(f"case;options\np1;\np2;{error}\n")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b" \r\n", "is empty"),
        (b"PK\x03\x04" + bytes(300), "workbook of a spreadsheet"),
        (b"\xd0\xcf\x11\xe0" + bytes(300), "workbook of a spreadsheet"),
        (b"a;b\n1;\x00\n", "is no text"),
        (b"a;b\n1;\x81\x8d\n", "is no text"),
        (b"\xff\xfea\x00\xd8", "damaged text"),
        (b"a;b\n1;2;3\n", "line 2: 3 cells but 2 columns"),
        (b'a;b\n"1;2\n', "no sound CSV"),
    ],
)
def test_what_is_no_table_is_one_sentence(table, content, message):
    with pytest.raises(InputError, match=message):
        table(content)


def test_huge_cells_are_refused(table):
    for length, message in ((200_000, "no sound CSV"), (5_000, "a cell has 5000 characters")):
        with pytest.raises(InputError, match=message):
            table("a;b\n" + "x" * length + ";1\n")


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(InputError, match="there is no file"):
        read_small_table(tmp_path / "gone.csv")
    with pytest.raises(InputError, match="is no file"):
        read_small_table(tmp_path)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("\u2013zones volume", "--zones volume"),
        ("\u2014zones volume", "--zones volume"),
        ("-\u2013zones volume", "--zones volume"),
        ("--rim-mm 12", "--rim-mm 12"),
        ("--x a\u2013b", "--x a\u2013b"),
    ],
)
def test_long_dashes_of_word_processors(typed, meant):
    assert with_hyphens(typed) == meant

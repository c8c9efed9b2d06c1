"""Small tables as people save them: any common encoding, separator and habit of a spreadsheet."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from lungperfusion.errors import InputError
from lungperfusion.naming import named

MAX_BYTES = 64 * 2**20
"""A table of cases, points or ratings is far smaller."""

LONGEST_CELL = 2000
"""Characters; paths and notes are shorter."""

SEPARATORS = ",;\t"
SPREADSHEET_ERRORS = ("#NAME?", "#REF!", "#VALUE!", "#N/A", "#DIV/0!", "#NUM!", "#NULL!")
"""What Excel and LibreOffice save in place of a value they could not compute."""

_INVISIBLE = dict.fromkeys(map(ord, "\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"))
DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d+(?:[eE][-+]?\d+)?")
_LONG_DASHES = re.compile(
    r"(?<!\S)[\u2013\u2014\u2212-]*[\u2013\u2014\u2212][\u2013\u2014\u2212-]*(?=\w)"
)


@dataclass(frozen=True, slots=True)
class Row:
    """One filled line."""

    number: int
    """Line of the file, from 1."""
    cells: Mapping[str, str]
    """By column; a line that ends early lacks the rest."""


@dataclass(frozen=True, slots=True)
class SmallTable:
    """A table with a header line."""

    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    separator: str
    notes: tuple[str, ...] = ()
    """What was assumed on reading."""

    @property
    def mappings(self) -> list[dict[str, str]]:
        """Rows as `csv.DictReader` gives them, empty cells included, decimal commas read."""
        return [
            {column: self.plain(row.cells.get(column, "")) for column in self.columns if column}
            for row in self.rows
        ]

    def plain(self, cell: str) -> str:
        """Cell with a decimal point, where commas do not separate the cells.

        Examples
        --------
        >>> SmallTable((), (), ";").plain("12,5"), SmallTable((), (), ",").plain("12,5")
        ('12.5', '12,5')

        """
        if self.separator != "," and DECIMAL_COMMA.fullmatch(cell):
            return cell.replace(",", ".")
        return cell


def read_small_table(path: Path, *, longest_cell: int = LONGEST_CELL) -> SmallTable:
    """Read a CSV file.

    Text may be UTF-8, UTF-16 with its mark, or else Windows-1252; cells are separated by commas,
    semicolons or tabs, as the header line shows or a line ``sep=;`` before it says.

    Parameters
    ----------
    path
        CSV file with a header line.
    longest_cell
        Characters that a cell may hold; more are a sign of damage.

    Raises
    ------
    InputError
        If it is missing, no text, no sound CSV, or holds errors of a spreadsheet.

    """
    path = Path(path)
    text, notes = table_text(path)
    first, _, rest = text.partition("\n")
    said = re.fullmatch(r"\s*sep\s*=\s*(.)\s*", first.strip('"'), re.IGNORECASE)
    separator = "\t" if said is None and first.strip() == "sep=" else said[1] if said else ""
    skipped = 1 if separator else 0
    body = rest if separator else text
    header = body.lstrip("\r\n").partition("\n")[0]
    separator = separator or max(SEPARATORS, key=header.count)
    columns, rows = _rows(path, body, separator, skipped, longest_cell)
    _refuse_spreadsheet_errors(path, rows)
    return SmallTable(columns, rows, separator, notes)


def with_hyphens(words: str) -> str:
    """Write options with two hyphens that a word processor has turned into long dashes.

    Examples
    --------
    >>> with_hyphens("\\u2013zones volume \\u2013\\u2013rim-mm 12")
    '--zones volume --rim-mm 12'

    """
    return _LONG_DASHES.sub("--", words)


def table_text(path: Path) -> tuple[str, tuple[str, ...]]:
    """Read the text of a table in any common encoding, and tell what was assumed."""
    if not path.exists():
        raise InputError(f"there is no file {named(path.name)}; check the spelling")
    if not path.is_file():
        raise InputError(f"{named(path.name)} is no file; name a CSV table")
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise InputError(
                f"{named(path.name)} has {size / 2**20:.0f} MiB, a table has at most "
                f"{MAX_BYTES / 2**20:.0f}; name the right file"
            )
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{named(path.name)} cannot be read: {error.strerror}") from error
    if not content.strip():
        raise InputError(f"{named(path.name)} is empty; expected a CSV table with a header line")
    if content[:4] == b"PK\x03\x04" or content[:4] == b"\xd0\xcf\x11\xe0":
        raise InputError(f"{named(path.name)} is a workbook of a spreadsheet; save it as CSV UTF-8")
    text, notes = _decoded(path, content)
    if "\0" in text:
        raise InputError(f"{named(path.name)} is no text; save it as CSV UTF-8")
    return text.replace("\r\n", "\n").replace("\r", "\n"), notes


def _decoded(path: Path, content: bytes) -> tuple[str, tuple[str, ...]]:
    for mark, encoding in (
        (codecs.BOM_UTF8, "utf-8-sig"),
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    ):
        if content.startswith(mark):
            try:
                return content.decode(encoding), ()
            except UnicodeDecodeError as error:
                raise InputError(
                    f"{named(path.name)} is damaged text; save it as CSV UTF-8"
                ) from error
    try:
        return content.decode("utf-8"), ()
    except UnicodeDecodeError:
        try:
            text = content.decode("cp1252")
        except UnicodeDecodeError as error:
            raise InputError(f"{named(path.name)} is no text; save it as CSV UTF-8") from error
    note = "the table is not UTF-8 and was read as Windows-1252; check letters beyond a to z"
    return text, (note,)


def _rows(
    path: Path, body: str, separator: str, skipped: int, longest_cell: int
) -> tuple[tuple[str, ...], tuple[Row, ...]]:
    columns: tuple[str, ...] = ()
    rows: list[Row] = []
    try:
        for number, found in _records(body, separator):
            cells = [_clean(cell) for cell in found]
            if not any(cells):
                continue
            if not columns:
                columns = tuple(cells)
                continue
            if max(map(len, cells)) > longest_cell:
                raise InputError(
                    f"{named(path.name)}, line {number + skipped}: a cell has "
                    f"{max(map(len, cells))} characters; the table is damaged"
                )
            if any(cells[len(columns) :]):
                raise InputError(
                    f"{named(path.name)}, line {number + skipped}: {len(cells)} cells but "
                    f"{len(columns)} columns; quote cells that hold {separator!r}"
                )
            rows.append(Row(number + skipped, dict(zip(columns, cells, strict=False))))
    except csv.Error as error:
        raise InputError(
            f"{named(path.name)} is no sound CSV ({named(error)}); save it again"
        ) from error
    return columns, tuple(rows)


def _records(body: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(body, newline=""), delimiter=separator, strict=True)
    for record in reader:
        yield reader.line_num, record


def _clean(cell: str) -> str:
    """Cell without blanks of any kind and quotation marks around it."""
    cell = (cell if cell.isascii() else cell.translate(_INVISIBLE)).strip()
    if len(cell) > 1 and cell[0] == cell[-1] == '"':
        cell = cell[1:-1].strip()
    return cell


def _refuse_spreadsheet_errors(path: Path, rows: tuple[Row, ...]) -> None:
    for row in rows:
        for column, cell in row.cells.items():
            if cell.startswith("#") and cell.upper() in SPREADSHEET_ERRORS:
                raise InputError(
                    f"{named(path.name)}, line {row.number}, column {column}: the spreadsheet "
                    f"saved {cell}, most often for text that begins with '-' or '='; format the "
                    "column as text and type it again"
                )

"""What a study is to show: groups, rows, relations; from a TOML file, a preset or options."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

from lungperfusion.errors import InputError
from lungperfusion.io.tables import MAX_BYTES
from lungperfusion.naming import named

Show = Literal["auto", "mean_sd", "median_iqr", "both", "count"]
Test = Literal["auto", "welch", "student", "mann_whitney", "kruskal", "chi2", "fisher"]
Operator = Literal[">=", "<", ">", "<=", "="]

MOST_DECIMALS = 9

PRESETS = Path(__file__).parent / "presets"
"""Layouts of published tables."""

_CONDITION = re.compile(r"\s*([^\s<>=]+)\s*(>=|<=|>|<|=)\s*(.+?)\s*")
_STRATUM = re.compile(r"([^\s:]+):(-?\d+(?:\.\d+)?)")


@dataclass(frozen=True, slots=True)
class Condition:
    """``fvc_pct >= 80``."""

    column: str
    operator: Operator
    value: str

    @property
    def number(self) -> float:
        """Limit as a number; NaN where it is a word."""
        try:
            return float(self.value)
        except ValueError:
            return math.nan

    def __str__(self) -> str:
        """Write as in a table."""
        sign = {">=": "≥", "<=": "≤"}.get(self.operator, self.operator)
        return f"{self.column} {sign} {self.value}"


@dataclass(frozen=True, slots=True)
class Group:
    """Patients who meet all conditions; everybody without any."""

    label: str
    where: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True)
class Contrast:
    """Groups that are compared with one another; a family of tests."""

    label: str
    groups: tuple[Group, ...]

    def __post_init__(self) -> None:
        """Refuse what cannot be compared."""
        if len(self.groups) < 2:
            raise InputError(f"the comparison {self.label!r} needs at least two groups")

    def own_columns(self) -> frozenset[str]:
        """Columns that part the groups: they are never tested against themselves."""
        conditions = [set(group.where) for group in self.groups]
        shared = set.intersection(*conditions)
        return frozenset(c.column for found in conditions for c in found - shared)


@dataclass(frozen=True, slots=True, kw_only=True)
class RowSpec:
    """One row of the table."""

    column: str
    label: str = ""
    show: Show = "auto"
    """auto: codes are counted, other numbers are given as mean ± SD."""
    decimals: int = -1
    """-1: as the spread deserves."""
    test: Test = "auto"
    level: str = ""
    """Of a category, the one that is counted; empty for all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """Two columns that are set against one another."""

    x: str
    y: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RocSpec:
    """A score that is to tell cases with an outcome from those without."""

    score: str
    outcome: str
    positive: str = ""
    """Condition of the outcome column, such as ``>= 250``; empty for 1 or yes."""
    cut_offs: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LobarSpec:
    """Measures of all lobes, patients being a random effect."""

    x: str
    y: str
    size: str = "lobe_volume_share"
    """Share of the lungs that a lobe takes: its null correlation is given beside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Specification:
    """Everything that a study is to show."""

    title: str = "Cohort"
    groups: tuple[Group, ...] = (Group("All patients"),)
    contrasts: tuple[Contrast, ...] = ()
    rows: tuple[RowSpec, ...] = ()
    relations: tuple[Relation, ...] = ()
    rocs: tuple[RocSpec, ...] = ()
    lobar: tuple[LobarSpec, ...] = ()
    stars: bool = False
    show_own: bool = True
    """Whether a column shows the values of the one variable that it is parted by."""
    optional: bool = False
    """Whether what names a column that is not there is left out, and said, instead of refused."""
    footnotes: tuple[str, ...] = ()


def condition(text: str) -> Condition:
    """Read a condition.

    Examples
    --------
    >>> condition("fvc_pct>=80")
    Condition(column='fvc_pct', operator='>=', value='80')

    """
    found = _CONDITION.fullmatch(text)
    if found is None:
        raise InputError(
            f"a condition is written 'column >= number' or 'column = word' (operators: "
            f"{', '.join(get_args(Operator))}), not {text!r}"
        )
    read = Condition(found[1], found[2], found[3])  # type: ignore[arg-type]
    if read.operator != "=" and math.isnan(read.number):
        raise InputError(f"{text!r}: {read.operator} needs a number, not {read.value!r}")
    return read


def strata(words: Sequence[str]) -> tuple[tuple[Group, ...], tuple[Contrast, ...]]:
    """Make groups and comparisons of ``--strata fvc_pct:80 dlco_pct:80``.

    Every column gives two groups, at least its limit and below.
    """
    groups: list[Group] = []
    contrasts: list[Contrast] = []
    for word in words:
        found = _STRATUM.fullmatch(word)
        if found is None:
            raise InputError(f"a stratum is written COLUMN:LIMIT, such as fvc_pct:80, not {word!r}")
        limits = (Condition(found[1], ">=", found[2]), Condition(found[1], "<", found[2]))
        pair = tuple(Group(str(limit), (limit,)) for limit in limits)
        groups += pair
        contrasts.append(Contrast(f"{found[1]} at {found[2]}", pair))
    return tuple(groups), tuple(contrasts)


def with_strata(specification: Specification, words: Sequence[str]) -> Specification:
    """Specification with further groups."""
    groups, contrasts = strata(words)
    known = {group.label for group in specification.groups}
    return replace(
        specification,
        groups=(*specification.groups, *(g for g in groups if g.label not in known)),
        contrasts=(*specification.contrasts, *contrasts),
    )


def preset_names() -> tuple[str, ...]:
    """Layouts that come with the program."""
    return tuple(sorted(path.stem for path in PRESETS.glob("*.toml")))


def read_specification(path: Path) -> Specification:
    """Read a TOML file.

    Raises
    ------
    InputError
        If it is no TOML, or has a key that is not known.

    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"{named(path.name)} is too large for a table's layout")
        record = tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise InputError(f"{named(path.name)} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{named(path.name)} is no sound TOML ({named(error)})") from error
    except RecursionError as error:
        raise InputError(f"{named(path.name)} is nested too deeply for a table's layout") from error
    try:
        return _specification(record)
    except InputError as error:
        raise InputError(f"{named(path.name)}: {error}") from error


def _specification(record: Mapping[str, Any]) -> Specification:
    known = {"title", "stars", "show_own", "optional", "footnotes"}
    _refuse_unknown(
        "the file", record, known | {"group", "comparison", "row", "relation", "roc", "lobar"}
    )
    groups = tuple(map(_group, _tables(record, "group"))) or Specification().groups
    by_label = {group.label: group for group in groups}
    if len(by_label) < len(groups):
        raise InputError("two groups share a label")
    return Specification(
        title=_typed(record, "title", str, "Cohort"),
        stars=_typed(record, "stars", bool, False),
        show_own=_typed(record, "show_own", bool, True),
        optional=_typed(record, "optional", bool, False),
        footnotes=_texts("the file", record, "footnotes"),
        groups=groups,
        contrasts=tuple(_contrast(entry, by_label) for entry in _tables(record, "comparison")),
        rows=_records(RowSpec, "row", record, ("column",)),
        relations=_records(Relation, "relation", record, ("x", "y")),
        rocs=_records(RocSpec, "roc", record, ("score", "outcome")),
        lobar=_records(LobarSpec, "lobar", record, ("x", "y")),
    )


def _group(entry: Mapping[str, Any]) -> Group:
    _refuse_unknown("[[group]]", entry, {"label", "where"})
    if not isinstance(entry.get("label"), str):
        raise InputError("[[group]] needs a label, in words")
    return Group(entry["label"], tuple(map(condition, _texts("[[group]]", entry, "where"))))


def _contrast(entry: Mapping[str, Any], groups: Mapping[str, Group]) -> Contrast:
    _refuse_unknown("[[comparison]]", entry, {"label", "groups"})
    labels = _texts("[[comparison]]", entry, "groups")
    lacking = [label for label in labels if label not in groups]
    if lacking:
        raise InputError(f"[[comparison]] names {lacking[0]!r}, which is no label of a [[group]]")
    title = _typed(entry, "label", str, " / ".join(labels))
    return Contrast(title, tuple(groups[label] for label in labels))


_CODES = ("level", "positive")
"""Keys that may be numbers: tables hold codes."""
_CHOICES = {"show": get_args(Show), "test": get_args(Test)}


def _records[T](kind: type[T], name: str, record: Mapping[str, Any], needed: Sequence[str]) -> Any:
    out = []
    where = f"[[{name}]]"
    for entry in _tables(record, name):
        _refuse_unknown(where, entry, {f.name for f in fields(kind)})  # type: ignore[arg-type]
        lacking = [key for key in needed if key not in entry]
        if lacking:
            raise InputError(f"{where} lacks {lacking[0]!r}")
        out.append(kind(**{key: _value(where, key, value) for key, value in entry.items()}))
    return tuple(out)


def _value(where: str, key: str, value: object) -> object:
    """Value of a key of a row, relation or curve, if it is one that the key may have."""
    if key in _CHOICES and value not in _CHOICES[key]:
        raise InputError(f"{where}: {key} is one of {', '.join(_CHOICES[key])}, not {value!r}")
    if key == "decimals":
        if not isinstance(value, int) or not -1 <= value <= MOST_DECIMALS:
            raise InputError(
                f"{where}: decimals is a whole number up to {MOST_DECIMALS}, not {value!r}"
            )
        return value
    if key == "cut_offs":
        numbers = value if isinstance(value, list) else [value]
        if not all(isinstance(n, int | float) and math.isfinite(n) for n in numbers):
            raise InputError(f"{where}: cut_offs is a list of numbers, not {value!r}")
        return tuple(map(float, numbers))
    if key in _CODES and isinstance(value, int | float):
        return str(value)
    if not isinstance(value, str):
        raise InputError(f"{where}: {key} is text in quotes, not {value!r}")
    return value


def _tables(record: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    entries = record.get(name, [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InputError(f"{name} is written as [[{name}]] with its keys below")
    return entries


def _texts(where: str, record: Mapping[str, Any], key: str) -> tuple[str, ...]:
    texts = record.get(key, [])
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise InputError(f"{where}: {key} is a list of texts, each in quotes")
    return tuple(texts)


def _typed(record: Mapping[str, Any], key: str, kind: type, default: Any) -> Any:
    value = record.get(key, default)
    if not isinstance(value, kind):
        raise InputError(f"{key} must be {'true or false' if kind is bool else 'text'}")
    return value


def _refuse_unknown(where: str, entry: Mapping[str, Any], known: set[str]) -> None:
    unknown = sorted(set(entry) - known)
    if unknown:
        raise InputError(f"{where} has {unknown[0]!r}; known are {', '.join(sorted(known))}")

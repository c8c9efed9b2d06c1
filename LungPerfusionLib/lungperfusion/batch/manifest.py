"""The manifest: one CSV line for each analysis of each case, checked before anything runs."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lungperfusion.batch.analyses import AnalysisCommand, find_analysis
from lungperfusion.batch.cases import Case, Job
from lungperfusion.batch.proposal import OPEN
from lungperfusion.errors import InputError
from lungperfusion.io.tables import SmallTable, read_small_table, with_hyphens
from lungperfusion.io.windows_names import is_device
from lungperfusion.naming import CASE_PATTERN, named
from lungperfusion.registry import COMMANDS, Command

FIXED_COLUMNS = ("case", "analysis", "options", "note")
"""Columns beside those named after arguments; ``note`` is for people and not read."""

_TRUE, _FALSE = {"yes", "true", "1"}, {"no", "false", "0"}

MOST_FAULTS = 50
"""Faults that are listed; one wrong word in a column makes as many as there are lines."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything that a batch has to do."""

    cases: tuple[Case, ...]
    """In the order of their first line."""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    cells: Mapping[str, str]


def read_manifest(path: Path, commands: Mapping[str, Command] = COMMANDS) -> Manifest:
    """Read and check a whole manifest.

    Parameters
    ----------
    path
        CSV file with a header line, as `read_small_table` takes it.
        Columns: ``case``, ``analysis``, one for each argument that any line gives (``ct``,
        ``lung_mask``, ``zones``, ...), ``options`` with further words of the command line, and
        ``note``, which is not read.  Relative paths start at the manifest's folder.
    commands
        Commands to look among, by name.

    Raises
    ------
    InputError
        With the faults of the file, each with its line number.

    """
    path = Path(path)
    faults: list[str] = []
    header, lines, table = _table(path)
    faults += _header_faults(header)
    analyses = _analyses(lines, commands, faults)
    known = {name for analysis in analyses.values() for name in analysis.actions}
    if analyses:
        faults += [
            f"line 1: no analysis named here has an argument {name!r}; they have: "
            f"{', '.join(sorted(known))}"
            for name in header
            if name and name not in FIXED_COLUMNS and name not in known
        ]
    jobs: dict[str, list[Job]] = {}
    for line in lines:
        name = line.cells.get("case", "")
        found = [f"line {line.number}: {fault}" for fault in _case_faults(name, jobs)]
        analysis = analyses.get(line.cells.get("analysis", "").lower())
        if analysis is not None:
            try:
                job = _job(line, analysis, path.parent, known, table)
            except InputError as error:
                found.append(f"line {line.number}: {error}")
            else:
                same = [j.line for j in jobs.get(name, []) if j.analysis == job.analysis]
                if same:
                    found.append(
                        f"line {line.number}: {analysis.name} of case {name} stands in line "
                        f"{same[0]} already; give each case its own name"
                    )
                elif not found:
                    jobs.setdefault(name, []).append(job)
        faults += found
    if not lines:
        faults.append("it has no line below its header; give one for each analysis of each case")
    if faults:
        count = f"{len(faults)} fault{'s' if len(faults) > 1 else ''}"
        shown = faults[:MOST_FAULTS]
        if len(faults) > len(shown):
            shown = [*shown, f"and {len(faults) - len(shown)} more"]
        listing = "\n".join(f"  {fault}" for fault in shown)
        raise InputError(f"{named(path.name)} has {count}, nothing was run:\n{listing}")
    cases = tuple(Case(name, tuple(found)) for name, found in jobs.items())
    return Manifest(cases, (*table.notes, *_shared_inputs(cases)))


def _table(path: Path) -> tuple[list[str], list[_Line], SmallTable]:
    """Header and filled lines of the file; column names as arguments are named."""
    if not path.exists():
        raise InputError(f"there is no manifest {named(path.name)}; check the spelling")
    table = read_small_table(path)
    names = {name: name.lower().lstrip("-").replace("-", "_") for name in table.columns}
    lines = [
        _Line(row.number, {names[name]: cell for name, cell in row.cells.items()})
        for row in table.rows
    ]
    return [names[name] for name in table.columns], lines, table


def _header_faults(header: list[str]) -> Iterator[str]:
    for name in ("case", "analysis"):
        if name not in header:
            yield f"line 1: the column {name!r} is missing"
    for name in sorted({name for name in header if name and header.count(name) > 1}):
        yield f"line 1: the column {name!r} stands there {header.count(name)} times"


def _analyses(
    lines: list[_Line], commands: Mapping[str, Command], faults: list[str]
) -> dict[str, AnalysisCommand]:
    analyses: dict[str, AnalysisCommand] = {}
    unknown: dict[str, str] = {}
    for line in lines:
        name = line.cells.get("analysis", "").lower()
        if name not in analyses and name not in unknown:
            try:
                analyses[name] = find_analysis(name, commands)
            except InputError as error:
                unknown[name] = str(error)
        if name in unknown:
            faults.append(f"line {line.number}: {unknown[name]}")
    return analyses


def _case_faults(name: str, seen: Mapping[str, Any]) -> Iterator[str]:
    """Names must be good as folder names on every system, and tell cases apart there."""
    if not CASE_PATTERN.fullmatch(name) or name.endswith("."):
        yield (
            "a case name has up to 64 letters, digits, '.', '_' or '-', starts with a letter or "
            f"digit and does not end with '.'; {name!r} is none (where a spreadsheet has made a "
            "date or a number of it, format the column as text)"
        )
    elif is_device(name):
        yield f"{name!r} is a device name on Windows; choose another case name"
    for other in seen:
        if other != name and other.casefold() == name.casefold():
            yield f"the cases {other!r} and {name!r} differ only in capitals; rename one"


def _job(
    line: _Line, analysis: AnalysisCommand, base: Path, known: set[str], table: SmallTable
) -> Job:
    """One line of the manifest as an analysis to run."""
    optional: list[str] = []
    positional: list[str] = []
    actions = analysis.actions
    for name, cell in line.cells.items():
        if not cell or name in FIXED_COLUMNS:
            continue
        if cell == OPEN:
            note = line.cells.get("note", "")
            raise InputError(f"{name} is left open ({OPEN})" + (f": {note}" if note else ""))
        if name not in actions:
            if name in known:
                raise InputError(f"{analysis.name} has no argument {name!r}; leave the cell empty")
            continue  # said once, for line 1
        if actions[name].option_strings:
            optional += _words(actions[name], table.plain(cell))
        else:
            positional.append(cell)
    try:
        extra = shlex.split(with_hyphens(line.cells.get("options", "")))
    except ValueError as error:
        raise InputError(f"options: {named(error)}") from error
    try:
        values = analysis.parse([*optional, *extra, *(["--", *positional] if positional else [])])
    except InputError as error:
        note = line.cells.get("note", "")
        raise InputError(f"{error}" + (f" ({note})" if note else "")) from error
    inputs = _resolve_paths(values, analysis, base)
    return Job(analysis.name, analysis.module, values, inputs, line.number)


def _words(action: argparse.Action, cell: str) -> list[str]:
    """Write a cell as words of the command line."""
    option = max(action.option_strings, key=len)
    if action.nargs == 0:
        if cell.lower() in _TRUE:
            return [option]
        if cell.lower() in _FALSE:
            return []
        raise InputError(f"{action.dest} is yes or no, not {cell!r}")
    if action.choices:  # as a spreadsheet capitalises them
        cell = next((c for c in map(str, action.choices) if c.lower() == cell.lower()), cell)
    if action.nargs is None or action.nargs == "?":
        return [f"{option}={cell}"]
    return [option, *shlex.split(cell)]


def _resolve_paths(
    values: dict[str, Any], analysis: AnalysisCommand, base: Path
) -> dict[str, tuple[Path, ...]]:
    """Make paths absolute and check that they are there."""
    inputs: dict[str, tuple[Path, ...]] = {}
    for role in analysis.roles:
        given = values.get(role)
        if given is None or analysis.is_word(role, given):
            continue
        several = isinstance(given, list | tuple)
        paths = [_located(base, str(path)) for path in (given if several else [given])]
        for path in paths:
            if not path.exists():
                raise InputError(f"{role}: there is no file or folder {named(path)}")
        plain = analysis.actions[role].type is not Path
        kept = [str(path) for path in paths] if plain else paths
        values[role] = kept if several else kept[0]
        inputs[role] = tuple(paths)
    used: dict[Path, str] = {}
    for role, found in inputs.items():
        for path in found:
            if path in used:
                other = used[path]
                raise InputError(f"{other} and {role} are the same file, {named(path.name)}")
            used[path] = role
    return inputs


def _located(base: Path, path: str) -> Path:
    """Absolute path of a cell; backslashes of Windows part folders where nothing else is there."""
    place = (base / Path(path).expanduser()).resolve()
    if not place.exists() and "\\" in path:
        place = (base / Path(path.replace("\\", "/"))).resolve()
    return place


def _shared_inputs(cases: tuple[Case, ...]) -> Iterator[str]:
    """Point to files that several cases share: most often a line copied and not finished."""
    first: dict[tuple[str, str, tuple[Path, ...]], tuple[str, int]] = {}
    for case in cases:
        for job in case.jobs:
            for role, paths in job.inputs.items():
                key = (job.analysis, role, paths)
                if key in first:
                    other, line = first[key]
                    yield (
                        f"line {job.line}: {role} of case {case.name} is also that of {other} "
                        f"(line {line})"
                    )
                else:
                    first[key] = (case.name, job.line)

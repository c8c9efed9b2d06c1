"""The commands that analyse one case, and what their arguments mean to a batch.

Every command that names its case (``--case``) and its results folder (``--out``) is an analysis.
A batch knows nothing else of them, so that a new one needs no change here.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from lungperfusion.__main__ import COMMANDS
from lungperfusion.arguments import check_values
from lungperfusion.errors import InputError

RESERVED = frozenset({"help", "out", "case", "overwrite", "quiet", "writer", "keep_stages"})
"""Arguments that the batch sets itself."""


FILE = "FILE"
"""Marks a file among alternative words in the ``metavar`` of an argument: ``auto|none|FILE``."""


def _alternatives(action: argparse.Action) -> set[str]:
    words = action.metavar.split("|") if isinstance(action.metavar, str) else []
    return set(words) if len(words) > 1 else set()


class _Parser(argparse.ArgumentParser):
    """Parser that raises where others end the program."""

    def error(self, message: str) -> NoReturn:
        raise InputError(message)


@dataclass(frozen=True)
class AnalysisCommand:
    """One command as a batch sees it."""

    name: str
    module: str
    """Where its ``add_arguments`` and ``run`` are."""
    parser: argparse.ArgumentParser

    @property
    def actions(self) -> dict[str, argparse.Action]:
        """Arguments that a manifest may give, by name."""
        return {
            action.dest: action
            for action in self.parser._actions
            if action.dest not in RESERVED and action.dest != argparse.SUPPRESS
        }

    @property
    def roles(self) -> tuple[str, ...]:
        """Arguments that name files, or may do so."""
        return tuple(
            name
            for name, action in self.actions.items()
            if action.type is Path or FILE in _alternatives(action)
        )

    def is_word(self, role: str, value: Any) -> bool:
        """Whether a value stands for itself, as ``auto`` does where ``auto|none|FILE`` is asked."""
        return value is None or str(value) in _alternatives(self.actions[role]) - {FILE}

    def parse(self, words: list[str]) -> dict[str, Any]:
        """Read words as the command line does, without the batch's own arguments.

        Raises
        ------
        InputError
            With the words of argparse, or of the command's own ``check_arguments``.

        """
        namespace = self.parser.parse_args(["--out", "unused", *words])
        check_values(namespace)
        check = getattr(importlib.import_module(self.module), "check_arguments", None)
        if check is not None:
            check(namespace)
        values = vars(namespace)
        for action in self.parser._actions:
            own = Path("unused") if action.dest == "out" else action.default
            if action.dest in RESERVED and values.get(action.dest, own) != own:
                raise InputError(f"the batch itself sets {action.option_strings[-1]}; leave it out")
        for name in ("out", "case"):
            del values[name]
        return values


def find_analysis(name: str, commands: Mapping[str, str] | None = None) -> AnalysisCommand:
    """Load one analysis.

    Parameters
    ----------
    name
        Command name, such as ``lungs``.
    commands
        Module by command name; None for the commands of this program.

    Raises
    ------
    InputError
        If there is no such analysis; lists those there are.

    """
    modules = _modules(commands)
    command = _load(name, modules[name]) if name in modules else None
    if command is None:
        known = ", ".join(sorted(analysis_names(commands)))
        raise InputError(f"there is no analysis {name!r}; there are: {known}")
    return command


def analysis_names(commands: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Names of all analyses, in the order of the command line's help."""
    return tuple(name for name, module in _modules(commands).items() if _load(name, module))


def _modules(commands: Mapping[str, str] | None) -> Mapping[str, str]:
    if commands is not None:
        return commands
    return {name: f"lungperfusion.commands.{name}" for name in COMMANDS}


def _load(name: str, module: str) -> AnalysisCommand | None:
    parser = _Parser(prog=name, add_help=False, allow_abbrev=False)
    importlib.import_module(module).add_arguments(parser)
    named = {action.dest for action in parser._actions}
    return AnalysisCommand(name, module, parser) if {"case", "out"} <= named else None

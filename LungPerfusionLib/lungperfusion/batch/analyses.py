"""What the arguments of a command that analyses one case mean to a batch."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from lungperfusion.arguments import check_values
from lungperfusion.errors import InputError
from lungperfusion.registry import COMMANDS, Command, analyses

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


def find_analysis(name: str, commands: Mapping[str, Command] = COMMANDS) -> AnalysisCommand:
    """Load one analysis.

    Parameters
    ----------
    name
        Command name, such as ``lungs``.
    commands
        Commands to look among, by name.

    Raises
    ------
    InputError
        If there is no such analysis; lists those there are.

    """
    command = commands.get(name)
    if command is None or not command.is_analysis:
        known = ", ".join(sorted(analyses(commands)))
        raise InputError(f"there is no analysis {name!r}; there are: {known}")
    parser = _Parser(prog=name, add_help=False, allow_abbrev=False)
    importlib.import_module(command.place).add_arguments(parser)
    return AnalysisCommand(name, command.place, parser)

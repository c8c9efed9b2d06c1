"""The command line: ``lungperfusion COMMAND ...``."""

from __future__ import annotations

import sys

if __name__ == "__main__" and not sys.flags.safe_path:
    del sys.path[0]  # the current folder, where "python -m" looks first: it may hold anything

import argparse
import importlib
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import lungperfusion
from lungperfusion.arguments import check_values
from lungperfusion.errors import CancelledError, InputError
from lungperfusion.registry import COMMANDS
from lungperfusion.terminal import TerminalProgress, prepare_streams, remark
from lungperfusion.trouble import in_words

EXIT_TROUBLE = 1
"""Exit code for what is no fault of the input: a full disk, no memory, a broken connection."""
EXIT_REFUSED = 2
"""Exit code for input that cannot be used, as argparse uses it for arguments."""
EXIT_INTERRUPTED = 130


def make_parser(command: str | None) -> argparse.ArgumentParser:
    """Build the parser, with the arguments of one command (others load only when used)."""
    parser = argparse.ArgumentParser(
        prog="lungperfusion",
        description="Lung perfusion, ventilation and small vessels from chest CT. "
        "Research software: not for diagnosis.",
    )
    parser.add_argument(
        "--version", action="version", version=f"lungperfusion {lungperfusion.__version__}"
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for entry in COMMANDS.values():
        words = entry.summary
        subparser = commands.add_parser(
            entry.name, help=words, description=words[0].upper() + words[1:] + "."
        )
        if entry.name == command:
            module = importlib.import_module(entry.place)
            module.add_arguments(subparser)
            subparser.add_argument(
                "--quiet", action="store_true", help="show no progress on standard error"
            )
            subparser.set_defaults(run=module.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    0: done; 1: stopped by trouble of this machine, such as a full disk; 2: input or arguments
    refused; 130: interrupted.  What is not 0 has one sentence on standard error.
    """
    prepare_streams()
    words = list(sys.argv[1:] if argv is None else argv)
    command = next((word for word in words if not word.startswith("-")), None)
    progress = TerminalProgress(quiet="--quiet" in words)
    try:
        with termination_interrupts():
            arguments = make_parser(command).parse_args(words)
            check_values(arguments)
            from lungperfusion.io.scratch import sweep_scratch  # loads NumPy: may lack memory

            sweep_scratch()
            return int(arguments.run(arguments, progress))
    except InputError as error:
        code, reason = EXIT_REFUSED, str(error)
    except (KeyboardInterrupt, CancelledError):
        code, reason = EXIT_INTERRUPTED, "interrupted, nothing written"
    except Exception as error:
        found = in_words(error)
        if found is None:
            raise
        code, reason = EXIT_TROUBLE, found
    finally:
        progress.close()
    remark(f"lungperfusion {command}: {reason}")
    return code


@contextmanager
def termination_interrupts() -> Iterator[None]:
    """Let a scheduler's request to end clean up as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    sys.exit(main())

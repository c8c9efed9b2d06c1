"""Run benchmarks: all of them, each in a process of its own, or those that are named."""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
from pathlib import Path

import Benchmarks

FOLDER = Path(__file__).parent
NAMES = tuple(sorted(path.stem for path in FOLDER.glob("[!_]*.py")))


def run(name: str) -> bool:
    """Run one benchmark here, print its table, and tell whether every target was reached."""
    print(f"\n== {name} ==", flush=True)
    figures = importlib.import_module(f"Benchmarks.{name}").main() or ()
    if figures:
        print(Benchmarks.table(figures), flush=True)
    return all(figure.verdict != "MISSED" for figure in figures)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m Benchmarks", description=Benchmarks.__doc__)
    parser.add_argument("name", nargs="*", help=f"benchmark to run; all: {' '.join(NAMES)}")
    names = parser.parse_args().name or NAMES
    unknown = sorted(set(names) - set(NAMES))
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}; there are: {', '.join(NAMES)}")
    if len(names) == 1:
        return 0 if run(names[0]) else 1
    # One process each: peak memory is then the benchmark's own.
    missed = [
        name
        for name in names
        if subprocess.run([sys.executable, "-m", "Benchmarks", name], check=False).returncode
    ]
    summary = f"{len(names) - len(missed)} of {len(names)} benchmarks reached their targets"
    print(f"\n{summary}; not: {', '.join(missed)}" if missed else f"\n{summary}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())

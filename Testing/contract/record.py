"""Record in the real desktop what the probes give there.

    Slicer --no-splash --disable-settings --python-script record.py [OPTION ...]

Without options all outcomes in ``probes.json`` are written anew; ``--missing`` records only probes
without one; ``--check`` writes nothing and prints what differs from the record; ``--reverse`` runs
in the other order, to find probes that depend on what ran before. A new version of Slicer is a new
recording: the changes of ``probes.json`` are the list of what to look at.
"""

from __future__ import annotations

import argparse
import json
import sys
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import replay

SETTLING_MS = 2500
"""After this time the main window and all modules are up."""

TESTING_ATTRIBUTE = 1001
"""``qSlicerCoreApplication::AA_EnableTesting``."""


class Desktop:
    """The running application, for :func:`replay.run`."""

    @staticmethod
    def reset() -> None:
        import slicer

        slicer.mrmlScene.Clear(0)

    @staticmethod
    def testing(on: bool) -> None:
        import slicer

        slicer.app.setAttribute(TESTING_ATTRIBUTE, on)


def versions() -> dict[str, str]:
    """Return what the outcomes were recorded with."""
    import numpy
    import qt
    import slicer
    import vtk

    return {
        "application": "Slicer " + slicer.app.applicationVersion.split("-")[0],
        "qt": qt.qVersion(),
        "vtk": vtk.vtkVersion.GetVTKVersion(),
        "python": ".".join(map(str, sys.version_info[:2])),
        "numpy": numpy.__version__,
    }


def write(probes: list[replay.Probe]) -> None:
    """Write the probes, one in a line."""
    lines = ",\n".join(
        json.dumps(probe, ensure_ascii=False, separators=(",", ":")) for probe in probes
    )
    head = json.dumps(versions())
    text = f'{{\n"recorded_in": {head},\n"probes": [\n{lines}\n]\n}}\n'
    (replay.HERE / "probes.json").write_text(text, encoding="utf-8")


def main() -> int:
    """Run the probes in the desktop."""
    parser = argparse.ArgumentParser()
    for option in ("--missing", "--check", "--reverse"):
        parser.add_argument(option, action="store_true")
    options = parser.parse_args(sys.argv[1:])
    file = replay.HERE / "probes.json"
    probes = json.loads(file.read_text(encoding="utf-8"))["probes"]
    runnable = {probe["id"] for probe in replay.probes()}
    todo = [probe for probe in probes if probe["id"] in runnable]
    todo = [probe for probe in todo if not (options.missing and "expect" in probe)]
    differing = 0
    for number, probe in enumerate(todo[::-1] if options.reverse else todo):
        outcome = replay.run(probe, number, Desktop)
        what = replay.difference(probe, outcome) if "expect" in probe else "new"
        if what:
            differing += 1
            print(probe["id"], what, flush=True)
        if not options.check:
            probe["expect"] = outcome
    if not options.check:
        write(probes)
    print(f"{len(todo)} probes, {differing} new or different", flush=True)
    return int(options.check and differing > 0)


def start() -> None:
    """Run once the application is up, then leave it."""
    import slicer

    code = 1
    try:
        code = main()
    except Exception:
        traceback.print_exc()
    slicer.util.exit(code)


if __name__ == "__main__":
    import qt

    qt.QTimer.singleShot(SETTLING_MS, start)

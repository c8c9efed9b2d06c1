"""Run a batch from plain Python or from within Slicer, with the same arguments and exit codes.

::

    python Scripts/lung_batch.py MANIFEST.csv -o OUT
    Slicer --no-splash --no-main-window --python-script Scripts/lung_batch.py MANIFEST.csv -o OUT

Slicer itself takes the options it knows, such as ``--help`` and ``--version``.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path


def main() -> int:
    """Run ``lungperfusion batch`` with the arguments of this script."""
    if importlib.util.find_spec("lungperfusion") is None:  # neither installed nor an extension
        sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "LungPerfusionLib"))
    from lungperfusion.__main__ import main as run_command

    try:
        return run_command(["batch", *sys.argv[1:]])
    except SystemExit as end:  # argparse refuses, or shows its help
        return end.code if isinstance(end.code, int) else 2


def leave(code: int) -> None:
    """End with an exit code; Slicer's own way, for it goes on after a script otherwise."""
    application = getattr(sys.modules.get("slicer"), "app", None)
    if application is not None and hasattr(application, "exit"):
        import slicer

        slicer.util.exit(code)
    else:
        sys.exit(code)


if __name__ == "__main__":
    leave(main())

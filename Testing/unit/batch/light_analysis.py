"""An analysis that takes no time and fails on demand: its input file says how.

Worker processes import it by name, so it is a module and not a fixture.
"""

from __future__ import annotations

import argparse
import ctypes
import errno
import json
import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace

from lungperfusion.commands.output import add_output_arguments, results_of
from lungperfusion.errors import InputError
from lungperfusion.io.files import file_sha256
from lungperfusion.measurement import measured, missing
from lungperfusion.naming import named
from lungperfusion.quality import Gate
from lungperfusion.results.analysis import Analysis, Table
from lungperfusion.results.section import Section


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ct", type=Path)
    parser.add_argument("--mask", type=Path)
    parser.add_argument("--lobes", default="none", metavar="auto|none|FILE")
    parser.add_argument("--factor", type=float, default=1.0)
    parser.add_argument("--pair", nargs=2)
    parser.add_argument("--smooth", action="store_true")
    add_output_arguments(parser)


def check_arguments(arguments: argparse.Namespace) -> None:
    if arguments.factor < 0:
        raise InputError("--factor is 0 or more")


def die() -> None:
    if hasattr(signal, "SIGKILL"):
        os.kill(os.getpid(), signal.SIGKILL)
    os._exit(9)


def run(arguments: argparse.Namespace, progress) -> int:
    path = arguments.ct
    order = json.loads(path.read_text(encoding="utf-8"))
    with path.with_suffix(".runs").open("a", encoding="utf-8") as stream:
        stream.write(f"run {os.getpid()}\n")

    with results_of(arguments, progress) as results:
        progress = results.progress
        progress(0.5, "thinking")
        fault = order.get("fault", "")
        (arguments.out.parent / f".{arguments.out.name}.partial-half").mkdir()
        if fault == "refuse":
            raise InputError(f"{named(path.name)} at {named(path)} is no CT")
        if fault == "bug":
            raise ZeroDivisionError(f"in {path}")
        if fault == "kill":
            die()
        if fault == "kill once" and path.with_suffix(".runs").read_text().count("run") == 1:
            die()
        if fault == "memory":
            raise MemoryError
        if fault == "full":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if fault == "grow":
            path.write_text(json.dumps({"value": 1, "grown": time.time_ns()}), encoding="utf-8")
        if fault == "hang":
            path.with_suffix(".hangs").touch()
        if fault == "hold":  # as a compiled library that keeps the interpreter to itself
            ctypes.PyDLL(None).sleep(600)
        while fault == "hang" or not path.with_name(order.get("until", path.name)).exists():
            time.sleep(0.05)
        value = order["value"] * arguments.factor
        tlv = [measured("lungs", "tlv", value, "light")]
        tlv += [measured("left_lung", "tlv", value / 2, "light")]
        tlv += [missing("right_lung", "tlv", "no right lung", "light")]
        analysis = Analysis(
            module=order.get("module", "light"),
            measurements=tuple(tlv),
            gates=(Gate(id="sound", verdict="pass", message="all is well", value=1.0),),
            warnings=("a warning",),
            parameters={"factor": arguments.factor},
            tables={"findings": Table(("name", "volume_ml"), ({"name": "a", "volume_ml": 0.1},))},
            sections=(Section(title="Picture", html="<p>drawn</p>"),),
        )
        source = SimpleNamespace(name=path.name, sha256=file_sha256(path), warnings=())
        results.write(analysis, {"ct": source})
    return 0

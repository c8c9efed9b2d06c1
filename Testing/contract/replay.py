"""Replay the recorded behaviour of the Slicer desktop on the stand-in and report what differs.

``probes.json`` holds small pieces of code with what they gave in Slicer 5.12.3. Each is run on the
stand-in with an empty scene; ``accepted.json`` names the differences that are meant, with reasons.

    python Testing/contract/replay.py [--topic TOPIC] [--only ID] [--show] [--report FILE]
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import enum
import gc
import json
import math
import os
import pickle
import re
import shutil
import sys
import tempfile
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
BATCH = 20
"""Probes that share one copy of the process."""

Probe = dict[str, Any]
Outcome = dict[str, Any]


def probes() -> list[Probe]:
    """Return the recorded probes that this platform can run."""
    recorded = json.loads((HERE / "probes.json").read_text(encoding="utf-8"))["probes"]
    return [probe for probe in recorded if probe.get("platform", os.name) == os.name]


def accepted() -> dict[str, str]:
    """Return the accepted differences: probe ID and reason."""
    groups = json.loads((HERE / "accepted.json").read_text(encoding="utf-8"))
    return {probe: reason for reason, names in groups.items() for probe in names}


# ---------------------------------------------------------------- values
def plain(value: Any, depth: int = 0) -> Any:
    """Return the JSON form of a result in which the differences that matter stay visible."""
    if depth > 8:
        return {"type": type(value).__name__}
    if value is None or value is True or value is False:
        return value
    if isinstance(value, enum.Enum) and not isinstance(value, int):
        return {"enum": f"{type(value).__name__}.{value.name}"}
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        number = float(value)
        return float(f"{number:.6g}") if math.isfinite(number) else {"float": str(number)}
    if isinstance(value, str):
        return str(value)
    if isinstance(value, (bytes, bytearray)):
        return {"bytes": bytes(value).decode("latin-1")}
    return _plain_container(value, depth + 1)


def _plain_container(value: Any, depth: int) -> Any:
    if isinstance(value, tuple):
        return {"tuple": [plain(item, depth) for item in value]}
    if isinstance(value, list):
        return [plain(item, depth) for item in value]
    if isinstance(value, (set, frozenset)):
        return {"set": sorted((plain(item, depth) for item in value), key=repr)}
    if isinstance(value, dict):
        return {"dict": [[plain(key, depth), plain(item, depth)] for key, item in value.items()]}
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        if value.shape == ():
            return plain(value.item(), depth)
        return {"array": [list(value.shape), str(value.dtype)]}
    return _plain_object(value)


def _plain_object(value: Any) -> Any:
    with contextlib.suppress(Exception):
        if hasattr(value, "IsA") and hasattr(value, "GetClassName"):
            found = {"vtk": value.GetClassName()}
            return found | {"name": value.GetName()} if value.IsA("vtkMRMLNode") else found
        if callable(getattr(value, "className", None)):
            return {"qt": value.className()}
    if callable(value):
        return {"callable": True}
    name = type(value).__name__
    return {"qt" if name.startswith("Q") else "type": name}


def tidy(message: object) -> str:
    """Return the first line of a message without addresses, folders and packages."""
    text = str(message).strip().split("\n")[0]
    text = re.sub(r"0x[0-9a-fA-F]+", "0x?", text)
    text = re.sub(r"(?:/[\w.+-]+)+/([\w.-]+)", r"<path>/\1", text)
    text = re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"<class '\1'>", text)
    return re.sub(r"'(?:\w+\.)+(vtk\w*)", r"'\1", text)[:160]


# ---------------------------------------------------------------- one probe
def run(probe: Probe, serial: int, environment: Any) -> Outcome:
    """Run a probe and return its outcome.

    ``environment`` has ``reset()``, which empties the scene, and ``testing(on)``, which switches
    testing mode: the package ``slicer_standin``, or the desktop when outcomes are recorded.
    """
    import ctk
    import numpy
    import qt
    import slicer
    import vtk

    environment.reset()
    gc.collect()
    emitted: list[Any] = []
    uncaught: list[str] = []
    folder = tempfile.mkdtemp(prefix="probe-")

    def spy(sender: Any, *signatures: str) -> Any:
        """Record every emission; return what ``connect`` returned."""
        done = [
            sender.connect(
                signature,
                lambda *given, name=signature: emitted.append([name, *map(plain, given)]),
            )
            for signature in signatures
        ]
        return done[0] if len(done) == 1 else done

    def write(name: str, text: str) -> str:
        path = Path(folder) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return str(path)

    module = types.ModuleType(f"probe_{serial}")
    module.__dict__.update(
        slicer=slicer, qt=qt, ctk=ctk, vtk=vtk, np=numpy, spy=spy, write=write, tmp=folder
    )
    sys.modules[module.__name__] = module
    hook, sys.excepthook = sys.excepthook, lambda kind, *_: uncaught.append(kind.__name__)
    environment.testing(bool(probe.get("testing")))
    try:
        exec(compile("\n".join(probe["code"]), f"<{probe['id']}>", "exec"), module.__dict__)
        outcome = {"value": plain(module.__dict__.get("result"))}
    except (Exception, SystemExit) as problem:
        outcome = {
            "error": type(problem).__name__,
            "message": tidy(problem),
            "family": [
                kind.__name__
                for kind in type(problem).__mro__
                if kind not in (object, BaseException)
            ],
        }
    finally:
        environment.testing(False)
        sys.excepthook = hook
        del sys.modules[module.__name__]
        module.__dict__.clear()
        shutil.rmtree(folder, ignore_errors=True)
        gc.collect()
    if emitted:
        outcome["emitted"] = list(emitted)
    if uncaught:
        outcome["uncaught"] = list(uncaught)
    return json.loads(json.dumps(outcome))


# ---------------------------------------------------------------- all probes
def run_all(chosen: list[Probe]) -> dict[str, Outcome]:
    """Run probes in batches, each batch in a copy of the process where the system can fork.

    A probe in which the process dies is noted, and the next copy goes on after it.
    """
    import slicer_standin

    slicer_standin.start()
    slicer_standin.load_module(HERE / "modules" / "SegmentStatistics" / "SegmentStatistics.py")
    slicer_standin.be_strict(False)
    try:
        if not hasattr(os, "fork"):
            return {
                probe["id"]: run(probe, number, slicer_standin)
                for number, probe in enumerate(chosen)
            }
        gc.collect()
        gc.freeze()
        outcomes: dict[str, Outcome] = {}
        while waiting := [probe for probe in chosen if probe["id"] not in outcomes]:
            outcomes.update(_in_copy(waiting[:BATCH], slicer_standin))
        return outcomes
    finally:
        gc.unfreeze()
        slicer_standin.be_strict(True)


def _in_copy(batch: list[Probe], environment: Any) -> dict[str, Outcome]:
    """Run a batch in a forked process; what it got through before it died is kept."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        with os.fdopen(writing, "wb") as pipe:
            for number, probe in enumerate(batch):
                pickle.dump((probe["id"], run(probe, number, environment)), pipe)
                pipe.flush()
        os._exit(0)
    os.close(writing)
    outcomes = {}
    with os.fdopen(reading, "rb") as pipe, contextlib.suppress(EOFError, pickle.UnpicklingError):
        while True:
            name, outcome = pickle.load(pipe)
            outcomes[name] = outcome
    os.waitpid(child, 0)
    if len(outcomes) < len(batch):
        outcomes[batch[len(outcomes)]["id"]] = {"died": True}
    return outcomes


# ---------------------------------------------------------------- comparison
def difference(probe: Probe, got: Outcome) -> str | None:
    """Return in words how an outcome differs from the desktop's, or None."""
    want = probe["expect"]
    if got.get("died"):
        return "the process died"
    if "error" in want and "error" not in got:
        return f"no {want['error']}; got {_short(got.get('value'))}"
    if "error" in got and "error" not in want:
        return f"{got['error']}: {got['message'][:120]}"
    if "error" in want:
        if want["error"] not in got["family"] and got["error"] not in want["family"]:
            return f"wanted {want['error']}, got {got['error']}: {got['message'][:100]}"
        phrase = probe.get("phrase")
        if phrase and (phrase in want["message"]) != (phrase in got["message"]):
            return f"message without {phrase!r}: {got['message'][:100]}"
    for part in ("value", "emitted", "uncaught"):
        if want.get(part) != got.get(part) and not (part == "value" and "error" in want):
            return f"{part}: " + _what_differs(want.get(part), got.get(part))
    return None


def _what_differs(want: Any, got: Any) -> str:
    if isinstance(want, dict) and isinstance(got, dict) and "dict" in want and "dict" in got:
        wanted, found = ({json.dumps(k): v for k, v in each["dict"]} for each in (want, got))
        return ", ".join(
            f"{key}: wanted {_short(value, 40)} got {_short(found.get(key), 40)}"
            for key, value in wanted.items()
            if value != found.get(key)
        )
    if isinstance(want, list) and isinstance(got, list) and len(want) == len(got):
        return ", ".join(
            f"[{number}] wanted {_short(a, 80)} got {_short(b, 80)}"
            for number, (a, b) in enumerate(zip(want, got, strict=True))
            if a != b
        )
    return f"wanted {_short(want)} got {_short(got)}"


def _short(value: Any, length: int = 250) -> str:
    text = json.dumps(value)
    return text if len(text) <= length else text[:length] + "..."


def by_topic(
    chosen: list[Probe], agrees: Callable[[Probe], bool]
) -> Iterator[tuple[str, int, int]]:
    """Yield topic, number of agreeing probes, number of probes."""
    count: dict[str, list[int]] = collections.defaultdict(lambda: [0, 0])
    for probe in chosen:
        count[probe["topic"]][0] += agrees(probe)
        count[probe["topic"]][1] += 1
    for topic, (agreeing, total) in sorted(count.items()):
        yield topic, agreeing, total


def main() -> int:
    """Replay and print; the exit code is 0 when only accepted differences are left."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--topic", action="append")
    parser.add_argument("--only", action="append")
    parser.add_argument("--show", action="store_true", help="print accepted differences too")
    parser.add_argument("--report", type=Path, help="write differences and counts as JSON")
    options = parser.parse_args()
    sys.path.insert(0, str(HERE.parent / "standin"))
    chosen = [
        probe
        for probe in probes()
        if (not options.topic or probe["topic"] in options.topic)
        and (not options.only or probe["id"] in options.only)
    ]
    outcomes = run_all(chosen)
    found = {probe["id"]: difference(probe, outcomes[probe["id"]]) for probe in chosen}
    known = accepted()
    for name, what in found.items():
        if what and (name not in known or options.show):
            print("ACCEPTED" if name in known else "DIFFERS", name, what)
        if not what and name in known:
            print("STALE", name, "agrees now: take it off accepted.json")
    for topic, agreeing, total in by_topic(chosen, lambda probe: found[probe["id"]] is None):
        print(f"{topic:28s} {agreeing:3d} of {total}")
    agreeing = sum(what is None for what in found.values())
    meant = sum(what is not None and name in known for name, what in found.items())
    print(f"{agreeing} of {len(chosen)} agree, {meant} differences accepted")
    if options.report:
        report = {
            "probes": len(chosen),
            "agree": agreeing,
            "differences": {name: what for name, what in found.items() if what},
        }
        options.report.write_text(json.dumps(report, indent=1), encoding="utf-8")
    return int(agreeing + meant < len(chosen))


if __name__ == "__main__":
    sys.exit(main())

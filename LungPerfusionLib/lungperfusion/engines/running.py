"""One run of an engine: the CT in a temporary folder, a process group, labels back."""

from __future__ import annotations

import json
import math
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from lungperfusion.engines.catalogue import (
    CT_FILE,
    LABEL_FILE,
    Engine,
    Installed,
    Task,
    command_of,
    find_engine,
)
from lungperfusion.errors import InputError
from lungperfusion.io import read_labelmap
from lungperfusion.io.scratch import scratch_folder
from lungperfusion.labels import LabelImage
from lungperfusion.naming import named
from lungperfusion.processes import end_group, own_group
from lungperfusion.progress import Progress, ignore
from lungperfusion.resampling import to_sitk
from lungperfusion.volume import Volume

TIMEOUT_MIN = 60.0
"""TotalSegmentator takes 40 to 50 minutes for a chest without a graphics card (its README)."""

USUAL_SECONDS = 300.0
"""Pace of the progress bar, which no engine feeds."""

POLL_SECONDS = 0.2
NOWHERE = "http://127.0.0.1:9"
"""Proxy on the discard port of this machine: what an engine might send goes nowhere."""


@dataclass(frozen=True, eq=False)
class EngineLabels:
    """What an engine has drawn on the grid of the CT."""

    image: LabelImage
    convention: str
    words: str
    """Name, version and licence of the engine."""


def run_engine(
    ct: Volume,
    name: str,
    task: Task,
    *,
    timeout_min: float = TIMEOUT_MIN,
    progress: Progress = ignore,
) -> EngineLabels:
    """Let an installed engine segment a CT.

    Parameters
    ----------
    ct
        Chest CT in HU.
    name
        Key of `catalogue.ENGINES`.
    task
        ``"lungs"`` or ``"lobes"``.
    timeout_min
        The engine and all it started are ended after so many minutes.
    progress
        Told how long the engine has been running; may raise to cancel, which ends the engine.

    Raises
    ------
    InputError
        If the engine or its weights are not on this machine, it fails or takes too long, or its
        labels are missing, empty or not on the grid of the CT.

    """
    ct.require_unit("HU", "the chest CT")
    installed = find_engine(name)
    reason = installed.why_not(task)
    if reason:
        raise InputError(f"the engine {name} cannot segment {task} here: {reason}")
    with scratch_folder() as folder:
        whole = np.clip(np.rint(ct.array), -32768, 32767).astype(np.int16)
        sitk.WriteImage(to_sitk(whole, ct.geometry), str(folder / CT_FILE))
        _carry_out(installed, task, folder, timeout_min, progress)
        image = _labels(installed.engine, folder / LABEL_FILE, ct)
    return EngineLabels(image, installed.engine.jobs[task].convention, installed.words)


def _carry_out(
    installed: Installed, task: Task, folder: Path, timeout_min: float, progress: Progress
) -> None:
    engine = installed.engine
    assert installed.program is not None
    log = folder / "engine.log"
    with log.open("wb") as stream:
        try:
            process = subprocess.Popen(
                command_of(installed.program, engine.jobs[task].arguments),
                cwd=folder,
                env=_environment(engine, folder),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                **own_group(),
            )
        except OSError as error:
            raise InputError(
                f"{engine.title} could not be started: {named(error)}; check that "
                f"{engine.program} runs from a command line"
            ) from error
        try:
            _wait(process, engine, timeout_min, progress)
        finally:  # also what it may have left running
            end_group(process)
    if process.returncode:
        raise InputError(
            f"{engine.title} ended with code {process.returncode}"
            f"{named(_last_words(log))}; try it from a command line, or leave out the engine"
        )


def _wait(
    process: subprocess.Popen[bytes], engine: Engine, timeout_min: float, progress: Progress
) -> None:
    begun = time.monotonic()
    while True:
        seconds = time.monotonic() - begun
        progress(1 - math.exp(-seconds / USUAL_SECONDS), f"{engine.title}, {seconds:.0f} s")
        try:
            process.wait(timeout=POLL_SECONDS)
            return
        except subprocess.TimeoutExpired:
            if seconds > 60 * timeout_min:
                raise InputError(
                    f"{engine.title} was not done after {timeout_min:g} minutes and was ended; "
                    "allow it more with --engine-timeout-min, or leave out the engine"
                ) from None


def _environment(engine: Engine, folder: Path) -> dict[str, str]:
    """Environment in which an engine finds its weights and no network."""
    environment = dict(os.environ)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        environment[name] = environment[name.upper()] = NOWHERE
    for name in ("no_proxy", "NO_PROXY"):
        environment.pop(name, None)
    environment["PYTHONUNBUFFERED"] = "1"
    if engine.id == "totalsegmentator":
        # Its settings ask for usage statistics to be sent unless they say otherwise.
        home = folder / "totalsegmentator"
        home.mkdir()
        settings = {"totalseg_id": "", "send_usage_stats": False, "prediction_counter": 0}
        (home / "config.json").write_text(json.dumps(settings), encoding="utf-8")
        environment["TOTALSEG_HOME_DIR"] = str(home)
        environment["TOTALSEG_WEIGHTS_PATH"] = str(engine.weights_folder)
    return environment


def _labels(engine: Engine, path: Path, ct: Volume) -> LabelImage:
    if not path.exists():
        raise InputError(
            f"{engine.title} ended without an error but wrote no labels; try it from a command "
            "line, or leave out the engine"
        )
    image = read_labelmap(path)
    if not image.geometry.same_as(ct.geometry):
        raise InputError(
            f"{engine.title} wrote labels on another grid than the CT's (shape "
            f"{image.geometry.shape}, CT {ct.geometry.shape}); they are not used"
        )
    if not image.array.any():
        raise InputError(f"{engine.title} found nothing in this CT; leave out the engine")
    return LabelImage(
        array=image.array,
        geometry=ct.geometry,
        segments=image.segments,
        metadata={},
        name=f"labels of {engine.title}",
        sha256=image.sha256,
        warnings=image.warnings,
    )


def _last_words(log: Path) -> str:
    """Give the last line that an engine printed, without paths, as a clause."""
    with log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - 4000))
        lines = stream.read().decode("utf-8", "replace").splitlines()
    words = " ".join(lines[-1].split())[:300] if lines else ""
    return f" ({words})" if words else ""

"""Which engines can be run, what they need, and where this machine has them."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from lungperfusion.errors import InputError

Task = Literal["lungs", "lobes"]

CT_FILE, LABEL_FILE = "ct.nii.gz", "labels.nii.gz"
"""What an engine is given and has to write, in a folder of its own."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """How an engine is called for one task."""

    arguments: tuple[str, ...]
    """After the program's name; the working folder holds `CT_FILE`."""
    convention: str
    """Meaning of the label values, a key of `segmentation.imports.CONVENTIONS`."""
    weights: tuple[str, ...]
    """Patterns of files or folders below the weights folder, each of which must be there."""


@dataclass(frozen=True, kw_only=True)
class Engine:
    """A program that segments chest CT."""

    id: str
    title: str
    program: str
    """Name of its executable."""
    distribution: str
    """Name of its Python package, for its version."""
    licence: str
    reference: str
    homes: Mapping[str, str]
    """Environment variables that name its folders, the first that is set counts, and where the
    weights lie below each."""
    otherwise: tuple[str, ...]
    """Where they lie without a variable, below the user's home."""
    jobs: Mapping[Task, Job] = field(default_factory=dict)

    @property
    def home(self) -> str:
        """Variable that names the folder of its weights on this machine; empty if none is set."""
        return next((variable for variable in self.homes if os.environ.get(variable)), "")

    @property
    def weights_folder(self) -> Path:
        """Folder that its weights are looked for in."""
        if self.home:
            return Path(os.environ[self.home]) / self.homes[self.home]
        return Path.home().joinpath(*self.otherwise)


_ROI = (
    *("lung_upper_lobe_left", "lung_lower_lobe_left", "lung_upper_lobe_right"),
    *("lung_middle_lobe_right", "lung_lower_lobe_right", "trachea"),
)
_TOTAL = Job(
    arguments=("-i", CT_FILE, "-o", LABEL_FILE, "--ml", "--roi_subset", *_ROI),
    convention="totalsegmentator",
    # It runs 291 (organs, with the lobes) after 298 (where they are), but first fetches whatever
    # it lacks of all five parts of the task: without a network that ends the run.
    weights=(*(f"Dataset{number}_*" for number in range(291, 296)), "Dataset298_*"),
)

ENGINES: dict[str, Engine] = {
    engine.id: engine
    for engine in (
        Engine(
            id="lungmask",
            title="lungmask",
            program="lungmask",
            distribution="lungmask",
            licence="Apache-2.0",
            reference="Hofmanninger 2020, Eur Radiol Exp 4:50, doi:10.1186/s41747-020-00173-2",
            homes={"TORCH_HOME": "hub/checkpoints", "XDG_CACHE_HOME": "torch/hub/checkpoints"},
            otherwise=(".cache", "torch", "hub", "checkpoints"),
            jobs={
                "lungs": Job(
                    arguments=(CT_FILE, LABEL_FILE, "--modelname", "R231"),
                    convention="lungmask",
                    weights=("unet_r231-*.pth",),
                ),
                "lobes": Job(
                    arguments=(CT_FILE, LABEL_FILE, "--modelname", "LTRCLobes_R231"),
                    convention="lungmask-lobes",
                    weights=("unet_ltrclobes-*.pth", "unet_r231-*.pth"),
                ),
            },
        ),
        Engine(
            id="totalsegmentator",
            title="TotalSegmentator",
            program="TotalSegmentator",
            distribution="TotalSegmentator",
            licence="Apache-2.0",
            reference="Wasserthal 2023, Radiol Artif Intell 5:e230024, doi:10.1148/ryai.230024",
            homes={"TOTALSEG_WEIGHTS_PATH": "", "TOTALSEG_HOME_DIR": "nnunet/results"},
            otherwise=(".totalsegmentator", "nnunet", "results"),
            jobs={"lungs": _TOTAL, "lobes": _TOTAL},
        ),
    )
}
"""Engines by the name that ``--engine`` takes."""


@dataclass(frozen=True, kw_only=True)
class Installed:
    """An engine with what this machine has of it."""

    engine: Engine
    program: Path | None
    version: str
    """``"unknown"`` where the program does not lie in a Python environment."""
    missing_weights: Mapping[Task, tuple[str, ...]]

    @property
    def words(self) -> str:
        """Name, version and licence, for results."""
        return f"{self.engine.title} {self.version} ({self.engine.licence})"

    def why_not(self, task: Task) -> str:
        """Say in a clause why it cannot do a task here; empty if it can."""
        engine = self.engine
        if task not in engine.jobs:
            return f"{engine.title} does not segment {task}"
        if self.program is None:
            return (
                f"no program {engine.program} was found on the PATH or beside this Python; install "
                f"{engine.title} (in an environment of its own) and add its folder to the PATH"
            )
        if self.missing_weights[task]:
            files = ", ".join(self.missing_weights[task])
            return (
                f"its weights ({files}) are not in {_plain(engine)}; let {engine.title} "
                "fetch them once on a connected machine and copy them there, or name their place "
                f"in the environment variable {next(iter(engine.homes))}. Nothing is downloaded by "
                "this program"
            )
        return ""


def _plain(engine: Engine) -> str:
    """Name the folder of weights without the user's home."""
    if engine.home:
        below = engine.homes[engine.home]
        return "/".join(part for part in (f"${engine.home}", below) if part)
    return "/".join(("~", *engine.otherwise))


def find_engine(name: str) -> Installed:
    """Look for an engine on this machine.

    Raises
    ------
    InputError
        If there is no engine of that name.

    """
    if name not in ENGINES:
        raise InputError(f"an engine is one of {', '.join(ENGINES)}, not {name!r}")
    engine = ENGINES[name]
    folder = engine.weights_folder
    return Installed(
        engine=engine,
        program=(program := _program(engine.program)),
        version="unknown" if program is None else _version(program, engine.distribution),
        missing_weights={
            task: tuple(name for name in job.weights if not _holds(folder, name))
            for task, job in engine.jobs.items()
        },
    )


def _holds(folder: Path, pattern: str) -> bool:
    try:
        return any(folder.glob(pattern))
    except OSError:
        return False


def _program(name: str) -> Path | None:
    """Find an executable on the PATH, or among the scripts of this Python (as in Slicer)."""
    scripts = sysconfig.get_path("scripts")
    found = shutil.which(name) or (shutil.which(name, path=scripts) if scripts else None)
    return Path(found) if found else None


def command_of(program: Path, arguments: tuple[str, ...]) -> list[str]:
    """Words that start a program; scripts of this Python by it, since Slicer relocates them."""
    own = program.parent == Path(sysconfig.get_path("scripts") or "")
    if own and program.suffix.lower() != ".exe" and sys.executable:
        return [sys.executable, str(program), *arguments]
    return [str(program), *arguments]


def _version(program: Path, distribution: str) -> str:
    """Version by the package's metadata in the environment that the program belongs to."""
    environment = program.resolve().parent.parent
    places = (*environment.glob("lib/python*/site-packages"), environment / "Lib" / "site-packages")
    for place in places:
        for record in sorted(place.glob("*.dist-info")):
            name, _, version = record.name.removesuffix(".dist-info").partition("-")
            if name.lower().replace("_", "-") == distribution.lower():
                return version
    return "unknown"

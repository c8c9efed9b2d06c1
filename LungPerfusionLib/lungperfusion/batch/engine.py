"""Runs a manifest to its end, whatever happens on the way."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lungperfusion.batch.case_run import LEAST_FREE_BYTES, remove_parts, restore, unchanged
from lungperfusion.batch.cases import Case, CaseOutcome
from lungperfusion.batch.cohort import write_cases, write_cohort, write_costs
from lungperfusion.batch.manifest import Manifest
from lungperfusion.batch.workers import Finished, Progressed, Started, Workers
from lungperfusion.errors import InputError
from lungperfusion.io.atomic import atomic_path, remove_partial_files
from lungperfusion.io.locks import LockedError, take_lock
from lungperfusion.io.windows_names import require_possible_name
from lungperfusion.naming import named
from lungperfusion.source import source_digest
from lungperfusion.trouble import in_words

_TABLE_EVERY_S = 5.0


@dataclass
class Running:
    """A case at work."""

    since: float
    fraction: float = 0.0
    message: str = ""


@dataclass
class BatchState:
    """How far a batch is; what the live table shows."""

    total: int
    workers: int = 1
    outcomes: dict[str, CaseOutcome] = field(default_factory=dict)
    running: dict[str, Running] = field(default_factory=dict)
    started_at: float = field(default_factory=time.monotonic)
    interrupted: bool = False
    stopped: str = ""
    """Why no further case was begun."""

    @property
    def failed(self) -> int:
        """Cases of which any analysis failed."""
        return sum(outcome.failed for outcome in self.outcomes.values())

    @property
    def kept(self) -> int:
        """Cases that were done already."""
        return sum(outcome.kept for outcome in self.outcomes.values())

    @property
    def done(self) -> int:
        """Cases without a failure, those done already included."""
        return len(self.outcomes) - self.failed

    @property
    def computed(self) -> int:
        """Cases that this run worked on."""
        return len(self.outcomes) - self.kept

    @property
    def left(self) -> int:
        """Cases that are neither done nor failed."""
        return self.total - len(self.outcomes)

    @property
    def seconds_left(self) -> float | None:
        """Time to the end at the pace so far; None as long as there is none."""
        if not self.computed or not self.left:
            return 0.0 if not self.left else None
        worked = sum(running.fraction for running in self.running.values())
        pace = (time.monotonic() - self.started_at) / (self.computed + worked)
        return max(0.0, pace * (self.left - worked))


Listener = Callable[[BatchState, CaseOutcome | None], None]
"""Called with the state, and with the outcome of a case that has just ended."""


def say_nothing(state: BatchState, ended: CaseOutcome | None) -> None:
    """Show no progress."""


def run_batch(
    manifest: Manifest,
    out: Path,
    make_workers: Callable[[int], Workers],
    *,
    resume: bool = False,
    listener: Listener = say_nothing,
) -> BatchState:
    """Run all cases of a manifest.

    Parameters
    ----------
    manifest
        What to run.
    out
        Output folder; each case appears whole in ``out/cases``.
    make_workers
        Makes the workers for a number of cases, once it is known that any are needed.
    resume
        Whether ``out`` may hold an earlier run; what is done from the same inputs with the same
        settings is then kept.
    listener
        Told whenever something happens, and about twice a second.

    Returns
    -------
    BatchState
        The end of every case.  After Ctrl-C ``interrupted`` is set and some cases have none.

    Raises
    ------
    InputError
        Before anything runs, if ``out`` cannot be used.

    """
    out = Path(out).resolve()
    with claimed(out, resume=resume):
        _refuse_output_in_inputs(manifest, out)
        with atomic_path(out / CODE_FILE) as path:
            path.write_text(source_digest(), encoding="ascii")
        state = BatchState(total=len(manifest.cases))
        try:
            waiting = []
            for case in manifest.cases:
                outcome = None
                if resume:
                    restore(out, case.name)
                    outcome = unchanged(case, out)
                if outcome is None:
                    waiting.append(case)
                else:
                    remove_parts(out, case.name)  # its worker may have been killed before it did
                    state.outcomes[case.name] = outcome
                    listener(state, None)
            state.started_at = time.monotonic()
            if waiting:
                workers = make_workers(len(waiting))
                try:
                    _work(manifest, out, workers, waiting, state, listener)
                finally:
                    workers.close()
        except KeyboardInterrupt:
            state.interrupted = True
        state.running.clear()
        _write_tables(manifest, out, state)
        return state


def _work(
    manifest: Manifest,
    out: Path,
    workers: Workers,
    waiting: list[Case],
    state: BatchState,
    listener: Listener,
) -> None:
    """Run all cases at once, and then those again, one by one, that may have lacked memory."""
    state.workers = workers.count
    by_name = {case.name: case for case in waiting}
    for at_once in (None, 1):
        again: list[Case] = []
        written_at = time.monotonic()
        with contextlib.closing(workers.run(waiting, out, at_once=at_once)) as events:
            for event in events:
                ended = None
                if isinstance(event, Started):
                    state.running[event.case] = Running(time.monotonic())
                elif isinstance(event, Progressed) and event.case in state.running:
                    state.running[event.case].fraction = event.fraction
                    state.running[event.case].message = event.message
                elif isinstance(event, Finished):
                    ended = event.outcome
                    state.running.pop(ended.case, None)
                    lacked_memory = any(job.try_again for job in ended.jobs)
                    again_alone = lacked_memory and not ended.no_worker
                    if again_alone and at_once is None and not state.stopped:
                        again.append(by_name[ended.case])
                        ended = None
                    else:
                        if ended.failed:  # its worker may have died over it
                            restore(out, ended.case)
                        state.outcomes[ended.case] = ended
                        if ended.disk_full and _disk_is_full(out):
                            state.stopped = "the disk is full; free space and give --resume"
                        elif ended.no_worker:
                            state.stopped = f"{ended.no_worker}; mend that and give --resume"
                        if state.stopped:
                            workers.stop()
                listener(state, ended)
                if ended is not None and time.monotonic() - written_at > _TABLE_EVERY_S:
                    with contextlib.suppress(OSError):
                        write_cases(out, manifest.cases, state.outcomes, "not reached yet")
                    written_at = time.monotonic()
        waiting = again
        if not waiting or state.stopped:
            return


def _disk_is_full(out: Path) -> bool:
    return shutil.disk_usage(out).free < LEAST_FREE_BYTES


def _write_tables(manifest: Manifest, out: Path, state: BatchState) -> None:
    waiting = state.stopped or "interrupted; give --resume to go on"
    try:
        write_cases(out, manifest.cases, state.outcomes, waiting)
        write_costs(out, state.outcomes)
        write_cohort(out, manifest.cases, state.outcomes)
    except (OSError, InputError) as error:
        reason = str(error) if isinstance(error, InputError) else in_words(error)
        state.stopped = (
            f"the tables could not be written: {reason}; all finished cases are in OUT/cases, "
            "give --resume when that is mended"
        )


# ------------------------------------------------------------------------------- output folder


CODE_FILE = ".batch/code"
"""Hash of the code that the last run of a batch had."""


def code_changed(out: Path) -> bool:
    """Whether a folder holds a batch of other code: what it has finished will be made anew."""
    try:
        return (out / CODE_FILE).read_text(encoding="ascii") != source_digest()
    except (OSError, ValueError):  # no batch yet, or of a version that noted nothing
        return (out / ".batch").is_dir()


@contextlib.contextmanager
def claimed(out: Path, *, resume: bool) -> Iterator[None]:
    """Take an output folder for this batch alone.

    Raises
    ------
    InputError
        If it cannot be written to, holds something else, or another batch works in it.

    """
    require_possible_name(out)
    held = out / ".batch"
    if out.exists() and not out.is_dir():
        raise InputError(f"the output {named(out)} is a file; name a folder")
    used = out.is_dir() and any(out.iterdir())
    if used and not held.is_dir():
        raise InputError(
            f"the output folder {named(out)} holds files but no batch of this program; choose an "
            "empty or new folder"
        )
    if used and not resume:
        raise InputError(
            f"the output folder {named(out)} holds a batch already; give --resume to go on with "
            "it, or choose another folder"
        )
    try:
        for folder in (out / "cases", held / "part", held / "seen"):
            folder.mkdir(parents=True, exist_ok=True)
        lock = (held / "lock").open("a+b")
    except OSError as error:
        raise InputError(
            f"cannot write to the output folder {named(out)} ({error.strerror}); choose one that "
            "you may write to"
        ) from error
    with lock:
        try:
            take_lock(lock)
        except LockedError as error:
            raise InputError(
                f"another batch is working in {named(out)}; wait for it, or choose another folder"
            ) from error
        for folder in (out, held, held / "seen"):
            remove_partial_files(folder)
        yield


def _refuse_output_in_inputs(manifest: Manifest, out: Path) -> None:
    """Results inside an input folder would change that input with every run."""
    for case in manifest.cases:
        for job in case.jobs:
            for role, paths in job.inputs.items():
                for path in paths:
                    if out == path or path in out.parents:
                        raise InputError(
                            f"the output folder lies inside an input (line {job.line}, {role}); "
                            "choose one outside"
                        )

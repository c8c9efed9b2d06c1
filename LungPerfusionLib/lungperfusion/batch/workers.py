"""Where cases run: processes of this machine, or a Dask cluster; to the engine both look the same.

Either is given cases and yields what happens to them, `Started`, `Progressed` and `Finished`, and
None about twice a second when nothing does.  A worker that dies yields `Finished` with a reason.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import queue
import re
import signal
import subprocess
import threading
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import lungperfusion
from lungperfusion.batch.cases import Case, CaseOutcome, all_failed
from lungperfusion.batch.machine import (
    SINGLE_THREADED,
    import_path,
    memory_kills,
    python_executable,
    without_current_folder,
)
from lungperfusion.batch.worker import run_case_alone
from lungperfusion.errors import InputError
from lungperfusion.naming import named
from lungperfusion.processes import own_group
from lungperfusion.progress import ignore
from lungperfusion.trouble import import_refusal

_START = (
    "import json, sys; package, path = json.loads(sys.argv.pop()); "
    "sys.path[:] = [package, *path]; import lungperfusion; del sys.path[0]; "
    "from lungperfusion.batch.worker import main; main()"
)
"""The package of this process, whatever is installed beside it; of all else no file of the current
folder."""

_FATAL = re.compile(r"Fatal Python error: .*|terminate called .*|\s*what\(\): .*")
_EXCEPTION = re.compile(r"([\w.]*(?:Error|Exception|Interrupt|Exit))(?:: .*)?")
_TICK_S = 0.5
_CONNECT_S = 15
_LOG_CHARACTERS = 20000


@dataclass(frozen=True, slots=True)
class Started:
    """A worker took a case."""

    case: str


@dataclass(frozen=True, slots=True)
class Progressed:
    """A case got on."""

    case: str
    fraction: float
    message: str


@dataclass(frozen=True, slots=True)
class Finished:
    """A case came to an end, good or bad."""

    outcome: CaseOutcome


Event = Started | Progressed | Finished


class Workers(Protocol):
    """Something that runs cases."""

    @property
    def count(self) -> int:
        """Cases that run at once."""
        ...

    def run(
        self, cases: Sequence[Case], out: Path, *, at_once: int | None = None
    ) -> Generator[Event | None]:
        """Run cases and tell what happens; closing the iterator ends all work at once."""
        ...

    def stop(self) -> None:
        """Begin no further case."""
        ...

    def close(self) -> None:
        """Give everything back."""
        ...


# ---------------------------------------------------------------------------------- this machine


class LocalWorkers:
    """Worker processes on this machine, each on one core.

    Parameters
    ----------
    count
        Number of processes.
    timeout_s
        Time after which a case is given up and its worker ended; None for no limit.

    """

    def __init__(self, count: int, *, timeout_s: float | None = None) -> None:
        self._count = count
        self._timeout_s = timeout_s
        self._python = python_executable()
        self._stopping = threading.Event()
        self._processes: list[_Process] = []
        self._lock = threading.Lock()
        self._worked = False

    @property
    def count(self) -> int:
        """Number of processes."""
        return self._count

    def run(
        self, cases: Sequence[Case], out: Path, *, at_once: int | None = None
    ) -> Generator[Event | None]:
        """Run cases and tell what happens; closing the iterator ends all work at once."""
        self._stopping.clear()
        waiting: queue.SimpleQueue[Case] = queue.SimpleQueue()
        for case in cases:
            waiting.put(case)
        events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        threads = [
            threading.Thread(target=self._serve, args=(number, waiting, out, events), daemon=True)
            for number in range(min(at_once or self._count, len(cases)))
        ]
        for thread in threads:
            thread.start()
        try:
            while any(thread.is_alive() for thread in threads) or not events.empty():
                try:
                    yield events.get(timeout=_TICK_S)
                except queue.Empty:
                    yield None
        finally:
            with self._lock:
                self._stopping.set()
                for process in self._processes:
                    process.kill()
            for thread in threads:
                thread.join()

    def stop(self) -> None:
        """Begin no further case."""
        self._stopping.set()

    def close(self) -> None:
        """Do nothing: nothing is held between runs."""

    def _serve(
        self,
        number: int,
        waiting: queue.SimpleQueue[Case],
        out: Path,
        events: queue.SimpleQueue[Event],
    ) -> None:
        """Keep one process busy; start another when it dies."""
        process: _Process | None = None
        while True:
            try:
                case = waiting.get_nowait()
            except queue.Empty:
                break
            try:
                with self._lock:
                    if self._stopping.is_set():
                        break
                    if process is None:
                        log = out / ".batch" / f"worker-{number}.log"
                        process = _Process(self._python, log)
                        self._processes.append(process)
            except OSError as error:
                outcome = all_failed(case, f"no worker could be started ({error.strerror})")
                events.put(Finished(outcome))
                continue
            events.put(Started(case.name))
            answer = process.run(case, out, self._timeout_s, events)
            self._worked |= process.ready
            if not process.ready and not self._worked:
                answer = replace(answer, no_worker=answer.jobs[0].reason)
            events.put(Finished(answer))
            if not process.alive:
                self._remove(process)
                process = None
        if process is not None:
            process.end()
            self._remove(process)

    def _remove(self, process: _Process) -> None:
        with self._lock:
            self._processes.remove(process)


class _Process:
    """One worker process and its log."""

    def __init__(self, python: str, log: Path) -> None:
        self._log = log
        self.ready = False
        """Whether it has come so far that it can take a case."""
        package, path = import_path()
        with log.open("wb") as stream:
            self._process = subprocess.Popen(
                [python, "-P", "-c", _START, json.dumps([package, path])],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stream,
                env={
                    **os.environ,
                    **SINGLE_THREADED,
                    "PYTHONPATH": without_current_folder(os.environ.get("PYTHONPATH", "")),
                },
                **own_group(),  # Ctrl-C reaches the batch alone, which then ends its workers
            )

    @property
    def alive(self) -> bool:
        """Whether it can take another case."""
        return self._process.returncode is None

    def run(
        self,
        case: Case,
        out: Path,
        timeout_s: float | None,
        events: queue.SimpleQueue[Event],
    ) -> CaseOutcome:
        """Hand a case over and wait for its end."""
        expired = threading.Event()

        def give_up() -> None:
            expired.set()
            self.kill()

        timer = threading.Timer(timeout_s or 0.0, give_up)
        timer.daemon = True
        kills = memory_kills()
        try:
            self._wait_until_ready()
            if timeout_s is not None:
                timer.start()
            return self._exchange(case, out, events)
        except (OSError, EOFError, pickle.UnpicklingError):
            self.kill()
            code = self._close()
        finally:
            timer.cancel()
        if expired.is_set():
            minutes = (timeout_s or 0.0) / 60
            return all_failed(
                case, f"not done after {minutes:.3g} minutes and given up (--timeout)"
            )
        if not self.ready:
            return all_failed(
                case,
                f"no worker could be started: {_death(code, self._last_words(whole=True))}",
                try_again=True,
            )
        for_memory = kills is not None and memory_kills() != kills
        reason = _death(code, self._last_words(), for_memory=for_memory)
        return all_failed(case, reason, try_again=True)

    def _wait_until_ready(self) -> None:
        assert self._process.stdout is not None
        if not self.ready:
            pickle.load(self._process.stdout)
            self.ready = True

    def _exchange(self, case: Case, out: Path, events: queue.SimpleQueue[Event]) -> CaseOutcome:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        pickle.dump((case, out), self._process.stdin)
        self._process.stdin.flush()
        while True:
            kind, *content = pickle.load(self._process.stdout)
            if kind == "finished":
                outcome: CaseOutcome = content[0]
                return outcome
            events.put(Progressed(case.name, *content))

    def kill(self) -> None:
        """End it at once."""
        with contextlib.suppress(OSError):
            self._process.kill()

    def end(self) -> None:
        """Let it go: its input closes."""
        self._close()
        with contextlib.suppress(OSError):
            self._log.unlink()

    def _close(self) -> int:
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        return self._process.wait()

    def _last_words(self, *, whole: bool = False) -> str:
        """Give what Python or a library said last before it ended.

        Once a case was begun the words may name a patient: of an exception its kind alone is told.
        """
        try:
            text = self._log.read_text(encoding="utf-8", errors="replace")[-_LOG_CHARACTERS:]
        except OSError:
            return ""
        for line in reversed(text.splitlines()):
            if _FATAL.fullmatch(line):
                return line.strip()
            if found := _EXCEPTION.fullmatch(line):
                return line.strip() if whole else found[1]
        return ""


def _death(code: int, last_words: str, *, for_memory: bool = False) -> str:
    """Say why a worker died, as far as the system and its own words tell."""
    if code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        if name == "SIGKILL" and for_memory:
            return "the worker was killed (SIGKILL) by the system because memory ran out"
        if name == "SIGKILL":
            return (
                "the worker was killed (SIGKILL): by a person or a scheduler, or by the system as "
                "memory ran out"
            )
        how = name
    else:
        how = f"exit code {code:#x}" if code > 255 else f"exit code {code}"
    return f"the worker died ({how})" + (f": {last_words}" if last_words else "")


# ---------------------------------------------------------------------------------- Dask cluster


class DaskWorkers:
    """Workers of a Dask cluster, on one machine or many, that share the folders of the batch.

    Parameters
    ----------
    address
        Of the scheduler (``tcp://host:8786``), or a file that it wrote (``--scheduler-file``).
    out
        Output folder, which every worker must see.

    Raises
    ------
    InputError
        If there is no Dask, no scheduler, or a worker that would not give the same results.

    """

    def __init__(self, address: str, out: Path) -> None:
        try:
            import distributed
        except ImportError as error:
            raise import_refusal(
                error, need="a scheduler needs Dask", remedy="install lungperfusion[cohort]"
            ) from error
        try:
            is_file = Path(address).is_file()
        except (OSError, ValueError):  # too long, or with NUL: no name of a file
            is_file = False
        where = {"scheduler_file": address} if is_file else {"address": address}
        try:
            self._client: Any = distributed.Client(
                **where, timeout=_CONNECT_S, set_as_default=False, name="lungperfusion batch"
            )
        except Exception as error:  # whatever Dask makes of a bad address
            raise InputError(
                f"there is no Dask scheduler at {named(address)}; start one with 'dask "
                "scheduler', or leave --scheduler out to run on this machine"
            ) from error
        try:
            self._require_alike(out)
        except BaseException:
            self.close()
            raise

    @property
    def count(self) -> int:
        """Workers there are now; a cluster may grow while it works."""
        return max(1, len(self._client.nthreads()))

    def run(
        self, cases: Sequence[Case], out: Path, *, at_once: int | None = None
    ) -> Generator[Event | None]:
        """Run cases and tell what happens; closing the iterator ends all work at once."""
        self._waiting = list(reversed(cases))
        self._futures: dict[Any, Case] = {}
        ended: queue.SimpleQueue[Any] = queue.SimpleQueue()
        try:
            while self._waiting or self._futures:
                room = (at_once or self.count) - len(self._futures)
                for _ in range(min(room, len(self._waiting))):
                    yield Started(self._submit(self._waiting.pop(), out, ended).name)
                try:
                    future = ended.get(timeout=_TICK_S)
                except queue.Empty:
                    yield None
                    continue
                yield Finished(_outcome(future, self._futures.pop(future)))
        finally:
            self._client.cancel(list(self._futures), force=True)

    def _submit(self, case: Case, out: Path, ended: queue.SimpleQueue[Any]) -> Case:
        future = self._client.submit(
            run_case_alone, case, out, ignore, pure=False, retries=0, key=None
        )
        self._futures[future] = case
        future.add_done_callback(ended.put)
        return case

    def stop(self) -> None:
        """Begin no further case."""
        self._waiting.clear()

    def close(self) -> None:
        """Leave the cluster, which stays."""
        self._client.close()

    def _require_alike(self, out: Path) -> None:
        """Refuse workers of another version, with several threads, or without the folder."""
        for address, (version, sees) in self._client.run(_describe_worker, str(out)).items():
            if version != lungperfusion.__version__:
                raise InputError(
                    f"the worker {named(address)} has version {version} of lungperfusion, this is "
                    f"{lungperfusion.__version__}; install the same on all machines"
                )
            if not sees:
                raise InputError(
                    f"the worker {named(address)} does not see the folder {named(out)}; all "
                    "machines need the inputs and OUT under the same path"
                )
        for address, threads in self._client.nthreads().items():
            if threads != 1:
                raise InputError(
                    f"the worker {named(address)} runs {threads} cases in one process; start "
                    "workers with --nthreads 1, and more of them"
                )


def _describe_worker(out: str) -> tuple[str, bool]:
    """Tell, on a worker, what the batch must know of it."""
    return lungperfusion.__version__, Path(out).is_dir()


def _outcome(future: Any, case: Case) -> CaseOutcome:
    """Take the result of a case, or say why there is none."""
    try:
        outcome: CaseOutcome = future.result()
    except Exception as error:
        if type(error).__name__ == "KilledWorker":
            return all_failed(
                case, "the worker died several times; its own log says why", try_again=True
            )
        return all_failed(case, f"the cluster gave the case up ({type(error).__name__})")
    return outcome

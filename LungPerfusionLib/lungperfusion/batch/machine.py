"""What this machine can do: cores, memory, a Python for the workers."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import lungperfusion
from lungperfusion.errors import InputError
from lungperfusion.results.provenance import peak_memory_mib
from lungperfusion.threads import THREADS_VARIABLE

MEMORY_PER_CASE_GIB = 4.0
"""Memory that a worker is given room for; docs/batch.md lists what the analyses need."""

SINGLE_THREADED = {
    THREADS_VARIABLE: "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "VECLIB_MAXIMUM_THREADS": "1",
    "NUMEXPR_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1",
}
"""Environment of a worker: one core each, so that workers do not fight for them."""

_CGROUP = Path("/sys/fs/cgroup")
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def worker_count(memory_per_case_gib: float = MEMORY_PER_CASE_GIB) -> int:
    """How many cases fit this machine at once: one per core, as far as memory reaches."""
    by_memory = int(available_memory_gib() / memory_per_case_gib)
    return max(1, min(usable_cores(), by_memory))


def usable_cores() -> int:
    """Cores that this process may use, limits of containers and schedulers included."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):
        quota, period = (_CGROUP / "cpu.max").read_text(encoding="ascii").split()
        cores = min(cores, max(1, int(quota) // int(period)))
    return cores


def available_memory_gib() -> float:
    """Memory free for new processes, limits of containers included."""
    available = _system_memory_bytes()
    with contextlib.suppress(OSError, ValueError):
        limit = int((_CGROUP / "memory.max").read_text(encoding="ascii"))
        used = int((_CGROUP / "memory.current").read_text(encoding="ascii"))
        available = min(available, limit - used)
    return available / 2**30


def _system_memory_bytes() -> int:
    if sys.platform == "win32":
        return _windows_memory_bytes()
    with contextlib.suppress(OSError):
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    # macOS keeps files in all memory that is free; half of the machine is a fair share
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def _windows_memory_bytes() -> int:
    import ctypes

    class Status(ctypes.Structure):
        _fields_ = (
            ("length", ctypes.c_ulong),
            ("load", ctypes.c_ulong),
            *(
                (name, ctypes.c_ulonglong)
                for name in (
                    "total",
                    "available",
                    "total_page",
                    "available_page",
                    "total_virtual",
                    "available_virtual",
                    "available_extended",
                )
            ),
        )

    status = Status(length=ctypes.sizeof(Status))
    getattr(ctypes, "windll").kernel32.GlobalMemoryStatusEx(ctypes.byref(status))  # noqa: B009
    return int(status.available)


def python_executable() -> str:
    """Python to start workers with: this one, or PythonSlicer from within Slicer.

    Raises
    ------
    InputError
        If this is an application with Python inside and none beside it.

    """
    own = sys.executable
    if own and Path(own).stem.lower().startswith(("python", "pypy")):
        return own
    homes = [Path(os.environ["SLICER_HOME"])] if "SLICER_HOME" in os.environ else []
    homes += list(Path(sys.prefix).resolve().parents)[:3]
    name = "PythonSlicer.exe" if sys.platform == "win32" else "PythonSlicer"
    for home in homes:
        if (home / "bin" / name).is_file():
            return str(home / "bin" / name)
    found = shutil.which("PythonSlicer")
    if found is None:
        raise InputError(
            "no Python to start workers with: PythonSlicer was expected beside the application; "
            "set SLICER_HOME to Slicer's folder"
        )
    return found


def import_path() -> tuple[str, list[str]]:
    """Where a worker finds this package, and all other modules.

    The same folders as here, but for the current one: whoever has written a ``queue.py`` into a
    folder with scans must not have it run.
    """
    here = Path.cwd()
    entries = dict.fromkeys(entry for entry in sys.path if Path(entry).is_absolute())
    package = str(Path(lungperfusion.__file__).resolve().parents[1])
    return package, [entry for entry in entries if Path(entry) != here]


def without_current_folder(search_path: str) -> str:
    """Value of PYTHONPATH without what stands for the current folder."""
    here = Path.cwd()
    entries = search_path.split(os.pathsep)
    return os.pathsep.join(e for e in entries if Path(e).is_absolute() and Path(e) != here)


def memory_kills() -> int | None:
    """Count the processes killed here because memory ran out; None if the system does not tell."""
    with contextlib.suppress(OSError, ValueError):
        for line in (_CGROUP / "memory.events").read_text(encoding="ascii").splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return None


def die_with_parent() -> None:
    """Have the system end this process when the one that started it ends, where it can.

    A compiled library that keeps the interpreter to itself cannot put that off.
    """
    if sys.platform == "linux":
        import ctypes

        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def resident_memory_mib() -> float | None:
    """Memory that this process holds now; None where the system does not tell."""
    with contextlib.suppress(OSError, ValueError):
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
    return None


class _Memory:
    peak_mib: float | None = None


@contextlib.contextmanager
def watched_memory() -> Iterator[_Memory]:
    """Measure the peak of a block; on systems that cannot forget, that of the process so far."""
    memory = _Memory()
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    try:
        yield memory
    finally:
        memory.peak_mib = _peak_mib()


def _peak_mib() -> float | None:
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return peak_memory_mib()

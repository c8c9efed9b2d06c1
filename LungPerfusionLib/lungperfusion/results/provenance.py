"""Where results come from: version, inputs, settings; and what this process costs."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import lungperfusion
from lungperfusion.naming import plain, printable, without_names


@dataclass(frozen=True, slots=True, kw_only=True)
class InputFile:
    """One input of an analysis."""

    role: str
    name: str
    """File or folder name; kept only where identifiers are."""
    sha256: str
    voxels_sha256: str = ""
    """Of an image: hash of its voxels, whatever file holds them; empty for other files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """What a reader needs to get the same numbers again."""

    inputs: tuple[InputFile, ...]
    identifiers: Mapping[str, str] = field(default_factory=dict)
    """Patient identifiers; empty unless the user asked to keep them."""
    keep_names: bool = False
    """Whether file names may be kept, too."""

    def kept(self, text: str) -> str:
        """Text of a result as it may be written: inputs by their role, other names left out."""
        if self.keep_names:
            return plain(text)
        return without_names(text, {entry.name: f"<{entry.role}>" for entry in self.inputs})

    def as_json(self) -> dict[str, Any]:
        """Plain values for results.json."""
        record: dict[str, Any] = {
            "software": "SlicerLungPerfusion",
            "version": lungperfusion.__version__,
            "python": platform.python_version(),
            "libraries": library_versions(),
            "inputs": [
                {"role": entry.role}
                | ({"name": printable(entry.name)} if self.keep_names else {})
                | {"sha256": entry.sha256}
                | ({"voxels_sha256": entry.voxels_sha256} if entry.voxels_sha256 else {})
                for entry in self.inputs
            ],
        }
        if self.identifiers:
            record["identifiers"] = dict(self.identifiers)
        return record


def library_versions() -> dict[str, str]:
    """Versions of the libraries that the numbers rest on."""
    import numpy
    import scipy
    import SimpleITK

    return {
        "numpy": numpy.__version__,
        "scipy": scipy.__version__,
        "SimpleITK": SimpleITK.Version.VersionString(),
    }


def peak_memory_mib() -> float | None:
    """Largest resident memory of this process so far; None where the system does not tell."""
    if sys.platform == "win32":
        return _peak_memory_windows_mib()
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 * 1024 if sys.platform == "darwin" else 1024)


def _peak_memory_windows_mib() -> float | None:
    import ctypes
    from ctypes import wintypes

    class Counters(ctypes.Structure):
        _fields_ = (
            ("cb", wintypes.DWORD),
            ("PageFaultCount", wintypes.DWORD),
            *(
                (name, ctypes.c_size_t)
                for name in (
                    "PeakWorkingSetSize",
                    "WorkingSetSize",
                    "QuotaPeakPagedPoolUsage",
                    "QuotaPagedPoolUsage",
                    "QuotaPeakNonPagedPoolUsage",
                    "QuotaNonPagedPoolUsage",
                    "PagefileUsage",
                    "PeakPagefileUsage",
                )
            ),
        )

    counters = Counters(cb=ctypes.sizeof(Counters))
    windll = getattr(ctypes, "windll")  # noqa: B009  # absent from type stubs elsewhere
    kernel32 = windll.kernel32
    kernel32.GetCurrentProcess.restype = wintypes.HANDLE
    kernel32.K32GetProcessMemoryInfo.argtypes = (
        wintypes.HANDLE,
        ctypes.POINTER(Counters),
        wintypes.DWORD,
    )
    ok = kernel32.K32GetProcessMemoryInfo(
        kernel32.GetCurrentProcess(), ctypes.byref(counters), counters.cb
    )
    return counters.PeakWorkingSetSize / 1024**2 if ok else None

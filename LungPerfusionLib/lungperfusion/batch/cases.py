"""What a batch runs and what comes of it: plain records that travel between processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Status = Literal["done", "kept", "failed"]
"""``kept``: done by an earlier run from the same inputs with the same settings."""


Dicom = Literal["", "named", "anonymised"]
"""Whether results are written as DICOM objects, too: with the source's patient, or without."""


@dataclass(frozen=True, slots=True)
class Job:
    """One analysis of one case."""

    analysis: str
    module: str
    arguments: Mapping[str, Any]
    """Parsed arguments; paths are absolute."""
    inputs: Mapping[str, tuple[Path, ...]]
    """Files and folders by role."""
    line: int = 0
    """Where the manifest asks for it."""


@dataclass(frozen=True, slots=True)
class Case:
    """One patient or scan with all its analyses."""

    name: str
    jobs: tuple[Job, ...]
    dicom: Dicom = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOutcome:
    """What came of one analysis of one case."""

    analysis: str
    status: Status
    reason: str = ""
    """Why it failed, without any path."""
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_memory_mib: float | None = None
    try_again: bool = False
    """Whether it may succeed with more memory to itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseOutcome:
    """What came of one case."""

    case: str
    jobs: tuple[JobOutcome, ...]
    notes: tuple[str, ...] = ()
    """What else the user should know, without any path."""
    disk_full: bool = False
    no_worker: str = ""
    """Why no worker can be started, where none ever could."""
    resident_mib: float | None = None
    """Memory that the worker held afterwards."""

    @property
    def failed(self) -> bool:
        """Whether any analysis failed."""
        return any(job.status == "failed" for job in self.jobs)

    @property
    def kept(self) -> bool:
        """Whether nothing had to be computed."""
        return all(job.status == "kept" for job in self.jobs)

    @property
    def reason(self) -> str:
        """All reasons in one line."""
        return "; ".join(f"{job.analysis}: {job.reason}" for job in self.jobs if job.reason)


def all_failed(case: Case, reason: str, *, try_again: bool = False) -> CaseOutcome:
    """Record that no analysis of a case came to an end."""
    return CaseOutcome(
        case=case.name,
        jobs=tuple(
            JobOutcome(analysis=job.analysis, status="failed", reason=reason, try_again=try_again)
            for job in case.jobs
        ),
    )

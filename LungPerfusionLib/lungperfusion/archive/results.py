"""A results folder as it was written, read back for an archive."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lungperfusion.errors import InputError
from lungperfusion.io.checksums import is_whole, sha256_of
from lungperfusion.io.json_files import read_json
from lungperfusion.io.writing import written_unit
from lungperfusion.measurement import Measurement, measurement_of
from lungperfusion.naming import named
from lungperfusion.quality import Gate
from lungperfusion.registry import analyses
from lungperfusion.results.writing import RESULTS_FORMAT

SEGMENTATION = ".seg.nrrd"
MAP = ".nrrd"


@dataclass(frozen=True, eq=False, kw_only=True)
class FinishedResults:
    """Results of one analysis of one case, as their folder holds them."""

    folder: Path
    case: str
    module: str
    version: str
    """Of the program that measured."""
    inputs: Mapping[str, tuple[str, str]]
    """By role: SHA-256 of the file, and of the voxels where it is an image (else empty)."""
    measurements: tuple[Measurement, ...]
    gates: tuple[Gate, ...]
    corrected: frozenset[str]
    """Segments that a reader changed."""
    holds_names: bool
    """Whether patient identifiers or file names were kept in them."""
    segmentations: Mapping[str, Path]
    maps: Mapping[str, tuple[Path, str]]
    """File and unit by name."""
    digest: str
    """Hash of all that the objects rest on."""

    def is_by_hand(self, segmentation: str, segment: str) -> bool:
        """Whether a reader or another program had a hand in a segment.

        The audit trail says so where there is one; without it nobody knows how a label map came
        about that was given as a file.
        """
        if self.corrected:
            return segment in self.corrected
        given = {role for role, names in GIVEN.items() if segmentation in names}
        return bool(given & set(self.inputs))


GIVEN = {
    "lung_mask": ("lungs",),
    "lobes": ("lobes",),
    "vessel_mask": ("vessels",),
    "defects": ("defects",),
}
"""Label maps of the results that follow a file which the user gave, by the role of that file."""


def read_results(folder: Path) -> FinishedResults:
    """Read one results folder.

    Raises
    ------
    InputError
        If it is none, is not as it was written, or holds names.

    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"there is no results folder {named(folder)}; check the spelling")
    record = read_json(folder / "results.json", "the results.json of a results folder")
    try:
        return _results(folder, record)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        *others, last = analyses()
        raise InputError(
            f"{named(folder.name)} holds no results of an analysis; give a folder that "
            f"{', '.join(others)} or {last} wrote (of a batch: OUT/cases/CASE/ANALYSIS)"
        ) from error


def _results(folder: Path, record: Mapping[str, Any]) -> FinishedResults:
    if record["format"] != RESULTS_FORMAT:
        raise InputError(
            f"{named(folder.name)} has results of format {record['format']!r}, this version "
            f"writes {RESULTS_FORMAT}; measure again"
        )
    if not is_whole(folder):
        raise InputError(
            f"files in {named(folder.name)} are missing or not as they were written; measure again"
            " (corrected segmentations go through the options of the analysis)"
        )
    provenance = record["provenance"]
    analyses = record["analyses"]
    files = sorted(record["files"])
    segmentations = {
        name.removesuffix(SEGMENTATION): folder / name
        for name in files
        if name.endswith(SEGMENTATION) and "/" not in name
    }
    maps = {
        name.removesuffix(MAP): (folder / name, unit)
        for name in files
        if name.endswith(MAP) and not name.endswith(SEGMENTATION) and "/" not in name
        if (unit := written_unit(folder / name)) is not None
    }
    return FinishedResults(
        folder=folder,
        case=str(record["case"]),
        module="+".join(entry["module"] for entry in analyses),
        version=str(provenance["version"]),
        inputs={
            entry["role"]: (entry["sha256"], entry.get("voxels_sha256", ""))
            for entry in provenance["inputs"]
        },
        measurements=tuple(
            measurement_of(record) for entry in analyses for record in entry["measurements"]
        ),
        gates=tuple(Gate(**gate) for entry in analyses for gate in entry["quality_gates"]),
        corrected=frozenset(name for entry in analyses for name in entry.get("corrected", ())),
        holds_names="identifiers" in provenance
        or any("name" in entry for entry in provenance["inputs"]),
        segmentations=segmentations,
        maps=maps,
        digest=_digest(
            [folder / "results.json", *segmentations.values(), *(path for path, _ in maps.values())]
        ),
    )


def _digest(paths: list[Path]) -> str:
    return hashlib.sha256("\n".join(map(sha256_of, paths)).encode()).hexdigest()

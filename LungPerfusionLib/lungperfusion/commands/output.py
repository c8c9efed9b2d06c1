"""What all commands share: where results go, how the case is called, what is kept."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

from lungperfusion.analysis.stages import remembering
from lungperfusion.errors import InputError
from lungperfusion.io import LabelImage, Scan, Source, results_folder
from lungperfusion.io.windows_names import is_device
from lungperfusion.naming import CASE_PATTERN
from lungperfusion.progress import Progress, part
from lungperfusion.quality import Gate
from lungperfusion.results.analysis import Analysis
from lungperfusion.results.corrections import corrected_names, corrections_section
from lungperfusion.results.provenance import InputFile, Provenance, peak_memory_mib
from lungperfusion.results.writing import write_results
from lungperfusion.terminal import remark, show
from lungperfusion.terms.gates import STATES
from lungperfusion.verdicts import failures


def add_output_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options on results that every command has."""
    group = parser.add_argument_group("results")
    group.add_argument(
        "-o", "--out", type=Path, required=True, metavar="OUT", help="folder for the results"
    )
    group.add_argument(
        "--overwrite", action="store_true", help="replace earlier results of this program in OUT"
    )
    group.add_argument(
        "--case",
        metavar="NAME",
        help="name of the case in tables (default: 'case-' and the start of the input's SHA-256)",
    )
    group.add_argument(
        "--keep-identifiers",
        action="store_true",
        help="write patient identifiers of DICOM input and the names of files into results.json "
        "and the report, readable by you alone; otherwise they appear nowhere",
    )
    group.add_argument("--no-report", action="store_true", help="write no pictures and no report")
    group.add_argument(
        "--corrections",
        type=Path,
        metavar="JSON",
        help="audit trail of a review in Slicer, to print in the report",
    )
    group.add_argument(
        "--keep-stages",
        type=Path,
        metavar="FOLDER",
        help="keep the results of long steps in this folder of yours; a later run with it repeats "
        "only what a correction or another setting changes",
    )
    group.add_argument(
        "--uncompressed",
        action="store_true",
        help="write images without compression: larger and much faster",
    )
    parser.set_defaults(writer=write_results)


class Results:
    """The results folder of one command while it is made."""

    def __init__(self, arguments: argparse.Namespace, folder: Path, progress: Progress) -> None:
        self.progress = part(progress, 0.0, 0.9)
        """For everything before the writing."""
        self.analysis: Analysis | None = None
        """What was written."""
        self._arguments = arguments
        self._folder = folder
        self._writing = part(progress, 0.9, 1.0)

    def write(self, analysis: Analysis, sources: Mapping[str, Scan | Source | LabelImage]) -> None:
        """Write an analysis.

        Parameters
        ----------
        analysis
            What was found.
        sources
            Files that it rests on, by role, in the order results list them.

        """
        arguments = self._arguments
        provenance = Provenance(
            inputs=tuple(
                InputFile(
                    role=role,
                    name=str(source.name),
                    sha256=source.sha256,
                    voxels_sha256=source.voxels_sha256 if isinstance(source, Scan | Source) else "",
                )
                for role, source in sources.items()
            ),
            identifiers=_identifiers(sources) if arguments.keep_identifiers else {},
            keep_names=arguments.keep_identifiers,
        )
        read_warnings = tuple(w for source in sources.values() for w in source.warnings)
        analysis = replace(
            analysis,
            warnings=(*read_warnings, *analysis.warnings),
            gates=(*_file_gates(sources), *analysis.gates),
        )
        if arguments.corrections is not None:
            sections = (*analysis.sections, corrections_section(arguments.corrections))
            corrected = corrected_names(arguments.corrections)
            analysis = replace(analysis, sections=sections, corrected=corrected)
        arguments.writer(
            self._folder,
            [analysis],
            case=arguments.case or f"case-{provenance.inputs[0].sha256[:8]}",
            provenance=provenance,
            report=not arguments.no_report,
            compressed=not arguments.uncompressed,
            progress=self._writing,
        )
        self.analysis = analysis


@contextmanager
def results_of(arguments: argparse.Namespace, progress: Progress) -> Iterator[Results]:
    """Open the results folder of one command; it appears whole when all is done, or not at all.

    Parameters
    ----------
    arguments
        Parsed options of `add_output_arguments`; ``arguments.writer`` is `write_results` unless a
        caller sets a function of the same arguments.
    progress
        Shared by what is done in the block (first nine tenths) and the writing.

    """
    check_case(arguments.case)
    started = time.perf_counter()
    stages = arguments.keep_stages
    with (
        results_folder(
            arguments.out,
            overwrite=arguments.overwrite,
            private=arguments.keep_identifiers,
            tell=warn,
        ) as folder,
        remembering(stages) if stages else nullcontext(),
    ):
        results = Results(arguments, folder, progress)
        yield results
    peak = peak_memory_mib()  # told here, not in the results: those are the same every time
    progress(
        1.0,
        f"done in {time.perf_counter() - started:.1f} s"
        + ("" if peak is None else f", peak memory {peak:.0f} MiB"),
    )
    if results.analysis is not None:
        for message in failures(results.analysis.gates):
            remark(f"failed check: {message}")
        for warning in results.analysis.warnings:
            warn(warning)
    written = "measurements.csv" if arguments.no_report else "report.html"
    show(f"{arguments.out / written}")


def _file_gates(sources: Mapping[str, Scan | Source | LabelImage]) -> tuple[Gate, ...]:
    """Gates of the files, those of one of two scans with its state before their ID."""
    return tuple(
        replace(gate, id=f"{role}_{gate.id}") if role in STATES else gate
        for role, source in sources.items()
        if isinstance(source, Scan | Source)
        for gate in source.gates
    )


def warn(sentence: str) -> None:
    """Tell the user something on standard error."""
    remark(f"warning: {sentence}")


def _identifiers(sources: Mapping[str, Scan | Source | LabelImage]) -> dict[str, str]:
    scans = (source for source in sources.values() if isinstance(source, Scan | Source))
    return {key: value for scan in scans for key, value in scan.identifiers.items()}


def check_case(case: str | None) -> None:
    """Refuse a case name that cannot be the name of a file on every system."""
    if case is None:
        return
    if is_device(case):
        raise InputError(f"{case!r} is a device name on Windows; choose another case name")
    if not CASE_PATTERN.fullmatch(case):
        raise InputError(
            f"a case name has up to 64 letters, digits, '.', '_' or '-' and starts with a letter "
            f"or digit; {case!r} does not"
        )

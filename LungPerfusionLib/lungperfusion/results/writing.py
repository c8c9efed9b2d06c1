"""Writing the results folder: the same files for every analysis."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import SimpleITK as sitk

from lungperfusion.dynamic.series import whole_hu
from lungperfusion.io import write_labelmap, write_volume
from lungperfusion.io.writing import write_time_series
from lungperfusion.measurement import Measurement
from lungperfusion.progress import Progress, ignore
from lungperfusion.quality import Gate
from lungperfusion.results.analysis import Analysis
from lungperfusion.results.provenance import Provenance
from lungperfusion.results.reference import compare
from lungperfusion.results.report import render_report
from lungperfusion.results.tables import COLUMNS, csv_text, measurement_rows
from lungperfusion.threads import both
from lungperfusion.verdicts import rests_on
from lungperfusion.vq.displacement import displacement_to_sitk

RESULTS_FORMAT = 1
"""Version of the results.json layout; grows when a reader of it would have to change."""


def write_results(
    folder: Path,
    analyses: Sequence[Analysis],
    *,
    case: str,
    provenance: Provenance,
    report: bool = True,
    compressed: bool = True,
    progress: Progress = ignore,
) -> None:
    """Write tables, JSON, maps, segmentations and the report of one case into an empty folder.

    Parameters
    ----------
    folder
        Where to write; `lungperfusion.io.results_folder` makes it appear whole or not at all.
    analyses
        One or several analyses of the same case; their rows share one measurements.csv.
    case, provenance
        Who and whence.
    report
        Whether to write report.html, which needs matplotlib only for pictures made earlier.
    compressed
        Whether to trade time for space in images.

    """
    rows = [
        row
        for analysis in analyses
        for row in measurement_rows(case, analysis.module, analysis.measurements)
    ]
    _write_text(folder / "measurements.csv", provenance.kept(csv_text(rows, COLUMNS)))

    def write_maps(analysis: Analysis) -> None:
        for name in analysis.maps:  # not its items: one image at a time may be made on demand
            write_volume(analysis.maps[name], folder / f"{name}.nrrd", compressed=compressed)

    def write_labelmaps(analysis: Analysis) -> None:
        for name in analysis.labelmaps:
            path = folder / f"{name}.seg.nrrd"
            write_labelmap(analysis.labelmaps[name], path, compressed=compressed)

    for analysis in analyses:
        progress(0.1, "writing maps and segmentations")
        both(partial(write_maps, analysis), partial(write_labelmaps, analysis))
        for name, field in analysis.transforms.items():
            progress(0.7, f"writing {name}")
            image = displacement_to_sitk(field)
            sitk.WriteImage(image, str(folder / f"{name}.nrrd"), useCompression=compressed)
        for name, frames in analysis.series.items():
            progress(0.8, f"writing {name}")
            whole = (whole_hu(image) for image in frames.array)
            path = folder / f"{name}.seq.nrrd"
            write_time_series(whole, frames.geometry, frames.times_s, path, compressed=compressed)
        for name, table in analysis.tables.items():
            text = provenance.kept(csv_text(table.rows, table.columns))
            _write_text(folder / f"{name}.csv", text)

    if report:
        progress(0.95, "writing the report")
        html = render_report(analyses, case=case, provenance=provenance.as_json())
        _write_text(folder / "report.html", provenance.kept(html))
    files = sorted(
        [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
        + ["results.json"]
    )
    record = results_record(analyses, case=case, provenance=provenance, files=files)
    text = provenance.kept(json.dumps(record, indent=1, ensure_ascii=False))
    _write_text(folder / "results.json", f"{text}\n")


def results_record(
    analyses: Sequence[Analysis], *, case: str, provenance: Provenance, files: Sequence[str]
) -> dict[str, Any]:
    """Content of results.json: plain values, NaN as null."""
    return {
        "format": RESULTS_FORMAT,
        "case": case,
        "notice": "Research software. Not for diagnosis.",
        "provenance": provenance.as_json(),
        "analyses": [
            {
                "module": analysis.module,
                "parameters": dict(analysis.parameters),
                **({"corrected": list(analysis.corrected)} if analysis.corrected else {}),
                "quality_gates": [_gate_record(gate) for gate in analysis.gates],
                "warnings": list(analysis.warnings),
                "measurements": [
                    _measurement_record(entry, analysis.gates) for entry in analysis.measurements
                ],
            }
            for analysis in analyses
        ],
        "files": list(files),
    }


def _measurement_record(entry: Measurement, gates: Sequence[Gate]) -> dict[str, Any]:
    record: dict[str, Any] = {
        "region": entry.region,
        "measure": entry.measure,
        "value": None if math.isnan(entry.value) else entry.value,
        "unit": entry.unit,
        "method": entry.method,
        "status": entry.status,
        "reason": entry.reason,
        "rests_on": list(rests_on(entry, gates)),
    }
    comparison = compare(entry)
    if comparison is not None:
        record["reference"] = {
            "mean": comparison.reference.mean,
            "sd": comparison.reference.sd,
            "z_score": round(comparison.z_score, 3),
            "position": comparison.position,
            "cohort": comparison.reference.cohort,
            "source": comparison.reference.source,
        }
    return record


def _gate_record(gate: Gate) -> dict[str, Any]:
    return {
        "id": gate.id,
        "verdict": gate.verdict,
        "message": gate.message,
        "value": gate.value,
        "unit": gate.unit,
        "limit": gate.limit,
    }


def _write_text(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as stream:
        stream.write(text)

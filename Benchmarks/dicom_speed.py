"""Time and memory of writing the lobes of a CT of full size as a DICOM segmentation."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np

from Benchmarks import Figure
from Benchmarks._measured import run_command
from lungperfusion.archive.objects import Export, save
from lungperfusion.archive.segmentations import make_segmentation
from lungperfusion.archive.source import read_source
from lungperfusion.commands.phantom import write_dicom
from lungperfusion.io import results_folder
from lungperfusion.measurement import measured
from lungperfusion.results.analysis import Analysis
from lungperfusion.results.provenance import InputFile, Provenance
from lungperfusion.results.writing import write_results
from lungperfusion.terms import LOBES, STRUCTURES
from lungperfusion.volume import Geometry, Labelmap, Volume

SHAPE = (400, 512, 512)
GRID = Geometry.axial(SHAPE, (0.7, 0.7, 0.8), (178.85, 178.85, -159.6))
BORDERS_K = {13: (260, 380), 14: (180, 260), 15: (20, 180), 11: (200, 380), 12: (20, 200)}
"""First slice of each lobe, and the one after its last."""


def make_lobes() -> Labelmap:
    """Five lobes in two elliptic cylinders with noise on their surface."""
    rng = np.random.default_rng(21)
    j, i = np.mgrid[: SHAPE[1], : SHAPE[2]]
    labels = np.zeros(SHAPE, np.uint8)
    for label, (first, end) in BORDERS_K.items():
        middle = 142 if label > 12 else 370
        radius = np.hypot((j - 256) / 180, (i - middle) / 90)
        for plane in labels[first:end]:
            plane[radius + rng.normal(0, 0.01, radius.shape) < 1] = label
    return Labelmap(labels, GRID, {STRUCTURES[lobe].label: lobe.value for lobe in LOBES})


def main() -> list[Figure]:
    """Measure the object alone, and the whole command from outside."""
    lobes = make_lobes()
    ct = np.where(lobes.array > 0, np.int16(-850), np.int16(40))
    ct[:, :40] = -1000
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_dicom(Volume(ct, GRID, "HU"), folder / "ct", kind="lobes")
        source = read_source(folder / "ct")
        export = Export(source=source, entropy=("",), module="lobes", version="0")
        started, used = time.perf_counter(), time.process_time()
        made = make_segmentation(export, "lobes", lobes, number=1, by_hand={})
        save(made.dataset, folder / "lobes.dcm")
        seconds, used = time.perf_counter() - started, time.process_time() - used
        _write_results(folder / "results", lobes, source.scan.sha256)
        words = ["dicom", str(folder / "results"), "--source", str(folder / "ct")]
        words += ["-o", str(folder / "out"), "--no-key-images", "--quiet"]
        whole, gib = run_command(words)
    name = "five lobes at 512 x 512 x 400"
    return [
        Figure(name=f"{name}: segmentation made and written", value=seconds, unit="s", at_most=10),
        # on a busy machine the time says nothing, this does
        Figure(name=f"{name}: the same, processor time", value=used, unit="s"),
        Figure(name=f"{name}: whole command", value=whole, unit="s"),
        Figure(name=f"{name}: peak memory", value=gib, unit="GiB", at_most=1.5),
    ]


def _write_results(folder: Path, lobes: Labelmap, sha256: str) -> None:
    analysis = Analysis(
        module="lobes",
        measurements=tuple(
            measured(lobe, "lobe_volume", lobes.volume_ml(lobe), "voxels") for lobe in LOBES
        ),
        labelmaps={"lobes": lobes},
    )
    provenance = Provenance(inputs=(InputFile(role="ct", name="ct", sha256=sha256),))
    with results_folder(folder) as new:
        write_results(new, [analysis], case="c", provenance=provenance, report=False)

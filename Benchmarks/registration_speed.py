"""Time and memory of the V/Q analysis, pair of 512 x 512 x 350 voxels at 0.7 x 0.7 x 1 mm.

Once the analysis alone, on the breathing phantom drawn at this size, and once the whole command
from files to report, on the phantom patient, made coarse and interpolated: its size is what counts.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from Benchmarks import Figure
from Benchmarks._measured import run_command
from Benchmarks.lungs_speed import enlarged
from lungperfusion.analysis.ctvq import Breath, analyse_ctvq
from lungperfusion.analysis.regions import FoundRegions
from lungperfusion.io import write_volume
from lungperfusion.phantoms.breathing import make_breathing_phantom
from lungperfusion.phantoms.patient import make_patient
from lungperfusion.regions import RegionSet
from lungperfusion.results.provenance import peak_memory_mib
from lungperfusion.segmentation.zones import label_zones
from lungperfusion.volume import Geometry, Labelmap, Volume

SHAPE = (350, 512, 512)
SPACING_MM = (0.7, 0.7, 1.0)


def main() -> Iterator[Figure]:
    """Measure the command first: it runs in a process of its own, before this one grows."""
    yield from command_figures()
    yield from analysis_figures()


def command_figures() -> Iterator[Figure]:
    """Time and memory of the command, lungs and lobes of both scans included."""
    patient = make_patient(2.8)
    with tempfile.TemporaryDirectory() as folder:
        arguments = ["ctvq", "--quiet", "-o", str(Path(folder) / "out")]
        for state in ("expiration", "inspiration"):
            path = Path(folder) / f"{state}.nrrd"
            write_volume(enlarged(getattr(patient, state), SHAPE, SPACING_MM), path)
            arguments += [f"--{state}", str(path)]
        seconds, memory = run_command(arguments)
    name = f"{' x '.join(str(n) for n in SHAPE[::-1])} pair, whole command"
    yield Figure(name=f"{name}: time", value=seconds, unit="s")
    yield Figure(name=f"{name}: peak memory", value=memory, unit="GiB", at_most=8)


def analysis_figures() -> Iterator[Figure]:
    """Time and memory of registration, maps, measures and pictures, regions given."""
    made = make_breathing_phantom(spacing_mm=SPACING_MM[0], slice_mm=SPACING_MM[2])
    expiration, inspiration = (_enlarged(v) for v in (made.expiration, made.inspiration))
    states = []
    for lungs, lobes in (
        (made.expiration_lungs, made.expiration_lobes),
        (made.inspiration_lungs, made.inspiration_lobes),
    ):
        found, parts = _enlarged_labels(lungs), _enlarged_labels(lobes)
        regions = RegionSet((found, parts, label_zones(found)))
        states.append(FoundRegions(lungs=found, regions=regions, gates=(), warnings=()))
    del made
    k, j, i = expiration.geometry.shape
    name = f"{i} x {j} x {k} pair, lungs and lobes given"
    clocks = time.perf_counter, time.process_time
    registered: list[tuple[float, float]] = []

    def watch(fraction: float, message: str) -> None:
        if not registered and message != "aligning the lungs":
            registered.append((clocks[0](), clocks[1]()))

    start = clocks[0](), clocks[1]()
    analyse_ctvq(Breath(expiration, states[0]), Breath(inspiration, states[1]), progress=watch)
    end = clocks[0](), clocks[1]()
    yield Figure(name=f"{name}: time", value=end[0] - start[0], unit="s", at_most=150)
    yield Figure(name=f"{name}: processor time", value=end[1] - start[1], unit="s")
    first, second = (at - begin for at, begin in zip(registered[0], start, strict=True))
    yield Figure(name=f"{name}: time of the registration", value=first, unit="s")
    yield Figure(name=f"{name}: processor time of the registration", value=second, unit="s")
    memory = peak_memory_mib()
    if memory is not None:
        yield Figure(name=f"{name}: peak memory", value=memory / 1024, unit="GiB", at_most=8)


def _enlarged(volume: Volume) -> Volume:
    """Set an image into a larger one of air, as a clinical field of view is wider than the body."""
    before, grid = _frame(volume.geometry)
    array = np.pad(
        volume.array,
        [(b, n - b - m) for b, n, m in zip(before, SHAPE, volume.geometry.shape, strict=True)],
        constant_values=-1000,
    )
    return Volume(array, grid, volume.unit)


def _enlarged_labels(labels: Labelmap) -> Labelmap:
    before, grid = _frame(labels.geometry)
    array = np.pad(
        labels.array,
        [(b, n - b - m) for b, n, m in zip(before, SHAPE, labels.geometry.shape, strict=True)],
    )
    return Labelmap(array, grid, labels.names)


def _frame(inner: Geometry) -> tuple[list[int], Geometry]:
    before = [(n - m) // 2 for n, m in zip(SHAPE, inner.shape, strict=True)]
    matrix = inner.ijk_to_ras.copy()
    matrix[:3, 3] = inner.ras_from_ijk([-b for b in before[::-1]])
    return before, Geometry(SHAPE, matrix)

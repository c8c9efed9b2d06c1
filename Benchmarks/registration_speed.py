"""Time and memory of the V/Q analysis, pair of 512 x 512 x 350 voxels at 0.7 x 0.7 x 1 mm."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np

from Benchmarks import Figure
from lungperfusion.phantoms.breathing import make_breathing_phantom
from lungperfusion.pipelines.ctvq import analyse_ctvq
from lungperfusion.pipelines.regions import FoundRegions
from lungperfusion.regions import RegionSet
from lungperfusion.results.provenance import peak_memory_mib
from lungperfusion.segmentation.zones import label_zones
from lungperfusion.volume import Geometry, Labelmap, Volume

SHAPE = (350, 512, 512)


def main() -> Iterator[Figure]:
    made = make_breathing_phantom(spacing_mm=0.7, slice_mm=1.0)
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
    wall, processor = time.perf_counter(), time.process_time()
    analyse_ctvq(expiration, inspiration, states[0], states[1])
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    yield Figure(name=f"{name}: time", value=wall, unit="s", at_most=150)
    yield Figure(name=f"{name}: processor time", value=processor, unit="s")
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

"""Time and memory of the whole V/Q analysis on a full-size pair (about 470 x 340 x 300 voxels)."""

from __future__ import annotations

import time
from collections.abc import Iterator

from Benchmarks import Figure
from lungperfusion.phantoms.breathing import make_breathing_phantom
from lungperfusion.pipelines.ctvq import analyse_ctvq
from lungperfusion.pipelines.regions import FoundRegions
from lungperfusion.regions import RegionSet
from lungperfusion.results.provenance import peak_memory_mib
from lungperfusion.segmentation.zones import label_zones


def main() -> Iterator[Figure]:
    made = make_breathing_phantom(spacing_mm=0.7, slice_mm=1.0)
    states = [
        FoundRegions(
            lungs=lungs,
            regions=RegionSet((lungs, lobes, label_zones(lungs))),
            gates=(),
            warnings=(),
        )
        for lungs, lobes in (
            (made.expiration_lungs, made.expiration_lobes),
            (made.inspiration_lungs, made.inspiration_lobes),
        )
    ]
    k, j, i = made.expiration.geometry.shape
    name = f"{i} x {j} x {k} pair"
    expiration, inspiration = made.expiration, made.inspiration
    del made
    wall, processor = time.perf_counter(), time.process_time()
    analyse_ctvq(expiration, inspiration, states[0], states[1], pictures=False)
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    yield Figure(name=f"{name}: time", value=wall, unit="s", at_most=150)
    yield Figure(name=f"{name}: processor time", value=processor, unit="s")
    memory = peak_memory_mib()
    if memory is not None:
        yield Figure(name=f"{name}: peak memory", value=memory / 1024, unit="GiB", at_most=8)

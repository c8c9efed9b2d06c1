"""Time and memory of the lobes on a chest of 512 x 512 x 450 voxels, lungs given.

The chest is the one of `lungs_speed`: its size is what counts.  Its fissures are blurred, so that
the search for faint ones, which costs most, is included.
"""

from __future__ import annotations

import sys
import time

from Benchmarks import Figure
from Benchmarks.lungs_speed import full_size_chest
from lungperfusion.phantoms.kinds import KINDS
from lungperfusion.resampling import resample_labelmap
from lungperfusion.segmentation.lobes import segment_lobes


def peak_gib() -> float:
    """Peak memory of this process so far."""
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


def main() -> list[Figure]:
    ct = full_size_chest(1.0)
    lungs = resample_labelmap(KINDS["small"]((2.8, 2.8, 2.8)).truth.lungs, ct.geometry)
    start, processor = time.perf_counter(), time.process_time()
    segment_lobes(ct, lungs)
    size = " x ".join(str(n) for n in ct.geometry.shape[::-1])
    return [
        Figure(name=f"{size}: time", value=time.perf_counter() - start, unit="s", at_most=60.0),
        Figure(name=f"{size}: processor time", value=time.process_time() - processor, unit="s"),
        Figure(name=f"{size}: peak memory", value=peak_gib(), unit="GiB"),
    ]

"""Time and memory of the lobes on a chest of 512 x 512 x 450 voxels, lungs given."""

from __future__ import annotations

import sys
import time

from Benchmarks import Figure
from lungperfusion.phantoms import ChestModel, render
from lungperfusion.phantoms.kinds import FIELD_CENTRE_RAS_MM, default_geometry
from lungperfusion.segmentation.lobes import segment_lobes

SPACING_MM = (0.78, 0.78, 0.78)
FIELD_MM = (400.0, 400.0, 351.0)


def peak_gib() -> float:
    """Peak memory of this process so far."""
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


def main() -> list[Figure]:
    geometry = default_geometry(SPACING_MM, field_mm=FIELD_MM, centre_ras_mm=FIELD_CENTRE_RAS_MM)
    made = render(ChestModel(), geometry)
    made_gib = peak_gib()
    start, processor = time.perf_counter(), time.process_time()
    segment_lobes(made.ct, made.truth.lungs)
    size = " x ".join(str(n) for n in geometry.shape[::-1])
    return [
        Figure(name=f"{size}: time", value=time.perf_counter() - start, unit="s", at_most=60.0),
        Figure(name=f"{size}: processor time", value=time.process_time() - processor, unit="s"),
        Figure(name=f"{size}: peak memory with the phantom", value=peak_gib(), unit="GiB"),
        Figure(name=f"{size}: of it making the phantom", value=made_gib, unit="GiB"),
    ]

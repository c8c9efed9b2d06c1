"""Time and memory of ``lungperfusion lungs`` on a chest of full size, and how both grow.

The chest is the phantom made coarse, interpolated to the wanted grid, with fresh noise: its size is
what counts here, not its detail.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from Benchmarks import Figure
from Benchmarks._measured import run_command
from lungperfusion.io import write_volume
from lungperfusion.phantoms.kinds import KINDS
from lungperfusion.resampling import resample_volume
from lungperfusion.volume import Geometry, Volume

FULL = (450, 512, 512)
SPACING_MM = 0.7
FIELD_MM = 512 * SPACING_MM


def full_size_chest(share: float) -> Volume:
    """Chest of 512 x 512 x 450 voxels at 0.7 mm, or a thinner slab grid with a share of them."""
    slices = round(FULL[0] * share)
    spacing = (SPACING_MM, SPACING_MM, SPACING_MM / share)
    return enlarged(KINDS["small"]((2.8, 2.8, 2.8)).ct, (slices, *FULL[1:]), spacing)


def enlarged(
    coarse: Volume, shape: tuple[int, int, int], spacing_mm: tuple[float, float, float]
) -> Volume:
    """Interpolate a CT to a grid around the same centre, with fresh noise."""
    target = Geometry.axial(shape, spacing_mm)
    matrix = target.ijk_to_ras.copy()
    k, j, i = (n - 1 for n in coarse.geometry.shape)
    middle = coarse.geometry.ras_from_ijk((i / 2, j / 2, k / 2))
    own = target.ras_from_ijk(np.array(target.shape[::-1]) / 2 - 0.5)
    matrix[:3, 3] += middle - own
    large = resample_volume(coarse, Geometry(target.shape, matrix))
    rng = np.random.default_rng(1)
    array = large.array.copy()
    for plane in array:
        plane += rng.normal(0.0, 15.0, plane.shape).astype(np.int16)
    return Volume(array, large.geometry, "HU")


def run(share: float, folder: Path) -> tuple[float, float]:
    """Seconds of the whole command from outside, and its peak memory in GiB."""
    path = folder / f"chest_{share:g}.nrrd"
    write_volume(full_size_chest(share), path)
    out = folder / f"out_{share:g}"
    measured = run_command(["lungs", str(path), "-o", str(out), "--quiet"])
    path.unlink()
    return measured


def main() -> list[Figure]:
    """Measure the full and the half scan."""
    with tempfile.TemporaryDirectory() as folder:
        half_s, half_gib = run(0.5, Path(folder))
        full_s, full_gib = run(1.0, Path(folder))
    return [
        Figure(name="512 x 512 x 450 at 0.7 mm: time", value=full_s, unit="s", at_most=30.0),
        Figure(
            name="512 x 512 x 450 at 0.7 mm: peak memory", value=full_gib, unit="GiB", at_most=4.0
        ),
        Figure(name="512 x 512 x 225: time", value=half_s, unit="s"),
        Figure(name="512 x 512 x 225: peak memory", value=half_gib, unit="GiB"),
        Figure(name="growth of time over growth of voxels", value=full_s / half_s / 2, at_most=1.1),
    ]

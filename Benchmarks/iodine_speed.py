"""Time and memory of ``lungperfusion ipv`` on a dual-energy pair of full size.

The pair is a phantom made coarse, interpolated to the wanted grid, with fresh noise: its size is
what counts here, not its detail.
"""

from __future__ import annotations

import resource
import tempfile
from pathlib import Path

import numpy as np

from Benchmarks import Figure
from Benchmarks._measured import run_command
from lungperfusion.io import write_volume
from lungperfusion.phantoms.kinds import DUAL_ENERGY_KINDS
from lungperfusion.resampling import resample_volume
from lungperfusion.volume import Geometry, Volume

SHAPE = (450, 512, 512)
SPACING_MM = 0.75


def full_size(coarse: Volume, seed: int) -> Volume:
    """One image of the pair on 512 x 512 x 450 voxels."""
    target = Geometry.axial(SHAPE, (SPACING_MM, SPACING_MM, SPACING_MM))
    matrix = target.ijk_to_ras.copy()
    middle = coarse.geometry.ras_from_ijk(np.array(coarse.geometry.shape[::-1]) / 2 - 0.5)
    matrix[:3, 3] += middle - target.ras_from_ijk(np.array(SHAPE[::-1]) / 2 - 0.5)
    large = resample_volume(coarse, Geometry(SHAPE, matrix))
    rng = np.random.default_rng(seed)
    array = large.array.copy()
    for plane in array:
        plane += rng.normal(0.0, 18.0, plane.shape).astype(np.int16)
    return Volume(array, large.geometry, "HU")


def processor_seconds() -> float:
    """Time that finished subprocesses spent on all cores."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main() -> list[Figure]:
    """Measure the whole command, report included, from outside."""
    phantom = DUAL_ENERGY_KINDS["dect_defects"]((3.0, 3.0, 3.0))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for seed, (name, image) in enumerate((("low", phantom.low), ("high", phantom.high))):
            write_volume(full_size(image, seed), folder / f"{name}.nrrd")
        words = ["ipv", "--low", str(folder / "low.nrrd"), "--high", str(folder / "high.nrrd")]
        words += ["--kv", "80", "140Sn", "-o", str(folder / "out"), "--quiet"]
        used = processor_seconds()
        seconds, gib = run_command(words)
        used = processor_seconds() - used
    name = "pair of 512 x 512 x 450"
    return [
        Figure(name=f"{name}: time", value=seconds, unit="s", at_most=45.0),
        # on a busy machine the time says nothing, this does
        Figure(name=f"{name}: processor time, all cores", value=used, unit="s"),
        Figure(name=f"{name}: peak memory", value=gib, unit="GiB", at_most=4.0),
    ]

"""Time and memory of ``lungperfusion dynamic`` on 24 frames of 512 x 512 x 84 voxels."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from scipy import ndimage

from Benchmarks import Figure
from Benchmarks._measured import run_command
from lungperfusion.io.writing import write_time_series
from lungperfusion.phantoms.kinds import FIRST_PASS_KINDS
from lungperfusion.volume import Geometry

SHAPE = (84, 512, 512)


def main() -> list[Figure]:
    """Enlarge the dynamic phantom to the size of a scan and analyse it."""
    phantom = FIRST_PASS_KINDS["dynamic"]()
    zoom = np.array(SHAPE) / phantom.geometry.shape
    frames = np.empty((len(phantom.frames), *SHAPE), np.int16)
    for number, frame in enumerate(phantom.frames):
        frames[number] = ndimage.zoom(frame, zoom, order=1)
    matrix = phantom.geometry.ijk_to_ras.copy()
    matrix[:3, :3] /= zoom[::-1]
    geometry = Geometry(SHAPE, matrix)
    times = np.repeat(phantom.times_s.mean(axis=1)[:, None], SHAPE[0], axis=1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "first_pass.seq.nrrd"
        write_time_series(frames, geometry, times, path)
        del frames
        seconds, gib = run_command(["dynamic", str(path), "-o", f"{folder}/out", "--quiet"])
    name = "dynamic, 24 frames of 512 x 512 x 84"
    return [
        Figure(name=f"{name}: time", value=seconds, unit="s", at_most=120),
        Figure(name=f"{name}: peak memory", value=gib, unit="GiB", at_most=4),
    ]

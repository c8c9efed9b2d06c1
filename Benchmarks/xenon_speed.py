"""Time and memory of ``lungperfusion xenon`` on a CT of clinical size, its lungs given."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np

from Benchmarks import Figure
from Benchmarks._measured import run_command
from Benchmarks.xenon_accuracy import chest_ct
from lungperfusion.analysis.xenon import analyse_xenon
from lungperfusion.io import write_labelmap, write_volume
from lungperfusion.phantoms.chest import ChestModel
from lungperfusion.phantoms.kinds import default_geometry
from lungperfusion.phantoms.rendering import render
from lungperfusion.phantoms.xenon import make_xenon
from lungperfusion.volume import Volume
from lungperfusion.xenon.images import XenonMaps

SPACING_MM = (0.9, 0.9, 1.2)


def main() -> list[Figure]:
    phantom = render(ChestModel(leaves=40), default_geometry(SPACING_MM))
    made = make_xenon(phantom.truth.lobes)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_volume(phantom.ct, folder / "ct.nrrd")
        write_labelmap(phantom.truth.lungs, folder / "lungs.seg.nrrd")
        for stem in ("rbc_gas", "membrane_gas", "ventilation"):
            values = np.nan_to_num(getattr(made, stem))
            write_volume(Volume(values, made.geometry, "1"), folder / f"{stem}.nrrd")
        mask = Volume(made.mask.astype(np.float32), made.geometry, "1")
        write_volume(mask, folder / "mask.nrrd")
        maps = [
            word
            for stem in ("rbc_gas", "membrane_gas", "ventilation", "mask")
            for word in (f"--{stem.replace('_', '-')}", str(folder / f"{stem}.nrrd"))
        ]
        lungs = ["--lung-mask", str(folder / "lungs.seg.nrrd"), "--lobes", "none"]
        chest = ["--ct", str(folder / "ct.nrrd"), *lungs]
        words = ["xenon", *chest, *maps, "--no-report", "-o", str(folder / "out")]
        seconds, gib = run_command(words)
    chest_of = chest_ct(phantom.truth.lungs, phantom.truth.lobes)
    given = XenonMaps(
        mask=made.mask,
        geometry=made.geometry,
        ventilation=made.ventilation,
        rbc_gas=made.rbc_gas,
        membrane_gas=made.membrane_gas,
    )
    started = time.perf_counter()
    analyse_xenon(given, [chest_of], pictures=False)
    joined = time.perf_counter() - started
    size = "x".join(map(str, phantom.ct.geometry.shape[::-1]))
    return [
        Figure(
            name=f"xenon, {size}: classes, join and measures", value=joined, unit="s", at_most=30
        ),
        Figure(name=f"xenon, {size}: command with given lungs", value=seconds, unit="s"),
        Figure(name=f"xenon, {size}: peak memory", value=gib, unit="GiB", at_most=2.0),
    ]

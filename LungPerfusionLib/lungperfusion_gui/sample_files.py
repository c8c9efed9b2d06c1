"""Phantoms of the sample data as files: runs in the worker, where nothing of Slicer is needed."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from lungperfusion.dynamic.series import Frames
from lungperfusion.io import write_labelmap, write_volume
from lungperfusion.io.writing import write_time_series
from lungperfusion.phantoms import KINDS, Phantom
from lungperfusion.phantoms.breathing import make_breathing_phantom
from lungperfusion.phantoms.kinds import DUAL_ENERGY_KINDS, FIRST_PASS_KINDS
from lungperfusion.phantoms.xenon import make_xenon
from lungperfusion.progress import Progress, part
from lungperfusion.terms import Region
from lungperfusion.terms.xenon import IMAGE_NAMES
from lungperfusion.volume import Labelmap, Volume

WORD = "sample"
"""Word that the worker knows this by, in the place of a command."""


def run(words: list[str], progress: Progress) -> int:
    """Write a sample: its name, the distances between voxels in mm, the folder."""
    name, spacing, folder = words
    images = _make(name, tuple(map(float, spacing.split(","))), part(progress, 0.0, 0.9))
    progress(0.9, "writing")
    for title, image in images.items():
        if isinstance(image, Frames):
            path = Path(folder) / f"{title}.seq.nrrd"
            write_time_series(image.array, image.geometry, image.times_s, path, compressed=False)
        elif isinstance(image, Volume):
            write_volume(image, Path(folder) / f"{title}.nrrd", compressed=False)
        else:
            write_labelmap(image, Path(folder) / f"{title}.seg.nrrd", compressed=False)
    progress(1.0, "done")
    return 0


def _make(
    name: str, spacing_mm: tuple[float, ...], progress: Progress
) -> Mapping[str, Volume | Labelmap | Frames]:
    """Images by the name that their node gets, in the order in which they are shown."""
    if name == "LungPerfusionBreathing":
        pair = make_breathing_phantom(spacing_mm=spacing_mm[0], progress=progress)
        return {
            "Inspiration": pair.inspiration,
            "Expiration": pair.expiration,
            "Inspiratory lungs": pair.inspiration_lungs,
            "Expiratory lungs": pair.expiration_lungs,
        }
    grid = (spacing_mm[0], spacing_mm[1], spacing_mm[2])
    if name == "LungPerfusionFirstPass":
        taken = FIRST_PASS_KINDS["dynamic"](grid, progress=progress)
        return {"First pass": Frames(taken.frames, taken.geometry, taken.times_s)}
    if name == "LungPerfusionDualEnergy":
        phantom = DUAL_ENERGY_KINDS["dect_defects"](grid, progress=progress)
        return {"CT": phantom.mixed, "Iodine map": phantom.iodine}
    chest = KINDS["healthy"](grid, progress=progress)
    return {"CT": chest.ct, **(_xenon_of(chest) if name == "LungPerfusionXenon" else {})}


def _xenon_of(chest: Phantom) -> dict[str, Volume | Labelmap]:
    """Image a chest with xenon: maps and its lungs."""
    made = make_xenon(chest.truth.lobes)
    lungs = Labelmap(made.mask.view(np.uint8), made.geometry, {1: Region.LUNGS})
    named = {IMAGE_NAMES[name]: volume for name, volume in made.maps.items()}
    return {**named, IMAGE_NAMES["lungs"]: lungs}

"""Accuracy of the lung segmentation: phantoms with exact truth, and real scans when present.

The lung of the phantoms' truth holds its vessels and all bronchi inside the pleura; the project
labels the bronchi that it can follow as airways.  Overlap is therefore taken outside the airways
of either, and the total lung volume is compared as it stands.

Mask conventions of the real scans: the masks of ``chest_64`` and ``lung_followup_pair`` hold
vessels and bronchi up to the hilum, where they reach farther toward the mediastinum than the
closing of the project does; ``chest_64`` labels its airways and vessels apart (high byte), which
count as lung here where its low byte names a lung region.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from Benchmarks import Figure
from Benchmarks.airways_accuracy import Axis, tree_figures
from lungperfusion.phantoms import KINDS
from lungperfusion.resampling import from_sitk, geometry_from_sitk
from lungperfusion.segmentation.lungs import segment_lungs
from lungperfusion.volume import Labelmap, Mask, Volume

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
SPACING_MM = (1.6, 1.6, 1.6)
DICE = {"consolidation": 0.96, "pneumonia": 0.96, "cut_off": 0.98}
"""Targets that differ from that of healthy lungs."""
HEALTHY_DICE = 0.985


def dice(first: Mask, second: Mask) -> float:
    return float(
        2 * np.count_nonzero(first & second) / (np.count_nonzero(first) + np.count_nonzero(second))
    )


def phantom(kind: str) -> Iterator[Figure]:
    recipe = KINDS[kind]
    made = recipe(None if kind == "thick_slices" else SPACING_MM)
    ct, truth = made.ct, made.truth.lungs
    found = segment_lungs(ct).labelmap
    airways = found.mask("airways") | (made.truth.airways.array > 0)
    measured = ~airways if ct.valid is None else ~airways & ct.valid
    true_lung = truth.mask("left_lung", "right_lung")
    lung = found.mask("left_lung", "right_lung")
    yield Figure(
        name=f"phantom {kind}: lung Dice",
        value=dice(lung & measured, true_lung & measured),
        at_least=DICE.get(kind, HEALTHY_DICE),
    )
    swapped = (found.mask("left_lung") & truth.mask("right_lung")) | (
        found.mask("right_lung") & truth.mask("left_lung")
    )
    yield Figure(
        name=f"phantom {kind}: left/right mix-up",
        value=100 * np.count_nonzero(swapped) / np.count_nonzero(true_lung),
        unit="%",
        at_most=0.1,
    )
    if kind not in ("cut_off", "pneumonia"):
        error = 100 * (
            found.volume_ml("left_lung", "right_lung") / made.truth.volumes_ml["lungs"] - 1
        )
        yield Figure(
            name=f"phantom {kind}: TLV error", value=error, unit="%", at_least=-1.0, at_most=1.0
        )
    airway_truth = made.truth.airways.array > 0
    tree = found.mask("airways")
    yield Figure(
        name=f"phantom {kind}: airways found",
        value=100 * np.count_nonzero(tree & airway_truth) / np.count_nonzero(airway_truth),
        unit="%",
    )
    yield from tree_figures(
        f"phantom {kind}", tree, airway_truth, true_lung, Axis.of(made.truth.bronchi), ct.geometry,
        clean=kind == "healthy",
    )  # fmt: skip


def read(path: Path) -> Volume:
    image = sitk.ReadImage(str(path))
    return Volume(from_sitk(image), geometry_from_sitk(image), "HU")


def real() -> Iterator[Figure]:
    ct = read(DATA / "chest_64" / "ct-64.nrrd")
    region = from_sitk(sitk.ReadImage(str(DATA / "chest_64" / "lm-64.nrrd"))) & 255
    found = segment_lungs(ct).labelmap
    sides = {"left_lung": (region >= 9) & (region <= 11), "right_lung": region >= 12}
    for side, truth in sides.items():
        yield Figure(
            name=f"chest_64: {side} Dice", value=dice(found.mask(side), truth), at_least=0.95
        )
    for scan in ("baseline", "followup"):
        folder = DATA / "lung_followup_pair"
        found = segment_lungs(read(folder / f"{scan}.nii.gz")).labelmap
        truth = from_sitk(sitk.ReadImage(str(folder / f"{scan}_mask.mha"))) > 0
        yield from _compared(f"lung_followup_pair {scan}", found, truth)


def _compared(name: str, found: Labelmap, truth: Mask) -> Iterator[Figure]:
    lung, voxel_ml = found.mask("right_lung"), found.geometry.voxel_volume_ml
    yield Figure(name=f"{name}: right lung Dice", value=dice(lung, truth), at_least=0.97)
    for what, mask in (("mask only", truth & ~lung), ("project only", lung & ~truth)):
        yield Figure(name=f"{name}: in {what}", value=np.count_nonzero(mask) * voxel_ml, unit="mL")
    yield Figure(
        name=f"{name}: of it bronchi",
        value=np.count_nonzero(truth & found.mask("airways")) * voxel_ml,
        unit="mL",
    )


def main() -> list[Figure]:
    figures = [figure for kind in KINDS if kind != "small" for figure in phantom(kind)]
    if DATA.is_dir():
        figures += real()
    else:
        print("no real scans beside the project (../shared/data): phantoms only")
    return figures

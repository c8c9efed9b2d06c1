"""Lungs, lobes and vessels on every real scan beside the project, with a sheet of pictures each.

Real scans have no truth for most of this: the figures say what was found and which gates did not
pass, and the sheets in ``results/real_scans`` are there to be looked at.  Bounds stand where a scan
has a reference of its own (the README beside the data) or anatomy leaves no doubt.

The leak of the airways is counted where no bronchus can be seen by CT: within `PERIPHERY_MM` of the
chest wall, which is the border of the convex hull of both lungs on each axial slice.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy import ndimage

from Benchmarks import Figure
from lungperfusion.analysis.regions import RegionOptions, find_regions
from lungperfusion.analysis.vesselbv import analyse_vesselbv
from lungperfusion.body import from_upright, to_upright, upright
from lungperfusion.io import read_ct
from lungperfusion.measurement import Measurement
from lungperfusion.orientation import axial
from lungperfusion.results.analysis import Analysis
from lungperfusion.terms import AIRWAYS, LOBES, LUNGS, title
from lungperfusion.volume import Labelmap, Mask, Volume, bounding_box

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
SHEETS = Path("results") / "real_scans"
SCANS = {
    "contrast_chest_ct": "contrast_chest_ct/ct.nii.gz",
    "lung_kernel_chest_ct": "lung_kernel_chest_ct/ct.nii.gz",
    "lower_lungs_ctpa": "lower_lungs_ctpa/ct.nii.gz",
    "chest_64": "chest_64/ct-64.nrrd",
    "followup_baseline": "lung_followup_pair/baseline.nii.gz",
    "followup_followup": "lung_followup_pair/followup.nii.gz",
}
REFERENCES = {
    ("lung_kernel_chest_ct", "lung volume"): (4.45 * 0.97, 4.45 * 1.03),
    ("lung_kernel_chest_ct", "mean lung density"): (-840.0, -820.0),
    ("lung_kernel_chest_ct", "airways"): (25.0, 90.0),
    ("lower_lungs_ctpa", "TBV"): (58.7 * 0.93, 58.7 * 1.07),
}
"""Bounds from the references in the data's README."""
PERIPHERY_MM = 8.0
LEAK_SHARE = 0.01
"""Airways may leak into this share of the lungs."""
BACKDROP_HU = (-1000.0, 250.0)


def main() -> list[Figure]:
    if not DATA.is_dir():
        print("no real scans beside the project (../shared/data): nothing to run")
        return []
    SHEETS.mkdir(parents=True, exist_ok=True)
    figures: list[Figure] = []
    for name, path in SCANS.items():
        figures += scan(name, DATA / path)
    return figures


def scan(name: str, path: Path) -> Iterator[Figure]:
    """Analyse one scan, draw its sheet, say what its gates say, and yield its figures."""
    read = read_ct(path)
    regions = RegionOptions(lobes="auto")
    outlines = find_regions(axial(read.volume), regions, acquisition=read.acquisition)
    analysis = analyse_vesselbv(read.volume, outlines, acquisition=read.acquisition, pictures=False)
    draw(SHEETS / f"{name}.png", read.volume, analysis)
    print(f"\n{name}: {SHEETS / name}.png")
    for gate in analysis.gates:
        if gate.verdict != "pass":
            print(f"  {gate.verdict:7} {gate.id}: {gate.message}")
    for warning in analysis.warnings:
        print(f"  warning {warning}")
    for figure, value, unit in found(read.volume, analysis):
        low, high = REFERENCES.get((name, figure), (-np.inf, np.inf))
        if figure == "airway leak":
            high = 100 * LEAK_SHARE
        yield Figure(name=f"{name}: {figure}", value=value, unit=unit, at_least=low, at_most=high)


def found(ct: Volume, analysis: Analysis) -> Iterator[tuple[str, float, str]]:
    """Name, value and unit of what is reported for every scan."""
    lungs = analysis.labelmaps["lungs"]
    both = lungs.mask(*LUNGS)
    yield "lung volume", lungs.volume_ml(*LUNGS) / 1000, "L"
    for side in LUNGS:
        yield title(side).lower(), lungs.volume_ml(side) / 1000, "L"
    values = ct.values(both)
    yield "mean lung density", float(values[values < -200].mean()), "HU"
    yield "LAA-950", 100 * float((values < -950).mean()), "%"
    yield "airways", lungs.volume_ml(AIRWAYS), "mL"
    leak = np.count_nonzero(peripheral(lungs) & lungs.mask(AIRWAYS))
    yield "airway leak", 100 * leak / max(1, np.count_nonzero(both)), "%"
    lobes = analysis.labelmaps.get("lobes")
    if lobes is not None:
        for lobe in LOBES:
            yield title(lobe).lower(), lobes.volume_ml(lobe), "mL"
    yield from measures(analysis.measurements)


def measures(rows: tuple[Measurement, ...]) -> Iterator[tuple[str, float, str]]:
    for name, wanted in (("blood density", "blood_density"), ("TBV", "tbv"), ("BV5", "bv5")):
        for row in rows:
            if row.region == "lungs" and row.measure == wanted and row.status != "missing":
                yield name, row.value, row.unit


def peripheral(lungs: Labelmap) -> Mask:
    """Lie within `PERIPHERY_MM` of the chest wall, on the grid of the lungs."""
    from skimage.morphology import convex_hull_image

    axes, _ = upright(lungs.geometry)
    spacing = [lungs.geometry.spacing_kji_mm[axis] for axis in axes]
    thorax = to_upright(lungs.array > 0, lungs.geometry)
    out = np.zeros(thorax.shape, np.bool_)
    box = bounding_box(thorax)
    for plane, target in zip(thorax[box], out[box], strict=True):
        if np.count_nonzero(plane) > 50:
            hull = convex_hull_image(plane)
            depth = ndimage.distance_transform_edt(np.pad(hull, 1), sampling=spacing[1:])
            target[:] = hull & (depth[1:-1, 1:-1] < PERIPHERY_MM)
    return from_upright(out, lungs.geometry)


def draw(path: Path, ct: Volume, analysis: Analysis) -> None:
    """Sheet of one scan: axial, coronal and sagittal slices with outlines, projections of trees."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    axes, _ = upright(ct.geometry)
    dk, dj, di = (ct.geometry.spacing_kji_mm[axis] for axis in axes)
    image = to_upright(ct.array, ct.geometry)
    maps = {
        name: to_upright(labels.array, labels.geometry)
        for name, labels in analysis.labelmaps.items()
    }
    lungs = maps["lungs"]
    box = bounding_box(lungs > 0, (4, 12, 12))
    # As radiologists look at it: the patient's right on the left of the picture.
    image = image[box][:, :, ::-1]
    maps = {name: array[box][:, :, ::-1] for name, array in maps.items()}
    lungs = maps["lungs"]
    lobes = maps.get("lobes", lungs)
    size = lungs.shape
    left, right = (np.nonzero(lungs == value)[2] for value in (1, 2))
    panels = [
        (image[round(size[0] * t)], lungs[round(size[0] * t)], dj, di)
        for t in (0.15, 0.35, 0.55, 0.75)
    ]
    panels += [
        (image[:, round(size[1] * t)], lobes[:, round(size[1] * t)], dk, di)
        for t in (0.35, 0.5, 0.65)
    ]
    for side in (right, left):
        for t in (35, 65):
            if side.size:
                i = int(np.percentile(side, t))
                panels.append((image[:, :, i], lobes[:, :, i], dk, dj))
    figure, grid = pyplot.subplots(3, 5, figsize=(20, 12), facecolor="black")
    for axis in grid.flat:
        axis.axis("off")
    for axis, (plane, labels, height, width) in zip(grid.flat, panels, strict=False):
        axis.imshow(
            plane,
            cmap="gray",
            vmin=BACKDROP_HU[0],
            vmax=BACKDROP_HU[1],
            aspect=height / width,
            origin="lower",
        )
        for value in np.unique(labels[labels > 0]):
            axis.contour(labels == value, [0.5], colors=[f"C{value}"], linewidths=0.7)
    projections = {"airways": lungs == 3, "lungs": lungs > 0}
    if "vessels" in maps:
        projections["vessels"] = maps["vessels"] > 0
    for axis, (name, mask) in zip(grid.flat[len(panels) :], projections.items(), strict=False):
        axis.imshow(mask.sum(axis=1), cmap="magma", aspect=dk / di, origin="lower")
        axis.set_title(name, color="white")
    figure.tight_layout()
    figure.savefig(path, dpi=70, facecolor="black")
    pyplot.close(figure)

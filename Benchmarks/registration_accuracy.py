"""Registration against the truth of the breathing phantom and landmarks of a real pair.

The real pair is compared with itk-elastix and antspyx in the same run, each in a process of its
own and only if installed.  Times are processor time of all threads, which a busy machine does not
falsify.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from Benchmarks import Figure
from lungperfusion.phantoms.breathing import BreathingPhantom, make_breathing_phantom
from lungperfusion.resampling import from_sitk, geometry_from_sitk
from lungperfusion.segmentation.vessel_map import find_trees, label_vessels
from lungperfusion.terms import LOBES, LUNGS, VESSELS, Region
from lungperfusion.volume import Volume
from lungperfusion.vq.alignment import COARSE_STAGES, FINE_STAGES, Part, align
from lungperfusion.vq.classes import classify
from lungperfusion.vq.displacement import DisplacementField, voxel_positions
from lungperfusion.vq.jacobian import scale_to_volumes
from lungperfusion.vq.pair import pair_breaths
from lungperfusion.vq.perfusion import map_perfusion
from lungperfusion.vq.registration import register_lungs
from lungperfusion.vq.ventilation import map_ventilation

ROOT = Path(__file__).parents[1]
PAIR = ROOT.parent / "shared" / "data" / "lung_followup_pair"
PEERS = Path(__file__).with_name("_registration_peers.py")


CUT_MM = 30.0


def main() -> list[Figure]:
    phantom = make_breathing_phantom(spacing_mm=2.0)
    return [*phantom_figures(phantom), *cut_figures(phantom), *real_pair_figures()]


def phantom_figures(phantom: BreathingPhantom) -> Iterator[Figure]:
    lungs = phantom.expiration_lungs, phantom.inspiration_lungs
    lobes = phantom.expiration_lobes, phantom.inspiration_lobes
    start = time.process_time()
    registration = register_lungs(phantom.expiration, phantom.inspiration, *lungs)
    seconds = time.process_time() - start
    error = np.concatenate(
        [
            np.linalg.norm(
                fields.alignment.at(voxel_positions(phantom.expiration.geometry, mask))
                - phantom.displacement_ras_mm[mask],
                axis=1,
            )
            for _, fields, mask in registration.each()
        ]
    )
    name = "breathing phantom, 40 mm motion, 25 HU noise"
    yield Figure(name=f"{name}: mean error", value=float(error.mean()), unit="mm", at_most=0.6)
    p95 = float(np.percentile(error, 95))
    yield Figure(name=f"{name}: 95th percentile", value=p95, unit="mm", at_most=1.6)
    folded = 100 * max(fields.folded_share for fields in registration.parts.values())
    yield Figure(name=f"{name}: folded", value=folded, unit="%", at_most=0.0)
    truth, unscaled = phantom.jacobian.array, registration.jacobian()
    jacobian, _ = scale_to_volumes(unscaled, *lobes, LOBES)
    inside = np.isfinite(jacobian)
    r = float(np.corrcoef(jacobian[inside], truth[inside])[0, 1])
    yield Figure(name=f"{name}: r of the Jacobian", value=r, at_least=0.9)
    raw, scaled = (
        100
        * max(
            abs(values[mask].sum() / truth[mask].sum() - 1)
            for mask in (lobes[0].mask(lobe) & inside for lobe in LOBES)
        )
        for values in (unscaled, jacobian)
    )
    yield Figure(name=f"{name}: worst lobe, Jacobian volume before scaling", value=raw, unit="%")
    yield Figure(name=f"{name}: worst lobe, Jacobian volume", value=scaled, unit="%", at_most=1.0)
    yield from _function_figures(phantom, registration, lungs, lobes, name)
    yield Figure(name=f"{name}: registration, processor time", value=seconds, unit="s")


def cut_figures(phantom: BreathingPhantom) -> Iterator[Figure]:
    """Let the lowest part of the lungs miss in one scan, as when a deep breath leaves its range."""
    for state in ("inspiratory", "expiratory"):
        scans = []
        for ct, lungs, cut in (
            (phantom.expiration, phantom.expiration_lungs, state == "expiratory"),
            (phantom.inspiration, phantom.inspiration_lungs, state == "inspiratory"),
        ):
            lowest = int(np.flatnonzero(lungs.array.any(axis=(1, 2)))[0])
            first = lowest + round(CUT_MM / ct.geometry.spacing_kji_mm[0]) if cut else 0
            box = (slice(first, None), slice(None), slice(None))
            scans.append((ct.crop(box), lungs.crop(box), first))
        (still, here, first), (moving, there, _) = scans
        registration = register_lungs(still, moving, here, there)
        pair = pair_breaths(still, moving, registration, here, there)
        truth = phantom.displacement_ras_mm[first:]
        error = np.concatenate(
            [
                np.linalg.norm(
                    fields.alignment.at(voxel_positions(still.geometry, seen)) - truth[seen], axis=1
                )
                for _, fields, mask in registration.each()
                for seen in (mask & pair.mask,)
            ]
        )
        name = f"breathing phantom, lowest {CUT_MM:g} mm of the {state} lungs out of view"
        yield Figure(name=f"{name}: mean error", value=float(error.mean()), unit="mm", at_most=0.6)
        p95 = float(np.percentile(error, 95))
        yield Figure(name=f"{name}: 95th percentile", value=p95, unit="mm", at_most=1.6)
        true_ratio = phantom.jacobian.array[first:][pair.mask].mean(dtype=np.float64)
        off = 100 * float(pair.jacobian[pair.mask].mean(dtype=np.float64) / true_ratio - 1)
        yield Figure(name=f"{name}: volume change", value=off, unit="%", at_least=-1, at_most=1)


def _function_figures(phantom, registration, lungs, lobes, name) -> Iterator[Figure]:
    trees = find_trees(phantom.expiration, lungs[0], tuple(Region(lung) for lung in LUNGS))
    pair = pair_breaths(
        phantom.expiration,
        phantom.inspiration,
        registration,
        *lungs,
        lobes=lobes,
        vessels=label_vessels(trees, lungs[0]).mask(VESSELS),
    )
    v, q = map_ventilation(pair), map_perfusion(pair).combined
    inside = pair.mask & np.isfinite(q)  # dense lung has no perfusion
    true_v, true_q = phantom.ventilation.array, phantom.perfusion.array
    shares = {
        key: np.array([100 * values[lobes[0].mask(lobe) & inside].sum() for lobe in LOBES])
        / values[inside].sum()
        for key, values in {"v": v, "tv": true_v, "q": q, "tq": true_q}.items()
    }
    off = float(np.abs(shares["v"] - shares["tv"]).max())
    yield Figure(name=f"{name}: lobar V share, largest error", value=off, unit="%", at_most=1.5)
    r = float(np.corrcoef(shares["v"], shares["tv"])[0, 1])
    yield Figure(name=f"{name}: lobar V share, r", value=r, at_least=0.97)
    off = float(np.abs(shares["q"] - shares["tq"]).max())
    yield Figure(name=f"{name}: lobar Q share, largest error", value=off, unit="%", at_most=1.5)
    found = classify(v, q, inside, pair.geometry).array[inside]
    truth = classify(true_v, true_q, inside, pair.geometry).array[inside]
    yield Figure(name=f"{name}: classes, kappa", value=_kappa(found, truth), at_least=0.8)


def _kappa(a: np.ndarray, b: np.ndarray) -> float:
    values = np.unique(np.concatenate([a, b]))
    agree = float((a == b).mean())
    chance = sum(float((a == value).mean() * (b == value).mean()) for value in values)
    return (agree - chance) / (1 - chance)


def real_pair_figures() -> Iterator[Figure]:
    if not PAIR.is_dir():
        print("the real pair is not beside the project: its figures are left out")
        return
    (fixed, here), (moving, there) = (load(name) for name in ("baseline", "followup"))
    inside = _inside(fixed, here) & _inside(moving, there)
    here, there = here[inside], there[inside]
    start = time.process_time()
    first = align(fixed, moving, stages=COARSE_STAGES)
    field = align(fixed, moving, stages=FINE_STAGES, start=first)
    seconds = time.process_time() - start
    error = np.linalg.norm(here + field.at(here) - there, axis=1)
    name = f"lung_followup_pair, {len(here)} landmarks"
    yield Figure(name=f"{name}: mean", value=float(error.mean()), unit="mm", at_most=1.30)
    yield Figure(name=f"{name}: median", value=float(np.median(error)), unit="mm", at_most=1.0)
    yield Figure(name=f"{name}: 95th percentile", value=float(np.percentile(error, 95)), unit="mm")
    yield Figure(name=f"{name}: largest", value=float(error.max()), unit="mm")
    rest = np.sort(error)[:-1]
    yield Figure(name=f"{name}: mean without the largest", value=float(rest.mean()), unit="mm")
    by_rounding = rounding_mean_mm(fixed.ct.geometry.spacing_ijk_mm)
    yield Figure(name=f"{name}: mean that rounding alone gives", value=by_rounding, unit="mm")
    limit = {}
    for peer in ("elastix-16", "elastix-8", "ants"):
        result = _peer(peer)
        if result is None:
            print(f"{peer} is not installed or failed: left out")
            continue
        displacement, limit[peer] = result
        error = np.linalg.norm(here + displacement.at(here) - there, axis=1)
        yield Figure(name=f"{name}: {peer} mean", value=float(error.mean()), unit="mm")
        yield Figure(name=f"{name}: {peer} median", value=float(np.median(error)), unit="mm")
        yield Figure(name=f"{name}: {peer} processor time", value=limit[peer], unit="s")
    fastest = min((t for key, t in limit.items() if key.startswith("elastix")), default=np.inf)
    yield Figure(name=f"{name}: processor time", value=seconds, unit="s", at_most=float(fastest))


def rounding_mean_mm(spacing_mm: tuple[float, float, float]) -> float:
    """Mean distance of a perfect registration from landmarks that were rounded.

    Those of the fixed image lie on voxel centres, those of the moving one on half voxels within
    the slice.
    """
    fixed = np.array(spacing_mm)
    moving = fixed * (0.5, 0.5, 1.0)
    error = np.random.default_rng(0).random((2, 100_000, 3)) - 0.5
    return float(np.linalg.norm(error[0] * fixed + error[1] * moving, axis=1).mean())


def load(name: str) -> tuple[Part, np.ndarray]:
    image = sitk.ReadImage(str(PAIR / f"{name}.nii.gz"))
    mask = from_sitk(sitk.ReadImage(str(PAIR / f"{name}_mask.mha"))) > 0
    points = np.loadtxt(PAIR / f"{name}_landmarks_lps_mm.txt", skiprows=2) * (-1, -1, 1)
    return Part(Volume(from_sitk(image), geometry_from_sitk(image), "HU"), mask), points


def _inside(part: Part, points: np.ndarray) -> np.ndarray:
    index = part.ct.geometry.ijk_from_ras(points)
    return ((index >= 0) & (index <= np.array(part.ct.geometry.shape)[::-1] - 1)).all(axis=1)


def _peer(name: str) -> tuple[DisplacementField, float] | None:
    """Run another tool in a process of its own, and a folder: some crash, some leave files."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "field.npz"
        command = [sys.executable, str(PEERS), name, str(PAIR), str(target)]
        if (
            subprocess.run(command, check=False, capture_output=True, cwd=folder).returncode
            or not target.exists()
        ):
            return None
        with np.load(target) as record:
            geometry = load("baseline")[0].ct.geometry
            ras = record["lps"] * np.array([-1, -1, 1], np.float32)
            return DisplacementField(ras.astype(np.float32), geometry), float(record["seconds"])

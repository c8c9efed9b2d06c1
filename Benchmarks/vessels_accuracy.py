"""Blood volume by vessel size on phantoms: bins, repeatability, angle, traps, scan settings."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from Benchmarks import Figure
from lungperfusion.phantoms.vessel_tree import (
    Room,
    Traps,
    Tubes,
    VesselPhantom,
    correlated_noise,
    murray_tree,
    render_vessels,
    straight_tube,
)
from lungperfusion.vessels.blood_volume import BIN_IDS, blood_sample, volume_by_area
from lungperfusion.vessels.detection import VesselMap, find_vessels
from lungperfusion.vessels.harmonisation import harmonised
from lungperfusion.vessels.quality import detectability, point_spread_mm
from lungperfusion.volume import Geometry, Volume

SIZE_MM = 90.0
ROOM = Room((0.0, 0.0, 0.0), (41.0, 41.0, 41.0))
BINS = (0.0, 1.25, 5.0, 10.0, np.inf)
TUBE_AREAS_MM2 = (1.0, 1.25, 2.5, 5.0, 10.0, 20.0, 40.0)
DIRECTIONS = (
    (0, 0, 1),
    (1, 0, 0),
    (0, 1, 0),
    (1, 1, 0),
    (1, 0, 1),
    (0, 1, 1),
    (1, 1, 1),
    (1, 2, 3),
    (3, -1, 2),
)

PAIRS = (1, 2, 3, 4)
"""Seeds of the pairs of trees."""
WIDEST_AIRWAY_MM = 5.0
"""Lumens as wide are in the airway label map."""
SETTINGS: dict[str, dict[str, float]] = {
    "standard": {},
    "slices 1.25 mm": {"thickness": 1.25},
    "slices 2 mm": {"thickness": 2.0},
    "slices 3 mm": {"thickness": 3.0},
    "soft kernel": {"psf_fwhm_mm": 1.6, "noise_hu": 15.0, "noise_fwhm_mm": 1.6},
    "very soft kernel": {"psf_fwhm_mm": 2.0, "noise_hu": 12.0, "noise_fwhm_mm": 2.0},
    "noise 10 HU": {"noise_hu": 10.0},
    "noise 60 HU": {"noise_hu": 60.0},
    "noise 90 HU": {"noise_hu": 90.0},
    "blood 300 HU": {"blood_hu": 300.0},
    "lung -780 HU": {"parenchyma_hu": -780.0},
    "lung -880 HU": {"parenchyma_hu": -880.0},
}
"""Scans that differ from the standard one (0.7 mm, point spread 1 mm, noise 30 HU) in one thing."""


def grid(spacing: tuple[float, float, float], size_mm: float = SIZE_MM) -> Geometry:
    counts = [round(size_mm / mm) for mm in spacing]
    origin = [
        sign * mm * (n - 1) / 2 for sign, mm, n in zip((1, 1, -1), spacing, counts, strict=True)
    ]
    return Geometry.axial(tuple(counts[::-1]), spacing, tuple(origin))


def arteries(seed: int) -> Tubes:
    """Grow an arterial tree."""
    return murray_tree((0, 0, 36), (0.2, 0.1, -1), 3.4, room=ROOM, seed=seed)


def trees(seed: int) -> Tubes:
    """Grow an arterial and a venous tree that interleave."""
    first = arteries(seed)
    veins = murray_tree((33, 0, 0), (-1, 0.2, 0.3), 3.06, room=ROOM, seed=seed + 100, taken=first)
    return first.joined(veins)


def scan(vessels: Tubes, thickness: float = 0.7, **options: object) -> VesselPhantom:
    return render_vessels(
        vessels,
        grid((0.7, 0.7, thickness)),
        rooms=(ROOM,),
        **options,  # type: ignore[arg-type]
    )


def truth(image: VesselPhantom) -> np.ndarray:
    return np.array([image.between_ml(a, b) for a, b in itertools.pairwise(BINS)])


def measured(image: VesselPhantom, blood_hu: float = 40.0) -> np.ndarray:
    found = find_vessels(image.ct, image.lungs, blood_hu=blood_hu)
    return volume_by_area(blood_sample(found))


def errors(name: str, here: np.ndarray, true: np.ndarray, limit: float) -> list[Figure]:
    figures = [
        Figure(
            name=f"{name}: error of {id_}",
            value=float(100 * (a / b - 1)),
            unit="%",
            at_least=-limit,
            at_most=limit,
        )
        for id_, a, b in zip(BIN_IDS[1:], here[1:], true[1:], strict=True)
    ]
    total = float(100 * (here.sum() / true.sum() - 1))
    figures.append(
        Figure(name=f"{name}: error of tbv", value=total, unit="%", at_least=-3, at_most=3)
    )
    return figures


def bins() -> list[Figure]:
    """Show three pairs of trees at three point spreads, together and at their worst."""
    figures: list[Figure] = []
    for thickness, spreads, limit in ((0.7, (0.8, 1.0, 1.2), 5.0), (1.25, (1.0,), 10.0)):
        sums = np.zeros((2, 4))
        worst = np.zeros(4)
        for seed in (1, 2, 3):
            vessels = trees(seed)
            for spread in spreads:
                image = scan(vessels, thickness, psf_fwhm_mm=spread)
                here, true = measured(image), truth(image)
                sums += here, true
                worst = np.maximum(worst, 100 * np.abs(here / true - 1))
        name = f"{thickness:g} mm slices"
        figures += errors(f"{name}, three trees together", sums[0], sums[1], limit)
        figures += [
            Figure(name=f"{name}, one tree at worst: error of {id_}", value=value, unit="%")
            for id_, value in zip(BIN_IDS, worst.tolist(), strict=True)
        ]
    return figures


def repeatability() -> list[Figure]:
    """Ten noise seeds; turned by any angle and shifted by parts of a voxel.

    One pair of trees holds so few vessels that one of nearly 10 mm2 is a tenth of its BV5-10 and
    changes bins as a whole; four pairs together (25 mL, a quarter of the vessels of two lungs)
    are judged, single pairs reported.
    """
    pairs = [trees(seed) for seed in PAIRS]
    seeds = np.array([repeated(vessels) for vessels in pairs])
    figures = spread("ten noise seeds", seeds)
    turns = [np.eye(3), *Rotation.random(5, random_state=0).as_matrix()]
    shifts = np.random.default_rng(0).uniform(-0.35, 0.35, (len(turns), 3))
    moved = []
    for vessels in pairs:
        shares = []
        for number, (turn, shift) in enumerate(zip(turns, shifts, strict=True)):
            image = scan(vessels.moved(rotation=turn, shift_mm=tuple(shift)), seed=number)
            shares.append(measured(image))
        moved.append(shares)
    return figures + spread("six directions and shifts", np.array(moved))


def repeated(vessels: Tubes, count: int = 10) -> list[np.ndarray]:
    """Bins of one pair of trees with several noise seeds."""
    image = scan(vessels, noise_hu=0.0)
    out = []
    for seed in range(count):
        noise = correlated_noise(image.ct.geometry, 30.0, 1.0, seed)
        noisy = Volume(np.rint(image.ct.array + noise).astype(np.int16), image.ct.geometry, "HU")
        out.append(measured(replace(image, ct=noisy)))
    return out


def spread(name: str, bins_ml: np.ndarray) -> list[Figure]:
    """Coefficients of variation of all pairs together, and of one pair at worst.

    Parameters
    ----------
    name
        What was repeated.
    bins_ml
        Shape (pairs, repeats, bins).

    """
    with_total = np.concatenate([bins_ml, bins_ml.sum(axis=2, keepdims=True)], axis=2)
    together = with_total.sum(axis=0)
    pooled = 100 * together.std(axis=0, ddof=1) / together.mean(axis=0)
    single = (100 * with_total.std(axis=1, ddof=1) / with_total.mean(axis=1)).max(axis=0)
    figures = []
    for id_, value, worst in zip((*BIN_IDS, "tbv"), pooled, single, strict=True):
        limit = np.inf if id_ == BIN_IDS[0] else 2.0
        figures += [
            Figure(name=f"{name}: variation of {id_}", value=value, unit="%", at_most=limit),
            Figure(name=f"{name}, one pair at worst: {id_}", value=worst, unit="%"),
        ]
    return figures


def tubes() -> list[Figure]:
    """Single tubes of all widths in many directions.

    At the least width noise alone moves a single scan by several percent; what the angle does
    shows in the mean over noise seeds.
    """
    ratios = np.array(
        [
            [tube_ratio(area, direction, seed) for seed, direction in enumerate(DIRECTIONS)]
            for area in TUBE_AREAS_MM2
        ]
    )
    thinnest = np.array(
        [
            [tube_ratio(TUBE_AREAS_MM2[0], direction, 100 + seed) for seed in range(10)]
            for direction in DIRECTIONS
        ]
    )
    errors = 100 * np.abs(ratios - 1)
    least = f"tubes of {TUBE_AREAS_MM2[0]:g} mm2"
    by_angle = 100 * float(np.abs(thinnest.mean(axis=1) - 1).max())
    noise = 100 * float(np.sqrt(thinnest.var(axis=1, ddof=1).mean()))
    return [
        Figure(
            name="tubes of 1 to 40 mm2: worst error",
            value=float(errors.max()),
            unit="%",
            at_most=5.0,
        ),
        Figure(
            name="tubes from 1.25 mm2: worst error",
            value=float(errors[1:].max()),
            unit="%",
            at_most=5.0,
        ),
        Figure(
            name="tubes: worst mean error of a width",
            value=float(100 * np.abs(ratios.mean(axis=1) - 1).max()),
            unit="%",
            at_most=2.0,
        ),
        Figure(
            name=f"{least}: worst mean error of a direction over ten noise seeds",
            value=by_angle,
            unit="%",
            at_most=5.0,
        ),
        Figure(name=f"{least}: standard deviation by noise", value=noise, unit="%"),
    ]


def tube_ratio(area_mm2: float, direction: tuple[float, float, float], seed: int) -> float:
    """Measured over true cross-section in the middle of a tube."""
    tube = straight_tube((0.2, -0.3, 0.1), direction, 80.0, area_mm2)
    image = render_vessels(
        tube, grid((0.7, 0.7, 0.7), 32.0), psf_fwhm_mm=1.2, seed=seed, fine_mm=0.18
    )
    found = find_vessels(image.ct, image.lungs, blood_hu=40.0)
    return middle_area(found) / area_mm2


def middle_area(found: VesselMap) -> float:
    middle = np.linalg.norm(found.axis_ras_mm, axis=1) < 8
    return float(np.median(found.measured.area_mm2[middle])) if middle.any() else np.nan


def traps() -> list[Figure]:
    """Consolidation, nodules, airways and a fissure without vessels; fissures and airways at them.

    Airways as wide inside as the artery that they run beside: those of 2 mm and more, which a CT
    shows, and with them those of thinner arteries, which it does not.
    """
    dense = Traps(
        nodules=(((20, 20, 0), 5.0), ((-20, 20, 10), 3.0)),
        consolidations=(((0, -30, -10), (12, 9, 10)),),
        airways=straight_tube((16, -10, 0), (0.2, 0.1, 1), 40, 30.0).joined(
            straight_tube((-15, -10, 0), (0.1, -0.2, 1), 40, 10.0)
        ),
        fissures=(((0, 0, -20), (0, 0.3, 1)),),
    )
    nothing = straight_tube((0, 0, 300.0), (0, 0, 1), 4.0, 4.0)
    added = float(measured(scan(nothing, traps=dense)).sum())
    total = float(truth(scan(trees(1))).sum())
    alone = 100 * added / total
    figures = [
        Figure(
            name="traps alone: taken for vessels, of a tree's tbv",
            value=alone,
            unit="%",
            at_least=-2.0,
            at_most=2.0,
        )
    ]
    fissure = Traps(fissures=(((0, 5, 5), (0, 1, 0.3)),), fissure_thickness_mm=0.5)
    figures += added_by("fissure of 0.5 mm", dict.fromkeys(PAIRS, fissure))
    for name, least_mm in (("airways from 2 mm", 2.0), ("all airways", 0.0)):
        beside = {
            seed: Traps(airways=airways_beside(arteries(seed), least_mm, WIDEST_AIRWAY_MM))
            for seed in PAIRS
        }
        figures += added_by(f"{name} beside arteries", beside)
    return figures


def added_by(name: str, tissue: Mapping[int, Traps]) -> list[Figure]:
    """Blood that traps add to pairs of trees, in % of the true blood."""
    without, within, true = (np.zeros((len(tissue), 4)) for _ in range(3))
    for number, (seed, trap) in enumerate(tissue.items()):
        vessels = trees(seed)
        plain = scan(vessels)
        without[number], true[number] = measured(plain), truth(plain)
        within[number] = measured(scan(vessels, traps=trap))
    added = within - without
    totals = 100 * added.sum(axis=1) / true.sum(axis=1)
    together = 100 * added.sum(axis=0) / true.sum(axis=0)
    return [
        Figure(
            name=f"{name}: added to tbv",
            value=float(100 * added.sum() / true.sum()),
            unit="%",
            at_least=-2.0,
            at_most=2.0,
        ),
        Figure(
            name=f"{name}, one pair at worst: added to tbv",
            value=float(totals[np.argmax(np.abs(totals))]),
            unit="%",
            at_least=-2.0,
            at_most=2.0,
        ),
        *(
            Figure(name=f"{name}: added to {id_}", value=value, unit="%")
            for id_, value in zip(BIN_IDS, together.tolist(), strict=True)
        ),
    ]


def airways_beside(
    vessels: Tubes, least_mm: float, most_mm: float, wall_share: float = Traps().airway_wall_share
) -> Tubes:
    """Outer surface of airways that touch vessels and are as wide inside as these."""
    inner = (vessels.start_radius_mm + vessels.end_radius_mm) / 2
    chosen = (2 * inner >= least_mm) & (2 * inner < most_mm)
    start, end = vessels.start_mm[chosen], vessels.end_mm[chosen]
    first, last = vessels.start_radius_mm[chosen], vessels.end_radius_mm[chosen]
    along = end - start
    along /= np.linalg.norm(along, axis=1)[:, None]
    # One side for the whole tree, so that the airways hang together as a tree, too.
    side = np.array([0.3, 1.0, 0.2]) - along * (along @ [0.3, 1.0, 0.2])[:, None]
    side /= np.linalg.norm(side, axis=1)[:, None]
    outer = 1 / (1 - wall_share)
    return Tubes(
        start + side * (first * (1 + outer))[:, None],
        end + side * (last * (1 + outer))[:, None],
        first * outer,
        last * outer,
    )


def settings() -> list[Figure]:
    """How scan settings move the numbers of two pairs of trees; reported, not judged."""
    pairs = [trees(seed) for seed in PAIRS[1:3]]
    figures = []
    for name, change in SETTINGS.items():
        here, true = np.zeros(4), np.zeros(4)
        for vessels in pairs:
            image = scan(vessels, **({"psf_fwhm_mm": 1.0, "noise_hu": 30.0} | change))
            here += measured(image, float(change.get("blood_hu", 40.0)))
            true += truth(image)
        figures += errors_only(name, here, true)
    sharp, breath = np.zeros((2, 4)), np.zeros((2, 4))
    before = np.zeros(4)
    for vessels in pairs:
        image = sharpened(scan(vessels, psf_fwhm_mm=0.8, noise_hu=0.0), noise_hu=60.0)
        sharp += measured(image), truth(image)
        image = breathed_out(vessels)
        breath += measured(image), truth(image)
        before += truth(scan(vessels, noise_hu=0.0))
    figures += errors_only("sharp kernel", *sharp)
    figures += errors_only("lung volume 30 % less", *breath)
    figures += errors_only("lung volume 30 % less, truth against full breath", breath[1], before)
    return figures


def joint_limits() -> list[Figure]:
    """Noise, blur and slices together: what is lost of one pair at each signal of a thin vessel."""
    vessels = trees(PAIRS[0])
    figures = []
    for spread_mm, thickness in ((1.0, 0.7), (1.0, 1.25), (1.5, 0.7), (1.5, 1.25), (1.5, 2.0)):
        image = scan(vessels, thickness, psf_fwhm_mm=spread_mm, noise_hu=0.0)
        for noise_hu in (30.0, 60.0, 90.0):
            noise = correlated_noise(image.ct.geometry, noise_hu, spread_mm, 5)
            hu = np.rint(image.ct.array + noise).astype(np.int16)
            found = find_vessels(Volume(hu, image.ct.geometry, "HU"), image.lungs, blood_hu=40.0)
            ratio = detectability(found)
            name = (
                f"{spread_mm:g} mm, slices {thickness:g} mm, {noise_hu:g} HU (signal {ratio:.1f})"
            )
            figures += errors_only(name, volume_by_area(blood_sample(found)), truth(image))
    return figures


def harmonising() -> list[Figure]:
    """How much a sharp kernel's numbers differ from a soft one's, before and after harmonising."""
    target_mm = 1.8
    plain, alike = np.zeros((2, 4)), np.zeros((2, 4))
    for seed in PAIRS[1:3]:
        vessels = trees(seed)
        images = (
            sharpened(scan(vessels, psf_fwhm_mm=0.8, noise_hu=0.0), noise_hu=60.0),
            scan(vessels, psf_fwhm_mm=1.6, noise_hu=15.0, noise_fwhm_mm=1.6),
        )
        for number, image in enumerate(images):
            found = find_vessels(image.ct, image.lungs, blood_hu=40.0)
            plain[number] += volume_by_area(blood_sample(found))
            ct = harmonised(image.ct, point_spread_mm(found) or np.nan, target_mm)
            alike[number] += measured(replace(image, ct=ct))
    return [
        *errors_only("sharp against soft kernel", *plain),
        *errors_only(f"sharp against soft kernel, harmonised to {target_mm:g} mm", *alike),
    ]


def errors_only(name: str, here: np.ndarray, true: np.ndarray) -> list[Figure]:
    rows = zip(("tbv", *BIN_IDS), (here.sum(), *here), (true.sum(), *true), strict=True)
    return [
        Figure(name=f"{name}: error of {id_}", value=float(100 * (a / b - 1)), unit="%")
        for id_, a, b in rows
    ]


def sharpened(image: VesselPhantom, noise_hu: float) -> VesselPhantom:
    """Apply an edge-enhancing kernel: half of what a Gaussian of 0.8 mm takes off is added."""
    geometry = image.ct.geometry
    array = image.ct.array.astype(np.float32)
    sigma = [0.8 / mm for mm in geometry.spacing_kji_mm]
    array += 0.5 * (array - ndimage.gaussian_filter(array, sigma))
    array += correlated_noise(geometry, noise_hu, 0.8, seed=0)
    return replace(image, ct=Volume(np.rint(array).astype(np.int16), geometry, "HU"))


def breathed_out(vessels: Tubes, share: float = 0.7) -> VesselPhantom:
    """Lung of less volume: shorter, wider vessels of the same volume in denser parenchyma."""
    scale = share ** (1 / 3)
    shrunk = replace(
        vessels,
        start_mm=vessels.start_mm * scale,
        end_mm=vessels.end_mm * scale,
        start_radius_mm=vessels.start_radius_mm * scale**-0.5,
        end_radius_mm=vessels.end_radius_mm * scale**-0.5,
    )
    half = ROOM.half_axes_mm[0] * scale
    return render_vessels(
        shrunk,
        grid((0.7, 0.7, 0.7)),
        rooms=(Room((0.0, 0.0, 0.0), (half, half, half)),),
        parenchyma_hu=-1000.0 + 150.0 / share,
    )


def main() -> list[Figure]:
    return [
        *bins(),
        *repeatability(),
        *tubes(),
        *traps(),
        *settings(),
        *joint_limits(),
        *harmonising(),
    ]

"""Blood volume by vessel size on phantoms: bins, repeatability, angle, traps, scan settings."""

from __future__ import annotations

import itertools

import numpy as np

from Benchmarks import Figure
from lungperfusion.phantoms.vessel_tree import (
    Room,
    Traps,
    Tubes,
    VesselPhantom,
    murray_tree,
    render_vessels,
    straight_tube,
)
from lungperfusion.vessels.blood_volume import BIN_IDS, blood_sample, volume_by_area
from lungperfusion.vessels.detection import VesselMap, find_vessels
from lungperfusion.volume import Geometry

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


def grid(spacing: tuple[float, float, float], size_mm: float = SIZE_MM) -> Geometry:
    counts = [round(size_mm / mm) for mm in spacing]
    origin = [
        sign * mm * (n - 1) / 2 for sign, mm, n in zip((1, 1, -1), spacing, counts, strict=True)
    ]
    return Geometry.axial(tuple(counts[::-1]), spacing, tuple(origin))


def trees(seed: int) -> Tubes:
    """Grow an arterial and a venous tree that interleave."""
    arteries = murray_tree((0, 0, 36), (0.2, 0.1, -1), 3.4, room=ROOM, seed=seed)
    veins = murray_tree(
        (33, 0, 0), (-1, 0.2, 0.3), 3.06, room=ROOM, seed=seed + 100, taken=arteries
    )
    return arteries.joined(veins)


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
    """Three pairs of trees at three point spreads, together and at their worst."""
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
    """Ten noise seeds, rotations, and shifts by parts of a voxel."""
    vessels = trees(1)
    seeds = np.array([measured(scan(vessels, seed=seed)) for seed in range(10)])
    variation = 100 * seeds.std(axis=0, ddof=1) / seeds.mean(axis=0)
    figures = [
        Figure(name=f"ten noise seeds: variation of {id_}", value=value, unit="%", at_most=2.0)
        for id_, value in zip(BIN_IDS[1:], variation[1:].tolist(), strict=True)
    ]
    moved = []
    for degrees, shift in ((0, 0.0), (17, 0.2), (45, 0.35), (71, 0.5)):
        angle = np.radians(degrees)
        turn = np.array(
            [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
        )
        tilt = turn @ turn[[2, 0, 1]][:, [2, 0, 1]]
        image = scan(vessels.moved(rotation=tilt, shift_mm=(shift, -shift, shift / 2)))
        moved.append(measured(image) / truth(image).sum())
    values = np.array(moved)
    change = 100 * (np.abs(values - values[0]).max(axis=0) / values[0])
    totals = values.sum(axis=1)
    figures.append(
        Figure(
            name="rotation and shift: change of tbv",
            value=float(100 * np.abs(totals / totals[0] - 1).max()),
            unit="%",
            at_most=2.0,
        )
    )
    figures += [
        Figure(name=f"rotation and shift: change of {id_}", value=value, unit="%", at_most=2.0)
        for id_, value in zip(BIN_IDS[1:], change[1:].tolist(), strict=True)
    ]
    return figures


def tubes() -> list[Figure]:
    """Single tubes of all widths in many directions."""
    worst_mean = worst = 0.0
    for area in TUBE_AREAS_MM2:
        ratios = []
        for number, direction in enumerate(DIRECTIONS):
            tube = straight_tube((0.2, -0.3, 0.1), direction, 80.0, area)
            image = render_vessels(tube, grid((0.7, 0.7, 0.7), 32.0), psf_fwhm_mm=1.2, seed=number)
            found = find_vessels(image.ct, image.lungs, blood_hu=40.0)
            ratios.append(middle_area(found) / area)
        worst = max(worst, float(100 * np.abs(np.array(ratios) - 1).max()))
        worst_mean = max(worst_mean, float(100 * abs(np.mean(ratios) - 1)))
    return [
        Figure(name="tubes of 1 to 40 mm2: worst error", value=worst, unit="%", at_most=5.0),
        Figure(name="tubes: worst mean error of a width", value=worst_mean, unit="%", at_most=2.0),
    ]


def middle_area(found: VesselMap) -> float:
    middle = np.linalg.norm(found.axis_ras_mm, axis=1) < 8
    return float(np.median(found.measured.area_mm2[middle])) if middle.any() else np.nan


def traps() -> list[Figure]:
    """Show consolidation, nodules, airways and a fissure without any vessel."""
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
    return [
        Figure(
            name="traps alone: taken for vessels, of a tree's tbv",
            value=100 * added / total,
            unit="%",
            at_most=2.0,
        )
    ]


def settings() -> list[Figure]:
    """How scan settings move the numbers; reported, not judged."""
    vessels = trees(2)
    plain: dict[str, object] = {"psf_fwhm_mm": 1.0, "noise_hu": 30.0}
    changes: tuple[tuple[str, dict[str, object]], ...] = (
        ("standard", {}),
        ("slices 2 mm", {"thickness": 2.0}),
        ("slices 3 mm", {"thickness": 3.0}),
        ("point spread 1.6 mm", {"psf_fwhm_mm": 1.6}),
        ("point spread 2 mm", {"psf_fwhm_mm": 2.0}),
        ("noise 10 HU", {"noise_hu": 10.0}),
        ("noise 60 HU", {"noise_hu": 60.0}),
        ("blood 300 HU", {"blood_hu": 300.0}),
        ("lung -780 HU", {"parenchyma_hu": -780.0}),
        ("lung -880 HU", {"parenchyma_hu": -880.0}),
    )
    figures = []
    for name, change in changes:
        image = scan(vessels, **(plain | change))  # type: ignore[arg-type]
        here, true = measured(image, float(change.get("blood_hu", 40.0))), truth(image)  # type: ignore[arg-type]
        for id_, a, b in zip(
            ("tbv", *BIN_IDS), (here.sum(), *here), (true.sum(), *true), strict=True
        ):
            figures.append(
                Figure(name=f"{name}: error of {id_}", value=float(100 * (a / b - 1)), unit="%")
            )
    return figures


def main() -> list[Figure]:
    return [*bins(), *repeatability(), *tubes(), *traps(), *settings()]

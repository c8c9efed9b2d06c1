"""Quality of a registration, said in plain words."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungperfusion.morphology import depth_mm
from lungperfusion.quality import Gate, Verdict
from lungperfusion.terms import LUNGS, Region, title
from lungperfusion.volume import Geometry, Labelmap, Volume
from lungperfusion.vq.alignment import Part, parenchyma_correlation
from lungperfusion.vq.displacement import voxel_positions
from lungperfusion.vq.pair import BreathPair
from lungperfusion.vq.registration import Registration
from lungperfusion.vq.ventilation import tissue_density

FOLDED_PERCENT = 0.01
"""More folded lung than this before repair deserves a look (methods C.1)."""

ROUND_TRIP_MM = 1.0
"""95th percentile of the inverse consistency error; beyond it no inverse exists."""

VESSEL_HU = -500.0
VESSEL_DICE = 0.35
"""Overlap of vessels of both scans after alignment; an aligned pair lies well above."""

CORRELATION = 0.5
"""Of local density, after mass correction."""

VOLUME_PERCENT = 5.0
"""Difference of the Jacobian's integral from the segmented volume before it is scaled away."""

LANDMARK_MM = 3.0
"""Mean distance of given landmarks after alignment; they are placed to a voxel or two."""

COMMON_PERCENT = 98.0
"""Share of the expiratory lungs that the inspiratory scan should show as well.

The pleura of both segmentations differs by a voxel, so that 100 % is not reached.
"""

LEAST_BREATH = 1.10
"""Inspiratory over expiratory volume below which there is too little breath to measure."""

TEXTURE_WARN, TEXTURE_FAIL = 0.5, 0.3
"""Correlation of the parenchyma's vessels and texture after alignment.

Breathing phantoms of two builds: 0.80 to 0.94, at 60 HU of noise 0.64; pairs of two different
chests, bent onto each other: 0.08 to 0.24.
"""

CONSISTENCY_WARN_MM, CONSISTENCY_FAIL_MM = 2.5, 5.0
"""Distance (95 %) by which the way there and an independent way back miss each other.

The same pairs: 0.5 and 1.3 mm, at 60 HU 1.7 mm; two different chests: 3.6 to 4.8 mm; the real pair
2.2 mm.
"""

RIM_WARN_MM, RIM_FAIL_MM = 3.5, 7.0
"""The same within `NEAR_PLEURA_MM` of the pleura: 0.6, 1.6 and 2.2 mm; 3.5 to 4.3 mm; 3.4 mm."""

RIM_TEXTURE = 0.5
RIM_TEXTURE_MM = 12.0
"""Correlation as of `TEXTURE_WARN` within this distance of the pleura, where few vessels are: less,
and noise hides what motion there could be seen by.

Set on the first breathing phantom at 2.5 mm (0.76; 0.29 and 0.12 at 80 and 150 HU of noise, with
0.4, 0.6 and 1.0 mm of true error below the pleura); the second chest has 0.30 to 0.38 with 1.1 to
1.2 mm, the real pair 0.75.
"""

NEAR_PLEURA_MM = 6.0
"""Lung below the pleura in which motion rests on its surroundings most."""

_CHECKED_POINTS = 30_000  # of a lung


def registration_gates(
    registration: Registration,
    pair: BreathPair,
    inspiration_lungs: Labelmap,
    *,
    landmarks: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None,
) -> tuple[Gate, ...]:
    """Check folding, inverse, vessels, density, volume, depth of breath and the common view.

    Parameters
    ----------
    registration
        Of this pair.
    pair
        Both states at the expiratory voxels, made with it.
    inspiration_lungs
        Lungs of the inspiratory scan.
    landmarks
        Corresponding points, RAS mm, of the expiratory and the inspiratory scan.

    """
    return (
        _folding(registration),
        _round_trip(registration),
        _consistency(registration),
        *_texture(pair),
        *_alignment(pair),
        *_volumes(pair, inspiration_lungs),
        *(() if landmarks is None else _landmarks(registration, *landmarks)),
    )


def _verdict(good: bool) -> Verdict:
    return "pass" if good else "warn"


def _graded(good: bool, usable: bool) -> Verdict:
    return "pass" if good else "warn" if usable else "fail"


def _folding(registration: Registration) -> Gate:
    worst = 100 * max(fields.folded_share for fields in registration.parts.values())
    rounds = max(fields.repairs for fields in registration.parts.values())
    text = "The motion field folded nowhere in the lungs."
    if worst > 0 or rounds > 0:
        text = (
            f"The motion field folded in {worst:.3g} % of a lung and was smoothed there "
            f"({rounds} rounds)."
        )
    return Gate(
        id="registration_folding",
        verdict=_verdict(worst <= FOLDED_PERCENT),
        message=text,
        value=worst,
        unit="%",
        limit=f"at most {FOLDED_PERCENT:g}",
    )


def _round_trip(registration: Registration) -> Gate:
    errors = []
    for _, fields, mask in registration.each():
        points = voxel_positions(registration.geometry, mask)
        points = points[:: max(1, len(points) // 20_000)]
        there = points + fields.alignment.at(points)
        low, high = there.min(axis=0) - 6, there.max(axis=0) + 6
        grid = _even_grid(low, high, 3.0)
        back = fields.alignment.inverse(grid)
        errors.append(np.linalg.norm(there + back.at(there) - points, axis=1))
    value = float(np.percentile(np.concatenate(errors), 95))
    return Gate(
        id="registration_inverse",
        verdict=_verdict(value <= ROUND_TRIP_MM),
        message=f"Points sent to inspiration and back return within {value:.2f} mm (95 %).",
        value=value,
        unit="mm",
        limit=f"at most {ROUND_TRIP_MM:g}",
    )


def _consistency(registration: Registration) -> Gate:
    """Compare the motion with that of a registration from inspiration to expiration.

    It starts and ends elsewhere, so that what the images do not settle comes out differently.
    """
    misses, depths = [], []
    for _, fields, mask in registration.each():
        if fields.back is None:
            continue
        depth = depth_mm(mask, registration.geometry.spacing_kji_mm)[mask]
        points = voxel_positions(registration.geometry, mask)
        step = max(1, len(points) // _CHECKED_POINTS)
        points = points[::step]
        there = points + fields.alignment.at(points)
        misses.append(np.linalg.norm(there + fields.back.at(there) - points, axis=1))
        depths.append(depth[::step])
    limit = (
        f"at most {CONSISTENCY_WARN_MM:g}, near the pleura {RIM_WARN_MM:g}; never above "
        f"{CONSISTENCY_FAIL_MM:g} and {RIM_FAIL_MM:g}"
    )
    if not misses:
        return Gate(
            id="registration_consistency",
            verdict="unknown",
            message="No way back was registered for itself that the motion could be compared with.",
            unit="mm",
            limit=limit,
        )
    miss, depth = np.concatenate(misses), np.concatenate(depths)
    near = depth <= NEAR_PLEURA_MM
    everywhere = float(np.percentile(miss, 95))
    rim = float(np.percentile(miss[near], 95)) if near.any() else everywhere
    return Gate(
        id="registration_consistency",
        verdict=_graded(
            everywhere <= CONSISTENCY_WARN_MM and rim <= RIM_WARN_MM,
            everywhere <= CONSISTENCY_FAIL_MM and rim <= RIM_FAIL_MM,
        ),
        message="Registered from inspiration to expiration as well, points come back within "
        f"{everywhere:.1f} mm (95 %), within {NEAR_PLEURA_MM:g} mm of the pleura within {rim:.1f} "
        "mm.",
        value=everywhere,
        unit="mm",
        limit=limit,
    )


def _texture(pair: BreathPair) -> tuple[Gate, Gate]:
    """Correlation of vessels and texture after alignment, of the worse lung, and below the pleura.

    A failed registration shows everywhere, lung without visible vessels below the pleura alone.
    """
    moved = pair.inspiration_hu
    seen = np.isfinite(moved)
    scan = Volume(np.where(seen, moved, -1000).astype(np.float32), pair.geometry, "HU", seen)
    whole, rim = {}, {}
    for lung in LUNGS:
        mask = pair.lungs.mask(lung)
        if (mask & seen).any():
            parts = Part.cut(pair.expiration, mask), Part.cut(scan, mask)
            whole[lung] = parenchyma_correlation(*parts)
            rim[lung] = parenchyma_correlation(*parts, RIM_TEXTURE_MM)
    worst, value = _worst(whole)
    what = f"After alignment vessels and texture of the {worst} correlate with r = {value:.2f}"
    failed = ": the scans do not show the same lung, or the registration failed."
    rim_worst, rim_value = _worst(rim)
    where = f"Within {RIM_TEXTURE_MM:g} mm of the pleura of the {rim_worst} they correlate with"
    unsure = ": motion below the pleura may be off by 1 mm and more."
    return (
        _of_texture(
            "registration_texture",
            value,
            _graded(value >= TEXTURE_WARN, value >= TEXTURE_FAIL),
            what + ("." if value >= TEXTURE_FAIL else failed),
            f"at least {TEXTURE_WARN:g}, never below {TEXTURE_FAIL:g}",
        ),
        _of_texture(
            "registration_rim",
            rim_value,
            _verdict(rim_value >= RIM_TEXTURE),
            f"{where} r = {rim_value:.2f}{'.' if rim_value >= RIM_TEXTURE else unsure}",
            f"at least {RIM_TEXTURE:g}",
        ),
    )


def _worst(found: dict[Region, float]) -> tuple[str, float]:
    """Name and value of the lung that correlates least; NaN where none could be compared."""
    known = {lung: value for lung, value in found.items() if np.isfinite(value)}
    if not known:
        return "lungs", float("nan")
    lung = min(known, key=lambda key: known[key])
    return title(lung).lower(), known[lung]


def _of_texture(id_: str, value: float, verdict: Verdict, message: str, limit: str) -> Gate:
    if np.isnan(value):
        return Gate(
            id=id_,
            verdict="unknown",
            message="Too little lung to compare vessels and texture of both scans.",
            unit="1",
            limit=limit,
        )
    return Gate(id=id_, verdict=verdict, message=message, value=value, unit="1", limit=limit)


def _landmarks(
    registration: Registration, here: NDArray[np.float64], there: NDArray[np.float64]
) -> tuple[Gate, ...]:
    """Distances of landmarks after alignment, of those that lie in a registered lung."""
    grid = registration.geometry
    index = np.rint(grid.ijk_from_ras(here)).astype(int)
    i, j, k = np.clip(index, 0, np.array(grid.shape[::-1]) - 1).T
    missed = np.concatenate(
        [
            np.linalg.norm((here + fields.alignment.at(here) - there)[mask[k, j, i]], axis=1)
            for _, fields, mask in registration.each()
        ]
    )
    if not missed.size:
        return ()
    value = float(missed.mean())
    return (
        Gate(
            id="registration_landmarks",
            verdict=_verdict(value <= LANDMARK_MM),
            message=f"{missed.size} of {len(here)} given landmarks lie in the lungs; after "
            f"alignment they miss each other by {value:.1f} mm on average, at most by "
            f"{missed.max():.1f} mm.",
            value=value,
            unit="mm",
            limit=f"at most {LANDMARK_MM:g} on average",
        ),
    )


def _even_grid(low: NDArray[Any], high: NDArray[Any], spacing: float) -> Geometry:
    counts = np.ceil((high - low) / spacing).astype(int) + 1
    matrix = np.diag([spacing, spacing, spacing, 1.0])
    matrix[:3, 3] = low
    return Geometry((int(counts[2]), int(counts[1]), int(counts[0])), matrix)


def _alignment(pair: BreathPair) -> tuple[Gate, Gate]:
    moved = pair.inspiration_hu
    core = pair.mask & (pair.expiration.array > -1000)
    still = np.asarray(pair.expiration.array, np.float32)
    vessels = (still > VESSEL_HU) & core, (moved > VESSEL_HU) & core
    both = int(np.count_nonzero(vessels[0] & vessels[1]))
    total = int(np.count_nonzero(vessels[0]) + np.count_nonzero(vessels[1]))
    dice = 2 * both / total if total else float("nan")
    before = tissue_density(still[core])
    after = pair.jacobian[core] * tissue_density(moved[core])
    correlation = float(np.corrcoef(before, after)[0, 1])
    unknown = not np.isfinite(dice)
    return (
        Gate(
            id="registration_vessels",
            verdict="unknown" if unknown else _verdict(dice >= VESSEL_DICE),
            message="No dense structure inside the lungs to check the alignment by."
            if unknown
            else f"Dense structures of both scans overlap with a Dice of {dice:.2f} "
            "after alignment.",
            value=None if unknown else dice,
            unit="1",
            limit=f"at least {VESSEL_DICE:g}",
        ),
        Gate(
            id="registration_density",
            verdict=_verdict(correlation >= CORRELATION),
            message=f"After alignment and mass correction the densities of both scans correlate "
            f"with r = {correlation:.2f}.",
            value=correlation,
            unit="1",
            limit=f"at least {CORRELATION:g}",
        ),
    )


def _volumes(pair: BreathPair, after: Labelmap) -> tuple[Gate, ...]:
    lungs = pair.lungs.mask(*LUNGS)
    common = 100 * float(np.count_nonzero(pair.mask)) / max(1, int(np.count_nonzero(lungs)))
    view = Gate(
        id="common_view",
        verdict=_verdict(common >= COMMON_PERCENT),
        message=f"{common:.1f} % of the expiratory lungs lie within the inspiratory scan as well; "
        "maps and shares hold for these only.",
        value=common,
        unit="%",
        limit=f"at least {COMMON_PERCENT:g}",
    )
    factors = {lung: pair.volume_factors[lung] for lung in LUNGS if lung in pair.volume_factors}
    if not factors:
        return _volume_unknown(), _breath_in_view(pair), view
    worst = max(factors, key=lambda lung: abs(np.log(factors[lung])))
    off = 100 * (1 / factors[worst] - 1)
    volumes = pair.lungs.volume_ml(*factors), after.volume_ml(*factors)
    return (
        Gate(
            id="registration_volume",
            verdict=_verdict(abs(off) <= VOLUME_PERCENT),
            message=f"Before scaling the Jacobian's integral differs from the segmented volume by "
            f"{off:+.1f} % in the {title(worst).lower()}.",
            value=off,
            unit="%",
            limit=f"within {VOLUME_PERCENT:g} of 0",
        ),
        _breath(
            volumes[1] / volumes[0],
            f"{_these(tuple(factors))} {volumes[0] / 1000:.2f} L at expiration and "
            f"{volumes[1] / 1000:.2f} L at inspiration",
        ),
        view,
    )


def _these(lungs: tuple[Region, ...]) -> str:
    return "The lungs hold" if len(lungs) == len(LUNGS) else f"The {title(lungs[0]).lower()} holds"


def _volume_unknown() -> Gate:
    return Gate(
        id="registration_volume",
        verdict="unknown",
        message="The field of view cuts the lungs off, so that no segmented volume is at hand to "
        "check the Jacobian by.",
        unit="%",
        limit=f"within {VOLUME_PERCENT:g} of 0",
    )


def _breath_in_view(pair: BreathPair) -> Gate:
    breath = float(np.mean(pair.jacobian[pair.mask], dtype=np.float64))
    return _breath(breath, "Where both scans show them, the lungs grow on inspiration")


def _breath(ratio: float, text: str) -> Gate:
    return Gate(
        id="breath_depth",
        verdict="pass" if ratio >= LEAST_BREATH else "fail" if ratio <= 1 else "warn",
        message=f"{text}, a ratio of {ratio:.2f}.",
        value=ratio,
        unit="1",
        limit=f"at least {LEAST_BREATH:g}",
    )

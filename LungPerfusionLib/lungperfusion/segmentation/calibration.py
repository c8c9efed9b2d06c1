"""Quality gates of the CT numbers: their scale, their noise and the kernel that shaped it.

Air outside the body, air in the trachea and blood each tell something else.  Air outside is
scanned like the calibration phantom: it shows the scale at its lower end.  Tracheal air lies among
tissue, whose scatter and blur raise it by up to 60 HU on well calibrated scanners; by itself it
shows gross errors only.  Blood shows the scale near water, when it holds no contrast medium.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from lungperfusion.acquisition import Acquisition, kernel_sharpness
from lungperfusion.body import Coarse, body_mask, to_upright
from lungperfusion.morphology import dilated, distance_mm, eroded
from lungperfusion.noise import CUT_OFF_HU, LOUD_HU, Noise
from lungperfusion.quality import Gate, Verdict
from lungperfusion.terms import AIRWAYS
from lungperfusion.volume import Labelmap, Volume, bounding_box

GOOD_AIR_HU = 8.0
"""Air outside the body lies this close to -1000 HU: the scanner sets it in its daily calibration
(-1004, -998 and -997 HU in three scans of as many scanners)."""

WRONG_AIR_HU = 50.0
"""Farther off, density thresholds in HU mean nothing."""

TRACHEA_HU = (-1030.0, -930.0)
"""Tracheal air on calibrated scanners: -976 to -954 HU in scans whose outside air is right."""

TRACHEA_FAIL_HU = (-1100.0, -900.0)
"""Outside, and with no better air to judge by, density thresholds in HU mean nothing."""

FAR_FROM_BODY_MM = 30.0
"""Clothes, blankets and the mattress lie nearer."""

THICK_AIR_MM = 6.0
"""Air at least this far from everything else outside."""

OUTSIDE_AIR_HU = -900.0
MATTRESS_HU = -965.0
"""Foam of the table is denser."""

LEAST_SAMPLES = 500
CONSTANT_SHARE = 0.9
"""One value all over the outside is none that was measured, unless it is that of air."""

SHARP_GRAIN_MM = 0.48
"""Noise of soft-tissue kernels is alike over 0.55 to 0.58 mm (0.64 and 0.88 mm pixels), that of a
lung kernel over 0.42 mm."""


def air_gate(ct: Volume, lungs: Labelmap, coarse: Coarse) -> Gate:
    """Judge the lower end of the scale by air outside the body and in the trachea."""
    outside, trachea = outside_air_hu(ct, coarse), tracheal_air_hu(ct, lungs)
    low, high = TRACHEA_HU
    limit = f"outside -1000 ± {GOOD_AIR_HU:g} HU, trachea {low:g} to {high:g} HU"
    if outside is None and trachea is None:
        return Gate(
            id="air_calibration",
            verdict="unknown",
            message="The CT number of air could not be checked: no air is seen outside the body "
            "and no trachea wide enough was found.",
            limit=limit,
        )
    verdicts, words = [], []
    if outside is not None:
        verdict, text = _outside_words(outside)
        verdicts.append(verdict)
        words.append(f"Air outside the body measures {outside:.0f} HU (expected -1000 HU): {text}")
    if trachea is not None:
        verdict, text = _trachea_words(trachea, alone=outside is None)
        verdicts.append(verdict)
        words.append(f"Air in the trachea measures {trachea:.0f} HU: {text}")
    worst: Verdict = "fail" if "fail" in verdicts else "warn" if "warn" in verdicts else "pass"
    return Gate(
        id="air_calibration",
        verdict=worst,
        message=f"{'. '.join(words)}.",
        value=trachea if outside is None else outside,
        unit="HU",
        limit=limit,
    )


def _outside_words(air_hu: float) -> tuple[Verdict, str]:
    off = abs(air_hu + 1000)
    if off <= GOOD_AIR_HU:
        return "pass", "the scale begins where it should"
    if off <= WRONG_AIR_HU:
        return "warn", "shifted; mean density and low attenuation areas are shifted with it"
    return "fail", "wrong; no density threshold can be trusted"


def _trachea_words(air_hu: float, *, alone: bool) -> tuple[Verdict, str]:
    if TRACHEA_HU[0] <= air_hu <= TRACHEA_HU[1]:
        return "pass", "as usual" + ("; by itself it shows gross errors only" if alone else "")
    if not alone:
        return "warn", "unusual; look at the airways, and at the scale inside the body"
    if TRACHEA_FAIL_HU[0] <= air_hu <= TRACHEA_FAIL_HU[1]:
        return "warn", "unusual; low attenuation areas may be shifted"
    return "fail", "wrong; no density threshold can be trusted"


def outside_air_hu(ct: Volume, coarse: Coarse) -> float | None:
    """Most frequent CT number of air well away from the body; None where none was scanned.

    Scanners cut off at -1024, which shifts means and medians of noisy air; one value may fill what
    was not reconstructed.  Both are left out.
    """
    near = dilated(body_mask(coarse), FAR_FROM_BODY_MM, coarse.spacing_mm)
    air = (coarse.hu < OUTSIDE_AIR_HU) & coarse.valid & ~near
    air = eroded(air, THICK_AIR_MM, coarse.spacing_mm)
    values = _at_blocks(ct, coarse)[air]
    if values.size < LEAST_SAMPLES:
        return None
    found, counts = np.unique(np.round(values), return_counts=True)
    fill = found[counts.argmax()]
    if counts.max() > CONSTANT_SHARE * values.size:
        return float(fill) if abs(fill + 1000) <= WRONG_AIR_HU and fill > CUT_OFF_HU + 4 else None
    inner = (found > max(CUT_OFF_HU, found[0])) & (found < MATTRESS_HU) & (found != fill)
    return _peak(found[inner].astype(np.float64), counts[inner].astype(np.float64))


def _peak(values: NDArray[np.float64], counts: NDArray[np.float64]) -> float | None:
    """Peak of a Gaussian by the parabola of its logarithm, which a cut-off leaves as it is.

    Weighted by the squared counts: Guo 2011, IEEE Signal Process Mag 28(5):134.
    """
    if counts.sum() < LEAST_SAMPLES or counts.size < 5:
        return None
    middle = float(np.average(values, weights=counts))
    curve, slope, _ = np.polyfit(values - middle, np.log(counts), 2, w=counts)
    if curve >= 0:
        return None
    return middle - float(slope) / (2 * float(curve))


def _at_blocks(ct: Volume, coarse: Coarse) -> NDArray[np.float32]:
    """CT number of the voxel in the middle of every block."""
    array = to_upright(ct.array, ct.geometry)
    index = [
        np.minimum(np.arange(n) * f + f // 2, size - 1)
        for n, f, size in zip(coarse.hu.shape, coarse.factors, coarse.fine_shape, strict=True)
    ]
    return np.asarray(array[np.ix_(*index)], np.float32)


def tracheal_air_hu(ct: Volume, lungs: Labelmap) -> float | None:
    """Median CT number of the core of the widest airway; None where it is too narrow."""
    airways = lungs.mask(AIRWAYS)
    if not airways.any():
        return None
    box = bounding_box(airways, (1, 1, 1))
    inside = airways[box]
    depth = distance_mm(~inside, ct.geometry.spacing_kji_mm)
    if depth.max() < 2.5:
        return None
    core = ct.crop(box).values(inside & (depth >= min(4.0, 0.6 * float(depth.max()))))
    return float(np.median(core)) if core.size >= 20 else None


def noise_gate(noise: Noise | None) -> Gate:
    """Judge whether noise alone fills low attenuation areas."""
    limit = f"up to {LOUD_HU:g} HU"
    if noise is None:
        return Gate(
            id="noise",
            verdict="unknown",
            message="The noise could not be measured: there is too little even lung.",
            unit="HU",
            limit=limit,
        )
    loud = noise.sd_hu > LOUD_HU
    return Gate(
        id="noise",
        verdict="warn" if loud else "pass",
        message=f"Noise of {noise.sd_hu:.0f} HU in {noise.where}"
        + (
            ": voxels fall below -950 HU without emphysema; the noise-corrected LAA-950 is a lower "
            "bound there."
            if loud
            else "."
        ),
        value=noise.sd_hu,
        unit="HU",
        limit=limit,
    )


def kernel_gate(noise: Noise | None, facts: Acquisition) -> Gate:
    """Tell kernels for lung and bone by their name and by the grain of the noise."""
    limit = f"grain of {SHARP_GRAIN_MM:g} mm or more, soft-tissue kernel"
    named = facts.kernel is not None and kernel_sharpness(facts.kernel) == "sharp"
    grain = None if noise is None or np.isnan(noise.grain_mm) else noise.grain_mm
    if facts.kernel is None and grain is None:
        return Gate(
            id="kernel",
            verdict="unknown",
            message="How sharp the kernel is could not be seen: the file does not name it, and "
            "pixels are too large or lung too uneven to show the grain of the noise.",
            unit="mm",
            limit=limit,
        )
    seen = grain is not None and grain < SHARP_GRAIN_MM
    signs = [f"the file names {_spelt(facts.kernel)}"] if facts.kernel is not None else []
    if grain is not None:
        signs.append(f"noise is alike over {grain:.2f} mm")
    sharp = named or seen
    tail = (
        "sharp: low attenuation areas hold noise and edge enhancement; compare only scans of one "
        "kernel"
        if sharp
        else "soft enough for densities"
    )
    return Gate(
        id="kernel",
        verdict="warn" if sharp else "pass",
        message=f"The kernel looks {tail} ({' and '.join(signs)}).",
        value=grain,
        unit="mm",
        limit=limit,
    )


KERNEL_NAMES = re.compile(
    r"[A-Za-z]{1,3}\d{1,3}[a-z]?(/\d)?"
    r"|STANDARD|SOFT|LUNG|BONE|BONEPLUS|CHEST|DETAIL|EDGE|ULTRA|SMOOTH|SHARP"
)
"""How vendors spell kernels; any other text may hold a name."""


def _spelt(kernel: str) -> str:
    return kernel if KERNEL_NAMES.fullmatch(kernel.strip()) else "another kernel"

"""Whether both scans of a pair mean the same by a CT number: tracheal air and blood compared.

A shift of 5 HU between the scans is 2 to 3 % of the lungs' mass, as much as the blood that a breath
may move.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lungperfusion.blood import find_blood_density
from lungperfusion.iodine.air_calibration import air_offset_hu, airway_core
from lungperfusion.quality import Gate, Verdict
from lungperfusion.volume import Labelmap, Volume

PASS_HU, FAIL_HU = 8.0, 40.0
"""Difference of air or blood that is corrected silently, and that no correction mends.

Scanners keep water within 4 HU (IEC 61223-3-5), so that two scans differ by up to 8 HU.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class PairCalibration:
    """What the inspiratory scan reads more than the expiratory one; NaN where not measured."""

    air_hu: float = math.nan
    """In the air of the large airways."""
    blood_hu: float = math.nan
    """In heart and great vessels."""

    def corrected(self, inspiration_hu: NDArray[np.floating]) -> NDArray[np.float32]:
        """Inspiratory HU on the scale of the expiratory scan, linear between air and blood."""
        air, blood = (0.0 if math.isnan(x) else x for x in (self.air_hu, self.blood_hu))
        if not air and not blood:
            return np.asarray(inspiration_hu, np.float32)
        tissue = np.asarray(inspiration_hu, np.float32) / 1000 + 1
        return np.asarray(inspiration_hu - (air + (blood - air) * tissue), np.float32)

    def gate(self) -> Gate:
        """Say how far the scans are apart, and what was done about it."""
        known = {"air": self.air_hu, "blood": self.blood_hu}
        known = {name: value for name, value in known.items() if not math.isnan(value)}
        limit = f"within {PASS_HU:g}, never beyond {FAIL_HU:g}"
        if "air" not in known:
            return Gate(
                id="pair_calibration",
                verdict="unknown",
                message="Too little air in the trachea of one scan to compare the CT numbers of "
                "both; a shift of 5 HU between them is 2 to 3 % of the lungs' mass.",
                unit="HU",
                limit=limit,
            )
        worst = max(known.values(), key=abs)
        size = abs(worst)
        verdict: Verdict = "pass" if size <= PASS_HU else "warn" if size <= FAIL_HU else "fail"
        words = " and ".join(f"{name} by {value:+.1f} HU" for name, value in known.items())
        return Gate(
            id="pair_calibration",
            verdict=verdict,
            message=f"The inspiratory scan reads {words} higher than the expiratory one; change of "
            "mass and ventilation by density are corrected for it.",
            value=worst,
            unit="HU",
            limit=limit,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Readings:
    """What one scan reads in what both hold; NaN where not measured."""

    air_offset_hu: float
    """In the air of the large airways, measured minus -1000."""
    blood_hu: float
    """In heart and great vessels without contrast agent."""


def read_air_and_blood(ct: Volume, lungs: Labelmap) -> Readings:
    """Measure air of the large airways and blood of heart and great vessels in one scan.

    Parameters
    ----------
    ct
        Whole scan in HU.
    lungs
        Its ``left_lung``, ``right_lung`` and ``airways``.

    """
    air = air_offset_hu(ct, airway_core(lungs))
    blood = find_blood_density(ct, lungs)
    comparable = blood.source == "heart and great vessels" and not blood.has_contrast
    return Readings(
        air_offset_hu=math.nan if air is None else air,
        blood_hu=blood.hu if comparable else math.nan,
    )


def compare_calibration(expiration: Readings, inspiration: Readings) -> PairCalibration:
    """Tell what the inspiratory scan reads more, where both were measured."""
    return PairCalibration(
        air_hu=inspiration.air_offset_hu - expiration.air_offset_hu,
        blood_hu=inspiration.blood_hu - expiration.blood_hu,
    )

"""How bright iodine and tissue are at each tube voltage.

Every "HU of iodine" is the product of a concentration and a sensitivity that depends on the beam
and on the patient in front of the voxel, so each number of this package names the sensitivity it
was made with.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lungperfusion.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Beam:
    """Response of one spectrum.

    Attributes are HU: ``iodine_hu_per_mg_ml`` per mg of iodine in a mL, ``blood_hu`` and
    ``lung_tissue_hu`` of unenhanced blood (density 1.06 g/mL) and lung tissue (1.05 g/mL).
    """

    iodine_hu_per_mg_ml: float
    blood_hu: float
    lung_tissue_hu: float

    @property
    def soft_tissue_hu(self) -> float:
        """Blood-like tissue of the lung: half blood, half septa, as CT sees it."""
        return (self.blood_hu + self.lung_tissue_hu) / 2


UNDILUTED_MG_ML = 30.0
"""More iodine than this is undiluted contrast in a vein: arteries hold 5 to 20 mg/mL, and 30 are
some 800 HU at 120 kV, where streaks are usual, but 1300 HU at 80 kV."""

BLOOD_HU = 55.0
"""Blood without iodine at 120 kV (`_TISSUE`), on top of which iodine brightens."""

# Both tables: tungsten spectra of spekpy 2.5 (anode 8 degrees, 7 mm Al, Sn 0.4 mm, at 150 kV
# 0.6 mm), attenuation of xraydb 4.5, energy-integrating detector, water path as named.
WATER_PATHS_CM = (10.0, 15.0, 20.0, 25.0, 30.0, 35.0, 40.0)
_IODINE = {
    "70": (55.68, 53.55, 51.46, 49.54, 47.83, 46.33, 45.00),
    "80": (48.26, 45.78, 43.55, 41.60, 39.92, 38.46, 37.20),
    "90": (42.73, 40.18, 37.97, 36.08, 34.46, 33.06, 31.85),
    "100": (38.52, 35.97, 33.80, 31.94, 30.35, 28.98, 27.78),
    "120": (32.40, 29.88, 27.76, 25.94, 24.38, 23.02, 21.83),
    "140": (28.03, 25.54, 23.45, 21.66, 20.12, 18.78, 17.62),
    "100Sn": (24.60, 23.96, 23.36, 22.81, 22.29, 21.81, 21.36),
    "140Sn": (16.05, 15.34, 14.69, 14.10, 13.56, 13.07, 12.63),
    "150Sn": (12.63, 12.15, 11.72, 11.32, 10.95, 10.61, 10.31),
}
"""HU per mg/mL by tube voltage (kV) and filter, at each of `WATER_PATHS_CM`; source `BEAM_SOURCE`.
Filters and detectors of scanners differ: the absolute scale is uncertain by some 10 %, so a phantom
calibration of the own scanner is better and can be given instead."""
_TISSUE = {
    "70": (62.95, 49.82),
    "80": (60.63, 48.23),
    "90": (59.07, 47.17),
    "100": (57.94, 46.41),
    "120": (56.33, 45.32),
    "140": (55.22, 44.58),
    "100Sn": (55.40, 44.69),
    "140Sn": (53.23, 43.23),
    "150Sn": (52.55, 42.77),
}
"""HU of blood and lung tissue (ICRU Report 44) behind 25 cm of water; source `BEAM_SOURCE`."""

VOLTAGES = tuple(_IODINE)
"""Tabulated tube voltages in kV; ``Sn`` for a tin filter."""

DEFAULT_WATER_PATH_CM = 25.0
"""Between a small and a large adult chest; used where the image does not show the whole body."""

REFERENCE_HU_PER_MG_ML = 25.0
"""k_ref: enhancement in HU per mg/mL that iodine "in HU" stands for.  About that of 120 kV, as
conventional CT angiography shows it; the same for every patient, so that scores compare."""


def beam(voltage: str, water_path_cm: float = DEFAULT_WATER_PATH_CM) -> Beam:
    """Response of a tabulated voltage behind a water path (cm).

    Raises
    ------
    InputError
        For a voltage without tabulated response.

    """
    if voltage not in _IODINE:
        raise InputError(
            f"no calibration for {voltage!r} kV; known are {', '.join(VOLTAGES)}; "
            "or give the iodine sensitivities of your scanner"
        )
    blood, tissue = _TISSUE[voltage]
    return Beam(
        iodine_hu_per_mg_ml=float(np.interp(water_path_cm, WATER_PATHS_CM, _IODINE[voltage])),
        blood_hu=blood,
        lung_tissue_hu=tissue,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SpectralPair:
    """Two spectra and the sensitivity that turns concentration into HU.

    Raises
    ------
    InputError
        If both spectra see iodine and tissue alike, so that nothing can be told apart.

    """

    low: Beam
    high: Beam
    reference_hu_per_mg_ml: float
    """k_ref: HU of iodine enhancement per mg/mL that "HU" stands for in results."""
    name: str

    def __post_init__(self) -> None:
        """Check that the pair can be solved."""
        for label, value in (
            ("low", self.low.iodine_hu_per_mg_ml),
            ("high", self.high.iodine_hu_per_mg_ml),
            ("reference", self.reference_hu_per_mg_ml),
        ):
            if not value > 0:
                raise InputError(
                    f"iodine brightens every image: the {label} sensitivity must be above 0 HU "
                    f"per mg/mL, not {value:g}"
                )
        if self.ratio < MINIMAL_RATIO:
            raise InputError(
                f"the low-voltage image must see iodine at least {MINIMAL_RATIO} times as bright "
                f"as the high-voltage one, but the ratio of {self.name} is {self.ratio:.2f}; "
                "check whether low and high are swapped"
            )

    @property
    def ratio(self) -> float:
        """Dual-energy ratio of iodine, k_low / k_high."""
        return self.low.iodine_hu_per_mg_ml / self.high.iodine_hu_per_mg_ml

    @property
    def mixed_hu_per_mg_ml(self) -> float:
        """Sensitivity of the mean of both images."""
        return (self.low.iodine_hu_per_mg_ml + self.high.iodine_hu_per_mg_ml) / 2

    @property
    def solvability(self) -> float:
        """Determinant of the decomposition, which a concentration is divided by.

        ``a_high k_low - a_low k_high`` with a = 1000 + HU of soft tissue, k the sensitivities.
        """
        a_low, a_high = 1000 + self.low.soft_tissue_hu, 1000 + self.high.soft_tissue_hu
        return a_high * self.low.iodine_hu_per_mg_ml - a_low * self.high.iodine_hu_per_mg_ml

    @property
    def method(self) -> str:
        """Words for the method column of results."""
        return f"{self.name}, iodine ratio {self.ratio:.2f}, {reference_text(self)}"

    def with_ratio(self, ratio: float, source: str) -> SpectralPair:
        """Take another iodine ratio and keep the low-voltage sensitivity."""
        if not ratio > 0:
            raise InputError(f"an iodine ratio is above 1, not {ratio:g}")
        high = replace(self.high, iodine_hu_per_mg_ml=self.low.iodine_hu_per_mg_ml / ratio)
        return replace(self, high=high, name=f"{self.name} ({source})")

    def with_soft_tissue(self, low_hu: float, high_hu: float) -> SpectralPair:
        """Take other CT numbers of soft tissue, as vendors let users set them."""
        for value in (low_hu, high_hu):
            if not SOFT_TISSUE_RANGE_HU[0] <= value <= SOFT_TISSUE_RANGE_HU[1]:
                raise InputError(
                    "airless lung without iodine has {:g} to {:g} HU, not {:g}".format(
                        *SOFT_TISSUE_RANGE_HU, value
                    )
                )
        return replace(
            self,
            low=replace(self.low, blood_hu=low_hu, lung_tissue_hu=low_hu),
            high=replace(self.high, blood_hu=high_hu, lung_tissue_hu=high_hu),
            name=f"{self.name} (soft tissue {low_hu:g} and {high_hu:g} HU)",
        )


SOFT_TISSUE_RANGE_HU = (0.0, 100.0)
"""Of water to clotted blood, at any voltage."""

MINIMAL_RATIO = 1.1
"""Below this the noise of the iodine map exceeds ten times that of the images."""


def reference_text(pair: SpectralPair) -> str:
    """Tell what HU means, such as ``k_ref 25 HU per mg/mL``."""
    return f"k_ref {pair.reference_hu_per_mg_ml:.4g} HU per mg/mL"


def spectral_pair(
    low: str,
    high: str,
    *,
    water_path_cm: float = DEFAULT_WATER_PATH_CM,
    reference_hu_per_mg_ml: float = REFERENCE_HU_PER_MG_ML,
) -> SpectralPair:
    """Look up a pair of tube voltages, such as ``spectral_pair("80", "140Sn")``.

    Parameters
    ----------
    low, high
        Of `VOLTAGES`.
    water_path_cm
        Water-equivalent path of the beam, `water_path_cm` of the image.
    reference_hu_per_mg_ml
        k_ref.

    Raises
    ------
    InputError
        For a voltage without tabulated response.

    """
    return SpectralPair(
        low=beam(low, water_path_cm),
        high=beam(high, water_path_cm),
        reference_hu_per_mg_ml=reference_hu_per_mg_ml,
        name=f"{low}/{high} kV, {water_path_cm:.0f} cm water",
    )

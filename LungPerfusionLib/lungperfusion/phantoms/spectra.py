"""Tube spectra and attenuation coefficients behind the dual-energy phantom.

The spectra differ on purpose from those behind `lungperfusion.iodine.calibration` (other anode
angle and filters, and for one tube a real scintillator), so that a phantom does not confirm the
solver by its own assumptions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


def _table(text: str) -> dict[str, NDArray[np.float64]]:
    """Rows ``name: numbers``; a row may go on in the next line."""
    rows = (row.split(":") for row in text.replace("\n    ", " ").strip().splitlines())
    return {name: np.array([float(number) for number in numbers.split()]) for name, numbers in rows}


ENERGY_EDGES_KEV = np.array(
    [*range(20, 29, 4), 31, 33.169, *range(36, 61, 4), *range(65, 81, 5), *range(90, 151, 10)]
)
"""Borders of the energy bins; one lies on the K edge of iodine, 33.169 keV."""

MASS_ATTENUATION_CM2_G: Mapping[str, NDArray[np.float64]] = _table("""
water: 0.6636 0.4766 0.386 0.3423 0.312 0.2821 0.2574 0.24 0.2271 0.2171 0.2093 0.2022 0.1957
    0.1903 0.1857 0.18 0.1736 0.1682 0.1635 0.1594 0.1556 0.1522
air: 0.6355 0.4528 0.364 0.3211 0.2914 0.2621 0.2378 0.2207 0.2081 0.1984 0.1908 0.1839 0.1777
    0.1726 0.1682 0.1628 0.1568 0.1517 0.1474 0.1436 0.1402 0.1371
blood: 0.6892 0.4921 0.3962 0.3499 0.3178 0.2862 0.26 0.2415 0.2279 0.2175 0.2093 0.2018 0.1951
    0.1895 0.1848 0.1789 0.1724 0.1669 0.1622 0.1581 0.1543 0.1509
lung: 0.6804 0.4865 0.3924 0.3469 0.3154 0.2844 0.2587 0.2406 0.2272 0.2169 0.2088 0.2015 0.1949
    0.1894 0.1847 0.1789 0.1724 0.167 0.1623 0.1581 0.1544 0.151
bone: 3.113 1.962 1.396 1.123 0.934 0.7501 0.6005 0.4979 0.425 0.3716 0.3315 0.2975 0.2689
    0.2471 0.2301 0.2111 0.1928 0.1797 0.1698 0.162 0.1557 0.1504
iodine: 19.93 12.66 8.989 7.163 32.21 25.34 19.54 15.4 12.35 10.07 8.313 6.811 5.541 4.575 3.827
    3.003 2.233 1.716 1.355 1.095 0.9033 0.7583
""")
"""Total attenuation per density, mean over each bin: Elam, Ravel & Sieber 2002 (Radiat Phys Chem
63:121) as tabulated in xraydb 4.5, for the tissues of ICRU Report 44."""

DENSITY_G_ML: Mapping[str, float] = {
    "water": 1.0,
    "air": 0.001205,
    "blood": 1.06,
    "lung": 1.05,
    "bone": 1.92,
}
"""ICRU Report 44."""

SPECTRA: Mapping[str, Mapping[str, NDArray[np.float64]]] = {
    "soft": _table("""
80: 1.622 10.88 20.95 21.68 44.59 79.2 95.95 105.6 108.7 106.4 122.4 109.7 94.95 55.8 21.65
90: 1.131 7.824 15.41 16.17 33.74 61.03 75.47 84.88 89.57 90.36 133.3 103.1 107.5 71.97 56.72
    51.83
100: 0.8356 5.942 11.93 12.69 26.79 49.2 61.82 70.63 75.79 77.89 138.1 93.67 108.4 71.58 63.53
    94.58 36.62
120: 0.5077 3.793 7.894 8.585 18.51 34.89 44.97 52.62 57.78 60.79 140.4 77.38 102.6 62 59.44
    106.7 84.53 56 20.6
140: 0.3403 2.651 5.692 6.317 13.88 26.74 35.2 41.95 46.83 50.05 135.9 65.88 94.85 52.65 52.18
    99.49 88.71 74.22 56.87 36.57 13
100Sn: 0.06619 1.905 1.657 0.003289 0.04248 0.4833 2.505 7.997 18.35 33.45 94.9 91.23 145.3
    122.3 131.1 238.4 110.3
140Sn: 0.01569 0.4936 0.4457 0.0009479 0.01277 0.1525 0.8259 2.746 6.553 12.41 54.53 37.06 73.4
    51.97 62.17 145.8 157.5 150 125.7 86.17 32.02
150Sn: 0.002178 0.1369 0.155 7.874e-06 0.0002702 0.00807 0.08638 0.4742 1.648 4.161 24.44 18.88
    44.97 34.7 46.1 122.4 149.9 159 150.3 125.5 85.65 31.57
"""),
    "filtered": _table("""
80: 0.07675 1.685 6.068 8.709 23.21 53.17 78.2 97.7 111.2 118.7 143 135.3 121.1 72.99 29.06
90: 0.05013 1.136 4.184 6.097 16.5 38.55 57.91 73.99 86.37 95.03 146 119.9 128.7 88.13 71.12
    66.3
100: 0.03541 0.8254 3.101 4.58 12.55 29.82 45.56 59.18 70.28 78.8 145.1 104.8 124.6 83.95 76.24
    115.6 45.02
120: 0.0204 0.4997 1.946 2.942 8.252 20.16 31.65 42.15 51.29 58.93 140.8 83.06 112.8 69.22 67.94
    124.2 98.3 63.4 22.41
140: 0.01337 0.3414 1.37 2.115 6.056 15.15 24.33 33.06 40.95 47.84 134.3 69.82 102.8 57.64 58.53
    113.8 101.4 82.38 59.97 36.15 12.05
100Sn: 0.002754 0.2459 0.3054 0.001054 0.01781 0.2611 1.619 5.83 14.8 29.31 86.11 88.29 144.3
    124 135.9 251.8 117.1
140Sn: 0.0006461 0.06319 0.08126 0.0003019 0.005341 0.0825 0.5366 2.018 5.339 11.01 49.87 36.39
    73.63 52.68 64.55 154.4 166.5 154 122.6 78.8 27.44
150Sn: 9.44e-05 0.01825 0.02865 2.57e-06 0.0001162 0.004486 0.05739 0.3553 1.37 3.759 22.75
    18.89 45.91 35.71 48.61 131.7 161 165.9 148.9 116.3 73.59 25.27
"""),
}
"""Detected energy per bin (per mille) by tube and voltage, before the patient; Sn filters of 0.4 mm
(150Sn: 0.6 mm).  Tungsten spectra of spekpy 2.5 (Poludniowski 2021, Med Phys 48:3630).

``soft``: anode 12 degrees, 6 mm Al, 0.2 mm Ti, ideal energy-integrating detector.
``filtered``: anode 10 degrees, 6 mm Al, 0.9 mm Ti, 1.4 mm gadolinium oxysulfide.
"""

PATH_NODES_CM = np.arange(5.0, 50.1, 2.5)
"""Water paths for which responses are tabulated."""


@dataclass(frozen=True, eq=False)
class Response:
    """CT numbers of pure materials by water path in front, each of shape (paths,)."""

    iodine_hu_per_mg_ml: NDArray[np.float64]
    tissue_hu: NDArray[np.float64]
    bone_hu: NDArray[np.float64]


@lru_cache(maxsize=32)
def response(tube: str, voltage: str, blood_share: float) -> Response:
    """HU of iodine, lung tissue and bone behind every water path of `PATH_NODES_CM`.

    ``mu = sum_E w(E) mu(E)`` with ``w`` the detected energy behind the path, and
    ``HU = 1000 (mu - mu_water) / (mu_water - mu_air)``: the scanner is corrected for water.

    Parameters
    ----------
    tube, voltage
        Keys of `SPECTRA`.
    blood_share
        Volume share of blood in the soft tissue of the lung, the rest is lung tissue.

    """
    bins = SPECTRA[tube][voltage]
    mass = {name: mu[: bins.size] for name, mu in MASS_ATTENUATION_CM2_G.items()}
    weights = bins * np.exp(-np.outer(PATH_NODES_CM, mass["water"]))
    weights /= weights.sum(axis=1, keepdims=True)
    mu = {name: density * (weights @ mass[name]) for name, density in DENSITY_G_ML.items()}
    contrast = mu["water"] - mu["air"]
    tissue = blood_share * mu["blood"] + (1 - blood_share) * mu["lung"]
    return Response(
        iodine_hu_per_mg_ml=weights @ mass["iodine"] / contrast,
        tissue_hu=1000 * (tissue - mu["water"]) / contrast,
        bone_hu=1000 * (mu["bone"] - mu["water"]) / contrast,
    )

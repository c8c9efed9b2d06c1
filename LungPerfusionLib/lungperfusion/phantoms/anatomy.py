"""Shape of the chest: where body, lungs, lobes and organs lie.

One adult at full inspiration.  Origin of the RAS millimetres is the carina (S = 0) on the midline
(R = 0); the trachea runs 18 mm behind A = 0.  All functions take broadcastable coordinate arrays
and return signed distances in mm, negative inside.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lungperfusion.phantoms.shapes import (
    Array,
    Point,
    Profile,
    capsule,
    ellipse,
    ellipsoid,
    smooth_max,
    smooth_min,
    turned_ellipsoid,
)

LEFT, RIGHT = -1.0, 1.0

TRUNK_HALF_WIDTH = Profile(
    (-330, 158), (-250, 162), (-120, 170), (0, 172), (60, 184), (105, 196), (140, 150), (170, 66)
)
TRUNK_HALF_DEPTH = Profile(
    (-330, 116), (-250, 116), (-120, 120), (0, 116), (60, 104), (105, 92), (140, 80), (170, 66)
)
TRUNK_CENTRE_A = Profile((-330, 2), (-120, -2), (0, -10), (100, -22), (170, -18))
SPINE_A = Profile((-330, -46), (-200, -50), (-60, -63), (30, -57), (110, -40), (180, -30))
"""A of the centre of the vertebral bodies: kyphosis."""
TRACHEA_A = Profile((0, -18), (60, -8), (120, 4), (200, 14))

CAGE_HALF_WIDTH = Profile((-260, 136), (-150, 138), (-60, 134), (0, 127), (60, 114), (120, 100))
CAGE_HALF_DEPTH = Profile((-260, 90), (-120, 92), (-40, 87), (20, 80), (80, 68), (120, 58))
CAGE_CENTRE_A = Profile((-260, -2), (-100, -6), (0, -14), (60, -22), (110, -28))
LUNG_AXIS_R = 52.0
LUNG_INNER_HALF_WIDTH = 80.0
APEX_START_S, APEX_HEIGHT = -25.0, 128.0

MEDIASTINUM_R = Profile((-150, -6), (-40, -4), (0, 0), (30, -3), (60, 0), (120, 0))
MEDIASTINUM_HALF_WIDTH = Profile(
    (-200, 30), (-110, 32), (-60, 34), (0, 30), (25, 32), (60, 30), (110, 36)
)

RETROSTERNAL_MM = 36.0
"""Depth behind the breastbone where the lungs come close to each other."""

HEART_CENTRE: Point = (-24.0, 24.0, -70.0)
HEART_RADII: Point = (66.0, 48.0, 46.0)
_APEX = np.array([-0.70, 0.52, -0.49])


def _frame(axis: np.ndarray) -> np.ndarray:
    first = axis / np.linalg.norm(axis)
    second = np.cross([0.0, 0.0, 1.0], first)
    second /= np.linalg.norm(second)
    return np.array([first, second, np.cross(first, second)])


HEART_AXES = _frame(_APEX)
RIGHT_ATRIUM: tuple[Point, Point] = ((26.0, 18.0, -64.0), (25.0, 32.0, 36.0))
LEFT_ATRIUM: tuple[Point, Point] = ((-6.0, -20.0, -56.0), (31.0, 19.0, 23.0))
HILA: dict[float, tuple[Point, Point]] = {
    RIGHT: ((35.0, -20.0, -30.0), (15.0, 18.0, 36.0)),
    LEFT: ((-38.0, -25.0, -24.0), (14.0, 18.0, 30.0)),
}

Rod = tuple[Point, Point, float]
"""Start, end and radius of a straight piece of a vessel or bronchus."""

AORTA: tuple[Rod, ...] = (
    ((0.0, 14.0, -46.0), (17.0, 14.0, -10.0), 15.0),
    ((17.0, 14.0, -10.0), (12.0, 6.0, 14.0), 14.5),
    ((12.0, 6.0, 14.0), (-4.0, -12.0, 27.0), 13.5),
    ((-4.0, -12.0, 27.0), (-18.0, -34.0, 22.0), 13.0),
    ((-18.0, -34.0, 22.0), (-24.0, -45.0, 2.0), 12.5),
    ((-24.0, -45.0, 2.0), (-24.0, -48.0, -60.0), 12.0),
    ((-24.0, -48.0, -60.0), (-14.0, -38.0, -150.0), 11.5),
    ((-14.0, -38.0, -150.0), (-4.0, -24.0, -330.0), 10.5),
)
ARCH_BRANCHES: tuple[Rod, ...] = (
    ((12.0, 6.0, 20.0), (16.0, 6.0, 75.0), 6.0),
    ((16.0, 6.0, 75.0), (28.0, 0.0, 150.0), 4.5),
    ((0.0, -6.0, 30.0), (-16.0, -2.0, 90.0), 4.0),
    ((-16.0, -2.0, 90.0), (-27.0, 2.0, 150.0), 4.0),
    ((-10.0, -20.0, 30.0), (-24.0, -22.0, 90.0), 4.5),
    ((-24.0, -22.0, 90.0), (-60.0, -12.0, 112.0), 4.5),
)
PULMONARY_TRUNK: tuple[Rod, ...] = (
    ((-20.0, 36.0, -42.0), (-24.0, 18.0, -14.0), 14.0),
    ((-24.0, 18.0, -14.0), (-20.0, 2.0, -8.0), 12.5),
)
RIGHT_PULMONARY_ARTERY: tuple[Rod, ...] = (
    ((-20.0, 2.0, -8.0), (6.0, -4.0, -14.0), 10.5),
    ((6.0, -4.0, -14.0), (34.0, -7.0, -20.0), 10.0),
)
LEFT_PULMONARY_ARTERY: tuple[Rod, ...] = (
    ((-20.0, 2.0, -8.0), (-38.0, -16.0, -5.0), 10.5),
    ((-38.0, -16.0, -5.0), (-45.0, -36.0, -16.0), 9.0),
)
SUPERIOR_VENA_CAVA: tuple[Rod, ...] = (
    ((27.0, 12.0, 52.0), (30.0, 10.0, -30.0), 9.0),
    ((27.0, 12.0, 52.0), (38.0, 12.0, 90.0), 7.0),
    ((27.0, 12.0, 50.0), (-20.0, 24.0, 60.0), 6.5),
    ((-20.0, 24.0, 60.0), (-40.0, 14.0, 92.0), 6.5),
)
INFERIOR_VENA_CAVA: tuple[Rod, ...] = (((26.0, 4.0, -90.0), (24.0, -8.0, -330.0), 12.0),)
PULMONARY_VEINS: tuple[Rod, ...] = (
    ((18.0, -16.0, -46.0), (46.0, -4.0, -38.0), 6.0),
    ((20.0, -26.0, -62.0), (46.0, -40.0, -66.0), 6.0),
    ((-26.0, -16.0, -46.0), (-52.0, -12.0, -36.0), 6.0),
    ((-28.0, -26.0, -58.0), (-50.0, -42.0, -62.0), 6.0),
)
OESOPHAGUS: tuple[Rod, ...] = (
    ((-2.0, -14.0, 150.0), (-3.0, -32.0, 20.0), 6.5),
    ((-3.0, -32.0, 20.0), (-4.0, -42.0, -70.0), 6.5),
    ((-4.0, -42.0, -70.0), (-16.0, -22.0, -150.0), 7.0),
)

LOBE_SIDES = {
    "left_upper_lobe": LEFT,
    "left_lower_lobe": LEFT,
    "right_upper_lobe": RIGHT,
    "right_middle_lobe": RIGHT,
    "right_lower_lobe": RIGHT,
}


@dataclass(frozen=True)
class Build:
    """Sizes that differ from patient to patient.

    Parameters
    ----------
    diaphragm_lift_mm
        Height of both domes above their place at full inspiration; about 40 at expiration.
    junction_mm
        Thickness of the tissue between the two lungs in front of the great vessels.
    fat_mm
        Thickness of the fat under the skin.
    flatness
        Emphysema flattens the domes: 1 as in health, 0.4 nearly flat.

    """

    diaphragm_lift_mm: float = 0.0
    junction_mm: float = 4.0
    fat_mm: float = 14.0
    flatness: float = 1.0


def trunk(r: Array, a: Array, s: Array) -> Array:
    """Skin surface of trunk and neck."""
    half_width, half_depth = TRUNK_HALF_WIDTH(s), TRUNK_HALF_DEPTH(s)
    return _superellipse(
        r / half_width, (a - TRUNK_CENTRE_A(s)) / half_depth, half_width, half_depth
    )


def _superellipse(u: Array, v: Array, a: Array, b: Array) -> Array:
    """First-order distance to |u|^2.5 + |v|^2.5 = 1."""
    u, v = np.abs(u), np.abs(v)
    root_u, root_v = np.sqrt(u), np.sqrt(v)
    gu, gv = u * root_u, v * root_v
    level = gu * u + gv * v - 1
    gradient = np.sqrt((gu / a) ** 2 + (gv / b) ** 2)
    return np.asarray(level / (2.5 * np.maximum(gradient, 1e-4)))


def rib_cage(r: Array, a: Array, s: Array) -> Array:
    """Inner surface of the chest wall, also below the diaphragm."""
    return ellipse(r, a, (0.0, CAGE_CENTRE_A(s)), (CAGE_HALF_WIDTH(s), CAGE_HALF_DEPTH(s)))


def lung_hull(side: float, r: Array, a: Array, s: Array) -> Array:
    """Costal surface and apex of one lung, as if the mediastinum were pushed aside."""
    x = side * r - LUNG_AXIS_R
    outer = CAGE_HALF_WIDTH(s) - LUNG_AXIS_R
    width = np.where(x > 0, outer, LUNG_INNER_HALF_WIDTH).astype(x.dtype)
    depth = CAGE_HALF_DEPTH(s)
    u, v = np.abs(x) / width, np.abs(a - CAGE_CENTRE_A(s)) / depth
    w = np.maximum(s - APEX_START_S, 0) / APEX_HEIGHT
    gu, gv, gw = u * np.sqrt(u), v * np.sqrt(v), w * np.sqrt(w)
    level = gu * u + gv * v + gw * w - 1
    gradient = np.sqrt((gu / width) ** 2 + (gv / depth) ** 2 + (gw / APEX_HEIGHT) ** 2)
    return np.asarray(level / (2.5 * np.maximum(gradient, 1e-4)))


def diaphragm_height(side: float, r: Array, a: Array, build: Build) -> Array:
    """S of the dome below a lung."""
    top = (-106.0 if side > 0 else -117.0) + build.diaphragm_lift_mm
    x = side * r - 66.0
    x = np.where(x > 0, x / 72.0, x / 130.0).astype(r.dtype)
    y = a - 14.0
    y = np.where(y > 0, y / 105.0, y / 98.0).astype(a.dtype)
    drop = x * x + y * y
    return np.asarray(top - 70.0 * build.flatness * drop)


def diaphragm(side: float, r: Array, a: Array, s: Array, build: Build) -> Array:
    """Distance to the dome, negative below it."""
    height = diaphragm_height(side, r, a, build)
    x = side * r - 66.0
    slope_r = 140.0 * build.flatness * np.where(x > 0, x / 72.0**2, x / 130.0**2)
    y = a - 14.0
    slope_a = 140.0 * build.flatness * np.where(y > 0, y / 105.0**2, y / 98.0**2)
    steepness = np.sqrt(1 + slope_r**2 + slope_a**2).astype(r.dtype)
    return np.asarray((s - height) / steepness)


def spine(r: Array, a: Array, s: Array) -> Array:
    """Vertebral bodies with the muscles beside and behind them."""
    centre = SPINE_A(s)
    column = ellipse(r, a, (0.0, centre), (22.0, 19.0))
    back = np.minimum(a - centre, 0)  # a slab that widens to the back
    behind = np.abs(r) - 23.0 + 0.12 * back
    behind = np.maximum(behind, a - centre)
    return smooth_min(column, behind, 10.0)


def heart(r: Array, a: Array, s: Array) -> Array:
    """Pericardium: ventricles, both atria."""
    d = turned_ellipsoid(r, a, s, HEART_CENTRE, HEART_RADII, HEART_AXES)
    d = smooth_min(d, ellipsoid(r, a, s, *RIGHT_ATRIUM), 12.0)
    return smooth_min(d, ellipsoid(r, a, s, *LEFT_ATRIUM), 8.0)


def mediastinum(side: float, r: Array, a: Array, s: Array, build: Build) -> Array:
    """Everything between the lungs, as the pleura of one side covers it."""
    half_depth = CAGE_HALF_DEPTH(s) - RETROSTERNAL_MM / 2
    centre = (MEDIASTINUM_R(s), CAGE_CENTRE_A(s) - RETROSTERNAL_MM / 2)
    d = ellipse(r, a, centre, (MEDIASTINUM_HALF_WIDTH(s), half_depth))
    septum = side * r - build.junction_mm / 2
    d = smooth_min(d, septum, 6.0)
    d = smooth_min(d, heart(r, a, s) - 5.0, 8.0)
    d = smooth_min(d, spine(r, a, s), 8.0)
    d = smooth_min(d, ellipsoid(r, a, s, *HILA[side]), 8.0)
    if side < 0:
        for start, end, radius in AORTA[3:7]:
            d = smooth_min(d, capsule(r, a, s, start, end, radius + 2.0), 5.0)
    else:
        start, end, radius = SUPERIOR_VENA_CAVA[0]
        d = smooth_min(d, capsule(r, a, s, start, end, radius + 1.5), 5.0)
    return d


def lung(side: float, r: Array, a: Array, s: Array, build: Build) -> Array:
    """One lung inside its pleura, vessels and intrapulmonary bronchi included."""
    d = smooth_max(lung_hull(side, r, a, s), rib_cage(r, a, s), 12.0)
    d = smooth_max(d, -diaphragm(side, r, a, s, build), 5.0)
    return smooth_max(d, -mediastinum(side, r, a, s, build), 5.0)


@dataclass(frozen=True)
class Fissure:
    """Interlobar surface S = height(R, A): a plane with gentle waves.

    Parameters
    ----------
    side
        Lung it lies in.
    level
        S at R = 0, A = 0 of the plane.
    slope_r, slope_a
        Rise per mm toward lateral and front.
    wave_mm, wavelength_mm
        Height and length of the waves.

    """

    name: str
    side: float
    level: float
    slope_r: float
    slope_a: float
    wave_mm: float
    wavelength_mm: float

    def height(self, r: Array, a: Array) -> Array:
        """S of the surface."""
        x, q = self.side * r, np.float32(2 * np.pi / self.wavelength_mm)
        plane = self.level + self.slope_r * (x - 70) + self.slope_a * a
        return np.asarray(plane + self.wave_mm * np.sin(q * x + 1.0) * np.cos(q * a))

    def steepness(self, r: Array, a: Array) -> Array:
        """Area of the surface per area of its shadow on an axial plane."""
        x, q = self.side * r, np.float32(2 * np.pi / self.wavelength_mm)
        slope_r = self.slope_r + self.wave_mm * q * np.cos(q * x + 1.0) * np.cos(q * a)
        slope_a = self.slope_a - self.wave_mm * q * np.sin(q * x + 1.0) * np.sin(q * a)
        return np.asarray(np.sqrt(1 + slope_r**2 + slope_a**2))

    def distance(self, r: Array, a: Array, s: Array) -> Array:
        """Distance to the surface, positive above it (first order)."""
        return np.asarray((s - self.height(r, a)) / self.steepness(r, a))

    def laterality(self, r: Array, a: Array) -> Array:
        """Coordinate in mm from the hilum outward: an incomplete fissure lacks its inner part."""
        return np.asarray(self.side * r + 7.0 * np.sin(a / 13.0) + 4.0 * np.sin(a / 5.0))


LEFT_OBLIQUE = Fissure("left_oblique", LEFT, -62.0, 0.06, -1.15, 4.0, 150.0)
RIGHT_OBLIQUE = Fissure("right_oblique", RIGHT, -66.0, 0.05, -1.10, 4.0, 160.0)
RIGHT_HORIZONTAL = Fissure("right_horizontal", RIGHT, -38.0, -0.10, -0.12, 5.0, 140.0)
FISSURES = (LEFT_OBLIQUE, RIGHT_OBLIQUE, RIGHT_HORIZONTAL)


def lobe(
    name: str, r: Array, a: Array, s: Array, fissures: tuple[Fissure, ...] = FISSURES
) -> Array:
    """Part of space on the lobe's side of its fissures; intersect it with the lung."""
    left_oblique, right_oblique, right_horizontal = fissures
    if name == "left_upper_lobe":
        return -left_oblique.distance(r, a, s)
    if name == "left_lower_lobe":
        return left_oblique.distance(r, a, s)
    oblique = right_oblique.distance(r, a, s)
    if name == "right_lower_lobe":
        return oblique
    horizontal = right_horizontal.distance(r, a, s)
    return np.maximum(-oblique, -horizontal if name == "right_upper_lobe" else horizontal)

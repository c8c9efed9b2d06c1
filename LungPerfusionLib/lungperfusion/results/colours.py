"""Colour tables of all maps and classes: each defined once, as values in the unit of the map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lungperfusion.terms import STRUCTURES
from lungperfusion.terms.density import AERATED_BELOW_HU, EMPHYSEMA_BELOW_HU, GROUND_GLASS_FROM_HU

RGB = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class ColourScale:
    """Continuous colours between stops.

    Parameters
    ----------
    id
        Identifier.
    stops
        Value and colour ``#rrggbb``, values ascending; colours between are linear in sRGB, beyond
        the ends constant.
    unit
        Unit of the values, as the legend prints it.

    """

    id: str
    stops: tuple[tuple[float, str], ...]
    unit: str

    @property
    def range(self) -> tuple[float, float]:
        """Values of the first and the last stop."""
        return self.stops[0][0], self.stops[-1][0]

    def stretched(self, low: float, high: float, unit: str | None = None) -> ColourScale:
        """Return the same colours over another range of values."""
        first, last = self.range
        factor = (high - low) / (last - first)
        stops = tuple((low + (value - first) * factor, colour) for value, colour in self.stops)
        return ColourScale(self.id, stops, self.unit if unit is None else unit)

    def colours(self, values: NDArray[np.floating]) -> NDArray[np.float32]:
        """Colour of every value, shape (..., 3), 0 to 1."""
        positions = [value for value, _ in self.stops]
        channels = np.array([rgb(colour) for _, colour in self.stops])
        return np.stack(
            [np.interp(values, positions, channels[:, c]) for c in range(3)], axis=-1
        ).astype(np.float32)


@dataclass(frozen=True, slots=True)
class ColourClasses:
    """One colour per interval of values.

    Parameters
    ----------
    id
        Identifier.
    limits
        Ascending borders between the classes, one fewer than colours; a value on a border belongs
        to the class above it.
    classes
        Colour ``#rrggbb`` and name, from the lowest values up; an empty colour leaves the CT bare,
        an empty name stays out of the legend.
    unit
        Unit of the values.

    """

    id: str
    limits: tuple[float, ...]
    classes: tuple[tuple[str, str], ...]
    unit: str

    @property
    def range(self) -> tuple[float, float]:
        """Lowest and highest border."""
        return self.limits[0], self.limits[-1]

    def colours(self, values: NDArray[np.floating]) -> NDArray[np.float32]:
        """Colour of every value, shape (..., 3), 0 to 1."""
        table = np.array([rgb(colour or "#000000") for colour, _ in self.classes], np.float32)
        return np.asarray(table[np.digitize(values, self.limits)])

    def painted(self, values: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Whether the class of each value has a colour."""
        has_colour = np.array([bool(colour) for colour, _ in self.classes])
        return np.asarray(has_colour[np.digitize(values, self.limits)])


Colours = ColourScale | ColourClasses


def rgb(colour: str) -> RGB:
    """Red, green and blue, 0 to 1, of ``#rrggbb``.

    Examples
    --------
    >>> rgb("#ff0080")
    (1.0, 0.0, 0.5019607843137255)

    """
    red, green, blue = (int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5))
    return red, green, blue


def hexadecimal(colour: Sequence[float]) -> str:
    """Write a colour as ``#rrggbb``."""
    return "#" + "".join(f"{round(255 * channel):02x}" for channel in colour)


GREY = ColourScale("grey", ((0.0, "#000000"), (1.0, "#ffffff")), "")


def density_classes(ground_glass_from_hu: float = GROUND_GLASS_FROM_HU) -> ColourClasses:
    """Classes of lung density, between the thresholds of `lungperfusion.density`.

    Examples
    --------
    >>> [name for _, name in density_classes().classes]
    ['below −950', '−950 to −700', '−700 to −200', '−200 and above']

    """
    limits = (EMPHYSEMA_BELOW_HU, ground_glass_from_hu, AERATED_BELOW_HU)
    low, middle, high = (f"{limit:g}".replace("-", "−") for limit in limits)
    classes = (
        ("#3b6fd4", f"below {low}"),
        ("", f"{low} to {middle}"),
        ("#f0b429", f"{middle} to {high}"),
        ("#d1495b", f"{high} and above"),
    )
    return ColourClasses("density_classes", limits, classes, "HU")


IODINE_PERFUSION = ColourScale(
    "iodine_perfusion",
    (
        (0.0, "#000000"),
        (20.0, "#10106e"),
        (40.0, "#2f6bff"),
        (50.0, "#18b55f"),
        (65.0, "#f2e63d"),
        (100.0, "#d7191c"),
    ),
    "HU",
)
"""Black and blue below 40 HU, as the iodine perfusion letter shows defects."""

_RAINBOW = ("#000000", "#10106e", "#2f6bff", "#18b55f", "#f2e63d", "#d7191c")


def _rainbow(id: str, high: float, unit: str) -> ColourScale:
    """Black over blue, green and yellow to red, even from 0 to a value."""
    steps = len(_RAINBOW) - 1
    return ColourScale(
        id, tuple((high * n / steps, colour) for n, colour in enumerate(_RAINBOW)), unit
    )


PULMONARY_FLOW = _rainbow("pulmonary_flow", 250.0, "mL/min/100 mL")
"""Up to the mean of healthy lungs (dynamic perfusion meta-analysis)."""
BLOOD_VOLUME = _rainbow("blood_volume", 25.0, "mL/100 mL")
PERFUSION_INDEX = _rainbow("perfusion_index", 1.0, "")
TRANSIT_TIME = _rainbow("mtt", 15.0, "s")

VENTILATION = ColourScale(
    "ventilation",
    (
        (0.0, "#0d0887"),
        (0.25, "#7e03a8"),
        (0.5, "#cc4778"),
        (0.75, "#f89540"),
        (1.0, "#f0f921"),
    ),
    "mL/mL",
)

VQ_RATIO = ColourScale(
    "vq_ratio",
    (
        (0.0, "#2166ac"),
        (0.5, "#92c5de"),
        (1.0, "#f7f7f7"),
        (1.5, "#f4a582"),
        (2.0, "#b2182b"),
    ),
    "1",
)
"""Neutral at 1, where ventilation and perfusion match; blue below and red above."""

VENTILATION_PERFUSION = ColourClasses(
    "vq",
    (0.5, 1.5, 2.5, 3.5),
    (
        ("", ""),
        ("#8fb996", "both kept"),
        ("#3b6fd4", "V low, Q kept"),
        ("#e4572e", "Q low, V kept"),
        ("#6d597a", "both low"),
    ),
    "1",
)
"""Class numbers 1 to 4 of a ventilation/perfusion class map."""

AREA_BINS = ColourClasses(
    "area_bins",
    (5.0, 10.0),
    (("#e4322b", "below 5 mm²"), ("#f2c12e", "5 to 10 mm²"), ("#2f6bff", "10 mm² and above")),
    "mm²",
)
"""Cross-section of vessels: small, medium and large, as in BV5, BV5-10 and BV10."""

XENON_NAMES = ("defect", "low", "normal, lower", "normal", "normal, upper", "high")
XENON_SAFE = ColourClasses(
    "xenon_safe",
    (0.5, 1.5, 2.5, 3.5, 4.5, 5.5),
    (
        ("", ""),
        *zip(
            ("#a34d04", "#f1a340", "#fee8c8", "#f7f7f7", "#b2abd2", "#542788"),
            XENON_NAMES,
            strict=True,
        ),
    ),
    "1",
)
"""Class numbers 1 to 6 of xenon maps from brown to violet, which all readers tell apart."""

COLOURS: dict[str, Colours] = {
    table.id: table
    for table in (
        GREY,
        density_classes(),
        IODINE_PERFUSION,
        PULMONARY_FLOW,
        BLOOD_VOLUME,
        PERFUSION_INDEX,
        TRANSIT_TIME,
        VENTILATION,
        VQ_RATIO,
        VENTILATION_PERFUSION,
        AREA_BINS,
        XENON_SAFE,
    )
}
"""Every colour table by identifier."""

_MORE = ("#e6a157", "#5ca3e0", "#73c990", "#d16ba5", "#c9c14f", "#9d7fd6", "#5fc7c2", "#d98073")


def label_colour(identifier: str, number: int = 0) -> RGB:
    """Colour of a structure, or one of a fixed sequence for regions that have none of their own."""
    if identifier in STRUCTURES:
        return STRUCTURES[identifier].colour
    return rgb(_MORE[number % len(_MORE)])

"""How an image was acquired, as far as its file tells."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Sharpness = Literal["soft", "sharp"]

SOFT_UP_TO, SHARP_FROM = 45, 50
"""Sharpness numbers in kernel names of Siemens such as B40f or Br64: density can be measured up to
the first, edges are enhanced from the second on."""

_SHARP_NAMES = re.compile(
    r".*(?:LUNG|BONE|EDGE|ULTRA|SHARP)"  # GE, and in words
    r"|FC[358]\d"  # Canon
    r"|(?:L|D|E|YC|YD|YE)$"  # Philips
)
_SOFT_NAMES = re.compile(r".*(?:STANDARD|STND|SOFT|SMOOTH|CHE?ST)|FC[01]\d|[ABC]$")
_NUMBERED = re.compile(r"[A-Z]{1,2}(\d\d)(?!\d)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Acquisition:
    """Technical facts without any patient identifier; None where the file does not say."""

    modality: str | None = None
    manufacturer: str | None = None
    model: str | None = None
    kvp: float | None = None
    kernel: str | None = None
    slice_thickness_mm: float | None = None
    contrast_agent: bool | None = None
    image_type: tuple[str, ...] = ()
    """DICOM Image Type values, which name derived maps such as virtual monoenergetic images."""
    rescale_unit: str | None = None
    """DICOM Rescale Type (``HU``, ``MGML``, ...)."""
    monoenergetic_kev: float | None = None
    tin_filter: bool | None = None
    """Whether a tin filter hardened the beam; headers name filters seldom."""


def kernel_sharpness(kernel: str) -> Sharpness | None:
    """Tell a soft kernel from one for lung or bone by its name; None where the name does not tell.

    Names as in the manufacturers' lists.

    Examples
    --------
    >>> [kernel_sharpness(name) for name in ("B70f", "Br64d\\\\3", "LUNG", "FC51", "YC", "L")]
    ['sharp', 'sharp', 'sharp', 'sharp', 'sharp', 'sharp']
    >>> [kernel_sharpness(name) for name in ("B31f", "I40f", "STANDARD", "FC08", "B", "Qr40")]
    ['soft', 'soft', 'soft', 'soft', 'soft', 'soft']
    >>> [kernel_sharpness(name) for name in ("Br46", "DETAIL", "FC21", "")]
    [None, None, None, None]

    """
    name = kernel.strip().upper()
    if _SHARP_NAMES.match(name):
        return "sharp"
    if _SOFT_NAMES.match(name):
        return "soft"
    number = _NUMBERED.match(name)
    if number is None or name.startswith("FC") or SOFT_UP_TO < int(number[1]) < SHARP_FROM:
        return None
    return "soft" if int(number[1]) <= SOFT_UP_TO else "sharp"

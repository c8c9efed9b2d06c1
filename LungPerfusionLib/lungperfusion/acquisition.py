"""How an image was acquired, as far as its file tells."""

from __future__ import annotations

from dataclasses import dataclass


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

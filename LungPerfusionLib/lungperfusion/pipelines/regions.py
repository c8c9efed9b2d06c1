"""From a CT to the regions that measures are summed in; the same options for every analysis."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lungperfusion.acquisition import Acquisition
from lungperfusion.io import LabelImage, labelmap_of, read_labelmap
from lungperfusion.progress import Progress, ignore, part
from lungperfusion.quality import Gate
from lungperfusion.regions import RegionSet
from lungperfusion.resampling import resample_labelmap
from lungperfusion.segmentation.lungs import LungSegmentation, lungs_from_mask, segment_lungs
from lungperfusion.segmentation.zones import (
    DEFAULT_ZONE_RULE,
    RIM_MM,
    ZoneRule,
    label_halves,
    label_shells,
    label_zones,
)
from lungperfusion.volume import Geometry, Labelmap, Volume


@dataclass(frozen=True, kw_only=True, slots=True)
class RegionOptions:
    """How the lungs are found and divided."""

    lung_mask: LabelImage | None = None
    """External lung or lobe label map to use instead of segmenting."""
    zones: ZoneRule = DEFAULT_ZONE_RULE
    rim_mm: float = RIM_MM

    @classmethod
    def from_arguments(cls, arguments: argparse.Namespace) -> RegionOptions:
        """Take the options that `add_region_arguments` added, and read the files they name."""
        mask = arguments.lung_mask
        return cls(
            lung_mask=None if mask is None else read_labelmap(mask),
            zones=arguments.zones,
            rim_mm=arguments.rim_mm,
        )

    @property
    def sources(self) -> dict[str, LabelImage]:
        """Files that the regions rest on, by role, for provenance."""
        return {} if self.lung_mask is None else {"lung_mask": self.lung_mask}

    @property
    def parameters(self) -> dict[str, Any]:
        """Settings for results.json, without any path."""
        return {
            "lungs": "segmented" if self.lung_mask is None else "external label map",
            "zones": f"thirds of equal {self.zones}",
            "rim_mm": self.rim_mm,
        }


SEGMENT_LUNGS = RegionOptions()
"""Segment the lungs and divide them by the default rules."""


@dataclass(frozen=True, eq=False, kw_only=True)
class FoundRegions:
    """The regions of one CT and what there is to say about them."""

    lungs: Labelmap
    """``left_lung``, ``right_lung`` and ``airways``."""
    regions: RegionSet
    gates: tuple[Gate, ...]
    warnings: tuple[str, ...]


def add_region_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options on lungs and zones."""
    group = parser.add_argument_group("regions")
    group.add_argument(
        "--lung-mask",
        type=Path,
        metavar="LABELMAP",
        help="lung or lobe label map (NRRD, NIfTI, MHA, .seg.nrrd) instead of segmenting",
    )
    group.add_argument(
        "--zones",
        choices=("height", "volume"),
        default=DEFAULT_ZONE_RULE,
        help="thirds of equal height or of equal volume (default: %(default)s)",
    )
    group.add_argument(
        "--rim-mm",
        type=float,
        default=RIM_MM,
        metavar="MM",
        help="thickness of the rim under the lung surface (default: %(default)s)",
    )


def find_regions(
    ct: Volume,
    options: RegionOptions,
    *,
    acquisition: Acquisition | None = None,
    progress: Progress = ignore,
) -> FoundRegions:
    """Find the lungs, or take the given ones, and divide them into zones and shells.

    Parameters
    ----------
    ct
        Chest CT in HU.
    options
        External label map and rules of division.
    acquisition
        Technical facts for the quality gates.

    """
    lungs = _lungs(ct, options, acquisition, part(progress, 0.0, 0.85))
    progress(0.85, "dividing the lungs into zones")
    partitions = (
        lungs.labelmap,
        label_zones(lungs.labelmap, rule=options.zones),
        label_halves(lungs.labelmap),
        label_shells(lungs.labelmap, rim_mm=options.rim_mm),
    )
    return FoundRegions(
        lungs=lungs.labelmap,
        regions=RegionSet(partitions),
        gates=lungs.gates,
        warnings=lungs.warnings,
    )


def _lungs(
    ct: Volume,
    options: RegionOptions,
    acquisition: Acquisition | None,
    progress: Progress,
) -> LungSegmentation:
    if options.lung_mask is None:
        return segment_lungs(ct, acquisition=acquisition, progress=progress)
    progress(0.0, "taking the given lungs")
    mask, warnings = _on_grid(options.lung_mask, ct.geometry)
    lungs = lungs_from_mask(ct, mask, acquisition=acquisition)
    return replace(lungs, warnings=(*warnings, *lungs.warnings))


def _on_grid(image: LabelImage, geometry: Geometry) -> tuple[Labelmap, tuple[str, ...]]:
    """Take labels under the IDs of their file, resampled with a warning where grids differ."""
    labelmap = labelmap_of(image)
    if labelmap.geometry.same_as(geometry):
        return labelmap, ()
    return resample_labelmap(labelmap, geometry), (
        f"The label map {image.name} lies on another grid and was resampled onto the CT "
        "(nearest label).",
    )

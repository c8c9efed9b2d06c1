"""Lungs, airways and density scores of one chest CT."""

from __future__ import annotations

from lungperfusion.acquisition import Acquisition
from lungperfusion.analysis.regions import SEGMENT_LUNGS, RegionOptions, find_regions
from lungperfusion.density import (
    GROUND_GLASS_FROM_HU,
    REFERENCE_VOLUME_L,
    measure_density,
    region_distributions,
)
from lungperfusion.noise import measure_noise
from lungperfusion.opacity import mark_vessels
from lungperfusion.progress import Progress, ignore, part
from lungperfusion.results.analysis import Analysis
from lungperfusion.results.lung_sections import lung_sections
from lungperfusion.results.section import Section
from lungperfusion.terms import Region
from lungperfusion.volume import Volume


def analyse_lungs(
    ct: Volume,
    *,
    regions: RegionOptions = SEGMENT_LUNGS,
    acquisition: Acquisition | None = None,
    ground_glass_from_hu: float = GROUND_GLASS_FROM_HU,
    reference_volume_l: float = REFERENCE_VOLUME_L,
    pictures: bool = True,
    progress: Progress = ignore,
) -> Analysis:
    """Segment the lungs of a chest CT and measure their volume and density.

    Parameters
    ----------
    ct
        Chest CT in HU.
    regions
        How the lungs are found and divided.
    acquisition
        Technical facts for the quality gates.
    ground_glass_from_hu, reference_volume_l
        As in `measure_density`.
    pictures
        Whether to draw for the report; needs matplotlib.

    """
    found = find_regions(ct, regions, acquisition=acquisition, progress=part(progress, 0.0, 0.6))
    vessels = mark_vessels(
        ct,
        found.regions.mask(Region.LUNGS),
        ground_glass_from_hu=ground_glass_from_hu,
        progress=part(progress, 0.6, 0.7),
    )
    measurements = measure_density(
        ct,
        found.regions,
        vessels=vessels,
        noise=measure_noise(ct, found.lungs),
        ground_glass_from_hu=ground_glass_from_hu,
        reference_volume_l=reference_volume_l,
        progress=part(progress, 0.7, 0.75),
    )
    sections: tuple[Section, ...] = ()
    if pictures:
        sections = lung_sections(
            ct,
            found.lungs,
            region_distributions(ct, found.regions, progress=part(progress, 0.75, 0.8)),
            vessels=vessels,
            ground_glass_from_hu=ground_glass_from_hu,
            progress=part(progress, 0.8, 1.0),
        )
    return Analysis(
        module="lungs",
        measurements=measurements,
        gates=found.gates,
        warnings=found.warnings,
        parameters={
            **regions.parameters,
            "ground_glass_from_hu": ground_glass_from_hu,
            "reference_volume_l": reference_volume_l,
        },
        labelmaps={"lungs": found.lungs},
        sections=sections,
    )

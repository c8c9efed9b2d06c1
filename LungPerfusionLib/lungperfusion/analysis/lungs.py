"""Lungs, airways and density scores of one chest CT."""

from __future__ import annotations

from lungperfusion.analysis.regions import FoundRegions
from lungperfusion.density import (
    DEFAULT_OPTIONS,
    DensityOptions,
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
    found: FoundRegions,
    *,
    options: DensityOptions = DEFAULT_OPTIONS,
    pictures: bool = True,
    progress: Progress = ignore,
) -> Analysis:
    """Measure volume and density of the lungs of a chest CT.

    Parameters
    ----------
    ct
        Chest CT in HU.
    found
        Its lungs and regions.
    options
        Thresholds of the densities.
    pictures
        Whether to draw for the report; needs matplotlib.

    """
    vessels = mark_vessels(
        ct,
        found.regions.mask(Region.LUNGS),
        ground_glass_from_hu=options.ground_glass_from_hu,
        progress=part(progress, 0.0, 0.3),
    )
    measurements = measure_density(
        ct,
        found.regions,
        vessels=vessels,
        noise=measure_noise(ct, found.lungs),
        options=options,
        progress=part(progress, 0.3, 0.4),
    )
    sections: tuple[Section, ...] = ()
    if pictures:
        sections = lung_sections(
            ct,
            found.lungs,
            region_distributions(ct, found.regions, progress=part(progress, 0.4, 0.5)),
            vessels=vessels,
            ground_glass_from_hu=options.ground_glass_from_hu,
            progress=part(progress, 0.5, 1.0),
        )
    return Analysis(
        module="lungs",
        measurements=measurements,
        gates=found.gates,
        warnings=found.warnings,
        parameters={
            **found.parameters,
            "ground_glass_from_hu": options.ground_glass_from_hu,
            "reference_volume_l": options.reference_volume_l,
        },
        labelmaps={"lungs": found.lungs},
        sections=sections,
    )

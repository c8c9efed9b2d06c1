"""Pictures of the lungs and their density for the report."""

from __future__ import annotations

import numpy as np

from lungperfusion.density import Distribution
from lungperfusion.progress import Progress, ignore
from lungperfusion.results.colours import density_classes
from lungperfusion.results.figures import (
    Labels,
    Overlay,
    figure_html,
    histogram,
    label_projection,
    montage,
    three_planes,
)
from lungperfusion.results.reference import INTERVAL_SD
from lungperfusion.results.section import Section
from lungperfusion.terms import LUNGS, MEASURES, Region
from lungperfusion.terms.density import AERATED_BELOW_HU, EMPHYSEMA_BELOW_HU, GROUND_GLASS_FROM_HU
from lungperfusion.volume import Labelmap, Mask, Volume, box_around

_MARGIN_MM = 20.0


def lung_sections(
    ct: Volume,
    lungs: Labelmap,
    distributions: dict[Region, Distribution],
    *,
    vessels: Mask | None = None,
    ground_glass_from_hu: float = GROUND_GLASS_FROM_HU,
    progress: Progress = ignore,
) -> tuple[Section, ...]:
    """Draw the lungs: planes with density classes and outlines, slices, shape, histogram.

    Parameters
    ----------
    ct
        CT in HU.
    lungs
        ``left_lung``, ``right_lung`` and perhaps ``airways``, on the grid of ``ct``.
    distributions
        From `lungperfusion.density.region_distributions`.
    vessels
        Vessels inside the lungs, shape (K, J, I), which then get no colour.
    ground_glass_from_hu
        Lower bound of ground glass, as in `lungperfusion.density.measure_density`.
    progress
        Called after every picture; may raise to cancel.

    Returns
    -------
    tuple of Section
        Empty if there is no lung to draw.

    """
    lung = lungs.mask(*LUNGS)
    if not lung.any():
        return ()
    box = box_around(lung, ct.geometry.spacing_kji_mm, _MARGIN_MM)
    ct, lungs, shown = ct.crop(box), lungs.crop(box), lung[box]
    if vessels is not None:
        shown = shown & ~vessels[box]
    outlines = Labels(labelmap=lungs)
    valid = shown if ct.valid is None else shown & ct.valid
    classes = Overlay(
        volume=Volume(ct.array, ct.geometry, ct.unit, valid),
        colours=density_classes(ground_glass_from_hu),
        title="Density",
        opacity=0.6,
    )
    progress(0.0, "drawing the lungs")
    planes = figure_html(
        three_planes(ct, overlay=classes, labels=outlines),
        alt="Axial, coronal and sagittal CT plane through the lungs in the lung window, coloured "
        "by density class, with the outlines of both lungs and the airways",
        caption="Lung window (−600/1500 HU); colours: density classes, lines: lungs and airways; "
        "sagittal plane through the larger lung.",
    )
    progress(0.4, "drawing the lungs")
    slices = figure_html(
        montage(ct, labels=outlines, count=8, columns=4),
        alt="Eight axial CT slices from head to feet with the outlines of lungs and airways",
        caption="Axial slices from head to feet, without colours, to check the outlines.",
    )
    progress(0.7, "drawing the lungs")
    shape = figure_html(
        label_projection(Labels(labelmap=lungs), legend=False, width_in=1.9),
        alt="Lungs and airways seen from the front",
        caption="Seen from the front.",
        width_percent=22,
    )
    chart = figure_html(
        density_histogram(distributions, ground_glass_from_hu),
        alt=_in_words(distributions),
        caption=f"Dashed: −950 HU (low attenuation), {ground_glass_from_hu:g} to −200 HU "
        "(ground glass).".replace("-", "−"),
        width_percent=74,
    )
    progress(1.0, "drawing the lungs")
    return (
        Section(title="Lungs", html=planes, place="top"),
        Section(title="Density histogram and shape", html=chart + shape, place="first_page"),
        Section(title="Slices", html=slices),
    )


def density_histogram(
    distributions: dict[Region, Distribution],
    ground_glass_from_hu: float = GROUND_GLASS_FROM_HU,
) -> str:
    """Histogram of both lungs with thresholds and the reference interval of the mean, as SVG."""
    reference = MEASURES["mld"].reference
    band = None
    if reference is not None:
        half = INTERVAL_SD * reference.sd
        band = (reference.mean - half, reference.mean + half, "Mean: reference ± 2 SD")
    return histogram(
        {
            side: (distributions[side].values_hu, distributions[side].counts)
            for side in LUNGS
            if side in distributions
        },
        thresholds=(
            EMPHYSEMA_BELOW_HU,
            ground_glass_from_hu,
            AERATED_BELOW_HU,
        ),
        band=band,
        size_in=(6.2, 1.8),
    )


def _in_words(distributions: dict[Region, Distribution]) -> str:
    peaks = [
        f"{side.replace('_', ' ')} peaks at "
        f"{distributions[side].values_hu[np.argmax(distributions[side].counts)]:.0f} HU"
        for side in LUNGS
        if side in distributions
    ]
    return f"Density histogram: {', '.join(peaks)}"

"""``lungperfusion ipv``: iodine perfusion, the volume-corrected score IPv, defects and CT signs."""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np

from lungperfusion.analysis.ct_signs import Clinical
from lungperfusion.analysis.iodine_measure import Given, crop_to_lungs, exclude
from lungperfusion.analysis.ipv import analyse_ipv
from lungperfusion.analysis.regions import FoundRegions, find_regions
from lungperfusion.commands.iodine_arguments import add_measure_arguments, iodine_options
from lungperfusion.commands.iodine_sources import (
    add_source_arguments,
    iodine_reader,
    measured_water_path,
)
from lungperfusion.commands.output import add_output_arguments, results_of
from lungperfusion.commands.region_arguments import add_region_arguments, region_options
from lungperfusion.commands.sign_arguments import (
    add_sign_arguments,
    function_from_arguments,
    signs_from_arguments,
)
from lungperfusion.io import LabelImage, labelmap_of, read_labelmap
from lungperfusion.progress import Progress, part
from lungperfusion.resampling import labels_on
from lungperfusion.volume import Mask


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this command."""
    add_source_arguments(parser)
    add_region_arguments(parser)
    add_measure_arguments(parser)
    add_sign_arguments(parser)
    add_output_arguments(parser)


def check_arguments(arguments: argparse.Namespace) -> None:
    """Refuse no, several or half sources of iodine before anything is read."""
    iodine_reader(arguments)


def run(arguments: argparse.Namespace, progress: Progress) -> int:
    """Read the images, find the regions, make the map, analyse it, write the results folder."""
    read = iodine_reader(arguments)
    options = iodine_options(arguments)
    clinical = Clinical(
        signs=signs_from_arguments(arguments), function=function_from_arguments(arguments)
    )
    with results_of(arguments, progress) as results:
        progress = results.progress
        images = read(arguments, part(progress, 0.0, 0.15))
        regions = region_options(arguments)
        whole = find_regions(
            images.chest,
            regions,
            acquisition=images.acquisition,
            progress=part(progress, 0.15, 0.45),
        )
        path = measured_water_path(arguments, images.hard, whole)
        found, box = crop_to_lungs(whole)
        near, hu_per_mg_ml = images.near(box), images.hu_per_mg_ml(path)
        sources, read_warnings = images.sources, images.warnings
        del whole, images  # nothing of full size beside the maps
        exclusion = exclude(near.chest, found, options, hu_per_mg_ml)
        made = near.iodine(found, path, part(progress, 0.45, 0.6))
        density = near.density
        del near
        given = {"trunk": arguments.trunk, "defects": arguments.defects}
        masks = {role: read_labelmap(path) for role, path in given.items() if path is not None}
        placed = {role: _mask_on(image, found) for role, image in masks.items()}
        analysis = analyse_ipv(
            made.iodine,
            density,
            replace(
                found,
                gates=(*found.gates, *made.gates),
                parameters={**found.parameters, "water_path": path.text},
            ),
            options=options,
            given=Given(exclusion=exclusion, **{role: mask for role, (mask, _) in placed.items()}),
            clinical=clinical,
            pictures=not arguments.no_report,
            progress=part(progress, 0.6, 1.0),
        )
        notes = (note for _, notes in placed.values() for note in notes)
        analysis = replace(
            analysis, warnings=(*read_warnings, *made.warnings, *notes, *analysis.warnings)
        )
        results.write(analysis, {**sources, **regions.sources, **masks})
    return 0


def _mask_on(image: LabelImage, found: FoundRegions) -> tuple[Mask, tuple[str, ...]]:
    """All labels of a file as a mask on the grid of the regions, with what is to be said of it."""
    labels, notes = labels_on(labelmap_of(image), found.lungs.geometry, image.name)
    return np.asarray(labels.array > 0), notes

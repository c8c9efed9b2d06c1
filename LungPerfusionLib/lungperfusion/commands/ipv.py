"""``lungperfusion ipv``: iodine perfusion, the volume-corrected score IPv, defects and CT signs."""

from __future__ import annotations

import argparse
from dataclasses import replace
from functools import partial

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
from lungperfusion.io import LabelImage, Scan, labelmap_of, read_labelmap
from lungperfusion.progress import Progress, part
from lungperfusion.resampling import resample_labelmap
from lungperfusion.threads import both
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
        path, (found, box) = both(
            partial(measured_water_path, arguments, images.hard, whole),
            partial(crop_to_lungs, whole),
        )
        del whole  # no full-sized label maps beside the maps
        made, exclusion = both(
            partial(images.iodine, found, box, path, part(progress, 0.45, 0.6)),
            partial(exclude, images.chest.crop(box), found, options, images.hu_per_mg_ml(path)),
        )
        trunk = None if arguments.trunk is None else read_labelmap(arguments.trunk)
        reviewed = None if arguments.defects is None else read_labelmap(arguments.defects)
        analysis = analyse_ipv(
            made.iodine,
            None if images.density is None else images.density.crop(box),
            replace(
                found,
                gates=(*found.gates, *made.gates),
                parameters={**found.parameters, "water_path": path.text},
            ),
            options=options,
            given=Given(
                exclusion=exclusion,
                trunk=None if trunk is None else _mask_on(trunk, found),
                defects=None if reviewed is None else _mask_on(reviewed, found),
            ),
            clinical=clinical,
            pictures=not arguments.no_report,
            progress=part(progress, 0.6, 1.0),
        )
        analysis = replace(
            analysis, warnings=(*images.warnings, *made.warnings, *analysis.warnings)
        )
        sources: dict[str, Scan | LabelImage] = {**images.sources, **regions.sources}
        if trunk is not None:
            sources["trunk"] = trunk
        if reviewed is not None:
            sources["defects"] = reviewed
        results.write(analysis, sources)
    return 0


def _mask_on(image: LabelImage, found: FoundRegions) -> Mask:
    labels = labelmap_of(image)
    return np.asarray(resample_labelmap(labels, found.lungs.geometry).array > 0)

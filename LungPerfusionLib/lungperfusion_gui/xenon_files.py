"""A folder of the open gas exchange pipeline, read in the worker: nothing of Slicer is needed."""

import json
from pathlib import Path

import numpy as np

from lungperfusion.errors import InputError
from lungperfusion.io import write_labelmap, write_volume
from lungperfusion.io.xenon.consortium import read_consortium_folder, statistics_cells
from lungperfusion.io.xenon.examination import read_examination
from lungperfusion.io.xenon.maps import Placement, placement_of
from lungperfusion.naming import named
from lungperfusion.progress import Progress, part
from lungperfusion.terms import Region
from lungperfusion.terms.xenon import MAPS, reference_at
from lungperfusion.volume import Labelmap, Volume

WORD = "xenon-folder"
"""Word that the worker knows this by, in the place of a command."""

LUNGS_FILE, FACTS_FILE = "lungs.seg.nrrd", "facts.json"


def run(words: list[str], progress: Progress) -> int:
    """Read a folder and write what the panel shows of it.

    Parameters
    ----------
    words
        Folder of the pipeline, folder to write into, field of view in mm as ``x,y,z`` and
        orientation; the last two are empty where the user gives none.
    progress
        Called throughout; may raise to cancel.

    """
    source, out, field, orientation = words
    folder = read_consortium_folder(Path(source))
    given = [float(extent) for extent in field.split(",")] if field else None
    placement = placement_of(given, orientation or None, known_mm=folder.field_mm)
    read = read_examination(folder, placement, part(progress, 0.0, 0.9))
    progress(0.9, "writing")
    grid = read.maps.geometry
    shown = {name: getattr(read.maps, name) for name in MAPS}
    shown = {name: values for name, values in shown.items() if values is not None}
    if not shown:
        raise InputError(
            f"{named(folder.files['mask'].parent.name)} holds RBC:gas as a colour image only, of "
            "which no map can be shown; lungperfusion xenon --duke reads its classes"
        )
    for name, values in shown.items():
        write_volume(Volume(values, grid, "1"), Path(out) / f"{name}.nrrd", compressed=False)
    lungs = Labelmap(read.maps.mask.view(np.uint8), grid, {1: Region.LUNGS})
    write_labelmap(lungs, Path(out) / LUNGS_FILE, compressed=False)
    frequency_ppm = folder.number("frequency_ppm")
    facts = {
        "statistics": statistics_cells(folder.statistics),
        "known": [name for name in ("age_years", "sex") if name in folder.statistics],
        "rbc_gas_made": "rbc_gas" in shown and "rbc_gas" not in folder.files,
        "rbc_gas_as_colours": read.maps.rbc_class is not None,
        "bias_corrected": read.bias_corrected,
        "reference_set": None if frequency_ppm is None else reference_at(frequency_ppm),
        "placed_by": _placed_by(placement, given),
        "field_mm": placement.field_mm,
    }
    (Path(out) / FACTS_FILE).write_text(json.dumps(facts), encoding="utf-8")
    progress(1.0, "done")
    return 0


def _placed_by(placement: Placement, given: list[float] | None) -> str:
    if placement.field_mm is None:
        return "header"
    return "statistics" if given is None else "user"

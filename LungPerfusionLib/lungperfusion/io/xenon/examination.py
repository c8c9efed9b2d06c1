"""Maps of one examination out of a folder of the open pipeline, values before colours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungperfusion.acquisition import Acquisition as Facts
from lungperfusion.errors import InputError
from lungperfusion.io.files import file_sha256
from lungperfusion.io.scan import Scan
from lungperfusion.io.xenon.consortium import ConsortiumFolder, read_colour_classes, read_matlab
from lungperfusion.io.xenon.maps import Placement, mask_of, read_xenon_map, values_of
from lungperfusion.naming import named
from lungperfusion.progress import Progress, ignore
from lungperfusion.volume import Volume
from lungperfusion.xenon.images import XenonMaps
from lungperfusion.xenon.orienting import grid_of_field
from lungperfusion.xenon.ratios import Acquisition, acquisition_factors

_VALUES = ("ventilation", "rbc_gas", "membrane_gas", "rbc_signal", "gas_signal")


@dataclass(frozen=True, eq=False, kw_only=True)
class Examination:
    """What the images of a folder come to."""

    maps: XenonMaps
    files: Mapping[str, Scan]
    """Images by role."""
    notes: tuple[str, ...] = ()
    """How maps were made that the folder does not hold as such."""
    bias_corrected: bool = False
    """Whether the ventilation map is free of the bias field of the coil."""


def read_examination(
    folder: ConsortiumFolder, placement: Placement, progress: Progress = ignore
) -> Examination:
    """Read mask, ventilation, RBC:gas and membrane:gas, as far as they are there.

    Parameters
    ----------
    folder
        As `lungperfusion.io.xenon.consortium.read_consortium_folder` found it.
    placement
        Field of view, as the statistics or the user say it.
    progress
        Called before every file; may raise to cancel.

    Raises
    ------
    InputError
        If a file cannot be read, does not say where its voxels lie, or holds no ratios.

    """
    progress(0.0, "reading the maps of the pipeline")
    if "matlab" in folder.files and not {"rbc_gas", "membrane_gas"} <= set(folder.files):
        return _from_matlab(folder.files["matlab"], placement)
    files = {"xenon_mask": read_xenon_map(folder.files["mask"], placement)}
    grid = files["xenon_mask"].volume.geometry
    arrays: dict[str, Any] = {}
    for number, name in enumerate(_VALUES, start=1):
        progress(number / (len(_VALUES) + 1), "reading the maps of the pipeline")
        if name in folder.files:
            scan = read_xenon_map(folder.files[name], placement)
            arrays[name] = np.nan_to_num(values_of(scan, grid, name.replace("_", " ")))
            files[f"xenon_{name}"] = scan
    notes: list[str] = []
    rbc, gas = arrays.pop("rbc_signal", None), arrays.pop("gas_signal", None)
    if "rbc_gas" not in arrays and rbc is not None and gas is not None:
        arrays["rbc_gas"] = _ratio_of_signals(folder, rbc, gas)
        notes.append("RBC:gas was made from the signals of red cells and gas of the pipeline.")
    if "rbc_gas" not in arrays and "rbc_colours" in folder.files:
        colours = read_colour_classes(folder.files["rbc_colours"])
        arrays["rbc_class"] = colours.classes
        notes.append(
            "RBC:gas was read from the pipeline's colour image: its classes only, "
            f"{100 * colours.unreadable_share:.1f} % of the coloured voxels could not be told."
        )
    return Examination(
        maps=XenonMaps(mask=mask_of(files["xenon_mask"]), geometry=grid, **arrays),
        files=files,
        notes=tuple(notes),
        bias_corrected="matlab" in folder.files,
    )


def _ratio_of_signals(
    folder: ConsortiumFolder, rbc: NDArray[np.float32], gas: NDArray[np.float32]
) -> NDArray[np.float32]:
    numbers = [
        folder.number(name)
        for name in ("gas_flip_degrees", "dissolved_flip_degrees", "echo_time_us")
    ]
    if None in numbers:
        raise InputError(
            "the folder holds signals of red cells and gas but no statistics with flip angles and "
            "echo time (fa_gas, fa_dis, te90): give them with --stats"
        )
    acquisition = Acquisition(
        gas_flip_degrees=float(numbers[0] or 0),
        dissolved_flip_degrees=float(numbers[1] or 0),
        echo_time_ms=float(numbers[2] or 0) / 1000,
        field_t=folder.number("field_t") or 3.0,
    )
    factor = acquisition_factors(acquisition, rounded=True).rbc
    out = np.zeros_like(rbc)
    np.divide(rbc * np.float32(factor), gas, out=out, where=gas > 0)
    return out


def _from_matlab(path: Path, placement: Placement) -> Examination:
    arrays = read_matlab(path)
    if placement.field_mm is None:
        raise InputError(
            f"{named(path.name)} does not say how large its voxels are; give --fov-mm X Y Z"
        )
    if "mask" not in arrays:
        raise InputError(f"{named(path.name)} holds no mask of the lungs")
    shape = arrays["mask"].shape
    grid = grid_of_field(shape, placement.field_mm, placement.orientation)
    mask = Volume(arrays.pop("mask").astype(np.float32), grid, "1")
    scan = Scan(mask, Facts(), named(path.name), file_sha256(path))
    values: dict[str, Any] = {name: array.astype(np.float32) for name, array in arrays.items()}
    return Examination(
        maps=XenonMaps(mask=mask_of(scan), geometry=grid, **values),
        files={"xenon_mask": scan},
        bias_corrected=True,
    )

"""Maps of a xenon MRI out of options: files, a folder of the open pipeline, or complex images."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from lungperfusion.analysis.xenon import Background
from lungperfusion.cohort.reading import read_clinical
from lungperfusion.commands.ctvq import read_landmarks
from lungperfusion.errors import InputError
from lungperfusion.io import Scan
from lungperfusion.io.json_files import read_json
from lungperfusion.io.xenon.consortium import (
    ConsortiumFolder,
    read_consortium_folder,
    read_statistics,
)
from lungperfusion.io.xenon.examination import read_examination
from lungperfusion.io.xenon.maps import (
    Placement,
    mask_of,
    placement_of,
    read_complex,
    read_xenon_map,
    read_xenon_mask,
    values_of,
)
from lungperfusion.io.xenon.mrd import MrdHeader, read_mrd_header
from lungperfusion.naming import named
from lungperfusion.quality import Gate
from lungperfusion.results.analysis import Analysis, Table
from lungperfusion.terms import Region
from lungperfusion.terms.xenon import MAPS, REFERENCE_SETS, ReferenceSet, reference_at
from lungperfusion.volume import Volume
from lungperfusion.xenon.classes import Sex
from lungperfusion.xenon.dixon import separate
from lungperfusion.xenon.images import XenonMaps
from lungperfusion.xenon.joining import Points
from lungperfusion.xenon.orienting import CORONAL, orientation_code
from lungperfusion.xenon.ratios import Acquisition, acquisition_factors

STATISTICS_TOLERANCE = 0.05
"""A mean may differ from the pipeline's own statistics by this share of it."""

_SEXES: Mapping[str, Sex] = {"m": "male", "male": "male", "f": "female", "female": "female"}


def add_source_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options on maps, their grid and how they came about."""
    group = parser.add_argument_group("xenon MRI")
    for name, words in (
        ("rbc-gas", "RBC:gas as a fraction"),
        ("membrane-gas", "membrane:gas as a fraction"),
        ("ventilation", "signal of the gas, or a ventilation image"),
        ("mask", "lungs (thoracic cavity) on the grid of the maps"),
    ):
        group.add_argument(f"--{name}", type=Path, metavar="MAP", help=words)
    group.add_argument(
        "--duke",
        type=Path,
        metavar="FOLDER",
        help="output of the open pipeline of the 129Xe MRI Clinical Trials Consortium, instead of "
        "single maps",
    )
    group.add_argument("--stats", type=Path, metavar="CSV", help="statistics of that pipeline")
    group.add_argument(
        "--fov-mm",
        type=float,
        nargs=3,
        metavar=("X", "Y", "Z"),
        help="field of view along the first, second and third axis of files whose header is broken",
    )
    group.add_argument(
        "--orientation",
        metavar="NAME",
        help=f"with a field of view: coronal ({CORONAL}), axial, sagittal or three letters for "
        "where the axes grow to (default: coronal)",
    )
    group.add_argument(
        "--mrd", type=Path, metavar="FILE", help="MRD file to take field of view and flips from"
    )
    dixon = parser.add_argument_group("1-point Dixon, instead of ratio maps")
    for name, words in (("gas", "gas"), ("dissolved", "dissolved xenon")):
        dixon.add_argument(
            f"--{name}-image",
            type=Path,
            nargs="+",
            metavar="FILE",
            help=f"complex image of {words}: one file, or real and imaginary part; of DICOM "
            "also magnitude and phase",
        )
    dixon.add_argument(
        "--rbc-membrane", type=float, metavar="RATIO", help="RBC:membrane of the spectrum"
    )
    dixon.add_argument(
        "--dixon-order",
        choices=("field-first", "rotation-first"),
        default="field-first",
        help="field-first is exact, rotation-first is that of the open pipeline (default: "
        "%(default)s)",
    )
    dixon.add_argument(
        "--flip-degrees", type=float, nargs=2, metavar=("GAS", "DISSOLVED"), help="flip angles"
    )
    dixon.add_argument("--echo-time-ms", type=float, metavar="MS")
    dixon.add_argument("--field-t", type=float, metavar="T", help="field strength (default: 3)")
    dixon.add_argument(
        "--rounded-flip",
        action="store_true",
        help="round the ratio of the flip angles to three decimals, as the open pipeline does",
    )
    patient = parser.add_argument_group("patient and corrections")
    patient.add_argument(
        "--clinical",
        type=Path,
        metavar="CSV",
        help="table with case and, where known, age_years, sex, hb_g_dl, dlco_pct (TLco), kco_pct; "
        "of several cases that of --case",
    )
    patient.add_argument(
        "--wanted-volume-l",
        type=float,
        metavar="L",
        help="bring the ratios to this lung volume (default: leave them)",
    )
    patient.add_argument(
        "--points",
        type=Path,
        nargs=2,
        metavar=("MRI", "CT"),
        help="markups (.mrk.json) of corresponding points that steer the join",
    )


def check_sources(arguments: argparse.Namespace) -> None:
    """Refuse options that exclude or need each other.

    Raises
    ------
    InputError
        Saying which.

    """
    single = [name for name in (*MAPS, "mask") if getattr(arguments, name) is not None]
    images = [getattr(arguments, f"{name}_image") for name in ("gas", "dissolved")]
    complex_given = [image for image in images if image is not None]
    if arguments.duke is not None:
        if single or complex_given:
            raise InputError("give either --duke or single images of the xenon MRI, not both")
    elif arguments.mask is None:
        raise InputError("the xenon MRI needs --mask with its maps, or --duke FOLDER")
    elif len(single) == 1 and not complex_given:
        raise InputError(
            "no map of the xenon MRI was given: expected --rbc-gas, --membrane-gas, --ventilation, "
            "or --gas-image with --dissolved-image"
        )
    if complex_given:
        _check_dixon(arguments, images)
    if arguments.orientation is not None:
        orientation_code(arguments.orientation)
    if arguments.wanted_volume_l is not None and not 0.5 <= arguments.wanted_volume_l <= 15:
        raise InputError(
            f"--wanted-volume-l is a lung volume in L, not {arguments.wanted_volume_l:g}"
        )


def _check_dixon(arguments: argparse.Namespace, images: list[list[Path] | None]) -> None:
    if None in images or arguments.rbc_membrane is None:
        raise InputError("the Dixon step needs --gas-image, --dissolved-image and --rbc-membrane")
    if any(len(image) > 2 for image in images if image is not None):
        raise InputError("a complex image is one file, or two with real and imaginary part")
    if arguments.rbc_gas is not None or arguments.membrane_gas is not None:
        raise InputError("ratio maps are given or made by the Dixon step, not both")
    known = arguments.flip_degrees is not None and arguments.echo_time_ms is not None
    if not known and arguments.mrd is None:
        raise InputError(
            "ratios of signals need --flip-degrees and --echo-time-ms, or --mrd with both"
        )


@dataclass(frozen=True, kw_only=True)
class Sources:
    """A xenon MRI as it was read."""

    maps: XenonMaps
    files: Mapping[str, Scan]
    """Images by role."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    bias_corrected: bool = True
    haemoglobin_applied: bool = False
    frequency_ppm: float | None = None
    folder: ConsortiumFolder | None = None

    def known(self, given: Background) -> dict[str, Any]:
        """Age and sex that the pipeline knows and the clinical table does not."""
        if self.folder is None:
            return {}
        out: dict[str, Any] = {}
        if given.age_years is None and (age := self.folder.number("age_years")) is not None:
            out["age_years"] = age
        sex = _SEXES.get(str(self.folder.statistics.get("sex", "")).lower())
        if given.sex is None and sex is not None:
            out["sex"] = sex
        return out

    @property
    def tables(self) -> dict[str, Table]:
        """Statistics of the pipeline, as it wrote them."""
        if self.folder is None or not self.folder.statistics:
            return {}
        rows = tuple({"name": k, "value": v} for k, v in self.folder.statistics.items())
        kept = tuple(row for row in rows if row["name"] not in ("age_years", "sex"))
        return {"pipeline_statistics": Table(("name", "value"), kept)}

    def gates(self, analysis: Analysis) -> tuple[Gate, ...]:
        """Compare with the statistics of the pipeline, where both have a mean."""
        if self.folder is None:
            return ()
        values = {m.measure: m.value for m in analysis.measurements if m.region == Region.LUNGS}
        off = {}
        for name, measure in (("rbc_mean", "xe_rbc_gas"), ("membrane_mean", "xe_membrane_gas")):
            theirs, ours = self.folder.number(name), values.get(measure, math.nan)
            if theirs and math.isfinite(ours):
                percent = 100 * theirs if theirs < 0.1 else theirs
                off[measure] = ours / percent - 1
        if not off:
            return ()
        worst = max(off.values(), key=abs)
        words = ", ".join(
            f"{title_words(name)} {100 * share:+.1f} %" for name, share in off.items()
        )
        return (
            Gate(
                id="xenon_statistics",
                verdict="pass" if abs(worst) <= STATISTICS_TOLERANCE else "warn",
                message=f"Means against those that the pipeline wrote: {words}.",
                value=100 * worst,
                unit="%",
                limit=f"within {100 * STATISTICS_TOLERANCE:g} %",
            ),
        )


def title_words(measure: str) -> str:
    """Short words for a measure of the pipeline."""
    return "RBC:gas" if measure == "xe_rbc_gas" else "membrane:gas"


def read_sources(arguments: argparse.Namespace, background: Background) -> Sources:
    """Read the images that the options name."""
    header = MrdHeader() if arguments.mrd is None else read_mrd_header(arguments.mrd)
    if arguments.duke is not None:
        return _from_folder(arguments, header)
    placement = _placement(arguments, header.field_mm)
    mask = read_xenon_mask(arguments.mask, placement)
    if arguments.gas_image is not None:
        return _from_complex(arguments, placement, header, mask)
    given = {name: getattr(arguments, name) for name in MAPS}
    scans = {
        name: read_xenon_map(path, placement) for name, path in given.items() if path is not None
    }
    grid = next(iter(scans.values())).volume.geometry
    arrays: dict[str, Any] = {
        name: values_of(scan, grid, name.replace("_", ":")) for name, scan in scans.items()
    }
    files = {"xenon_mask": mask, **{f"xenon_{name}": scan for name, scan in scans.items()}}
    ventilation = arrays.pop("ventilation", None)
    statistics = _statistics(arguments)
    return Sources(
        maps=XenonMaps(
            mask=mask_of(mask, grid),
            geometry=grid,
            ventilation=None if ventilation is None else np.nan_to_num(ventilation),
            **arrays,
        ),
        files=files,
        parameters=_placed(placement),
        warnings=_said(files),
        frequency_ppm=header.frequency_ppm,
        folder=statistics,
        haemoglobin_applied=statistics is not None and statistics.haemoglobin_applied,
    )


def _said(files: Mapping[str, Scan]) -> tuple[str, ...]:
    """Say what was done on reading DICOM images; other files say it where it matters."""
    return tuple(
        f"{role.removeprefix('xenon_').replace('_', ' ')}: {note}"
        for role, scan in files.items()
        if scan.acquisition.modality == "MR"
        for note in scan.warnings
    )


def _statistics(arguments: argparse.Namespace) -> ConsortiumFolder | None:
    if arguments.stats is None:
        return None
    statistics, unknown = read_statistics(arguments.stats)
    return ConsortiumFolder(files={}, statistics=statistics, unknown_columns=unknown)


def _placement(
    arguments: argparse.Namespace, known: tuple[float, float, float] | None
) -> Placement:
    return placement_of(arguments.fov_mm, arguments.orientation, known_mm=known)


def _placed(placement: Placement) -> dict[str, Any]:
    if placement.field_mm is None:
        return {"grid": "of the header"}
    return {"grid": "field of view", "field_mm": list(placement.field_mm)} | {
        "orientation": placement.orientation
    }


def _from_complex(
    arguments: argparse.Namespace, placement: Placement, header: MrdHeader, mask: Scan
) -> Sources:
    """Make the ratios out of complex images of gas and dissolved xenon."""
    gas, dissolved = (
        read_complex(paths, placement) for paths in (arguments.gas_image, arguments.dissolved_image)
    )
    files = {"xenon_mask": mask}
    grid = gas.volume.geometry
    inside = mask_of(mask, grid)
    grid.require_same(dissolved.volume.geometry, what="gas and dissolved image of the xenon MRI")
    order = arguments.dixon_order.replace("-", "_")
    parted = separate(
        gas.volume.array, dissolved.volume.array, inside, arguments.rbc_membrane, order=order
    )
    signal = np.abs(gas.volume.array).astype(np.float32)
    ventilation = signal
    if arguments.ventilation is not None:
        scan = read_xenon_map(arguments.ventilation, placement)
        ventilation = np.nan_to_num(values_of(scan, grid, "ventilation"))
        files["xenon_ventilation"] = scan
    acquisition = _acquisition(arguments, header)
    factors = acquisition_factors(acquisition, rounded=arguments.rounded_flip)
    ratios = [
        np.divide(part * factor, signal, out=np.full(signal.shape, np.nan), where=signal > 0)
        for part, factor in ((parted.rbc, factors.rbc), (parted.membrane, factors.membrane))
    ]
    for role, scan in (("xenon_gas", gas), ("xenon_dissolved", dissolved)):
        files[role] = replace(
            scan, volume=Volume(np.abs(scan.volume.array), scan.volume.geometry, "1")
        )
    return Sources(
        maps=XenonMaps(
            mask=inside,
            geometry=grid,
            ventilation=ventilation,
            rbc_gas=ratios[0].astype(np.float32),
            membrane_gas=ratios[1].astype(np.float32),
        ),
        files=files,
        parameters=_placed(placement)
        | {
            "dixon_order": order,
            "spectrum_rbc_membrane": arguments.rbc_membrane,
            "flip_degrees": [acquisition.gas_flip_degrees, acquisition.dissolved_flip_degrees],
            "echo_time_ms": acquisition.echo_time_ms,
            "field_t": acquisition.field_t,
            "acquisition_factors": {k: list(pair) for k, pair in factors.applied.items()},
        },
        warnings=_said(files),
        bias_corrected=arguments.ventilation is not None,
        frequency_ppm=header.frequency_ppm,
    )


def _acquisition(arguments: argparse.Namespace, header: MrdHeader) -> Acquisition:
    gas, dissolved = arguments.flip_degrees or (
        header.gas_flip_degrees,
        header.dissolved_flip_degrees,
    )
    echo = header.echo_time_ms if arguments.echo_time_ms is None else arguments.echo_time_ms
    if gas is None or dissolved is None or echo is None:
        raise InputError("the MRD file does not say flip angles and echo time; give them")
    return Acquisition(
        gas_flip_degrees=float(gas),
        dissolved_flip_degrees=float(dissolved),
        echo_time_ms=float(echo),
        field_t=float(arguments.field_t or header.field_t or 3.0),
    )


def _from_folder(arguments: argparse.Namespace, header: MrdHeader) -> Sources:
    """Take what a folder of the open pipeline holds."""
    folder = read_consortium_folder(arguments.duke)
    if arguments.stats is not None:
        statistics, unknown = read_statistics(arguments.stats)
        folder = replace(folder, statistics=statistics, unknown_columns=unknown)
    placement = _placement(arguments, header.field_mm or folder.field_mm)
    read = read_examination(folder, placement)
    return Sources(
        maps=read.maps,
        files=read.files,
        parameters=_placed(placement) | {"unknown_columns": list(folder.unknown_columns)},
        warnings=read.notes,
        bias_corrected=read.bias_corrected,
        haemoglobin_applied=folder.haemoglobin_applied,
        frequency_ppm=folder.number("frequency_ppm"),
        folder=folder,
    )


# -------------------------------------------------------------------- reference set and patient


def reference_of(arguments: argparse.Namespace, frequency_ppm: float | None) -> ReferenceSet:
    """Choose the reference set by file, by option, or by the frequency that the pipeline says."""
    if arguments.reference_file is not None:
        if arguments.reference_set is not None:
            raise InputError("give either --reference-set or --reference-file, not both")
        return read_reference_set(arguments.reference_file)
    if arguments.reference_set is not None:
        return REFERENCE_SETS[arguments.reference_set]
    return REFERENCE_SETS[reference_at(frequency_ppm)]


def read_reference_set(path: Path) -> ReferenceSet:
    """Read a reference set of one's own.

    Raises
    ------
    InputError
        If limits are missing, not rising, or of another number.

    """
    record = read_json(path, "a reference set")
    if not isinstance(record, dict):
        raise InputError(f"{named(path.name)} is no reference set: expected an object of JSON")
    standard = REFERENCE_SETS["218"]
    ventilation = standard.ventilation
    if "ventilation" in record:
        limits = _limits(path, record, "ventilation", 5)
        ventilation = dict.fromkeys(ventilation, limits)
    spread = _numbers(path, record, "rbc_membrane", 2)
    if spread[1] <= 0:
        raise InputError(f"{named(path.name)}: the SD of rbc_membrane must be above 0")
    means = _numbers(path, record, "healthy_means", 2) if "healthy_means" in record else (0.0, 0.0)
    return ReferenceSet(
        name=str(record.get("name", "reference set of a file")),
        rbc_gas=_limits(path, record, "rbc_gas", 5),
        membrane_gas=_limits(path, record, "membrane_gas", 7),
        ventilation=ventilation,
        rbc_membrane=(spread[0], spread[1]),
        source=str(record.get("source", "given as a file")),
        healthy_means=(means[0], means[1]),
    )


def _limits(path: Path, record: dict[str, Any], name: str, count: int) -> tuple[float, ...]:
    limits = _numbers(path, record, name, count)
    if any(after <= before for before, after in pairwise(limits)):
        raise InputError(f"{named(path.name)}: the limits of {name} must rise")
    return limits


def _numbers(path: Path, record: dict[str, Any], name: str, count: int) -> tuple[float, ...]:
    given = record.get(name)
    sound = isinstance(given, list) and all(
        isinstance(value, int | float) and math.isfinite(value) for value in given
    )
    if not sound or len(given or ()) != count:
        raise InputError(f"{named(path.name)}: {name} is expected as a list of {count} numbers")
    assert isinstance(given, list)
    return tuple(float(value) for value in given)


def background_of(arguments: argparse.Namespace) -> Background:
    """Age, sex, haemoglobin and lung function of the case."""
    if arguments.clinical is None:
        return Background()
    table = read_clinical(arguments.clinical)
    name = arguments.case
    if name is None and len(table.rows) == 1:
        (name,) = table.rows
    if name not in table.rows:
        raise InputError(
            f"{named(arguments.clinical.name)} has {len(table.rows)} cases; say with --case which "
            f"one, as in its column case{'' if name is None else f' ({name!r} is not there)'}"
        )
    row = table.rows[name]
    sex = row.get("sex")
    if isinstance(sex, str) and sex and sex.strip().lower() not in _SEXES:
        raise InputError(
            f"{named(arguments.clinical.name)}: sex is expected as male or female, not {sex!r}"
        )
    return Background(
        age_years=_known(row, "age_years"),
        sex=_SEXES[sex.strip().lower()] if isinstance(sex, str) and sex else None,
        haemoglobin_g_dl=_known(row, "hb_g_dl"),
        dlco_percent=_known(row, "dlco_pct"),
        kco_percent=_known(row, "kco_pct"),
    )


def _known(row: Mapping[str, float | str], name: str) -> float | None:
    value = row.get(name)
    return value if isinstance(value, float) and math.isfinite(value) else None


def points_of(arguments: argparse.Namespace) -> tuple[Points, Points] | None:
    """Read the corresponding points of a reader."""
    if arguments.points is None:
        return None
    mri, ct = (read_landmarks(path) for path in arguments.points)
    if len(mri) != len(ct):
        raise InputError(
            f"--points needs as many points on MRI as on CT, not {len(mri)} and {len(ct)}"
        )
    return mri, ct

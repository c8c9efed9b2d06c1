"""Where iodine comes from: a vendor's map, a dual-energy pair, or two CTs to subtract."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungperfusion.acquisition import Acquisition
from lungperfusion.analysis.image_pair import separate_pair
from lungperfusion.analysis.iodine_measure import PRESETS
from lungperfusion.analysis.regions import FoundRegions, RegionOptions, find_regions
from lungperfusion.analysis.stages import remembered
from lungperfusion.analysis.subtraction import register_and_subtract
from lungperfusion.errors import InputError
from lungperfusion.io import LabelImage, Scan, Source, read_ct, read_labelmap, read_map
from lungperfusion.io.dicom.units import UNSPECIFIED, stated_unit
from lungperfusion.iodine.calibration import (
    DEFAULT_WATER_PATH_CM,
    REFERENCE_HU_PER_MG_ML,
    VOLTAGES,
    SpectralPair,
    beam,
    spectral_pair,
)
from lungperfusion.iodine.cut_outs import coverage, without_marks
from lungperfusion.iodine.decomposition import DEFAULT_MODEL, IodineMap, iodine_from_vendor_map
from lungperfusion.iodine.patient_size import water_path_cm
from lungperfusion.naming import named
from lungperfusion.progress import Progress, part
from lungperfusion.quality import Gate
from lungperfusion.resampling import resample_array, resample_known, resample_volume
from lungperfusion.terms import Region
from lungperfusion.threads import both
from lungperfusion.volume import Box, Volume


def add_source_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options on the images that iodine is taken from and how they were made."""
    source = parser.add_argument_group("iodine, from one of")
    source.add_argument("--iodine", type=Path, metavar="MAP", help="vendor's iodine or PBV map")
    source.add_argument("--low", type=Path, metavar="CT", help="low-voltage image of a pair")
    source.add_argument("--high", type=Path, metavar="CT", help="high-voltage image of a pair")
    source.add_argument("--contrast", type=Path, metavar="CT", help="CT with contrast ...")
    source.add_argument("--native", type=Path, metavar="CT", help="... and without, to subtract")
    source.add_argument(
        "--native-lung-mask",
        type=Path,
        metavar="LABELMAP",
        help="lungs of the --native CT, instead of segmenting them",
    )
    detail = parser.add_argument_group("about the source")
    detail.add_argument("--ct", type=Path, metavar="CT", help="CT that goes with --iodine")
    detail.add_argument(
        "--iodine-unit",
        choices=("mg/mL", "HU"),
        help="unit of --iodine; read from DICOM if left out, never guessed",
    )
    detail.add_argument(
        "--iodine-slope",
        type=float,
        default=1.0,
        metavar="X",
        help="iodine = X * stored value + offset (default: %(default)s)",
    )
    detail.add_argument("--iodine-offset", type=float, default=0.0, metavar="X")
    detail.add_argument(
        "--kv",
        nargs="+",
        metavar="KV",
        help="tube voltages: LOW HIGH of a pair, one of --iodine in HU or of --contrast; of "
        f"{', '.join(VOLTAGES)}; read from DICOM if left out",
    )
    detail.add_argument(
        "--sensitivity",
        nargs="+",
        type=float,
        metavar="K",
        help="own calibration instead of the table: HU per mg/mL of LOW and HIGH, or of the one "
        "voltage",
    )
    detail.add_argument(
        "--iodine-ratio", type=float, metavar="R", help="own ratio K_LOW / K_HIGH of a pair"
    )
    detail.add_argument(
        "--soft-tissue-hu",
        nargs=2,
        type=float,
        metavar=("LOW", "HIGH"),
        help="own CT numbers of airless lung without iodine in both images of a pair",
    )
    detail.add_argument(
        "--self-calibrate",
        action="store_true",
        help="take the ratio from enhanced blood around the pulmonary trunk of this pair",
    )
    detail.add_argument(
        "--water-path-cm",
        type=float,
        metavar="CM",
        help="water-equivalent path of the beam; measured in the image if left out",
    )
    detail.add_argument(
        "--iodine-hu-per-mg-ml",
        type=float,
        default=REFERENCE_HU_PER_MG_ML,
        metavar="K",
        help="k_ref: HU of enhancement per mg/mL that HU stands for (default: %(default)s)",
    )
    detail.add_argument(
        "--model",
        choices=("three-material", "two-material"),
        default=DEFAULT_MODEL,
        help="decomposition (default: %(default)s)",
    )
    detail.add_argument(
        "--preset",
        choices=PRESETS,
        help="settings of a vendor's application as far as published; options given win",
    )


@dataclass(frozen=True, slots=True)
class WaterPath:
    """Water path of the beam and how it is known."""

    cm: float
    text: str


ASSUMED_PATH = WaterPath(DEFAULT_WATER_PATH_CM, "assumed")


@dataclass(frozen=True, eq=False, kw_only=True)
class MadeIodine:
    """An iodine map and what there is to say about it."""

    iodine: IodineMap
    warnings: tuple[str, ...] = ()
    gates: tuple[Gate, ...] = ()


@dataclass(frozen=True, eq=False, kw_only=True)
class NearLungs:
    """Copies of images near the lungs, and how to make the iodine map of them."""

    chest: Volume
    """Image to find vessels in."""
    density: Volume | None
    """CT whose density is reported; None takes the virtual native image."""
    iodine: Callable[[FoundRegions, WaterPath, Progress], MadeIodine]


@dataclass(frozen=True, eq=False, kw_only=True)
class Images:
    """What was read, and how to cut it out once the lungs are known."""

    chest: Volume
    """Image to find the lungs in."""
    hard: Volume
    """Image of the hardest beam, to measure the patient's size in."""
    near: Callable[[Box], NearLungs]
    """Copies what is needed of the images, which can be forgotten then."""
    hu_per_mg_ml: Callable[[WaterPath], float]
    """Sensitivity of ``chest`` to iodine."""
    acquisition: Acquisition
    sources: Mapping[str, Source | LabelImage]
    warnings: tuple[str, ...] = ()


def measured_water_path(
    arguments: argparse.Namespace, image: Volume, found: FoundRegions
) -> WaterPath:
    """Water path of the beam: as given, by the preset, or measured in the image."""
    if arguments.water_path_cm is not None:
        if not arguments.water_path_cm > 0:
            raise InputError(f"the water path is above 0 cm, not {arguments.water_path_cm:g}")
        return WaterPath(arguments.water_path_cm, f"{arguments.water_path_cm:.1f} cm as given")
    if arguments.preset == "lung-pbv-like":
        return WaterPath(DEFAULT_WATER_PATH_CM, f"{DEFAULT_WATER_PATH_CM:g} cm by the preset")
    measured_cm = water_path_cm(image, found.regions.mask(Region.LUNGS))
    if isinstance(measured_cm, str):
        text = f"{DEFAULT_WATER_PATH_CM:g} cm assumed: {measured_cm}"
        return WaterPath(DEFAULT_WATER_PATH_CM, text)
    return WaterPath(measured_cm, f"{measured_cm:.1f} cm measured in the lungs")


def iodine_reader(
    arguments: argparse.Namespace,
) -> Callable[[argparse.Namespace, Progress], Images]:
    """Choose the source of iodine from the options given; refuse none, several or half ones."""
    given = {
        "--iodine with --ct": (arguments.iodine, arguments.ct),
        "--low with --high": (arguments.low, arguments.high),
        "--contrast with --native": (arguments.contrast, arguments.native),
    }
    readers = (_read_vendor_map, _read_pair, _read_subtraction)
    used = [name for name, paths in given.items() if any(path is not None for path in paths)]
    if len(used) != 1:
        raise InputError(
            "iodine comes from exactly one source, "
            f"{' or '.join(given)}; given: {', '.join(used) or 'none'}"
        )
    if None in given[used[0]]:
        raise InputError(f"{used[0]}: both are needed; give the missing one")
    only_pair = {
        "--iodine-ratio": arguments.iodine_ratio is not None,
        "--soft-tissue-hu": arguments.soft_tissue_hu is not None,
        "--self-calibrate": arguments.self_calibrate,
    }
    if arguments.native_lung_mask is not None and arguments.native is None:
        raise InputError("--native-lung-mask belongs to --native; leave it out")
    wrong = [name for name, there in only_pair.items() if there and arguments.low is None]
    if wrong:
        raise InputError(f"{wrong[0]} belongs to a pair of --low and --high; leave it out")
    if arguments.iodine_ratio is not None and arguments.self_calibrate:
        raise InputError("give --iodine-ratio or --self-calibrate, not both")
    return readers[list(given).index(used[0])]


def _read_vendor_map(arguments: argparse.Namespace, progress: Progress) -> Images:
    ct = read_ct(arguments.ct, progress=part(progress, 0.0, 0.5))
    scan = _read_in_its_unit(arguments, part(progress, 0.5, 1.0))
    in_hu, facts = scan.volume.unit == "HU", scan.acquisition
    stored = scan.volume
    values = stored.array * np.float32(arguments.iodine_slope)
    values += np.float32(arguments.iodine_offset)
    scaled = stored.with_array(values)
    resampled = not stored.geometry.same_as(ct.volume.geometry)

    def iodine(own: Volume, found: FoundRegions, path: WaterPath, __: Progress) -> MadeIodine:
        sensitivity, doubt = arguments.iodine_hu_per_mg_ml, ""
        if in_hu and (arguments.kv or arguments.sensitivity):
            sensitivity = _one_sensitivity(arguments, facts, path)
        elif in_hu:
            doubt = (
                f"the map's own HU per mg/mL were not stated (--kv, --sensitivity) and taken as "
                f"{sensitivity:.4g}"
            )
        target, lungs = found.regions.geometry, found.regions.mask(Region.LUNGS)
        on_map = resample_array(lungs, target, own.geometry, interpolation="nearest", fill=0)
        image, gates = without_marks(own, on_map)
        image = resample_known(image, target)
        made = iodine_from_vendor_map(
            image, unit="HU" if in_hu else "mg/mL", hu_per_mg_ml=sensitivity
        )
        k_ref = arguments.iodine_hu_per_mg_ml
        method = made.method
        if sensitivity != k_ref:
            method = (
                f"vendor map in HU at {sensitivity:.4g} HU per mg/mL, "
                f"k_ref {k_ref:.4g} HU per mg/mL"
            )
        made = replace(made, hu_per_mg_ml=k_ref, method=method, concentration_doubt=doubt)
        return MadeIodine(iodine=made, gates=(coverage(image.valid, lungs), *gates))

    def near(box: Box) -> NearLungs:
        chest = ct.volume.cut_out(box)
        own = scaled if resampled else scaled.cut_out(box)
        return NearLungs(chest=chest, density=chest, iodine=partial(iodine, own))

    return Images(
        chest=ct.volume,
        hard=ct.volume,
        near=near,
        hu_per_mg_ml=partial(_sensitivity_of_ct, ct.acquisition),
        acquisition=ct.acquisition,
        sources={"ct": ct.source, "iodine": scan.source},
        warnings=_resampled("iodine map", "the CT") if resampled else (),
    )


def _read_in_its_unit(arguments: argparse.Namespace, progress: Progress) -> Scan:
    """Read a map in the unit given, else in that which its DICOM header states."""
    path, unit = arguments.iodine, arguments.iodine_unit
    if unit is not None:
        scan = read_map(path, unit=unit, progress=progress)
        _require_iodine(scan)
        if _stated_factor(scan) != 1:
            raise InputError(
                f"--iodine-unit says {unit}, the header of {scan.name} says "
                f"{scan.acquisition.rescale_unit}; leave --iodine-unit out and the map is converted"
            )
        return scan
    scan = _read_in_the_stated_unit(path, progress)
    rescaled = arguments.iodine_slope != 1 or arguments.iodine_offset != 0
    if rescaled and _stated_factor(scan) != 1:
        raise InputError(
            f"{scan.name} is converted from {scan.acquisition.rescale_unit}, as its header says; "
            "leave --iodine-slope and --iodine-offset out, or state what they lead to with "
            "--iodine-unit in a file without that header"
        )
    return scan


def _read_in_the_stated_unit(path: Path, progress: Progress) -> Scan:
    refused: InputError | None = None
    for candidate in ("mg/mL", "HU"):
        try:
            scan = read_map(path, unit=candidate, progress=progress)
        except InputError as error:
            refused = error
            continue
        _require_iodine(scan)
        if (scan.acquisition.rescale_unit or "") in UNSPECIFIED:
            raise InputError(
                f"{scan.name} does not state the unit of its iodine, and it is not guessed; give "
                "--iodine-unit mg/mL or HU"
            )
        return scan
    assert refused is not None
    raise refused


def _stated_factor(scan: Scan) -> float:
    """Tell what the reader multiplied the values with, by the unit in the header."""
    stated = stated_unit(scan.acquisition.rescale_unit or "")
    return 1.0 if stated is None else stated.factor


def _require_iodine(scan: Scan) -> None:
    """Refuse what its header calls another quantity than iodine."""
    unit, types = scan.acquisition.rescale_unit or "", " ".join(scan.acquisition.image_type)
    quantity = NO_IODINE.get(unit)
    words = f"{types} {scan.identifiers.get('SeriesDescription', '')}"
    if quantity is None and re.search(NO_IODINE_WORDS, words, re.IGNORECASE):
        quantity = "effective atomic number or electron density"
    if quantity is None and unit not in UNSPECIFIED and stated_unit(unit) is None:
        quantity = f"something in {named(unit)}"
    if quantity is not None:
        raise InputError(
            f"{scan.name} holds {quantity} by its header, no iodine; give the map of iodine in "
            "mg/mL, a multiple of it, or HU"
        )


NO_IODINE = {
    "Z_EFF": "effective atomic numbers",
    "ED": "electron densities",
    "EDW": "electron densities",
    "OD": "optical densities",
}
"""DICOM Rescale Types (PS3.3 C.11.1.1.2) of other quantities."""

NO_IODINE_WORDS = r"z.?eff|eff\w*.?(z\b|atomic)|electron.?dens|\brho\b|\brho.?z"
"""Words of Image Type (PS3.3 C.8.15.3.1.4) and series description that name such maps."""


def _read_pair(arguments: argparse.Namespace, progress: Progress) -> Images:
    if arguments.kv is not None:  # refuse before anything is read
        _pair(arguments, _voltages(arguments, (Acquisition(), Acquisition())), ASSUMED_PATH)
    low, high = _read_two(arguments.low, arguments.high, progress)
    _require_order(low.acquisition, high.acquisition)
    voltages = _voltages(arguments, (low.acquisition, high.acquisition))
    _pair(arguments, voltages, ASSUMED_PATH)
    high_volume, warnings = _onto(high.volume, low.volume, "high-voltage image", "the low one")

    def iodine(
        images: tuple[Volume, Volume], found: FoundRegions, path: WaterPath, progress: Progress
    ) -> MadeIodine:
        made, gates, notes = remembered(
            separate_pair,
            *images,
            found.lungs,
            _pair(arguments, voltages, path),
            model=arguments.model,
            self_calibrate=arguments.self_calibrate,
            voltages=None if arguments.sensitivity else (voltages[0], voltages[1]),
            progress=progress,
        )
        return MadeIodine(iodine=made, warnings=notes, gates=gates)

    def near(box: Box) -> NearLungs:
        first, second = low.volume.cut_out(box), high_volume.cut_out(box)
        chest = first.with_array(_mixed(first.array, second.array))
        return NearLungs(chest=chest, density=None, iodine=partial(iodine, (first, second)))

    return Images(
        chest=low.volume.with_array(_mixed(low.volume.array, high_volume.array)),
        hard=high_volume,
        near=near,
        hu_per_mg_ml=lambda path: _pair(arguments, voltages, path).mixed_hu_per_mg_ml,
        acquisition=low.acquisition,
        sources={"low": low.source, "high": high.source},
        warnings=warnings,
    )


def _mixed(low: NDArray[Any], high: NDArray[Any]) -> NDArray[Any]:
    """Mean of both voltages, which has the least noise; whole HU of whole HU."""
    if low.dtype == high.dtype == np.int16:
        return np.asarray((low & high) + ((low ^ high) >> 1))  # floor of the mean, no overflow
    mixed = np.add(low, high, dtype=np.float32)
    mixed *= np.float32(0.5)
    return np.asarray(mixed)


def _read_subtraction(arguments: argparse.Namespace, progress: Progress) -> Images:
    contrast, native = _read_two(arguments.contrast, arguments.native, progress)
    facts, mask = contrast.acquisition, arguments.native_lung_mask
    native_mask = None if mask is None else read_labelmap(mask)
    native_regions = RegionOptions(lung_mask=native_mask)
    sources: dict[str, Source | LabelImage] = {
        "contrast": contrast.source,
        "native": native.source,
    }
    if native_mask is not None:
        sources["native_lung_mask"] = native_mask

    def iodine(
        chest: Volume, found: FoundRegions, path: WaterPath, progress: Progress
    ) -> MadeIodine:
        lungs = find_regions(native.volume, native_regions, progress=part(progress, 0, 0.3)).lungs
        iodine, gates, warnings = remembered(
            register_and_subtract,
            chest,
            native.volume,
            found.lungs,
            lungs,
            hu_per_mg_ml=_one_sensitivity(arguments, facts, path),
            reference_hu_per_mg_ml=arguments.iodine_hu_per_mg_ml,
            progress=part(progress, 0.3, 1.0),
        )
        return MadeIodine(iodine=iodine, warnings=warnings, gates=gates)

    def near(box: Box) -> NearLungs:
        chest = contrast.volume.cut_out(box)
        return NearLungs(chest=chest, density=None, iodine=partial(iodine, chest))

    return Images(
        chest=contrast.volume,
        hard=contrast.volume,
        near=near,
        hu_per_mg_ml=partial(_one_sensitivity, arguments, facts),
        acquisition=facts,
        sources=sources,
    )


def _read_two(first: Path, second: Path, progress: Progress) -> tuple[Scan, Scan]:
    progress(0.0, "reading both images")
    scans = both(partial(read_ct, first), partial(read_ct, second))
    progress(1.0, "images read")
    return scans


def _voltages(
    arguments: argparse.Namespace, acquisitions: tuple[Acquisition, ...]
) -> tuple[str, ...]:
    """Tube voltages as given, if they agree with DICOM, else as DICOM states them."""
    if arguments.kv is not None and len(arguments.kv) != len(acquisitions):
        raise InputError(
            f"--kv takes {len(acquisitions)} voltage(s) here, not {len(arguments.kv)}: "
            f"{' '.join(arguments.kv)}"
        )
    if arguments.kv is not None:
        for given, facts in zip(arguments.kv, acquisitions, strict=True):
            _require_voltage(given, facts)
        return tuple(arguments.kv)
    stated = [_stated_voltage(facts) for facts in acquisitions]
    if None in stated:
        raise InputError(
            "the tube voltages are not in the files; state them with --kv, such as --kv 80 140Sn"
        )
    return tuple(voltage for voltage in stated if voltage is not None)


def _stated_voltage(facts: Acquisition) -> str | None:
    """Tube voltage of the header, with the tin filter where the header names it."""
    return None if facts.kvp is None else f"{facts.kvp:g}{'Sn' if facts.tin_filter else ''}"


def _require_voltage(given: str, facts: Acquisition) -> None:
    """Refuse a voltage that contradicts the header; tin is seldom in it, so only the reverse."""
    in_file = _stated_voltage(facts)
    if in_file is None:
        return
    other = given.removesuffix("Sn") != in_file.removesuffix("Sn")
    if other or (facts.tin_filter and not given.endswith("Sn")):
        raise InputError(
            f"--kv says {given} kV, the header of the file says {in_file} kV; leave --kv out, or "
            "give the image that it belongs to"
        )


def _require_order(low: Acquisition, high: Acquisition) -> None:
    """Refuse images whose headers say that they are no low and high tube voltage."""
    for facts, name in ((low, "--low"), (high, "--high")):
        if facts.monoenergetic_kev is not None:
            raise InputError(
                f"the image of {name} is a virtual monoenergetic one of "
                f"{facts.monoenergetic_kev:g} keV by its header; give the images of both tube "
                "voltages, or the vendor's iodine map with --iodine"
            )
    if low.kvp is not None and high.kvp is not None and low.kvp > high.kvp:
        raise InputError(
            f"low and high are the wrong way round: their headers say {low.kvp:g} and "
            f"{high.kvp:g} kV; exchange --low and --high"
        )


def _pair(
    arguments: argparse.Namespace, voltages: tuple[str, ...], path: WaterPath
) -> SpectralPair:
    pair = spectral_pair(
        voltages[0],
        voltages[1],
        water_path_cm=path.cm,
        reference_hu_per_mg_ml=arguments.iodine_hu_per_mg_ml,
    )
    if arguments.sensitivity is not None:
        low, high = _sensitivities(arguments.sensitivity, 2)
        pair = replace(
            pair,
            low=replace(pair.low, iodine_hu_per_mg_ml=low),
            high=replace(pair.high, iodine_hu_per_mg_ml=high),
            name=f"{voltages[0]}/{voltages[1]} kV, own calibration",
        )
    if arguments.soft_tissue_hu is not None:
        pair = pair.with_soft_tissue(*arguments.soft_tissue_hu)
    if arguments.iodine_ratio is not None:
        pair = pair.with_ratio(arguments.iodine_ratio, "own ratio")
    return pair


def _one_sensitivity(arguments: argparse.Namespace, facts: Acquisition, path: WaterPath) -> float:
    if arguments.sensitivity is not None:
        return _sensitivities(arguments.sensitivity, 1)[0]
    return beam(_voltages(arguments, (facts,))[0], path.cm).iodine_hu_per_mg_ml


def _sensitivity_of_ct(facts: Acquisition, path: WaterPath) -> float:
    """Sensitivity of a CT by its header, that of 120 kV where it does not tell."""
    voltage = _stated_voltage(facts)
    return beam(voltage if voltage in VOLTAGES else "120", path.cm).iodine_hu_per_mg_ml


def _sensitivities(values: list[float], count: int) -> list[float]:
    if len(values) != count:
        raise InputError(f"--sensitivity takes {count} value(s) here, not {len(values)}")
    return values


def _onto(image: Volume, target: Volume, what: str, where: str) -> tuple[Volume, tuple[str, ...]]:
    if image.geometry.same_as(target.geometry):
        return image, ()
    return resample_volume(image, target.geometry), _resampled(what, where)


def _resampled(what: str, where: str) -> tuple[str, ...]:
    return (f"The {what} lies on another grid and was resampled onto {where} (linear).",)

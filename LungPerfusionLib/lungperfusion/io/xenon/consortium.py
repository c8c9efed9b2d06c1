"""Output folder of the open gas exchange pipeline (129Xe MRI Clinical Trials Consortium).

Names of columns and files changed between its versions; what is not known is kept and ignored.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungperfusion.errors import InputError
from lungperfusion.io.files import file_sha256, read_image
from lungperfusion.io.json_files import read_json
from lungperfusion.io.tables import read_small_table
from lungperfusion.naming import named
from lungperfusion.trouble import import_refusal

SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "rbc_mean": ("rbc_mean", "rbc2gas_mean", "rbc_gas_mean"),
    "membrane_mean": ("membrane_mean", "mem_mean", "membrane2gas_mean", "barrier_mean"),
    "rbc_defect_pct": ("rbc_defect_pct", "rbc_defect"),
    "rbc_low_pct": ("rbc_low_pct", "rbc_low"),
    "rbc_high_pct": ("rbc_high_pct", "rbc_high"),
    "vent_defect_pct": ("vent_defect_pct", "vent_defect", "vdp"),
    "rbc_m_ratio": ("rbc_m_ratio", "rbc_m", "rbc_membrane_ratio", "rbc_barrier_ratio"),
    "inflation_l": ("inflation", "inflation_volume", "lung_volume"),
    "fov": ("fov", "fov_cm", "field_of_view"),
    "frequency_ppm": (
        "xe_dissolved_offset_frequency",
        "freq_excitation_ppm",
        "freq_dis_excitation_ppm",
    ),
    "gas_flip_degrees": ("fa_gas", "flip_angle_gas"),
    "dissolved_flip_degrees": ("fa_dis", "flip_angle_dissolved", "flip_angle_dis"),
    "echo_time_us": ("te90",),
    "field_t": ("field_strength",),
    "haemoglobin_g_dl": ("hb", "hemoglobin"),
    "haemoglobin_correction": ("hb_correction_key",),
    "age_years": ("age",),
    "sex": ("sex",),
}
"""Names of one statistic over the versions of the pipeline."""

FILES: Mapping[str, tuple[str, ...]] = {
    "mask": ("mask_reg", "mask"),
    "ventilation": ("gas_highreso", "gas_highres", "gas_highsnr"),
    "gas_signal": ("gas_highsnr",),
    "rbc_signal": ("rbc",),
    "rbc_gas": ("rbc2gas",),
    "membrane_gas": ("membrane2gas",),
    "rbc_colours": ("rbc2gas_rgb", "rbc2gas_binned_rgb"),
}
"""Stems of the files by what they hold, the best first."""

_SUBFOLDERS = ("gx", "tmp")
"""Where newer versions put results and intermediate images."""

MATLAB_NAMES: Mapping[str, tuple[str, ...]] = {
    "mask": ("mask", "mask_reg"),
    "ventilation": ("image_gas_cor", "image_gas_highreso", "image_gas"),
    "rbc_gas": ("image_rbc2gas",),
    "membrane_gas": ("image_membrane2gas", "image_membrane_gas"),
}
"""Names of arrays in the MATLAB files that older versions left."""

CLASS_COLOURS = (
    (1.0, 0.0, 0.0),
    (1.0, 0.7143, 0.0),
    (0.4, 0.7, 0.4),
    (0.0, 1.0, 0.0),
    (0.0, 0.57, 0.71),
    (0.0, 0.0, 1.0),
)
"""Colours of the classes of RBC:gas and ventilation, from the lowest up."""

_FEWEST_LEVELS = 24
_COLOUR_TOLERANCE = 0.2
_GREY = 0.12


@dataclass(frozen=True, kw_only=True)
class ConsortiumFolder:
    """What a folder of the pipeline holds."""

    files: Mapping[str, Path]
    """Images by the keys of `FILES`, and a MATLAB file as ``matlab``."""
    statistics: Mapping[str, float | str] = field(default_factory=dict)
    """By the keys of `SYNONYMS`."""
    unknown_columns: tuple[str, ...] = ()
    configuration: Mapping[str, Any] = field(default_factory=dict)

    def number(self, name: str) -> float | None:
        """One statistic as a number; None where it has none."""
        value = self.statistics.get(name)
        return value if isinstance(value, float) and math.isfinite(value) else None

    @property
    def field_mm(self) -> tuple[float, float, float] | None:
        """Field of view, which the pipeline writes in cm; None where the statistics lack it."""
        extent = self.number("fov")
        if extent is None:
            return None
        extent *= 10 if extent < 100 else 1
        return (extent, extent, extent)

    @property
    def haemoglobin_applied(self) -> bool:
        """Whether the pipeline corrected for haemoglobin."""
        words = str(self.statistics.get("haemoglobin_correction", ""))
        return words.strip().lower() in {"true", "1", "1.0", "rbc_and_membrane"}


def folder_of_output(path: Path) -> Path | None:
    """Folder to give for output of the pipeline, where this file is the mask that it writes."""
    stem, kind = _stem(path)
    if kind != "image" or stem != FILES["mask"][0]:
        return None
    return path.parent.parent if path.parent.name in _SUBFOLDERS else path.parent


def read_consortium_folder(folder: Path) -> ConsortiumFolder:
    """Find the images, statistics and settings in a folder of the pipeline or in its ``gx``.

    Raises
    ------
    InputError
        If it is no folder, holds no mask, or several files of one kind.

    """
    if not folder.is_dir():
        raise InputError(f"there is no folder {named(folder)}; give the output of the pipeline")
    places = [folder, *(folder / name for name in _SUBFOLDERS)]
    found: dict[str, Path] = {}
    for place in (place for place in places if place.is_dir()):
        for path in sorted(place.iterdir()):
            stem, kind = _stem(path)
            for key, stems in FILES.items():
                if kind == "image" and stem in stems:
                    known = found.get(key)
                    if known is None or stems.index(stem) < stems.index(_stem(known)[0]):
                        found[key] = path
            if path.suffix.lower() == ".mat":
                found.setdefault("matlab", path)
            if stem.endswith("_stats") and path.suffix.lower() == ".csv":
                found.setdefault("statistics", path)
            if stem.endswith("_config_gx_imaging") and path.suffix.lower() == ".json":
                found.setdefault("configuration", path)
    if "mask" not in found and "matlab" not in found:
        raise InputError(
            f"{named(folder.name)} is no output of the pipeline: neither mask_reg.nii nor a .mat "
            "file is there, nor in its folder gx"
        )
    table = found.pop("statistics", None)
    settings = found.pop("configuration", None)
    statistics, unknown = ({}, ()) if table is None else read_statistics(table)
    configuration = {} if settings is None else read_json(settings, "settings of the pipeline")
    return ConsortiumFolder(
        files=found,
        statistics=statistics,
        unknown_columns=unknown,
        configuration=configuration if isinstance(configuration, dict) else {},
    )


def read_statistics(path: Path) -> tuple[dict[str, float | str], tuple[str, ...]]:
    """Read the one row of the pipeline's statistics.

    Returns
    -------
    tuple
        Values by the keys of `SYNONYMS`, and the columns that are not known here.

    Raises
    ------
    InputError
        If the table has not exactly one row, or no known column.

    """
    table = read_small_table(path)
    if len(table.rows) != 1:
        raise InputError(
            f"{named(path.name)} has {len(table.rows)} rows; the statistics of one examination "
            "have one: keep the row of this patient"
        )
    (cells,) = table.mappings
    plain = {name.strip().lower(): value.strip() for name, value in cells.items()}
    out: dict[str, float | str] = {}
    used = set()
    for key, names in SYNONYMS.items():
        for name in names:
            if plain.get(name):
                out[key] = _value(plain[name])
                used.add(name)
                break
    if not out:
        raise InputError(
            f"{named(path.name)} has no column that statistics of the pipeline have, such as "
            "rbc_mean or rbc_m_ratio"
        )
    return out, tuple(name for name in plain if name and name not in used)


def statistics_cells(statistics: Mapping[str, float | str]) -> dict[str, str]:
    """Write statistics under names of columns, for `read_statistics` to read the same.

    Only what is known here is written, so neither names nor dates of an examination are.

    Examples
    --------
    >>> statistics_cells({"rbc_mean": 0.0045, "sex": "F"})
    {'rbc_mean': '0.0045', 'sex': 'F'}

    """
    return {
        SYNONYMS[key][0]: value if isinstance(value, str) else repr(value)
        for key, value in statistics.items()
    }


def _value(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _stem(path: Path) -> tuple[str, str]:
    name = path.name.lower()
    for suffix in (".nii.gz", ".nii"):
        if name.endswith(suffix):
            return name.removesuffix(suffix), "image"
    return path.stem.lower(), ""


# ----------------------------------------------------------------------------------- colours


@dataclass(frozen=True, eq=False, kw_only=True)
class ColourClasses:
    """Classes read from a colour image."""

    classes: NDArray[np.uint8]
    """Shape (K, J, I); 0 where there is none or it cannot be told."""
    unreadable_share: float
    """Of the coloured voxels: too dark or of a colour that no class has."""
    sha256: str


def read_colour_classes(path: Path) -> ColourClasses:
    """Read classes from the pipeline's colour image.

    The colours are those of the classes, their brightness that of the proton image below: hue and
    saturation tell the class, and where the proton image is dark nothing does.  No value of the map
    can be had, its classes only.

    Raises
    ------
    InputError
        If it is no colour image, or holds other colours.

    """
    array, _, _, _ = read_image(path, layers=True)
    if array.ndim != 4 or len(array) != 3:
        raise InputError(
            f"{named(path.name)} is no colour image: it has "
            f"{len(array) if array.ndim == 4 else 1} value a voxel instead of 3"
        )
    colours = np.moveaxis(array, 0, -1).astype(np.float32)
    brightness = colours.max(axis=-1)
    pure = np.divide(
        colours, brightness[..., None], out=np.zeros_like(colours), where=brightness[..., None] > 0
    )
    coloured = (brightness > 0) & (pure.min(axis=-1) < 1 - _GREY)
    table = np.array(CLASS_COLOURS, np.float32)
    table /= table.max(axis=1, keepdims=True)
    away = np.linalg.norm(pure[coloured][:, None] - table, axis=2)
    readable = (away.min(axis=1) < _COLOUR_TOLERANCE) & (brightness[coloured] >= _FEWEST_LEVELS)
    classes = np.zeros(brightness.shape, np.uint8)
    classes[coloured] = np.where(readable, away.argmin(axis=1) + 1, 0)
    if not readable.any():
        raise InputError(
            f"{named(path.name)} holds none of the colours of the pipeline's classes; give a map "
            "of values instead"
        )
    return ColourClasses(
        classes=classes,
        unreadable_share=1 - float(readable.mean()),
        sha256=file_sha256(path),
    )


# ------------------------------------------------------------------------------------ MATLAB


def read_matlab(path: Path) -> dict[str, NDArray[Any]]:
    """Read the maps of a MATLAB file by the keys of `MATLAB_NAMES`, shape (K, J, I).

    Axes are those of the pipeline's NIfTI files: the first of MATLAB is I.

    Raises
    ------
    InputError
        If the file cannot be read or holds no known array.

    """
    content = _matlab_content(path)
    out = {}
    for key, names in MATLAB_NAMES.items():
        for name in names:
            array = content.get(name)
            if isinstance(array, np.ndarray) and array.ndim == 3 and array.size > 1:
                out[key] = np.ascontiguousarray(np.abs(array).T)
                break
    if not out:
        raise InputError(
            f"{named(path.name)} holds none of the maps {', '.join(MATLAB_NAMES['rbc_gas'])}, "
            f"{', '.join(MATLAB_NAMES['membrane_gas'])}"
        )
    return out


def _matlab_content(path: Path) -> Mapping[str, Any]:
    from scipy import io as scipy_io

    try:
        found: Mapping[str, Any] = scipy_io.loadmat(
            path, variable_names=[name for names in MATLAB_NAMES.values() for name in names]
        )
    except NotImplementedError:
        return _matlab_73(path)
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{named(path.name)} is no MATLAB file; export it again") from error
    return found


def _matlab_73(path: Path) -> Mapping[str, Any]:
    """MATLAB 7.3 files are HDF5."""
    h5py = hdf5_library(path)
    try:
        with h5py.File(path, "r") as file:
            found = {
                name: np.asarray(file[name]).T
                for names in MATLAB_NAMES.values()
                for name in names
                if name in file
            }
    except (OSError, TypeError) as error:
        raise InputError(f"{named(path.name)} is no MATLAB file; export it again") from error
    # MATLAB stores complex numbers as pairs.
    return {
        name: array if array.dtype.names is None else array["real"] + 1j * array["imag"]
        for name, array in found.items()
    }


def hdf5_library(path: Path) -> Any:
    """Load the optional library that reads HDF5 files.

    Raises
    ------
    InputError
        If it is not installed.

    """
    try:
        import h5py
    except ImportError as error:
        raise import_refusal(
            error,
            need=f"{named(path.name)} is an HDF5 file, which needs the library h5py",
            remedy="pip install 'lungperfusion[xenon]'",
        ) from error
    return h5py

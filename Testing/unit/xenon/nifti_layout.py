"""NIfTI files as the open pipeline writes them: identity matrix, pixel sizes far off."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from lungperfusion.phantoms.xenon import (
    DISSOLVED_FLIP_DEGREES,
    ECHO_TIME_MS,
    FIELD_MM,
    GAS_FLIP_DEGREES,
    XenonPhantom,
)
from lungperfusion.terms.xenon import T2STAR_RBC_3T_MS
from lungperfusion.xenon.ratios import decay_factor, flip_factor

_CODES = {"float32": (16, 32), "uint8": (2, 8), "complex64": (32, 64)}


def write_nifti(array: np.ndarray, path: Path, *, pixel_mm: float = 1.0, rgb: bool = False) -> None:
    """Write (K, J, I), or (K, J, I, 3) as colours, with an identity sform of code 2."""
    shape = array.shape[:3][::-1]
    code, bits = (128, 24) if rgb else _CODES[str(array.dtype)]
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, 3, *shape, 1, 1, 1, 1)
    struct.pack_into("<2h", header, 70, code, bits)
    struct.pack_into("<8f", header, 76, 1.0, *([pixel_mm] * 3), 1, 1, 1, 1)
    struct.pack_into("<f", header, 108, 352.0)
    struct.pack_into("<2f", header, 112, 1.0, 0.0)
    struct.pack_into("<2h", header, 252, 0, 2)
    struct.pack_into("<12f", header, 280, *np.eye(4)[:3].ravel())
    header[344:348] = b"n+1\0"
    path.write_bytes(bytes(header) + np.ascontiguousarray(array).tobytes())


def write_pipeline_folder(
    xenon: XenonPhantom, folder: Path, *, statistics: bool = True, pixel_mm: float | None = None
) -> Path:
    """Write what the open pipeline leaves of an examination: signals of red cells, no RBC:gas.

    Pixel sizes are a hundredth of the true ones, if they are not given.  The statistics also have
    the name of a patient, a day and a column of the future.
    """
    (folder / "gx").mkdir(parents=True)
    flip = flip_factor(GAS_FLIP_DEGREES, DISSOLVED_FLIP_DEGREES, rounded=True)
    factor = flip * decay_factor(ECHO_TIME_MS, T2STAR_RBC_3T_MS)
    pixel = FIELD_MM / len(xenon.mask) / 100 if pixel_mm is None else pixel_mm
    for name, array in (
        ("mask_reg", xenon.mask),
        ("gas_highreso", xenon.ventilation),
        ("gas_highsnr", xenon.ventilation),
        ("rbc", np.nan_to_num(xenon.rbc_gas) * xenon.ventilation / factor),
        ("membrane2gas", np.nan_to_num(xenon.membrane_gas)),
    ):
        write_nifti(array.astype(np.float32), folder / "gx" / f"{name}.nii", pixel_mm=pixel)
    if statistics:
        mean = float(np.nanmean(xenon.rbc_gas[xenon.mask]))
        (folder / "gx" / "s_stats.csv").write_text(
            "subject_id,scan_date,fov,fa_gas,fa_dis,te90,field_strength,"
            "xe_dissolved_offset_frequency,rbc_mean,age,sex,hb_correction_key,future_column\n"
            f"Doe,2024-05-06,{FIELD_MM / 10:g},{GAS_FLIP_DEGREES},{DISSOLVED_FLIP_DEGREES},"
            f"{1000 * ECHO_TIME_MS:g},3,208.1,{mean},40,M,True,7\n",
            encoding="utf-8",
        )
    return folder

"""NIfTI files as the open pipeline writes them: identity matrix, pixel sizes far off."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

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

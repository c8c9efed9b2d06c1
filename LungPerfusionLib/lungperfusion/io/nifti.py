"""Headers of NIfTI-1 and NIfTI-2 files, and copies that every reader understands.

ITK reads NIfTI-1 with perpendicular axes whose name says whether it is packed.  Other files are
sound, too; of those it gets a copy in a temporary folder.
"""

from __future__ import annotations

import gzip
import math
import shutil
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from lungperfusion.errors import InputError
from lungperfusion.io.bounds import require_bounded
from lungperfusion.naming import named

SUFFIXES = (".nii", ".nii.gz")

SFORM_QFORM_TOLERANCE_VOXELS = 0.5
"""Two orientations in a NIfTI file may differ by this at the corners; more is ambiguous."""

MAX_SKEW_DEGREES = 1.0
"""Axes may be off a right angle by this: 5 mm across a chest, as rounding and fits leave them.
More is a gantry tilt or a damaged header."""

SKEW_SEEN_DEGREES = 0.01
"""Rounding of the numbers in a header stays below."""

VALUE_BYTES = {
    **{2: 1, 4: 2, 8: 4, 16: 4, 32: 8, 64: 8, 128: 3, 256: 1, 512: 2, 768: 4},
    **{1024: 8, 1280: 8, 1792: 16, 2304: 4},
}
"""Bytes of a voxel by the data type of the NIfTI-1 standard; colour and complex numbers too, which
are refused in words of their own."""

_SIZES = {348: 1, 540: 2}
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True, kw_only=True)
class NiftiHeader:
    """What is needed of a header."""

    version: int
    packed: bool
    """Whether the file is packed, whatever its name says."""
    dim: tuple[int, ...]
    """Number of axes, then their lengths."""
    bits: int
    start: int
    datatype: int
    scale: tuple[float, float]
    pixdim: tuple[float, ...]
    qform_code: int
    sform_code: int
    quaternion: tuple[float, ...]
    sform: NDArray[np.float64]

    @property
    def qform(self) -> NDArray[np.float64]:
        """Affine (3 x 4) of the quaternion representation, by the NIfTI-1 standard."""
        b, c, d, x, y, z = self.quaternion
        a = np.sqrt(max(0.0, 1.0 - b * b - c * c - d * d))
        rotation = np.array(
            [
                [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
                [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
                [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
            ]
        )
        handed = -1.0 if self.pixdim[0] < 0 else 1.0
        scaled = rotation * np.array([self.pixdim[1], self.pixdim[2], handed * self.pixdim[3]])
        return np.column_stack([scaled, [x, y, z]])

    @property
    def ijk_to_ras(self) -> NDArray[np.float64]:
        """Affine (4 x 4) that counts: the sform where there is one, as ITK and nibabel take it."""
        matrix = np.eye(4)
        if self.sform_code > 0:
            matrix[:3] = self.sform
        elif self.qform_code > 0:
            matrix[:3] = self.qform
        else:
            matrix[:3, :3] = np.diag([abs(size) or 1.0 for size in self.pixdim[1:4]])
        return matrix

    @property
    def skew_degrees(self) -> float:
        """How far the axes are off a right angle at most."""
        axes = self.ijk_to_ras[:3, :3]
        lengths = np.linalg.norm(axes, axis=0)
        if not (np.isfinite(axes).all() and lengths.min() > 0):
            return 0.0
        cosines = (axes / lengths).T @ (axes / lengths)
        return float(np.degrees(np.arcsin(min(1.0, np.abs(cosines - np.diag([1, 1, 1])).max()))))


def nifti_header(path: Path) -> NiftiHeader | None:
    """Read a header, packed or not; None for Analyze and what is no NIfTI at all.

    Raises
    ------
    InputError
        If the file is cut short or damaged within its header.

    """
    with path.open("rb") as stream:
        packed = stream.read(2) == _GZIP
    try:
        with _opened(path, packed) as stream:
            header = stream.read(540)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(
            f"{named(path.name)} is damaged or cut short; copy or export it again"
        ) from error
    if len(header) < 348:
        raise InputError(
            f"{named(path.name)} is cut short within its header ({len(header)} bytes); export it "
            "again"
        )
    for order in "<>":
        (size,) = struct.unpack(f"{order}i", header[:4])
        version = _SIZES.get(size)
        if version == 1 and header[344:347] == b"n+1":
            return _parsed(header, order, 1, packed)
        if version == 2 and header[4:7] == b"n+2" and len(header) == 540:
            return _parsed(header, order, 2, packed)
    return None


_FIELDS = {
    1: {
        "dim": (40, "8h"),
        "kind": (70, "2h"),
        "pixdim": (76, "8f"),
        "start": (108, "f"),
        "scale": (112, "2f"),
        "codes": (252, "2h"),
        "quaternion": (256, "6f"),
        "sform": (280, "12f"),
    },
    2: {
        "dim": (16, "8q"),
        "kind": (12, "2h"),
        "pixdim": (104, "8d"),
        "start": (168, "q"),
        "scale": (176, "2d"),
        "codes": (344, "2i"),
        "quaternion": (352, "6d"),
        "sform": (400, "12d"),
    },
}
"""Offset and format of fields by version, as the standards define them."""


def _parsed(header: bytes, order: str, version: int, packed: bool) -> NiftiHeader:
    found = {
        name: struct.unpack_from(f"{order}{form}", header, offset)
        for name, (offset, form) in _FIELDS[version].items()
    }
    (start,) = found["start"]
    return NiftiHeader(
        version=version,
        packed=packed,
        dim=found["dim"],
        datatype=found["kind"][0],
        bits=found["kind"][1],
        start=int(start) if math.isfinite(start) else 0,
        scale=(found["scale"][0], found["scale"][1]),
        pixdim=found["pixdim"],
        qform_code=found["codes"][0],
        sform_code=found["codes"][1],
        quaternion=found["quaternion"],
        sform=np.array(found["sform"]).reshape(3, 4),
    )


def require_sound_header(path: Path, header: NiftiHeader) -> None:
    """Refuse numbers that no image has, of which libraries complain in words of their own."""
    axes = header.dim[0]
    sizes = header.dim[1 : axes + 1]
    if not 1 <= axes <= 7 or min(sizes) < 1:
        fault = f"{axes} axes of {' x '.join(map(str, sizes)) or 'no'} voxels"
    elif header.datatype not in VALUE_BYTES:
        fault = f"values of type {header.datatype}, which are no numbers of a CT"
    elif not _is_invertible(header.ijk_to_ras):
        fault = "an orientation that is no matrix of finite numbers with three directions"
    else:
        return
    raise InputError(
        f"the NIfTI header of {named(path.name)} says {fault}; repair it, or convert the original "
        "DICOM files again"
    )


def _is_invertible(matrix: NDArray[np.float64]) -> bool:
    return bool(np.isfinite(matrix).all() and np.linalg.det(matrix[:3, :3]) != 0)


def require_nifti_bytes(path: Path, header: NiftiHeader) -> None:
    """Refuse a file that ends before its voxels do."""
    count = math.prod(header.dim[1 : header.dim[0] + 1])
    announced = max(0, header.start) + count * VALUE_BYTES[header.datatype]
    require_bounded(path.name, announced, path.stat().st_size)
    held = _unpacked_bytes(path, announced) if header.packed else path.stat().st_size
    if held < announced:
        raise InputError(
            f"{named(path.name)} is cut short: its header announces {announced} bytes, {held} are "
            "there; copy or export it again"
        )


def orientation_notes(path: Path, header: NiftiHeader) -> list[str]:
    """Check the two orientations that a header may hold, and the angles between its axes."""
    notes = []
    if header.skew_degrees > MAX_SKEW_DEGREES:
        raise InputError(
            f"the axes of {named(path.name)} are {header.skew_degrees:.1f} degrees off a right "
            f"angle (at most {MAX_SKEW_DEGREES:g} are accepted); resample it to perpendicular axes"
        )
    if header.skew_degrees > SKEW_SEEN_DEGREES:
        notes.append(
            f"the axes of the image are {header.skew_degrees:.2f} degrees off a right angle; they "
            "are taken as the header has them"
        )
    if header.qform_code <= 0 and header.sform_code <= 0:
        return [
            *notes,
            "the NIfTI file does not say how the image lies in the patient (qform and sform code "
            "0): left and right may be swapped",
        ]
    if header.qform_code <= 0 or header.sform_code <= 0:
        return notes
    corners = np.array(
        [
            (i, j, k, 1.0)
            for i in (0, max(header.dim[1] - 1, 0))
            for j in (0, max(header.dim[2] - 1, 0))
            for k in (0, max(header.dim[3] - 1, 0))
        ]
    )
    apart_mm = float(np.linalg.norm(corners @ (header.qform - header.sform).T, axis=1).max())
    voxel_mm = min((abs(p) for p in header.pixdim[1:4] if p), default=1.0)
    tolerance_mm = SFORM_QFORM_TOLERANCE_VOXELS * voxel_mm
    if header.skew_degrees > SKEW_SEEN_DEGREES:  # which a quaternion cannot hold
        extent_mm = max(
            n * abs(p) for n, p in zip(header.dim[1:4], header.pixdim[1:4], strict=True)
        )
        tolerance_mm += extent_mm * math.sin(math.radians(header.skew_degrees))
    if not apart_mm <= tolerance_mm:
        raise InputError(
            f"{named(path.name)} holds two orientations (qform and sform) that differ by up to "
            f"{apart_mm:.1f} mm, so its place in the patient is ambiguous; save it again with one, "
            "for instance from the DICOM files"
        )
    return notes


def copy_for_itk(path: Path, header: NiftiHeader, target: Path) -> None:
    """Write an unpacked NIfTI-1 file without orientation; `NiftiHeader.ijk_to_ras` goes with it.

    Parameters
    ----------
    path, header
        The file and its header.
    target
        Name ending in ``.nii``.

    Raises
    ------
    InputError
        If the header holds what NIfTI-1 cannot, as no CT does.

    """
    with _opened(path, header.packed) as source, target.open("wb") as out:
        first = source.read(max(header.start, 348))
        order = "<" if struct.unpack("<i", first[:4])[0] in _SIZES else ">"
        axes = max(1, min(7, header.dim[0]))
        if not all(0 < n < 2**15 for n in header.dim[1 : axes + 1]):
            raise InputError(
                f"{named(path.name)} has axes of {' x '.join(map(str, header.dim[1 : axes + 1]))} "
                "voxels, no CT has; its header is damaged: export it again"
            )
        new = bytearray(352)
        struct.pack_into(f"{order}i", new, 0, 348)
        dim = [axes, *header.dim[1 : axes + 1], *([1] * (7 - axes))]
        struct.pack_into(f"{order}8h", new, 40, *dim)
        struct.pack_into(f"{order}2h", new, 70, header.datatype, header.bits)
        struct.pack_into(f"{order}8f", new, 76, 1.0, *np.abs(header.pixdim[1:8]))
        struct.pack_into(f"{order}f", new, 108, 352.0)
        struct.pack_into(f"{order}2f", new, 112, *header.scale)
        new[123] = 2  # millimetres
        new[344:348] = b"n+1\0"
        out.write(new)
        shutil.copyfileobj(source, out, 1 << 22)


def _opened(path: Path, packed: bool) -> BinaryIO:
    return gzip.open(path) if packed else path.open("rb")  # type: ignore[return-value]


def _unpacked_bytes(path: Path, enough: int) -> int:
    """Size of what a gzip file holds; unpacking it all also checks its checksum."""
    held = 0
    try:
        with gzip.open(path) as stream:
            while piece := stream.read(1 << 22):
                held += len(piece)
                if held > 2 * enough + (1 << 26):
                    raise InputError(
                        f"{named(path.name)} unpacks to far more than the {enough} bytes that its "
                        "header announces; it is no sound image"
                    )
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(
            f"{named(path.name)} is damaged or cut short; copy or export it again"
        ) from error
    return held

"""How far packed files may unpack: far beyond any image, nothing is unpacked at all."""

from __future__ import annotations

import io
import zlib
from typing import BinaryIO

from lungperfusion.errors import InputError
from lungperfusion.naming import named

MAX_BYTES = 16 * 2**30
"""Size unpacked beyond which a header or file is taken for damaged: a large dynamic CT study has a
quarter of it."""

MAX_RATIO = 200
"""Compression beyond which something large is refused: CT slices reach about 10, label maps 1000
but are small."""

RATIO_MATTERS_BYTES = 64 * 2**20
"""Up to this size unpacked, any compression will do."""

IMAGE_RATIO_MATTERS_BYTES = 4 * 2**30
"""The same for single images, which may be label maps."""

DEFLATE_AT_MOST = 1032
"""No deflate stream (gzip, zlib) unpacks to more than this times its length (zlib's technical
details, maximum compression factor)."""

DEFLATED_DICOM = b"1.2.840.10008.1.2.1.99"
EXPLICIT_DICOM = b"1.2.840.10008.1.2.1\0\0\0"
_LONGEST_META = 1 << 12


def require_bounded(name: str, announced: int, held: int) -> None:
    """Refuse an image by what its header announces, before anything of that size is made.

    Parameters
    ----------
    name
        Of the file, for messages.
    announced
        Bytes of voxels by the header.
    held
        Bytes of the file, packed or not.

    Raises
    ------
    InputError
        If no file of that length can hold them, or no image is so large.

    """
    if announced > MAX_BYTES:
        raise InputError(
            f"{named(name)} claims {announced / 2**30:.3g} GiB of voxels, more than any CT; its "
            "header is damaged: export it again"
        )
    if announced > DEFLATE_AT_MOST * held:
        raise InputError(
            f"{named(name)} is cut short: its header announces {announced} bytes of voxels, {held} "
            "are there; copy or export it again"
        )
    if announced > IMAGE_RATIO_MATTERS_BYTES and announced > MAX_RATIO * held:
        raise InputError(
            f"{named(name)} is packed {announced / held:.0f} to 1, which no CT is; export it again"
        )


def without_deflation(stream: BinaryIO, name: str) -> BinaryIO:
    """DICOM file as it is, or unpacked where all of it is deflated (PS3.5 A.5).

    Libraries unpack such files whole to look at their header; here that has a bound.

    Parameters
    ----------
    stream
        At the beginning of any file; is closed if another one is returned.
    name
        Of the file, for messages.

    Raises
    ------
    InputError
        If the file unpacks to what no CT does, or not at all.

    """
    start = stream.tell()
    head = stream.read(_LONGEST_META)
    stream.seek(start)
    end = _end_of_meta(head)
    if end is None:
        return stream
    with stream:
        packed = stream.read()[end:]
    most = max(RATIO_MATTERS_BYTES, MAX_RATIO * len(packed))
    unpacking = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        content = unpacking.decompress(packed, most)
    except zlib.error as error:
        raise InputError(
            f"{named(name)} is damaged or cut short; export the series again"
        ) from error
    if unpacking.unconsumed_tail:
        raise InputError(
            f"{named(name)} unpacks to more than {MAX_RATIO} times its size, which no CT does; "
            "export the series again"
        )
    meta = head[:end].replace(DEFLATED_DICOM, EXPLICIT_DICOM)
    return io.BytesIO(meta + content)


def _end_of_meta(head: bytes) -> int | None:
    """Where the file meta information of a deflated DICOM file ends; None for other files."""
    place = 132 if head[128:132] == b"DICM" else 0
    if head[place : place + 4] != b"\x02\x00\x00\x00" or DEFLATED_DICOM not in head:
        return None
    end = place + 12 + int.from_bytes(head[place + 8 : place + 12], "little")
    return end if head.find(DEFLATED_DICOM) < end <= len(head) else None

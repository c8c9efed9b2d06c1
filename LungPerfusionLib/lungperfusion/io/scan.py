"""What reading an image file yields."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

from lungperfusion.acquisition import Acquisition
from lungperfusion.orientation import axial
from lungperfusion.quality import Gate
from lungperfusion.volume import Volume


@dataclass(frozen=True, eq=False, kw_only=True)
class Source:
    """What results say of an image file once its voxels are forgotten; fields as in `Scan`."""

    name: str
    sha256: str
    voxels_sha256: str
    warnings: tuple[str, ...]
    gates: tuple[Gate, ...]
    identifiers: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, eq=False)
class Scan:
    """An image read from files.

    Parameters
    ----------
    volume
        The image on an even grid; padding is stored as air and left out of ``volume.valid``.
    acquisition
        Technical facts of the header, without any patient identifier.
    name
        Name of the file or folder, marked by `lungperfusion.naming.named`: results call the scan
        by its role.
    sha256
        SHA-256 of the file that carries the voxels.  Of several files: of their hexadecimal
        digests, one a line, in the order of the slices, so the same whatever the files are called
        and whether they lie in a folder or in a zip.
    warnings
        What was mended on reading, in sentences for the user; free of file names and identifiers.
    gates
        Checks of the files themselves, such as whether slices were left out.
    identifiers
        Patient and study identifiers of the header.  They belong into no output unless the user
        asks for them.

    """

    volume: Volume
    acquisition: Acquisition
    name: str
    sha256: str
    warnings: tuple[str, ...] = ()
    gates: tuple[Gate, ...] = ()
    identifiers: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        """Freeze."""
        object.__setattr__(self, "identifiers", MappingProxyType(dict(self.identifiers)))

    @property
    def source(self) -> Source:
        """What results say of it."""
        return Source(
            name=self.name,
            sha256=self.sha256,
            voxels_sha256=self.voxels_sha256,
            warnings=self.warnings,
            gates=self.gates,
            identifiers=self.identifiers,
        )

    @property
    def voxels_sha256(self) -> str:
        """SHA-256 of size and values in axial order: the same for any file of this image."""
        array = axial(self.volume).array
        kind = "<i2" if array.dtype == np.int16 else "<f4"
        digest = hashlib.sha256(f"{array.shape} {kind}\n".encode())
        for plane in array:
            digest.update(np.ascontiguousarray(plane, dtype=kind).data)
        return digest.hexdigest()

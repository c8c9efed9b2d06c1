"""Images in patient space: a voxel grid, an array with a unit, a label map.

Arrays are (K, J, I) as in `slicer.util.arrayFromVolume`; ``ijk_to_ras`` maps (I, J, K) voxel
indices to RAS millimetres as in ``vtkMRMLVolumeNode.GetIJKToRASMatrix``.  Objects are immutable:
a stage returns new ones.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lungperfusion.errors import GeometryMismatchError, InputError

Axis = Literal["R", "A", "S"]
FloatArray = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]
Box = tuple[slice, slice, slice]

GRID_TOLERANCE_MM = 1e-2
"""Grids whose corners lie closer are one grid: far below a voxel, above float32 rounding."""

STATED_DECIMALS = 11
"""Digits of a header in mm that count: rounding of sums and products lies a hundred times lower."""


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    view = array.view()
    view.flags.writeable = False
    return view


@dataclass(frozen=True, eq=False)
class Geometry:
    """Voxel grid in patient space.

    Parameters
    ----------
    shape
        Array shape (K, J, I).
    ijk_to_ras
        4x4 affine from (I, J, K) voxel indices to RAS millimetres; any orientation, oblique or
        sheared.

    Raises
    ------
    InputError
        If the shape is not 3-D or empty, or the affine is singular or not finite.

    """

    shape: tuple[int, int, int]
    ijk_to_ras: NDArray[np.float64]

    def __post_init__(self) -> None:
        """Check and freeze."""
        shape = tuple(int(n) for n in self.shape)
        if len(shape) != 3 or min(shape) < 1:
            raise InputError(f"a volume needs three axes of at least one voxel, not shape {shape}")
        matrix = np.array(self.ijk_to_ras, dtype=np.float64)
        if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
            raise InputError("the voxel-to-patient matrix must be a finite 4x4 matrix")
        if abs(np.linalg.det(matrix[:3, :3])) < 1e-9:
            raise InputError(
                "the voxel-to-patient matrix is singular (a spacing of 0 mm or parallel axes); "
                "repair the image header"
            )
        matrix.flags.writeable = False
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "ijk_to_ras", matrix)

    @classmethod
    def as_stated(cls, shape: tuple[int, int, int], ijk_to_ras: ArrayLike) -> Geometry:
        """Grid as a header means it, where programs that passed it on left rounding behind.

        One writes an origin of -125 mm, another -124.99999999999997 mm, and without this their
        numbers would differ in the last digits.
        """
        return cls(shape, np.round(np.asarray(ijk_to_ras, np.float64), STATED_DECIMALS) + 0.0)

    @classmethod
    def axial(
        cls,
        shape: tuple[int, int, int],
        spacing_ijk_mm: tuple[float, float, float],
        origin_ras_mm: tuple[float, float, float] = (0.0, 0.0, 0.0),
    ) -> Geometry:
        """Grid of an axial CT as scanners write it: I to the left, J to the back, K to the head."""
        si, sj, sk = spacing_ijk_mm
        matrix = np.diag([-si, -sj, sk, 1.0])
        matrix[:3, 3] = origin_ras_mm
        return cls(shape, matrix)

    @property
    def spacing_ijk_mm(self) -> tuple[float, float, float]:
        """Distance between neighbouring voxels along I, J, K."""
        i, j, k = np.linalg.norm(self.ijk_to_ras[:3, :3], axis=0)
        return float(i), float(j), float(k)

    @property
    def spacing_kji_mm(self) -> tuple[float, float, float]:
        """Spacing in array axis order, as `scipy.ndimage` takes it."""
        i, j, k = self.spacing_ijk_mm
        return k, j, i

    @property
    def voxel_volume_ml(self) -> float:
        """Volume of one voxel; exact for sheared grids, too."""
        return float(abs(np.linalg.det(self.ijk_to_ras[:3, :3]))) / 1000.0

    def ras_from_ijk(self, ijk: ArrayLike) -> NDArray[np.float64]:
        """Positions in RAS mm of voxel indices, shape (..., 3), order (I, J, K)."""
        points = np.asarray(ijk, dtype=np.float64)
        return np.asarray(points @ self.ijk_to_ras[:3, :3].T + self.ijk_to_ras[:3, 3])

    def ijk_from_ras(self, ras_mm: ArrayLike) -> NDArray[np.float64]:
        """Continuous voxel indices (I, J, K) of RAS positions, shape (..., 3)."""
        inverse = np.linalg.inv(self.ijk_to_ras)
        points = np.asarray(ras_mm, dtype=np.float64)
        return np.asarray(points @ inverse[:3, :3].T + inverse[:3, 3])

    def corners_ras_mm(self) -> NDArray[np.float64]:
        """Centres of the eight corner voxels, shape (8, 3)."""
        k, j, i = (n - 1 for n in self.shape)
        return self.ras_from_ijk([(a, b, c) for a in (0, i) for b in (0, j) for c in (0, k)])

    def coordinate_mm(self, axis: Axis) -> NDArray[np.float32]:
        """RAS coordinate of every voxel along one patient axis, shape (K, J, I).

        ``"R"`` grows to the patient's right, ``"A"`` to the front, ``"S"`` to the head, whatever
        the order and obliqueness of the voxel axes.
        """
        plane, along_k = self._coordinate_parts(axis)
        return plane + along_k[:, None, None]

    def coordinate_at(self, mask: Mask, axis: Axis) -> NDArray[np.float32]:
        """`coordinate_mm` of the voxels inside a mask, 1-D in array order, plane by plane."""
        plane, along_k = self._coordinate_parts(axis)
        out = np.empty(np.count_nonzero(mask), np.float32)
        done = 0
        for inside, step in zip(mask, along_k, strict=True):
            here = plane[inside]
            np.add(here, step, out=out[done : done + here.size])
            done += here.size
        return out

    def _coordinate_parts(self, axis: Axis) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Coordinate in the first plane, shape (J, I), and what each plane adds to it."""
        row = self.ijk_to_ras["RAS".index(axis)]
        k, j, i = self.shape
        along_i = row[3] + row[0] * np.arange(i)
        along_j = row[1] * np.arange(j)
        plane = (along_j[:, None] + along_i).astype(np.float32)
        return plane, (row[2] * np.arange(k)).astype(np.float32)

    def array_axis_toward(self, axis: Axis) -> tuple[int, int]:
        """Array axis (0 = K, 1 = J, 2 = I) closest to a patient axis, and its sign (+1 or -1).

        Each array axis answers to one patient axis only, also on a 45 degree oblique grid.
        """
        directions = self.ijk_to_ras[:3, :3] / np.asarray(self.spacing_ijk_mm)
        remaining = np.abs(directions)
        assigned: dict[int, int] = {}
        for _ in range(3):
            patient, voxel = divmod(int(np.argmax(remaining)), 3)
            assigned[patient] = voxel
            remaining[patient, :] = -1
            remaining[:, voxel] = -1
        patient = "RAS".index(axis)
        voxel = assigned[patient]
        return 2 - voxel, 1 if directions[patient, voxel] > 0 else -1

    def crop(self, box_kji: Box) -> Geometry:
        """Grid of ``array[box_kji]``; slices with step 1 and bounds inside the grid."""
        starts, shape = [], []
        for part, size in zip(box_kji, self.shape, strict=True):
            start, stop, step = part.indices(size)
            if step != 1:
                raise ValueError("crop with step 1; use resampling to thin a grid out")
            starts.append(start)
            shape.append(stop - start)
        matrix = self.ijk_to_ras.copy()
        matrix[:3, 3] = self.ras_from_ijk(starts[::-1])
        return Geometry((shape[0], shape[1], shape[2]), matrix)

    def with_spacing(self, spacing_ijk_mm: tuple[float, float, float]) -> Geometry:
        """Grid of other spacing that covers the same field of view, voxel edge to voxel edge."""
        old = np.asarray(self.spacing_ijk_mm)
        new = np.asarray(spacing_ijk_mm, dtype=np.float64)
        sizes = np.asarray(self.shape[::-1])
        counts = np.maximum(1, np.round(sizes * old / new)).astype(int)
        matrix = self.ijk_to_ras.copy()
        matrix[:3, :3] *= new / old
        centre = self.ras_from_ijk((sizes - 1) / 2)
        matrix[:3, 3] = centre - matrix[:3, :3] @ ((counts - 1) / 2)
        return Geometry((int(counts[2]), int(counts[1]), int(counts[0])), matrix)

    def distance_mm(self, other: Geometry) -> float:
        """Greatest displacement of a corner voxel between two grids of one shape."""
        return float(np.linalg.norm(self.corners_ras_mm() - other.corners_ras_mm(), axis=1).max())

    def same_as(self, other: Geometry, *, tolerance_mm: float = GRID_TOLERANCE_MM) -> bool:
        """Whether both grids coincide."""
        return self.shape == other.shape and self.distance_mm(other) <= tolerance_mm

    def shares_voxels(self, other: Geometry, *, tolerance_mm: float = GRID_TOLERANCE_MM) -> bool:
        """Whether the voxels of both grids coincide where both have some, as after a crop."""
        corner = np.rint(self.ijk_from_ras(other.ras_from_ijk((0, 0, 0))))
        shifted = self.ijk_to_ras.copy()
        shifted[:3, 3] = self.ras_from_ijk(corner)
        return Geometry(other.shape, shifted).same_as(other, tolerance_mm=tolerance_mm)

    def require_same(
        self, other: Geometry, *, what: str = "", tolerance_mm: float = GRID_TOLERANCE_MM
    ) -> None:
        """Raise `GeometryMismatchError` unless both grids coincide."""
        subject = f"{what}: " if what else ""
        if self.shape != other.shape:
            raise GeometryMismatchError(
                f"{subject}shapes differ: {self.shape} and {other.shape} (K, J, I); "
                "resample one image onto the other first"
            )
        offset = self.distance_mm(other)
        if offset > tolerance_mm:
            raise GeometryMismatchError(
                f"{subject}grids of shape {self.shape} lie up to {offset:.3g} mm apart "
                f"(tolerance {tolerance_mm} mm); resample one image onto the other first"
            )


def bounding_box(
    mask: Mask, margin: tuple[int, int, int] = (0, 0, 0)
) -> tuple[slice, slice, slice]:
    """Find the smallest box around the true voxels, widened by a margin in voxels.

    Raises
    ------
    ValueError
        If the mask is empty.

    """
    box = []
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        found = np.flatnonzero(mask.any(axis=others))
        if not found.size:
            raise ValueError("an empty mask has no bounding box")
        start = max(0, int(found[0]) - margin[axis])
        stop = min(mask.shape[axis], int(found[-1]) + 1 + margin[axis])
        box.append(slice(start, stop))
    return box[0], box[1], box[2]


def box_around(mask: Mask, spacing_kji_mm: Sequence[float], margin_mm: float) -> Box:
    """Find the box around the true voxels with a margin in mm, as far as the array goes.

    Parameters
    ----------
    mask
        Shape (K, J, I), not empty.
    spacing_kji_mm
        Distances of its voxels.
    margin_mm
        On every side, rounded up to whole voxels.

    """
    return bounding_box(mask, margin_voxels(spacing_kji_mm, margin_mm))


def margin_voxels(spacing_kji_mm: Sequence[float], margin_mm: float) -> tuple[int, int, int]:
    """Count the voxels that cover a distance along each array axis.

    Examples
    --------
    >>> margin_voxels((2.5, 0.7, 0.7), 5.0)
    (2, 8, 8)

    """
    k, j, i = (math.ceil(margin_mm / mm) for mm in spacing_kji_mm)
    return k, j, i


def widened(box: Sequence[slice], margin: Sequence[int], shape: Sequence[int]) -> Box:
    """Box with a margin in voxels along each axis, as far as an array of this shape goes."""
    k, j, i = (
        slice(max(0, part.start - more), min(size, part.stop + more))
        for part, more, size in zip(box, margin, shape, strict=True)
    )
    return k, j, i


@dataclass(frozen=True, eq=False)
class Volume:
    """Scalar image with a unit.

    Parameters
    ----------
    array
        Voxel values, shape (K, J, I), finite; kept as a read-only view.
    geometry
        Its grid.
    unit
        UCUM-like unit of the values: ``"HU"``, ``"mg/mL"``, ``"mL/mL"``, ``"mm"`` or ``"1"``.
    valid
        Voxels that hold a measurement, or None for all.  Padding outside the scan field is stored
        as air so that filters meet no cliff, and excluded here so that it enters no statistic.

    Raises
    ------
    InputError
        If array or ``valid`` do not fit the geometry.

    """

    array: NDArray[Any]
    geometry: Geometry
    unit: str
    valid: Mask | None = None

    def __post_init__(self) -> None:
        """Check and freeze."""
        for name, array in (("array", self.array), ("valid", self.valid)):
            if array is None:
                continue
            if array.shape != self.geometry.shape:
                raise InputError(
                    f"the {name} has shape {array.shape}, its geometry {self.geometry.shape}"
                )
            object.__setattr__(self, name, _frozen(array))
        if self.valid is not None and self.valid.dtype != np.bool_:
            raise TypeError(f"valid must be a boolean array, not {self.valid.dtype}")

    def require_unit(self, unit: str, what: str) -> None:
        """Raise `InputError` unless the values are in ``unit``."""
        if self.unit != unit:
            raise InputError(f"{what} must be in {unit}, but its values are in {self.unit}")

    def values(self, mask: Mask) -> NDArray[Any]:
        """Measured values inside a mask, 1-D in array order; padding is left out."""
        return np.asarray(self.array[mask if self.valid is None else mask & self.valid])

    def with_array(self, array: NDArray[Any], *, unit: str | None = None) -> Volume:
        """Other values on the same grid, with the same padding."""
        return Volume(array, self.geometry, unit or self.unit, self.valid)

    def crop(self, box_kji: Box) -> Volume:
        """Part of the image, at the same place in the patient."""
        valid = None if self.valid is None else self.valid[box_kji]
        return Volume(self.array[box_kji], self.geometry.crop(box_kji), self.unit, valid)

    def cut_out(self, box_kji: Box) -> Volume:
        """Copy of a part, so that the whole image can be forgotten."""
        valid = None if self.valid is None else self.valid[box_kji].copy()
        return Volume(self.array[box_kji].copy(), self.geometry.crop(box_kji), self.unit, valid)


@dataclass(frozen=True, eq=False)
class Labelmap:
    """Voxel labels with their meaning.

    Parameters
    ----------
    array
        Unsigned integers, shape (K, J, I); 0 is background.  Kept as a read-only view.
    geometry
        Its grid.
    names
        Meaning of each label value: identifiers of `lungperfusion.terms` (region or structure).
        A value in the array without a name is an error.

    """

    array: NDArray[np.unsignedinteger[Any]]
    geometry: Geometry
    names: Mapping[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check and freeze."""
        if self.array.dtype.kind != "u":
            raise TypeError(f"labels must be unsigned integers, not {self.array.dtype}")
        if self.array.shape != self.geometry.shape:
            raise InputError(
                f"the label array has shape {self.array.shape}, its geometry {self.geometry.shape}"
            )
        names = {int(value): str(name) for value, name in self.names.items()}
        if not _all_among(self.array, {0, *names}):
            unnamed = sorted(set(present_labels(self.array)) - set(names))
            raise InputError(f"label values {unnamed} have no name; named are {sorted(names)}")
        object.__setattr__(self, "array", _frozen(self.array))
        object.__setattr__(self, "names", MappingProxyType(names))

    def mask(self, *names: str) -> Mask:
        """Voxels that carry any of these names; no voxel for a name that is not there."""
        values = [value for value, name in self.names.items() if name in names]
        if not values:
            return np.zeros(self.geometry.shape, dtype=np.bool_)
        mask = self.array == values[0]
        for value in values[1:]:
            mask |= self.array == value
        return np.asarray(mask)

    def volume_ml(self, *names: str) -> float:
        """Volume of the voxels that carry any of these names."""
        return float(np.count_nonzero(self.mask(*names))) * self.geometry.voxel_volume_ml

    def with_array(self, array: NDArray[np.unsignedinteger[Any]]) -> Labelmap:
        """Other labels on the same grid with the same names."""
        return Labelmap(array, self.geometry, self.names)

    def crop(self, box_kji: Box) -> Labelmap:
        """Part of the label map, at the same place in the patient."""
        return Labelmap(self.array[box_kji], self.geometry.crop(box_kji), self.names)


_FEW_LABELS = 16
"""So many labels are counted one by one in less time than all at once."""


def _all_among(array: NDArray[np.unsignedinteger[Any]], values: Collection[int]) -> bool:
    """Whether every voxel has one of these values."""
    held = [value for value in values if 0 <= value <= np.iinfo(array.dtype).max]
    if len(held) > _FEW_LABELS:
        return set(present_labels(array)) <= set(held)
    return all(
        sum(np.count_nonzero(plane == value) for value in held) == plane.size for plane in array
    )


def present_labels(array: NDArray[np.unsignedinteger[Any]]) -> list[int]:
    """Label values other than 0 that occur, ascending."""
    found: set[int] = set()
    for plane in array:  # plane by plane: `bincount` widens its input to 64 bits
        if array.dtype.itemsize <= 2:
            found.update(np.flatnonzero(np.bincount(plane.ravel())).tolist())
        else:
            found.update(np.unique(plane).tolist())
    return sorted(found - {0})


def lps_from_ras(points_mm: ArrayLike) -> NDArray[np.float64]:
    """Swap the sign of the first two coordinates: RAS to LPS, and back."""
    return np.asarray(points_mm, dtype=np.float64) * (-1.0, -1.0, 1.0)

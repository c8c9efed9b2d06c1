"""Named phantoms: the command line's KIND, test cases, sample data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungperfusion.phantoms.anatomy import Build
from lungperfusion.phantoms.chest import Ball, Bubble, ChestModel
from lungperfusion.phantoms.dual_energy import (
    Blob,
    Cap,
    Change,
    DualEnergyPhantom,
    DualEnergyScan,
    Wedge,
    mottled,
    render_dual_energy,
)
from lungperfusion.phantoms.first_pass import (
    SLAB_CENTRE_RAS_MM,
    SLAB_FIELD_MM,
    FirstPassPhantom,
    FirstPassScan,
    Lungs,
    render_first_pass,
)
from lungperfusion.phantoms.rendering import Phantom, render
from lungperfusion.progress import Progress, ignore
from lungperfusion.volume import Geometry

DEFAULT_SPACING_MM = (1.5, 1.5, 1.5)
FIELD_CENTRE_RAS_MM = (0.0, -12.0, -58.0)
FIELD_MM = (420.0, 320.0, 350.0)
"""Field of view (along R, A, S): shoulders to below the domes, with air around."""


def default_geometry(
    spacing_ijk_mm: tuple[float, float, float] = DEFAULT_SPACING_MM,
    *,
    field_mm: tuple[float, float, float] = FIELD_MM,
    centre_ras_mm: tuple[float, float, float] = FIELD_CENTRE_RAS_MM,
    tilt_degrees: float = 0.0,
    turn: NDArray[np.float64] | None = None,
) -> Geometry:
    """Grid around the chest: axial unless tilted or turned.

    Parameters
    ----------
    spacing_ijk_mm
        Distance between voxels.
    field_mm, centre_ras_mm
        Extent along I, J, K and centre.
    tilt_degrees
        Gantry tilt: slices lean around the R axis while the table moves along S, which shears
        the grid; the spacing along K is the table's step.
    turn
        3x3 rotation of the whole grid around its centre.

    """
    spacing = np.asarray(spacing_ijk_mm, dtype=np.float64)
    counts = np.maximum(1, np.round(np.asarray(field_mm) / spacing)).astype(int)
    lean = np.deg2rad(tilt_degrees)
    axes = np.array([[-1.0, 0.0, 0.0], [0.0, -np.cos(lean), 0.0], [0.0, np.sin(lean), 1.0]])
    if turn is not None:
        axes = np.asarray(turn) @ axes
    matrix = np.eye(4)
    matrix[:3, :3] = axes * spacing
    matrix[:3, 3] = np.asarray(centre_ras_mm) - matrix[:3, :3] @ ((counts - 1) / 2)
    return Geometry((int(counts[2]), int(counts[1]), int(counts[0])), matrix)


@dataclass(frozen=True)
class Kind:
    """Recipe of a named phantom; call it to make one.

    Parameters
    ----------
    summary
        One line for the command line's help.
    anatomy
        Fields of `ChestModel` that differ from the healthy default.
    grid
        Arguments of `default_geometry`.
    scan
        Arguments of `rendering.render`.
    spacing_ijk_mm
        Distance between voxels unless the caller wants another.

    """

    summary: str
    anatomy: Mapping[str, Any] = field(default_factory=dict)
    grid: Mapping[str, Any] = field(default_factory=dict)
    scan: Mapping[str, Any] = field(default_factory=dict)
    spacing_ijk_mm: tuple[float, float, float] = DEFAULT_SPACING_MM

    def model(self, seed: int = 1) -> ChestModel:
        """Chest of this kind."""
        return ChestModel(seed=seed, **self.anatomy)

    def geometry(self, spacing_ijk_mm: tuple[float, float, float] | None = None) -> Geometry:
        """Grid of this kind."""
        return default_geometry(spacing_ijk_mm or self.spacing_ijk_mm, **self.grid)

    def __call__(
        self,
        spacing_ijk_mm: tuple[float, float, float] | None = None,
        *,
        seed: int = 1,
        progress: Progress = ignore,
    ) -> Phantom:
        """Make the phantom.

        Parameters
        ----------
        spacing_ijk_mm
            Distance between voxels, or None for the kind's own.
        seed
            Of anatomy and noise; same seed, same bytes.
        progress
            Told how far it is.

        """
        return render(
            self.model(seed),
            self.geometry(spacing_ijk_mm),
            seed=seed,
            progress=progress,
            **self.scan,
        )


_CONTRAST = {
    "blood_iodine_mg_ml": 10.0,
    "parenchyma_iodine_mg_ml": 1.3,
    "vena_cava_iodine_mg_ml": 40.0,
    "streak_hu": 90.0,
}
_GLASS = (
    Ball((88.0, -62.0, -50.0), (40.0, 34.0, 44.0)),
    Ball((-92.0, -58.0, -70.0), (36.0, 34.0, 40.0)),
    Ball((100.0, 10.0, -20.0), (26.0, 30.0, 28.0)),
    Ball((-100.0, 0.0, 10.0), (24.0, 26.0, 28.0)),
)
_NODULES = (
    Ball((120.0, -20.0, -30.0), (9.0, 9.0, 9.0)),
    Ball((-110.0, -45.0, -20.0), (6.0, 6.0, 6.0)),
    Ball((70.0, -85.0, -60.0), (12.0, 12.0, 12.0)),
    Ball((-60.0, 10.0, 30.0), (4.0, 4.0, 4.0)),
    Ball((60.0, 0.0, 40.0), (3.0, 3.0, 3.0)),
)

_TUMOURS = (
    Ball((72.0, -30.0, 5.0), (25.0, 25.0, 25.0)),
    Ball((-95.0, -20.0, 5.0), (16.0, 16.0, 16.0)),
    Ball((112.0, -10.0, -60.0), (20.0, 20.0, 20.0)),
    Ball((-80.0, -80.0, -50.0), (18.0, 18.0, 18.0)),
    Ball((75.0, 0.0, -108.0), (15.0, 15.0, 15.0)),
)
_CONSOLIDATIONS = (
    Ball((-88.0, -88.0, -70.0), (38.0, 20.0, 40.0)),
    Ball((-118.0, -30.0, 0.0), (20.0, 30.0, 26.0)),
)

KINDS: dict[str, Kind] = {
    "healthy": Kind("healthy adult, deep breath, no contrast"),
    "small": Kind(
        "healthy, coarse and quick to make",
        anatomy={"leaves": 120},
        scan={"noise_sd_hu": 12.0},
        spacing_ijk_mm=(3.2, 3.2, 3.2),
    ),
    "consolidation": Kind(
        "a third of the right lower lobe consolidated against the pleura",
        anatomy={"consolidated_lobe": "right_lower_lobe", "consolidated_share": 1 / 3},
    ),
    "ground_glass": Kind(
        "ground glass touching the pleura on both sides", anatomy={"ground_glass": _GLASS}
    ),
    "nodules": Kind("solid nodules, three of them on the wall", anatomy={"nodules": _NODULES}),
    "emphysema": Kind(
        "emphysema with flat domes",
        anatomy={
            "emphysema_share": 0.25,
            "lung_hu": -905.0,
            "build": Build(flatness=0.7, diaphragm_lift_mm=-12.0),
        },
    ),
    "contrast": Kind("intravenous contrast with streaks at the vena cava", anatomy=_CONTRAST),
    "full_stomach": Kind(
        "gas in the stomach behind a wall of 2 mm, colon full of stool, fat beside the heart",
        {"stomach_bubble": Bubble(), "colon": True, "heart_fat": True},
    ),
    "tumours": Kind(
        "masses of 2 to 5 cm in the lung, on vessels, against pleura and diaphragm; port and wires",
        {"nodules": _TUMOURS, "wires": True},
    ),
    "pneumonia": Kind(
        "uneven ground glass and consolidation at the back of both lungs",
        {
            "ground_glass": _GLASS,
            "uneven_glass_hu": 110.0,
            "consolidated_lobe": "right_lower_lobe",
            "consolidated_share": 0.2,
            "nodules": _CONSOLIDATIONS,
        },
    ),
    "one_lung": Kind("left lung removed, its space filled with fluid", {"lungs": ("right_lung",)}),
    "touching_lungs": Kind(
        "lungs that touch in front of the great vessels", {"build": Build(junction_mm=0.8)}
    ),
    "expiration": Kind(
        "breathed out: high domes, dense lungs, bowed trachea",
        anatomy={
            "build": Build(diaphragm_lift_mm=38.0),
            "lung_hu": -760.0,
            "lung_gradient_hu_per_mm": 0.8,
            "expiratory_trachea": True,
        },
    ),
    "incomplete_fissures": Kind(
        "40 % of each fissure missing",
        anatomy={
            "fissure_completeness": (
                ("left_oblique", 0.6),
                ("right_oblique", 0.6),
                ("right_horizontal", 0.6),
            )
        },
    ),
    "arms_down": Kind(
        "arms beside the trunk", {"arms_down": True}, {"field_mm": (560.0, 330.0, 350.0)}
    ),
    "low_dose": Kind("much noise", scan={"noise_sd_hu": 70.0, "noise_correlation_mm": 2.0}),
    "lung_kernel": Kind(
        "lung kernel: sharp noise, tracheal air at -950 HU, bronchial walls thin or too thin",
        anatomy={"airway_air_hu": -950.0, "wall_share": 0.6, "no_wall_below_mm": 1.5},
        scan={"noise_sd_hu": 45.0, "noise_correlation_mm": None, "psf_fwhm_mm": 0.7},
    ),
    "tracheostomy": Kind("airways open to the room at the neck", {"tracheostomy": True}),
    "thick_slices": Kind(
        "slices of 5 mm", scan={"noise_sd_hu": 10.0}, spacing_ijk_mm=(0.9, 0.9, 5.0)
    ),
    "cut_off": Kind(
        "field of view smaller than the lungs, padding outside the scan circle",
        grid={"field_mm": (250.0, 250.0, 250.0), "centre_ras_mm": (14.0, -14.0, -30.0)},
        scan={"padding_hu": -2000},
    ),
    "tilted": Kind("gantry tilted by 15 degrees", grid={"tilt_degrees": 15.0}),
}
"""Every kind that ``lungperfusion phantom`` offers."""


@dataclass(frozen=True)
class DualEnergyKind:
    """Recipe of a named dual-energy phantom; call it to make one.

    Parameters
    ----------
    summary
        One line for the command line's help.
    changes
        Where iodine is missing, or more than elsewhere.
    anatomy
        Fields of `ChestModel` that differ from the enhanced default.
    scan
        Voltages, noise and artefacts.
    lobe_factors
        Iodine by lobe relative to the mean of the lungs.
    spacing_ijk_mm
        Distance between voxels unless the caller wants another.

    """

    summary: str
    changes: tuple[Change, ...] = ()
    anatomy: Mapping[str, Any] = field(default_factory=dict)
    scan: DualEnergyScan = field(default_factory=DualEnergyScan)
    lobe_factors: Mapping[str, float] = field(default_factory=dict)
    spacing_ijk_mm: tuple[float, float, float] = DEFAULT_SPACING_MM

    def model(self, seed: int = 1) -> ChestModel:
        """Chest of this kind."""
        return ChestModel(seed=seed, **{**_ENHANCED, **self.anatomy})

    def __call__(
        self,
        spacing_ijk_mm: tuple[float, float, float] | None = None,
        *,
        seed: int = 1,
        progress: Progress = ignore,
    ) -> DualEnergyPhantom:
        """Make the phantom; parameters as in `Kind`."""
        return render_dual_energy(
            self.model(seed),
            default_geometry(spacing_ijk_mm or self.spacing_ijk_mm),
            changes=self.changes,
            scan=self.scan,
            lobe_factors=self.lobe_factors,
            seed=seed,
            progress=progress,
        )


_ENHANCED = {"blood_iodine_mg_ml": 14.0, "parenchyma_iodine_mg_ml": 1.7}
_WEDGES: tuple[Change, ...] = (
    Wedge((70.0, -45.0, -60.0), (0.75, -0.65, -0.1), 26.0),
    Wedge((-85.0, -10.0, -20.0), (-1.0, -0.2, 0.1), 30.0),
    Wedge((-70.0, -50.0, -70.0), (-0.7, -0.7, -0.3), 24.0),
    Wedge((80.0, 15.0, 10.0), (0.9, 0.5, 0.2), 27.0),
)
_DEFECTS: tuple[Change, ...] = (
    *_WEDGES,
    Wedge((58.0, -52.0, -95.0), (0.5, -0.3, -1.0), 38.0, name="segment"),
    Cap(above_s=85.0, depth_mm=9.0),
    *mottled((-62.0, 5.0, 30.0), 36.0, 16, 8.0, seed=1),
    Blob(Ball((95.0, 5.0, -20.0), (22.0, 26.0, 24.0)), 1.4, "ground_glass"),
    Blob(Ball((-92.0, 10.0, -45.0), (17.0, 20.0, 18.0)), 0.3, "ground_glass_defect"),
)
_DEFECT_GLASS = (
    Ball((95.0, 5.0, -20.0), (22.0, 26.0, 24.0)),
    Ball((-92.0, 10.0, -45.0), (17.0, 20.0, 18.0)),
)

DUAL_ENERGY_KINDS: dict[str, DualEnergyKind] = {
    "dect": DualEnergyKind("dual-energy pair of a healthy chest, 80 and 140 kV with tin filter"),
    "dect_defects": DualEnergyKind(
        "dual-energy pair with wedge, segmental, subpleural and mottled defects and ground glass",
        changes=_DEFECTS,
        anatomy={"ground_glass": _DEFECT_GLASS},
    ),
    "dect_artefacts": DualEnergyKind(
        "dual-energy pair with streaks, misregistration and an offset of the low voltage",
        changes=_WEDGES,
        anatomy={"vena_cava_iodine_mg_ml": 40.0, "streak_hu": 1.0},
        scan=DualEnergyScan(low_streak_hu=90.0, low_offset_hu=4.0, high_shift_mm=(0.3, 0.4, 0.5)),
    ),
}
"""Dual-energy pairs that ``lungperfusion phantom`` offers."""


@dataclass(frozen=True)
class FirstPassKind:
    """Recipe of a named dynamic phantom; call it to make one."""

    summary: str
    scan: FirstPassScan = field(default_factory=FirstPassScan)
    lungs: Lungs = field(default_factory=Lungs)
    spacing_ijk_mm: tuple[float, float, float] = (3.0, 3.0, 3.0)

    def __call__(
        self,
        spacing_ijk_mm: tuple[float, float, float] | None = None,
        *,
        seed: int = 1,
        progress: Progress = ignore,
    ) -> FirstPassPhantom:
        """Make the phantom; parameters as in `Kind`."""
        geometry = default_geometry(
            spacing_ijk_mm or self.spacing_ijk_mm,
            field_mm=SLAB_FIELD_MM,
            centre_ras_mm=SLAB_CENTRE_RAS_MM,
        )
        return render_first_pass(
            geometry, scan=self.scan, lungs=self.lungs, seed=seed, progress=progress
        )


FIRST_PASS_KINDS: dict[str, FirstPassKind] = {
    "dynamic": FirstPassKind(
        "first pass of a bolus: 24 frames, two deficits, ground glass, breathing, streaks"
    ),
    "dynamic_shuttle": FirstPassKind(
        "the same while the table moves: every slice has times of its own",
        scan=FirstPassScan(table_s=1.0),
    ),
}
"""Dynamic series that ``lungperfusion phantom`` offers."""

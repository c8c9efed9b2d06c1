"""How much of the airway tree is found, and how much lung is taken for it.

Chests of two generators with noise, tracheal air, walls and disease that make trees leak.  Settings
of the airways were chosen on the project's own phantom at 0.9 x 0.9 x 2.5 and 1.5 mm (clean, with
tracheal air at -940 HU, without visible walls) and looked at on two real scans; the second chest
and all other figures were measured afterwards.

Leak is airway farther than one voxel from any true lumen, relative to the lungs.  Length is the
share of the bronchi's axis with airway within one voxel; bronchi of the phantom go down to a lumen
of 2 mm, those of the second chest, whose trachea counts as well, to 1.4 mm.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from Benchmarks import Figure, _second_chest
from lungperfusion.phantoms.chest import ChestModel
from lungperfusion.phantoms.kinds import default_geometry
from lungperfusion.phantoms.rendering import render
from lungperfusion.phantoms.trees import Tubes
from lungperfusion.segmentation.lungs import segment_lungs
from lungperfusion.volume import Geometry, Mask, Volume

LEAK_PERCENT = 1.0
LENGTH_PERCENT = 60.0
FIELD = {"field_mm": (310.0, 230.0, 290.0), "centre_ras_mm": (0.0, -8.0, -38.0)}
FINE, ROUGH = (0.9, 0.9, 2.5), (1.5, 1.5, 1.5)
UNSEEN = {"no_wall_below_mm": 2.8, "wall_share": 0.7}
"""Walls invisible beyond the third generation, a lumen of 5.6 mm."""


@dataclass(frozen=True)
class Axis:
    """Points along the axes of bronchi and the length that each stands for."""

    places_ras_mm: NDArray[np.float64]
    length_mm: NDArray[np.float64]

    @classmethod
    def of(cls, bronchi: Tubes) -> Axis:
        """Ten points on each piece."""
        share = np.linspace(0.05, 0.95, 10)[None, :, None]
        way = bronchi.end_mm - bronchi.start_mm
        places = bronchi.start_mm[:, None] + way[:, None] * share
        return cls(places.reshape(-1, 3), np.repeat(bronchi.length_mm / 10, 10))


def tree_figures(
    name: str, tree: Mask, lumen: Mask, lungs: Mask, axis: Axis, geometry: Geometry, *, clean: bool
) -> Iterator[Figure]:
    """Leak and length of a tree against its truth."""
    outside = tree & ~ndimage.binary_dilation(lumen)
    yield Figure(
        name=f"{name}: airway leak, of the lungs",
        value=100 * np.count_nonzero(outside) / np.count_nonzero(lungs),
        unit="%",
        at_most=LEAK_PERCENT,
    )
    i, j, k = np.round(geometry.ijk_from_ras(axis.places_ras_mm)).astype(int).T
    inside = np.ones(k.size, np.bool_)
    for index, count in zip((k, j, i), geometry.shape, strict=True):
        inside &= (index >= 0) & (index < count)
    near = ndimage.binary_dilation(tree)[k[inside], j[inside], i[inside]]
    length = axis.length_mm[inside]
    yield Figure(
        name=f"{name}: airway length found",
        value=100 * float((near * length).sum() / length.sum()),
        unit="%",
        **({"at_least": LENGTH_PERCENT} if clean else {}),
    )


def phantom(
    name: str,
    spacing_mm: tuple[float, float, float],
    anatomy: dict[str, float],
    *,
    noise_hu: float = 15.0,
    rear_third_hu: float = 0.0,
    clean: bool = False,
) -> Iterator[Figure]:
    """Figures of the project's own phantom, with the noise of a lung kernel unless clean."""
    made = render(
        ChestModel(**anatomy),
        default_geometry(spacing_mm, **FIELD),
        noise_sd_hu=noise_hu,
        noise_correlation_mm=1.5 if clean else None,
    )
    truth, geometry = made.truth, made.ct.geometry
    lumen, lungs = truth.airways.array > 0, truth.lungs.array > 0
    ct = made.ct
    if rear_third_hu:
        a = np.broadcast_to(geometry.coordinate_mm("A"), lungs.shape)
        rear = lungs & ~lumen & (a < np.quantile(a[lungs], 1 / 3)) & (ct.array < -500)
        ct = Volume(ct.array + np.int16(rear_third_hu) * rear, geometry, "HU")
    tree = segment_lungs(ct).labelmap.mask("airways")
    axis = Axis.of(truth.bronchi)
    yield from tree_figures(f"phantom, {name}", tree, lumen, lungs, axis, geometry, clean=clean)


def second(
    name: str, spacing_mm: tuple[float, float, float], *, noise_hu: float = 20.0, **recipe: object
) -> Iterator[Figure]:
    """Figures of the second chest, which no setting was chosen on."""
    settings = _second_chest.Recipe(**recipe)  # type: ignore[arg-type]
    chest = _second_chest.build(spacing_mm, settings)
    ct = chest.scan(noise_hu=noise_hu, sharp=noise_hu > 20)
    tree = segment_lungs(ct).labelmap.mask("airways")
    bronchi = _second_chest.airway_trees(settings)
    axis = Axis(bronchi.points * (-1, -1, 1), np.asarray(bronchi.step_mm, np.float64))
    yield from tree_figures(
        f"second chest, {name}", tree, chest.airways, chest.lungs.array > 0, axis, chest.geometry,
        clean=False,
    )  # fmt: skip


def main() -> list[Figure]:
    """Measure both generators."""
    glass = _second_chest.Patch(centre=(-80.0, 40.0, -20.0), radii=(45.0, 45.0, 60.0), hu=-650.0)
    return [
        *phantom("clean, 1.5 mm", ROUGH, {}, clean=True),
        *phantom("clean, 0.9 x 0.9 x 2.5 mm", FINE, {}, clean=True),
        *phantom("air -940 HU, sharp noise 60 HU", FINE, {"airway_air_hu": -940.0}, noise_hu=60.0),
        *phantom(
            "air -1000 HU, sharp noise 30 HU", FINE, {"airway_air_hu": -1000.0}, noise_hu=30.0
        ),
        *phantom(
            "air -950 HU, no walls beyond generation 3", FINE, {"airway_air_hu": -950.0, **UNSEEN}
        ),
        *phantom(
            "the same, sharp noise 60 HU", FINE, {"airway_air_hu": -950.0, **UNSEEN}, noise_hu=60.0
        ),
        *phantom(
            "the same, rear third +110 HU",
            FINE,
            {"airway_air_hu": -950.0, **UNSEEN},
            noise_hu=20.0,
            rear_third_hu=110.0,
        ),
        *second("clean, 1.5 mm", ROUGH),
        *second(
            "air -945 HU, thin walls, sharp noise 60 HU",
            FINE,
            noise_hu=60.0,
            tracheal_air_hu=-945.0,
            wall_share=0.12,
        ),
        *second(
            "open neck, ground glass, sharp noise 35 HU",
            ROUGH,
            noise_hu=35.0,
            tracheal_air_hu=-950.0,
            open_neck=True,
            patches=(glass,),
        ),
    ]

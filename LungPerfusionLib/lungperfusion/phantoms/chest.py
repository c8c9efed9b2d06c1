"""A chest put together: which material lies where.

`ChestModel` holds what can be set; `ChestModel.layers` lists solids in painting order.  Later
layers cover earlier ones.  `rendering.render` samples the layers on any grid.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from itertools import pairwise
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lungperfusion.phantoms import anatomy
from lungperfusion.phantoms.anatomy import LEFT, LOBE_SIDES, RIGHT, Build, Fissure, Rod
from lungperfusion.phantoms.breath import Breath
from lungperfusion.phantoms.shapes import Array, Point, capsule, ellipse, ellipsoid, smooth_max
from lungperfusion.phantoms.trees import Tubes, beside, grow

Distance = Callable[[Array, Array, Array], Array]
Value = float | Callable[[Array, Array, Array], Array]
Bounds = tuple[Point, Point]

AIR_HU = -1000.0
LUMEN_HU = -990.0
FAT_HU = -100.0
MUSCLE_HU = 52.0
SKIN_HU = 25.0
BLOOD_HU = 42.0
"""Blood without contrast; methods of the field use 35 to 55."""
WALL_HU = 40.0
IODINE_HU_PER_MG_ML = 25.0
"""CT number per mg iodine per mL at 120 kV in a chest-sized patient."""

FISSURE_HU = -520.0
FISSURE_THICKNESS_MM = 1.0
PLEURA_HU = 20.0
GROUND_GLASS_HU = 280.0
"""Added to aerated lung: -884 becomes about -600, inside the published range -700 to -200."""
PLEURAL_FLUID_HU = 12.0
METAL_HU = 3000.0
WIRE_RADIUS_MM = 1.0
STOOL_HU, STOOL_SD_HU = -350.0, 330.0
"""Stool with gas between, as the stored texture mottles it."""

LUNG_NAMES = {LEFT: "left_lung", RIGHT: "right_lung"}
LUNG_BOUNDS: dict[float, Bounds] = {
    LEFT: ((-142.0, -115.0, -235.0), (12.0, 85.0, 110.0)),
    RIGHT: ((-12.0, -115.0, -235.0), (142.0, 85.0, 110.0)),
}
"""Boxes that hold each lung."""
WHOLE: Bounds = ((-1e4, -1e4, -1e4), (1e4, 1e4, 1e4))


@dataclass(frozen=True)
class Layer:
    """One solid of one material.

    Parameters
    ----------
    name
        What it is; layers of one name make up one truth mask.
    distance
        Signed distance in mm, negative inside.
    hu
        CT number without contrast, a constant or a function of position.
    iodine_mg_ml
        Iodine concentration, likewise.
    bounds
        Box (least, greatest RAS) outside which the solid has no voxel.
    keep
        Whether the truth mask is wanted.
    within
        Kept layer, painted before, that this one fills a part of.
    opacity
        Share of the solid that is of its material; the rest is what lies there without it.

    """

    name: str
    distance: Distance
    hu: Value
    iodine_mg_ml: Value = 0.0
    bounds: Bounds = WHOLE
    keep: bool = False
    within: str = ""
    opacity: float = 1.0


@dataclass(frozen=True)
class TubeLayer:
    """Tubes of one material; ``grow_mm`` is added to every radius (airway walls)."""

    name: str
    tubes: Tubes
    hu: float
    iodine_mg_ml: float = 0.0
    grow_mm: NDArray[np.float64] | float = 0.0
    keep: bool = False


@dataclass(frozen=True)
class Ball:
    """Round or oval lesion at a place given by centre and half axes (RAS mm)."""

    centre: Point
    radii: Point


@dataclass(frozen=True)
class Bubble:
    """Gas in the stomach, right below the left dome.

    Parameters
    ----------
    wall_mm
        Thickness of diaphragm and stomach between gas and lung.
    hu
        CT number of the gas.
    ball
        Where the gas ends elsewhere.

    """

    wall_mm: float = 2.0
    hu: float = -957.0
    ball: Ball = Ball((-70.0, 4.0, -140.0), (45.0, 50.0, 36.0))


@dataclass(frozen=True, kw_only=True)
class ChestModel:
    """What a chest is made of; every field can be set, the defaults are a healthy adult.

    With a ``breath`` it is the same chest after breathing out: the same trees, lobes and lesions,
    moved, and the parenchyma denser by the air that left.
    """

    build: Build = field(default_factory=Build)
    fissures: tuple[Fissure, ...] = anatomy.FISSURES
    """Left oblique, right oblique, right horizontal."""
    seed: int = 1
    arms_down: bool = False
    table: bool = True
    clothing: bool = True
    lungs: tuple[str, ...] = ("left_lung", "right_lung")
    lung_hu: float = -884.0
    lung_gradient_hu_per_mm: float = 0.35
    texture_hu: float = 18.0
    blood_iodine_mg_ml: float = 0.0
    parenchyma_iodine_mg_ml: float = 0.0
    vena_cava_iodine_mg_ml: float = 0.0
    streak_hu: float = 0.0
    fissure_completeness: tuple[tuple[str, float], ...] = ()
    fissure_tissue_mm: float | None = None
    """Soft tissue across a fissure: about 0.15 mm in patients, whose fissures stand out by 60 to
    90 HU in slices of 0.8 mm.  None is a sheet of 1 mm and -520 HU, plainer than any patient's."""
    leaves: int = 420
    airway_radius_min_mm: float = 1.0
    airway_air_hu: float = LUMEN_HU
    """Air of trachea and bronchi: -990 to -940 in scans, by kernel, scatter and calibration."""
    wall_share: float = 1.0
    """Thickness of bronchial walls relative to `wall_mm`."""
    no_wall_below_mm: float = 0.0
    """Bronchi with a narrower lumen (radius) have walls too thin to be seen."""
    tracheostomy: bool = False
    """A slit of room air from the front of the neck into the trachea."""
    consolidated_lobe: str = ""
    consolidated_share: float = 0.0
    ground_glass: tuple[Ball, ...] = ()
    nodules: tuple[Ball, ...] = ()
    uneven_glass_hu: float = 0.0
    """Standard deviation of the mottling of ground glass."""
    stomach_bubble: Bubble | None = None
    colon: bool = False
    """Colon full of stool and gas beside and below the liver and the spleen."""
    heart_fat: bool = False
    """Pads of fat between heart, diaphragm and chest wall, on both sides."""
    wires: bool = False
    """Port below the right clavicle with its catheter, and a pacing wire in the heart."""
    emphysema_share: float = 0.0
    expiratory_trachea: bool = False
    breath: Breath | None = None

    # ---- lungs -------------------------------------------------------------------------------

    def lung(self, side: float, r: Array, a: Array, s: Array) -> Array:
        """Distance to one lung of this chest."""
        s = self._inspired_s(r, a, s)
        d = anatomy.lung(side, r, a, s, self.build)
        if self.heart_fat:
            d = smooth_max(d, -ellipsoid(r, a, s, *HEART_FAT[side]), 6.0)
        return np.asarray(d)

    def lobe(self, name: str, r: Array, a: Array, s: Array) -> Array:
        """Distance to one lobe."""
        return np.maximum(self.lung(LOBE_SIDES[name], r, a, s), self.lobe_side(name, r, a, s))

    def lobe_side(self, name: str, r: Array, a: Array, s: Array) -> Array:
        """Distance to the part of space that the lobe's fissures leave to it."""
        return anatomy.lobe(name, r, a, self._inspired_s(r, a, s), self.fissures)

    @cached_property
    def inspired(self) -> ChestModel:
        """The same chest at full inspiration."""
        return self if self.breath is None else replace(self, breath=None)

    def _inspired_s(self, r: Array, a: Array, s: Array) -> Array:
        return s if self.breath is None else self.breath.inspired_s(r, a, s)

    def parenchyma_hu(self, r: Array, a: Array, s: Array) -> Array:
        """CT number of aerated lung: denser toward the back, gently mottled."""
        gravity = self.lung_hu - self.lung_gradient_hu_per_mm * (a + 10.0)
        if not self.texture_hu:
            return np.asarray(gravity)
        return np.asarray(gravity + self.texture_hu * _texture(r, a, s))

    # ---- trees -------------------------------------------------------------------------------

    @property
    def _of_trees(self) -> ChestModel:
        """What the trees depend on, and else what every chest has: one tree serves many chests."""
        return ChestModel(
            build=self.build,
            fissures=self.fissures,
            seed=self.seed,
            lungs=self.lungs,
            leaves=self.leaves,
            heart_fat=self.heart_fat,
        )

    @property
    def _bronchial_trees(self) -> Mapping[str, Tubes]:
        """Bronchi down to the size of the smallest vessels; the visible ones are `airways`."""
        return _grown(self._of_trees, BRONCHI)

    @cached_property
    def airways(self) -> Tubes:
        """Lumen of main, lobar and smaller bronchi; the trachea is a solid of its own."""
        if self.breath is not None:
            return self.inspired.airways.moved(self.breath.expired)
        rods = [rod for rod in MAIN_BRONCHI if self.has(np.sign(rod[1][0]))]
        wide = (
            tree.where(tree.radius_mm >= self.airway_radius_min_mm)
            for tree in self._bronchial_trees.values()
        )
        return Tubes.joined([Tubes.from_rods(rods), *wide])

    @cached_property
    def arteries(self) -> Tubes:
        """Pulmonary arteries inside the lobes, each beside its bronchus."""
        if self.breath is not None:
            return self.inspired.arteries.moved(self.breath.expired)
        trees = []
        for name, bronchi in self._bronchial_trees.items():
            root, _, radius = LOBAR_ARTERIES[name]
            radii = bronchi.radius_mm * (radius / bronchi.radius_mm[0])
            visible = np.clip(bronchi.radius_mm / self.airway_radius_min_mm - 0.6, 0, 1)
            gap = visible * (radii + bronchi.radius_mm + wall_mm(bronchi.radius_mm) + 0.2)
            tree = beside(bronchi, radii, gap)
            tree.start_mm[tree.parent < 0] = root
            trees.append(tree)
        return Tubes.joined(trees)

    @cached_property
    def veins(self) -> Tubes:
        """Pulmonary veins inside the lobes, between the bronchi."""
        if self.breath is not None:
            return self.inspired.veins.moved(self.breath.expired)
        return Tubes.joined(_grown(self._of_trees, VEINS).values())

    def has(self, side: float) -> bool:
        """Whether the lung of this side is there."""
        return ("right_lung" if side > 0 else "left_lung") in self.lungs

    # ---- painting order ----------------------------------------------------------------------

    def layers(self) -> list[Layer | TubeLayer]:
        """Every solid from the table to the bronchi, in painting order."""
        chest = self.inspired
        out: list[Layer | TubeLayer] = []
        out += chest._surroundings()
        out += chest._trunk()
        out += map(self._exhaled, chest._abdomen())
        out += chest._skeleton()
        out += map(self._exhaled, chest._mediastinum())
        out += map(self._exhaled, chest._lungs())
        out += map(self._exhaled, chest._trees())
        return out

    def _exhaled(self, layer: Layer | TubeLayer) -> Layer | TubeLayer:
        """Solid inside the rib cage, moved by the breath; aerated lung (HU a function) thinned."""
        if self.breath is None:
            return layer
        if isinstance(layer, TubeLayer):
            return replace(layer, tubes=layer.tubes.moved(self.breath.expired))
        (r, a, s), (r_end, a_end, s_end) = layer.bounds
        return replace(
            layer,
            distance=self.breath.before(layer.distance),
            hu=self.breath.thinned(layer.hu) if callable(layer.hu) else layer.hu,
            bounds=((r, a, s), (r_end, a_end, s_end + self.breath.most_mm)),
        )

    def _surroundings(self) -> list[Layer | TubeLayer]:
        out: list[Layer | TubeLayer] = []
        if self.table:
            out.append(Layer("table", _table_shell, -120.0))
            out.append(Layer("table", lambda r, a, s: _table_shell(r, a, s) + 3.0, -930.0))
        if self.clothing:
            out.append(Layer("clothing", _blanket, -880.0))
        return out

    def _trunk(self) -> list[Layer | TubeLayer]:
        fat = self.build.fat_mm
        out: list[Layer | TubeLayer] = [
            Layer("skin", anatomy.trunk, SKIN_HU),
            Layer("fat", lambda r, a, s: anatomy.trunk(r, a, s) + 2.0, FAT_HU),
            Layer("muscle", lambda r, a, s: anatomy.trunk(r, a, s) + 2.0 + fat, MUSCLE_HU),
        ]
        if self.arms_down:
            for side in (LEFT, RIGHT):
                top, bottom = (side * 205.0, -18.0, 90.0), (side * 228.0, 0.0, -340.0)
                for name, radius, hu in (
                    ("skin", 46.0, SKIN_HU),
                    ("fat", 44.0, FAT_HU),
                    ("muscle", 36.0, MUSCLE_HU),
                    ("bone", 12.0, 900.0),
                    ("bone", 7.0, 120.0),
                ):
                    out.append(_rod_layer(name, (top, bottom, radius), hu))
        return out

    def _abdomen(self) -> list[Layer | TubeLayer]:
        build = self.build
        lift = build.diaphragm_lift_mm

        def below(r: Array, a: Array, s: Array) -> Array:
            """Inside the cage."""
            return anatomy.rib_cage(r, a, s)

        def liver(r: Array, a: Array, s: Array) -> Array:
            dome = anatomy.diaphragm(RIGHT, r, a, s, build) + 3.0
            d = smooth_max(dome, anatomy.rib_cage(r, a, s) + 4.0, 10.0)
            edge = -(r + 30.0 + 0.55 * a) * 0.8 - (s + 170.0 - lift) * 0.45
            d = smooth_max(d, edge, 25.0)
            back = -ellipse(r, a, (-16.0, -44.0), (52.0, 40.0))
            d = smooth_max(d, back, 14.0)
            return smooth_max(d, -(s + 270.0 - lift) - 0.4 * (r - 60.0), 20.0)

        def shifted(ball: Ball) -> Ball:
            r, a, s = ball.centre
            return Ball((r, a, s + lift), ball.radii)

        organs = [
            ("spleen", Ball((-92, -50, -186), (32, 42, 46)), 48.0),
            ("stomach", Ball((-66, 16, -166), (46, 44, 38)), 35.0),
            ("stomach_gas", Ball((-66, 26, -160), (37, 32, 26)), -985.0),
            ("bowel", Ball((-80, 40, -228), (36, 30, 22)), 30.0),
            ("bowel_gas", Ball((-80, 46, -226), (30, 22, 16)), -980.0),
            ("bowel", Ball((10, 60, -238), (60, 22, 20)), 30.0),
            ("bowel_gas", Ball((14, 66, -234), (50, 13, 12)), -980.0),
            ("kidney", Ball((62, -46, -262), (28, 26, 50)), 34.0),
            ("kidney", Ball((-62, -46, -256), (28, 26, 50)), 34.0),
        ]
        out: list[Layer | TubeLayer] = [
            Layer("cavity_fat", below, FAT_HU + 5),
            Layer("liver", liver, 58.0, self.blood_iodine_mg_ml * 0.2),
        ]

        def beside_spine(r: Array, a: Array, s: Array) -> Array:
            d = np.maximum(anatomy.spine(r, a, s) + 1.5, a - anatomy.SPINE_A(s) + 6.0)
            return np.asarray(np.maximum(d, anatomy.trunk(r, a, s) + 2.0 + build.fat_mm))

        out.append(Layer("muscle", beside_spine, MUSCLE_HU, 0.0, ((-60, -130, -400), (60, 0, 200))))
        for name, ball, hu in organs:
            iodine = 0.25 * self.blood_iodine_mg_ml if hu > 45 else 0.0
            out.append(_ball_layer(name, shifted(ball), hu, iodine))
        for side in (LEFT, RIGHT):
            out.append(
                Layer(
                    "diaphragm",
                    lambda r, a, s, side=side: np.maximum(  # type: ignore[misc]
                        np.abs(anatomy.diaphragm(side, r, a, s, build) + 1.2) - 1.5,
                        np.maximum(anatomy.rib_cage(r, a, s), 3.0 - side * r),
                    ),
                    MUSCLE_HU,
                    bounds=((-150, -110, -260), (150, 100, -60 + lift)),
                )
            )
        if self.colon:
            for ball in map(shifted, COLON):
                out.append(_ball_layer("colon", Ball(ball.centre, _wider(ball.radii, 2.5)), 30.0))
                solid = _ball_layer("colon", ball, 0.0)
                out.append(replace(solid, hu=_stool_hu))
        if (bubble := self.stomach_bubble) is not None:

            def gas(r: Array, a: Array, s: Array) -> Array:
                below = anatomy.diaphragm(LEFT, r, a, s, build) + bubble.wall_mm
                return np.asarray(np.maximum(inside.distance(r, a, s), below))

            inside = _ball_layer("stomach_bubble", shifted(bubble.ball), bubble.hu)
            out.append(replace(inside, distance=gas))
        return out

    def _skeleton(self) -> list[Layer | TubeLayer]:
        ribs, marrow = _ribs()
        out: list[Layer | TubeLayer] = [
            Layer("vertebrae", _vertebrae, 520.0, bounds=((-45, -130, -400), (45, 0, 200))),
            Layer(
                "marrow",
                lambda r, a, s: _vertebrae(r, a, s) + 2.0,
                190.0,
                bounds=((-45, -130, -400), (45, 0, 200)),
            ),
            Layer("canal", _canal, 25.0, bounds=((-12, -130, -400), (12, 0, 200))),
            TubeLayer("rib", ribs, 650.0),
            TubeLayer("rib_marrow", marrow, 180.0),
        ]
        plates: list[tuple[str, Distance, float]] = []
        for side in (LEFT, RIGHT):
            plates.append(
                ("scapula", lambda r, a, s, side=side: _scapula(side * r, a, s), 480.0)  # type: ignore[misc]
            )
        out += [Layer(name, d, hu) for name, d, hu in plates]
        for side in (LEFT, RIGHT):
            clavicle: Rod = ((side * 16.0, 36.0, 96.0), (side * 120.0, -4.0, 118.0), 6.5)
            head: Rod = ((side * 158.0, -30.0, 112.0), (side * 172.0, -30.0, 150.0), 22.0)
            for start, end, radius in (clavicle, head):
                out.append(_rod_layer("bone", (start, end, radius), 620.0))
                out.append(_rod_layer("marrow", (start, end, radius - 2.2), 200.0))
        out.append(Layer("sternum", _sternum, 420.0, bounds=((-30, 0, -130), (30, 110, 110))))
        out.append(
            Layer(
                "marrow",
                lambda r, a, s: _sternum(r, a, s) + 1.6,
                130.0,
                bounds=((-30, 0, -130), (30, 110, 110)),
            )
        )
        return out

    def _mediastinum(self) -> list[Layer | TubeLayer]:
        blood, iodine = BLOOD_HU, self.blood_iodine_mg_ml
        out: list[Layer | TubeLayer] = [
            _ball_layer("hilum", Ball(*anatomy.HILA[side]), 20.0) for side in (LEFT, RIGHT)
        ]
        if self.heart_fat:
            out += [_ball_layer("heart_fat", Ball(*HEART_FAT[q]), FAT_HU) for q in (LEFT, RIGHT)]
        heart_box: Bounds = ((-110, -60, -150), (70, 95, 0))
        out += [
            TubeLayer("oesophagus", Tubes.from_rods(anatomy.OESOPHAGUS), 38.0),
            Layer("heart", anatomy.heart, 46.0, 0.25 * iodine, heart_box),
            Layer("left_ventricle", _left_ventricle, blood, iodine, heart_box, True),
            Layer("right_ventricle", _right_ventricle, blood, iodine, heart_box, True),
            _ball_layer("right_atrium", _shrunk(anatomy.RIGHT_ATRIUM), blood, iodine, True),
            _ball_layer("left_atrium", _shrunk(anatomy.LEFT_ATRIUM), blood, iodine, True),
        ]
        for name, rods in (
            ("inferior_vena_cava", anatomy.INFERIOR_VENA_CAVA),
            ("aorta", anatomy.AORTA),
            ("aorta", anatomy.ARCH_BRANCHES),
            ("pulmonary_trunk", anatomy.PULMONARY_TRUNK),
            ("right_pulmonary_artery", anatomy.RIGHT_PULMONARY_ARTERY),
            ("left_pulmonary_artery", anatomy.LEFT_PULMONARY_ARTERY),
            ("pulmonary_vein_trunks", anatomy.PULMONARY_VEINS),
        ):
            out.append(TubeLayer(name, Tubes.from_rods(rods), blood, iodine, keep=True))
        out.append(
            TubeLayer(
                "superior_vena_cava",
                Tubes.from_rods(anatomy.SUPERIOR_VENA_CAVA),
                blood,
                self.vena_cava_iodine_mg_ml or iodine,
                keep=True,
            )
        )
        return out

    def _lungs(self) -> list[Layer | TubeLayer]:
        out: list[Layer | TubeLayer] = []
        for side, name in ((LEFT, "left_lung"), (RIGHT, "right_lung")):
            there = self.has(side)
            out.append(
                Layer(
                    name if there else "pleural_fluid",
                    lambda r, a, s, side=side: self.lung(side, r, a, s),  # type: ignore[misc]
                    self.parenchyma_hu if there else PLEURAL_FLUID_HU,
                    self.parenchyma_iodine_mg_ml if there else 0.0,
                    LUNG_BOUNDS[side],
                    keep=there,
                )
            )
        out += self._lesions()
        tissue_mm = self.fissure_tissue_mm
        for fissure in self.fissures:
            if self.has(fissure.side):
                out.append(
                    Layer(
                        "fissures",
                        self._fissure_sheet(fissure),
                        FISSURE_HU if tissue_mm is None else PLEURA_HU,
                        bounds=LUNG_BOUNDS[fissure.side],
                        within=LUNG_NAMES[fissure.side],
                        opacity=1.0 if tissue_mm is None else tissue_mm / FISSURE_THICKNESS_MM,
                    )
                )
        return out

    def _lesions(self) -> list[Layer | TubeLayer]:
        out: list[Layer | TubeLayer] = []
        iodine = self.parenchyma_iodine_mg_ml

        def add(name: str, side: float, distance: Distance, hu: Value, bounds: Bounds) -> None:
            lung = LUNG_NAMES[side]
            concentration = 0.0 if name == "emphysema" else iodine
            out.append(Layer(name, distance, hu, concentration, bounds, True, lung))

        def glass_hu(r: Array, a: Array, s: Array) -> Array:
            hu = self.parenchyma_hu(r, a, s) + GROUND_GLASS_HU
            if self.uneven_glass_hu:
                hu = hu + self.uneven_glass_hu * _texture(0.6 * r, 0.6 * a, 0.6 * s)
            return np.asarray(hu)

        for side in (LEFT, RIGHT):
            if self.has(side) and self.emphysema_share > 0:
                add("emphysema", side, _holes(self.emphysema_share), -988.0, LUNG_BOUNDS[side])
        values: tuple[tuple[str, tuple[Ball, ...], Value], ...] = (
            ("ground_glass", self.ground_glass, glass_hu),
            ("nodule", self.nodules, 38.0),
        )
        for name, balls, value in values:
            for ball in balls:
                side = RIGHT if ball.centre[0] > 0 else LEFT
                if self.has(side):
                    solid = _ball_layer(name, ball, 0.0)
                    add(name, side, solid.distance, value, solid.bounds)
        if self.consolidated_share > 0:
            side = LOBE_SIDES[self.consolidated_lobe]
            add("consolidation", side, self._consolidation, 42.0, LUNG_BOUNDS[side])
        return out

    def _consolidation(self, r: Array, a: Array, s: Array) -> Array:
        """Back and outer part of a lobe, with a wavy border toward the aerated part."""
        lobe = self.lobe_side(self.consolidated_lobe, r, a, s)
        return np.asarray(np.maximum(lobe, self._consolidation_depth - _backward(r, a, s)))

    @cached_property
    def _consolidation_depth(self) -> float:
        """Border that leaves the wanted share of the lobe behind it."""
        r, a, s = _lattice(LOBE_SIDES[self.consolidated_lobe], 2.5)
        inside = self.lobe(self.consolidated_lobe, r, a, s) < 0
        depth = np.broadcast_to(_backward(r, a, s), inside.shape)[inside]
        return float(np.quantile(depth, 1 - self.consolidated_share))

    # ---- fissures ----------------------------------------------------------------------------

    def completeness(self, fissure: Fissure) -> float:
        """Share of a fissure's area where it is there."""
        return dict(self.fissure_completeness).get(fissure.name, 1.0)

    def _bound(self, fissure: Fissure) -> Fissure | None:
        """Fissure above which another one lies, if it ends there."""
        _, right_oblique, right_horizontal = self.fissures
        return right_oblique if fissure == right_horizontal else None

    def fissure_parts(self, fissure: Fissure) -> tuple[float, float, float]:
        """Area of the whole interlobar surface in mm2, of its present part, and their border.

        The border is the `Fissure.laterality` below which (toward the hilum) the sheet is absent.
        """
        low, high = LUNG_BOUNDS[fissure.side]
        r = np.arange(low[0], high[0], 1.0)[None, :]
        a = np.arange(low[1], high[1], 1.0)[:, None]
        s = fissure.height(r, a)
        inside = self.lung(fissure.side, r, a, s) < 0
        if (bound := self._bound(fissure)) is not None:
            inside &= bound.distance(r, a, s) > 0
        area = np.where(inside, fissure.steepness(r, a), 0.0).ravel()
        place = fissure.laterality(r, a).ravel()
        order = np.argsort(-place, kind="stable")
        reached = np.cumsum(area[order])
        wanted = self.completeness(fissure) * reached[-1]
        last = min(int(np.searchsorted(reached, wanted)), len(order) - 1)
        complete = self.completeness(fissure) >= 1
        return float(reached[-1]), float(wanted), -1e3 if complete else float(place[order[last]])

    def fissure_present(self, fissure: Fissure, r: Array, a: Array) -> NDArray[np.bool_]:
        """Whether the sheet is there at a place of the interlobar surface."""
        return np.asarray(fissure.laterality(r, a) >= self.fissure_parts(fissure)[2])

    def _fissure_sheet(self, fissure: Fissure) -> Distance:
        border, bound = self.fissure_parts(fissure)[2], self._bound(fissure)

        def distance(r: Array, a: Array, s: Array) -> Array:
            d = np.abs(fissure.distance(r, a, s)) - FISSURE_THICKNESS_MM / 2
            if bound is not None:
                d = np.maximum(d, -bound.distance(r, a, s))
            if border > -1e3:
                d = np.maximum(d, border - fissure.laterality(r, a))
            return d

        return distance

    def streak_hu_at(self, r: Array, a: Array, s: Array) -> Array:
        """Artefact of dense contrast in the superior vena cava: rays that fade with distance."""
        start, end, _ = anatomy.SUPERIOR_VENA_CAVA[0]
        dr, da = r - (start[0] + end[0]) / 2, a - (start[1] + end[1]) / 2
        away = np.sqrt(dr * dr + da * da)
        rays = np.cos(7 * np.arctan2(da, dr) + 0.05 * s) * np.exp(-away / 45.0)
        along = np.clip((s - end[2]) / 10.0, 0, 1) * np.clip((start[2] + 20.0 - s) / 10.0, 0, 1)
        return np.asarray(self.streak_hu * rays * along)

    def _trees(self) -> list[Layer | TubeLayer]:
        airways, air_hu = self.airways, self.airway_air_hu
        walled = airways.where(airways.radius_mm >= self.no_wall_below_mm)
        wall = self.wall_share * wall_mm(walled.radius_mm)
        iodine = self.blood_iodine_mg_ml
        neck: Bounds = ((-15, -45, -6), (15, 40, 400))
        metal: list[Layer | TubeLayer] = []
        if self.wires:
            metal.append(_ball_layer("port", Ball(*PORT), METAL_HU))
            metal.append(TubeLayer("wires", Tubes.from_rods(WIRES), METAL_HU))
        trachea = _trachea(self.expiratory_trachea)
        return [
            TubeLayer("arteries", self.arteries, BLOOD_HU, iodine, keep=True),
            TubeLayer("veins", self.veins, BLOOD_HU, iodine, keep=True),
            Layer("trachea_wall", lambda r, a, s: trachea(r, a, s) - 1.6, WALL_HU, bounds=neck),
            TubeLayer("airway_wall", walled, WALL_HU, grow_mm=wall),
            *([Layer("slit", _slit, AIR_HU, bounds=SLIT)] if self.tracheostomy else []),
            Layer("airways", trachea, air_hu, bounds=neck, keep=True),
            TubeLayer("airways", airways, air_hu, keep=True),
            *metal,
        ]


# ---- trees ---------------------------------------------------------------------------------------


@lru_cache(maxsize=8)
def _grown(chest: ChestModel, stream: int) -> Mapping[str, Tubes]:
    """One tree per lobe that is there, from the roots of a stream of random numbers."""
    supplied = _supplied(chest)
    trees = {}
    for index, (name, (root, heading, radius)) in enumerate(LOBAR_ROOTS[stream].items()):
        if chest.has(LOBE_SIDES[name]):
            trees[name] = grow(
                np.array(root),
                np.array(heading),
                supplied[name],
                leaf_count=chest.leaves,
                root_radius_mm=radius,
                lobe=index,
                rng=np.random.default_rng([chest.seed, stream, index]),
                inside=lambda p, name=name: chest.lobe(name, *p.T) < -1.5,  # type: ignore[misc]
            )
    return MappingProxyType(trees)


@lru_cache(maxsize=4)
def _supplied(chest: ChestModel) -> Mapping[str, NDArray[np.float64]]:
    """Points of each lobe, which its trees reach."""
    rng = np.random.default_rng([chest.seed, 11])
    points: dict[str, NDArray[np.float64]] = {}
    cloud = {side: rng.uniform(*box, size=(60000, 3)) for side, box in LUNG_BOUNDS.items()}
    for name, side in LOBE_SIDES.items():
        r, a, s = cloud[side].T
        points[name] = cloud[side][chest.lobe(name, r, a, s) < -4.0]
    return MappingProxyType(points)


# ---- bronchi and lobar roots: position, direction, radius ----------------------------------------

MAIN_BRONCHI: tuple[Rod, ...] = (
    ((0.0, -18.0, 2.0), (24.0, -24.0, -18.0), 7.2),
    ((24.0, -24.0, -18.0), (36.0, -32.0, -48.0), 5.4),
    ((20.0, -23.0, -14.0), (44.0, -24.0, -6.0), 4.9),
    ((36.0, -32.0, -48.0), (46.0, -14.0, -60.0), 3.6),
    ((36.0, -32.0, -48.0), (43.0, -42.0, -63.0), 4.6),
    ((0.0, -18.0, 2.0), (-22.0, -25.0, -16.0), 6.4),
    ((-22.0, -25.0, -16.0), (-42.0, -32.0, -30.0), 6.0),
    ((-42.0, -32.0, -30.0), (-56.0, -22.0, -25.0), 4.8),
    ((-42.0, -32.0, -30.0), (-49.0, -47.0, -54.0), 4.8),
)
LOBAR_BRONCHI: dict[str, Rod] = {
    "left_upper_lobe": ((-56.0, -22.0, -25.0), (-1.0, 0.6, 0.5), 4.3),
    "left_lower_lobe": ((-49.0, -47.0, -54.0), (-0.3, -0.3, -1.0), 4.4),
    "right_upper_lobe": ((44.0, -24.0, -6.0), (1.0, 0.1, 0.6), 4.3),
    "right_middle_lobe": ((46.0, -14.0, -60.0), (0.6, 0.8, -0.3), 3.3),
    "right_lower_lobe": ((43.0, -42.0, -63.0), (0.3, -0.3, -1.0), 4.4),
}
LOBAR_ARTERIES: dict[str, Rod] = {
    "left_upper_lobe": ((-47.0, -30.0, -12.0), (-1.0, 0.5, 0.6), 4.6),
    "left_lower_lobe": ((-52.0, -42.0, -38.0), (-0.4, -0.3, -1.0), 5.0),
    "right_upper_lobe": ((42.0, -12.0, -12.0), (1.0, 0.2, 0.6), 4.6),
    "right_middle_lobe": ((50.0, -12.0, -52.0), (0.6, 0.8, -0.3), 3.4),
    "right_lower_lobe": ((49.0, -34.0, -54.0), (0.4, -0.3, -1.0), 5.0),
}
LOBAR_VEINS: dict[str, Rod] = {
    "left_upper_lobe": ((-52.0, -12.0, -36.0), (-0.6, 0.8, 0.4), 4.4),
    "left_lower_lobe": ((-50.0, -42.0, -62.0), (-0.3, -0.6, -0.8), 4.8),
    "right_upper_lobe": ((46.0, -4.0, -36.0), (0.6, 0.6, 0.7), 4.4),
    "right_middle_lobe": ((46.0, -4.0, -56.0), (0.6, 0.8, -0.4), 3.2),
    "right_lower_lobe": ((46.0, -40.0, -66.0), (0.3, -0.6, -0.8), 4.8),
}
BRONCHI, VEINS = 12, 14
"""Streams of random numbers that the trees grow from."""
LOBAR_ROOTS = {BRONCHI: LOBAR_BRONCHI, VEINS: LOBAR_VEINS}


COLON: tuple[Ball, ...] = (
    Ball((-94.0, 6.0, -166.0), (25.0, 27.0, 26.0)),
    Ball((-104.0, -6.0, -222.0), (22.0, 22.0, 34.0)),
    Ball((92.0, 24.0, -196.0), (24.0, 24.0, 26.0)),
    Ball((102.0, 4.0, -236.0), (23.0, 23.0, 30.0)),
)
"""Splenic flexure with descending colon, hepatic flexure with ascending colon."""

HEART_FAT: dict[float, tuple[Point, Point]] = {
    LEFT: ((-72.0, 52.0, -104.0), (34.0, 24.0, 26.0)),
    RIGHT: ((38.0, 56.0, -100.0), (30.0, 24.0, 28.0)),
}
PORT: tuple[Point, Point] = ((70.0, 81.0, 58.0), (13.0, 6.0, 13.0))
WIRES: tuple[Rod, ...] = (
    ((70.0, 78.0, 70.0), (40.0, 20.0, 96.0), WIRE_RADIUS_MM),
    ((40.0, 20.0, 96.0), (28.0, 11.0, 40.0), WIRE_RADIUS_MM),
    ((28.0, 11.0, 40.0), (29.0, 10.0, -35.0), WIRE_RADIUS_MM),
    ((29.0, 10.0, -35.0), (-4.0, 50.0, -80.0), WIRE_RADIUS_MM),
)
"""Catheter of the port in the superior vena cava, and on as a pacing wire into the heart."""


def _stool_hu(r: Array, a: Array, s: Array) -> Array:
    mottled = STOOL_HU + STOOL_SD_HU * _texture(1.1 * r, 1.1 * a, 1.1 * s)
    return np.asarray(np.clip(mottled, AIR_HU, 60.0))


def _wider(radii: Point, by: float) -> Point:
    x, y, z = radii
    return x + by, y + by, z + by


def wall_mm(radius_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    """Thickness of the wall of a bronchus of given lumen radius."""
    return 0.25 * radius_mm + 0.35


def _rod_layer(name: str, rod: Rod, hu: float) -> Layer:
    start, end, radius = rod
    low = tuple(min(p, q) - radius - 2 for p, q in zip(start, end, strict=True))
    high = tuple(max(p, q) + radius + 2 for p, q in zip(start, end, strict=True))
    return Layer(
        name,
        lambda r, a, s: capsule(r, a, s, start, end, radius),
        hu,
        bounds=((low[0], low[1], low[2]), (high[0], high[1], high[2])),
    )


def _ball_layer(name: str, ball: Ball, hu: float, iodine: float = 0.0, keep: bool = False) -> Layer:
    low = tuple(c - q - 2 for c, q in zip(ball.centre, ball.radii, strict=True))
    high = tuple(c + q + 2 for c, q in zip(ball.centre, ball.radii, strict=True))
    return Layer(
        name,
        lambda r, a, s: ellipsoid(r, a, s, ball.centre, ball.radii),
        hu,
        iodine,
        ((low[0], low[1], low[2]), (high[0], high[1], high[2])),
        keep,
    )


def _shrunk(ball: tuple[Point, Point], by: float = 3.0) -> Ball:
    centre, radii = ball
    return Ball(centre, _wider(radii, -by))


def _left_ventricle(r: Array, a: Array, s: Array) -> Array:
    return ellipsoid(r, a, s, (-46.0, 30.0, -84.0), (24.0, 20.0, 24.0))


def _right_ventricle(r: Array, a: Array, s: Array) -> Array:
    body = ellipsoid(r, a, s, (-6.0, 52.0, -76.0), (34.0, 17.0, 28.0))
    return np.asarray(np.maximum(body, -_left_ventricle(r, a, s) + 8.0))


def _trachea(expiratory: bool) -> Distance:
    def distance(r: Array, a: Array, s: Array) -> Array:
        centre = anatomy.TRACHEA_A(s)
        x2 = r * r
        y = a - centre
        d = np.sqrt(x2 + y * y) - 8.8
        if expiratory:  # the membrane bows into the lumen
            d = np.maximum(d, 11.0 - np.sqrt(x2 + (y + 13.0) ** 2))
        else:
            d = np.maximum(d, -6.5 - y)
        return np.maximum(d, -s)

    return distance


SLIT: Bounds = ((-8.0, -30.0, 90.0), (8.0, 400.0, 110.0))
"""Box that holds the slit of a tracheostomy."""


def _slit(r: Array, a: Array, s: Array) -> Array:
    """Space between two plates, from the middle of the trachea to the front."""
    sides = np.maximum(np.abs(r) - 5.0, np.abs(s - 100.0) - 6.0)
    return np.asarray(np.maximum(sides, anatomy.TRACHEA_A(s) - a))


def _vertebrae(r: Array, a: Array, s: Array) -> Array:
    """Bodies with discs between, pedicles, spinous and transverse processes."""
    centre = anatomy.SPINE_A(s)
    body = ellipse(r, a, (0.0, centre), (17.0, 14.5))
    level = np.abs((s + 12.0) / 24.0 - np.round((s + 12.0) / 24.0)) * 24.0
    body = np.maximum(body, level - 9.5)
    arch = ellipse(r, a, (0.0, centre - 22.0), (13.0, 10.0))
    spinous = np.maximum(np.abs(r) - 3.2, np.maximum(a - centre + 28.0, centre - 52.0 - a))
    wings = np.maximum(
        np.maximum(np.abs(r) - 32.0, np.abs(a - centre + 22.0 + 0.25 * np.abs(r)) - 4.0),
        level - 6.0,
    )
    return np.minimum(np.minimum(body, arch), np.minimum(spinous, wings))


def _canal(r: Array, a: Array, s: Array) -> Array:
    return ellipse(r, a, (0.0, anatomy.SPINE_A(s) - 22.0), (8.5, 7.0))


def _scapula(x: Array, a: Array, s: Array) -> Array:
    """Thin plate behind the ribs; x grows to lateral."""
    tilt = 0.55
    along = (x - 105.0) * np.float32(np.cos(tilt)) + (a + 78.0) * np.float32(np.sin(tilt))
    across = -(x - 105.0) * np.float32(np.sin(tilt)) + (a + 78.0) * np.float32(np.cos(tilt))
    return ellipsoid(along, across, s, (0.0, 0.0, 35.0), (46.0, 4.2, 75.0))


def _sternum(r: Array, a: Array, s: Array) -> Array:
    front = anatomy.CAGE_CENTRE_A(s) + anatomy.CAGE_HALF_DEPTH(s) + 9.0
    d = ellipse(r, a, (0.0, front), (19.0, 6.0))
    return np.asarray(np.maximum(d, np.maximum(s - 88.0, -105.0 - s)))


def _ribs() -> tuple[Tubes, Tubes]:
    """Ten pairs of ribs around the cage, sinking toward the front."""
    rods: list[Rod] = []
    for side in (LEFT, RIGHT):
        for number in range(11):
            top = 100.0 - 24.0 * number
            last = 2.55 if number < 7 else 2.55 - 0.25 * (number - 6)
            angles = np.linspace(0.22, last, 15)
            drop = 30.0 + 55.0 * min(1.0, number / 4)
            points = []
            for angle in angles:
                s = np.array(top - drop * (angle / 2.6) ** 1.2)
                width = float(anatomy.CAGE_HALF_WIDTH(s)) * _apex_narrowing(float(s)) + 7.0
                depth = float(anatomy.CAGE_HALF_DEPTH(s)) * _apex_narrowing(float(s)) + 7.0
                r = side * width * np.sin(angle)
                a = float(anatomy.CAGE_CENTRE_A(s)) - depth * np.cos(angle)
                points.append((float(r), float(a), float(s)))
            rods += [(p, q, 4.6) for p, q in pairwise(points)]
    thick = Tubes.from_rods(rods)
    thin = Tubes.from_rods([(p, q, radius - 1.5) for p, q, radius in rods])
    return thick, thin


def _apex_narrowing(s: float) -> float:
    w = max(s - anatomy.APEX_START_S, 0.0) / (anatomy.APEX_HEIGHT + 12.0)
    return float(max(1 - w**2.5, 0.05) ** 0.4)


def _table_shell(r: Array, a: Array, s: Array) -> Array:
    top = -128.0 + 0.0006 * r * r
    return np.maximum(np.maximum(a - top, top - 45.0 - a), np.abs(r) - 220.0) + 0 * s


def _blanket(r: Array, a: Array, s: Array) -> Array:
    d = anatomy.trunk(r, a, s)
    waves = 3.0 * np.sin(0.045 * r) + 2.0 * np.sin(0.03 * s + 0.02 * r)
    return np.asarray(np.maximum(np.abs(d - 9.0 - waves) - 1.2, -(a + 40.0)))


def _lattice(side: float, step_mm: float) -> tuple[Array, Array, Array]:
    """Open grid over the box of a lung."""
    r, a, s = (
        np.arange(low, high, step_mm, dtype=np.float32)
        for low, high in zip(*LUNG_BOUNDS[side], strict=True)
    )
    return r[None, None, :], a[None, :, None], s[:, None, None]


def _backward(r: Array, a: Array, s: Array) -> Array:
    """Coordinate in mm that grows to the back and outward."""
    waves = 3.0 * np.sin(r / 9.0) + 3.0 * np.sin(s / 11.0)
    return np.asarray(-0.9 * a + 0.35 * np.abs(r) + waves)


def _holes(share: float) -> Distance:
    """Round-edged holes a few mm wide that fill a share of space."""
    border = float(np.quantile(_texture_block(), 1 - share))
    return lambda r, a, s: (border - _texture(r * 0.8 + 37.0, a * 0.8, s * 0.8)) * 2.5


_TEXTURE_SIZE = 96


@lru_cache(maxsize=1)
def _texture_block() -> NDArray[np.float32]:
    """Periodic noise block with 1.5 mm lattice, mean 0, SD 1."""
    rng = np.random.default_rng(20240)
    noise = rng.standard_normal((_TEXTURE_SIZE,) * 3).astype(np.float32)
    smooth = ndimage.gaussian_filter(noise, 1.0, mode="wrap")
    smooth += 2.0 * ndimage.gaussian_filter(noise[::-1], 3.0, mode="wrap") * 3.0
    smooth -= smooth.mean()
    return np.asarray(smooth / smooth.std())


def _texture(r: Array, a: Array, s: Array) -> NDArray[np.float32]:
    r, a, s = np.broadcast_arrays(r, a, s)
    # Turned against the axes so that the period of the block meets no lattice of voxels.
    u = (0.80 * r + 0.36 * a + 0.48 * s) / 1.5
    v = (-0.60 * r + 0.48 * a + 0.64 * s) / 1.5
    w = (-0.80 * a + 0.60 * s) / 1.5
    return ndimage.map_coordinates(
        _texture_block(),
        np.stack([u, v, w]).astype(np.float32),
        order=1,
        mode="grid-wrap",
        output=np.float32,
    )

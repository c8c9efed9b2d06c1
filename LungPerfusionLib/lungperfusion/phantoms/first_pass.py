"""Dynamic chest phantom: the first pass of a bolus through lungs of known perfusion.

The chest of `phantoms.chest` is painted once, finer than the frames; every frame adds the blood of
its moment (`phantoms.bolus`), lets the lungs breathe along the body axis (`phantoms.breath`) and
averages to the voxels of the image.  Streaks and correlated noise come on top.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungperfusion.dynamic.inputs import Place
from lungperfusion.phantoms import anatomy
from lungperfusion.phantoms.anatomy import LOBE_SIDES
from lungperfusion.phantoms.bolus import Bolus, Residue, Tissue
from lungperfusion.phantoms.breath import Breath
from lungperfusion.phantoms.chest import GROUND_GLASS_HU, Ball, ChestModel
from lungperfusion.phantoms.dual_energy import Wedge
from lungperfusion.phantoms.rendering import (
    Float32,
    TruthLabels,
    broadcast_coordinates,
    noise,
    paint_slabs,
    share,
)
from lungperfusion.phantoms.truth import PhantomTruth
from lungperfusion.progress import Progress, ignore, part
from lungperfusion.terms import LUNGS
from lungperfusion.volume import Geometry, Labelmap, Volume

SLAB_TOP_RAS_MM, SLAB_MM = 30.0, 84.0
"""From the aortic arch to the left atrium, as dynamic scans of 8.4 cm are placed."""
SLAB_CENTRE_RAS_MM = (0.0, -12.0, SLAB_TOP_RAS_MM - SLAB_MM / 2)
SLAB_FIELD_MM = (352.0, 260.0, SLAB_MM)
INPUTS_RAS_MM: dict[Place, tuple[float, float, float]] = {
    "pulmonary_trunk": (-22.0, 24.0, -24.0),
    "left_atrium": (-6.0, -20.0, -44.0),
    "descending_aorta": (-24.0, -47.0, -20.0),
}
"""In the middle of the vessels (`phantoms.anatomy`)."""
MARGIN_MM = 12.0
"""Painted above and below: what breathing brings into the image."""
WALL_MM = 4.0
"""Of the chest wall gives way, so that the lung keeps its width and its mass where it slides."""
FINE_MM = 1.5
"""Along the body, in which the lungs move, it is painted at least this finely."""

LUNG_HU = -800.0
"""Quiet breathing: half of the lung's tissue is then blood at `TISSUES`."""
TISSUES: Mapping[str, Tissue] = {
    "left_upper_lobe": Tissue(pulmonary_flow=100, bronchial_flow=5, transit_s=5.0),
    "left_lower_lobe": Tissue(pulmonary_flow=140, bronchial_flow=7, transit_s=4.5, delay_s=1.0),
    "right_upper_lobe": Tissue(pulmonary_flow=90, bronchial_flow=5, transit_s=5.5),
    "right_middle_lobe": Tissue(pulmonary_flow=80, bronchial_flow=4, transit_s=5.0, delay_s=1.0),
    "right_lower_lobe": Tissue(pulmonary_flow=150, bronchial_flow=8, transit_s=4.0),
}
"""Perfusion of the lobes per 100 mL of lung: normal flow with lobes that can be put in order."""

WEDGES = (
    Wedge((62.0, -30.0, -14.0), (0.8, -0.6, 0.0), 30.0, factor=0.2),
    Wedge((-66.0, -6.0, -18.0), (-0.95, 0.3, 0.05), 30.0, factor=0.2),
)
GLASS = (Ball((92.0, 22.0, -2.0), (22.0, 24.0, 20.0)),)


@dataclass(frozen=True, kw_only=True)
class FirstPassScan:
    """How a first pass is scanned, and how the patient breathes meanwhile."""

    frames: int = 24
    step_s: float = 1.5
    table_s: float = 0.0
    """Time the table takes through the slab: each slice then has times of its own."""
    bolus: Bolus = field(default_factory=Bolus)
    residue: Residue = "sigmoid"
    noise_hu: float = 10.0
    """In voxels of 3 mm; about 25 HU in those of 1 mm."""
    noise_correlation_mm: float = 2.0
    breath_mm: float = 8.7
    """Rise of the domes at most: 8 mm at the lower end of the slab, and 5 % of volume."""
    breath_from_s: float = 15.0
    """Breath is held so long."""
    breath_period_s: float = 9.0
    streak_hu: float = 40.0
    """Of the contrast medium in the superior vena cava at its densest."""

    @property
    def times_s(self) -> NDArray[np.float64]:
        """Middle of each frame."""
        return np.arange(self.frames, dtype=np.float64) * self.step_s

    def rise_mm(self, at_s: float) -> float:
        """How far the domes have risen: held, then shallow breaths."""
        since = max(0.0, at_s - self.breath_from_s)
        return float(self.breath_mm * 0.5 * (1 - np.cos(2 * np.pi * since / self.breath_period_s)))


@dataclass(frozen=True, eq=False, kw_only=True)
class FirstPassPhantom:
    """A series of images and its answers."""

    frames: NDArray[np.int16]
    """Shape (frames, K, J, I), HU."""
    geometry: Geometry
    times_s: NDArray[np.float64]
    """Shape (frames, K)."""
    truth: PhantomTruth
    """Of the held breath."""
    pulmonary_flow: Volume
    """Per 100 mL of lung between the vessels, held breath; 0 outside."""
    blood_volume: Volume
    own: NDArray[np.float32]
    """Share of each voxel in parenchyma, without vessels and bronchi."""
    deficits: Labelmap
    glass: Labelmap
    tissues: Mapping[str, Tissue]
    rise_mm: NDArray[np.float64]
    """By frame."""
    settings: Mapping[str, Any]

    def as_json(self) -> dict[str, Any]:
        """Numbers as plain JSON types."""
        return {
            **self.truth.as_json(),
            "first_pass": dict(self.settings),
            "times_s": self.times_s.mean(axis=1).tolist(),
            "rise_mm": self.rise_mm.tolist(),
            "perfusion": {
                name: {
                    "pulmonary_flow_ml_min_100ml": tissue.pulmonary_flow,
                    "bronchial_flow_ml_min_100ml": tissue.bronchial_flow,
                    "perfusion_index": tissue.perfusion_index,
                    "blood_volume_ml_100ml": tissue.blood_volume,
                    "transit_s": tissue.transit_s,
                    "delay_s": tissue.delay_s,
                }
                for name, tissue in self.tissues.items()
            },
        }


BLOOD = {
    "cava": ("superior_vena_cava", "right_atrium"),
    "artery": (
        *("right_ventricle", "pulmonary_trunk", "left_pulmonary_artery"),
        *("right_pulmonary_artery", "arteries"),
    ),
    "atrium": ("left_atrium", "pulmonary_vein_trunks", "veins"),
    "aorta": ("left_ventricle", "aorta"),
}
"""Structures by the curve that their blood follows."""
_IN_LUNG = ("arteries", "veins")


@dataclass(frozen=True, eq=False)
class _Fine:
    """Grid that is finer along the body than that of the frames, and higher at both ends."""

    geometry: Geometry
    slices: int
    """Fine slices in one of the frames."""
    margin: int
    """Fine slices above and below the frames."""

    @classmethod
    def of(cls, frames: Geometry) -> _Fine:
        thickness = frames.spacing_ijk_mm[2]
        slices = max(1, int(np.ceil(thickness / FINE_MM - 1e-6)))
        margin = slices * int(np.ceil(MARGIN_MM / thickness))
        matrix = frames.ijk_to_ras.copy()
        matrix[:3, 2] /= slices
        first = -margin + 0.5 - slices / 2
        matrix[:3, 3] = frames.ijk_to_ras[:3, 3] + first * matrix[:3, 2]
        k, j, i = frames.shape
        return cls(Geometry((k * slices + 2 * margin, j, i), matrix), slices, margin)

    def averaged(self, fine: Float32) -> Float32:
        """Mean of the fine slices in each slice of the frames."""
        inner = fine[self.margin : fine.shape[0] - self.margin]
        return np.asarray(inner.reshape(-1, self.slices, *fine.shape[1:]).mean(axis=1))

    def of_slices(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Repeat a value of each slice for the fine slices in it; constant beyond."""
        return np.pad(np.repeat(values, self.slices), self.margin, mode="edge")


@dataclass(frozen=True, eq=False)
class _Painted:
    """The chest in held breath on the fine grid."""

    fine: _Fine
    hu: Float32
    blood: Mapping[str, Float32]
    """Share of each voxel in great vessels and vessels of the lung, by curve (`BLOOD`)."""
    lobes: Mapping[str, Float32]
    """Share in parenchyma of each lobe."""
    pulmonary: Float32
    """Pulmonary flow relative to that of the lobe."""
    bronchial: Float32
    deficits: Float32
    """Share in deficits."""
    glass: Float32
    moving: Float32
    """1 for what breathes, 0 for spine, ribs and chest wall."""

    @property
    def own(self) -> Float32:
        """Share in parenchyma of any lobe."""
        return np.asarray(sum(self.lobes.values()))

    def flow(self, tissues: Mapping[str, Tissue], value: str) -> Float32:
        """Map of an attribute of the tissues that scales with pulmonary flow, on the fine grid."""
        out = np.zeros_like(self.hu)
        for name, inside in self.lobes.items():
            tissue = tissues[name]
            if value == "pulmonary_flow":
                out += inside * self.pulmonary * np.float32(tissue.pulmonary_flow)
            else:
                pulmonary = tissue.pulmonary_flow * tissue.transit_s / 60
                bronchial = tissue.blood_volume - pulmonary
                out += inside * (self.pulmonary * pulmonary + self.bronchial * bronchial)
        return out


@dataclass(frozen=True, kw_only=True)
class Lungs:
    """What the lungs of a dynamic phantom are like."""

    tissues: Mapping[str, Tissue] = field(default_factory=lambda: TISSUES)
    wedges: tuple[Wedge, ...] = WEDGES
    """Deficits of pulmonary flow."""
    glass: tuple[Ball, ...] = GLASS
    """Ground glass whose flow per gram is normal."""


def render_first_pass(
    geometry: Geometry,
    *,
    scan: FirstPassScan | None = None,
    lungs: Lungs | None = None,
    seed: int = 1,
    progress: Progress = ignore,
) -> FirstPassPhantom:
    """Scan the first pass of a bolus.

    Parameters
    ----------
    geometry
        Axial grid of the slab.
    scan
        Times, bolus, breathing, noise.
    lungs
        Perfusion, deficits and ground glass.
    seed
        Of anatomy and noise.

    """
    scan, lungs = scan or FirstPassScan(), lungs or Lungs()
    model = ChestModel(seed=seed, lung_hu=LUNG_HU, ground_glass=lungs.glass, leaves=160)
    painted = _paint(model, _Fine.of(geometry), lungs.wedges, part(progress, 0.0, 0.25))
    curves = {name: scan.bolus.tissue(t, scan.residue) for name, t in lungs.tissues.items()}
    slices = (np.arange(geometry.shape[0]) + 0.5) / geometry.shape[0] - 0.5
    times = scan.times_s[:, None] + scan.table_s * slices
    rise = np.array([scan.rise_mm(float(at)) for at in scan.times_s])
    whole = (slice(0, geometry.shape[0]), slice(0, geometry.shape[1]), slice(0, geometry.shape[2]))
    places = broadcast_coordinates(geometry, whole, np.zeros(3))
    streaks = ChestModel(seed=seed, streak_hu=1.0).streak_hu_at(*places)
    frames = np.empty((scan.frames, *geometry.shape), np.int16)
    for number in range(scan.frames):
        progress(0.25 + 0.7 * number / scan.frames, "scanning the bolus")
        at_s = painted.fine.of_slices(times[number])
        moment = _moment(painted, scan.bolus, curves, at_s)
        breath = Breath(rise_mm=float(rise[number]))
        hu = painted.fine.averaged(_breathed(moment, painted, breath))
        cava = scan.bolus.sampled(scan.bolus.cava, times[number]) / scan.bolus.cava_peak_hu
        hu += (scan.streak_hu * cava[:, None, None] * streaks).astype(np.float32)
        if scan.noise_hu > 0:
            grain = noise(geometry, scan.noise_hu, scan.noise_correlation_mm, 101 * seed + number)
            for k in range(geometry.shape[0]):
                hu[k] += next(grain)
        frames[number] = np.clip(np.rint(hu), -1024, 3071)
    labels = TruthLabels(model, geometry)
    for drawn, _, _, shares in paint_slabs(model, geometry):
        labels.add(drawn, shares)
    settings = {
        "frames": scan.frames,
        "step_s": scan.step_s,
        "table_s": scan.table_s,
        "residue": scan.residue,
        "noise_hu": scan.noise_hu,
        "breath_mm": scan.breath_mm,
        "recirculation": scan.bolus.recirculation,
        "artery_peak_hu": scan.bolus.peak_hu,
    }
    maps = {
        name: Volume(painted.fine.averaged(painted.flow(lungs.tissues, name)), geometry, unit)
        for name, unit in (("pulmonary_flow", "mL/min/100mL"), ("blood_volume", "mL/100mL"))
    }
    masks = {
        name: Labelmap((painted.fine.averaged(inside) >= 0.5).astype(np.uint8), geometry, {1: name})
        for name, inside in (("deficits", painted.deficits), ("ground_glass", painted.glass))
    }
    mean_hu = labels.means(painted.fine.averaged(painted.hu))
    progress(1.0, "scanned")
    return FirstPassPhantom(
        frames=frames,
        geometry=geometry,
        times_s=times,
        truth=labels.truth(settings, mean_hu),
        pulmonary_flow=maps["pulmonary_flow"],
        blood_volume=maps["blood_volume"],
        own=painted.fine.averaged(painted.own),
        deficits=masks["deficits"],
        glass=masks["ground_glass"],
        tissues=lungs.tissues,
        rise_mm=rise,
        settings=settings,
    )


def _paint(
    model: ChestModel, fine: _Fine, wedges: tuple[Wedge, ...], progress: Progress
) -> _Painted:
    shape = fine.geometry.shape
    fields = {name: np.zeros(shape, np.float32) for name in ("hu", "deficits", "glass", "moving")}
    blood = {name: np.zeros(shape, np.float32) for name in BLOOD}
    lobes = {name: np.zeros(shape, np.float32) for name in LOBE_SIDES}
    pulmonary, bronchial = np.ones((2, *shape), np.float32)
    width = float(np.prod(fine.geometry.spacing_ijk_mm) ** (1 / 3))
    for slices, hu, _, shares in paint_slabs(model, fine.geometry, progress=progress):
        box = (slices, slice(0, shape[1]), slice(0, shape[2]))
        r, a, s = broadcast_coordinates(fine.geometry, box, np.zeros(3))
        fields["hu"][slices] = hu
        lung = _sum(shares, LUNGS, hu)
        for name, structures in BLOOD.items():
            inner = [entry for entry in structures if entry in _IN_LUNG]
            outer = [entry for entry in structures if entry not in _IN_LUNG]
            blood[name][slices] = _sum(shares, outer, hu) * (1 - lung) + _sum(shares, inner, hu)
        np.clip(blood["artery"][slices], 0, 1, out=blood["artery"][slices])
        own = np.clip(lung - _sum(shares, (*_IN_LUNG, "airways"), hu), 0, 1)
        for name, side in LOBE_SIDES.items():
            lobes[name][slices] = own * ((model.lobe_side(name, r, a, s) < 0) & (side * r > 0))
        for wedge in wedges:
            inside = share(wedge.distance(r, a, s), width)
            pulmonary[slices] *= 1 - inside * np.float32(1 - wedge.factor)
            fields["deficits"][slices] = np.maximum(fields["deficits"][slices], inside * own)
        glass = _sum(shares, ("ground_glass",), hu)
        denser = 1 + glass * np.float32(GROUND_GLASS_HU) / (model.parenchyma_hu(r, a, s) + 1000)
        pulmonary[slices] *= denser
        bronchial[slices] *= denser
        fields["glass"][slices] = glass * own
        still = (anatomy.rib_cage(r, a, s) > WALL_MM) | (anatomy.spine(r, a, s) < 0)
        fields["moving"][slices] = ~still
    return _Painted(
        fine=fine, blood=blood, lobes=lobes, pulmonary=pulmonary, bronchial=bronchial, **fields
    )


def _sum(shares: Mapping[str, Float32], names: Any, like: Float32) -> Float32:
    total = np.zeros_like(like)
    for name in names:
        if name in shares:
            total += shares[name]
    return np.minimum(total, 1, out=total)


def _moment(
    painted: _Painted,
    bolus: Bolus,
    curves: Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]],
    at_s: NDArray[np.float64],
) -> Float32:
    """Held chest with the contrast medium of one moment, each slice with its time."""

    def height(curve: NDArray[np.float64]) -> Float32:
        return bolus.sampled(curve, at_s).astype(np.float32)[:, None, None]

    out = painted.hu.copy()
    for name, inside in painted.blood.items():
        out += inside * height(getattr(bolus, name))
    for name, inside in painted.lobes.items():
        pulmonary, bronchial = (height(curve) for curve in curves[name])
        out += inside * (painted.pulmonary * pulmonary + painted.bronchial * bronchial)
    return out


def _breathed(held: Float32, painted: _Painted, breath: Breath) -> Float32:
    """Move what breathes along the body axis; the lung gets denser by the air that left."""
    if breath.rise_mm == 0:
        return held
    geometry = painted.fine.geometry
    count = geometry.shape[0]
    s = geometry.ijk_to_ras[2, 3] + geometry.ijk_to_ras[2, 2] * np.arange(count)
    zero = np.zeros_like(s)
    source = (breath.inspired_s(zero, zero, s) - s[0]) / geometry.ijk_to_ras[2, 2]
    weights = _cubic_rows(np.clip(source, 0, count - 1), count)
    denser = (breath.jacobian(zero, zero, s) - 1).astype(np.float32)[:, None, None]
    moved, own = (
        np.einsum("kn,nji->kji", weights, field, optimize=True) for field in (held, painted.own)
    )
    moved += denser * own * (moved + 1000)
    return np.asarray(held + painted.moving * (moved - held), np.float32)


def _cubic_rows(places: NDArray[np.float64], count: int) -> Float32:
    """Weights of slices for values between them (Keys 1981, IEEE TASSP 29:1153)."""
    distance = np.abs(places[:, None] - np.arange(count))
    near = 1.5 * distance**3 - 2.5 * distance**2 + 1
    far = -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2
    weights = np.where(distance < 1, near, np.where(distance < 2, far, 0.0))
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)

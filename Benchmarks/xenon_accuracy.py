"""Gas transfer by lobe, mismatch with CT, Dixon and mirrored images against what is true.

The phantom of the package and a second one that shares no code with it
(`Benchmarks._second_xenon`); no setting was chosen on the second.  The public digital phantom is
read where it is present.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from Benchmarks import Figure
from Benchmarks._second_xenon import ct_labels, make_second_xenon
from lungperfusion.analysis.regions import FoundRegions
from lungperfusion.analysis.xenon import ChestCt, analyse_xenon
from lungperfusion.io.xenon.maps import mask_of, read_xenon_map
from lungperfusion.phantoms.kinds import default_geometry
from lungperfusion.phantoms.xenon import XenonRecipe, make_xenon
from lungperfusion.regions import RegionSet
from lungperfusion.terms import LOBES, Region
from lungperfusion.terms.xenon import REFERENCE_SETS
from lungperfusion.volume import Geometry, Labelmap, Volume
from lungperfusion.xenon.dixon import separate
from lungperfusion.xenon.images import XenonMaps, classify_maps
from lungperfusion.xenon.orienting import better_mirror, mirror_fits

SPACING_MM = (1.5, 1.5, 1.5)
SEEDS = 20
SMALL = XenonRecipe(matrix=64, samples=1)
REAL = Path(__file__).resolve().parents[2] / "shared" / "data" / "xenon_phantom"


def main() -> list[Figure]:
    from lungperfusion.phantoms.chest import ChestModel
    from lungperfusion.phantoms.rendering import render

    truth = render(ChestModel(leaves=40), default_geometry((2.0,) * 3)).truth
    lungs, lobes = truth.lungs, truth.lobes
    first = make_xenon(lobes)
    deficits = first.deficit_share
    figures = list(_case("phantom", first, lungs, lobes, deficits))
    figures += _dixon(first)
    figures += _mirrors(lungs, lobes)
    second = make_second_xenon()
    labels = ct_labels(default_geometry(SPACING_MM))
    figures += _case("second chest", second, *labels, second.low)
    return [*figures, *_public()]


def chest_ct(lungs: Labelmap, lobes: Labelmap) -> ChestCt:
    rng = np.random.default_rng(5)
    inside = lungs.array > 0
    hu = np.where(inside, -860 + 25 * rng.normal(size=inside.shape), 30).astype(np.int16)
    regions = RegionSet((lungs, lobes))
    found = FoundRegions(lungs=lungs, regions=regions, gates=(), warnings=())
    return ChestCt("ct", Volume(hu, lungs.geometry, "HU"), found)


def _case(name: str, made, lungs: Labelmap, lobes: Labelmap, low) -> Iterator[Figure]:
    maps = XenonMaps(
        mask=made.mask,
        geometry=made.geometry,
        ventilation=made.ventilation,
        rbc_gas=made.rbc_gas,
        membrane_gas=made.membrane_gas,
    )
    analysis = analyse_xenon(maps, [chest_ct(lungs, lobes)], pictures=False)
    values = {(m.region, m.measure): m.value for m in analysis.measurements}
    gates = {gate.id: gate.value for gate in analysis.gates}
    yield Figure(name=f"{name}: Dice of outlines", value=gates["xenon_overlap"], at_least=0.93)
    yield Figure(
        name=f"{name}: surface distance", value=gates["xenon_surface"], unit="mm", at_most=4.0
    )
    off, ratio = {}, []
    for lobe in LOBES:
        rbc, membrane = made.true_rbc[lobe], made.true_membrane[lobe]
        off[lobe] = max(
            abs(values[lobe, "xe_rbc_gas"] / (100 * rbc) - 1),
            abs(values[lobe, "xe_membrane_gas"] / (100 * membrane) - 1),
        )
        ratio.append(abs(values[lobe, "xe_rbc_m"] - rbc / membrane))
    middle = 100 * off.pop(Region.RIGHT_MIDDLE_LOBE)
    worst = 100 * max(off.values())
    yield Figure(name=f"{name}: lobe mean, largest error", value=worst, unit="%", at_most=3.0)
    yield Figure(name=f"{name}: middle lobe, error", value=middle, unit="%", at_most=5.0)
    yield Figure(name=f"{name}: RBC:membrane, largest error", value=max(ratio), at_most=0.02)
    found = analysis.labelmaps["xe_mismatch"].mask("xe_transfer_low_ct_normal")[made.mask]
    yield Figure(
        name=f"{name}: low transfer in normal CT, kappa",
        value=_kappa(found, low[made.mask] >= 0.5),
        at_least=0.8,
    )


def _kappa(found, true) -> float:
    chance = found.mean() * true.mean() + (1 - found.mean()) * (1 - true.mean())
    return float(((found == true).mean() - chance) / (1 - chance))


def _dixon(made) -> Iterator[Figure]:
    """Noise-free, with a field of 0.5 rad."""
    rng = np.random.default_rng(7)
    shape = made.mask.shape
    k, j, i = np.indices(shape) / shape[0]
    phase = 0.5 * np.sin(5 * i + 2 * j) * np.cos(4 * k)
    rbc, membrane = 0.4 + 0.3 * rng.random(shape), 0.9 + 0.3 * rng.random(shape)
    gas = np.exp(1j * (phase + 0.4))
    image = (membrane + 1j * rbc) * np.exp(1j * (phase + 1.1))
    inside = made.mask
    ratio = float(rbc[inside].sum() / membrane[inside].sum())
    for order in ("field_first", "rotation_first"):
        parted = separate(gas, image, inside, ratio, order=order)
        off = float(np.abs(parted.rbc / rbc - 1)[inside].max())
        if order == "field_first":
            yield Figure(name="Dixon, field first: largest error", value=off, at_most=1e-12)
        else:
            bias = 100 * (parted.rbc[inside].sum() / rbc[inside].sum() - 1)
            yield Figure(name="Dixon, rotation first: bias of RBC", value=float(bias), unit="%")


def _mirrors(lungs: Labelmap, lobes: Labelmap) -> Iterator[Figure]:
    """Mirrored along each axis, and as it is, over seeds."""
    right = found = 0
    for seed in range(SEEDS):
        made = make_xenon(lobes, SMALL, seed=seed + 1)
        for axes in ("", "R", "A", "S"):
            sign = np.array([-1.0 if axis in axes else 1.0 for axis in "RAS"])
            matrix = np.diag([*sign, 1.0]) @ made.geometry.ijk_to_ras
            fits = mirror_fits(made.mask, Geometry(made.geometry.shape, matrix), lungs)
            hit = better_mirror(fits) == (axes or None)
            found += hit and bool(axes)
            right += hit and not axes
    yield Figure(
        name="mirrored images found", value=100 * found / (3 * SEEDS), unit="%", at_least=100
    )
    yield Figure(name="right images left alone", value=100 * right / SEEDS, unit="%", at_least=100)


def _public() -> Iterator[Figure]:
    """Ventilation defects of the public digital phantom: raw, corrected, flip-angle corrected."""
    if not REAL.is_dir():
        return
    mask = read_xenon_map(REAL / "phantom_129Xe_mask.nii.gz")
    for name in ("phantom_129Xe", "phantom_129Xe_N4", "phantom_129Xe_FA"):
        image = read_xenon_map(REAL / f"{name}.nii.gz")
        maps = XenonMaps(
            mask=mask_of(mask),
            geometry=mask.volume.geometry,
            ventilation=np.asarray(image.volume.array, np.float32),
        )
        found = classify_maps(maps, REFERENCE_SETS["218"])
        share = 100 * float((found.ventilation[maps.mask] < 0.6).mean())
        yield Figure(name=f"public {name}: ventilation defect percent", value=share, unit="%")

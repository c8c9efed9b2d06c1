"""Registration, ventilation and perfusion on the second breathing chest, full size.

`Benchmarks._second_breath` shares no shape, texture or vessel with the phantom that settings were
chosen on.  The unit of the registration's feature and the stiffness of its fields were then chosen
with both in view, at 70 % of size; everything else was only checked on it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from Benchmarks import Figure
from Benchmarks._second_breath import LESIONS, Lesion, SecondBreath, make_second_breath
from lungperfusion.regions import RegionSet
from lungperfusion.segmentation.vessel_map import find_trees, label_vessels
from lungperfusion.terms import LOBES, LUNGS, VESSELS, Region
from lungperfusion.vq.calibration import compare_calibration, read_air_and_blood
from lungperfusion.vq.classes import CLASSES, classify
from lungperfusion.vq.defects import find_defects, patient_score
from lungperfusion.vq.displacement import DisplacementField, voxel_positions
from lungperfusion.vq.jacobian import scale_to_volumes
from lungperfusion.vq.pair import BreathPair, pair_breaths
from lungperfusion.vq.perfusion import map_perfusion
from lungperfusion.vq.registration import Registration, register_lungs, registration_from_field
from lungperfusion.vq.ventilation import map_ventilation

SPACING_MM = 2.0
SMALL = {"spacing_mm": 2.5, "scale": 0.7}
"""Size of the chests that show the loss of a lung, with their true motion."""

OPACITIES = (
    Lesion(kind="ground_glass", centre_mm=(80.0, -20.0, 20.0), radius_mm=30.0),
    Lesion(kind="consolidation", centre_mm=(-80.0, -40.0, -50.0), radius_mm=28.0),
)


def main() -> list[Figure]:
    figures: list[Figure] = []
    for name, settings in (
        ("second breathing chest", {}),
        ("the same, 60 HU of noise", {"noise_hu": 60.0}),
        ("the same, +15 HU at inspiration", {"offset_hu": (15.0, 15.0)}),
    ):
        made = make_second_breath(spacing_mm=SPACING_MM, **settings)
        lungs = made.expiration_lungs, made.inspiration_lungs
        registration = register_lungs(made.expiration, made.inspiration, *lungs)
        if not settings or "noise_hu" in settings:
            figures += registration_figures(made, registration, name)
        figures += function_figures(made, paired(made, registration), name)
    return [*figures, *loss_figures()]


def registration_figures(
    made: SecondBreath, registration: Registration, name: str
) -> Iterator[Figure]:
    errors, depths = [], []
    for _, fields, mask in registration.each():
        found = fields.alignment.at(voxel_positions(made.expiration.geometry, mask))
        errors.append(np.linalg.norm(found - made.displacement_ras_mm[mask], axis=1))
        depths.append(made.depth_mm[mask])
    error, rim = np.concatenate(errors), np.concatenate(depths) < 6
    quiet = "60 HU" not in name
    yield Figure(
        name=f"{name}: mean error",
        value=float(error.mean()),
        unit="mm",
        at_most=0.6 if quiet else np.inf,
    )
    yield Figure(
        name=f"{name}: 95th percentile",
        value=float(np.percentile(error, 95)),
        unit="mm",
        at_most=1.8 if quiet else np.inf,
    )
    yield Figure(name=f"{name}: mean below the pleura", value=float(error[rim].mean()), unit="mm")
    yield Figure(name=f"{name}: largest", value=float(error.max()), unit="mm")
    jacobian, _ = scale_to_volumes(
        registration.jacobian(), made.expiration_lungs, made.inspiration_lungs, LUNGS
    )
    inside = np.isfinite(jacobian)
    r = float(np.corrcoef(jacobian[inside], made.jacobian[inside])[0, 1])
    yield Figure(name=f"{name}: r of the Jacobian", value=r, at_least=0.8)


def paired(made: SecondBreath, registration: Registration) -> BreathPair:
    lungs = made.expiration_lungs, made.inspiration_lungs
    trees = find_trees(made.expiration, lungs[0], tuple(Region(lung) for lung in LUNGS))
    return pair_breaths(
        made.expiration,
        made.inspiration,
        registration,
        *lungs,
        lobes=(made.expiration_lobes, made.inspiration_lobes),
        vessels=label_vessels(trees, lungs[0]).mask(VESSELS),
        calibration=compare_calibration(
            read_air_and_blood(made.expiration, lungs[0]),
            read_air_and_blood(made.inspiration, lungs[1]),
        ),
    )


def function_figures(made: SecondBreath, pair: BreathPair, name: str) -> Iterator[Figure]:
    q, v = map_perfusion(pair), map_ventilation(pair)
    inside, tissue = q.known, pair.parenchyma & q.known
    spread = [float(a[tissue].std() / a[tissue].mean()) for a in (q.combined, made.perfusion)]
    yield Figure(
        name=f"{name}: Qcv, error",
        value=100 * (spread[0] / spread[1] - 1),
        unit="%",
        at_least=-15,
        at_most=15,
    )
    for what, found, truth in (
        ("V", v, made.ventilation),
        ("Q", q.combined, made.perfusion),
    ):
        shares = [
            [100 * a[made.expiration_lobes.mask(x) & inside].sum() / a[inside].sum() for x in LOBES]
            for a in (found, truth)
        ]
        off = float(np.abs(np.subtract(*shares)).max())
        yield Figure(
            name=f"{name}: lobar {what} share, largest error", value=off, unit="%", at_most=1.5
        )
    classes = [
        classify(ventilation, perfusion, inside, pair.geometry)
        for ventilation, perfusion in ((v, q.combined), (made.ventilation, made.perfusion))
    ]
    shares = [[100 * found.mask(x)[inside].mean() for x in CLASSES] for found in classes]
    off = float(np.abs(np.subtract(*shares)).max())
    yield Figure(name=f"{name}: class share, largest error", value=off, unit="%", at_most=1.5)


def loss_figures() -> Iterator[Figure]:
    """Find lungs and lobes without blood; leave dense lung alone."""
    for lost in (("left_lung",), ("left_lower_lobe", "right_lower_lobe"), ("left_upper_lobe",), ()):
        made, pair = _true_pair(lesions=(), without_blood=lost)
        found, labels = _candidates(made, pair)
        gone = (made.perfusion < 0.35) & pair.mask
        name = f"second breathing chest without blood in {' and '.join(lost) or 'no lobe'}"
        name = name.replace("_", " ")
        if lost:
            share = 100 * float(((labels > 0) & gone).sum() / gone.sum())
            yield Figure(name=f"{name}: found", value=share, unit="%", at_least=90)
        false = 100 * float(((labels > 0) & ~gone).sum() / pair.mask.sum())
        limit = np.inf if lost else 1.0
        yield Figure(name=f"{name}: false", value=false, unit="%", at_most=limit)
    made, pair = _true_pair(lesions=OPACITIES)
    found, _ = _candidates(made, pair)
    name = "second breathing chest with ground glass and consolidation"
    yield Figure(name=f"{name}: score of the patient", value=patient_score(found), at_most=0.2)
    q = map_perfusion(pair).combined
    yield Figure(name=f"{name}: highest perfusion", value=float(np.nanmax(q)), at_most=2.0)
    made, pair = _true_pair(lesions=LESIONS[:1])
    found, _ = _candidates(made, pair)
    name = "second breathing chest with a territory without blood"
    yield Figure(name=f"{name}: score of the patient", value=patient_score(found), at_least=0.8)


def _true_pair(**settings) -> tuple[SecondBreath, BreathPair]:
    made = make_second_breath(**SMALL, **settings)
    field = DisplacementField(made.displacement_ras_mm, made.expiration.geometry)
    registration = registration_from_field(field, made.expiration_lungs, made.inspiration.geometry)
    return made, paired(made, registration)


def _candidates(made: SecondBreath, pair: BreathPair):
    regions = RegionSet((made.expiration_lungs, made.expiration_lobes))
    return find_defects(pair, map_ventilation(pair), map_perfusion(pair).combined, regions)

"""Registration against exactly known motion, and against a real pair with landmarks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from lungperfusion.errors import CancelledError, GeometryMismatchError, InputError
from lungperfusion.phantoms.breathing import make_breathing_phantom
from lungperfusion.resampling import from_sitk, geometry_from_sitk
from lungperfusion.terms import LOBES, LUNGS, Region
from lungperfusion.volume import Geometry, Labelmap, Volume
from lungperfusion.vq.alignment import COARSE_STAGES, FINE_STAGES, Part, Stage, align
from lungperfusion.vq.displacement import (
    DisplacementField,
    displacement_from_lps,
    displacement_to_sitk,
    voxel_positions,
)
from lungperfusion.vq.gates import registration_gates
from lungperfusion.vq.jacobian import cut_area_mm2, jacobian_of, scale_to_volumes
from lungperfusion.vq.pair import beneath_surface, pair_breaths
from lungperfusion.vq.registration import (
    Stages,
    register_lungs,
    registration_from_field,
    repair_folding,
)

DATA = Path(__file__).parents[4] / "shared" / "data" / "lung_followup_pair"
QUICK = (
    Stage(spacing_mm=6.0, grid_mm=48.0, bending=3.0, blur_mm=3.0, iterations=6),
    Stage(spacing_mm=4.0, grid_mm=24.0, bending=3.0, blur_mm=2.0, iterations=5),
)


def errors(phantom, registration, kind="alignment"):
    out = []
    for _, fields, mask in registration.each():
        displacement = fields.alignment if kind == "alignment" else fields.volume
        points = voxel_positions(phantom.expiration.geometry, mask)
        found = displacement.at(points)
        out.append(np.linalg.norm(found - phantom.displacement_ras_mm[mask], axis=1))
    return np.concatenate(out)


def test_phantom_motion_is_found(phantom, registration):
    error = errors(phantom, registration)
    assert error.mean() <= 0.6
    assert np.percentile(error, 95) <= 1.6
    assert all(fields.folded_share == 0 for fields in registration.parts.values())


def test_jacobian_is_true_voxelwise_and_in_sum(phantom, registration):
    jacobian = registration.jacobian()
    inside = np.isfinite(jacobian)
    truth = phantom.jacobian.array
    assert np.corrcoef(jacobian[inside], truth[inside])[0, 1] >= 0.85  # 0.9 and more at full size
    scaled, factors = scale_to_volumes(
        jacobian, phantom.expiration_lungs, phantom.inspiration_lungs, LUNGS
    )
    assert all(abs(factor - 1) < 0.02 for factor in factors.values())
    for lung in LUNGS:
        mask = phantom.expiration_lungs.mask(lung)
        assert scaled[mask].sum() == pytest.approx(truth[mask].sum(), rel=0.01)


def test_gates_pass_on_a_good_registration_and_warn_on_none(phantom, registration):
    images = (
        phantom.expiration,
        phantom.inspiration,
        phantom.expiration_lungs,
        phantom.inspiration_lungs,
    )

    marks = phantom.landmarks_expiration_ras_mm, phantom.landmarks_inspiration_ras_mm

    def gates(given):
        paired = pair_breaths(images[0], images[1], given, *images[2:])
        return registration_gates(given, paired, phantom.inspiration_lungs, landmarks=marks)

    assert {gate.verdict for gate in gates(registration)} == {"pass"}
    still = DisplacementField(
        np.zeros((*phantom.expiration.geometry.shape, 3), np.float32), phantom.expiration.geometry
    )
    unmoved = registration_from_field(still, phantom.expiration_lungs, phantom.inspiration.geometry)
    verdicts = {gate.id: gate.verdict for gate in gates(unmoved)}
    assert verdicts["registration_vessels"] == "warn"
    assert verdicts["registration_density"] == "warn"
    assert verdicts["registration_volume"] == "warn"
    assert verdicts["registration_texture"] == "fail"
    assert verdicts["registration_consistency"] == "unknown"
    # What is left at the landmarks without registration is their motion.
    moved = np.linalg.norm(marks[1] - marks[0], axis=1).mean()
    left = {gate.id: gate.value for gate in gates(unmoved)}["registration_landmarks"]
    assert verdicts["registration_landmarks"] == "warn"
    assert left == pytest.approx(moved, rel=0.02)


def test_lung_without_texture_below_the_pleura_warns(phantom, registration, pair):
    rim = pair.lungs.mask(*LUNGS) & ~beneath_surface(pair.lungs, 12.0)
    noise = np.random.default_rng(3).normal(-750, 25, (2, *rim.shape))
    bare = replace(
        pair,
        expiration=pair.expiration.with_array(np.where(rim, noise[0], pair.expiration.array)),
        inspiration_hu=np.where(rim, noise[1], pair.inspiration_hu).astype(np.float32),
    )
    verdicts = [
        {gate.id: gate.verdict for gate in registration_gates(registration, given, lungs)}
        for lungs in (phantom.inspiration_lungs,)
        for given in (pair, bare)
    ]
    assert [entry["registration_rim"] for entry in verdicts] == ["pass", "warn"]


def test_a_softer_field_is_left_out_where_noise_hides_the_texture(phantom, registration):
    lung = LUNGS[0]
    parts = [
        Part.cut(phantom.expiration, phantom.expiration_lungs.mask(lung)),
        Part.cut(phantom.inspiration, phantom.inspiration_lungs.mask(lung)),
    ]
    start = registration.parts[lung].volume
    (fine,) = FINE_STAGES
    wanted = replace(fine, iterations=1, least_correlation=0.99)
    assert align(*parts, stages=(wanted,), start=start) is start
    noise = np.random.default_rng(4).normal(0, 150, parts[0].ct.array.shape)
    parts[0] = Part(parts[0].ct.with_array(parts[0].ct.array + noise), parts[0].mask)
    assert align(*parts, stages=(replace(fine, iterations=1),), start=start) is start


def test_the_inspiration_of_another_chest_fails(little):
    other = make_breathing_phantom(spacing_mm=3.5, scale=0.5, seed=7)
    scans = little.expiration, other.inspiration
    lungs = little.expiration_lungs, other.inspiration_lungs
    registration = register_lungs(*scans, *lungs)
    paired = pair_breaths(*scans, registration, *lungs)
    gates = {gate.id: gate for gate in registration_gates(registration, paired, lungs[1])}
    assert gates["registration_texture"].verdict == "fail"
    assert "do not show the same lung" in gates["registration_texture"].message
    assert gates["registration_consistency"].value > 1.5


@pytest.mark.parametrize("cut_mm", [(0, 24), (24, 0)])
def test_lungs_that_the_field_of_view_cuts_keep_their_motion(phantom, cut_mm):
    # The bases are missing in one scan: its end is no diaphragm to pull the other's to.
    images = []
    for ct, lungs, mm in zip(
        (phantom.expiration, phantom.inspiration),
        (phantom.expiration_lungs, phantom.inspiration_lungs),
        cut_mm,
        strict=True,
    ):
        lowest = int(np.flatnonzero(lungs.array.any(axis=(1, 2)))[0])
        first = lowest + round(mm / ct.geometry.spacing_kji_mm[0]) if mm else 0
        box = (slice(first, None), slice(None), slice(None))
        images.append((ct.crop(box), lungs.crop(box), first))
    (still, here, first), (moving, there, _) = images
    registration = register_lungs(still, moving, here, there)
    truth = phantom.displacement_ras_mm[first:]
    for _, fields, mask in registration.each():
        points = voxel_positions(still.geometry, mask)
        error = np.linalg.norm(fields.alignment.at(points) - truth[mask], axis=1)
        end = moving.geometry.ijk_from_ras(points + truth[mask])[:, 2]
        assert error[end >= 0].mean() < 0.7
        assert np.percentile(error[end >= 0], 95) < 2
    pair = pair_breaths(still, moving, registration, here, there)
    assert pair.volume_factors == {}
    true_ratio = phantom.jacobian.array[first:][pair.mask].mean()
    assert pair.jacobian[pair.mask].mean() == pytest.approx(true_ratio, rel=0.01)
    gates = {gate.id: gate for gate in registration_gates(registration, pair, there)}
    assert gates["registration_volume"].verdict == "unknown"
    assert gates["breath_depth"].value == pytest.approx(true_ratio, rel=0.01)
    assert gates["common_view"].verdict == ("pass" if cut_mm[0] else "warn")


def test_area_at_the_end_of_the_view():
    geometry = Geometry.axial((6, 6, 6), (1.0, 2.0, 3.0), (0, 0, 0))
    mask = np.zeros((6, 6, 6), np.bool_)
    mask[:3, 2:4, 2:4] = True
    assert cut_area_mm2(mask, geometry) == 4 * (1.0 * 2.0)
    view = np.ones_like(mask)
    view[:, :, 4:] = False
    assert cut_area_mm2(mask, geometry, view) == 4 * (1.0 * 2.0) + 6 * (2.0 * 3.0)
    assert cut_area_mm2(np.zeros_like(mask), geometry) == 0


def test_lobes_slide_along_the_fissure():
    phantom = make_breathing_phantom(spacing_mm=3, scale=0.5, slip_mm=16, defects=())
    images = (
        phantom.expiration,
        phantom.inspiration,
        phantom.expiration_lungs,
        phantom.inspiration_lungs,
    )
    lobes = phantom.expiration_lobes, phantom.inspiration_lobes
    glued = errors(phantom, register_lungs(*images))
    sliding = errors(phantom, register_lungs(*images, lobes=lobes))
    assert sliding.mean() < 0.7 * glued.mean()
    assert np.percentile(sliding, 95) < 2.5


QUICK_STAGES = Stages(coarse=QUICK[:1], fine=QUICK[1:], volume=QUICK[1:])


def quick(phantom, **settings):
    return register_lungs(
        phantom.expiration,
        phantom.inspiration,
        phantom.expiration_lungs,
        phantom.inspiration_lungs,
        stages=QUICK_STAGES,
        **settings,
    )


@pytest.fixture(scope="module")
def little():
    return make_breathing_phantom(spacing_mm=3.5, scale=0.5)


def test_same_result_on_every_run_and_for_flipped_and_permuted_voxels(little):
    first, again = quick(little), quick(little)
    array = first.parts[Region.LEFT_LUNG].alignment.ras_mm
    assert np.array_equal(array, again.parts[Region.LEFT_LUNG].alignment.ras_mm)

    def turned(image):
        geometry = image.geometry
        matrix = geometry.ijk_to_ras[:, [1, 2, 0, 3]].copy()
        shape = (geometry.shape[2], geometry.shape[0], geometry.shape[1])
        matrix[:3, 3] += matrix[:3, 2] * (shape[0] - 1)
        matrix[:3, 2] *= -1
        grid = Geometry(shape, matrix)
        moved = np.ascontiguousarray(np.transpose(image.array, (2, 0, 1))[::-1])
        if isinstance(image, Volume):
            return Volume(moved, grid, image.unit)
        return Labelmap(moved, grid, image.names)

    other = register_lungs(
        *(
            turned(image)
            for image in (
                little.expiration,
                little.inspiration,
                little.expiration_lungs,
                little.inspiration_lungs,
            )
        ),
        stages=QUICK_STAGES,
    )
    for lung in LUNGS:
        points = voxel_positions(little.expiration.geometry, little.expiration_lungs.mask(lung))
        one, two = first.parts[lung].alignment.at(points), other.parts[lung].alignment.at(points)
        assert np.linalg.norm(one - two, axis=1).max() < 0.1


def test_landmarks_steer(little):
    # Wrong on purpose: a tug that the images alone would never follow.
    here = little.landmarks_expiration_ras_mm[:1]
    there = little.landmarks_inspiration_ras_mm[:1] + np.array([0, 0, -8.0])
    lung = Region.LEFT_LUNG if here[0, 0] < 0 else Region.RIGHT_LUNG
    miss = [
        np.linalg.norm(here + result.parts[lung].alignment.at(here) - there)
        for result in (quick(little), quick(little, landmarks=(here, there)))
    ]
    assert miss[0] > 5
    assert miss[1] < 0.5 * miss[0]


def test_missing_lung_is_said_and_the_other_registered(little):
    one = Labelmap(
        np.where(little.expiration_lungs.array == 1, 1, 0).astype(np.uint8),
        little.expiration.geometry,
        {1: "left_lung", 2: "right_lung"},
    )
    result = register_lungs(
        little.expiration,
        little.inspiration,
        one,
        little.inspiration_lungs,
        stages=QUICK_STAGES,
    )
    assert set(result.parts) == {Region.LEFT_LUNG}
    assert "0 mL in the expiratory scan" in result.missing[Region.RIGHT_LUNG]
    assert np.isnan(result.jacobian()[little.expiration_lungs.mask("right_lung")]).all()


def test_refusals(little):
    images = (
        little.expiration,
        little.inspiration,
        little.expiration_lungs,
        little.inspiration_lungs,
    )
    wrong = Volume(little.expiration.array, little.expiration.geometry, "mg/mL")
    with pytest.raises(InputError, match="the expiration CT must be in HU"):
        register_lungs(wrong, *images[1:])
    cropped = little.expiration_lungs.crop((slice(1, None), slice(None), slice(None)))
    with pytest.raises(GeometryMismatchError, match="expiration CT and lungs"):
        register_lungs(images[0], images[1], cropped, images[3])
    empty = little.expiration_lungs.with_array(np.zeros_like(little.expiration_lungs.array))
    with pytest.raises(InputError, match="no lung can be registered"):
        register_lungs(images[0], images[1], empty, images[3])
    inside = np.array([[0.0, 0.0, 0.0]])
    with pytest.raises(InputError, match=r"1 of 1 landmarks lie outside the inspiratory scan"):
        register_lungs(*images, landmarks=(inside, inside + 999))
    with pytest.raises(InputError, match="landmarks come in pairs"):
        register_lungs(*images, landmarks=(inside, np.zeros((2, 3))))


def test_progress_can_cancel(little):
    seen = []

    def stop(fraction, message):
        seen.append(fraction)
        if len(seen) > 1:
            raise CancelledError("enough")

    with pytest.raises(CancelledError, match="enough"):
        quick(little, progress=stop)


def even_field(shape=(20, 22, 24), spacing=2.0, function=None):
    geometry = Geometry(shape, np.diag([spacing, spacing, spacing, 1.0]))
    points = voxel_positions(geometry)
    return DisplacementField(function(points).reshape(*shape, 3).astype(np.float32), geometry)


@pytest.mark.parametrize("oblique", [False, True])
def test_jacobian_of_a_scaling_is_exact(oblique):
    shape = (8, 9, 10)
    matrix = np.diag([2.0, -1.5, 3.0, 1.0])
    if oblique:
        angle = 0.4
        turn = np.eye(4)
        turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        matrix = turn @ matrix
    geometry = Geometry(shape, matrix)
    scale = np.array([1.1, 0.9, 1.4])
    u = voxel_positions(geometry) * (scale - 1)
    field = DisplacementField(u.reshape(*shape, 3).astype(np.float32), geometry)
    assert np.allclose(jacobian_of(field), scale.prod(), atol=1e-4)


def test_inverse_brings_every_point_back():
    field = even_field(function=lambda p: 0.4 * p[:, [2, 0, 1]] * [0.5, -0.4, 0.6] + 3)
    points = voxel_positions(field.geometry)
    there = points + field.at(points)
    low, high = there.min(axis=0), there.max(axis=0)
    counts = np.ceil((high - low) / 2).astype(int) + 1
    matrix = np.diag([2.0, 2.0, 2.0, 1.0])
    matrix[:3, 3] = low
    back = field.inverse(Geometry((counts[2], counts[1], counts[0]), matrix))
    inner = ((points > 8) & (points < 30)).all(axis=1)
    returned = there + back.at(there)
    assert np.abs(returned - points)[inner].max() < 0.1


def test_itk_field_has_lps_components_and_comes_back():
    field = even_field(function=lambda p: np.tile([1.0, 2.0, 3.0], (len(p), 1)))
    image = displacement_to_sitk(field)
    transform = sitk.DisplacementFieldTransform(sitk.Cast(image, sitk.sitkVectorFloat64))
    # LPS (-10, -10, 10) is RAS (10, 10, 10); it moves by RAS (1, 2, 3).
    assert transform.TransformPoint((-10.0, -10.0, 10.0)) == pytest.approx((-11, -12, 13))
    again = displacement_from_lps(sitk.GetArrayFromImage(image), geometry_from_sitk(image))
    assert np.array_equal(again.ras_mm, field.ras_mm)
    assert again.geometry.same_as(field.geometry)


def test_folding_is_found_and_repaired():
    def folded(points):
        out = np.zeros_like(points)
        near = np.exp(-((points - 22) ** 2).sum(axis=1) / (2 * 5.0**2))
        out[:, 0] = -2.0 * (points[:, 0] - 22) * near
        return out

    field = even_field(function=folded)
    assert jacobian_of(field).min() < 0
    mask = np.ones(field.geometry.shape, bool)
    part = Part(Volume(np.zeros(mask.shape, np.int16), field.geometry, "HU"), mask)
    repaired, share, repairs = repair_folding(field, part)
    assert share > 0
    assert repairs > 0
    assert jacobian_of(repaired).min() > 0
    far = np.linalg.norm(voxel_positions(field.geometry) - 22, axis=1) > 22
    assert np.abs(repaired.ras_mm - field.ras_mm).reshape(-1, 3)[far].max() < 0.2


def test_scaling_meets_segmented_volumes_exactly(phantom):
    jacobian = np.where(phantom.expiration_lobes.array > 0, 1.3, np.nan).astype(np.float32)
    scaled, factors = scale_to_volumes(
        jacobian, phantom.expiration_lobes, phantom.inspiration_lobes, LOBES
    )
    voxel = phantom.expiration.geometry.voxel_volume_ml
    for lobe in LOBES:
        total = scaled[phantom.expiration_lobes.mask(lobe)].sum(dtype=float) * voxel
        assert total == pytest.approx(phantom.inspiration_lobes.volume_ml(lobe), rel=1e-5)
    assert set(factors) == set(LOBES)


def test_transform_of_another_scan_is_refused(phantom):
    away = DisplacementField(
        np.zeros((4, 4, 4, 3), np.float32), Geometry.axial((4, 4, 4), (2, 2, 2), (900, 0, 0))
    )
    with pytest.raises(InputError, match="the transform covers 0 % of the left lung"):
        registration_from_field(away, phantom.expiration_lungs, phantom.inspiration.geometry)


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason="the real pair is not beside the project")
def test_real_pair_reaches_its_landmarks():
    parts, points = [], []
    for name in ("baseline", "followup"):
        image = sitk.ReadImage(str(DATA / f"{name}.nii.gz"))
        mask = sitk.ReadImage(str(DATA / f"{name}_mask.mha"))
        ct = Volume(from_sitk(image), geometry_from_sitk(image), "HU")
        parts.append(Part.cut(ct, from_sitk(mask) > 0))
        marks = np.loadtxt(DATA / f"{name}_landmarks_lps_mm.txt", skiprows=2) * (-1, -1, 1)
        index = ct.geometry.ijk_from_ras(marks)
        inside = ((index >= 0) & (index <= np.array(ct.geometry.shape)[::-1] - 1)).all(axis=1)
        points.append((marks, inside))
    both = points[0][1] & points[1][1]
    here, there = points[0][0][both], points[1][0][both]
    assert len(here) == 51
    field = align(parts[0], parts[1], stages=COARSE_STAGES)
    error = np.linalg.norm(here + field.at(here) - there, axis=1)
    assert error.mean() < 1.7
    assert np.median(error) < 1.25

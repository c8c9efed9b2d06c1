"""The breathing phantom keeps its promises: mass, volume, motion and truth agree."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from lungperfusion.phantoms.breathing import Defect, make_breathing_phantom
from lungperfusion.terms import LOBES, LUNGS


@pytest.fixture(scope="module")
def clean():
    return make_breathing_phantom(spacing_mm=2.5, scale=0.6, noise_hu=0, blur_mm=0)


def volumes(phantom, region):
    return [
        labels.volume_ml(region) for labels in (phantom.expiration_lobes, phantom.inspiration_lobes)
    ]


def test_jacobian_integrates_to_the_drawn_inspiratory_volume(clean):
    voxel = clean.expiration.geometry.voxel_volume_ml
    for lobe in LOBES:
        integral = clean.jacobian.array[clean.expiration_lobes.mask(lobe)].sum() * voxel
        assert integral == pytest.approx(volumes(clean, lobe)[1], rel=0.015)


def test_jacobian_is_the_determinant_of_the_motion_gradient(clean):
    # Independent of the phantom's own formula: finite differences of the stored displacement.
    spacing = clean.expiration.geometry.spacing_kji_mm[0]
    u = clean.displacement_ras_mm.astype(float)
    gradient = np.zeros((*u.shape[:3], 3, 3))
    for row in range(3):
        dk, dj, di = np.gradient(u[..., row], spacing)
        gradient[..., row, :] = np.stack([-di, -dj, dk], axis=-1)
    numeric = np.linalg.det(np.eye(3) + gradient)
    deep = np.zeros(u.shape[:3], bool)
    for lung in LUNGS:
        deep |= ndimage.binary_erosion(clean.expiration_lungs.mask(lung), iterations=2)
    assert np.abs(numeric - clean.jacobian.array)[deep].max() < 0.01


def test_mass_is_conserved_without_and_grows_with_blood_change(clean):
    def mass(phantom):
        # Away from the surface, whose voxels hold chest wall as well.
        deep = np.zeros(phantom.expiration.geometry.shape, bool)
        for lung in LUNGS:
            deep |= ndimage.binary_erosion(phantom.expiration_lungs.mask(lung), iterations=2)
        points = phantom.expiration.geometry.ras_from_ijk(np.argwhere(deep)[:, ::-1])
        index = phantom.inspiration.geometry.ijk_from_ras(
            points + phantom.displacement_ras_mm[deep]
        )
        after = ndimage.map_coordinates(
            1 + phantom.inspiration.array / 1000, index.T[::-1], order=1
        )
        before = 1 + phantom.expiration.array[deep] / 1000
        return (after * phantom.jacobian.array[deep]).sum() / before.sum()

    more = make_breathing_phantom(
        spacing_mm=2.5, scale=0.6, noise_hu=0, blur_mm=0, blood_change=0.2
    )
    assert mass(clean) == pytest.approx(1.0, abs=0.01)
    assert mass(more) - mass(clean) == pytest.approx(0.1, abs=0.02)


def test_landmarks_show_the_same_matter(clean):
    values = []
    for image, points in (
        (clean.expiration, clean.landmarks_expiration_ras_mm),
        (clean.inspiration, clean.landmarks_inspiration_ras_mm),
    ):
        index = image.geometry.ijk_from_ras(points).T[::-1]
        values.append(ndimage.map_coordinates(image.array.astype(float), index, order=1))
    assert np.corrcoef(*values)[0, 1] > 0.6
    shifted = np.roll(values[1], 1)
    assert np.corrcoef(values[0], shifted)[0, 1] < 0.4


def test_a_wedge_widens_from_the_hilum_and_reaches_the_pleura():
    wedge = Defect(
        kind="dead_space", centre_ras_mm=(88.0, -5.0, 0.0), radius_mm=20.0, shape="wedge"
    )  # 60 mm straight out from the hilum: 1 mm of half width for every 3 mm
    along = np.array([40.5, 60.0, 90.0])
    for scale in (1.0, 0.5):
        for reach in along:
            at = np.array([28.0 + reach, -5.0, 0.0])
            points = at + np.array([[0.0, 0, 0], [0, reach / 3, 0], [0, 0, reach / 3], [0, 0, 60]])
            middle, *edges, far = wedge.profile(points * scale, scale)
            assert middle > 0.5
            assert edges == pytest.approx([0.5, 0.5], abs=0.06)
            assert far < 0.01
    before = np.array([[28.0 + 40.0, -5.0, 0.0], [28.0 + 30.0, -5.0, 0.0], [-116.0, -5.0, 0.0]])
    assert wedge.profile(before, 1.0) == pytest.approx([0.5, 0.02, 0.0], abs=0.01)


def test_emphysema_loses_tissue_and_blood_but_moves():
    here = np.array([76.0, 10.0, 30.0])
    hole = Defect(kind="emphysema", centre_ras_mm=tuple(here), radius_mm=25.0)
    made = make_breathing_phantom(spacing_mm=3.0, scale=0.6, noise_hu=0, blur_mm=0, defects=(hole,))
    sound = make_breathing_phantom(spacing_mm=3.0, scale=0.6, noise_hu=0, blur_mm=0, defects=())
    i, j, k = np.rint(made.expiration.geometry.ijk_from_ras(here * 0.6)).astype(int)
    around = np.s_[k - 2 : k + 3, j - 2 : j + 3, i - 2 : i + 3]
    assert np.median(made.expiration.array[around]) < -940
    assert made.perfusion.array[around].mean() < 0.2
    assert made.jacobian.array[around] == pytest.approx(sound.jacobian.array[around])


def test_defects_lower_what_they_should(clean):
    mean = clean.ventilation.array[clean.expiration_lungs.mask(*LUNGS)].mean()
    by_kind = {}
    from lungperfusion.phantoms.breathing import DEFECTS

    for defect in DEFECTS:
        centre = np.array(defect.centre_ras_mm) * 0.6
        i, j, k = np.rint(clean.expiration.geometry.ijk_from_ras(centre)).astype(int)
        by_kind[defect.kind] = (
            clean.ventilation.array[k, j, i] / mean,
            clean.perfusion.array[k, j, i],
        )
    assert by_kind["shunt"][0] < 0.6 < by_kind["shunt"][1]
    assert by_kind["dead_space"][1] < 0.6 < by_kind["dead_space"][0]
    assert max(by_kind["matched_defect"]) < 0.6


def test_lobes_slip_only_when_told():
    still = make_breathing_phantom(spacing_mm=3, scale=0.5, defects=(), noise_hu=0)
    slipped = make_breathing_phantom(spacing_mm=3, scale=0.5, defects=(), noise_hu=0, slip_mm=12)
    upper, lower = (still.expiration_lobes.mask(lobe) for lobe in LOBES[:2])
    change = np.linalg.norm(slipped.displacement_ras_mm - still.displacement_ras_mm, axis=-1)
    assert change[upper].max() == 0
    assert change[lower].mean() > 4


def test_same_arguments_give_the_same_bytes_and_another_seed_others():
    settings = {"spacing_mm": 4.0, "scale": 0.4, "defects": ()}
    first, again = (make_breathing_phantom(**settings) for _ in range(2))
    other = make_breathing_phantom(**settings, seed=1)
    assert first.inspiration.array.tobytes() == again.inspiration.array.tobytes()
    assert first.inspiration.array.tobytes() != other.inspiration.array.tobytes()


def test_motion_reaches_forty_millimetres_at_full_scale():
    phantom = make_breathing_phantom(spacing_mm=6, defects=(), noise_hu=0)
    inside = phantom.expiration_lungs.mask(*LUNGS)
    reach = np.linalg.norm(phantom.displacement_ras_mm[inside], axis=1).max()
    assert 35 < reach < 45


def test_defect_stays_in_its_own_lung():
    left = Defect(kind="matched_defect", centre_ras_mm=(-40.0, 0.0, 0.0), radius_mm=60.0)
    with_defect = make_breathing_phantom(spacing_mm=5, scale=0.5, defects=(left,))
    without = make_breathing_phantom(spacing_mm=5, scale=0.5, defects=())
    right = without.expiration_lungs.mask("right_lung")
    assert np.array_equal(with_defect.jacobian.array[right], without.jacobian.array[right])
    assert np.array_equal(with_defect.perfusion.array[right], without.perfusion.array[right])

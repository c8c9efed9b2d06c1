"""The digital chest: its answers agree with its images, whatever the grid."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from lungperfusion.phantoms import KINDS, Ball, Build, ChestModel, default_geometry, render
from lungperfusion.phantoms.anatomy import FISSURES, LOBE_SIDES, RIGHT_HORIZONTAL
from lungperfusion.phantoms.rendering import sharp_noise
from lungperfusion.phantoms.truth import lung_volumes_ml
from lungperfusion.terms import LOBES, LUNGS
from lungperfusion.volume import Geometry

COARSE = (4.8, 4.8, 4.8)
BARE = ChestModel(leaves=12, table=False, clothing=False)
"""Few branches: quick, and the solids are the same."""


def bare(geometry: Geometry, model: ChestModel = BARE, **scan):
    scan = {"noise_sd_hu": 0.0, "psf_fwhm_mm": 0.0} | scan
    return render(model, geometry, **scan)


@pytest.fixture(scope="module")
def chest():
    return bare(default_geometry(COARSE))


def turned(degrees: float) -> np.ndarray:
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    about_s = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    about_r = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    return about_r @ about_s


def test_same_seed_gives_same_bytes_and_another_seed_does_not():
    geometry = default_geometry((8.0, 8.0, 8.0))
    first, again, other = (
        bare(geometry, replace(BARE, seed=seed), noise_sd_hu=20.0, seed=seed) for seed in (3, 3, 4)
    )
    assert first.ct.array.tobytes() == again.ct.array.tobytes()
    assert first.truth.as_json() == again.truth.as_json()
    assert first.ct.array.tobytes() != other.ct.array.tobytes()
    assert not np.array_equal(first.truth.arteries.end_mm, other.truth.arteries.end_mm)


@pytest.mark.parametrize(
    "geometry",
    [
        default_geometry(COARSE),
        default_geometry((3.2, 4.6, 6.0)),
        default_geometry(COARSE, tilt_degrees=20.0),
        default_geometry(COARSE, field_mm=(430, 400, 400), turn=turned(25.0)),
    ],
    ids=["coarse", "anisotropic", "tilted", "oblique"],
)
def test_label_volumes_agree_with_the_integral_on_every_grid(geometry):
    truth = bare(geometry).truth
    for name in LUNGS:
        assert truth.lungs.volume_ml(name) == pytest.approx(truth.volumes_ml[name], rel=0.006)
    for name in LOBES:
        assert truth.lobes.volume_ml(name) == pytest.approx(truth.volumes_ml[name], rel=0.02)


def test_integration_has_converged():
    fine = lung_volumes_ml(BARE, step_mm=1.0)
    for name, volume in lung_volumes_ml(BARE).items():
        assert volume == pytest.approx(fine[name], rel=1e-3), name


def test_chest_is_the_size_of_an_adult(chest):
    volumes = chest.truth.volumes_ml
    assert 4000 < volumes["lungs"] < 5500
    assert 0.80 < volumes["left_lung"] / volumes["right_lung"] < 0.95
    assert sum(volumes[name] for name in LOBES) == pytest.approx(volumes["lungs"], rel=2e-3)
    assert -860 < chest.truth.mean_hu["lungs"] < -810
    # The heart lies left of the midline.
    r = np.broadcast_to(chest.ct.geometry.coordinate_mm("R"), chest.ct.array.shape)
    assert r[chest.truth.structures.mask("left_ventricle")].mean() < -20


def test_labels_nest(chest):
    truth = chest.truth
    lungs, lobes = truth.lungs.mask(*LUNGS), truth.lobes.mask(*LOBES)
    assert np.array_equal(lungs, lobes)
    for name, side in LOBE_SIDES.items():
        lung = LUNGS[0] if side < 0 else LUNGS[1]
        assert not (truth.lobes.mask(name) & ~truth.lungs.mask(lung)).any()
    r, s = (np.broadcast_to(chest.ct.geometry.coordinate_mm(x), lungs.shape) for x in "RS")
    trachea = truth.airways.mask("airways") & (s > 5) & (np.abs(r) < 10)
    assert trachea.any()
    assert not (trachea & lungs).any()


def test_hu_of_what_is_known(chest):
    hu, truth = chest.ct, chest.truth
    assert np.median(hu.values(truth.structures.mask("aorta"))) == pytest.approx(42, abs=2)
    s = np.broadcast_to(hu.geometry.coordinate_mm("S"), hu.array.shape)
    trachea = truth.airways.mask("airways") & (s > 20)
    assert hu.array[trachea].min() == pytest.approx(-990, abs=1)
    assert hu.array[:, 0, 0].max() == -1000


def test_back_of_the_lung_is_denser(chest):
    a = np.broadcast_to(chest.ct.geometry.coordinate_mm("A"), chest.ct.array.shape)
    lungs = chest.truth.lungs.mask(*LUNGS)
    back, front = (np.median(chest.ct.array[lungs & part]) for part in (a < -50, a > 20))
    assert back - front > 15


@pytest.mark.parametrize("spacing", [(2.0, 2.0, 2.0), (1.6, 1.6, 3.2)])
def test_noise_has_its_sd_and_correlation(spacing):
    geometry = Geometry.axial((24, 90, 90), spacing, (400.0, -300.0, 600.0))  # air beside the body
    quiet = bare(geometry)
    loud = bare(geometry, noise_sd_hu=5.0, noise_correlation_mm=7.0)
    assert (quiet.ct.array == -1000).all()
    grain = loud.ct.array.astype(float) - quiet.ct.array
    assert grain.std() == pytest.approx(5.0, rel=0.03)  # whole HU add 1/12 to the variance
    assert abs(grain.mean()) < 0.3
    for axis, mm in enumerate(geometry.spacing_kji_mm):
        later = np.take(grain, range(1, grain.shape[axis]), axis)
        earlier = np.take(grain, range(grain.shape[axis] - 1), axis)
        expected = 0.5 ** ((2 * mm / 7.0) ** 2)  # Gaussian with FWHM of 7 mm
        assert (later * earlier).mean() / grain.var() == pytest.approx(expected, abs=0.05)


def test_point_spread_widens_an_edge_and_keeps_the_sum():
    geometry = default_geometry((3.2, 3.2, 3.2), field_mm=(420, 330, 26))
    sharp, soft = (bare(geometry, psf_fwhm_mm=fwhm).ct.array for fwhm in (0.0, 8.0))
    assert soft.mean() == pytest.approx(sharp.mean(), abs=1.0)
    assert (
        np.abs(np.diff(soft.astype(float), axis=2)).max()
        < 0.6 * np.abs(np.diff(sharp.astype(float), axis=2)).max()
    )


def test_thick_slices_are_means_of_thin_ones():
    thin = bare(default_geometry((4.8, 4.8, 1.0), field_mm=(420, 320, 60))).ct.array
    thick = bare(default_geometry((4.8, 4.8, 5.0), field_mm=(420, 320, 60))).ct.array
    mean = thin.reshape(12, 5, *thin.shape[1:]).mean(axis=1)
    difference = np.abs(mean - thick)
    assert difference.mean() < 4.0
    assert np.quantile(difference, 0.99) < 60


def test_scan_circle_is_invalid_and_stored_as_air():
    phantom = bare(default_geometry((6.0, 6.0, 6.0)), padding_hu=-2000)
    assert phantom.padding_hu == -2000
    valid = phantom.ct.valid
    assert not valid[:, 0, 0].any()
    assert valid[:, valid.shape[1] // 2, valid.shape[2] // 2].all()
    assert (phantom.ct.array[~valid] == -1000).all()


def test_consolidation_takes_its_share_and_reaches_the_pleura():
    model = replace(BARE, consolidated_lobe="right_lower_lobe", consolidated_share=1 / 3)
    phantom = bare(default_geometry(COARSE), model)
    truth = phantom.truth
    dense = truth.lesions.mask("consolidation")
    share = truth.lesions.volume_ml("consolidation") / truth.volumes_ml["right_lower_lobe"]
    assert share == pytest.approx(1 / 3, abs=0.01)
    assert not (dense & ~truth.lobes.mask("right_lower_lobe")).sum() > 0.01 * dense.sum()
    assert np.median(phantom.ct.array[dense]) == pytest.approx(42, abs=3)
    r, a, s = (np.broadcast_to(phantom.ct.geometry.coordinate_mm(x), dense.shape) for x in "RAS")
    depth = model.lung(1.0, r[dense], a[dense], s[dense])
    assert (depth > -4.8).mean() > 0.05
    # The truth of the lung does not shrink.
    assert truth.lungs.volume_ml("right_lung") == pytest.approx(
        truth.volumes_ml["right_lung"], rel=0.006
    )


def test_emphysema_fills_its_share():
    truth = bare(default_geometry(COARSE), replace(BARE, emphysema_share=0.25)).truth
    share = truth.lesions.volume_ml("emphysema") / truth.volumes_ml["lungs"]
    assert share == pytest.approx(0.25, abs=0.06)


def test_ground_glass_and_nodules_lie_inside_the_lung():
    model = replace(
        BARE,
        ground_glass=(Ball((90.0, -55.0, -50.0), (30.0, 30.0, 30.0)),),
        nodules=(Ball((-100.0, 0.0, -20.0), (14.0, 14.0, 14.0)),),
    )
    phantom = bare(default_geometry(COARSE), model)
    lesions, lungs = phantom.truth.lesions, phantom.truth.lungs
    glass, nodule = lesions.mask("ground_glass"), lesions.mask("nodule")
    assert not (glass & ~lungs.mask("right_lung")).any()
    assert not (nodule & ~lungs.mask("left_lung")).any()
    assert -700 < np.median(phantom.ct.array[glass]) < -200
    assert np.median(phantom.ct.array[nodule]) > 0


def test_one_lung_leaves_fluid():
    phantom = bare(default_geometry(COARSE), replace(BARE, lungs=("right_lung",)))
    assert phantom.truth.volumes_ml["left_lung"] == 0
    assert not phantom.truth.lungs.mask("left_lung").any()
    assert set(phantom.truth.fissures) == {"right_oblique", "right_horizontal"}
    index = np.round(phantom.ct.geometry.ijk_from_ras((-85.0, -30.0, -20.0))).astype(int)
    assert phantom.ct.array[tuple(index[::-1])] == pytest.approx(12, abs=3)


def test_junction_thins():
    r = np.arange(-30, 30, 0.25)[None, :]
    a = np.arange(0, 75, 1.0)[:, None]
    s = np.full((1, 1), 22.0)
    gaps = []
    for junction in (6.0, 0.8):
        model = ChestModel(build=Build(junction_mm=junction))
        left, right = (model.lung(side, r, a, s) < 0 for side in (-1.0, 1.0))
        both = left.any(axis=1) & right.any(axis=1)
        gaps.append(0.25 * (~(left | right)).sum(axis=1)[both].min())
    assert gaps == pytest.approx([6.0, 0.8], abs=0.5)


def test_contrast_raises_blood_by_physics():
    model = replace(BARE, blood_iodine_mg_ml=10.0)
    phantom = bare(default_geometry(COARSE), model)
    aorta = phantom.truth.structures.mask("aorta")
    assert np.median(phantom.ct.array[aorta]) == pytest.approx(42 + 250, abs=3)
    assert np.median(phantom.iodine.array[aorta]) == pytest.approx(10.0, abs=0.05)
    assert phantom.iodine.unit == "mg/mL"


def test_expiration_raises_the_domes_and_narrows_the_trachea():
    risen = replace(BARE, build=Build(diaphragm_lift_mm=38.0), expiratory_trachea=True)
    assert lung_volumes_ml(risen)["lungs"] < 0.85 * lung_volumes_ml(BARE)["lungs"]
    geometry = default_geometry((1.6, 1.6, 3.0), field_mm=(40, 60, 30), centre_ras_mm=(0, -8, 60))
    wide, narrow = (bare(geometry, m).truth.airways.volume_ml("airways") for m in (BARE, risen))
    assert narrow < 0.95 * wide


@pytest.mark.parametrize("wanted", [0.3, 0.6, 1.0])
def test_fissure_completeness_is_what_was_asked(wanted):
    model = replace(BARE, fissure_completeness=tuple((f.name, wanted) for f in FISSURES))
    for fissure in FISSURES:
        low, high = (-142, 142)
        r = np.arange(low, high, 1.0)[None, :]
        a = np.arange(-115, 85, 1.0)[:, None]
        inside = model.lung(fissure.side, r, a, fissure.height(r, a)) < 0
        inside &= fissure.side * r > -12
        if fissure is RIGHT_HORIZONTAL:
            oblique = next(f for f in FISSURES if f.name == "right_oblique")
            inside &= oblique.distance(r, a, fissure.height(r, a)) > 0
        area = fissure.steepness(r, a)
        present = model.fissure_present(fissure, r, a)
        share = (area * (inside & present)).sum() / (area * inside).sum()
        assert share == pytest.approx(wanted, abs=0.01)


def test_every_kind_is_made_with_its_own_model():
    for name, kind in KINDS.items():
        assert kind.summary, name
        kind.model(2)
        kind.geometry()
    assert KINDS["tilted"].geometry().ijk_to_ras[2, 1] != 0
    assert KINDS["thick_slices"].geometry().spacing_ijk_mm[2] == 5.0


def test_sharp_noise_has_its_level_and_little_at_low_frequency():
    geometry = Geometry.axial((6, 90, 101), (0.8, 0.7, 2.0))

    noise = np.stack([*sharp_noise(geometry, 40.0, 1)])

    assert noise.std() == pytest.approx(40.0, rel=0.03)
    power = (np.abs(np.fft.fft2(noise)) ** 2).mean(axis=0)
    frequency = np.hypot(
        *np.meshgrid(np.fft.fftfreq(90, 0.7), np.fft.fftfreq(101, 0.8), indexing="ij")
    )
    low, high = (power[(frequency > f - 0.05) & (frequency < f + 0.05)].mean() for f in (0.1, 0.25))
    assert low / high == pytest.approx(0.1 / 0.25, rel=0.2)  # a ramp
    assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.05
    assert np.array_equal(noise, np.stack([*sharp_noise(geometry, 40.0, 1)]))


def test_airways_may_hold_other_air_and_have_no_visible_walls():
    geometry = default_geometry((2.0, 2.0, 2.0), field_mm=(120.0, 100.0, 110.0))
    usual, other = (
        render(ChestModel(**anatomy), geometry, noise_sd_hu=0)
        for anatomy in ({}, {"airway_air_hu": -940.0, "no_wall_below_mm": 99.0})
    )
    lumen = usual.truth.airways.array > 0
    assert np.array_equal(lumen, other.truth.airways.array > 0)
    core = ndimage.binary_erosion(lumen, iterations=2)
    assert np.median(usual.ct.array[core]) == pytest.approx(-990, abs=2)
    assert np.median(other.ct.array[core]) == pytest.approx(-940, abs=2)
    inside = ndimage.binary_erosion(usual.truth.lungs.array > 0, iterations=3)
    shell = ndimage.binary_dilation(lumen) & ~lumen & inside
    assert other.ct.array[shell].mean() < usual.ct.array[shell].mean() - 100


def test_tracheostomy_joins_trachea_and_room():
    geometry = default_geometry(
        (3.0, 3.0, 3.0), field_mm=(200.0, 320.0, 60.0), centre_ras_mm=(0, -12, 95)
    )

    made = render(ChestModel(tracheostomy=True), geometry, noise_sd_hu=0)

    labels, _ = ndimage.label(made.ct.array < -700)
    trachea = ndimage.binary_erosion(made.truth.airways.array > 0)
    assert (labels[trachea] == labels[-1, 0, 0]).mean() > 0.9

"""Trachea and airway tree: how far, without leaving it, whatever noise, kernel and disease do."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

from lungperfusion.body import (
    Coarse,
    coarse_copy,
    from_upright,
    lung_air,
    to_upright,
)
from lungperfusion.phantoms import KINDS
from lungperfusion.phantoms.chest import ChestModel
from lungperfusion.phantoms.kinds import default_geometry
from lungperfusion.phantoms.rendering import render, sharp_noise
from lungperfusion.resampling import from_sitk, geometry_from_sitk
from lungperfusion.segmentation import airways
from lungperfusion.segmentation.airway_growth import LumenFinder, grow
from lungperfusion.segmentation.airway_quality import (
    BRONCHI_SHARE,
    airway_gate,
    thick_part,
    tree_shape,
)
from lungperfusion.segmentation.airways import find_airways, find_trachea
from lungperfusion.segmentation.lungs import segment_lungs
from lungperfusion.volume import Geometry, Volume

FIELD = {"field_mm": (310.0, 230.0, 290.0), "centre_ras_mm": (0.0, -8.0, -38.0)}


@dataclass(frozen=True)
class Chest:
    """A chest without noise, and where its airways and lungs are."""

    hu: np.ndarray
    geometry: Geometry
    lumen: np.ndarray
    lungs: np.ndarray
    bronchi: object

    def scanned(self, *, air_hu=-990.0, noise_hu=10.0, sharp=True, third_hu=0.0):
        """CT with tracheal air, noise and, in the rear third of the lungs, density of its own."""
        hu = self.hu + (air_hu + 990.0) * self.lumen_share
        a = np.broadcast_to(self.geometry.coordinate_mm("A"), hu.shape)
        rear = self.lungs & ~self.lumen & (a < np.quantile(a[self.lungs], 1 / 3))
        hu = hu + third_hu * (rear & (hu < -500))
        if sharp:
            hu = hu + np.stack([*sharp_noise(self.geometry, noise_hu, 3)])
        else:
            hu = hu + np.random.default_rng(3).normal(0, noise_hu, hu.shape)
        whole = np.clip(np.round(hu), -1024, 3071).astype(np.int16)
        return Volume(whole, self.geometry, "HU")

    @property
    def lumen_share(self):
        return ndimage.gaussian_filter(self.lumen.astype(np.float32), 0.6)


def rendered(**anatomy):
    made = render(ChestModel(**anatomy), default_geometry((1.5, 1.5, 1.5), **FIELD), noise_sd_hu=0)
    truth = made.truth
    return Chest(
        made.ct.array.astype(np.float32),
        made.ct.geometry,
        truth.airways.array > 0,
        truth.lungs.array > 0,
        truth.bronchi,
    )


@pytest.fixture(scope="module")
def walled():
    return rendered()


@pytest.fixture(scope="module")
def bare():
    """Walls invisible beyond the third generation, a lumen of 5.6 mm."""
    return rendered(no_wall_below_mm=2.8, wall_share=0.7)


def tree_of(ct):
    coarse = coarse_copy(ct)
    air, gas = lung_air(coarse)
    array = to_upright(ct.array, ct.geometry)
    found = find_airways(array, coarse, air, find_trachea(coarse, air, gas))
    tree = np.zeros(array.shape, np.bool_)
    tree[found.box] = found.tree
    return from_upright(tree, ct.geometry), found


def leak(tree, chest):
    """Share of the lungs taken for airway, farther than a voxel from any."""
    outside = tree & ~ndimage.binary_dilation(chest.lumen)
    return np.count_nonzero(outside) / np.count_nonzero(chest.lungs)


def found_length(tree, chest):
    """Share of the length of the bronchi whose axis lies in the tree."""
    found = total = 0.0
    pieces = zip(chest.bronchi.start_mm, chest.bronchi.end_mm, strict=True)
    for start, end in pieces:
        length = float(np.linalg.norm(end - start))
        places = start + (end - start) * np.linspace(0.05, 0.95, 10)[:, None]
        i, j, k = np.round(chest.geometry.ijk_from_ras(places)).astype(int).T
        found += length * float(tree[k, j, i].mean())
        total += length
    return found / total


def test_most_of_a_clean_tree_is_found(walled):
    tree, found = tree_of(walled.scanned())

    assert found_length(tree, walled) >= 0.6
    assert leak(tree, walled) <= 0.01
    assert not found.warning


@pytest.mark.parametrize(
    ("air_hu", "noise_hu", "sharp"),
    [(-940.0, 10.0, True), (-1000.0, 60.0, True), (-940.0, 60.0, True), (-950.0, 40.0, False)],
)
def test_noise_and_calibration_open_no_lung(walled, air_hu, noise_hu, sharp):
    tree, _ = tree_of(walled.scanned(air_hu=air_hu, noise_hu=noise_hu, sharp=sharp))

    assert leak(tree, walled) <= 0.01
    assert found_length(tree, walled) >= 0.5


@pytest.mark.parametrize(
    ("air_hu", "noise_hu", "third_hu"),
    [(-950.0, 10.0, 0.0), (-940.0, 60.0, 0.0), (-940.0, 10.0, 110.0), (-990.0, 30.0, 110.0)],
)
def test_invisible_walls_and_raised_lung_open_no_lung(bare, air_hu, noise_hu, third_hu):
    tree, _ = tree_of(bare.scanned(air_hu=air_hu, noise_hu=noise_hu, third_hu=third_hu))

    assert leak(tree, bare) <= 0.01
    assert np.count_nonzero(tree & bare.lumen) >= 0.4 * np.count_nonzero(bare.lumen)


def tube_into(radius_mm):
    """Walled tube that opens into a round space of air with a wall, all inside lung."""
    geometry = Geometry.axial((100, 60, 60), (1.0, 1.0, 1.0))
    k, j, i = np.ogrid[:100, :60, :60]
    away = np.hypot(j - 30, i - 30)
    ball = np.sqrt((k - 30) ** 2 + (j - 30) ** 2 + (i - 30) ** 2)
    hu = np.full((100, 60, 60), -850.0)
    hu[(away < 6) & (k > 30)] = hu[ball < radius_mm + 3] = 0
    hu[(away < 3) & (k > 30)] = hu[ball < radius_mm] = -990
    hu += np.random.default_rng(1).normal(0, 10, hu.shape)
    ct = Volume(np.round(hu).astype(np.int16), geometry, "HU")
    coarse = coarse_copy(ct)
    trachea = np.zeros(coarse.hu.shape, np.bool_)
    trachea[46:, 14:16, 14:16] = True
    lumen = LumenFinder(to_upright(ct.array, geometry), coarse, coarse.hu < -600, trachea)
    return grow(lumen, trachea)


def test_front_that_outgrows_its_branch_is_cut_back():
    whole = np.count_nonzero(tube_into(3.0))

    assert whole > 1500  # 70 mm of a tube of 28 mm2
    assert np.count_nonzero(tube_into(16.0)) < 1.5 * whole  # not the 17 mL of the space


def test_doubtful_tree_falls_back_to_the_main_airways(walled, monkeypatch):
    ct = walled.scanned()
    full, _ = tree_of(ct)

    class Leaking:
        leak = "fail"

    monkeypatch.setattr(airways, "tree_shape", lambda *_: Leaking)
    safe, found = tree_of(ct)

    assert "only trachea and main bronchi" in found.warning
    assert np.count_nonzero(safe) < 0.9 * np.count_nonzero(full)
    assert np.count_nonzero(safe & walled.lumen) > 0.95 * np.count_nonzero(safe)


# ---- the gate ------------------------------------------------------------------------------


def labelled(*, bronchi=0, plug=0, fine_mm=1.0):
    """Two box lungs of 2 mm blocks with a trachea; tubes or one plug of airway in the right one."""
    labels = np.zeros((100, 80, 130), np.uint8)
    labels[10:90, 10:70, 10:55] = 1
    labels[10:90, 10:70, 75:120] = 2
    labels[40:100, 36:44, 61:69] = 3
    labels[20 : 20 + bronchi, 40, 90] = 3
    labels[20 : 20 + plug, 20 : 20 + plug, 100 : 100 + plug] = 3
    ones = np.zeros(labels.shape, np.float32)
    half = round(2 / fine_mm)
    fine = tuple(n * half for n in labels.shape)
    return Coarse(ones, ones > 0, (half,) * 3, fine, (fine_mm,) * 3), labels


LUNGS = 2 * 80 * 60 * 45


def gate(**shape):
    return airway_gate(*labelled(**shape))


def test_gate_passes_a_tree_and_names_its_volume():
    few = int(np.ceil(BRONCHI_SHARE[0] * LUNGS)) + 2
    coarse, labels = labelled(bronchi=60)
    for offset in range(1, 1 + few // 60 + 1):
        labels[20:80, 40 + 3 * offset, 90] = 3

    found = airway_gate(coarse, labels)

    assert found.verdict == "pass"
    assert "Trachea and bronchi hold 3" in found.message
    assert found.value == pytest.approx(np.count_nonzero((labels == 3)[:, :, 90]) / LUNGS, rel=0.01)


def test_gate_only_tells_of_unseen_bronchi_but_warns_where_the_main_ones_are_missing():
    assert gate().verdict == "pass"
    assert "hardly any" in gate().message
    assert "at most 0.5 %" in gate().message
    coarse, labels = labelled()
    short = labels.copy()
    short[:87] = np.where(labels[:87] == 3, 0, labels[:87])  # 832 of 432 000 blocks at the top
    assert airway_gate(coarse, short).verdict == "warn"
    assert "main bronchi alone" in airway_gate(coarse, short).message
    coarse, labels = labelled()
    thick = Coarse(coarse.hu, coarse.valid, (1, 1, 1), labels.shape, (5.0, 2.0, 2.0))
    assert airway_gate(thick, labels).verdict == "pass"


def test_gate_fails_a_flood_and_is_unknown_without_airways():
    assert gate(plug=34).verdict == "fail"  # 39 000 blocks, 9 % of the lungs
    assert "leaked into the lung" in gate(plug=34).message
    coarse, labels = labelled()
    assert airway_gate(coarse, np.where(labels == 3, 0, labels)).verdict == "unknown"


def test_sponge_next_to_the_ribs_is_a_leak():
    """A flood along noise is as thin as bronchi, but crowds and reaches the ribs."""
    coarse, labels = labelled()
    rng = np.random.default_rng(2)
    lung = labels == 2
    labels[lung & (rng.random(labels.shape) < 0.05)] = 3

    shape = tree_shape(coarse, labels == 3, (labels == 1) | (labels == 2))

    assert shape.tree_share < 0.06
    assert shape.rim_share > 0.3
    assert shape.leak == "fail"


def test_thick_part_is_what_a_ball_fits_into():
    coarse, labels = labelled(bronchi=50)

    assert np.array_equal(thick_part(labels == 3, coarse), (labels == 3) & (coarse_i(labels) < 75))


def coarse_i(labels):
    return np.broadcast_to(np.arange(labels.shape[2]), labels.shape)


# ---- trachea ---------------------------------------------------------------------------------


def upright_tube(hu, *, i=64, top=100, radius=4, lung_hu=-850.0, second_lung=True):
    """Two lungs in a body, and a tube of given CT number at a column, up to a level."""
    array = np.full((100, 80, 130), 40.0, np.float32)
    array[10:90, 10:70, 10:50] = lung_hu
    if second_lung:
        array[10:90, 10:70, 78:120] = lung_hu
    j, across = np.ogrid[:80, :130]
    disc = (j - 40) ** 2 + (across - i) ** 2 < radius**2
    around = (j - 40) ** 2 + (across - i) ** 2 < (radius + 4) ** 2
    array[50:top, around] = 40
    array[50:top, disc] = hu
    array += np.random.default_rng(3).normal(0, 15, array.shape)
    coarse = Coarse(array, array < 9e9, (1, 1, 1), array.shape, (2.0, 2.0, 2.0))
    air = (array < -320) & (np.abs(array - lung_hu) < 300)
    return find_trachea(coarse, air & ~around, (array < -320) & around)


@pytest.mark.parametrize(
    "tube",
    [
        {"hu": -1000.0},
        {"hu": -940.0},
        {"hu": -880.0, "lung_hu": -750.0},  # on a shifted scale
        {"hu": -1000.0, "i": 26, "top": 100},  # displaced, but seen in the neck
        {"hu": -1000.0, "top": 88},  # cut off at the top of the lungs
    ],
)
def test_trachea_is_found(tube):
    assert upright_tube(**tube).any()


@pytest.mark.parametrize(
    "tube",
    [
        {"hu": -880.0},  # a tongue of lung
        {"hu": -950.0, "lung_hu": -950.0, "top": 88},  # the same in emphysema
        {"hu": -1000.0, "i": 26, "top": 88},  # in the middle of one lung
        {"hu": -1000.0, "top": 65},  # starts far below the top of the lungs
    ],
)
def test_tube_that_is_no_trachea(tube):
    assert not upright_tube(**tube).any()


def test_scan_below_the_carina_has_no_trachea():
    ct = KINDS["small"]((3.0, 3.0, 3.0)).ct
    last = int(ct.geometry.ijk_from_ras((0.0, 0.0, -75.0))[2])
    coarse = coarse_copy(ct.crop((slice(0, last), slice(None), slice(None))))

    assert not find_trachea(coarse, *lung_air(coarse)).any()


# ---- airways open to the room ------------------------------------------------------------------


@pytest.fixture(scope="module")
def opened():
    return KINDS["tracheostomy"]((3.0, 3.0, 3.0))


def test_trachea_open_to_the_room_lets_no_lung_out(opened):
    found = segment_lungs(opened.ct).labelmap

    for side in ("left_lung", "right_lung"):
        assert found.volume_ml(side) == pytest.approx(opened.truth.lungs.volume_ml(side), rel=0.03)
    assert found.volume_ml("airways") < 90


def turned(ct, degrees):
    """Turn about the R axis, filled with air, as public advice has it."""
    array = ndimage.rotate(
        ct.array, degrees, (0, 1), reshape=False, order=1, cval=-1000, mode="constant"
    )
    return ct.with_array(array)


def test_turned_image_filled_with_air(opened):
    found = segment_lungs(turned(opened.ct, 20.0)).labelmap

    truth = opened.truth.lungs
    assert found.volume_ml("left_lung", "right_lung") == pytest.approx(
        truth.volume_ml("left_lung", "right_lung"), rel=0.06
    )


def test_air_cells_of_bone_are_no_lung():
    """Cells beside the top of a lung, as mastoid cells in a scan of the neck."""
    hu = np.full((60, 60, 100), 40.0, np.float32)
    hu[:, :5] = hu[:, -5:] = hu[:, :, :5] = hu[:, :, -5:] = -1000
    hu[5:35, 15:45, 20:40] = hu[5:35, 15:45, 60:80] = -850
    hu[43:53, 20:34, 40:60] = 900
    hu[45:51, 22:32, 42:58] = -700
    coarse = Coarse(hu, hu < 9e9, (1, 1, 1), hu.shape, (2.0, 2.0, 2.0))

    lung, gas = lung_air(coarse)

    assert lung[20, 30, 30]
    assert not (lung | gas)[40:].any()


# ---- real scans -----------------------------------------------------------------------------


def read(path):
    image = sitk.ReadImage(str(path))
    return Volume(from_sitk(image), geometry_from_sitk(image), "HU")


@pytest.mark.real
@pytest.mark.slow
def test_lung_kernel_chest(real_data):
    """4.45 L of lung at -830 HU by thresholds; 1086 mL of it were once taken for airways."""
    ct = read(real_data / "lung_kernel_chest_ct" / "ct.nii.gz")

    found = segment_lungs(ct)

    lungs = found.labelmap.mask("left_lung", "right_lung")
    assert found.labelmap.volume_ml("left_lung", "right_lung") == pytest.approx(4450, rel=0.02)
    assert ct.values(lungs & (ct.array < -200)).mean() == pytest.approx(-830, abs=4)
    assert 45 < found.labelmap.volume_ml("airways") < 75
    assert {gate.id: gate.verdict for gate in found.gates}["airways"] == "pass"


@pytest.mark.real
@pytest.mark.slow
def test_contrast_chest_has_a_tree(real_data):
    found = segment_lungs(read(real_data / "contrast_chest_ct" / "ct.nii.gz"))

    assert 45 < found.labelmap.volume_ml("airways") < 80
    assert {gate.id: gate.verdict for gate in found.gates}["airways"] == "pass"


@pytest.mark.real
def test_lower_lungs_have_no_trachea(real_data):
    found = segment_lungs(read(real_data / "lower_lungs_ctpa" / "ct.nii.gz"))

    assert not found.labelmap.mask("airways").any()

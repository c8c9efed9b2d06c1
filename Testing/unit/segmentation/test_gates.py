"""Quality gates: exact limits, firing and not firing, and what they say."""

from __future__ import annotations

import numpy as np
import pytest

from lungperfusion.acquisition import Acquisition
from lungperfusion.errors import GeometryMismatchError
from lungperfusion.segmentation import gates
from lungperfusion.segmentation.gates import lung_gates, trachea_bowing_mm
from lungperfusion.volume import Geometry, Labelmap, Volume

NAMES = {1: "left_lung", 2: "right_lung", 3: "airways"}
IDS = [
    "both_lungs",
    "side_ratio",
    "lung_volume",
    "truncation",
    "air_calibration",
    "noise",
    "kernel",
    "blood_calibration",
    "contrast",
    "blood_agreement",
    "slice_thickness",
    "inspiration",
    "dense_lung",
    "missed_disease",
    "gas_pocket",
    "airways",
    "orientation",
]


def box_chest(*, left=14, right=20, lung_hu=-850, heart_hu=40, air_hu=-1000, step=5.0, ribs=True):
    """Box lungs of given width (voxels) on a 5 mm axial grid; between them fat with a trachea and
    with heart and aorta of one blood.
    """
    shape = (50, 44, 80)
    geometry = Geometry.axial(shape, (5.0, 5.0, step), (200.0, 110.0, 0.0))
    hu = np.full(shape, 40, np.int16)
    labels = np.zeros(shape, np.uint8)
    labels[8:42, 6:38, 28 - right : 28] = 2  # I runs from right to left
    labels[8:42, 6:38, 46 : 46 + left] = 1
    labels[25:50, 20:24, 35:39] = 3
    hu[(labels == 1) | (labels == 2)] = lung_hu
    hu[8:42, 6:38, 28:46] = -90
    hu[8:24, 6:20, 29:45] = heart_hu  # J runs from front to back
    hu[8:42, 28:33, 40:45] = heart_hu
    hu[labels == 3] = air_hu
    if ribs:
        hu[:, 40:42] = np.where(np.arange(shape[0]) % 5 < 2, 400, 40)[:, None, None]
    return Volume(hu, geometry, "HU"), Labelmap(labels, geometry, NAMES)


def by_id(*arguments, **keywords):
    found = lung_gates(*arguments, **keywords)
    assert [gate.id for gate in found] == IDS
    assert all(gate.message.endswith(".") for gate in found)
    return {gate.id: gate for gate in found}


def test_sound_chest_passes():
    found = by_id(*box_chest(left=20, step=1.5))

    wrong = {g.id: g.message for g in found.values() if g.verdict not in ("pass",)}
    assert set(wrong) <= {"lung_volume", "kernel"}, wrong


@pytest.mark.parametrize(
    ("left", "verdict"),
    [(14, "pass"), (22, "pass"), (13, "warn"), (23, "warn"), (4, "warn"), (3, "fail")],
)
def test_side_ratio_at_its_limits(left, verdict):
    gate = by_id(*box_chest(left=left))["side_ratio"]

    assert gate.value == pytest.approx(left / 20)
    assert gate.verdict == verdict


@pytest.mark.parametrize(
    ("litres", "verdict"),
    [(0.39, "fail"), (0.4, "warn"), (1.5, "pass"), (9.0, "pass"), (9.1, "warn"), (12.1, "fail")],
)
def test_volume_at_its_limits(litres, verdict):
    assert gates._verdict(litres, gates.VOLUME_L, gates.VOLUME_FAIL_L) == verdict


@pytest.mark.parametrize(
    ("air_hu", "verdict"),
    [
        (-1031, "warn"),
        (-1030, "pass"),
        (-930, "pass"),
        (-929, "warn"),
        (-900, "warn"),
        (-899, "fail"),
        (-1101, "fail"),
    ],
)
def test_tracheal_air_at_its_limits(air_hu, verdict):
    gate = by_id(*box_chest(air_hu=air_hu))["air_calibration"]

    assert (gate.value, gate.unit, gate.verdict) == (air_hu, "HU", verdict)


@pytest.mark.parametrize(
    ("heart_hu", "blood", "contrast"),
    [
        (19, "warn", "No"),
        (20, "pass", "No"),
        (75, "pass", "No"),
        (76, "warn", "No"),
        (89, "warn", "No"),
        (90, "unknown", "is present"),
        (300, "unknown", "is present"),
        (600, "unknown", "is present"),
    ],
)
def test_blood_and_contrast_at_their_limits(heart_hu, blood, contrast):
    found = by_id(*box_chest(heart_hu=heart_hu))

    assert found["blood_calibration"].verdict == blood
    assert found["blood_calibration"].value == pytest.approx(heart_hu)
    assert contrast in found["contrast"].message
    assert found["contrast"].verdict == ("warn" if heart_hu >= 90 else "pass")


@pytest.mark.parametrize(("said", "verdict"), [(True, "warn"), (False, "pass"), (None, "pass")])
def test_contrast_against_the_file(said, verdict):
    found = by_id(*box_chest(), Acquisition(contrast_agent=said))

    assert found["contrast"].verdict == verdict


@pytest.mark.parametrize(
    ("step", "thickness", "verdict"),
    [
        (1.5, None, "pass"),
        (1.6, None, "warn"),
        (5.0, None, "warn"),
        (5.1, None, "fail"),
        (1.0, 1.5, "pass"),
        (1.0, 3.0, "warn"),
        (1.5, 1.0, "warn"),
    ],
)
def test_slices_at_their_limits(step, thickness, verdict):
    found = by_id(*box_chest(step=step), Acquisition(slice_thickness_mm=thickness))

    assert found["slice_thickness"].verdict == verdict
    assert ("gaps" in found["slice_thickness"].message) == (thickness == 1.0)


@pytest.mark.parametrize(("lung_hu", "verdict"), [(-730, "pass"), (-729, "warn"), (-850, "pass")])
def test_mean_density_tells_expiration(lung_hu, verdict):
    gate = by_id(*box_chest(lung_hu=lung_hu))["inspiration"]

    assert gate.verdict == verdict
    assert f"{lung_hu} HU" in gate.message


@pytest.mark.parametrize(("bow_mm", "expected"), [(4.0, "in"), (-4.0, "out"), (0.0, "flat")])
def test_bowed_posterior_wall(bow_mm, expected):
    shape = (20, 60, 60)
    geometry = Geometry.axial(shape, (0.5, 0.5, 1.0))
    r, a = geometry.coordinate_mm("R") + 15, geometry.coordinate_mm("A") + 15
    back = -6 + bow_mm * (1 - (r / 9) ** 2)
    tube = (r**2 + a**2 < 81) & (a > back)
    ct = Volume(np.where(tube, -1000, 40).astype(np.int16), geometry, "HU")

    bowing = trachea_bowing_mm(ct, Labelmap(tube * np.uint8(3), geometry, NAMES))

    assert bowing is not None
    if expected == "flat":
        assert abs(bowing) < 0.3
    else:
        assert (bowing > gates.BOWING_MM) == (expected == "in")
        assert abs(bowing) > 1.0


def test_no_trachea_no_bowing():
    ct, lungs = box_chest()
    bare = Labelmap(np.where(lungs.array == 3, 0, lungs.array).astype(np.uint8), ct.geometry, NAMES)

    assert trachea_bowing_mm(ct, bare) is None
    assert by_id(ct, bare)["air_calibration"].verdict == "unknown"


def test_dense_lung_at_its_limit():
    ct, lungs = box_chest()
    lung = np.flatnonzero(lungs.mask("left_lung", "right_lung"))
    for extra, verdict in ((0, "pass"), (1, "warn")):
        hu = ct.array.copy()
        hu.ravel()[lung[: int(gates.DENSE_SHARE * lung.size) + extra]] = -200
        assert by_id(ct.with_array(hu), lungs)["dense_lung"].verdict == verdict


def test_truncation_names_sides_and_share():
    ct, lungs = box_chest()
    cut = (slice(20, None), slice(None), slice(20, None))

    gate = by_id(ct.crop(cut), lungs.crop(cut))["truncation"]

    assert gate.verdict == "fail"
    assert "foot" in gate.message
    assert "right" in gate.message
    assert "head" not in gate.message
    # Right lung 8 x 32, left 14 x 32 voxels across, 22 high, cut at the foot and the right.
    foot, right = (8 + 14) * 32, 22 * 32
    smooth = (2 * (8 + 32) * 22 - right + 2 * (14 + 32) * 22 + foot) / gates.STAIRS
    assert gate.value == pytest.approx((foot + right) / (smooth + foot + right), rel=1e-6)
    assert by_id(ct, lungs)["truncation"].value == 0


def test_volume_of_a_part_of_the_lungs_is_not_called_plausible():
    ct, lungs = box_chest()
    cut = (slice(20, None), slice(None), slice(None))

    gate = by_id(ct.crop(cut), lungs.crop(cut))["lung_volume"]

    assert gate.verdict == "unknown"
    assert "part inside the image" in gate.message
    assert by_id(ct, lungs)["lung_volume"].verdict == "pass"


@pytest.mark.parametrize(("hu", "words"), [(45, "missed"), (10, "fluid"), (None, "No dense")])
def test_tissue_before_the_ribs_is_told(hu, words):
    ct, lungs = box_chest(left=20)
    labels, values = lungs.array.copy(), ct.array.copy()
    if hu is not None:
        labels[10:40, 28:38, 10:20] = 0
        values[10:40, 28:38, 10:20] = hu

    gate = by_id(ct.with_array(values), lungs.with_array(labels))["missed_disease"]

    assert words in gate.message
    assert gate.verdict == ("pass" if hu is None else "warn")


def test_gas_pocket_fires():
    ct, lungs = box_chest()
    values = ct.array.copy()
    values[20:28, 10:18, 10:18] = -1000

    assert by_id(ct.with_array(values), lungs)["gas_pocket"].verdict == "warn"
    assert by_id(ct, lungs)["gas_pocket"].verdict == "pass"


@pytest.mark.parametrize(("gas_hu", "verdict"), [(-950, "warn"), (-930, "warn"), (-920, "pass")])
def test_gas_is_told_by_the_air_of_the_same_scan(gas_hu, verdict):
    ct, lungs = box_chest(air_hu=-945)
    values = ct.array.copy()
    values[20:28, 10:18, 10:18] = gas_hu

    assert by_id(ct.with_array(values), lungs)["gas_pocket"].verdict == verdict


def test_nothing_is_judged_without_lungs():
    ct, lungs = box_chest()

    found = by_id(ct, lungs.with_array(np.zeros_like(lungs.array)))

    assert found["both_lungs"].verdict == "fail"
    assert {found[name].verdict for name in IDS[4:7]} == {"unknown"}
    assert found["truncation"].verdict == "unknown"


def test_other_grid_is_refused():
    ct, lungs = box_chest()

    with pytest.raises(GeometryMismatchError, match="CT and lungs"):
        lung_gates(ct, lungs.crop((slice(1, None), slice(None), slice(None))))

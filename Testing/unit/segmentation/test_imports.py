"""Labels of other programs: every convention round-trips, and doubt is refused."""

import numpy as np
import pytest

from lungperfusion.errors import InputError
from lungperfusion.io import read_labelmap, write_labelmap
from lungperfusion.labels import LabelImage, Segment
from lungperfusion.segmentation.imports import CONVENTIONS, import_regions, import_vessels
from lungperfusion.segmentation.zones import label_zones
from lungperfusion.terms import LOBES, STRUCTURES
from lungperfusion.volume import Geometry, Labelmap

GRID = Geometry.axial((20, 12, 30), (4.0, 5.0, 6.0), (58.0, 30.0, -60.0))


def lobes_array():
    """Five block lobes: left ones at high I (the patient's left), upper ones at high K."""
    array = np.zeros(GRID.shape, np.uint8)
    boxes = {
        "left_upper_lobe": (slice(10, 18), slice(18, 28)),
        "left_lower_lobe": (slice(2, 10), slice(18, 28)),
        "right_upper_lobe": (slice(13, 18), slice(2, 12)),
        "right_middle_lobe": (slice(9, 13), slice(2, 12)),
        "right_lower_lobe": (slice(2, 9), slice(2, 12)),
    }
    for name, (k, i) in boxes.items():
        array[k, 2:10, i] = STRUCTURES[name].label
    return array


LOBES_MAP = Labelmap(lobes_array(), GRID, {STRUCTURES[name].label: str(name) for name in LOBES})


def plain(array, geometry=GRID, name="labels.nii.gz"):
    segments = tuple(
        Segment(id=f"label_{value}", name=f"Label {value}", label=int(value))
        for value in np.unique(array)
        if value
    )
    return LabelImage(array, geometry, segments, {}, name, "0" * 64)


def named(pairs, array=None):
    """Segments (ID, name, label) of one layer."""
    segments = tuple(Segment(id=i, name=n, label=label) for i, n, label in pairs)
    array = LOBES_MAP.array if array is None else array
    return LabelImage(array, GRID, segments, {}, "s.seg.nrrd", "0" * 64)


def in_convention(name):
    """The five lobes in the numbers of another program."""
    lobes = {
        structure: value for value, structure in CONVENTIONS[name].labels.items() if value < 256
    }
    array = np.zeros(GRID.shape, np.uint16)
    for lobe in LOBES:
        array[LOBES_MAP.mask(lobe)] = lobes[lobe]
    return array


def same_lobes(imported):
    assert imported.lobes is not None
    for lobe in LOBES:
        assert np.array_equal(imported.lobes.mask(lobe), LOBES_MAP.mask(lobe)), lobe


@pytest.mark.parametrize("name", ["lungperfusion", "totalsegmentator", "lungmask-lobes", "cip"])
@pytest.mark.parametrize("stated", [True, False])
def test_every_lobe_convention_round_trips(name, stated):
    imported = import_regions(plain(in_convention(name)), convention=name if stated else None)

    same_lobes(imported)
    assert imported.how == f"label values of {name} ({'stated' if stated else 'recognised'})"


def test_lungmask_r231_has_the_right_lung_first():
    array = np.zeros(GRID.shape, np.uint8)
    array[LOBES_MAP.array >= 13] = 1
    array[(LOBES_MAP.array > 0) & (LOBES_MAP.array < 13)] = 2
    imported = import_regions(plain(array))

    assert imported.how == "label values of lungmask (recognised)"
    assert imported.lungs.volume_ml("right_lung") == pytest.approx(16 * 10 * 8 * 0.12)
    assert imported.lobes is None


def test_labels_with_the_sides_the_other_way_are_not_lungmask():
    array = np.zeros(GRID.shape, np.uint8)
    array[LOBES_MAP.array >= 13] = 2
    array[(LOBES_MAP.array > 0) & (LOBES_MAP.array < 13)] = 1
    imported = import_regions(plain(array))

    assert imported.how == "label values of lungperfusion (recognised)"
    with pytest.raises(InputError, match="contradict the anatomy"):
        import_regions(plain(array), convention="lungmask")


def test_total_segmentator_ignores_other_organs_and_takes_the_trachea():
    array = in_convention("totalsegmentator")
    array[0, 0, :3] = 117
    array[1, 0, :3] = 16
    imported = import_regions(plain(array))

    same_lobes(imported)
    assert imported.lungs.mask("airways").sum() == 3


def test_vessels_of_total_segmentator_old_and_new():
    array = np.zeros(GRID.shape, np.uint8)
    array[4:16, 4:8, 4:26:2] = 3
    array[4:16, 4:8, 5:26:2] = 4
    array[4:16, 5:7, 14:16] = 1
    array[4:16, 5:7, 13:14] = 2
    new = import_regions(plain(array))
    assert new.how == "label values of totalsegmentator-lung-vessels (recognised)"
    assert new.vessels.mask("lung_arteries").sum() == (array == 3).sum()
    assert new.lungs.mask("airways").sum() == (array == 1).sum()
    old = np.where(array > 2, 1, np.where(array == 1, 2, 0)).astype(np.uint8)
    legacy = import_regions(plain(old), convention="totalsegmentator-lung-vessels-legacy")
    assert legacy.vessels.mask("vessels").sum() == (old == 1).sum()


def test_cip_types_are_split_from_regions():
    array = in_convention("cip")
    where = tuple(np.argwhere(LOBES_MAP.mask("left_upper_lobe")).T)
    array[tuple(a[:5] for a in where)] = 7 | (2 << 8)
    array[tuple(a[5:9] for a in where)] = 7 | (3 << 8)
    imported = import_regions(plain(array))

    assert imported.how == "label values of cip (recognised)"
    assert imported.lungs.mask("airways").sum() == 5
    assert imported.vessels.mask("vessels").sum() == 4
    assert (
        imported.lobes.mask("left_upper_lobe").sum() == LOBES_MAP.mask("left_upper_lobe").sum() - 5
    )


@pytest.mark.parametrize("values", [[7, 8], [12, 13, 14], [20]])
def test_plain_values_without_one_meaning_are_asked_for(values):
    array = np.zeros(GRID.shape, np.uint8)
    for n, value in enumerate(values):
        array[5 + n, 3, 3] = value
    with pytest.raises(InputError, match="--lobe-convention"):
        import_regions(plain(array))


def test_written_file_comes_back_by_its_ids(tmp_path):
    write_labelmap(LOBES_MAP, tmp_path / "lobes.seg.nrrd")
    imported = import_regions(read_labelmap(tmp_path / "lobes.seg.nrrd"))

    same_lobes(imported)


def test_zones_share_the_code_of_the_lung_and_are_told_by_id(tmp_path):
    array = np.where(LOBES_MAP.array >= 13, 2, (LOBES_MAP.array > 0) * 1).astype(np.uint8)
    lungs = Labelmap(array, GRID, {1: "left_lung", 2: "right_lung"})
    zones = label_zones(lungs)
    write_labelmap(zones, tmp_path / "zones.seg.nrrd")
    imported = import_regions(read_labelmap(tmp_path / "zones.seg.nrrd"))

    assert imported.lungs is None
    assert np.array_equal(imported.zones.array, zones.array)


def test_terminology_comes_before_id_and_name():
    types = {
        "left_upper_lobe": ("SCT^45653009^Upper lobe of lung", "SCT^7771000^Left"),
        "left_lower_lobe": ("SCT^41224006^Lower lobe of left lung", ""),
        "right_upper_lobe": ("SCT^45653009^Upper lobe of lung", "SCT^24028007^Right"),
        "right_middle_lobe": ("SCT^72481006^Middle lobe of right lung", ""),
        "right_lower_lobe": ("SCT^90572001^Lower lobe of lung", "SCT^24028007^Right"),
    }
    segments = tuple(
        Segment(id=f"Segment_{n}", name="x", label=STRUCTURES[name].label, type=t, modifier=m)
        for n, (name, (t, m)) in enumerate(types.items())
    )
    image = LabelImage(LOBES_MAP.array, GRID, segments, {}, "s.seg.nrrd", "0" * 64)
    imported = import_regions(image)

    same_lobes(imported)
    assert imported.how == "segments by code"


@pytest.mark.parametrize(
    "words",
    [
        ["LUL", "LLL", "RUL", "RML", "RLL"],
        [
            "left upper lobe",
            "left lower lobe",
            "right upper lobe",
            "right middle lobe",
            "right lower lobe",
        ],
        [
            "lung_upper_lobe_left",
            "lung_lower_lobe_left",
            "lung_upper_lobe_right",
            "lung_middle_lobe_right",
            "lung_lower_lobe_right",
        ],
        [
            "LeftSuperiorLobe",
            "LeftInferiorLobe",
            "RightSuperiorLobe",
            "RightMiddleLobe",
            "RightInferiorLobe",
        ],
    ],
)
def test_names_in_use_are_known(words):
    pairs = [(f"Segment_{n}", word, 11 + n) for n, word in enumerate(words)]
    imported = import_regions(named(pairs))

    same_lobes(imported)
    assert imported.how == "segments by name"


def test_a_name_without_its_side_is_refused():
    with pytest.raises(InputError, match="may be left upper lobe or right upper lobe; rename"):
        import_regions(named([("a", "Upper lobe", 11), ("b", "left lower lobe", 12)]))


def test_two_segments_of_one_name_are_refused():
    with pytest.raises(InputError, match=r"2 segments of .* may be the left upper lobe"):
        import_regions(named([("a", "LUL", 11), ("b", "left upper lobe", 12)]))


def test_a_file_without_lungs_is_refused():
    with pytest.raises(InputError, match="holds no lung, lobe"):
        import_regions(named([("a", "liver", 11), ("b", "spleen", 12)]))


def test_unknown_convention_is_refused():
    with pytest.raises(InputError, match="must be one of lungperfusion, totalsegmentator"):
        import_regions(plain(in_convention("cip")), convention="mine")


def test_overlapping_layers_are_read():
    layers = np.stack([LOBES_MAP.array, (LOBES_MAP.array >= 13).astype(np.uint8)])
    segments = [
        Segment(id=str(name), name="x", label=STRUCTURES[name].label, layer=0) for name in LOBES
    ]
    segments.append(Segment(id="right_lung", name="x", label=1, layer=1))
    image = LabelImage(layers, GRID, tuple(segments), {}, "s.seg.nrrd", "0" * 64)
    imported = import_regions(image)

    same_lobes(imported)
    assert np.array_equal(imported.lungs.mask("right_lung"), LOBES_MAP.array >= 13)


def test_another_grid_is_resampled_and_reported():
    target = GRID.with_spacing((2.0, 2.5, 3.0))
    imported = import_regions(plain(in_convention("lungmask-lobes")), target=target)

    assert "resampled onto the CT (nearest label)" in imported.notes[0]
    for lobe in LOBES:
        assert imported.lobes.volume_ml(lobe) == pytest.approx(LOBES_MAP.volume_ml(lobe), rel=0.02)


def test_labels_outside_the_ct_are_refused():
    far = Geometry.axial((5, 5, 5), (2.0, 2.0, 2.0), (5000.0, 0.0, 0.0))
    with pytest.raises(InputError, match="entirely outside the CT"):
        import_regions(plain(in_convention("lungmask-lobes")), target=far)


@pytest.mark.real
def test_chest_64_is_recognised_and_its_thirds_are_close_to_ours(real_data):
    image = read_labelmap(real_data / "chest_64" / "lm-64.nrrd")
    imported = import_regions(image)

    assert imported.how == "label values of cip (recognised)"
    ours = label_zones(imported.lungs, rule="volume")
    for name in ours.names.values():
        a, b = ours.mask(name), imported.zones.mask(name)
        assert 2 * (a & b).sum() / (a.sum() + b.sum()) > 0.85


# ------------------------------------------------------------------------------- vessels alone


def vessel_array():
    """Values 1 and 2 in two lungs, 3 between them."""
    array = np.zeros(GRID.shape, np.uint8)
    array[4:16, 5, 20:27], array[4:16, 5, 3:10], array[10:18, 5, 14:16] = 1, 2, 3
    return array


@pytest.mark.parametrize(
    ("image", "values"),
    [
        (plain((vessel_array() == 1).astype(np.uint8)), {1}),
        (named([("Segment_1", "painted", 1)], vessel_array()), {1, 2, 3}),
        (
            named(
                [("vessels_bv5", "BV5", 1), ("vessels_bv10", "BV10", 2), ("Segment_1", "new", 3)],
                vessel_array(),
            ),
            {1, 2, 3},
        ),
        (
            named(
                [("a", "lung_arteries", 1), ("b", "lung_veins", 2), ("c", "airways", 3)],
                vessel_array(),
            ),
            {1, 2},
        ),
        (named([("vessels", "Vessels", 1), ("x", "Tumour", 3)], vessel_array()), {1}),
    ],
    ids=["one value", "one segment", "by size, painted on", "arteries and veins", "beside others"],
)
def test_vessels_are_told_from_what_else_a_file_holds(image, values):
    vessels, notes = import_vessels(image, GRID)

    assert np.array_equal(vessels.mask("vessels"), np.isin(image.array, list(values)))
    assert notes == ()


def test_vessels_on_another_grid_are_resampled_and_said_so():
    fine = Geometry.axial((40, 24, 60), (2.0, 2.5, 3.0), (59.0, 31.25, -61.5))
    vessels, notes = import_vessels(plain((vessel_array() == 1).astype(np.uint8)), fine)

    assert vessels.geometry.same_as(fine)
    assert vessels.volume_ml("vessels") == pytest.approx(12 * 7 * 0.12, rel=0.3)
    assert "were resampled onto the CT" in notes[0]


@pytest.mark.parametrize(
    "image",
    [
        named([("airways", "Airways", 1)], vessel_array()),
        named([(lobe, lobe, STRUCTURES[lobe].label) for lobe in LOBES]),
    ],
    ids=["airways", "lobes"],
)
def test_files_without_vessels_are_refused(image):
    with pytest.raises(
        InputError, match=r"vessels were expected in s\.seg\.nrrd, but its segments"
    ):
        import_vessels(image, GRID)

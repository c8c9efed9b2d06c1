"""Lobes of a lung with analytic fissures."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from lungperfusion.errors import CancelledError, InputError
from lungperfusion.io import labelmap_of, read_ct, read_labelmap
from lungperfusion.morphology import depth_mm, distance_mm
from lungperfusion.phantoms.anatomy import RIGHT, Fissure
from lungperfusion.segmentation.completeness import fissure_evidence, patch_in
from lungperfusion.segmentation.correction import fissure_map
from lungperfusion.segmentation.fissures import (
    LOAD_HU,
    LungImage,
    Sheets,
    _near,
    find_sheets,
    lung_image,
    parenchyma,
    structures,
    vessel_load,
)
from lungperfusion.segmentation.lobe_quality import (
    lobe_gates,
    measure_lobes,
    screening,
    tree_gates,
)
from lungperfusion.segmentation.lobes import (
    GAP_TRUST,
    PLANS,
    Prepared,
    _vessel_gaps,
    above_surface,
    absent_lobes,
    near_lung,
    prepare_lung,
    segment_lobes,
)
from lungperfusion.segmentation.lungs import lungs_from_mask, segment_lungs
from lungperfusion.segmentation.surfaces import Surface
from lungperfusion.segmentation.vessel_map import VesselTree, label_vessels
from lungperfusion.terms import LOBES, Region
from lungperfusion.volume import Geometry, Labelmap, Volume

from .conftest import TRUTH, dice, make_lung

RIGHT_LOBES = ("right_upper_lobe", "right_middle_lobe", "right_lower_lobe")


def fissure_error_mm(boundary, name):
    patch = boundary.evidence.patch
    return np.abs(TRUTH[name].distance(*patch.points_mm[patch.inside].T))


def test_lobes_and_fissures_of_a_lung_with_complete_fissures(right_lung, right_lobes):
    for lobe in RIGHT_LOBES:
        assert dice(right_lobes.labelmap.mask(lobe), right_lung.lobes.mask(lobe)) > 0.98
    for name in TRUTH:
        assert fissure_error_mm(right_lobes.boundaries[name], name).mean() < 1.0
        assert right_lobes.boundaries[name].evidence.completeness > 0.95
        assert right_lobes.boundaries[name].support > 0.95
    lung = right_lung.lungs.mask("right_lung")
    assert np.array_equal(right_lobes.labelmap.array > 0, lung)


def test_missing_left_lung_is_said(right_lung, right_lobes):
    assert right_lobes.absent == {
        Region.LEFT_UPPER_LOBE: "no left lung in the image",
        Region.LEFT_LOWER_LOBE: "no left lung in the image",
    }
    gates = {gate.id: gate for gate in lobe_gates(right_lobes)}
    assert list(gates) == list(PLANS)
    assert gates["left_oblique_fissure"].verdict == "unknown"
    assert "no left lung" in gates["left_oblique_fissure"].message
    assert gates["right_oblique_fissure"].verdict == "pass"
    rows = {(m.region, m.measure): m for m in measure_lobes(right_lobes, right_lung.lungs)}
    assert rows["left_upper_lobe", "lobe_volume"].status == "missing"
    assert rows["left_oblique_fissure", "fissure_completeness"].status == "missing"
    shares = [rows[lobe, "lobe_volume_share"].value for lobe in RIGHT_LOBES]
    assert sum(shares) == pytest.approx(100)
    assert rows["right_oblique_fissure", "fissure_completeness"].status == "ok"
    fissures = [rows[name, "fissure_completeness"].value for name in TRUTH]
    assert rows["right_middle_lobe", "fissure_completeness"].value == min(fissures)
    assert rows["left_upper_lobe", "fissure_completeness"].status == "missing"
    assert "open" in screening("right_oblique_fissure", right_lobes)
    assert "poorly" in screening("right_horizontal_fissure", right_lobes)
    assert screening("left_oblique_fissure", right_lobes) == "no fissure to judge"


def test_a_fissure_that_ends_at_one_that_was_not_found_is_not_sure(right_lung, right_lobes):
    """What lies in plain sight may be the fissure that was missed."""
    outer = right_lobes.boundaries["right_oblique_fissure"]
    nothing = np.zeros_like(outer.evidence.seen)
    unseen = replace(outer, evidence=replace(outer.evidence, seen=nothing))
    boundaries = {**right_lobes.boundaries, "right_oblique_fissure": unseen}
    lobes = replace(right_lobes, boundaries=boundaries)

    gates = {gate.id: gate for gate in lobe_gates(lobes)}
    assert gates["right_horizontal_fissure"].verdict == "warn"
    assert "may be that one" in gates["right_horizontal_fissure"].message
    assert screening("right_horizontal_fissure", lobes).startswith("not judged: the right hor")
    rows = {(m.region, m.measure): m for m in measure_lobes(lobes, right_lung.lungs)}
    assert rows["right_horizontal_fissure", "fissure_completeness"].status == "caution"
    gates = {gate.id: gate for gate in lobe_gates(right_lobes)}
    assert gates["right_horizontal_fissure"].verdict == "pass"


def test_incomplete_fissures_turned_and_thick():
    """40 % of each fissure missing, on an oblique grid of anisotropic voxels."""
    angle = np.radians(12)
    turn = np.array(
        [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    )
    lung = make_lung(spacing=(1.2, 1.2, 1.8), present=0.6, turn=turn, size=0.8)
    lobes = segment_lobes(lung.ct, lung.lungs)

    for lobe in RIGHT_LOBES:
        assert dice(lobes.labelmap.mask(lobe), lung.lobes.mask(lobe)) > 0.93
    for name, boundary in lobes.boundaries.items():
        patch = boundary.evidence.patch
        r = patch.points_mm[..., 0]
        truth = patch.area_mm2[patch.inside & (r >= 70 + 55 * (1 - 1.2))].sum()
        truth /= boundary.evidence.area_mm2
        assert boundary.evidence.completeness == pytest.approx(truth, abs=0.05), name
        assert boundary.support < 0.9


def test_no_visible_fissure_is_not_passed_off_as_sure():
    lung = make_lung(spacing=(2.0, 2.0, 2.0), sheet_hu=0.0, size=0.8)
    lobes = segment_lobes(lung.ct, lung.lungs)
    gates = {gate.id: gate for gate in lobe_gates(lobes)}

    for name in TRUTH:
        assert gates[name].verdict == "fail"
        assert "low confidence; voxels of up to 2.0 mm" in gates[name].message
        assert screening(name, lobes).startswith("not judged")
    assert not fissure_map(lobes, lung.lungs).array.any()
    rows = {(m.region, m.measure): m for m in measure_lobes(lobes, lung.lungs)}
    assert rows["right_lower_lobe", "lobe_volume"].status == "caution"
    assert rows["right_oblique_fissure", "fissure_completeness"].status == "missing"
    assert "not found" in rows["right_oblique_fissure", "fissure_completeness"].reason
    assert rows["right_lower_lobe", "fissure_completeness"].status == "missing"


def test_lobes_without_any_visible_fissure_part_where_vessels_are_few():
    """Pieces of vessels on both sides of the fissures, none within 8 mm of them; no sheet."""
    lung = make_lung(spacing=(2.0, 2.0, 2.5), sheet_hu=0.0, size=0.8)
    r, a, s = (lung.ct.geometry.coordinate_mm(axis) for axis in ("R", "A", "S"))
    oblique, horizontal = (fissure.distance(r, a, s) for fissure in TRUTH.values())
    seeds = np.random.default_rng(2).random(oblique.shape) < 0.004
    pieces = ndimage.binary_dilation(seeds) & lung.lungs.mask("right_lung")
    pieces &= (np.abs(oblique) > 8.0) & ((np.abs(horizontal) > 8.0) | (oblique < 0))
    hu = np.where(pieces, 0, lung.ct.array).astype(np.int16)
    lobes = segment_lobes(lung.ct.with_array(hu), lung.lungs)

    for lobe in RIGHT_LOBES:
        assert dice(lobes.labelmap.mask(lobe), lung.lobes.mask(lobe)) > 0.93
    for name in TRUTH:
        assert lobes.boundaries[name].vessel_ratio < 0.5
        assert lobes.boundaries[name].support < 0.35
    trees = {side: prepared.tree for side, prepared in lobes.prepared.items()}
    vessels = label_vessels(trees, lung.lungs).mask("vessels")
    deep = depth_mm(lung.lungs.mask("right_lung"), lung.ct.geometry.spacing_kji_mm) > 6.0
    assert np.count_nonzero(vessels & pieces & deep) > 0.9 * np.count_nonzero(pieces & deep)
    rows = {(m.region, m.measure): m for m in measure_lobes(lobes, lung.lungs)}
    assert "of the vessels beside it" in rows["right_lower_lobe", "lobe_volume"].reason
    gates = {gate.id: gate for gate in tree_gates(lobes)}
    assert gates["vessel_map"].verdict == "warn"
    assert "without bronchi" in gates["airway_map"].message


def test_vessel_load_answers_to_tubes_and_not_to_sheets():
    hu = np.full((40, 40, 40), -880.0, np.float32)
    hu[10] += 300  # sheet
    hu[27:29, 27:29] += 300  # tube
    grid = Geometry.axial(hu.shape, (1.0, 1.0, 1.0))
    nowhere = np.zeros(hu.shape, bool)
    image = LungImage(hu, ~nowhere, nowhere, grid, -880.0, 1.0)
    load = vessel_load(image, structures(image, hu), np.full(hu.shape, 20.0, np.float32))

    middle = slice(5, 35)
    assert load[27:29, 27:29, middle].min() > 0.5 * LOAD_HU
    assert load[8:13, middle, middle].max() < 0.01 * LOAD_HU


def test_airways_inside_the_lung_are_those_of_its_closing():
    """Looked for around the airways only, with the answer of the whole image."""
    rng = np.random.default_rng(7)
    lung = ndimage.gaussian_filter(rng.normal(size=(60, 50, 40)), 4.0) > 0
    airways = ndimage.binary_dilation(rng.random(lung.shape) < 0.002) & ~lung
    airways[:, :, 30:] = False
    grid = Geometry.axial(lung.shape, (1.0, 1.2, 0.8))
    grown = distance_mm(lung, grid.spacing_kji_mm) <= 6.0
    closed = distance_mm(~grown, grid.spacing_kji_mm) > 6.0

    assert np.array_equal(_near(airways, lung, grid), airways & closed)
    assert 0 < np.count_nonzero(airways & closed) < np.count_nonzero(airways)


def test_one_lung_needs_nothing_of_the_rest_of_the_chest(right_lung):
    side = Region.RIGHT_LUNG
    width = right_lung.ct.geometry.shape[2]
    wide = np.pad(right_lung.ct.array, ((0, 0), (0, 0), (0, width)), constant_values=-900)
    grid = Geometry(wide.shape, right_lung.ct.geometry.ijk_to_ras)
    labels = np.pad(right_lung.lungs.array, ((0, 0), (0, 0), (0, width)))
    labels[10:-10, 10:-10, width + 10 : -10] = 1
    ct, lungs = Volume(wide, grid, "HU"), Labelmap(labels, grid, right_lung.lungs.names)
    near = near_lung(ct, lungs, side)
    assert near[0].array.size < 0.6 * wide.size
    assert not near[1].mask("left_lung").any()
    parts, whole = prepare_lung(*near, side), prepare_lung(ct, lungs, side)
    for name in ("flat", "depth_mm", "load", "usual_load", "vessels_mm", "filling_mm"):
        assert np.array_equal(getattr(parts, name), getattr(whole, name))
    assert np.array_equal(parts.image.geometry.ijk_to_ras, whole.image.geometry.ijk_to_ras)
    assert parts.image.cut == whole.image.cut


def test_known_vessels_are_taken_for_those_that_would_be_found(right_lung):
    vessels = np.zeros(right_lung.ct.geometry.shape, np.uint8)
    k, j, i = np.argwhere(right_lung.lungs.mask("right_lung")).mean(axis=0).astype(int)
    vessels[k - 8 : k + 8, j - 1 : j + 2, i - 1 : i + 2] = 4
    known = Labelmap(vessels, right_lung.ct.geometry, {4: "vessels"})
    lung = prepare_lung(right_lung.ct, right_lung.lungs, Region.RIGHT_LUNG, known)

    assert lung.load.max() == LOAD_HU
    voxel_ml = lung.image.geometry.voxel_volume_ml
    assert lung.load.sum() / LOAD_HU * voxel_ml == pytest.approx(
        known.volume_ml("vessels"), rel=0.1
    )


def test_consolidation_is_no_vessel_and_a_wide_artery_is():
    hu = np.full((60, 60, 60), -860.0, np.float32)
    hu[10:40, 5:35, 5:35] = 20.0  # consolidation
    hu[:, 45:55, 45:55] = 40.0  # artery of 10 mm
    nowhere = np.zeros(hu.shape, bool)
    grid = Geometry.axial(hu.shape, (1.0, 1.0, 1.0))
    tree = VesselTree(
        LungImage(hu, ~nowhere, nowhere, grid, -860.0, 1.0),
        np.where(hu > -500, np.float32(LOAD_HU), np.float32(0)),
    )
    assert not tree.vessels[10:40, 5:35, 5:35].any()
    assert tree.vessels[:, 45:55, 45:55].all()


def test_removed_lobes_leave_their_space_to_the_others(right_lung):
    absent = absent_lobes(right_lung.lungs, (Region.RIGHT_MIDDLE_LOBE,))
    assert absent[Region.RIGHT_MIDDLE_LOBE] == "stated as removed"
    lobes = segment_lobes(
        right_lung.ct,
        right_lung.lungs,
        removed=(Region.RIGHT_MIDDLE_LOBE, Region.RIGHT_LOWER_LOBE),
    )
    assert not lobes.boundaries
    assert np.array_equal(
        lobes.labelmap.mask("right_upper_lobe"), right_lung.lungs.mask("right_lung")
    )
    assert set(lobes.absent) == {*LOBES} - {Region.RIGHT_UPPER_LOBE}


def test_voxels_are_divided_where_the_surface_is_whatever_the_grid(any_grid):
    centre = any_grid.ras_from_ijk([3, 2.5, 2])
    surface = Surface.flat(centre, (0.2, 0.7, 0.6), any_grid.corners_ras_mm())
    k, j, i = np.indices(any_grid.shape)
    expected = surface.side(any_grid.ras_from_ijk(np.stack([i, j, k], axis=-1))) >= 0
    got = above_surface(surface, any_grid, np.ones(any_grid.shape, bool))

    assert 0.1 < expected.mean() < 0.9
    assert np.array_equal(got, expected)


def test_work_can_be_cancelled(right_lung):
    def cancel(fraction, message):
        raise CancelledError

    with pytest.raises(CancelledError):
        segment_lobes(right_lung.ct, right_lung.lungs, progress=cancel)


def test_another_unit_is_refused(right_lung):
    wrong = Volume(right_lung.ct.array, right_lung.ct.geometry, "1")
    with pytest.raises(InputError, match="must be in HU"):
        segment_lobes(wrong, right_lung.lungs)


def test_other_grid_is_refused(right_lung):
    grid = right_lung.ct.geometry
    moved = Geometry(grid.shape, grid.ijk_to_ras + np.eye(4) * 0.1)
    with pytest.raises(InputError, match="CT and lungs"):
        segment_lobes(Volume(right_lung.ct.array, moved, "HU"), right_lung.lungs)


@pytest.mark.real
def test_real_scan_of_2_5_mm_is_marked_as_low_confidence(real_data):
    """A slab of 45 mm through the middle of a real lung, from front to back."""
    folder = real_data / "lung_followup_pair"
    ct = read_ct(folder / "baseline.nii.gz").volume
    mask = labelmap_of(read_labelmap(folder / "baseline_mask.mha"))
    lungs = lungs_from_mask(ct, mask).labelmap
    middle = int(np.argwhere(lungs.mask("right_lung"))[:, 2].mean())
    half = round(22.5 / ct.geometry.spacing_kji_mm[2])
    slab = slice(None), slice(None), slice(middle - half, middle + half)
    ct, lungs = ct.crop(slab), lungs.crop(slab)
    lobes = segment_lobes(ct, lungs)
    gates = {gate.id: gate for gate in lobe_gates(lobes)}

    assert lobes.absent[Region.LEFT_UPPER_LOBE] == "no left lung in the image"
    assert gates["right_oblique_fissure"].verdict in ("warn", "fail")
    assert (
        "low confidence; voxels of up to 2.5 mm blur fissures"
        in gates["right_oblique_fissure"].message
    )
    volumes = [lobes.labelmap.volume_ml(lobe) for lobe in RIGHT_LOBES]
    assert sum(volumes) == pytest.approx(lungs.volume_ml("right_lung"))


FAINT_HU = 140.0
"""A sheet of 1 mm and this much contrast stands out as fissures of real scans of 0.8 mm do."""
DISPLACED = {
    "low": ((-98.0, 0.0, -1.45), (-62.0, -0.1, -0.3)),
    "high": ((-40.0, 0.1, -0.9), (-10.0, 0.1, 0.0)),
    "turned": ((-66.0, 0.3, -0.85), (-34.0, 0.2, -0.3)),
}
"""Level and slopes of the oblique and the horizontal fissure: lower lobe that has lost most of its
volume, large lower lobe, patient turned on the table."""


def mottled(lung, size_mm, hu, seed):
    """Uneven glass: smooth noise, positive where it is."""
    spacing = lung.ct.geometry.spacing_kji_mm
    noise = np.random.default_rng(seed).normal(size=lung.ct.array.shape)
    smooth = ndimage.gaussian_filter(noise, [size_mm / mm for mm in spacing])
    return hu * np.clip(smooth / smooth.std(), -1, 2)


@pytest.mark.parametrize("where", DISPLACED)
def test_faint_fissures_in_sight_win_over_their_usual_places(where):
    """Mottled ground glass in the back of the lung, fissures as faint as in real scans."""
    fissures = tuple(
        Fissure(name, RIGHT, *course, 4.0, 150.0)
        for name, course in zip(("oblique", "horizontal"), DISPLACED[where], strict=True)
    )
    lung = make_lung(sheet_hu=FAINT_HU, size=0.8, fissures=fissures, noise_hu=30.0)
    a = lung.ct.geometry.coordinate_mm("A")
    behind = np.clip((-20.0 - a) / 20.0, 0, 1)
    glass = behind * (250.0 + mottled(lung, 3.0, 60.0, 3)) * (lung.lungs.array > 0)
    lobes = segment_lobes(lung.ct.with_array((lung.ct.array + glass).astype(np.int16)), lung.lungs)

    for fissure, boundary in zip(fissures, lobes.boundaries.values(), strict=True):
        patch = boundary.evidence.patch
        away = np.abs(fissure.distance(*patch.points_mm[patch.inside].T))
        assert away.mean() < 1.0, fissure.name
        assert np.percentile(away, 90) < 3.0, fissure.name
        assert boundary.support > 0.7, fissure.name
        assert boundary.evidence.completeness > 0.5, fissure.name


def test_sheets_are_found_faint_but_not_at_the_shoulder_of_dense_lung_nor_in_noise():
    shape = (70, 60, 60)
    lung = np.zeros(shape, bool)
    lung[4:66, 4:56, 4:56] = True
    depth = ndimage.distance_transform_edt(lung).astype(np.float32)
    rng = np.random.default_rng(2)
    k, j, _ = np.indices(shape)
    hu = np.where(k < 20, -200.0, -880.0)  # dense lung below
    height = k - (45 + 0.2 * (j - 30))
    hu += 70 * np.exp(-0.5 * (height / 0.9) ** 2)  # a faint fissure, not along the grid
    hu = (hu + ndimage.gaussian_filter(rng.normal(0, 60, shape), 0.6)).astype(np.float32)
    image = LungImage(hu, lung, ~lung & lung, Geometry.axial(shape, (1.0,) * 3), -880.0, 1.0)
    sheets = find_sheets(image, structures(image, parenchyma(image, depth)), depth)

    places = image.geometry.ijk_from_ras(sheets.points_mm)
    on = np.abs(places[:, 2] - 45 - 0.2 * (places[:, 1] - 30)) < 1.5
    assert on.sum() > 0.7 * 46 * 46
    assert sheets.weights[~on].sum() < 0.05 * sheets.weights[on].sum()
    assert np.abs(sheets.normals[on] @ (0.0, -0.2, 1.0)).min() > 0.8


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_lung_on_the_edge_of_the_image_is_known_to_be_cut(right_lung, axis):
    box = [slice(None)] * 3
    box[axis] = slice(right_lung.ct.array.shape[axis] // 2, None)
    ct, lungs = right_lung.ct.crop(tuple(box)), right_lung.lungs.crop(tuple(box))
    nowhere = np.zeros(ct.geometry.shape, bool)

    whole = right_lung.lungs.mask("right_lung")
    assert not lung_image(right_lung.ct, whole, np.zeros_like(whole)).cut
    assert lung_image(ct, lungs.mask("right_lung"), nowhere).cut


@pytest.mark.real
@pytest.mark.slow
def test_real_lower_lungs_are_parted_at_the_fissure_in_plain_sight(real_data):
    """Slices of 0.8 mm; the top is cut off, so that the share of the lung below says nothing."""
    ct = read_ct(real_data / "lower_lungs_ctpa" / "ct.nii.gz").volume
    lungs = segment_lungs(ct).labelmap
    lobes = segment_lobes(ct, lungs)
    gates = {gate.id: gate for gate in lobe_gates(lobes)}

    assert gates["left_oblique_fissure"].verdict == "pass"
    assert lobes.boundaries["left_oblique_fissure"].evidence.completeness > 0.7


def test_missing_vessels_outside_the_lung_draw_no_boundary_out_of_it():
    """A boundary beside the lower surface of a slab of lung that is evenly full of vessels."""
    shape = (60, 50, 50)
    lung = np.zeros(shape, bool)
    lung[10:50, 5:45, 5:45] = True
    depth = ndimage.distance_transform_edt(lung).astype(np.float32)
    vessels = np.where(depth > 3.0, np.float32(1), np.float32(0))
    grid = Geometry.axial(shape, (1.0, 1.0, 1.0))
    hu = np.full(shape, -880.0, np.float32)
    nothing = np.zeros((0, 3))
    prepared = Prepared(
        image=LungImage(hu, lung, ~lung & lung, grid, -880.0, 1.0),
        flat=hu,
        depth_mm=depth,
        sheets=Sheets(nothing, nothing, np.zeros(0)),
        load=vessels,
        usual_load=vessels,
        vessels_mm=nothing,
        vessel_weights=np.zeros(0),
        filling_mm=nothing,
        filling_weights=np.zeros(0),
    )
    middle = grid.ras_from_ijk((25.0, 25.0, 16.0))
    corners = grid.ras_from_ijk([(0, 0, 0), (49, 49, 59)])
    surface = Surface.flat(middle, (0.0, 0.0, 1.0), corners)
    points, weights = _vessel_gaps(prepared, surface, nothing, None, trust=GAP_TRUST)

    assert len(points) > 200
    assert np.abs(points[:, 2] - middle[2]).max() < 1.5
    assert np.all(weights >= 0)


def test_places_where_a_fissure_on_the_surface_cannot_be_read_are_not_judged():
    """A vessel on one flank hides the surface; 3 mm above it the profile is readable."""
    shape = (60, 50, 50)
    lung = np.zeros(shape, bool)
    lung[5:55, 2:48, 2:48] = True
    depth = ndimage.distance_transform_edt(lung).astype(np.float32)
    hu = np.full(shape, -880.0, np.float32)
    hu += np.random.default_rng(4).normal(0, 5, shape).astype(np.float32)
    hu[30] += 300  # the fissure
    hu[26, :, 25:] = 40  # a vessel beside half of it
    grid = Geometry.axial(shape, (1.0, 1.0, 1.0))
    image = LungImage(hu, lung, ~lung & lung, grid, -880.0, 1.0)
    corners = grid.ras_from_ijk([(0, 0, 0), (49, 49, 59)])
    surface = Surface.flat(grid.ras_from_ijk((25.0, 25.0, 30.0)), (0.0, 0.0, 1.0), corners)
    none = Sheets(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0))
    evidence = fissure_evidence(image, hu, depth, patch_in(image, surface, lung, None), none)

    i = grid.ijk_from_ras(evidence.patch.points_mm)[..., 0]
    assert not evidence.judged[i > 30].any()
    assert evidence.judged[i < 20].any()
    assert evidence.completeness > 0.99

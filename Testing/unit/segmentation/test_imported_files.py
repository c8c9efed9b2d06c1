"""Label maps of other programs as files: one per lobe, a lobe alone, a label on both sides."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from lungperfusion.errors import InputError
from lungperfusion.io import labelmap_of, read_labelmap
from lungperfusion.resampling import to_sitk
from lungperfusion.segmentation.imports import import_regions
from lungperfusion.segmentation.lungs import lungs_from_mask
from lungperfusion.terms import LOBES
from lungperfusion.volume import Geometry, Volume

GRID = Geometry.axial((20, 12, 30), (8.0, 8.0, 8.0))
FILES = {
    "left_upper_lobe": "lung_upper_lobe_left",
    "left_lower_lobe": "lung_lower_lobe_left",
    "right_upper_lobe": "lung_upper_lobe_right",
    "right_middle_lobe": "lung_middle_lobe_right",
    "right_lower_lobe": "lung_lower_lobe_right",
}


def boxes() -> dict[str, np.ndarray]:
    """Lobes as boxes: I grows to the left, K to the head."""
    places = {
        "left_upper_lobe": np.s_[10:18, 2:10, 18:28],
        "left_lower_lobe": np.s_[2:10, 2:10, 18:28],
        "right_upper_lobe": np.s_[12:18, 2:10, 2:12],
        "right_middle_lobe": np.s_[8:12, 2:10, 2:12],
        "right_lower_lobe": np.s_[2:8, 2:10, 2:12],
    }
    masks = {}
    for name, place in places.items():
        masks[name] = np.zeros(GRID.shape, np.uint8)
        masks[name][place] = 1
    return masks


@pytest.fixture
def folder(tmp_path):
    """Output of TotalSegmentator: one file per structure, also of others."""
    out = tmp_path / "segmentations"
    out.mkdir()
    for name, mask in boxes().items():
        sitk.WriteImage(to_sitk(mask, GRID), str(out / f"{FILES[name]}.nii.gz"))
    sitk.WriteImage(to_sitk(np.ones(GRID.shape, np.uint8), GRID), str(out / "spleen.nii.gz"))
    return out


@pytest.fixture
def ct():
    return Volume(np.full(GRID.shape, -800, np.int16), GRID, "HU")


def test_folder_of_one_file_per_lobe(folder):
    imported = import_regions(read_labelmap(folder), target=GRID)
    for name, mask in boxes().items():
        assert np.array_equal(imported.lobes.mask(name), mask > 0)


def test_folder_of_lobes_is_a_lung_mask(folder, ct):
    lungs = lungs_from_mask(ct, labelmap_of(read_labelmap(folder))).labelmap
    assert np.count_nonzero(lungs.mask("left_lung")) == 2 * 8 * 8 * 10


def test_folder_without_masks_says_what_is_expected(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(InputError, match=r"such as lung_upper_lobe_left\.nii\.gz"):
        read_labelmap(tmp_path)


def test_masks_on_two_grids_are_refused(folder):
    other = Geometry.axial(GRID.shape, (8.0, 8.0, 7.0))
    mask = boxes()["left_upper_lobe"]
    sitk.WriteImage(to_sitk(mask, other), str(folder / "lung_upper_lobe_left.nii.gz"))
    with pytest.raises(InputError, match="masks in segmentations"):
        read_labelmap(folder)


@pytest.mark.parametrize("lobe", LOBES)
def test_lone_lobe_is_no_lung(folder, ct, lobe):
    image = read_labelmap(folder / f"{FILES[lobe]}.nii.gz")
    assert [segment.id for segment in image.segments] == [lobe]
    with pytest.raises(InputError, match="holds a single lobe"):
        lungs_from_mask(ct, labelmap_of(image))


def test_label_on_both_sides_is_refused(tmp_path):
    values = {"left_upper_lobe": 10, "left_lower_lobe": 11, "right_upper_lobe": 11}
    values |= {"right_middle_lobe": 12, "right_lower_lobe": 13}
    array = sum(mask * values[name] for name, mask in boxes().items()).astype(np.uint8)
    sitk.WriteImage(to_sitk(array, GRID), str(tmp_path / "total.nii.gz"))
    with pytest.raises(InputError, match="the left lower lobe lies on both sides"):
        import_regions(read_labelmap(tmp_path / "total.nii.gz"), convention="totalsegmentator")

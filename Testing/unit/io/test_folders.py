"""What lies below a folder is read, and what could not be is said."""

from __future__ import annotations

import os

import pydicom
import pytest

from lungperfusion.errors import InputError
from lungperfusion.io import read_ct
from lungperfusion.io.folders import CUT, DEAD, EMPTY, SPECIAL, in_words, list_files

needs_links = pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")


def test_files_are_sorted_and_hidden_empty_ones_are_no_loss(tmp_path):
    for name in ("b", "a", "sub/c"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / "empty").touch()
    (tmp_path / ".hidden").touch()
    listing = list_files(tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in listing.files] == ["a", "b", "sub/c"]
    assert listing.left_out == {EMPTY: 1}


@needs_links
def test_links_are_followed_once(tmp_path):
    real = tmp_path / "store"
    real.mkdir()
    (real / "slice").write_text("x")
    root = tmp_path / "cohort"
    root.mkdir()
    (root / "patient").symlink_to(real)
    (root / "again").symlink_to(root)  # leads back
    (root / "gone").symlink_to(tmp_path / "nowhere")
    listing = list_files(root)
    assert [path.name for path in listing.files] == ["slice"]
    assert listing.left_out == {DEAD: 1}


@needs_links
def test_pipes_are_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert list_files(tmp_path).left_out == {SPECIAL: 1}
    assert "1 device(s) or pipe(s)" in in_words({SPECIAL: 1, EMPTY: 0})


def height(file):
    return float(pydicom.dcmread(file).ImagePositionPatient[2])


@pytest.fixture
def broken(tmp_path, chest, grid, write_series):
    """A series of which the first and last files were not transferred."""

    def write(keep: int):
        folder = write_series(tmp_path / "series", chest(), grid)
        files = sorted(folder.iterdir(), key=lambda file: height(file))
        for file in (files[0], files[-1]):
            content = file.read_bytes()[:keep]
            file.unlink()
            file.with_suffix(".dcm").write_bytes(content)
        return folder, len(files)

    return write


@pytest.mark.parametrize(("keep", "kind"), [(0, EMPTY), (100, CUT)])
def test_lost_slices_at_the_ends_are_a_gate(broken, keep, kind):
    folder, count = broken(keep)
    scan = read_ct(folder)
    (gate,) = scan.gates
    assert gate.verdict == "warn"
    assert f"{count - 2} of {count} expected slices" in gate.message
    assert kind in gate.message
    assert gate.message in scan.warnings


def test_whole_series_passes(tmp_path, chest, grid, write_series):
    folder = write_series(tmp_path / "series", chest(), grid)
    scan = read_ct(folder)
    assert [gate.verdict for gate in scan.gates] == ["pass"]
    assert not scan.warnings


def test_header_that_announces_more_slices_is_heeded(tmp_path, chest, grid, write_series):
    def announce(data, k):
        data.ImagesInAcquisition = 500

    folder = write_series(tmp_path / "series", chest(), grid, edit=announce)
    (gate,) = read_ct(folder).gates
    assert gate.verdict == "warn"
    assert "of 500 expected slices" in gate.message


def test_folder_of_dead_links_says_so(tmp_path):
    folder = tmp_path / "series"
    folder.mkdir()
    (folder / "a.dcm").touch()
    with pytest.raises(InputError, match=r"empty but for 1 empty file\(s\)"):
        read_ct(folder)


def two_passes(tmp_path, chest, grid, write_series, offset_mm, tag="AcquisitionNumber"):
    """One series of two passes, the second ``offset_mm`` along the body from the first."""

    def number(which, by_mm):
        def edit(data, k):
            setattr(data, tag, f"10150{which}" if tag == "AcquisitionTime" else which)
            x, y, z = data.ImagePositionPatient
            data.ImagePositionPatient = [x, y, float(z) + by_mm]
            data.SOPInstanceUID = f"2.25.9{which}{k}"

        return edit

    for which, by_mm in ((1, 0.0), (2, offset_mm)):
        edit = number(which, by_mm)
        write_series(tmp_path / "series", chest(seed=which), grid, edit=edit, prefix=f"pass{which}")
    return tmp_path / "series"


@pytest.mark.parametrize("offset_mm", [1.0, 0.7, 5.0])
def test_passes_between_each_other_are_refused(tmp_path, chest, grid, write_series, offset_mm):
    folder = two_passes(tmp_path, chest, grid, write_series, offset_mm)
    with pytest.raises(InputError, match=r"2 acquisitions .*number 1 with 8 slices, number 2"):
        read_ct(folder)


def test_passes_without_a_number_are_told_by_their_time(tmp_path, chest, grid, write_series):
    folder = two_passes(tmp_path, chest, grid, write_series, 1.0, tag="AcquisitionTime")
    with pytest.raises(InputError, match="number 2 with 8 slices by the time of acquisition"):
        read_ct(folder)


def test_slices_with_a_time_each_are_one_scan(tmp_path, chest, grid, write_series):
    def edit(data, k):
        data.AcquisitionTime = f"1015{(k * 5) % 8:02d}"

    write_series(tmp_path / "series", chest(), grid, edit=edit)
    assert read_ct(tmp_path / "series").volume.geometry.shape == (8, 24, 20)


@pytest.mark.parametrize("tag", ["AcquisitionNumber", "AcquisitionTime"])
def test_passes_that_follow_each_other_are_one_scan(tmp_path, chest, grid, write_series, tag):
    folder = two_passes(tmp_path, chest, grid, write_series, 16.0, tag)
    assert read_ct(folder).volume.geometry.shape == (16, 24, 20)


@pytest.mark.parametrize(
    ("modality", "sop", "left_out"),
    [
        ("RTSTRUCT", "1.2.840.10008.5.1.4.1.1.481.3", "1 RTSTRUCT object"),
        ("SR", "1.2.840.10008.5.1.4.1.1.88.33", "1 SR object"),
        ("CT", "1.2.840.10008.5.1.4.1.1.7", "1 CT image"),
    ],
)
@pytest.mark.parametrize("by_uid", [False, True])
def test_other_objects_of_the_series_are_left_out(
    tmp_path, chest, grid, write_series, modality, sop, left_out, by_uid
):
    folder = write_series(tmp_path / "series", chest(), grid)
    data = pydicom.dcmread(next(folder.iterdir()))
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = sop
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = "2.25.4711"
    data.Modality = modality
    del data.ImagePositionPatient, data.PixelSpacing
    if modality != "CT":
        del data.Rows, data.Columns, data.PixelData
    data.save_as(folder / "0_first")
    scan = read_ct(folder, series_uid="2.25.10" if by_uid else None)
    assert scan.volume.geometry.shape[0] == 8
    assert any(left_out in warning for warning in scan.warnings)

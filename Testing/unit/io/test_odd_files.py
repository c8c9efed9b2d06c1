"""Sound images that are written in unusual ways are read; what cannot be HU is refused."""

from __future__ import annotations

import contextlib
import gzip
import os
import struct
import zlib

import numpy as np
import pytest
import SimpleITK as sitk

from lungperfusion.errors import InputError
from lungperfusion.io import read_ct, read_labelmap
from lungperfusion.io.silence import silent_libraries
from lungperfusion.volume import Geometry


@pytest.fixture
def same(chest, grid):
    """``same(scan)``: the image and its place are those that were written."""

    def check(scan, *, within_mm=1e-3):
        assert np.array_equal(scan.volume.array, chest())
        assert scan.volume.geometry.same_as(grid, tolerance_mm=within_mm)
        return True

    return check


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("more", [1, 2])
def test_further_dimensions_of_one(tmp_path, chest, grid, write_image, same, suffix, more):
    image = sitk.ReadImage(str(write_image(tmp_path / "three.mha", chest(), grid)))
    for _ in range(more):
        image = sitk.JoinSeries([image])
    sitk.WriteImage(image, str(tmp_path / f"ct{suffix}"))
    assert same(read_ct(tmp_path / f"ct{suffix}"))


def test_two_time_points_are_refused(tmp_path, chest, grid, write_image):
    image = sitk.ReadImage(str(write_image(tmp_path / "three.mha", chest(), grid)))
    sitk.WriteImage(sitk.JoinSeries([image, image]), str(tmp_path / "ct.nrrd"))
    with pytest.raises(InputError, match=r"4 dimensions .* export one time point"):
        read_ct(tmp_path / "ct.nrrd")


def test_label_map_with_a_further_dimension(tmp_path, chest, grid, write_image):
    labels = (chest() < -500).astype(np.uint8)
    image = sitk.ReadImage(str(write_image(tmp_path / "three.mha", labels, grid)))
    sitk.WriteImage(sitk.JoinSeries([image]), str(tmp_path / "lungs.nii.gz"))
    assert np.array_equal(read_labelmap(tmp_path / "lungs.nii.gz").array, labels)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
def test_capitals(tmp_path, chest, grid, write_image, same, suffix):
    path = write_image(tmp_path / f"ct{suffix}", chest(), grid)
    path.rename(tmp_path / f"ct{suffix.upper()}")
    assert same(read_ct(tmp_path / f"ct{suffix.upper()}"))


def test_capitals_with_voxels_in_a_file_of_their_own(tmp_path, chest, grid, write_image, same):
    path = write_image(tmp_path / "ct.mhd", chest(), grid)
    path.rename(tmp_path / "ct.MHD")
    assert same(read_ct(tmp_path / "ct.MHD"))


@pytest.mark.parametrize(("written", "name"), [(".nii.gz", "ct.nii"), (".nii", "ct.nii.gz")])
def test_packed_or_not_whatever_the_name_says(
    tmp_path, chest, grid, write_image, same, written, name
):
    path = write_image(tmp_path / f"first{written}", chest(), grid)
    path.rename(tmp_path / name)
    assert same(read_ct(tmp_path / name))


def second_version(path, array, grid):
    """Write NIfTI-2 by the standard."""
    matrix = grid.ijk_to_ras
    header = bytearray(544)
    struct.pack_into("<i", header, 0, 540)
    header[4:12] = b"n+2\0\r\n\x1a\n"
    struct.pack_into("<2h", header, 12, 4, 16)
    struct.pack_into("<8q", header, 16, 3, *array.shape[::-1], 1, 1, 1, 1)
    struct.pack_into("<8d", header, 104, 1.0, *grid.spacing_ijk_mm, 0, 0, 0, 0)
    struct.pack_into("<q2d", header, 168, 544, 1.0, 0.0)
    struct.pack_into("<2i", header, 344, 0, 1)
    struct.pack_into("<12d", header, 400, *matrix[:3].ravel())
    content = bytes(header) + array.astype("<i2").tobytes()
    path.write_bytes(gzip.compress(content) if path.name.endswith(".gz") else content)
    return path


@pytest.mark.parametrize("name", ["ct.nii", "ct.nii.gz"])
def test_second_version_of_nifti(tmp_path, chest, grid, same, name):
    assert same(read_ct(second_version(tmp_path / name, chest(), grid)))


def test_second_version_that_is_cut_short(tmp_path, chest, grid):
    path = second_version(tmp_path / "ct.nii", chest(), grid)
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(InputError, match="cut short: its header announces"):
        read_ct(path)


def skewed(path, array, grid, degrees):
    matrix = grid.ijk_to_ras.copy()
    matrix[:3, 2] += (
        matrix[:3, 1]
        * np.tan(np.radians(degrees))
        * (np.linalg.norm(matrix[:3, 2]) / np.linalg.norm(matrix[:3, 1]))
    )
    bent = Geometry(grid.shape, matrix)
    second_version(path, array, bent)
    return bent


def test_slightly_skewed_axes_are_taken_as_they_are(tmp_path, chest, grid):
    bent = skewed(tmp_path / "ct.nii", chest(), grid, 0.5)
    scan = read_ct(tmp_path / "ct.nii")
    assert scan.volume.geometry.same_as(bent, tolerance_mm=1e-3)
    assert any("0.50 degrees off a right angle" in warning for warning in scan.warnings)


def test_skewed_axes_are_refused_with_their_angle(tmp_path, chest, grid):
    skewed(tmp_path / "ct.nii", chest(), grid, 5.0)
    with pytest.raises(InputError, match=r"5\.0 degrees off a right angle"):
        read_ct(tmp_path / "ct.nii")


@pytest.mark.skipif(os.name == "nt", reason="names are Unicode there")
@pytest.mark.parametrize("suffix", [".nii", ".nrrd", ".mha", ".mhd"])
def test_names_in_other_encodings(tmp_path, chest, grid, write_image, same, suffix):
    folder = tmp_path / os.fsdecode(b"M\xfcller")
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    plain = write_image(tmp_path / f"ct{suffix}", chest(), grid)
    for file in tmp_path.iterdir():
        if file.is_file():
            file.rename(folder / file.name)
    assert same(read_ct(folder / plain.name))


def test_keys_in_other_encodings(tmp_path, chest, grid, same):
    from lungperfusion.io import write_volume
    from lungperfusion.volume import Volume

    write_volume(Volume(chest(), grid, "HU"), tmp_path / "a.nrrd", compressed=False)
    content = (tmp_path / "a.nrrd").read_bytes()
    head, gap, voxels = content.partition(b"\n\n")
    (tmp_path / "b.nrrd").write_bytes(head + b"\nName:=M\xfcller" + gap + voxels)
    assert same(read_ct(tmp_path / "b.nrrd"))


def test_index_of_a_medium_stands_for_its_folder(tmp_path, chest, grid, write_series, same):
    folder = write_series(tmp_path / "medium" / "images", chest(), grid).parent
    (folder / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    assert same(read_ct(folder / "DICOMDIR"))


NRRD = (
    "NRRD0004\ntype: short\ndimension: 3\nsizes: 20 24 8\n{}"
    "kinds: domain domain domain\nendian: little\nencoding: raw\n\n"
)
DIRECTIONS = "space directions: (0.8,0,0) (0,0.8,0) (0,0,2)\nspace origin: (0,0,0)\n"


@pytest.mark.parametrize(
    ("fields", "notes"),
    [
        ("space: left-posterior-superior\n" + DIRECTIONS, ()),
        ("space: RAS\n" + DIRECTIONS, ()),
        ("spacings: 0.8 0.8 2\n", ("no anatomical space",)),
        ("space dimension: 3\n" + DIRECTIONS, ("no anatomical space",)),
        ("space: scanner-xyz\n" + DIRECTIONS, ("no anatomical space",)),
        ("", ("no anatomical space", "how large its voxels are")),
    ],
)
def test_what_a_nrrd_header_leaves_open_is_said(tmp_path, chest, fields, notes):
    content = NRRD.format(fields).encode() + chest().astype("<i2").tobytes()
    (tmp_path / "ct.nrrd").write_bytes(content)
    warnings = read_ct(tmp_path / "ct.nrrd").warnings
    assert len(warnings) == len(notes)
    for note in notes:
        assert any(note in warning for warning in warnings)


def test_short_list_of_slices_is_refused(tmp_path, chest):
    planes = chest().astype("<i2")
    for k in range(6):
        (tmp_path / f"slice{k}.raw").write_bytes(planes[k].tobytes())
    header = "ObjectType = Image\nNDims = 3\nDimSize = 20 24 8\nElementType = MET_SHORT\n"
    names = "\n".join(f"slice{k}.raw" for k in range(6))
    (tmp_path / "ct.mhd").write_text(f"{header}ElementDataFile = LIST\n{names}\n")
    with pytest.raises(InputError, match="cut short: its header announces 7680 bytes"):
        read_ct(tmp_path / "ct.mhd")


def test_voxels_that_are_not_packed_as_the_header_says_are_refused(tmp_path, chest):
    """A reader that does not look measures memory that nobody has written."""
    (tmp_path / "ct.raw").write_bytes(chest().astype("<i2").tobytes())
    header = "ObjectType = Image\nNDims = 3\nDimSize = 20 24 8\nElementType = MET_SHORT\n"
    header += "ElementSpacing = 0.8 0.8 2\nCompressedData = True\n"
    (tmp_path / "ct.mhd").write_text(f"{header}ElementDataFile = ct.raw\n")
    with pytest.raises(InputError, match="announces 7680 bytes of voxels, 0 are there"):
        read_ct(tmp_path / "ct.mhd")
    (tmp_path / "ct.raw").write_bytes(zlib.compress(chest().astype("<i2").tobytes()[:-2]))
    with pytest.raises(InputError, match="7678 are there"):
        read_ct(tmp_path / "ct.mhd")
    (tmp_path / "ct.raw").write_bytes(zlib.compress(chest().astype("<i2").tobytes()))
    assert np.array_equal(read_ct(tmp_path / "ct.mhd").volume.array, chest())


@pytest.mark.parametrize("name", ["ct.nrrd", "ct.mha"])
def test_assumed_voxel_size_is_a_gate(tmp_path, chest, name):
    head = {
        "ct.nrrd": NRRD.format(""),
        "ct.mha": "ObjectType = Image\nNDims = 3\nDimSize = 20 24 8\nElementType = MET_SHORT\n"
        "ElementDataFile = LOCAL\n",
    }[name]
    (tmp_path / name).write_bytes(head.encode() + chest().astype("<i2").tobytes())
    scan = read_ct(tmp_path / name)
    assert [(gate.id, gate.verdict) for gate in scan.gates] == [("voxel_size", "warn")]
    assert any("1 mm was assumed" in warning for warning in scan.warnings)


@pytest.mark.parametrize(
    ("offset", "form", "values", "message"),
    [
        (40, "8h", (-3, 20, 24, 8, 1, 1, 1, 1), "-3 axes"),
        (40, "8h", (3, 20, -24, 8, 1, 1, 1, 1), "20 x -24 x 8 voxels"),
        (70, "2h", (1, 1), "values of type 1"),
        (280, "12f", (np.nan,) * 12, "no matrix of finite numbers"),
        (280, "12f", (0.0,) * 12, "no matrix of finite numbers"),
    ],
)
def test_impossible_nifti_headers_are_told_without_the_library(
    tmp_path, chest, grid, write_image, capfd, offset, form, values, message
):
    path = write_image(tmp_path / "ct.nii", chest(), grid)
    content = bytearray(path.read_bytes())
    struct.pack_into(f"<{form}", content, offset, *values)
    struct.pack_into("<h", content, 254, 1)  # the sform counts
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_ct(path)
    assert capfd.readouterr() == ("", "")


def test_list_of_millions_of_slices_is_refused(tmp_path):
    (tmp_path / "ct.mhd").write_text(
        "ObjectType = Image\nNDims = 3\nDimSize = 20 24 9000000\nElementType = MET_SHORT\n"
        "ElementDataFile = s%07d.raw 1 9000000 1\n"
    )
    with pytest.raises(InputError, match="lists 9000000 files"):
        read_ct(tmp_path / "ct.mhd")


@pytest.mark.parametrize("spacing", [1e9, 1e-3])
def test_impossible_spacing_is_refused(tmp_path, chest, write_image, spacing):
    grid = Geometry.axial((8, 24, 20), (0.8, 0.8, spacing))
    path = write_image(tmp_path / "ct.nrrd", chest(), grid)
    with pytest.raises(InputError, match=r"expected 0\.01 to 50 mm"):
        read_ct(path)


def test_ten_times_hu_is_refused(tmp_path, chest, grid, write_image):
    path = write_image(tmp_path / "ct.nrrd", (chest().astype(np.int32) * 10).clip(-32768), grid)
    with pytest.raises(InputError, match="HU multiplied by a factor"):
        read_ct(path)


def test_noise_is_no_image(tmp_path, grid, write_image):
    noise = np.random.default_rng(0).normal(-500, 400, (8, 24, 20)).astype(np.int16)
    path = write_image(tmp_path / "ct.nrrd", noise, grid)
    with pytest.raises(InputError, match="this is noise, not an image"):
        read_ct(path)


def test_noisy_chest_is_one(tmp_path, chest, grid, write_image):
    noise = np.random.default_rng(0).normal(0, 150, (8, 24, 20)).astype(np.int16)
    assert read_ct(write_image(tmp_path / "ct.nrrd", chest() + noise, grid))


def test_libraries_say_nothing_of_their_own(tmp_path, chest, grid, write_image, capfd):
    path = write_image(tmp_path / "ct.nii", chest(), grid)
    content = bytearray(path.read_bytes())
    content[344:348] = bytes(4)  # the magic words: an Analyze file, of which ITK warns
    path.write_bytes(content)
    with contextlib.suppress(InputError):
        read_ct(path)
    path = write_image(tmp_path / "ct.mha", chest(), grid)
    path.write_bytes(path.read_bytes().replace(b"DimSize", b"DimXXXX"))
    with pytest.raises(InputError):
        read_ct(path)
    os.write(2, b"heard again")
    assert capfd.readouterr().err == "heard again"


def test_silence_of_several_threads_ends(capfd):
    first, second = silent_libraries(), silent_libraries()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    os.write(2, b"not heard")
    second.__exit__(None, None, None)
    os.write(2, b"heard again")
    assert capfd.readouterr().err == "heard again"

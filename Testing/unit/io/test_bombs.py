"""Files that never end or unpack to far more than they are: refused early, in little memory."""

from __future__ import annotations

import gzip
import os
import struct
import tracemalloc
import zipfile
import zlib

import pydicom
import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian

from lungperfusion.errors import InputError
from lungperfusion.io import read_ct, read_labelmap
from lungperfusion.io.fissure_points import read_fissure_points
from lungperfusion.io.json_files import read_json
from lungperfusion.io.tables import read_small_table

MIB = 2**20
posix = pytest.mark.skipif(os.name == "nt", reason="Windows has no such files in folders")


def zeros_deflated(mib, wbits=-zlib.MAX_WBITS):
    packing = zlib.compressobj(9, zlib.DEFLATED, wbits)
    return b"".join(packing.compress(bytes(MIB)) for _ in range(mib)) + packing.flush()


@pytest.fixture
def little_memory():
    """Fail a test that takes 130 MiB or more at once."""
    tracemalloc.start()
    yield
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 130 * MIB, f"{peak / MIB:.0f} MiB"


@pytest.fixture(params=["pipe", "/dev/zero"])
def endless(request, tmp_path):
    """Give what can be opened and never ends."""
    if os.name == "nt":
        pytest.skip("Windows has no such files in folders")
    path = tmp_path / "endless"
    if request.param == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(request.param)
    return path


@pytest.mark.parametrize(
    "read",
    [read_ct, read_labelmap, read_small_table, read_fissure_points, lambda p: read_json(p, "JSON")],
    ids=["ct", "mask", "table", "points", "json"],
)
def test_endless_files_are_refused(endless, read):
    with pytest.raises(InputError, match=r"device or a pipe|no file"):
        read(endless)


@pytest.mark.parametrize("suffix", [".nrrd", ".nii.gz", ".mha", ".json", ".csv", ".zip", ".dcm"])
def test_whatever_they_are_called(endless, suffix):
    path = endless.rename(endless.with_name(f"ct{suffix}"))

    with pytest.raises(InputError, match="device or a pipe"):
        read_ct(path)


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("ct.mhd", "ObjectType = Image\nNDims = 3\nDimSize = 9 9 9\nElementType = MET_SHORT\n"
         "ElementSpacing = 1 1 1\nElementDataFile = endless\n"),
        ("ct.nhdr", "NRRD0004\ntype: short\ndimension: 3\nsizes: 9 9 9\nencoding: raw\n"
         "endian: little\ndata file: endless\n"),
    ],
)  # fmt: skip
def test_headers_that_refer_to_them(endless, name, header):
    path = endless.with_name(name)
    path.write_text(header)

    with pytest.raises(InputError, match="refers to endless, which is not there or no file"):
        read_ct(path)


@posix
def test_folder_with_a_pipe_is_read_without_it(tmp_path, chest, grid, write_series):
    folder = write_series(tmp_path / "case", chest(), grid)
    os.mkfifo(folder / "pipe.dcm")

    assert any("1 device" in warning for warning in read_ct(folder).warnings)


def deflated(path, body):
    """DICOM file that is deflated from its file meta information on."""
    data = pydicom.dcmread(path)
    data.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    data.save_as(path, enforce_file_format=True)
    if body is not None:
        content = path.read_bytes()
        end = 144 + int.from_bytes(content[140:144], "little")
        path.write_bytes(content[:end] + body)


def test_deflated_series_is_read(tmp_path, chest, grid, write_series):
    folder = write_series(tmp_path / "case", chest(), grid)
    plain = read_ct(folder).volume
    for path in folder.iterdir():
        deflated(path, None)

    assert (read_ct(folder).volume.array == plain.array).all()


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("alone", [True, False])
def test_deflated_bomb_is_refused(tmp_path, chest, grid, write_series, alone):
    folder = write_series(tmp_path / "case", chest(), grid)
    bomb = sorted(folder.iterdir())[0]
    deflated(bomb, zeros_deflated(160))

    with pytest.raises(InputError, match="unpacks to more than 200 times its size"):
        (read_labelmap if alone else read_ct)(bomb if alone else folder)


@pytest.mark.usefixtures("little_memory")
def test_zip_member_that_holds_more_than_it_says(tmp_path):
    path = tmp_path / "case.zip"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("a.dcm", "w") as member,
    ):
        for _ in range(160):
            member.write(bytes(MIB))
    content = path.read_bytes()
    for said in (struct.pack("<I", 160 * MIB),):
        assert said in content
        content = content.replace(said, struct.pack("<I", 1000))
    path.write_bytes(content)

    with pytest.raises(InputError, match="the zip is damaged"):
        read_ct(path)


def test_zip_of_many_members_that_are_each_small(tmp_path):
    path = tmp_path / "case.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(20):
            archive.writestr(f"{number}.dcm", bytes(5 * MIB))

    with pytest.raises(InputError, match=r"packed .* to 1, which no CT is"):
        read_ct(path)


def nifti(shape):
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, 3, *shape, 1, 1, 1, 1)
    struct.pack_into("<2h", header, 70, 4, 16)
    struct.pack_into("<8f", header, 76, *[1.0] * 8)
    struct.pack_into("<f", header, 108, 352.0)
    header[344:348] = b"n+1\0"
    return bytes(header)


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((30_000, 30_000, 30_000), "claims .* GiB of voxels, more than any CT"),
        ((1500, 1500, 1500), "is cut short: its header announces"),
        ((9, 9, 9), "unpacks to far more than"),
    ],
)
def test_gzip_bombs(tmp_path, shape, words):
    path = tmp_path / "ct.nii.gz"
    path.write_bytes(gzip.compress(nifti(shape)) + zeros_deflated(100, zlib.MAX_WBITS | 16))

    with pytest.raises(InputError, match=words):
        read_ct(path)


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("ct.nrrd", "NRRD0004\ntype: short\ndimension: 3\nsizes: 1500 1500 1500\nspacings: 1 1 1\n"
         "encoding: gzip\nendian: little\n\n"),
        ("ct.mha", "ObjectType = Image\nNDims = 3\nCompressedData = True\n"
         "DimSize = 1500 1500 1500\n"
         "ElementType = MET_SHORT\nElementSpacing = 1 1 1\nElementDataFile = LOCAL\n"),
    ],
)  # fmt: skip
def test_headers_that_announce_what_no_file_of_this_length_holds(tmp_path, name, header):
    path = tmp_path / name
    path.write_bytes(header.encode() + gzip.compress(bytes(1000)))

    with pytest.raises(InputError, match="is cut short: its header announces"):
        read_ct(path)


def test_slices_as_large_as_no_file_holds(tmp_path, chest, grid, write_series):
    def edit(data, k):
        data.Rows = data.Columns = 30_000

    folder = write_series(tmp_path / "case", chest(), grid, edit=edit)

    with pytest.raises(InputError, match="is cut short: its header announces"):
        read_ct(folder)


def test_list_of_more_slices_than_any_ct(tmp_path):
    path = tmp_path / "ct.mhd"
    path.write_text(
        "ObjectType = Image\nNDims = 3\nDimSize = 9 9 99999\nElementType = MET_SHORT\n"
        "ElementDataFile = LIST\n" + "a\n" * 30_000
    )

    with pytest.raises(InputError, match="lists 30000 files with slices, more than any CT"):
        read_ct(path)

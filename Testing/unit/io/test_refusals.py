"""What cannot be used is refused with one sentence that says what is wrong and what to do."""

from __future__ import annotations

import gzip
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from pydicom.dataset import Dataset
from pydicom.uid import JPEG2000Lossless

from lungperfusion.errors import InputError
from lungperfusion.io import read_ct, read_labelmap, read_map, read_segmentation
from lungperfusion.volume import Geometry


@dataclass
class Maker:
    """Makes one bad input in a folder of its own."""

    folder: Path
    hu: np.ndarray
    grid: Geometry
    write_series: Callable[..., Path]
    write_enhanced: Callable[..., Path]
    write_image: Callable[..., Path]

    def series(self, hu: np.ndarray | None = None, **options: Any) -> Path:
        return self.write_series(
            self.folder / "case", self.hu if hu is None else hu, self.grid, **options
        )

    def edited(self, *slices: int, **changes: Any) -> Path:
        """Write a series in which some slices (all if none is named) have other attributes."""

        def edit(data: Dataset, k: int) -> None:
            if not slices or k in slices:
                for keyword, value in changes.items():
                    if value is None:
                        delattr(data, keyword)
                    else:
                        setattr(data, keyword, value)

        return self.series(edit=edit)

    def moved(self, move: Callable[[int, np.ndarray], np.ndarray]) -> Path:
        """Write a series in which slices lie elsewhere (LPS mm)."""

        def edit(data: Dataset, k: int) -> None:
            place = move(k, np.array([float(x) for x in data.ImagePositionPatient]))
            data.ImagePositionPatient = [f"{x:.6g}" for x in place]

        return self.series(edit=edit)

    def image(self, array: np.ndarray, name: str = "ct.nrrd") -> Path:
        return self.write_image(self.folder / name, array, self.grid)

    def sitk(self, image: sitk.Image, name: str = "ct.nrrd") -> Path:
        path = self.folder / name
        sitk.WriteImage(image, str(path))
        return path

    def raw(self, name: str, content: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(content)
        return path

    def zip(self, *members: tuple[str, bytes]) -> Path:
        path = self.folder / "case.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members:
                archive.writestr(name, content)
        return path

    def cut(self, path: Path, keep: float) -> Path:
        """Cut a file short."""
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * keep)])
        return path

    def with_value(self, value: float) -> np.ndarray:
        array = self.hu.astype(np.float32)
        array[3, 4, 5] = value
        return array

    def nifti(self, qform: int, sform: int, shift_mm: float) -> Path:
        """Write a NIfTI file whose sform lies ``shift_mm`` beside its qform."""
        path = self.image(self.hu, "ct.nii")
        content = bytearray(path.read_bytes())
        struct.pack_into("<2h", content, 252, qform, sform)
        (x,) = struct.unpack_from("<f", content, 292)
        struct.pack_into("<f", content, 292, x + shift_mm)
        path.write_bytes(content)
        return path


@pytest.fixture
def make(tmp_path, chest, grid, write_series, write_enhanced, write_image) -> Maker:
    return Maker(tmp_path, chest(), grid, write_series, write_enhanced, write_image)


def first_file(folder: Path) -> Path:
    return sorted(folder.iterdir())[0]


def cut_slice(make: Maker, keep: float) -> Path:
    folder = make.series()
    make.cut(first_file(folder), keep)
    return folder


def number_of_three_bytes(make: Maker) -> Path:
    folder = make.series()
    path = next(folder.iterdir())
    length = b"\x02\x00\x00\x00UL\x04\x00"
    path.write_bytes(path.read_bytes().replace(length, length[:-2] + b"\x03\x00"))
    return folder


def two_series(make: Maker) -> Path:
    make.series()
    return make.series(series="2.25.11", prefix="b")


def zipped(make: Maker, damage: Callable[[bytearray], None] | None = None) -> Path:
    folder = make.series()
    path = make.zip(*((entry.name, entry.read_bytes()) for entry in folder.iterdir()))
    if damage is not None:
        content = bytearray(path.read_bytes())
        damage(content)
        path.write_bytes(content)
    return path


def flip_packed_bytes(content: bytearray) -> None:
    content[800:900] = bytes(255 - value for value in content[800:900])


def spoil_list_of_members(content: bytearray) -> None:
    content[content.rfind(b"PK\x01\x02")] ^= 255


def mark_encrypted(content: bytearray) -> None:
    start = 0
    while (start := content.find(b"PK\x01\x02", start)) >= 0:
        content[start + 8] |= 1
        start += 4


def two_phases(make: Maker) -> Path:
    make.series()

    def later(data: Dataset, k: int) -> None:
        data.SOPInstanceUID = f"2.25.77.{k + 1}"

    return make.series(make.hu + np.int16(5), edit=later, prefix="late")


def compressed(make: Maker) -> Path:
    def edit(data: Dataset, k: int) -> None:
        from pydicom.encaps import encapsulate

        data.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.201"  # HTJ2K
        data.PixelData = encapsulate([b"\xff\x4f\xff\x51" + bytes(60)])

    return make.series(edit=edit)


def damaged_jpeg(make: Maker, syntax: str) -> Path:
    def edit(data: Dataset, k: int) -> None:
        from pydicom.encaps import encapsulate

        data.file_meta.TransferSyntaxUID = syntax
        data.PixelData = encapsulate([b"\xff\x4f\xff\x51" + bytes(60)])
        data["PixelData"].VR = "OB"

    return make.series(edit=edit)


def enhanced(make: Maker, edit: Callable[[Dataset, int], None]) -> Path:
    return make.write_enhanced(make.folder / "case" / "a.dcm", make.hu, make.grid, range(8), edit)


def drop_groups(data: Dataset, k: int) -> None:
    del data.PerFrameFunctionalGroupsSequence


def drop_one_group(data: Dataset, k: int) -> None:
    del data.PerFrameFunctionalGroupsSequence[-1]


def drop_plane(data: Dataset, k: int) -> None:
    del data.PerFrameFunctionalGroupsSequence[2].PlanePositionSequence


def missing_raw(make: Maker) -> Path:
    path = make.image(make.hu, "ct.mhd")
    (make.folder / "ct.raw").unlink()
    return path


def missing_nhdr_data(make: Maker) -> Path:
    path = make.image(make.hu, "ct.nhdr")
    next(entry for entry in make.folder.iterdir() if "raw" in entry.name).unlink()
    return path


def short_raw(make: Maker) -> Path:
    path = make.image(make.hu, "ct.mhd")
    raw = next(entry for entry in make.folder.iterdir() if "raw" in entry.name)
    make.cut(raw, 0.5)
    return path


def replaced_bytes(make: Maker, name: str, old: bytes, new: bytes) -> Path:
    path = make.image(make.hu, name)
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, 1))
    return path


def truncated_gz(make: Maker) -> Path:
    return make.cut(make.image(make.hu, "ct.nii.gz"), 0.6)


def folder_of(make: Maker, *files: tuple[str, bytes]) -> Path:
    folder = make.folder / "case"
    folder.mkdir()
    for name, content in files:
        (folder / name).write_bytes(content)
    return folder


def folder_of_nrrd(make: Maker) -> Path:
    return make.write_image(make.folder / "case" / "ct.nrrd", make.hu, make.grid).parent


def labels(make: Maker) -> np.ndarray:
    return (make.hu < -500).astype(np.int16) * 2


def colour(make: Maker) -> Path:
    image = sitk.GetImageFromArray(np.zeros((4, 5, 6, 3), np.uint8), isVector=True)
    return make.sitk(image)


CASES: list[tuple[str, Callable[[Maker], Path], str]] = [
    # paths
    ("no such file", lambda m: m.folder / "nothing.nrrd", "there is no file or folder .*nothing"),
    ("empty folder", folder_of, "the folder case is empty"),
    ("folder of text", lambda m: folder_of(m, ("a.txt", b"x")), r"no DICOM file \(1 other"),
    ("folder of NRRD", folder_of_nrrd, "1 image file.* but no DICOM; name one file, such as ct"),
    ("empty file", lambda m: m.raw("ct.nrrd", b""), "is empty .0 bytes"),
    ("text as NRRD", lambda m: m.raw("ct.nrrd", b"hello\n"), "not what its name says"),
    ("text as NIfTI", lambda m: m.raw("ct.nii", b"hello"), "cut short within its header"),
    ("noise as NIfTI", lambda m: m.raw("ct.nii", bytes(range(256)) * 8), "not what its name"),
    ("text as gz", lambda m: m.raw("ct.nii.gz", b"hello"), "cut short"),
    ("text as MHA", lambda m: m.raw("ct.mha", b"hello"), "not what its name says"),
    ("picture", lambda m: m.raw("ct.png", b"\x89PNG\r\n"), "no image this program reads; give a"),
    ("Word file", lambda m: m.raw("ct.docx", b"nothing"), "no image this program reads; give a"),
    ("NRRD called NIfTI", lambda m: m.image(m.hu).rename(m.folder / "a.nii"), "not what its name"),
    # zips
    ("zip without DICOM", lambda m: m.zip(("a.txt", b"x")), "case.zip holds no DICOM file"),
    ("empty zip", lambda m: m.zip(), "case.zip holds no DICOM file"),
    ("zip bomb", lambda m: m.zip(("a.dcm", bytes(70 * 2**20))), "packed .* to 1, which no CT is"),
    ("damaged zip", lambda m: zipped(m, flip_packed_bytes), "the zip is damaged"),
    ("number of three bytes", number_of_three_bytes, "header of .* is damaged or cut short; exp"),
    ("zip with a damaged list", lambda m: zipped(m, spoil_list_of_members), "the zip is damaged"),
    ("encrypted zip", lambda m: zipped(m, mark_encrypted), "is encrypted; unpack it"),
    ("cut zip", lambda m: m.cut(zipped(m), 0.5), "no image this program reads"),
    # DICOM files
    ("slice without pixels", lambda m: m.edited(3, PixelData=None), "no pixel data|cut short"),
    ("slice cut in its pixels", lambda m: cut_slice(m, 0.8), r"cut short \(\d+ of 960 bytes"),
    (
        "slice cut in its header",
        lambda m: cut_slice(m, 0.4),
        "damaged|cut short|no usable|no pixel",
    ),
    (
        "compressed with HTJ2K",
        compressed,
        "compressed as High-Throughput .*export them uncompressed",
    ),
    ("damaged JPEG 2000", lambda m: damaged_jpeg(m, JPEG2000Lossless), "damaged or cut short"),
    (
        "damaged JPEG Lossless",
        lambda m: damaged_jpeg(m, "1.2.840.10008.1.2.4.70"),
        "damaged or cut short .JPEG Lossless",
    ),
    # DICOM kinds
    ("MR", lambda m: m.edited(Modality="MR"), "the DICOM images are MR, not CT"),
    ("PET", lambda m: m.edited(Modality="PT"), "the DICOM images are PT, not CT"),
    (
        "report",
        lambda m: m.edited(
            Modality="SR",
            SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11",
            Rows=None,
            Columns=None,
            PixelData=None,
        ),
        "hold no images .SR",
    ),
    (
        "localizer",
        lambda m: m.edited(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]),
        "the only CT images are localizers",
    ),
    (
        "secondary capture",
        lambda m: m.edited(SOPClassUID="1.2.840.10008.5.1.4.1.1.7"),
        "are secondary captures or reports",
    ),
    ("colour", lambda m: m.edited(SamplesPerPixel=3), "colour pictures"),
    ("one colour slice", lambda m: m.edited(2, SamplesPerPixel=3), "colour pictures"),
    ("iodine map", lambda m: m.edited(RescaleType="MGML"), "in mg/mL, not in HU: it is a derived"),
    ("effective Z", lambda m: m.edited(RescaleType="Z_EFF"), "in Z_EFF, not in HU"),
    ("mixed units", lambda m: m.edited(2, RescaleType="MGML"), "mixes the rescale units HU and"),
    ("no intercept", lambda m: m.edited(RescaleIntercept=None), "without the rescale intercept"),
    ("slope 0", lambda m: m.edited(2, RescaleSlope="0"), "a Rescale Slope of 0"),
    ("two CT series", two_series, "there are 2 image series; choose one with --series UID"),
    # DICOM geometry
    ("one slice", lambda m: m.series(keep=[4]), r"the longest series has 1 slice\(s\)"),
    ("two slices", lambda m: m.series(keep=[4, 5]), r"the longest series has 2 slice\(s\)"),
    ("no position", lambda m: m.edited(2, ImagePositionPatient=None), "no usable Image Position"),
    ("no orientation", lambda m: m.edited(ImageOrientationPatient=None), "no usable Image Orient"),
    ("no spacing", lambda m: m.edited(PixelSpacing=None), "no usable Pixel Spacing"),
    ("spacing 0", lambda m: m.edited(PixelSpacing=["0", "0.8"]), "a Pixel Spacing of 0 x 0.8 mm"),
    (
        "flat orientation",
        lambda m: m.edited(ImageOrientationPatient=["1", "0", "0", "1", "0", "0"]),
        "not two perpendicular directions",
    ),
    (
        "mixed orientation",
        lambda m: m.edited(2, ImageOrientationPatient=["1", "0", "0", "0", "0", "-1"]),
        "mixes slices of different orientation",
    ),
    ("mixed spacing", lambda m: m.edited(2, PixelSpacing=["1", "1"]), "mixes pixel spacings of"),
    (
        "mixed sizes",
        lambda m: m.edited(2, Rows=20, Columns=24),
        "mixes slices of 20 x 24 and 24 x 20 pixels",
    ),
    (
        "missing slices",
        lambda m: m.series(keep=[0, 1, 2, 6, 7]),
        "slices are missing: between .*S -96",
    ),
    ("two phases", two_phases, "different images at the same position"),
    (
        "all slices at one place",
        lambda m: m.moved(lambda k, place: np.zeros(3)),
        r"1 slice\(s\) at different positions",
    ),
    (
        "one slice aside",
        lambda m: m.moved(lambda k, place: place + np.array([40 * (k == 4), 0, 0])),
        "mm sideways of a straight stack",
    ),
    ("frames without places", lambda m: enhanced(m, drop_groups), "does not say where its frames"),
    ("too few groups", lambda m: enhanced(m, drop_one_group), "describes 7 frames but holds 8"),
    ("frame without place", lambda m: enhanced(m, drop_plane), "no usable Image Position"),
    # other files: shape
    ("2-D", lambda m: m.sitk(sitk.Image(8, 8, sitk.sitkInt16)), "2 dimensions .8 x 8.; expected"),
    ("single slice", lambda m: m.sitk(sitk.Image(8, 8, 1, sitk.sitkInt16)), "is a single slice"),
    (
        "4-D",
        lambda m: m.sitk(sitk.Image([4, 4, 4, 3], sitk.sitkInt16), "ct.nii"),
        "4 dimensions .4 x 4 x 4 x 3.; expected a 3-D image",
    ),
    ("colour NRRD", colour, "has 3 values a voxel .colour, vectors"),
    (
        "complex",
        lambda m: m.sitk(sitk.Image([4, 4, 4], sitk.sitkComplexFloat32), "ct.nii"),
        "2 values a voxel .*complex numbers",
    ),
    # other files: bytes
    ("cut NRRD", lambda m: m.cut(m.image(m.hu), 0.7), "cut short"),
    (
        "cut MHA",
        lambda m: m.cut(m.image(m.hu, "ct.mha"), 0.7),
        "is cut short: its header announces",
    ),
    ("cut NIfTI", lambda m: m.cut(m.image(m.hu, "ct.nii"), 0.7), "cut short"),
    ("cut gz", truncated_gz, "damaged or cut short"),
    ("cut raw", short_raw, "is cut short: its header announces 7680 bytes"),
    ("MHD without raw", missing_raw, "refers to ct.*raw, which is not there"),
    ("NHDR without data", missing_nhdr_data, "refers to ct.*, which is not there"),
    (
        "spacing 0 in NRRD",
        lambda m: replaced_bytes(m, "ct.nrrd", b"(0,0,2)", b"(0,0,0)"),
        "spacing|singular|cannot be read",
    ),
    (
        "huge NRRD",
        lambda m: replaced_bytes(m, "ct.nrrd", b"sizes: 20 24 8", b"sizes: 90000 90000 90000"),
        "more than any CT|cannot be read",
    ),
    ("two orientations", lambda m: m.nifti(1, 1, 30.0), r"two orientations .* up to 30.0 mm"),
    # other files: values
    ("NaN", lambda m: m.image(m.with_value(np.nan)), r"1 voxels that are not a number \(NaN\)"),
    ("infinite", lambda m: m.image(m.with_value(np.inf)), "holds infinite values"),
    ("minus infinite", lambda m: m.image(m.with_value(-np.inf)), "holds infinite values"),
    ("constant", lambda m: m.image(np.full_like(m.hu, 7)), "all voxels have the value 7"),
    ("label map", lambda m: m.image(labels(m)), "looks like a label map, not a CT"),
    ("scaled to 0..1", lambda m: m.image((m.hu + 1024) / 4096.0), "scaled or normalised, not HU"),
    ("z-scores", lambda m: m.image((m.hu + 400) / 450.0), "scaled or normalised, not HU"),
    (
        "8-bit",
        lambda m: m.image(np.arange(m.hu.size).reshape(m.hu.shape).astype(np.uint8)),
        "an 8-bit windowed picture",
    ),
    ("raw +1024", lambda m: m.image(m.hu + np.int16(1024)), "raw values without the rescale"),
    ("windowed", lambda m: m.image(np.clip(m.hu, -160, 240)), "run from -160 .* expected air near"),
    ("shifted", lambda m: m.image(m.hu + np.int16(500)), "expected air near -1000 HU"),
    ("air only", lambda m: m.image(np.minimum(m.hu, -700)), "expected soft tissue"),
    ("padding only", lambda m: m.image(np.full_like(m.hu, -2000)), "holds padding only"),
]


def test_there_are_enough_cases():
    assert len(CASES) >= 60
    assert len({name for name, _, _ in CASES}) == len(CASES)


@pytest.mark.parametrize(
    ("build", "sentence"), [pytest.param(b, s, id=name) for name, b, s in CASES]
)
def test_refused(make, build, sentence):
    path = build(make)
    before = sorted(make.folder.rglob("*"))
    with pytest.raises(InputError, match=sentence) as error:
        read_ct(path)
    message = str(error.value)
    assert "\n" not in message
    assert not any(secret in message for secret in ("Doe", "Jane", "PID4711", "1961"))
    assert sorted(make.folder.rglob("*")) == before


def test_series_that_is_not_there(make):
    with pytest.raises(InputError, match=r"no series 9\.9 among 2\.25\.10 \(CT, 8 images"):
        read_ct(make.series(), series_uid="9.9")


def test_series_of_another_kind_by_uid(make):
    folder = make.edited(Modality="PT")
    with pytest.raises(InputError, match="is PT, not CT"):
        read_ct(folder, series_uid="2.25.10")
    folder = make.edited(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    with pytest.raises(InputError, match="holds no slices"):
        read_ct(folder, series_uid="2.25.10")


def test_segmentation_given_as_ct(make):
    from lungperfusion.io import write_labelmap
    from lungperfusion.volume import Labelmap

    path = make.folder / "lungs.seg.nrrd"
    write_labelmap(Labelmap(labels(make).astype(np.uint8), make.grid, {2: "left_lung"}), path)
    with pytest.raises(InputError, match="is a segmentation, not a CT"):
        read_ct(path)


def test_unreadable_file(make, monkeypatch):
    path = make.image(make.hu)

    def refuse(*arguments: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(InputError, match=r"ct\.nrrd cannot be read: Permission denied"):
        read_ct(path)


def test_nifti_without_orientation_warns(make):
    scan = read_ct(make.nifti(0, 0, 0.0))
    assert "left and right may be swapped" in scan.warnings[0]


@pytest.mark.parametrize("shift_mm", [0.0, 0.3])
def test_nifti_orientations_that_agree(make, shift_mm):
    assert read_ct(make.nifti(1, 1, shift_mm)).warnings == ()


def test_nan_in_a_map_is_left_out(make):
    array = make.with_value(np.nan)
    scan = read_map(make.image(array), unit="mg/mL")
    assert not scan.volume.valid[3, 4, 5]
    assert np.isfinite(scan.volume.array).all()
    assert "1 voxels without a number (NaN) left out" in scan.warnings
    with pytest.raises(InputError, match="no number at all, only NaN"):
        read_map(make.image(np.full(make.hu.shape, np.nan, np.float32)), unit="mg/mL")


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        pytest.param(lambda m: m.image(m.hu), "holds negative values", id="negative"),
        pytest.param(lambda m: m.image(m.hu / 7.0), "holds fractions", id="fractions"),
        pytest.param(lambda m: m.image(m.with_value(np.nan)), "holds fractions", id="NaN"),
        pytest.param(
            lambda m: m.series(), "folder case holds no mask that is named after", id="folder"
        ),
        pytest.param(lambda m: m.raw("a.txt", b"1"), "is no label map; give one as", id="text"),
        pytest.param(lambda m: m.folder / "no.nrrd", "there is no file", id="nothing"),
    ],
)
def test_label_map_refused(make, build, sentence):
    with pytest.raises(InputError, match=sentence):
        read_labelmap(build(make))


def test_overlapping_segments_are_no_label_map(make):
    layers = np.zeros((4, 5, 6, 2), np.uint8)
    layers[1, 2, 3] = 1
    image = sitk.GetImageFromArray(layers, isVector=True)
    for number in (0, 1):
        for key, value in {"ID": f"s{number}", "LabelValue": "1", "Layer": f"{number}"}.items():
            image.SetMetaData(f"Segment{number}_{key}", value)
    path = make.sitk(image, "a.seg.nrrd")
    with pytest.raises(InputError, match="overlapping segments in 2 layers"):
        read_segmentation(path)
    found = read_labelmap(path)
    assert [found.mask(segment).sum() for segment in found.segments] == [1, 1]


def test_gz_is_read_whole(make):
    """A good gzip file with too few voxels inside is refused, too."""
    path = make.image(make.hu, "ct.nii")
    packed = make.folder / "b.nii.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()[:3000]))
    with pytest.raises(InputError, match="cut short"):
        read_ct(packed)


def test_maker_writes_a_good_scan(make):
    """The bad inputs differ from a good one by one thing only."""
    good = SimpleNamespace(
        series=make.edited(), image=make.image(make.hu), nifti=make.nifti(1, 1, 0.0)
    )
    for path in vars(good).values():
        assert read_ct(path).volume.array.shape == make.hu.shape

"""Series with their times from every kind of file, and refusals in one sentence."""

from __future__ import annotations

import gzip

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.uid import EnhancedCTImageStorage

from lungperfusion.commands.phantom import write_dicom
from lungperfusion.dynamic.series import Frames
from lungperfusion.errors import InputError
from lungperfusion.io.time_series import read_time_series, read_times
from lungperfusion.io.writing import write_time_series, write_volume
from lungperfusion.volume import Geometry, Volume

COUNT = 9
GRID = Geometry.axial((4, 6, 5), (2.0, 2.0, 3.0), (8.0, 10.0, -20.0))
TIMES_S = np.array([0.0, 1.5, 3.0, 4.5, 6.0, 7.7, 9.2, 10.7, 12.2])


def frames():
    """Lung beside soft tissue, each frame and each voxel with a value of its own."""
    column = np.where(np.arange(GRID.shape[2]) < 3, -900, 40)
    voxel = np.arange(np.prod(GRID.shape)).reshape(GRID.shape) % 37
    return np.stack([column + voxel + 3 * n for n in range(COUNT)]).astype(np.int16)


def every_slice(times_s=TIMES_S):
    return np.repeat(times_s[:, None], GRID.shape[0], axis=1)


def nifti(path, step_s=1.5, unit=8):
    volumes = [sitk.GetImageFromArray(image) for image in frames()]
    for volume in volumes:
        volume.SetSpacing(GRID.spacing_ijk_mm)
    image = sitk.JoinSeries(volumes, 0.0, step_s)
    sitk.WriteImage(image, str(path))
    content = bytearray(path.read_bytes())
    content[123] = 2 | unit
    path.write_bytes(bytes(content))
    return path


def dicom(folder, times_s=None):
    folder.mkdir()
    times = every_slice() if times_s is None else times_s
    for number, image in enumerate(frames()):
        write_dicom(
            Volume(image, GRID, "HU"),
            folder / f"{number + 1:02d}",
            kind="first pass",
            times_s=times[number],
        )
    return folder


def test_sequence_keeps_values_place_and_times(tmp_path):
    path = tmp_path / "pass.seq.nrrd"
    write_time_series(frames(), GRID, every_slice(), path)
    scan = read_time_series(path)

    assert np.array_equal(scan.series.array, frames())
    assert scan.series.geometry.same_as(GRID)
    assert scan.series.moments_s == pytest.approx(TIMES_S)


def test_nifti_gives_even_times_in_its_unit(tmp_path):
    seconds = read_time_series(nifti(tmp_path / "a.nii")).series.moments_s
    milliseconds = read_time_series(nifti(tmp_path / "b.nii", 1500, 16)).series.moments_s

    assert seconds == pytest.approx(1.5 * np.arange(COUNT))
    assert milliseconds == pytest.approx(seconds)


def test_dicom_of_one_series_is_told_apart_by_its_times(tmp_path):
    scan = read_time_series(dicom(tmp_path / "dicom"))

    assert np.array_equal(scan.series.array, frames())
    assert scan.series.moments_s == pytest.approx(TIMES_S, abs=1e-3)
    assert not scan.series.is_shuttle


def test_dicom_with_a_series_for_every_time_point_is_joined(tmp_path):
    folder = dicom(tmp_path / "dicom")
    for number, frame in enumerate(sorted(folder.iterdir())):
        for path in frame.rglob("*.dcm"):
            header = pydicom.dcmread(path)
            header.SeriesInstanceUID = f"1.2.3.{number + 1}"
            header.save_as(path)
    scan = read_time_series(folder)

    assert np.array_equal(scan.series.array, frames())
    assert scan.series.moments_s == pytest.approx(TIMES_S, abs=1e-3)


def enhanced(source, path, *, in_one_object):
    """Turn slices into enhanced multi-frame objects: one of all frames, or one for each."""
    groups = [sorted(folder.rglob("*.dcm")) for folder in sorted(source.iterdir())]
    path.mkdir()
    if in_one_object:
        groups = [[file for group in groups for file in group]]
    for number, group in enumerate(groups):
        slices = [pydicom.dcmread(file) for file in group]
        made = pydicom.Dataset()
        made.file_meta = slices[0].file_meta
        made.file_meta.MediaStorageSOPClassUID = EnhancedCTImageStorage
        for keyword in (
            *("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"),
            *("Modality", "Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation"),
            *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
        ):
            setattr(made, keyword, getattr(slices[0], keyword))
        made.SOPClassUID = EnhancedCTImageStorage
        made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = f"1.2.4.{number + 1}"
        made.NumberOfFrames = len(slices)
        made.PerFrameFunctionalGroupsSequence = [functional_groups(one) for one in slices]
        made.PixelData = b"".join(one.PixelData for one in slices)
        made.save_as(path / f"{number}.dcm", enforce_file_format=True)
    return path


def functional_groups(one):
    """What an enhanced object says of one frame."""

    def group(**values):
        made = pydicom.Dataset()
        for keyword, value in values.items():
            setattr(made, keyword, value)
        return [made]

    moment = f"{one.AcquisitionDate}{one.AcquisitionTime}"
    groups = pydicom.Dataset()
    groups.PlanePositionSequence = group(ImagePositionPatient=one.ImagePositionPatient)
    groups.PlaneOrientationSequence = group(ImageOrientationPatient=one.ImageOrientationPatient)
    groups.PixelMeasuresSequence = group(
        PixelSpacing=one.PixelSpacing, SliceThickness=one.SliceThickness
    )
    groups.PixelValueTransformationSequence = group(
        RescaleIntercept=one.RescaleIntercept, RescaleSlope=one.RescaleSlope, RescaleType="HU"
    )
    groups.FrameContentSequence = group(FrameAcquisitionDateTime=moment)
    return groups


@pytest.mark.parametrize("in_one_object", [True, False])
def test_enhanced_multi_frame_is_told_apart_by_its_frames(tmp_path, in_one_object):
    path = enhanced(dicom(tmp_path / "plain"), tmp_path / "enhanced", in_one_object=in_one_object)
    scan = read_time_series(path)

    assert np.array_equal(scan.series.array, frames())
    assert scan.series.moments_s == pytest.approx(TIMES_S, abs=1e-3)


def test_shuttle_keeps_a_time_for_every_slice(tmp_path):
    times = every_slice() + np.array([0.0, 0.2, 0.4, 0.6])
    series = read_time_series(dicom(tmp_path / "dicom", times)).series

    assert series.is_shuttle
    assert np.diff(series.times_s[3]) == pytest.approx(0.2, abs=2e-3)
    assert np.array_equal(series.array, frames())


def test_times_of_a_table_go_before(tmp_path):
    path = nifti(tmp_path / "a.nii", unit=0)
    table = tmp_path / "times.csv"
    table.write_text("frame,time_s\n" + "".join(f"{n},{t}\n" for n, t in enumerate(TIMES_S)))

    assert read_time_series(path, times=table).series.moments_s == pytest.approx(TIMES_S)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("1\n2\n", "holds 2 times for 9 frames"),
        ("1\n2\nthree\n" + "4\n" * 6, "line 3 .* holds no time in seconds"),
        ("5\n4\n3\n2\n1\n0\n-1\n-2\n-3\n", "do not ascend"),
    ],
)
def test_a_wrong_table_is_refused(tmp_path, content, message):
    table = tmp_path / "times.csv"
    table.write_text(content)
    with pytest.raises(InputError, match=message):
        read_time_series(nifti(tmp_path / "a.nii"), times=table)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "cp1252"])
@pytest.mark.parametrize(
    ("heading", "line"),
    [
        ("frame;time_s", "{n};{comma}"),
        ("sep=;\nframe;time_s", "{n};{comma}"),
        ("time_s", "{comma}"),
        ("time_s", '"{comma}"'),
        ("frame,time_s", "{n},{point}"),
        ("", "{point}"),
    ],
)
def test_times_are_read_as_spreadsheets_save_them(tmp_path, heading, line, encoding):
    table = tmp_path / "times.csv"
    lines = [
        line.format(n=n, point=f"{t:.1f}", comma=f"{t:.1f}".replace(".", ","))
        for n, t in enumerate(TIMES_S)
    ]
    table.write_text("\n".join(filter(None, [heading, *lines])), encoding=encoding)

    assert read_times(table, COUNT) == pytest.approx(TIMES_S)


def test_frames_with_times_are_not_told_from_decimal_commas_without_a_heading(tmp_path):
    table = tmp_path / "times.csv"
    table.write_text("".join(f"{n},{n}\n" for n in range(COUNT)))
    with pytest.raises(InputError, match=r"8,8: a frame with its time, or a decimal comma\?"):
        read_times(table, COUNT)

    table.write_text("frame,time_s\n" + "".join(f"{n},{2 * n}\n" for n in range(COUNT)))
    assert read_times(table, COUNT) == pytest.approx(2.0 * np.arange(COUNT))


@pytest.mark.parametrize(
    ("step", "unit", "message"),
    [
        (1.5, 16, r"0\.0015 s apart, 0\.012 s in all.*in seconds with --times"),
        (1500.0, 8, r"1500 s apart.*at most 30 s between frames"),
    ],
)
def test_a_wrong_unit_of_time_is_refused(tmp_path, step, unit, message):
    with pytest.raises(InputError, match=message):
        read_time_series(nifti(tmp_path / "a.nii", step, unit))


def test_a_file_without_times_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"does not say how far its frames are apart.*--times"):
        read_time_series(nifti(tmp_path / "a.nii", unit=0))


def test_one_image_is_no_series(tmp_path):
    write_volume(Volume(frames()[0], GRID, "HU"), tmp_path / "ct.nrrd")
    with pytest.raises(InputError, match="expected one image a frame"):
        read_time_series(tmp_path / "ct.nrrd")


def test_a_cut_file_is_refused(tmp_path):
    path = tmp_path / "pass.seq.nrrd"
    write_time_series(frames(), GRID, every_slice(), path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match="damaged, cut short"):
        read_time_series(path)


def test_a_frame_with_missing_slices_is_named(tmp_path):
    folder = dicom(tmp_path / "dicom")
    (folder / "04" / "0002.dcm").unlink()
    with pytest.raises(InputError, match="frame 4 of 9 shows other slice positions"):
        read_time_series(folder)


def test_a_packed_nifti_is_the_same(tmp_path):
    plain = nifti(tmp_path / "a.nii")
    packed = tmp_path / "b.nii.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))

    assert np.array_equal(
        read_time_series(packed).series.array, read_time_series(plain).series.array
    )


# ---- frames --------------------------------------------------------------------------------------


def test_too_few_frames_are_refused():
    with pytest.raises(InputError, match="at least 8 frames"):
        Frames(frames()[:5], GRID, every_slice()[:5])


def test_blocks_keep_the_mean_and_the_place():
    small = Frames(frames(), GRID, every_slice()).reduced(4.0)

    assert small.array.shape == (COUNT, 4, 3, 2)
    block = frames()[2, 1, 2:4, 0:2]
    assert small.array[2, 1, 1, 0] == pytest.approx(block.mean())
    assert small.geometry.ras_from_ijk((0, 1, 1)) == pytest.approx(
        GRID.ras_from_ijk([(0, 2, 1), (1, 3, 1)]).mean(axis=0)
    )


def test_slices_of_a_shuttle_are_brought_to_the_time_of_their_frame():
    times = every_slice(1.5 * np.arange(COUNT)) + np.array([-0.6, -0.2, 0.2, 0.6])
    moving = (-800 + 10 * times)[:, :, None, None] * np.ones((1, 1, 6, 5))
    series = Frames(moving, GRID, times).at_moments()

    inner = slice(1, COUNT - 1)
    assert series.array[inner, :, 0, 0] == pytest.approx(
        np.repeat((-800 + 10 * series.moments_s)[inner, None], 4, axis=1)
    )

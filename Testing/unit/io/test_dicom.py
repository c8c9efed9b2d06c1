"""DICOM in every shape it comes in gives the same image in the patient."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import (
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
    RLELossless,
)

from lungperfusion.errors import CancelledError, InputError
from lungperfusion.io import read_ct, read_map
from lungperfusion.io.dicom import pixels
from lungperfusion.io.dicom.units import stated_unit
from lungperfusion.volume import Geometry, Volume


def at_same_places(volume: Volume, hu: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Values of a volume at the voxel centres of another grid, which must be voxel centres."""
    k, j, i = np.indices(hu.shape)
    ijk = np.stack([i, j, k], axis=-1)
    found = volume.geometry.ijk_from_ras(geometry.ras_from_ijk(ijk))
    nearest = np.rint(found).astype(int)
    np.testing.assert_allclose(found, nearest, atol=1e-3)
    return volume.array[nearest[..., 2], nearest[..., 1], nearest[..., 0]]


def ramp(geometry: Geometry) -> np.ndarray:
    """HU that grow linearly along an oblique direction: linear interpolation must not change it."""
    k, j, i = np.indices(geometry.shape)
    ras = geometry.ras_from_ijk(np.stack([i, j, k], axis=-1))
    along = ras @ (0.5, 0.7, 0.3)
    along -= along.min()
    return np.rint(-1000 + 1400 * along / along.max()).astype(np.int16)


def require_ramp(volume: Volume, source: Geometry) -> None:
    """Check that a resampled ramp is right wherever the scan was, on an orthogonal grid."""
    axes = volume.geometry.ijk_to_ras[:3, :3]
    np.testing.assert_allclose(axes.T @ axes, np.diag(np.diag(axes.T @ axes)), atol=1e-6)
    corners = source.corners_ras_mm() @ (0.5, 0.7, 0.3)
    k, j, i = np.indices(volume.array.shape)
    here = volume.geometry.ras_from_ijk(np.stack([i, j, k], axis=-1)) @ (0.5, 0.7, 0.3)
    expected = -1000 + 1400 * (here - corners.min()) / np.ptp(corners)
    assert np.abs(volume.array - expected)[volume.valid].max() <= 1.01
    assert set(volume.array[~volume.valid]) == {-1000}
    # at most one pixel is lost at each moving edge
    assert 0.6 < volume.valid.sum() / np.prod(source.shape) <= 1


def test_a_series_keeps_values_places_and_facts(tmp_path, chest, grid, write_series):
    hu = chest()
    scan = read_ct(write_series(tmp_path / "case", hu, grid))
    assert scan.volume.geometry.same_as(grid)
    assert scan.volume.array.dtype == np.int16
    assert scan.volume.unit == "HU"
    assert scan.volume.valid is None
    np.testing.assert_array_equal(scan.volume.array, hu)
    assert scan.warnings == ()
    assert scan.name == "case"
    facts = scan.acquisition
    assert (facts.modality, facts.kvp, facts.kernel) == ("CT", 120.0, "B40f")
    assert (facts.slice_thickness_mm, facts.rescale_unit) == (2.0, "HU")
    assert facts.image_type == ("ORIGINAL", "PRIMARY", "AXIAL")
    assert (facts.contrast_agent, facts.monoenergetic_kev) == (None, None)


def test_any_orientation_puts_every_voxel_where_it_was(tmp_path, any_grid, write_series):
    hu = ramp(any_grid)
    scan = read_ct(write_series(tmp_path / "case", hu, any_grid))
    axes = any_grid.ijk_to_ras[:3, :3]
    if abs(axes[:, 1] @ axes[:, 2]) > 1e-6:  # a tilted stack
        assert "gantry tilt" in scan.warnings[0]
        require_ramp(scan.volume, any_grid)
        return
    assert scan.warnings == ()
    assert scan.volume.geometry.shape == hu.shape
    np.testing.assert_array_equal(at_same_places(scan.volume, hu, any_grid), hu)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_other_encodings(tmp_path, chest, grid, write_series, syntax):
    def edit(data: Dataset, k: int) -> None:
        data.file_meta.TransferSyntaxUID = syntax

    scan = read_ct(write_series(tmp_path / "case", chest(), grid, edit=edit))
    np.testing.assert_array_equal(scan.volume.array, chest())


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless])
def test_compressed_slices(tmp_path, chest, grid, write_series, syntax):
    if syntax == JPEGLSLossless:
        pytest.importorskip("jpeg_ls", reason="no JPEG-LS codec")
    scan = read_ct(write_series(tmp_path / "case", chest(), grid, compress=syntax))
    np.testing.assert_array_equal(scan.volume.array, chest())


def test_jpeg_lossless_slices(tmp_path, chest, grid, monkeypatch):
    """The compression that most archives use, which pydicom cannot unpack."""
    import SimpleITK as sitk

    written = []

    def read(path: str, **options: object) -> sitk.Image:
        written.append(Path(path).read_bytes())
        assert Path(path).parent.name.startswith("lungperfusion-scratch-")
        return original(path, **options)

    original = pixels.sitk.ReadImage
    monkeypatch.setattr(pixels.sitk, "ReadImage", read)

    folder = tmp_path / "case"
    folder.mkdir()
    hu = chest()
    for k, plane in enumerate(hu):
        image = sitk.GetImageFromArray(plane[None])
        image.SetSpacing((0.8, 0.8, 2.0))
        for tag, value in {
            "0010|0010": "Doe^Jane",
            "0010|0020": "PID4711",
            "0008|0060": "CT",
            "0008|0016": "1.2.840.10008.5.1.4.1.1.2",
            "0008|0018": f"2.25.7.{k + 1}",
            "0020|000d": "2.25.8",
            "0020|000e": "2.25.9",
            "0008|0008": "ORIGINAL\\PRIMARY\\AXIAL",
            "0020|0032": f"-8\\-10\\{-100 + 2 * k}",
            "0020|0037": "1\\0\\0\\0\\1\\0",
            "0028|1052": "-1024",
            "0028|1053": "1",
        }.items():
            image.SetMetaData(tag, value)
        writer = sitk.ImageFileWriter()
        writer.KeepOriginalImageUIDOn()
        writer.SetImageIO("GDCMImageIO")
        writer.SetUseCompression(True)
        writer.SetCompressor("JPEG")
        writer.SetFileName(str(folder / f"{9 - k}.dcm"))
        writer.Execute(image)
    import pydicom

    syntax = pydicom.dcmread(folder / "9.dcm", stop_before_pixels=True).file_meta
    assert syntax.TransferSyntaxUID == "1.2.840.10008.1.2.4.70"
    scan = read_ct(folder)
    np.testing.assert_array_equal(scan.volume.array, hu)
    assert scan.volume.geometry.same_as(grid)
    assert len(written) == len(hu)  # what a kill would leave behind names nobody
    secrets = (b"Doe", b"4711", b"2.25.7", b"2.25.8", b"2.25.9")
    assert not [secret for secret in secrets if any(secret in data for data in written)]


def test_zip_folder_and_single_file_are_one_scan(tmp_path, chest, grid, write_series):
    folder = write_series(tmp_path / "case" / "deep", chest(), grid)
    (folder / "notes.txt").write_text("seen")
    (folder / ".hidden").write_bytes(b"x")
    packed = tmp_path / "case.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for n, path in enumerate(sorted(folder.iterdir())):
            archive.write(path, f"../../evil/{n}.dcm")  # paths in a zip are never used
        archive.writestr("__MACOSX/._1.dcm", b"junk")
    before = sorted(tmp_path.rglob("*"))
    scans = [read_ct(path) for path in (tmp_path / "case", packed, folder / "IM0003")]
    assert len({scan.sha256 for scan in scans}) == 1
    for scan in scans:
        np.testing.assert_array_equal(scan.volume.array, chest())
    assert sorted(tmp_path.rglob("*")) == before


def test_hash_follows_the_voxels_not_the_names(tmp_path, chest, grid, write_series):
    first = read_ct(write_series(tmp_path / "a", chest(), grid))
    renamed = read_ct(write_series(tmp_path / "b", chest(), grid, prefix="x"))
    other = read_ct(write_series(tmp_path / "c", chest(seed=3), grid))
    assert first.sha256 == renamed.sha256 != other.sha256


def test_multi_frame(tmp_path, chest, grid, write_enhanced):
    hu = chest()
    order = [3, 0, 7, 1, 2, 6, 5, 4]
    scan = read_ct(write_enhanced(tmp_path / "case" / "all.dcm", hu, grid, order))
    np.testing.assert_array_equal(scan.volume.array, hu)
    assert scan.volume.geometry.same_as(grid)
    assert (scan.acquisition.kvp, scan.acquisition.kernel) == (100.0, "Br40")
    assert scan.acquisition.slice_thickness_mm == 2.0


def test_slope_and_intercept_of_each_slice(tmp_path, chest, grid, write_series):
    """PET-style scaling: every slice has its own slope."""
    hu = chest()

    def edit(data: Dataset, k: int) -> None:
        slope = 0.5 + 0.25 * k
        stored = np.rint((hu[k] + 1024.0) / slope)
        data.RescaleSlope = f"{slope}"
        data.PixelData = stored.astype("<u2").tobytes()

    scan = read_ct(write_series(tmp_path / "case", hu, grid, edit=edit))
    assert scan.volume.array.dtype == np.float32
    assert np.abs(scan.volume.array - hu).max() <= (0.5 + 0.25 * 7) / 2


def test_signed_and_12_bit_pixels(tmp_path, chest, grid, write_series):
    hu = chest()

    def signed(data: Dataset, k: int) -> None:
        data.PixelRepresentation = 1
        data.RescaleIntercept = "0"
        data.PixelData = hu[k].astype("<i2").tobytes()

    def with_overlay(data: Dataset, k: int) -> None:
        data.BitsStored, data.HighBit = 12, 11
        stored = (hu[k].astype(np.int32) + 1024).astype("<u2")
        stored[0, 0] |= 0x8000  # an overlay in an unused bit
        data.PixelData = stored.tobytes()

    for number, edit in enumerate((signed, with_overlay)):
        scan = read_ct(write_series(tmp_path / str(number), hu, grid, edit=edit))
        np.testing.assert_array_equal(scan.volume.array, hu)


def test_metal_beyond_16_bits_is_kept(tmp_path, chest, grid, write_series):
    def edit(data: Dataset, k: int) -> None:
        stored = np.frombuffer(data.PixelData, "<u2").copy()
        stored[200] = 65000 if k == 2 else stored[200]
        data.PixelData = stored.tobytes()

    scan = read_ct(write_series(tmp_path / "case", chest(), grid, edit=edit))
    assert scan.volume.array.max() == 65000 - 1024


# ------------------------------------------------------------------------------------ padding


@pytest.mark.parametrize(
    ("stored_padding", "declared", "signed"),
    [
        (0, None, False),  # -1024, nothing declared
        (0, 0, False),  # -1024, declared
        (63536, 63536, False),  # far above the scale as unsigned number
        (-2000, -2000, True),
        (-2000, None, True),  # -3024 after rescaling
        (-976, None, True),  # -2000
        (-1024, None, True),  # -2048
        (-476, None, True),  # -1500, on the limit
    ],
)
def test_padding_enters_no_statistic(
    tmp_path, chest, grid, write_series, stored_padding, declared, signed
):
    hu = chest()
    _, j, i = np.indices(hu.shape)
    outside = (j - 11.5) ** 2 + (i - 9.5) ** 2 > 11.5**2
    lung_voxel = (3, 12, 6)
    assert not outside[lung_voxel]

    def edit(data: Dataset, k: int) -> None:
        stored = hu[k].astype(np.int32) + 1024
        if k == lung_voxel[0]:
            stored[lung_voxel[1:]] = 0  # darkest honest air
        stored[outside[k]] = stored_padding
        data.PixelRepresentation = int(signed)
        data.PixelData = stored.astype("<i2" if signed else "<u2").tobytes()
        if declared is not None:
            data["PixelPaddingValue"] = data.data_element("Rows").__class__(
                0x00280120, "SS" if signed else "US", declared
            )

    volume = read_ct(write_series(tmp_path / "case", hu, grid, edit=edit)).volume
    np.testing.assert_array_equal(volume.valid, ~outside)
    assert set(volume.array[outside]) == {-1000}
    assert volume.array[lung_voxel] == -1024


def test_just_above_the_limit_is_no_padding(tmp_path, chest, grid, write_image):
    hu = chest()
    hu[:, :3] = -1499
    volume = read_ct(write_image(tmp_path / "a.nrrd", hu, grid)).volume
    assert volume.valid is None
    hu[:, :3] = -1500
    volume = read_ct(write_image(tmp_path / "b.nrrd", hu, grid)).volume
    assert np.count_nonzero(~volume.valid) == hu[:, :3].size


def test_padding_range(tmp_path, chest, grid, write_series):
    hu = chest()

    def edit(data: Dataset, k: int) -> None:
        stored = hu[k].astype(np.int32) + 1024
        stored[0] = 3
        stored[1] = 7
        stored[2] = 8
        data.PixelPaddingValue, data.PixelPaddingRangeLimit = 7, 2
        data.PixelData = stored.astype("<u2").tobytes()

    volume = read_ct(write_series(tmp_path / "case", hu, grid, edit=edit)).volume
    assert not volume.valid[:, :2].any()
    assert volume.valid[:, 2:].all()


# --------------------------------------------------------------------- uneven, tilted, doubled


def test_tilted_gantry_is_straightened(tmp_path, write_series):
    matrix = np.diag([-0.8, -0.9, 2.0, 1.0])
    matrix[1, 2] = 2.0 * np.tan(np.radians(15))
    matrix[0, 2] = -0.3
    tilted = Geometry((9, 24, 20), matrix)
    scan = read_ct(write_series(tmp_path / "case", ramp(tilted), tilted))
    assert "askew by 17.1 degrees (gantry tilt)" in " ".join(scan.warnings)
    np.testing.assert_allclose(scan.volume.geometry.spacing_ijk_mm, (0.8, 0.9, 2.0), atol=1e-6)
    require_ramp(scan.volume, tilted)
    assert scan.volume.valid.sum() / np.prod(tilted.shape) > 0.85


def test_uneven_slices_are_resampled_linearly(tmp_path, write_series):
    grid = Geometry.axial((12, 10, 11), (0.8, 0.8, 1.0), (0, 0, 0))
    hu = ramp(grid)
    keep = [0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11]  # one slice of 1 mm is missing
    scan = read_ct(write_series(tmp_path / "case", hu, grid, keep=keep))
    assert "unevenly spaced (1 to 2 mm" in scan.warnings[0]
    assert scan.volume.geometry.same_as(grid)
    assert np.abs(scan.volume.array.astype(int) - hu).max() <= 1
    assert scan.gates[0].verdict == "warn"
    assert "11 of 12 expected slices were read (1 missing between others)" in scan.warnings[1]


def test_slice_of_another_modality_is_missing_once(tmp_path, chest, grid, write_series):
    def edit(data: Dataset, k: int) -> None:
        data.Modality = "MR" if k == 3 else "CT"

    scan = read_ct(write_series(tmp_path / "case", chest(), grid, edit=edit))
    assert scan.gates[0].verdict == "warn"
    assert "7 of 8 expected slices were read (1 MR image(s))" in scan.gates[0].message


def test_rounded_positions_count_as_even(tmp_path, chest, write_series):
    grid = Geometry.axial((8, 24, 20), (0.8, 0.8, 0.7), (8, 10, -100))
    jitter = [0, 0.01, -0.01, 0.01, 0, -0.01, 0.01, 0]

    def edit(data: Dataset, k: int) -> None:
        x, y, z = data.ImagePositionPatient
        data.ImagePositionPatient = [x, y, f"{float(z) + jitter[k]:.4f}"]

    scan = read_ct(write_series(tmp_path / "case", chest(), grid, edit=edit))
    assert scan.warnings == ()
    np.testing.assert_array_equal(scan.volume.array, chest())
    assert scan.volume.geometry.spacing_ijk_mm[2] == pytest.approx(0.7)


def test_gap_limit_is_extra_to_the_usual_spacing(tmp_path, chest, write_series):
    """On the limit a gap is interpolated, beyond it the series is refused."""
    for extra, accepted in ((2.5, True), (2.6, False)):
        grid = Geometry.axial((8, 24, 20), (0.8, 0.8, 1.0), (8, 10, 0))

        def edit(data: Dataset, k: int, extra: float = extra) -> None:
            x, y, z = data.ImagePositionPatient
            data.ImagePositionPatient = [x, y, str(float(z) + (extra if k >= 4 else 0))]

        folder = write_series(tmp_path / str(extra), chest(), grid, edit=edit)
        if accepted:
            assert "unevenly spaced" in read_ct(folder).warnings[0]
        else:
            with pytest.raises(InputError, match="slices are missing"):
                read_ct(folder)


def test_slices_there_twice_are_used_once(tmp_path, chest, grid, write_series):
    folder = write_series(tmp_path / "case", chest(), grid)

    def renumber(data: Dataset, k: int) -> None:
        data.SOPInstanceUID = f"2.25.99.{k + 1}"

    write_series(folder, chest(), grid, keep=[2, 5], prefix="again", edit=renumber)
    scan = read_ct(folder)
    np.testing.assert_array_equal(scan.volume.array, chest())
    assert scan.warnings == ("2 slice(s) were there twice, identical, and used once",)


# ------------------------------------------------------------------------------ which series


def other_series(**changes: object) -> Callable[[Dataset, int], None]:
    def edit(data: Dataset, k: int) -> None:
        for keyword, value in changes.items():
            setattr(data, keyword, value)

    return edit


@pytest.mark.parametrize(
    "changes",
    [
        {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]},
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"},  # secondary capture
        {"Modality": "PT"},
    ],
)
def test_the_only_ct_series_is_taken(tmp_path, chest, grid, write_series, changes):
    folder = write_series(tmp_path / "case", chest(), grid)
    edit = other_series(**changes)
    write_series(folder, chest(seed=5), grid, series="2.25.11", prefix="b", edit=edit)
    (folder / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    np.testing.assert_array_equal(read_ct(folder).volume.array, chest())


def test_the_original_is_taken_before_what_was_derived_from_it(tmp_path, chest, grid, write_series):
    folder = write_series(tmp_path / "case", chest(), grid)
    edit = other_series(ImageType=["DERIVED", "SECONDARY", "MPR"])
    write_series(folder, chest(seed=5), grid, series="2.25.11", prefix="b", edit=edit)
    scan = read_ct(folder)
    np.testing.assert_array_equal(scan.volume.array, chest())
    assert "1 derived CT series" in scan.warnings[0]
    derived = read_ct(folder, series_uid="2.25.11")
    np.testing.assert_array_equal(derived.volume.array, chest(seed=5))


def test_several_series_are_listed_without_descriptions(tmp_path, chest, grid, write_series):
    folder = write_series(tmp_path / "case", chest(), grid)
    edit = other_series(ConvolutionKernel="I70f", SliceThickness="0.75", KVP="100")
    write_series(folder, chest(seed=5), grid, series="2.25.11", prefix="b", edit=edit)
    with pytest.raises(InputError, match="--series UID") as error:
        read_ct(folder)
    message = str(error.value)
    assert "2.25.10 (CT, 8 images, 2 mm thick, kernel B40f, 120 kV" in message
    assert "2.25.11 (CT, 8 images, 0.75 mm thick, kernel I70f, 100 kV" in message
    assert "Doe" not in message
    chosen = read_ct(folder, series_uid="2.25.11")
    np.testing.assert_array_equal(chosen.volume.array, chest(seed=5))
    by_file = read_ct(folder / "bIM0003")
    np.testing.assert_array_equal(by_file.volume.array, chest(seed=5))


def test_iodine_map(tmp_path, chest, grid, write_series):
    iodine = np.random.default_rng(0).uniform(0, 5, grid.shape)

    def edit(data: Dataset, k: int) -> None:
        data.ImageType = ["DERIVED", "SECONDARY", "AXIAL", "IODINE"]
        data.RescaleSlope, data.RescaleIntercept, data.RescaleType = "0.01", "-10", "MGML"
        data.PixelData = np.rint((iodine[k] + 10) / 0.01).astype("<u2").tobytes()

    folder = write_series(tmp_path / "case", chest(), grid, edit=edit)
    scan = read_map(folder, unit="mg/mL")
    assert scan.volume.unit == "mg/mL"
    assert np.abs(scan.volume.array - iodine).max() < 0.0051
    assert scan.acquisition.rescale_unit == "MGML"
    with pytest.raises(InputError, match="in mg/mL by its header, but HU was asked for"):
        read_map(folder, unit="HU")


@pytest.mark.parametrize(
    ("written", "factor"),
    [
        ("MGML", 1.0),
        ("mg/cc", 1.0),
        ("mgI/mL", 1.0),
        ("UG/ML", 1000.0),
        ("mcg/ml", 1000.0),
        ("100UG/CC", 10.0),
        ("MG/100ML", 100.0),
        ("MG/DL", 100.0),
        ("g/L", 1.0),
        ("10 mg / L", 100.0),
    ],
)
def test_concentrations_of_any_unit_are_converted(
    tmp_path, chest, grid, write_series, written, factor
):
    iodine = np.random.default_rng(0).uniform(0, 5, grid.shape)

    def edit(data: Dataset, k: int) -> None:
        data.RescaleSlope, data.RescaleIntercept = f"{0.01 * factor:g}", f"{-1 * factor:g}"
        data.RescaleType = written
        data.PixelData = np.rint((iodine[k] + 1) / 0.01).astype("<u2").tobytes()

    folder = write_series(tmp_path / "case", chest(), grid, edit=edit)
    scan = read_map(folder, unit="mg/mL")
    assert np.abs(scan.volume.array - iodine).max() < 0.0051
    with pytest.raises(InputError, match="in mg/mL by its header, but HU was asked for"):
        read_map(folder, unit="HU")
    with pytest.raises(InputError, match="in mg/mL, not in HU: it is a derived map"):
        read_ct(folder)


@pytest.mark.parametrize("written", ["Hounsfield units", "H.U.", "[hnsf'U]", "none", "UNKNOWN"])
def test_hounsfield_units_in_other_spellings(tmp_path, chest, grid, write_series, written):
    def edit(header, k):
        header.RescaleType = written

    scan = read_ct(write_series(tmp_path / "case", chest(), grid, edit=edit))
    assert np.array_equal(scan.volume.array, chest())


@pytest.mark.parametrize(
    ("written", "factor"),
    [("mg·mL^-1", 1), ("Iodine mg/ml", 1), ("0,1 mg/cm³", 0.1), ("kg/m3", 1), ("mg mL-1", 1)],
)
def test_concentrations_in_other_spellings(written, factor):
    assert stated_unit(written).factor == pytest.approx(factor)
    assert stated_unit(written).unit == "mg/mL"


@pytest.mark.parametrize("written", ["g/mL", "Z_EFF", "EDW", "UG", "ML", "mg/0ml", "counts"])
def test_what_is_no_concentration_is_not_taken_for_one(written):
    assert stated_unit(written) is None


@pytest.mark.parametrize(
    ("tags", "tin"),
    [
        ({}, None),
        ({"FilterType": "WEDGE_3"}, None),
        ({"FilterType": "FLAT_SN"}, True),
        ({"FilterMaterial": "TIN"}, True),
        ({"FilterMaterial": ["ALUMINUM", "SN"]}, True),
        ({"FilterMaterial": "ALUMINUM"}, False),
    ],
)
def test_filter_of_tin(tmp_path, chest, grid, write_series, tags, tin):
    folder = write_series(tmp_path / "a", chest(), grid, edit=other_series(**tags))
    assert read_ct(folder).acquisition.tin_filter is tin


def test_contrast_and_monoenergetic_energy(tmp_path, chest, grid, write_series):
    edit = other_series(ContrastBolusAgent="Iomeprol", SeriesDescription="Doe Mono 40 keV")
    facts = read_ct(write_series(tmp_path / "a", chest(), grid, edit=edit)).acquisition
    assert (facts.contrast_agent, facts.monoenergetic_kev) == (True, 40.0)
    edit = other_series(ContrastBolusAgent="NONE")
    facts = read_ct(write_series(tmp_path / "b", chest(), grid, edit=edit)).acquisition
    assert facts.contrast_agent is False


# ------------------------------------------------------------------------------------ privacy


def test_identifiers_stay_in_their_own_mapping(tmp_path, chest, grid, write_series):
    scan = read_ct(write_series(tmp_path / "case", chest(), grid))
    assert scan.identifiers["PatientID"] == "PID4711"
    assert scan.identifiers["StudyDate"] == "20200304"
    shown = repr(scan) + repr(scan.acquisition) + " ".join(scan.warnings)
    for secret in ("Doe", "Jane", "4711", "0815", "1961", "Elsewhere", "20200304"):
        assert secret not in shown


def test_reading_can_be_cancelled(tmp_path, chest, grid, write_series):
    folder = write_series(tmp_path / "case", chest(), grid)

    def cancel(fraction: float, message: str) -> None:
        if fraction > 0.3:
            raise CancelledError

    with pytest.raises(CancelledError):
        read_ct(folder, progress=cancel)


def test_progress_grows_to_one(tmp_path, chest, grid, write_series):
    seen: list[float] = []
    read_ct(
        write_series(tmp_path / "case", chest(), grid),
        progress=lambda fraction, message: seen.append(fraction),
    )
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


@pytest.mark.real
def test_real_series_agrees_with_its_cropped_copy(real_data: Path):
    dicom = read_ct(real_data / "contrast_chest_ct" / "dicom.zip").volume
    cropped = read_ct(real_data / "contrast_chest_ct" / "ct.nii.gz").volume
    start = dicom.geometry.ijk_from_ras(cropped.geometry.ras_from_ijk((0, 0, 0)))
    toward = np.sign(
        np.diag(np.linalg.inv(dicom.geometry.ijk_to_ras) @ cropped.geometry.ijk_to_ras)
    )
    first = np.rint(start).astype(int)
    np.testing.assert_allclose(start, first, atol=1e-2)
    k, j, i = (
        f + int(s) * np.arange(n)
        for f, s, n in zip(first[::-1], toward[2::-1], cropped.array.shape, strict=True)
    )
    both = dicom.array[np.ix_(k, j, i)]
    # padding in the whole slice is padding in the crop unless the crop lost its corner
    same = both == cropped.array
    assert same[cropped.valid & dicom.valid[np.ix_(k, j, i)]].all()
    assert same.mean() > 0.999

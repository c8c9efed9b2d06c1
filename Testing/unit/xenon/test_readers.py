"""Files of pipelines and scanners, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from nifti_layout import write_nifti
from scipy import io as scipy_io

from lungperfusion.errors import InputError
from lungperfusion.io.xenon.consortium import (
    CLASS_COLOURS,
    read_colour_classes,
    read_consortium_folder,
    read_matlab,
    read_statistics,
    statistics_cells,
)
from lungperfusion.io.xenon.maps import Placement, read_complex, read_xenon_map
from lungperfusion.io.xenon.mrd import parse_mrd_header, read_mrd_header

FIELD = Placement(field_mm=(400.0, 400.0, 400.0))


@pytest.fixture
def broken(tmp_path):
    path = tmp_path / "mask_reg.nii"
    write_nifti(np.ones((128,) * 3, np.float32), path, pixel_mm=400 / 128 / 100)
    return path


def test_a_broken_header_is_refused_with_both_readings(broken):
    with pytest.raises(InputError, match=r"0\.03125 x .* and .*its matrix of 1 x 1 x 1") as error:
        read_xenon_map(broken)
    assert "--fov-mm" in str(error.value)


def test_with_a_field_of_view_it_is_exact(broken):
    scan = read_xenon_map(broken, FIELD)
    assert scan.volume.geometry.spacing_ijk_mm == (3.125,) * 3
    assert scan.warnings == ()


def test_pixels_ten_times_too_small_are_refused(tmp_path):
    path = tmp_path / "gas.nii"
    write_nifti(np.ones((64,) * 3, np.float32), path, pixel_mm=0.625)
    with pytest.raises(InputError, match="does not say where"):
        read_xenon_map(path)


STATISTICS = (
    "subject_id,fov,fa_gas,fa_dis,te90,field_strength,xe_dissolved_offset_frequency,"
    "RBC_mean,membrane_mean,rbc_m_ratio,hb_correction_key,age,sex,future_column\n"
    "s1,40.0,0.5,20,470,3.0,208.2,0.0045,0.0098,0.46,False,44,F,7\n"
)


def test_statistics_are_found_by_their_synonyms(tmp_path):
    path = tmp_path / "s1_stats.csv"
    path.write_text(STATISTICS, encoding="utf-8")
    found, unknown = read_statistics(path)

    assert found["rbc_mean"] == 0.0045
    assert found["frequency_ppm"] == 208.2
    assert "future_column" in unknown
    cells = statistics_cells(found)
    copy = tmp_path / "copy.csv"
    copy.write_text("\n".join(map(",".join, (cells, cells.values()))), encoding="utf-8")
    assert read_statistics(copy) == (found, ())  # neither subject nor future column
    path.write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(InputError, match="no column"):
        read_statistics(path)
    path.write_text(STATISTICS + STATISTICS.split("\n")[1] + "\n", encoding="utf-8")
    with pytest.raises(InputError, match="2 rows"):
        read_statistics(path)


def test_a_folder_of_the_pipeline_says_its_field_of_view(tmp_path, broken):
    (tmp_path / "gx").mkdir()
    (tmp_path / "gx" / "s1_stats.csv").write_text(STATISTICS, encoding="utf-8")
    folder = read_consortium_folder(tmp_path)

    assert folder.field_mm == (400.0, 400.0, 400.0)
    assert not folder.haemoglobin_applied
    assert folder.files["mask"] == broken
    broken.unlink()
    with pytest.raises(InputError, match="no output of the pipeline"):
        read_consortium_folder(tmp_path)


def test_colours_give_classes_whatever_their_brightness(tmp_path):
    classes = np.arange(8 * 8 * 8).reshape(8, 8, 8) % 7
    table = np.array([(0, 0, 0), *CLASS_COLOURS])
    bright = np.random.default_rng(1).uniform(0.4, 1.0, classes.shape)
    bright[0, 0, 1] = 0.02  # too dark below to tell
    colours = np.clip(255 * table[classes] * bright[..., None], 0, 255).astype(np.uint8)
    path = tmp_path / "rbc2gas_rgb.nii"
    write_nifti(colours, path, rgb=True)
    found = read_colour_classes(path)

    expected = classes.copy()
    expected[0, 0, 1] = 0
    assert (found.classes == expected).all()
    assert 0 < found.unreadable_share < 0.01
    write_nifti(np.full((8, 8, 8, 3), (200, 0, 200), np.uint8), path, rgb=True)
    with pytest.raises(InputError, match="none of the colours"):
        read_colour_classes(path)
    write_nifti(np.ones((8, 8, 8), np.float32), path)
    with pytest.raises(InputError, match="no colour image"):
        read_colour_classes(path)


def test_matlab_files_of_older_versions(tmp_path):
    path = tmp_path / "s1.mat"
    array = np.random.default_rng(1).random((4, 5, 6))
    scipy_io.savemat(path, {"image_rbc2gas": array, "mask": np.ones((4, 5, 6))})
    found = read_matlab(path)

    assert found["rbc_gas"].shape == (6, 5, 4)
    assert np.allclose(found["rbc_gas"], array.T)
    scipy_io.savemat(path, {"other": array})
    with pytest.raises(InputError, match="none of the maps"):
        read_matlab(path)
    path.write_bytes(b"no matlab" * 50)
    with pytest.raises(InputError, match="no MATLAB file"):
        read_matlab(path)


def write_matlab_73(path, **arrays):
    """Write arrays as MATLAB 7.3 does: HDF5 behind a header of 512 bytes, axes turned round."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, array in arrays.items():
            file[name] = array.T
    with path.open("r+b") as stream:
        stream.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")


def test_matlab_files_of_version_7_3(tmp_path):
    path = tmp_path / "s1.mat"
    array = np.random.default_rng(1).random((4, 5, 6))
    write_matlab_73(path, image_rbc2gas=array)
    assert np.array_equal(read_matlab(path)["rbc_gas"], array.T)

    pairs = np.zeros(array.shape, [("real", "f8"), ("imag", "f8")])
    pairs["real"], pairs["imag"] = 3 * array, 4 * array
    write_matlab_73(path, image_rbc2gas=pairs)
    assert np.allclose(read_matlab(path)["rbc_gas"], 5 * array.T)

    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(InputError, match="no MATLAB file"):
        read_matlab(path)


def test_complex_images_from_one_file_or_two(tmp_path):
    rng = np.random.default_rng(2)
    shape = (64,) * 3
    array = (rng.random(shape) + 1j * rng.random(shape)).astype(np.complex64)
    one = tmp_path / "gas.nii"
    write_nifti(array, one, pixel_mm=1.0)
    for name, part in (("real", array.real), ("imag", array.imag)):
        write_nifti(part.astype(np.float32), tmp_path / f"{name}.nii", pixel_mm=1.0)
    first = read_complex([one], FIELD)
    second = read_complex([tmp_path / "real.nii", tmp_path / "imag.nii"], FIELD)

    assert (first.volume.array == array).all()
    assert (second.volume.array == array).all()
    with pytest.raises(InputError, match="no complex numbers"):
        read_complex([tmp_path / "real.nii"], FIELD)


HEADER = """<?xml version="1.0"?><ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">
<acquisitionSystemInformation><systemFieldStrength_T>3.0</systemFieldStrength_T>
</acquisitionSystemInformation>
<encoding><reconSpace><fieldOfView_mm><x>400</x><y>400</y><z>400</z></fieldOfView_mm></reconSpace>
</encoding><sequenceParameters><TE>0.47</TE><flipAngle_deg>0.5</flipAngle_deg>
<flipAngle_deg>20</flipAngle_deg></sequenceParameters>
<userParameters><userParameterLong><name>xe_dissolved_offset_frequency</name><value>7349</value>
</userParameterLong><userParameterString><name>orientation</name><value>coronal</value>
</userParameterString></userParameters></ismrmrdHeader>"""


def test_the_header_of_an_mrd_file():
    header = parse_mrd_header(HEADER, "a.h5")

    assert header.field_mm == (400.0, 400.0, 400.0)
    assert (header.gas_flip_degrees, header.dissolved_flip_degrees) == (0.5, 20.0)
    assert header.echo_time_ms == 0.47
    assert header.frequency_ppm == pytest.approx(208.0, abs=0.1)
    assert header.orientation == "coronal"
    with pytest.raises(InputError, match="damaged"):
        parse_mrd_header("<a>", "a.h5")
    with pytest.raises(InputError, match="as no MRD file has"):
        parse_mrd_header('<!DOCTYPE a [<!ENTITY b "c">]><a/>', "a.h5")


def test_an_mrd_file(tmp_path):
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("dataset/xml", data=[HEADER], dtype=h5py.string_dtype())
    assert read_mrd_header(path) == parse_mrd_header(HEADER, "a.h5")

    with h5py.File(path, "w") as file:
        file["other"] = 1
    with pytest.raises(InputError, match="no MRD file with a header"):
        read_mrd_header(path)
    path.write_bytes(b"nothing")
    with pytest.raises(InputError, match="no MRD file with a header"):
        read_mrd_header(path)


@pytest.mark.real
def test_the_public_digital_phantom_is_read_and_measured(real_data):
    """Its N4-corrected image has a known mask; spacing 2 mm."""
    from lungperfusion.terms.xenon import REFERENCE_SETS
    from lungperfusion.xenon.images import XenonMaps, classify_maps

    folder = real_data / "xenon_phantom"
    mask = read_xenon_map(folder / "phantom_129Xe_mask.nii.gz")
    image = read_xenon_map(folder / "phantom_129Xe_N4.nii.gz")
    maps = XenonMaps(
        mask=np.asarray(mask.volume.array) >= 0.5,
        geometry=mask.volume.geometry,
        ventilation=np.asarray(image.volume.array, np.float32),
    )
    found = classify_maps(maps, REFERENCE_SETS["218"])
    assert mask.volume.geometry.spacing_ijk_mm == pytest.approx((2.0,) * 3)
    defect = (found.ventilation[maps.mask] < 0.6).mean()
    assert 0.0 < defect < 0.5


def test_without_h5py_a_file_that_needs_it_is_refused(tmp_path, monkeypatch):
    import sys

    path = tmp_path / "a.h5"
    path.write_bytes(b"HDF5")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(InputError, match="h5py, which is not installed; pip install"):
        read_mrd_header(path)

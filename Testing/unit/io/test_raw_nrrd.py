"""Uncompressed images hold the same as compressed ones."""

import numpy as np
import pytest

from lungperfusion.io import read_map, write_volume
from lungperfusion.io.writing import write_in_parts, write_series_in_parts, write_time_series
from lungperfusion.volume import Geometry, Volume


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_raw_and_compressed_files_read_the_same(tmp_path, dtype):
    geometry = Geometry.axial((5, 6, 7), (0.7, 0.8, 1.5), (10.0, -20.0, 30.0))
    values = np.random.default_rng(3).normal(0, 100, geometry.shape)
    volume = Volume(
        values.astype(dtype).transpose(0, 2, 1).copy().transpose(0, 2, 1), geometry, "1"
    )
    write_volume(volume, tmp_path / "raw.nrrd", compressed=False)
    write_volume(volume, tmp_path / "packed.nrrd")
    raw, packed = (read_map(tmp_path / f"{name}.nrrd", unit="1") for name in ("raw", "packed"))
    assert np.array_equal(raw.volume.array, volume.array)
    assert np.array_equal(packed.volume.array, volume.array)
    assert raw.volume.geometry.same_as(geometry, tolerance_mm=1e-9)
    assert b"encoding: raw" in (tmp_path / "raw.nrrd").read_bytes()


def test_parts_make_the_same_file(tmp_path):
    geometry = Geometry.axial((5, 6, 7), (0.7, 0.8, 1.5), (10.0, -20.0, 30.0))
    values = np.random.default_rng(3).normal(0, 100, geometry.shape).astype(np.int16)
    volume = Volume(values, geometry, "HU")
    write_volume(volume, tmp_path / "whole.nrrd", compressed=False)
    assert len(list(write_in_parts(volume, tmp_path / "parts.nrrd"))) == len(values)
    assert (tmp_path / "parts.nrrd").read_bytes() == (tmp_path / "whole.nrrd").read_bytes()


def test_parts_make_the_same_series(tmp_path):
    geometry = Geometry.axial((5, 6, 7), (0.7, 0.8, 1.5), (10.0, -20.0, 30.0))
    shape = (4, *geometry.shape)
    values = np.random.default_rng(3).normal(0, 100, shape).astype(np.int16)
    times = np.arange(4.0)[:, None].repeat(5, axis=1)
    whole, parts = tmp_path / "whole.seq.nrrd", tmp_path / "parts.seq.nrrd"
    write_time_series(values, geometry, times, whole, compressed=False)
    planes = (plane for frame in values for plane in frame)
    shares = list(write_series_in_parts(planes, geometry, times, parts))
    assert shares == pytest.approx(np.arange(1, 21) / 20)
    assert parts.read_bytes() == whole.read_bytes()


def test_rounding_that_another_program_left_in_a_header_changes_nothing(tmp_path):
    """Slicer writes an origin of -124.99999999999997 mm where the file it read says -125."""
    geometry = Geometry.axial((5, 6, 7), (0.7, 0.8, 1.5), (-125.0, 20.0, 30.0))
    passed_on = geometry.ijk_to_ras * (1 - 2e-16)
    passed_on[0, 3] += 3e-14
    array = np.zeros(geometry.shape, np.int16)
    for name, matrix in (("first", geometry.ijk_to_ras), ("second", passed_on)):
        volume = Volume(array, Geometry(geometry.shape, matrix), "1")
        write_volume(volume, tmp_path / f"{name}.nrrd")
    first, second = (
        read_map(tmp_path / f"{name}.nrrd", unit="1").volume.geometry.ijk_to_ras
        for name in ("first", "second")
    )
    assert np.array_equal(first, second)
    assert np.array_equal(first, geometry.ijk_to_ras)

"""Uncompressed images hold the same as compressed ones."""

import numpy as np
import pytest

from lungperfusion.io import read_map, write_volume
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

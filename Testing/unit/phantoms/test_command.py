"""``lungperfusion phantom``: files that can be read back."""

import argparse
import json

import numpy as np
import pydicom
import pytest

from lungperfusion.commands import phantom
from lungperfusion.errors import InputError
from lungperfusion.io import read_ct
from lungperfusion.phantoms import KINDS
from lungperfusion.progress import ignore


def run(out, *words):
    parser = argparse.ArgumentParser()
    phantom.add_arguments(parser)
    return phantom.run(parser.parse_args([*words, "-o", str(out)]), ignore)


def test_writes_image_labels_and_truth(tmp_path):
    assert run(tmp_path / "a", "small", "--spacing", "7") == 0
    assert run(tmp_path / "b", "small", "--spacing", "7") == 0
    names = {path.name for path in (tmp_path / "a").iterdir()}
    assert {"ct.nrrd", "lungs.seg.nrrd", "lobes.seg.nrrd", "truth.json", "results.json"} <= names
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    truth = json.loads((tmp_path / "a" / "truth.json").read_text(encoding="utf-8"))
    assert truth["kind"] == "small"
    assert 4000 < truth["volumes_ml"]["lungs"] < 5500
    with pytest.raises(InputError, match="overwrite"):
        run(tmp_path / "a", "small", "--spacing", "7")


@pytest.mark.parametrize("kind", ["small", "tilted"])
def test_dicom_holds_the_same_image(tmp_path, kind):
    run(tmp_path / "out", kind, "--spacing", "7", "--dicom")
    made = KINDS[kind]((7.0, 7.0, 7.0))
    files = [pydicom.dcmread(p) for p in sorted((tmp_path / "out" / "ct").glob("*.dcm"))]
    assert np.array_equal(np.stack([f.pixel_array for f in files]), made.ct.array)
    steps = np.diff([f.ImagePositionPatient for f in files], axis=0).astype(float)
    expected = made.ct.geometry.ijk_to_ras[:3, 2] * (-1, -1, 1)
    assert np.allclose(steps, expected, atol=1e-3)
    scan = read_ct(tmp_path / "out" / "ct")
    if kind == "small":
        scan.volume.geometry.require_same(made.ct.geometry)
        # -1024 is both the floor of the image and a padding value: the reader may take it as air.
        differs = scan.volume.array != made.ct.array
        assert (made.ct.array[differs] == -1024).all()


@pytest.mark.parametrize("spacing", [("0.1",), ("2", "2"), ("2", "2", "99")])
def test_refuses_spacing_that_makes_no_image(tmp_path, spacing):
    with pytest.raises(InputError, match="one or three values between"):
        run(tmp_path / "out", "small", "--spacing", *spacing)
    assert not (tmp_path / "out").exists()

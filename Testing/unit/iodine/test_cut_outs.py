"""Marks of vendors' maps are left out, clipped noise is not, and both are said."""

import numpy as np
import pytest

from lungperfusion.iodine.cut_outs import coverage, without_marks
from lungperfusion.resampling import resample_known
from lungperfusion.volume import Geometry, Volume

GEOMETRY = Geometry.axial((20, 40, 40), (2.0, 2.0, 2.0))
LUNGS = np.zeros(GEOMETRY.shape, np.bool_)
LUNGS[3:-3, 5:-5, 5:-5] = True
CUT = np.zeros(GEOMETRY.shape, np.bool_)
CUT[3:-3, 10:14, 8:-8] = True


def noisy(mean, sd, *, whole=True, unit="HU"):
    values = np.random.default_rng(4).normal(mean, sd, GEOMETRY.shape)
    return Volume((np.round(values) if whole else values).astype(np.float32), GEOMETRY, unit)


def marked(image, value):
    array = image.array.copy()
    array[CUT | ~LUNGS] = value
    return image.with_array(array)


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("value", [-1024, -1000, -2000, -32768, -100, 0])
def test_marks_are_left_out(value, whole):
    image = noisy(30, 5, whole=whole)
    found, gates = without_marks(marked(image, value), LUNGS)
    np.testing.assert_array_equal(found.valid[LUNGS], ~CUT[LUNGS])
    assert found.values(LUNGS).mean() == pytest.approx(image.array[LUNGS & ~CUT].mean())
    assert gates == ()


def test_marks_in_mg_ml():
    image = noisy(1.4, 0.4, whole=False, unit="mg/mL")
    for value in (-1024.0, -102.4, -4.0):
        found, _ = without_marks(marked(image, value), LUNGS)
        np.testing.assert_array_equal(found.valid[LUNGS], ~CUT[LUNGS])


@pytest.mark.parametrize("whole", [True, False])
def test_noise_is_no_mark(whole):
    image = noisy(30, 25, whole=whole)
    found, gates = without_marks(image, LUNGS)
    assert found.valid[LUNGS].all()
    assert gates == ()


@pytest.mark.parametrize("whole", [True, False])
def test_clipped_noise_is_kept_and_said(whole):
    image = noisy(30, 25, whole=whole)
    clipped = image.with_array(np.maximum(image.array, 0))
    found, gates = without_marks(clipped, LUNGS)
    assert found.valid[LUNGS].all()
    (gate,) = gates
    assert (gate.id, gate.verdict) == ("iodine_map_clipping", "warn")
    assert gate.value == pytest.approx((image.array[LUNGS] <= 0).mean())


def test_an_unperfused_lung_keeps_its_zeros():
    image = noisy(30, 6)
    array = image.array.copy()
    array[:, :, :20] = noisy(0, 6).array[:, :, :20]
    found, gates = without_marks(image.with_array(array), LUNGS)
    assert found.valid[LUNGS].all()
    assert gates == ()


def test_what_was_invalid_stays_so():
    image = noisy(30, 5)
    known = ~CUT
    found, _ = without_marks(Volume(image.array, GEOMETRY, "HU", known), LUNGS)
    np.testing.assert_array_equal(found.valid, known)


@pytest.mark.parametrize(
    ("share", "verdict"),
    [(1.0, "pass"), (0.8, "pass"), (0.79, "warn"), (0.5, "warn"), (0.49, "fail")],
)
def test_coverage(share, verdict):
    lungs = np.ones(100, np.bool_)
    gate = coverage(np.arange(100) < round(100 * share), lungs)
    assert (gate.verdict, gate.value) == (verdict, share)
    assert f"{100 * (1 - share):.1f} %" in gate.message
    assert coverage(None, lungs).verdict == "pass"


def test_nothing_is_mixed_with_a_gap_on_another_grid():
    image = noisy(30, 0)
    found, _ = without_marks(marked(image, -1000), LUNGS)
    finer = resample_known(found, GEOMETRY.with_spacing((1.3, 1.7, 1.1)))
    assert 0.1 < finer.valid.mean() < 0.9
    np.testing.assert_allclose(finer.array[finer.valid], 30, rtol=1e-5)

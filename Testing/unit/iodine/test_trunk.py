"""The pulmonary trunk in the phantom, given by hand, and where it cannot be found."""

import numpy as np
import pytest

from lungperfusion.iodine.air_calibration import airway_core
from lungperfusion.iodine.calibration import spectral_pair
from lungperfusion.iodine.decomposition import decompose
from lungperfusion.iodine.trunk import find_carina, find_trunk, measure_trunk
from lungperfusion.volume import Labelmap


@pytest.fixture(scope="module")
def concentration(dect):
    pair = spectral_pair("80", "140Sn", water_path_cm=dect.settings["mean_water_path_cm"])
    return decompose(dect.low, dect.high, pair).concentration


@pytest.fixture(scope="module")
def trunk(concentration, dect_lungs):
    found = find_trunk(concentration, dect_lungs)
    assert not isinstance(found, str), found
    return found


def test_lies_in_the_trunk_of_the_phantom(dect, trunk):
    truth = dect.truth.structures.mask("pulmonary_trunk")
    assert truth[trunk.mask].mean() > 0.8
    assert trunk.volume_ml >= 1.0
    assert trunk.doubt == ""


def test_iodine_of_the_blood(trunk):
    # the heart lies deeper in the body than the lungs: the beam is harder, iodine some 5 % darker
    assert trunk.iodine_mg_ml == pytest.approx(14.0, rel=0.07)


def test_the_carina(dect_lungs):
    carina = find_carina(dect_lungs)
    np.testing.assert_allclose(carina, [0, -18, 0], atol=14)


def test_a_given_region_is_taken_as_it_is(dect, concentration):
    aorta = dect.truth.structures.mask("aorta")
    given = measure_trunk(concentration, aorta)
    assert given.iodine_mg_ml == pytest.approx(np.median(concentration.array[aorta]))
    assert measure_trunk(concentration, np.zeros_like(aorta)) is None


def test_says_why_there_is_none(dect, concentration, dect_lungs):
    no_airways = Labelmap(
        np.where(dect_lungs.array == 3, 0, dect_lungs.array).astype(np.uint8),
        dect_lungs.geometry,
        dect_lungs.names,
    )
    assert "carina" in find_trunk(concentration, no_airways)
    faint = concentration.with_array(concentration.array * np.float32(0.1))
    assert "at least 2 are needed" in find_trunk(faint, dect_lungs)


def test_air_in_the_core_of_the_airways(dect, dect_lungs):
    core = airway_core(dect_lungs)
    assert core.any()
    assert np.median(dect.low.array[core]) == pytest.approx(-1000, abs=4)

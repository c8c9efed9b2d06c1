"""One small breathing phantom and its registration, shared by the tests of this folder."""

from __future__ import annotations

import pytest

from lungperfusion.phantoms.breathing import BreathingPhantom, make_breathing_phantom
from lungperfusion.regions import RegionSet
from lungperfusion.segmentation.zones import label_zones
from lungperfusion.vq.pair import BreathPair, pair_breaths
from lungperfusion.vq.registration import Registration, register_lungs


@pytest.fixture(scope="session")
def phantom() -> BreathingPhantom:
    return make_breathing_phantom(spacing_mm=2.5, scale=0.6)


@pytest.fixture(scope="session")
def registration(phantom: BreathingPhantom) -> Registration:
    return register_lungs(
        phantom.expiration,
        phantom.inspiration,
        phantom.expiration_lungs,
        phantom.inspiration_lungs,
    )


@pytest.fixture(scope="session")
def pair(phantom: BreathingPhantom, registration: Registration) -> BreathPair:
    return pair_breaths(
        phantom.expiration,
        phantom.inspiration,
        registration,
        phantom.expiration_lungs,
        phantom.inspiration_lungs,
        lobes=(phantom.expiration_lobes, phantom.inspiration_lobes),
    )


@pytest.fixture(scope="session")
def regions(phantom: BreathingPhantom) -> RegionSet:
    lungs = phantom.expiration_lungs
    return RegionSet((lungs, phantom.expiration_lobes, label_zones(lungs)))

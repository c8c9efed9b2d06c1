"""Measurements: a number with its meaning, or the reason why there is none."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from lungperfusion.measurement import Measurement, measured, missing
from lungperfusion.terms import MEASURES, STRUCTURES, Measure, Region, title
from lungperfusion.terms.measures import UNITS


def test_measured_takes_the_unit_from_the_definition():
    entry = measured(Region.LEFT_LUNG, "tlv", np.float32(2.5), "voxel count")

    assert entry == Measurement(
        region="left_lung", measure="tlv", value=2.5, unit="L", method="voxel count"
    )
    assert (entry.status, entry.reason) == ("ok", "")
    assert type(entry.value) is float
    assert type(entry.region) is str


def test_zero_is_a_value():
    assert measured("lungs", "tlv", 0.0, "").status == "ok"


def test_caution_carries_its_reason():
    entry = measured("lungs", "tlv", 1.9, "voxel count", caution="apex cut by the field of view")

    assert (entry.value, entry.status) == (1.9, "caution")
    assert entry.reason == "apex cut by the field of view"


def test_missing_is_nan_with_a_reason():
    entry = missing(Region.RIGHT_LUNG, "tlv", "no right lung in the image")

    assert math.isnan(entry.value)
    assert (entry.status, entry.unit) == ("missing", "L")
    assert entry.reason == "no right lung in the image"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_measured_refuses_what_is_no_number(value):
    with pytest.raises(ValueError, match="tlv of lungs: value"):
        measured("lungs", "tlv", value, "")


def test_missing_refuses_silence():
    with pytest.raises(ValueError, match="tlv of lungs: missing needs a reason"):
        missing("lungs", "tlv", "")


def test_missing_never_carries_a_number():
    with pytest.raises(ValueError, match=r"value 0\.0 with status missing"):
        Measurement(
            region="lungs",
            measure="tlv",
            value=0.0,
            unit="L",
            method="",
            status="missing",
            reason="no lung",
        )


@pytest.mark.parametrize(
    "make", [lambda: measured("lungs", "tvl", 1, ""), lambda: missing("lungs", "tvl", "?")]
)
def test_unknown_measures_are_refused(make):
    with pytest.raises(KeyError, match="tvl"):
        make()


def test_measurements_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        measured("lungs", "tlv", 1, "").value = 2


# Definitions ----------------------------------------------------------------------------------


@pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES.keys())
def test_every_measure_is_fully_defined(measure):
    assert measure.id.isidentifier()
    assert measure.id == measure.id.lower()
    assert measure.unit in UNITS
    assert measure.title
    assert measure.formula
    assert measure.source
    assert measure.reference_region in set(Region)
    if measure.reference:
        assert measure.reference.sd > 0
        assert measure.reference.cohort
        assert measure.reference.source


def test_measures_refuse_unknown_units():
    with pytest.raises(ValueError, match="unit 'ml' is not one of"):
        Measure(id="x", title="X", unit="ml", formula="x", source="x")


def test_structures_have_labels_and_colours_of_their_own():
    labels = [structure.label for structure in STRUCTURES.values()]
    colours = [structure.colour for structure in STRUCTURES.values()]

    assert len(set(labels)) == len(labels)
    assert len(set(colours)) == len(colours)
    assert min(labels) > 0
    assert max(labels) < 256
    assert all(0 <= channel <= 1 for colour in colours for channel in colour)
    assert all(id == structure.id for id, structure in STRUCTURES.items())


def test_every_region_but_the_sum_of_both_lungs_is_a_structure():
    assert set(Region) - {Region.LUNGS} <= set(STRUCTURES)


def test_title():
    assert title("right_middle_lobe") == "Right middle lobe"
    assert str(STRUCTURES["left_lung"].modifier) == "SCT^7771000^Left"

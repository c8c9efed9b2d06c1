"""The steps together on block lungs: exclusions, window, options."""

import argparse
from dataclasses import replace

import numpy as np
import pytest

from lungperfusion.analysis.iodine_measure import IodineOptions, crop_to_lungs, measure_iodine
from lungperfusion.analysis.ipv import analyse_ipv
from lungperfusion.analysis.regions import FoundRegions
from lungperfusion.commands.iodine_arguments import iodine_options
from lungperfusion.commands.ipv import add_arguments
from lungperfusion.errors import InputError
from lungperfusion.iodine.decomposition import IodineMap
from lungperfusion.iodine.score import AERATED_HU
from lungperfusion.volume import Labelmap


def found(blocks):
    return FoundRegions(lungs=blocks.lungs, regions=blocks.regions, gates=(), warnings=())


def with_vessel(blocks):
    """Iodine map of 1.8 mg/mL and CT with one thick vessel of 15 mg/mL in each lung."""
    iodine = np.full(blocks.geometry.shape, 1.8, np.float32)
    hu = np.where(blocks.inside, -850, 30).astype(np.float32)
    for lung in ("left_lung", "right_lung"):
        k, _, i = np.argwhere(blocks.lungs.mask(lung)).mean(axis=0).astype(int)
        iodine[k - 1 : k + 2, :, i - 1 : i + 2][blocks.inside[k - 1 : k + 2, :, i - 1 : i + 2]] = (
            15.0
        )
        hu[k - 1 : k + 2, :, i - 1 : i + 2] = 300
    made = IodineMap(concentration=blocks.volume(iodine, "mg/mL"), hu_per_mg_ml=25.0, method="made")
    return made, blocks.volume(hu)


def value(analysed, measure):
    return next(
        m.value for m in analysed.measurements if (m.region, m.measure) == ("lungs", measure)
    )


def test_vessels_are_left_out_or_only_marked(blocks):
    iodine, ct = with_vessel(blocks)
    options = {"heart_rim_mm": 0.0}
    without = measure_iodine(iodine, ct, found(blocks), options=IodineOptions(**options))
    marked = measure_iodine(
        iodine, ct, found(blocks), options=IodineOptions(exclusions="mark", **options)
    )
    assert value(without, "iodine_mean") == pytest.approx(45.0, rel=1e-3)
    assert value(marked, "iodine_mean") > 49
    assert value(without, "iodine_excluded_share") > 1
    assert value(marked, "iodine_excluded_share") == 0
    np.testing.assert_array_equal(without.exclusion.labels.array, marked.exclusion.labels.array)


def test_the_density_window_limits_what_counts(blocks):
    iodine, ct = with_vessel(blocks)
    options = IodineOptions(window_hu=AERATED_HU, exclusions="mark", heart_rim_mm=0.0)
    analysed = measure_iodine(iodine, ct, found(blocks), options=options)
    assert value(analysed, "iodine_mean") == pytest.approx(45.0, rel=1e-3)
    assert set(np.unique(ct.array[analysed.measurable])) == {-850.0}


def test_cropping_to_the_lungs_changes_no_score(blocks):
    iodine, ct = with_vessel(blocks)
    whole = measure_iodine(iodine, ct, found(blocks))
    smaller, box = crop_to_lungs(found(blocks))
    cropped = measure_iodine(
        IodineMap(concentration=iodine.concentration.crop(box), hu_per_mg_ml=25.0, method="made"),
        ct.crop(box),
        smaller,
    )
    for one, other in zip(whole.measurements, cropped.measurements, strict=True):
        np.testing.assert_allclose(one.value, other.value, rtol=1e-5, err_msg=one.measure)


def test_a_map_without_any_ct_is_refused(blocks):
    iodine, _ = with_vessel(blocks)
    with pytest.raises(InputError, match="give a CT of the same breath with --ct"):
        analyse_ipv(iodine, None, found(blocks), pictures=False)


def parsed(*words):
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return iodine_options(parser.parse_args([*words, "-o", "x"]))


def test_defaults_of_the_command_are_those_of_the_library():
    assert parsed() == IodineOptions()


def test_preset_sets_the_window_and_the_rule_and_options_win():
    preset = parsed("--preset", "lung-pbv-like")
    assert (preset.window_hu, preset.defect_rule) == (AERATED_HU, "absolute")
    own = parsed(
        "--preset", "lung-pbv-like", "--window-hu", "-950", "-500", "--defect-rule", "relative"
    )
    assert (own.window_hu, own.defect_rule) == ((-950.0, -500.0), "relative")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--smoothing-mm", "-1"), "smoothing_mm must be 0 mm or more, not -1"),
        (("--defect-relative-below", "1"), "between 0 and 1, not 1"),
        (("--window-hu", "-600", "-960"), "a lower and a higher HU"),
    ],
)
def test_refuses_options_that_mean_nothing(words, sentence):
    with pytest.raises(InputError, match=sentence):
        parsed(*words)


@pytest.mark.parametrize("known", [False, True], ids=["thin and dense", "known vessel"])
def test_an_artery_across_a_defect_does_not_split_it(blocks, known):
    blocks = type(blocks)(spacing_mm=1.5)
    iodine = np.full(blocks.geometry.shape, 1.8, np.float32)
    hu = np.where(blocks.inside, -850, 30).astype(np.float32)
    k, j, i = np.argwhere(blocks.lungs.mask("left_lung")).mean(axis=0).astype(int)
    defect = tuple(slice(n - 10, n + 10) for n in (k, j, i))
    iodine[defect] = 0.36
    artery = (slice(k, k + 1), slice(None), slice(i, i + 1))  # thinner than what is left out
    iodine[artery], hu[artery] = 20.0, (-800.0 if known else 100.0)
    vessels = np.zeros(blocks.geometry.shape, np.uint8)
    vessels[artery] = 4
    there = replace(
        found(blocks),
        vessels=Labelmap(vessels, blocks.geometry, {4: "vessels"}) if known else None,
    )
    made = IodineMap(concentration=blocks.volume(iodine, "mg/mL"), hu_per_mg_ml=25.0, method="made")
    analysed = measure_iodine(
        made, blocks.volume(hu), there, options=IodineOptions(heart_rim_mm=0.0)
    )
    assert len(analysed.defects.found) == 1
    hit = analysed.defects.mask
    true = np.zeros_like(hit)
    true[defect] = True
    assert 2 * (hit & true).sum() / (hit.sum() + true.sum()) > 0.9
    assert hit[k, j, i], "the artery's own voxels belong to it"
    # the scores keep the artery's blood
    kept = blocks.inside & analysed.measurable
    expected = 25 * iodine[kept].mean()
    assert value(analysed, "iodine_mean") == pytest.approx(expected, rel=0.01)


def test_a_lung_without_defects_gets_its_report(blocks):
    _, ct = with_vessel(blocks)
    options = IodineOptions(heart_rim_mm=0.0)
    even = IodineMap(concentration=blocks.volume(1.8, "mg/mL"), hu_per_mg_ml=25.0, method="made")
    analysis = analyse_ipv(even, ct, found(blocks), options=options)
    defects = next(section for section in analysis.sections if section.title == "Defects")
    assert "No perfusion defect was found" in defects.html
    assert analysis.tables["defects"].rows == ()
    assert len(analysis.tables["left_out"].rows) == len(blocks.regions.names)

"""A review that keeps the results of steps gives the numbers of one that does not."""

import json
import math
import pickle
import shutil
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
import pytest
from scaled_chest import scaled

from lungperfusion.__main__ import main
from lungperfusion.analysis import stages
from lungperfusion.analysis.stages import remembered, remembering
from lungperfusion.io import read_segmentation, write_labelmap, write_volume
from lungperfusion.io.records import read_record, write_record
from lungperfusion.naming import named
from lungperfusion.phantoms import KINDS
from lungperfusion.terms import Region
from lungperfusion.volume import Labelmap


@dataclass(frozen=True)
class Found:
    values: np.ndarray
    words: MappingProxyType


calls = []


def step(values, *, factor=1, progress=None):
    calls.append(factor)
    return Found(values * factor, MappingProxyType({"factor": str(factor)}))


@pytest.fixture
def folder(tmp_path):
    calls.clear()
    with remembering(tmp_path / "stages"):
        yield tmp_path / "stages"


def test_the_same_arguments_are_not_computed_again(folder):
    first = remembered(step, np.arange(3), factor=2, progress=lambda *_: None)
    again = remembered(step, np.arange(3), factor=2, progress=lambda *_: None)
    assert calls == [2]
    assert again.values.tolist() == first.values.tolist() == [0, 2, 4]
    assert again.words == {"factor": "2"}


@pytest.mark.parametrize(
    "other",
    [np.arange(3) + 1, np.arange(3.0), np.arange(3).reshape(3, 1), np.arange(4)],
    ids=["value", "type", "shape", "length"],
)
def test_other_arguments_are_computed(folder, other):
    remembered(step, np.arange(3), factor=2)
    assert remembered(step, other, factor=2).values.tolist() == (other * 2).tolist()
    assert calls == [2, 2]


def test_old_results_are_forgotten(folder):
    for factor in range(stages.KEPT_RESULTS + 2):
        remembered(step, np.arange(3), factor=factor)
    assert len(list(folder.iterdir())) == stages.KEPT_RESULTS


def test_arguments_that_differ_in_their_brackets_only_are_told_apart():
    assert stages._digest(((1,), 2)) != stages._digest(((1, 2),))
    assert stages._digest(({"a": 1}, "b", 2)) != stages._digest(({"a": 1, "b": 2},))


def test_arguments_that_cannot_be_compared_are_refused(folder):
    with pytest.raises(TypeError, match="argument of function"):
        remembered(step, test_old_results_are_forgotten)


def test_nothing_is_kept_without_a_folder(tmp_path):
    calls.clear()
    for _ in range(2):
        remembered(step, np.arange(3))
    assert calls == [1, 1]


class Planted:
    """Runs when it is unpickled."""

    def __reduce__(self):
        return calls.append, ("planted",)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:-100]),
        lambda path: path.write_bytes(path.read_bytes().replace(b"values", b"valueS")),
        lambda path: path.write_bytes(pickle.dumps(Planted())),
        lambda path: np.savez(path, np.array([Planted()], dtype=object)),
        lambda path: np.savez(path, np.frombuffer(b'{"!": "data", "of": "os:system"}', "u1")),
        lambda path: np.savez(path, np.frombuffer(b'{"!": "enum", "of": "os:abc"}', "u1")),
        lambda path: np.savez(path, np.frombuffer(b"[" * 99999, "u1")),
    ],
    ids=["empty", "cut", "edited", "pickle", "objects", "function", "module", "deep"],
)
def test_file_that_is_damaged_or_foreign_is_made_anew_and_runs_nothing(folder, spoil):
    remembered(step, np.arange(3), factor=2)
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    spoil(path)
    assert remembered(step, np.arange(3), factor=2).values.tolist() == [0, 2, 4]
    assert calls == [2, 2]
    (path,) = folder.iterdir()
    assert path.read_bytes() == whole


def test_other_code_and_other_libraries_compute_again(folder, monkeypatch):
    for name, value in (("source_digest", "other"), ("library_versions", {"numpy": "9"})):
        remembered(step, np.arange(3))
        monkeypatch.setattr(stages, name, lambda value=value: value)
        remembered(step, np.arange(3))
    assert calls == [1, 1, 1]


def test_records_come_back_as_they_were(tmp_path):
    shared = np.arange(6, dtype=">i2").reshape(2, 3)
    shared.flags.writeable = False
    value = {
        Region.LUNGS: (shared, [shared, None, True, 3, -0.0, math.inf]),
        "kinds": frozenset({"a", "b"}),
        2: MappingProxyType({"x": np.float32(0.1), "s": slice(1, None)}),
        "name": named("Öz"),
        "found": Found(np.zeros((0, 2)), MappingProxyType({})),
    }
    write_record(value, tmp_path / "a.npz")
    back = read_record(tmp_path / "a.npz")
    assert list(back) == list(value)
    assert isinstance(next(iter(back)), Region)
    first, (second, *rest) = back[Region.LUNGS]
    assert first is second
    assert (first.dtype.str, first.flags.writeable, first.tolist()) == (
        ">i2",
        False,
        [[0, 1, 2], [3, 4, 5]],
    )
    assert repr(rest) == "[None, True, 3, -0.0, inf]"
    assert isinstance(back[2]["x"], np.float32)
    assert (back["kinds"], back[2]["s"]) == (value["kinds"], slice(1, None))
    assert f"{back['name']}" == f"{value['name']}"
    assert back["found"].values.shape == (0, 2)
    with pytest.raises(TypeError, match="holds no Planted"):
        write_record(Planted(), tmp_path / "b.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_steps_of_each_lung_are_kept_twice_as_often(folder, monkeypatch):
    monkeypatch.setattr(stages, "OF_EACH_LUNG", {"step"})
    for factor in range(2 * stages.KEPT_RESULTS + 2):
        remembered(step, np.arange(3), factor=factor)
    assert len(list(folder.iterdir())) == 2 * stages.KEPT_RESULTS


@pytest.fixture(scope="module")
def review(tmp_path_factory):
    """Run a case again: with a copy of what its first run has kept, or with nothing kept.

    Its chest is of half the size: its fissures have a quarter of the area.
    """
    place = tmp_path_factory.mktemp("review")
    kind = KINDS["contrast"]
    patient = replace(kind, anatomy={**kind.anatomy, "leaves": 8})((6.0, 6.0, 5.0))
    for image, name in ((patient.ct, "ct"), (patient.iodine, "iodine")):
        write_volume(scaled(image, 0.5), place / f"{name}.nrrd")
    words = ["--ct", str(place / "ct.nrrd"), "--iodine", str(place / "iodine.nrrd")]
    words += ["--iodine-unit", "mg/mL", "--lobes", "auto", "--no-report", "--quiet"]

    def run(name, *more, kept=True):
        out = place / name
        folder = place / f"stages_{name}"
        if kept and name != "first":
            shutil.copytree(place / "stages_first", folder)
        before = {path.name for path in folder.glob("*")}
        more = [*more, "--keep-stages", str(folder)] if kept else more
        assert main(["ipv", *words, *more, "--out", str(out)]) == 0
        new = {path.name for path in folder.glob("*")} - before
        steps = sorted(name.split("-")[0].split(".")[-1] for name in new)
        return json.loads((out / "results.json").read_text(encoding="utf-8"))["analyses"], steps

    run("first")
    return run, place


def corrected(place, name, change):
    labels = read_segmentation(place / "first" / f"{name}.seg.nrrd")
    array = labels.array.copy()
    change(array, {name: label for label, name in labels.names.items()})
    path = place / f"{name}.seg.nrrd"
    write_labelmap(Labelmap(array, labels.geometry, labels.names), path)
    return str(path)


@pytest.mark.slow
def test_a_stroke_in_one_lung_leaves_the_fissures_of_the_other(review):
    run, place = review

    def stroke(array, labels):
        left = array == labels["left_lung"]
        rows = np.flatnonzero(left.any(axis=(0, 2)))
        left[:, rows[0] + 2 :] = False
        array[left] = 0

    words = ["--lung-mask", corrected(place, "lungs", stroke)]
    again, steps = run("stroke", *words)
    assert steps.count("prepare_lung") == steps.count("fit_fissures") == 1
    assert again == run("plain_stroke", *words, kept=False)[0]


@pytest.mark.slow
def test_a_lobe_edit_prepares_no_lung_again(review):
    run, place = review

    def exchange(array, labels):
        upper = array == labels["left_upper_lobe"]
        planes = np.flatnonzero(upper.any(axis=(1, 2)))
        upper[planes[0] + 2 :] = False
        array[upper] = labels["left_lower_lobe"]

    lungs = corrected(place, "lungs", lambda array, labels: None)
    words = ["--lung-mask", lungs, "--lobes", corrected(place, "lobes", exchange)]
    again, steps = run("lobes", *words)
    assert not {"prepare_lung", "fit_fissures", "find_exclusions", "mark_vessels"} & set(steps)
    assert again == run("plain_lobes", *words, kept=False)[0]


@pytest.mark.slow
def test_corrected_defects_repeat_their_measures_only(review):
    run, place = review
    words = ["--defects", corrected(place, "defects", lambda array, labels: array.fill(0))]
    again, steps = run("defects", *words)
    assert steps == ["find_defects"]
    assert again == run("plain_defects", *words, kept=False)[0]

"""A review that keeps the results of steps gives the numbers of one that does not."""

import json
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import pytest

from lungperfusion.__main__ import main
from lungperfusion.io import read_segmentation, write_labelmap, write_volume
from lungperfusion.phantoms import KINDS
from lungperfusion.pipelines import stages
from lungperfusion.pipelines.stages import remembered, remembering
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


@pytest.mark.slow
def test_a_correction_repeats_what_depends_on_it(tmp_path):
    patient = KINDS["contrast"]((6.0, 6.0, 5.0))
    write_volume(patient.ct, tmp_path / "ct.nrrd")
    write_volume(patient.iodine, tmp_path / "iodine.nrrd")
    words = ["--ct", str(tmp_path / "ct.nrrd"), "--iodine", str(tmp_path / "iodine.nrrd")]
    words += ["--iodine-unit", "mg/mL", "--no-report", "--quiet"]
    stage_folder = tmp_path / "stages"

    def run(name, *more):
        out = tmp_path / name
        assert main(["ipv", *words, *more, "--out", str(out)]) == 0
        return json.loads((out / "results.json").read_text(encoding="utf-8"))["analyses"]

    kept = ["--keep-stages", str(stage_folder)]
    run("kept", *kept)
    before = {path.name for path in stage_folder.iterdir()}
    defects = read_segmentation(tmp_path / "kept" / "defects.seg.nrrd")
    emptied = Labelmap(np.zeros_like(defects.array), defects.geometry, defects.names)
    write_labelmap(emptied, tmp_path / "defects.seg.nrrd")
    corrected = ["--defects", str(tmp_path / "defects.seg.nrrd")]
    assert run("corrected", *kept, *corrected) == run("plain", *corrected)
    new = {path.name for path in stage_folder.iterdir()} - before
    assert [name.split("-")[0].split(".")[-1] for name in new] == ["find_defects"]

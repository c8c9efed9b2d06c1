"""A review that keeps the results of steps gives the numbers of one that does not."""

import json
import math
import pickle
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import pytest

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

"""Segmentation engines of others: found, run apart, ended, imported and compared."""

from __future__ import annotations

import json
import os
import stat
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from lungperfusion.analysis.regions import RegionOptions, find_regions
from lungperfusion.engines import (
    ENGINES,
    find_engine,
    lobe_agreement,
    lung_agreement,
    run_engine,
)
from lungperfusion.errors import CancelledError, InputError
from lungperfusion.segmentation.imports import CONVENTIONS
from lungperfusion.volume import Geometry, Labelmap, Volume

pytestmark = pytest.mark.skipif(
    os.name == "nt", reason="the fake engine is a script that starts by its first line"
)

CONVENTION = {"lungmask": {"left_lung": 2, "right_lung": 1}}


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine without engines, whose home and PATH are folders of the test."""
    home, path = tmp_path / "home", tmp_path / "bin"
    home.mkdir()
    path.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("PATH", str(path))
    for engine in ENGINES.values():
        for name in engine.homes:
            monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def fake(machine):
    """Write a fake engine: ``fake("lungmask", body)`` with the weights in place."""

    def write(name: str, body: str, *, weights: bool = True) -> Path:
        engine = ENGINES[name]
        program = machine / "bin" / engine.program
        lines = textwrap.dedent(body)
        program.write_text(f"#!{sys.executable}\nimport os, sys, time\n{lines}", encoding="utf-8")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        if weights:
            engine.weights_folder.mkdir(parents=True)
            for pattern in {w for job in engine.jobs.values() for w in job.weights}:
                (engine.weights_folder / pattern.replace("*", "x")).touch()
        return program

    return write


@pytest.fixture
def small_ct() -> Volume:
    array = np.full((8, 10, 12), -1000, np.int16)
    return Volume(array, Geometry.axial((8, 10, 12), (3.0, 3.0, 3.0)), "HU")


WRITES_LABELS = """
import SimpleITK as sitk, numpy as np
ct = sitk.ReadImage("ct.nii.gz")
labels = np.zeros(sitk.GetArrayFromImage(ct).shape, np.uint8)
labels[2:6, 2:8, 2:5], labels[2:6, 2:8, 7:10] = 1, 2
out = sitk.GetImageFromArray(labels)
out.CopyInformation(ct)
sitk.WriteImage(out, "labels.nii.gz")
"""


def test_machine_without_engine_says_what_to_do(machine, small_ct):
    assert find_engine("lungmask").program is None
    with pytest.raises(InputError, match="no program lungmask was found on the PATH"):
        run_engine(small_ct, "lungmask", "lungs")


def test_unknown_engine_is_refused():
    with pytest.raises(InputError, match="an engine is one of lungmask, totalsegmentator"):
        find_engine("nnunet")


def test_engine_without_weights_is_not_started(fake, machine, small_ct):
    fake("lungmask", "open(os.path.expanduser('~/started'), 'w')", weights=False)
    with pytest.raises(InputError, match=r"weights \(unet_r231-\*\.pth\) are not in ~/\.cache"):
        run_engine(small_ct, "lungmask", "lungs")
    assert not (machine / "home" / "started").exists()


@pytest.mark.parametrize(
    ("name", "variable", "below"),
    [
        ("lungmask", "TORCH_HOME", "hub/checkpoints"),
        ("lungmask", "XDG_CACHE_HOME", "torch/hub/checkpoints"),
        ("totalsegmentator", "TOTALSEG_WEIGHTS_PATH", ""),
        ("totalsegmentator", "TOTALSEG_HOME_DIR", "nnunet/results"),
    ],
)
def test_weights_are_looked_for_where_the_variable_says(
    fake, machine, monkeypatch, name, variable, below
):
    monkeypatch.setenv(variable, str(machine / "elsewhere"))
    assert f"are not in ${variable}" in _why_not(fake(name, "", weights=False), name)
    fake(name, "")
    assert ENGINES[name].weights_folder == machine / "elsewhere" / below
    assert find_engine(name).why_not("lobes") == ""


def _why_not(program, name):
    assert program.exists()
    return find_engine(name).why_not("lobes")


@pytest.mark.parametrize("part", range(291, 296))
def test_each_part_that_totalsegmentator_would_fetch_must_be_there(fake, part):
    fake("totalsegmentator", "")
    folder = ENGINES["totalsegmentator"].weights_folder
    (folder / f"Dataset{part}_x").unlink()
    assert f"Dataset{part}_*" in find_engine("totalsegmentator").why_not("lungs")


def test_labels_come_back_on_the_grid_of_the_ct(fake, small_ct):
    fake("lungmask", WRITES_LABELS)
    drawn = run_engine(small_ct, "lungmask", "lungs")
    assert drawn.image.geometry is small_ct.geometry
    assert drawn.convention == "lungmask"
    assert np.count_nonzero(drawn.image.array == 1) == 4 * 6 * 3
    assert "Apache-2.0" in drawn.words


def test_version_is_that_of_the_engines_environment(fake, machine):
    program = fake("lungmask", "")
    record = machine / "lib" / "python3.12" / "site-packages" / "lungmask-0.2.22.dist-info"
    record.mkdir(parents=True)
    assert program.parent.parent == machine
    assert find_engine("lungmask").version == "0.2.22"


def test_command_lines_are_those_of_the_programs():
    """As read in the sources of lungmask 0.2.22 and TotalSegmentator 2.18.0."""
    words = {name: [*engine.jobs["lobes"].arguments] for name, engine in ENGINES.items()}
    assert words["lungmask"] == ["ct.nii.gz", "labels.nii.gz", "--modelname", "LTRCLobes_R231"]
    first, second, *parts = " ".join(words["totalsegmentator"]).split(" --")
    assert first == "-i ct.nii.gz -o labels.nii.gz"
    assert second == "ml"
    assert parts[0].split()[0] == "roi_subset"
    assert CONVENTIONS["totalsegmentator"].labels[13] == "right_middle_lobe"
    assert CONVENTIONS["totalsegmentator"].labels[16] == "airways"
    assert CONVENTIONS["lungmask"].labels == {1: "right_lung", 2: "left_lung"}
    assert CONVENTIONS["lungmask-lobes"].labels[4] == "right_middle_lobe"


def test_engine_has_no_network_and_sends_no_statistics(fake, small_ct, machine):
    fake(
        "totalsegmentator",
        """
        import json, shutil
        home = os.environ["TOTALSEG_HOME_DIR"]
        seen = {"settings": json.load(open(home + "/config.json")), "words": sys.argv[1:]}
        seen["proxies"] = [os.environ[n] for n in ("https_proxy", "HTTP_PROXY", "ALL_PROXY")]
        seen["weights"] = os.environ["TOTALSEG_WEIGHTS_PATH"]
        json.dump(seen, open(os.path.expanduser("~/seen.json"), "w"))
        """
        + WRITES_LABELS.replace("\n", "\n        "),
    )
    run_engine(small_ct, "totalsegmentator", "lungs")
    seen = json.loads((machine / "home" / "seen.json").read_text(encoding="utf-8"))
    assert seen["settings"]["send_usage_stats"] is False
    assert set(seen["proxies"]) == {"http://127.0.0.1:9"}
    assert seen["weights"] == str(ENGINES["totalsegmentator"].weights_folder)
    assert "--roi_subset" in seen["words"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("print('no room on the card'); sys.exit(3)", r"ended with code 3 \(no room on the card\)"),
        ("pass", "ended without an error but wrote no labels"),
        (WRITES_LABELS.replace("= 1, 2", "= 0, 0"), "found nothing in this CT"),
        (
            WRITES_LABELS.replace("out.CopyInformation(ct)", "out.SetSpacing((9, 9, 9))"),
            "labels on another grid",
        ),
        ("open('labels.nii.gz', 'w').write('no image')", "labels.nii.gz"),
    ],
    ids=["failure", "no output", "empty", "wrong grid", "broken file"],
)
def test_what_an_engine_does_wrong_is_one_sentence(fake, small_ct, body, message):
    fake("lungmask", body)
    with pytest.raises(InputError, match=message):
        run_engine(small_ct, "lungmask", "lungs")


HANGS = """
import subprocess
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open(os.path.expanduser("~/pids"), "w").write(f"{os.getpid()} {child.pid}")
time.sleep(600)
"""


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def _gone(folder: Path) -> bool:
    pids = [int(word) for word in (folder / "home" / "pids").read_text(encoding="utf-8").split()]
    for _ in range(200):
        if not any(map(_alive, pids)):
            return True
        time.sleep(0.05)
    return False


needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")


@needs_proc
def test_cancel_ends_the_engine_and_its_children(fake, small_ct, machine):
    fake("lungmask", HANGS)

    def cancel(fraction: float, message: str) -> None:
        if (machine / "home" / "pids").exists():
            raise CancelledError

    with pytest.raises(CancelledError):
        run_engine(small_ct, "lungmask", "lungs", progress=cancel)
    assert _gone(machine)


@needs_proc
def test_engine_that_hangs_is_given_up(fake, small_ct, machine):
    fake("lungmask", HANGS)
    with pytest.raises(InputError, match=r"not done after 0\.02 minutes"):
        run_engine(small_ct, "lungmask", "lungs", timeout_min=0.02)
    assert not (machine / "home" / "pids").exists() or _gone(machine)


# ------------------------------------------------------------------------------- in the analyses


@pytest.fixture(scope="module")
def chest(toddler):
    return toddler


def _engine_that_copies(path: Path) -> str:
    return f"import shutil\nshutil.copyfile({str(path)!r}, 'labels.nii.gz')\n"


def _written(labels: np.ndarray, geometry: Geometry, path: Path) -> Path:
    from lungperfusion.resampling import to_sitk

    sitk.WriteImage(to_sitk(labels.astype(np.uint8), geometry), str(path))
    return path


@pytest.fixture
def lungmask_file(chest, machine):
    truth = chest.truth.lungs
    labels = np.zeros(truth.array.shape, np.uint8)
    for name, value in CONVENTION["lungmask"].items():
        labels[truth.mask(name)] = value
    return _written(labels, truth.geometry, machine / "truth.nii.gz")


def test_lungs_of_an_engine_are_used_and_compared(chest, fake, lungmask_file):
    from lungperfusion.io import read_labelmap
    from lungperfusion.segmentation.imports import import_regions

    fake("lungmask", _engine_that_copies(lungmask_file))
    found = find_regions(chest.ct, RegionOptions(lung_engine="lungmask"))
    gate = next(gate for gate in found.gates if gate.id == "engine_lungs")
    assert gate.verdict == "pass"
    assert gate.value > 0.97
    assert any("drawn by lungmask" in warning for warning in found.warnings)
    airways = found.lungs.mask("airways")
    assert airways.any()
    # The same labels from a file are the same lungs.
    given = import_regions(read_labelmap(lungmask_file), convention="lungmask").lungs
    for side in ("left_lung", "right_lung"):
        assert np.array_equal(found.lungs.mask(side), given.mask(side) & ~airways)


def test_lobes_of_an_engine_are_used_and_compared(chest, fake, machine):
    convention = CONVENTIONS["totalsegmentator"].labels
    truth = chest.truth.lobes
    labels = np.zeros(truth.array.shape, np.uint8)
    for value, name in convention.items():
        if name in truth.names.values():
            labels[truth.mask(name)] = value
    path = _written(labels, truth.geometry, machine / "lobes.nii.gz")
    counter = "open(os.path.expanduser('~/runs'), 'a').write('x')\n"
    fake("totalsegmentator", counter + _engine_that_copies(path))
    options = RegionOptions(
        lobes="auto", lung_engine="totalsegmentator", lobe_engine="totalsegmentator"
    )
    found = find_regions(chest.ct, options)
    assert (machine / "home" / "runs").read_text(encoding="utf-8") == "x"  # once for both
    gates = {gate.id: gate for gate in found.gates}
    assert gates["engine_lobes"].verdict in ("pass", "warn")
    assert gates["engine_lungs"].verdict == "pass"
    right = found.lobes.labelmap.mask("right_upper_lobe")
    assert np.count_nonzero(right) == pytest.approx(
        np.count_nonzero(truth.mask("right_upper_lobe")), rel=0.02
    )
    assert options.parameters["lobes"].startswith("engine TotalSegmentator")


def _boxes(shift: int = 0) -> Labelmap:
    labels = np.zeros((20, 20, 40), np.uint8)
    labels[2:18, 2:18, 2:18] = 1
    labels[2:18, 2:18, 22 + shift : 38] = 2
    geometry = Geometry.axial(labels.shape, (1.0, 1.0, 1.0))
    return Labelmap(labels, geometry, {1: "left_lung", 2: "right_lung"})


@pytest.mark.parametrize(
    ("shift", "verdict"), [(0, "pass"), (1, "pass"), (2, "warn"), (5, "fail"), (10, "fail")]
)
def test_lungs_that_differ_are_a_gate(shift, verdict):
    gate = lung_agreement(_boxes(), _boxes(shift), "an engine")
    assert gate.verdict == verdict
    assert gate.value == pytest.approx(2 * (16 - shift) / (32 - shift))


def test_missing_lung_is_disagreement():
    own = _boxes()
    alone = replace(own, array=np.where(own.array == 1, own.array, 0).astype(np.uint8))
    assert lung_agreement(own, alone, "an engine").verdict == "fail"


@pytest.mark.parametrize(("moved", "verdict"), [(0, "pass"), (1, "warn"), (6, "fail")])
def test_lobes_that_differ_are_a_gate(moved, verdict):
    def lobes(border: int) -> Labelmap:
        labels = np.full((20, 8, 8), 5, np.uint8)
        labels[border:] = 4
        geometry = Geometry.axial(labels.shape, (1.0, 1.0, 1.0))
        return Labelmap(labels, geometry, {4: "left_upper_lobe", 5: "left_lower_lobe"})

    gate = lobe_agreement(lobes(10), lobes(10 + moved), "an engine")
    assert gate.verdict == verdict
    if moved:
        assert gate.value == pytest.approx(moved / 10)


def refusal(capsys, words):
    from lungperfusion.__main__ import main

    assert main(words) == 2
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--engine", "lungs=nnunet"], "expects lungs=NAME or lobes=NAME"),
        (["--engine", "heart=lungmask"], "expects lungs=NAME or lobes=NAME"),
        (["--engine", "lungs=lungmask", "--engine", "lungs=lungmask"], "at most once"),
        (["--engine", "lungs=lungmask"], "no program lungmask was found"),
        (["--engine", "lungs=lungmask", "--lung-mask", "x.nrrd"], "not from both"),
    ],
)
def test_command_line_refuses(machine, capsys, tmp_path, words, message):
    ct = tmp_path / "ct.nrrd"
    image = sitk.GetImageFromArray(np.full((8, 8, 8), -1000, np.int16))
    sitk.WriteImage(image, str(ct))
    assert message in refusal(
        capsys, ["lungs", str(ct), "--out", str(tmp_path / "out"), "--quiet", *words]
    )
    assert not (tmp_path / "out").exists()

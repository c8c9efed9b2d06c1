"""The same bytes from processes and from a Dask cluster; what this machine can hold."""

from __future__ import annotations

import os
import sys

import pytest

from lungperfusion.batch import machine, workers
from lungperfusion.batch.engine import run_batch
from lungperfusion.batch.workers import DaskWorkers, LocalWorkers
from lungperfusion.errors import InputError


def tree(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def cluster():
    """Two single-threaded workers behind a scheduler, as on a cluster."""
    distributed = pytest.importorskip("distributed", reason="needs lungperfusion[cohort]")
    options = {"dashboard_address": None, "silence_logs": 50}

    def make(**more):
        return distributed.LocalCluster(
            **{"n_workers": 2, "threads_per_worker": 1, **options, **more}
        )

    return make


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_dask_gives_the_bytes_of_local_workers(cluster, order, manifest, tmp_path, chest_file):
    order("a", value=5.0)
    order("bad", fault="refuse")
    order("dies", fault="kill once")
    lines = manifest(
        "a,light,a.nrrd", "a,also,a.nrrd", "bad,light,bad.nrrd", "dies,light,dies.nrrd"
    )
    real = manifest_of_lungs(tmp_path, chest_file)
    cases = type(lines)((*lines.cases, *real.cases))

    here = run_batch(cases, tmp_path / "here", lambda _: LocalWorkers(2))
    (tmp_path / "dies.runs").unlink()
    with cluster() as made:
        address = made.scheduler_address
        there = run_batch(
            cases, tmp_path / "there", lambda _: DaskWorkers(address, tmp_path / "there")
        )

    assert (here.done, here.failed) == (there.done, there.failed) == (3, 1)
    for name in ("cases", "cases.csv", "cohort_tidy.csv", "cohort_wide.csv", "cohort_quality.csv"):
        first, second = tmp_path / "here" / name, tmp_path / "there" / name
        if first.is_dir():
            assert tree(first) == tree(second)
        else:
            assert first.read_bytes() == second.read_bytes()


def manifest_of_lungs(tmp_path, chest_file):
    from lungperfusion.batch.manifest import read_manifest

    path = tmp_path / "lungs.csv"
    path.write_text(f"case,analysis,ct\nreal,lungs,{chest_file}\n", encoding="utf-8")
    return read_manifest(path)


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_cluster_that_would_run_several_cases_in_one_process(cluster, tmp_path):
    with (
        cluster(n_workers=1, threads_per_worker=2, processes=False) as made,
        pytest.raises(InputError, match="runs 2 cases in one process; start workers with"),
    ):
        DaskWorkers(made.scheduler_address, tmp_path)


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_cluster_that_does_not_see_the_output(cluster, tmp_path):
    with (
        cluster(n_workers=1, processes=False) as made,
        pytest.raises(InputError, match="does not see the folder"),
    ):
        DaskWorkers(made.scheduler_address, tmp_path / "elsewhere")


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_no_scheduler(tmp_path, monkeypatch):
    pytest.importorskip("distributed", reason="needs lungperfusion[cohort]")
    monkeypatch.setattr(workers, "_CONNECT_S", 0.5)

    with pytest.raises(InputError, match="there is no Dask scheduler at tcp"):
        DaskWorkers("tcp://127.0.0.1:9", tmp_path)


def test_no_dask(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)

    with pytest.raises(InputError, match=r"install lungperfusion\[cohort\]"):
        DaskWorkers("tcp://127.0.0.1:9", tmp_path)


# ------------------------------------------------------------------------------------- machine


@pytest.mark.parametrize(
    ("cores", "memory_gib", "per_case_gib", "count"),
    [(8, 64.0, 4.0, 8), (8, 16.0, 4.0, 4), (8, 15.99, 4.0, 3), (8, 1.0, 4.0, 1), (1, 64.0, 4.0, 1)],
)
def test_workers_fit_cores_and_memory(monkeypatch, cores, memory_gib, per_case_gib, count):
    monkeypatch.setattr(machine, "usable_cores", lambda: cores)
    monkeypatch.setattr(machine, "available_memory_gib", lambda: memory_gib)

    assert machine.worker_count(per_case_gib) == count


def test_limits_of_a_container_count(monkeypatch, tmp_path):
    (tmp_path / "cpu.max").write_text("150000 100000\n", encoding="ascii")
    (tmp_path / "memory.max").write_text(f"{3 * 2**30}\n", encoding="ascii")
    (tmp_path / "memory.current").write_text(f"{2**30}\n", encoding="ascii")
    monkeypatch.setattr(machine, "_CGROUP", tmp_path)
    monkeypatch.setattr(machine, "_system_memory_bytes", lambda: 64 * 2**30)

    assert machine.usable_cores() == 1
    assert machine.available_memory_gib() == 2.0

    (tmp_path / "memory.max").write_text("max\n", encoding="ascii")
    assert machine.available_memory_gib() == 64.0


def test_python_of_slicer_is_found_beside_the_application(monkeypatch, tmp_path):
    assert machine.python_executable() == sys.executable
    name = "PythonSlicer.exe" if sys.platform == "win32" else "PythonSlicer"
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / name).write_text("", encoding="utf-8")
    monkeypatch.setenv("SLICER_HOME", str(tmp_path))
    for own in ("", str(tmp_path / "bin" / "SlicerApp-real")):
        monkeypatch.setattr(sys, "executable", own)
        assert machine.python_executable() == str(tmp_path / "bin" / name)

    monkeypatch.delenv("SLICER_HOME")
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "lib" / "Python"))
    assert machine.python_executable() == str(tmp_path / "bin" / name)

    monkeypatch.setattr(sys, "prefix", str(tmp_path / "a" / "b" / "c" / "d"))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(InputError, match="set SLICER_HOME"):
        machine.python_executable()


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="Linux tells, others do not")  # noqa: PTH110
def test_memory_of_a_block_is_its_own():
    with machine.watched_memory() as first:
        block = bytearray(200 * 2**20)
    del block
    with machine.watched_memory() as second:
        pass

    assert first.peak_mib - second.peak_mib > 100
    assert machine.resident_memory_mib() <= second.peak_mib + 1

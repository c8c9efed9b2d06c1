"""A batch comes to its end whatever happens, and loses nothing."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from lungperfusion.batch import engine, workers
from lungperfusion.batch.cases import CaseOutcome, JobOutcome
from lungperfusion.batch.engine import CODE_FILE, code_changed, run_batch
from lungperfusion.batch.workers import LocalWorkers
from lungperfusion.errors import InputError
from lungperfusion.io.checksums import is_whole, write_checksums

FOLDER = Path(__file__).parent


def runs(path):
    counter = path.with_suffix(".runs")
    return counter.read_text(encoding="utf-8").count("run") if counter.exists() else 0


def worked_on(path):
    """Numbers of the processes that took an input."""
    counter = path.with_suffix(".runs")
    text = counter.read_text(encoding="utf-8") if counter.exists() else ""
    return [int(word) for word in text.split() if word.isdigit()]


def alive(pid):
    if not hasattr(os, "kill") or os.name == "nt":
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not (state.exists() and state.read_text().rpartition(")")[2].split()[0] == "Z")


def wait_until(what, seconds=120):
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def tree(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def table(path):
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def statuses(out):
    rows = table(out / "cases.csv")
    return {(row["case"], row["analysis"]): (row["status"], row["reason"]) for row in rows}


def leftovers(out):
    """Anything of a case that is neither whole nor needed to go on."""
    return [
        path
        for path in (*(out / "cases").iterdir(), *(out / ".batch" / "part").rglob("*"))
        if path.name.startswith(".")
    ]


def test_every_case_ends_in_its_folder_and_in_the_tables(order, manifest, run, tmp_path):
    order("a", value=5.0)
    order("b", value=6.0)

    state = run(manifest("a,light,a.nrrd", "b,light,b.nrrd", "b,also,b.nrrd"))

    out = tmp_path / "out"
    assert (state.done, state.failed, state.left, state.kept) == (2, 0, 0, 0)
    assert sorted(path.name for path in (out / "cases").iterdir()) == ["a", "b"]
    assert sorted(tree(out / "cases" / "b")) == [
        *("also/checksums.json", "also/findings.csv", "also/measurements.csv"),
        *("also/report_parts.json", "also/results.json", "checksums.json"),
        *("light/checksums.json", "light/findings.csv", "light/measurements.csv"),
        *("light/report_parts.json", "light/results.json", "measurements.csv", "regions.csv"),
        *("report.html", "results.json"),
    ]
    assert statuses(out) == {
        ("a", "light"): ("done", ""),
        ("b", "light"): ("done", ""),
        ("b", "also"): ("done", ""),
    }
    wide = table(out / "cohort_wide.csv")
    assert [(row["case"], row["light_tlv_l.lungs"]) for row in wide] == [("a", "5"), ("b", "6")]
    assert wide[0]["light_tlv_l.right_lung"] == "NaN"
    tidy = table(out / "cohort_tidy.csv")
    assert len(tidy) == 9
    assert tidy[2]["reason"] == "no right lung"
    quality = table(out / "cohort_quality.csv")
    assert [row["case"] for row in quality] == ["a", "b", "b"]
    costs = table(out / "costs.csv")
    assert all(float(row["seconds"]) >= 0 for row in costs)  # 0.00 for so light a case
    assert leftovers(out) == []
    assert not list((out / ".batch" / "part").iterdir())


def test_failing_cases_stop_nothing_and_give_their_reason(order, manifest, run, tmp_path):
    faults = ("refuse", "bug", "memory", "full", "kill", "kill once", "grow")
    for fault in faults:
        order(fault.replace(" ", "-"), fault=fault)
    order("good")
    names = [fault.replace(" ", "-") for fault in (*faults, "good")]

    state = run(manifest(*(f"{name},light,{name}.nrrd" for name in names)))

    found = {case: value for (case, _), value in statuses(tmp_path / "out").items()}
    assert found["good"] == ("done", "")
    assert found["kill-once"] == ("done", "")
    assert found["refuse"] == ("failed", "<ct> at <ct> is no CT")
    reason = "unexpected ZeroDivisionError; see OUT/.batch/log/bug-light.txt"
    assert found["bug"] == ("failed", reason)
    assert found["memory"][1].startswith("out of memory")
    assert found["full"][1].startswith("the disk is full")
    assert found["kill"][1].startswith("the worker was killed (SIGKILL)")
    assert found["grow"][1].startswith("an input changed while it was being read")
    assert (state.done, state.failed, state.left) == (2, 6, 0)
    assert sorted(p.name for p in (tmp_path / "out" / "cases").iterdir()) == ["good", "kill-once"]
    log = (tmp_path / "out" / ".batch" / "log" / "bug-light.txt").read_text(encoding="utf-8")
    assert "light_analysis.py" in log
    assert "bug.nrrd" not in log
    assert runs(tmp_path / "memory.nrrd") == 2  # once beside others, once alone
    assert runs(tmp_path / "refuse.nrrd") == 1
    assert leftovers(tmp_path / "out") == []


def test_failed_analysis_leaves_the_others_of_its_case(order, manifest, run, tmp_path):
    order("a", value=5.0)
    bad = order("b", fault="refuse")
    lines = manifest("a,light,a.nrrd", "a,also,b.nrrd")

    run(lines)

    folder = tmp_path / "out" / "cases" / "a"
    assert sorted(p.name for p in folder.iterdir() if p.is_dir()) == ["light"]
    assert "is no CT" in (folder / "report.html").read_text(encoding="utf-8")
    wide = table(tmp_path / "out" / "cohort_wide.csv")
    assert wide[0]["status"] == "partly done"

    order("b", value=7.0)
    state = run(lines, resume=True)

    assert state.failed == 0
    assert sorted(p.name for p in folder.iterdir() if p.is_dir()) == ["also", "light"]
    assert (runs(tmp_path / "a.nrrd"), runs(bad)) == (1, 2)
    assert "is no CT" not in (folder / "report.html").read_text(encoding="utf-8")


def test_nothing_is_done_twice(order, manifest, run, tmp_path):
    paths = [order(name) for name in "ab"]
    lines = manifest("a,light,a.nrrd", "b,light,b.nrrd")
    run(lines)
    before = tree(tmp_path / "out" / "cases")

    state = run(lines, resume=True)

    assert (state.kept, [runs(path) for path in paths]) == (2, [1, 1])
    assert tree(tmp_path / "out" / "cases") == before


def test_other_code_is_known_before_a_batch_goes_on(order, manifest, run, tmp_path):
    out = tmp_path / "out"
    assert not code_changed(out)
    order("a")
    run(manifest("a,light,a.nrrd"))
    assert not code_changed(out)
    (out / CODE_FILE).write_text("0" * 64, encoding="ascii")
    assert code_changed(out)
    run(manifest("a,light,a.nrrd"), resume=True)
    assert not code_changed(out)
    (out / CODE_FILE).write_bytes(b"\xff")
    assert code_changed(out)


def test_what_was_left_beside_a_case_that_is_whole_goes(order, manifest, run, tmp_path):
    """A worker was killed after it had published the case and before it had cleaned up."""
    path = order("a")
    lines = manifest("a,light,a.nrrd")
    run(lines)
    (tmp_path / "out" / ".batch" / "part" / "a" / ".light-1.partial-half").mkdir(parents=True)

    state = run(lines, resume=True)

    assert (state.kept, runs(path)) == (1, 1)
    assert leftovers(tmp_path / "out") == []


def test_only_what_depends_on_a_change_is_run_again(order, manifest, run, tmp_path):
    a, b, c = (order(name, value=5.0) for name in "abc")
    lines = ["a,light,a.nrrd,1", "a,also,c.nrrd,1", "b,light,b.nrrd,1"]
    header = "case,analysis,ct,factor"
    run(manifest(*lines, header=header))

    order("a", value=8.0)
    state = run(manifest(*lines, header=header), resume=True)

    assert (state.kept, [runs(path) for path in (a, b, c)]) == (1, [2, 1, 1])
    rows = (tmp_path / "out" / "cases" / "a" / "measurements.csv").read_text(encoding="utf-8")
    assert "a,light,lungs,tlv,8," in rows

    lines[2] = "b,light,b.nrrd,2"
    run(manifest(*lines, header=header), resume=True)

    assert [runs(path) for path in (a, b, c)] == [2, 2, 1]


def test_same_content_with_another_date_is_not_run_again(order, manifest, run):
    path = order("a")
    lines = manifest("a,light,a.nrrd")
    run(lines)

    os.utime(path, ns=(1, 1))
    state = run(lines, resume=True)

    assert (state.kept, runs(path)) == (1, 1)


def test_other_version_runs_again(order, manifest, run, monkeypatch, tmp_path):
    path = order("a")
    lines = manifest("a,light,a.nrrd")
    run(lines)
    record = tmp_path / "out" / "cases" / "a" / "results.json"
    content = json.loads(record.read_text(encoding="utf-8"))
    content["analyses"]["light"]["key"] = "of an earlier version"
    record.write_text(json.dumps(content), encoding="utf-8")
    write_checksums(record.parent)

    run(lines, resume=True)

    assert runs(path) == 2


def test_removed_result_file_is_noticed(order, manifest, run, tmp_path):
    path = order("a")
    lines = manifest("a,light,a.nrrd")
    run(lines)
    before = tree(tmp_path / "out" / "cases")
    (tmp_path / "out" / "cases" / "a" / "light" / "findings.csv").unlink()

    run(lines, resume=True)

    assert runs(path) == 2
    assert tree(tmp_path / "out" / "cases") == before


def test_results_that_were_damaged_are_made_anew(order, manifest, run, tmp_path):
    damages = {
        "empty-map": ("light/measurements.csv", b""),
        "edited-table": ("measurements.csv", b"case,module\n"),
        "cut-report": ("report.html", None),
        "no-json": ("results.json", b"{"),
        "other-json": ("results.json", b'{"analyses": [], "failed": 3, "files": {"a": 1}}'),
        "deep-json": ("light/results.json", b"[" * 100_000),
        "no-sums": ("checksums.json", b"[]"),
        "sound": ("my note.txt", b"look again"),
    }
    paths = {name: order(name) for name in damages}
    lines = manifest(*(f"{name},light,{name}.nrrd" for name in damages))
    run(lines)
    out = tmp_path / "out"
    before = tree(out / "cases")
    for name, (file, content) in damages.items():
        path = out / "cases" / name / file
        path.write_bytes(path.read_bytes()[:-1] if content is None else content)
    for content, name in zip(
        (b"", b"[1]", b'{"light:ct": 3, "results": ["a"]}', b"\xff"), damages, strict=False
    ):
        (out / ".batch" / "seen" / f"{name}.json").write_bytes(content)
    (out / "costs.csv").write_bytes(b"\xff\x00")
    (out / "cohort_wide.csv").write_bytes(b"")

    state = run(lines, resume=True)

    assert (state.done, state.kept, state.failed) == (8, 1, 0)
    assert {name: runs(path) for name, path in paths.items()} == {
        name: 1 if name == "sound" else 2 for name in damages
    }
    after = tree(out / "cases")
    edited = {name: after.pop(name) for name in list(after) if "/edited/" in name}
    assert edited == {
        "edited-table/edited/measurements.csv": b"case,module\n",
        "cut-report/edited/report.html": before["cut-report/report.html"][:-1],
        "no-json/edited/results.json": b"{",
        "other-json/edited/results.json": damages["other-json"][1],
        "deep-json/edited/light/results.json": b"[" * 100_000,
    }
    assert after == before | {"sound/my note.txt": b"look again"}
    assert statuses(out)["edited-table", "light"] == (
        "done",
        "measurements.csv was changed since it was written, or is not of this program; it is kept "
        "as edited/measurements.csv",
    )
    assert len(table(out / "cohort_wide.csv")) == len(table(out / "costs.csv")) + 1 == 8
    assert leftovers(out) == []


def test_half_analyses_are_not_taken_for_whole_ones(order, manifest, run, tmp_path):
    path, bad = order("a"), order("b", fault="refuse")
    lines = manifest("a,light,a.nrrd", "a,also,b.nrrd")
    run(lines)
    shutil.rmtree(tmp_path / "out" / "cases" / "a")
    (part,) = (tmp_path / "out" / ".batch" / "part" / "a").glob("light-*")
    (part / "findings.csv").write_bytes(b"")

    run(lines, resume=True)

    assert (runs(path), runs(bad)) == (2, 2)
    assert is_whole(tmp_path / "out" / "cases" / "a")


def test_notes_of_the_user_stay_in_the_folder(order, manifest, run, tmp_path):
    order("a", value=5.0)
    run(manifest("a,light,a.nrrd"))
    note = tmp_path / "out" / "cases" / "a" / "my note.txt"
    note.write_text("look again", encoding="utf-8")

    order("a", value=6.0)
    run(manifest("a,light,a.nrrd"), resume=True)

    assert note.read_text(encoding="utf-8") == "look again"


def test_case_that_hangs_is_given_up(order, manifest, run, tmp_path, monkeypatch):
    hanging = order("hangs", fault="hang").with_suffix(".hangs")
    order("good")

    class TimeIsUp(threading.Thread):
        """Timer that goes off once, when the case hangs, however fast the machine is."""

        gone_off = False

        def __init__(self, seconds, function):
            super().__init__(daemon=True)
            assert seconds == 3600
            self.function, self.cancelled = function, threading.Event()

        def run(self):
            while not self.cancelled.wait(0.05):
                if hanging.exists() and not TimeIsUp.gone_off:
                    TimeIsUp.gone_off = True
                    self.function()

        def cancel(self):
            self.cancelled.set()

    monkeypatch.setattr(workers.threading, "Timer", TimeIsUp)
    lines = manifest("hangs,light,hangs.nrrd", "good,light,good.nrrd")
    state = run(lines, timeout_s=3600, workers=1)

    assert (state.done, state.failed) == (1, 1)
    assert "given up (--timeout)" in statuses(tmp_path / "out")["hangs", "light"][1]


def test_full_disk_ends_the_batch_and_resuming_finishes_it(
    order, manifest, run, monkeypatch, tmp_path
):
    order("a", fault="full")
    for name in "bcd":
        order(name)
    lines = manifest(*(f"{name},light,{name}.nrrd" for name in "abcd"))
    monkeypatch.setattr(engine, "_disk_is_full", lambda out: True)

    state = run(lines, workers=1)

    assert state.stopped.startswith("the disk is full")
    found = statuses(tmp_path / "out")
    assert found["a", "light"][0] == "failed"
    assert found["d", "light"] == ("not run", state.stopped)

    order("a")
    state = run(lines, resume=True)

    assert (state.done, state.failed, state.left) == (4, 0, 0)


def test_batch_killed_at_any_moment_goes_on_where_it_was(order, manifest, run, tmp_path):
    names = [f"c{number}" for number in range(6)]
    paths = [
        order(name, value=float(number), **({"until": "go"} if number > 1 else {}))
        for number, name in enumerate(names)
    ]
    lines = [f"{name},light,{name}.nrrd" for name in names]
    lines += [f"{name},also,{name}.nrrd" for name in names]
    plain = manifest(*lines)
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path\n"
        "from lungperfusion.batch.engine import run_batch\n"
        "from lungperfusion.batch.manifest import read_manifest\n"
        "from lungperfusion.batch.workers import LocalWorkers\n"
        "from lungperfusion.registry import Command\n"
        "if __name__ == '__main__':\n"
        "    light = {'title': 'Light', 'module': 'light_analysis'}\n"
        "    commands = {name: Command(name, '', **light) for name in ('light', 'also')}\n"
        "    manifest = read_manifest(Path(sys.argv[2]), commands)\n"
        "    run_batch(manifest, Path(sys.argv[3]), lambda n: LocalWorkers(2), resume=True)\n"
    )
    out = tmp_path / "out"
    command = [sys.executable, "-c", script, str(FOLDER), str(tmp_path / "manifest.csv"), str(out)]

    process = subprocess.Popen(command)
    wait_until(lambda: list((out / "cases").glob("c*")))
    process.kill()
    process.wait()
    wait_until(lambda: not any(alive(pid) for path in paths for pid in worked_on(path)))
    finished = {path.name for path in (out / "cases").glob("c*")}
    assert finished
    assert finished != set(names)
    (tmp_path / "go").touch()
    before = {path.stem: runs(path) for path in paths}

    state = run(plain, out=out, resume=True)

    assert (state.done, state.failed, state.left) == (6, 0, 0)
    assert {path.stem: runs(path) for path in paths if path.stem in finished} == {
        name: before[name] for name in finished
    }
    assert leftovers(out) == []
    run(plain, out=tmp_path / "whole")
    assert tree(out / "cases") == tree(tmp_path / "whole" / "cases")
    assert tree(out)["cohort_wide.csv"] == tree(tmp_path / "whole")["cohort_wide.csv"]


def test_ctrl_c_ends_the_workers_and_keeps_what_is_done(order, manifest, tmp_path):
    order("a")
    b, c = order("b", fault="hang"), order("c", fault="hang")

    def press(state, ended):
        if ended is not None:
            raise KeyboardInterrupt

    state = run_batch(
        manifest("a,light,a.nrrd", "b,light,b.nrrd", "c,light,c.nrrd"),
        tmp_path / "out",
        lambda _: LocalWorkers(2),
        listener=press,
    )

    assert state.interrupted
    assert not any(alive(pid) for path in (b, c) for pid in worked_on(path))
    found = statuses(tmp_path / "out")
    assert found["a", "light"] == ("done", "")
    assert found["b", "light"] == ("not run", "interrupted; give --resume to go on")


# ------------------------------------------------------------------------------------ workers


BATCH = """
import sys; sys.path.append(sys.argv[1])
from pathlib import Path
from lungperfusion.batch.engine import run_batch
from lungperfusion.batch.manifest import read_manifest
from lungperfusion.batch.workers import LocalWorkers
from lungperfusion.registry import Command
light = Command("light", "", title="Light", module="light_analysis")
manifest = read_manifest(Path(sys.argv[2]), {"light": light})
run_batch(manifest, Path(sys.argv[3]), lambda n: LocalWorkers(1))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs the help of the system")
def test_worker_that_holds_the_interpreter_dies_with_the_batch(order, manifest, tmp_path):
    path = order("a", fault="hold")
    manifest("a,light,a.nrrd")
    words = [str(FOLDER), str(tmp_path / "manifest.csv"), str(tmp_path / "out")]
    process = subprocess.Popen([sys.executable, "-c", BATCH, *words])
    wait_until(lambda: worked_on(path))
    time.sleep(0.2)  # it only makes the test sharper if the worker sleeps by now

    process.kill()
    process.wait()

    wait_until(lambda: not any(alive(pid) for pid in worked_on(path)))


def test_no_code_of_the_current_folder_is_run(order, manifest, run, monkeypatch, tmp_path):
    order("a")
    lines = manifest("a,light,a.nrrd")
    folder = tmp_path / "scans"
    folder.mkdir()
    for name in ("queue", "json", "numpy", "lungperfusion", "sitecustomize"):
        text = f"open({str(tmp_path / 'ran')!r}, 'a').write({name!r})"
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    monkeypatch.chdir(folder)
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep + os.environ.get("PYTHONPATH", "") + os.pathsep + "."
    )
    monkeypatch.syspath_prepend("")
    monkeypatch.syspath_prepend(str(folder))

    state = run(lines)

    assert state.done == 1
    assert not (tmp_path / "ran").exists()


def test_worker_that_cannot_start_says_why_and_ends_the_batch_once(
    order, manifest, run, monkeypatch, tmp_path
):
    paths = [order(name) for name in "abc"]
    lines = manifest(*(f"{name},light,{name}.nrrd" for name in "abc"))
    monkeypatch.setattr(workers, "_START", "import no_such_library")

    state = run(lines, workers=1)

    reason = (
        "no worker could be started: the worker died (exit code 1): "
        "ModuleNotFoundError: No module named 'no_such_library'"
    )
    assert state.stopped == f"{reason}; mend that and give --resume"
    assert statuses(tmp_path / "out")["a", "light"] == ("failed", reason)
    assert statuses(tmp_path / "out")["c", "light"] == ("not run", state.stopped)
    assert sum(map(runs, paths)) == 0


def test_last_words_of_a_worker_name_nobody(tmp_path):
    log = tmp_path / "worker.log"
    process = workers._Process.__new__(workers._Process)
    process._log = log
    for text, told, whole in (
        ("x\nOSError: no Иванова.nrrd\n", "OSError", "OSError: no Иванова.nrrd"),
        (
            "a\nFatal Python error: Aborted\n\nThread 1\n  File 'x'\n",
            *2 * ("Fatal Python error: Aborted",),
        ),
        ("Error reading Müller\nstill at work", "", ""),
    ):
        log.write_text(text, encoding="utf-8")
        assert process._last_words() == told
        assert process._last_words(whole=True) == whole


# ------------------------------------------------------------------------------ output folder


def test_output_that_cannot_be_used(order, manifest, run, tmp_path):
    order("a")
    lines = manifest("a,light,a.nrrd")
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(InputError, match="is a file; name a folder"):
        run(lines, out=tmp_path / "file")
    with pytest.raises(InputError, match="holds files but no batch"):
        run(lines, out=tmp_path)
    run(lines)
    with pytest.raises(InputError, match="holds a batch already; give --resume"):
        run(lines)


def test_output_inside_an_input_would_change_it(tmp_path, manifest, run):
    (tmp_path / "scan").mkdir()
    (tmp_path / "scan" / "slice").write_bytes(b"x")

    with pytest.raises(InputError, match=r"lies inside an input \(line 2, ct\)"):
        run(manifest("a,light,scan"), out=tmp_path / "scan" / "out")


def test_two_batches_do_not_share_an_output(order, manifest, run, tmp_path):
    order("a")
    with (
        engine.claimed(tmp_path / "out", resume=False),
        pytest.raises(InputError, match="another batch is working in"),
    ):
        run(manifest("a,light,a.nrrd"), resume=True)


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere"
)
def test_output_that_may_not_be_written(order, manifest, run, tmp_path):
    order("a")
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)

    with pytest.raises(InputError, match="cannot write to the output folder"):
        run(manifest("a,light,a.nrrd"), out=locked / "out")


def test_output_below_a_file_is_refused(order, manifest, run, tmp_path):
    path = order("a")

    with pytest.raises(InputError, match="cannot write to the output folder"):
        run(manifest("a,light,a.nrrd"), out=path / "out")


def test_time_left_follows_the_pace():
    state = engine.BatchState(total=10)
    assert state.seconds_left is None
    state.started_at = time.monotonic() - 100
    for number in range(5):
        state.outcomes[str(number)] = CaseOutcome(
            case=str(number),
            jobs=(JobOutcome(analysis="light", status="done"),),
        )

    assert state.seconds_left == pytest.approx(100, rel=0.01)
    state.running["5"] = engine.Running(0.0, fraction=0.5)
    assert state.seconds_left == pytest.approx(100 / 5.5 * 4.5, rel=0.01)


def test_signals_have_names():
    from lungperfusion.batch.workers import _death

    assert _death(-signal.SIGSEGV, "") == "the worker died (SIGSEGV)"
    assert "memory ran out" in _death(-signal.SIGKILL, "")
    assert "because memory ran out" in _death(-signal.SIGKILL, "", for_memory=True)
    assert _death(0xC0000005, "") == "the worker died (exit code 0xc0000005)"
    assert _death(1, "ImportError: no numpy").endswith("ImportError: no numpy")

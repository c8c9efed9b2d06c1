"""Files and folders appear whole or not at all, and never at the cost of the user's own files."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path

import pytest

from lungperfusion.errors import InputError
from lungperfusion.io import atomic, atomic_path, results_folder
from lungperfusion.io.atomic import kept_aside, recover
from lungperfusion.io.checksums import is_whole


def write_result(out: Path, files: dict[str, str], *, overwrite: bool = False) -> None:
    with results_folder(out, overwrite=overwrite) as folder:
        for name, text in files.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")


def content(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8")
        for path in folder.rglob("*")
        if path.is_file() and path.name not in ("checksums.json", ".lungperfusion.lock")
    }


def test_file_appears_when_whole(tmp_path):
    target = tmp_path / "new" / "a.seg.nrrd"
    with atomic_path(target) as temporary:
        assert temporary.name.endswith(".seg.nrrd")
        assert temporary.parent == target.parent
        temporary.write_text("whole")
        assert not target.exists()
    assert content(tmp_path) == {"new/a.seg.nrrd": "whole"}


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_failed_file_leaves_the_old_one(tmp_path, error):
    target = tmp_path / "a.csv"
    target.write_text("old")

    def write() -> None:
        with atomic_path(target) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        write()
    assert content(tmp_path) == {"a.csv": "old"}


def test_results_appear_at_the_end(tmp_path):
    out = tmp_path / "deep" / "out"
    with results_folder(out) as folder:
        assert folder.parent == out.parent
        assert list(folder.iterdir()) == []
        (folder / "a.csv").write_text("1")
        assert not out.exists()
    assert content(tmp_path) == {"deep/out/a.csv": "1"}


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("earlier", [False, True])
def test_interrupted_run_leaves_everything_as_it_was(tmp_path, error, earlier):
    out = tmp_path / "deep" / "out"
    if earlier:
        write_result(out, {"a.csv": "old"})
        (out / "mine.txt").write_text("note")
    before = content(tmp_path)

    def run() -> None:
        with results_folder(out, overwrite=True) as folder:
            (folder / "a.csv").write_text("half")
            raise error

    with pytest.raises(error):
        run()
    assert content(tmp_path) == before
    assert (tmp_path / "deep").exists() == earlier


def test_empty_folder_may_be_used(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    write_result(out, {"a.csv": "1"})
    assert set(content(out)) == {"a.csv"}


def test_second_run_needs_overwrite(tmp_path):
    out = tmp_path / "out"
    write_result(out, {"a.csv": "old"})
    with pytest.raises(InputError, match="holds results already; give --overwrite"):
        write_result(out, {"a.csv": "new"})
    assert content(out)["a.csv"] == "old"


def test_overwriting_replaces_results_and_keeps_the_rest(tmp_path):
    out = tmp_path / "out"
    write_result(out, {"a.csv": "old", "maps/old.nrrd": "old"})
    (out / "mine.txt").write_text("note")
    (out / "sub").mkdir()
    (out / "sub" / "more.txt").write_text("more")
    (out / "empty").mkdir()
    write_result(out, {"a.csv": "new", "b.csv": "new"}, overwrite=True)
    assert content(out) == {
        **{"a.csv": "new", "b.csv": "new", "mine.txt": "note", "sub/more.txt": "more"}
    }
    assert (out / "empty").is_dir()
    assert not (out / "maps").exists()
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


OURS = '"software": "SlicerLungPerfusion", "files": '
HASH = '"sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"'


@pytest.mark.parametrize(
    "record",
    [
        *(None, "", "{}", "[]", "no json", "[" * 100_000, f"{{{OURS}[1]}}", f'{{{OURS}"all"}}'),
        *(f'{{{OURS}{{"a": 1}}}}', f'{{{OURS}{{"a": {{"bytes": "5"}}}}}}'),
        f'{{{OURS}{{"../a": {{"bytes": 0, {HASH}}}}}}}',
        f'{{"software": "another", "files": {{"thesis.docx": {{"bytes": 0, {HASH}}}}}}}',
    ],
    ids=range(12),
)
@pytest.mark.parametrize("overwrite", [False, True])
def test_foreign_folder_is_never_touched(tmp_path, record, overwrite):
    out = tmp_path / "home"
    out.mkdir()
    (out / "thesis.docx").write_text("years")
    (out / "results.json").write_text(json.dumps({"files": ["thesis.docx", "results.json"]}))
    if record is not None:
        (out / "checksums.json").write_text(record)
    before = content(tmp_path)
    with pytest.raises(InputError, match="no results of this program"):
        write_result(out, {"a.csv": "1"}, overwrite=overwrite)
    assert content(tmp_path) == before


def test_file_that_was_edited_is_kept_when_a_new_one_takes_its_place(tmp_path):
    out = tmp_path / "out"
    write_result(out, {"lungs.seg.nrrd": "found", "maps/a.nrrd": "1", "old.csv": "old"})
    (out / "lungs.seg.nrrd").write_text("corrected")
    (out / "old.csv").write_text("with remarks")
    (out / "new.csv").write_text("mine")
    (out / "maps" / "a.nrrd").write_text("")  # damaged: nothing in it to keep
    told = []
    with results_folder(out, overwrite=True, tell=told.append) as folder:
        for name in ("lungs.seg.nrrd", "new.csv"):
            (folder / name).write_text("again")
    assert content(out) == {
        "edited/lungs.seg.nrrd": "corrected",
        "edited/new.csv": "mine",
        "lungs.seg.nrrd": "again",
        "new.csv": "again",
        "old.csv": "with remarks",
        "maps/a.nrrd": "",
    }
    assert [line.split(" was changed")[0] for line in told] == ["lungs.seg.nrrd", "new.csv"]
    assert told[0].endswith("kept as edited/lungs.seg.nrrd")

    (out / "new.csv").write_text("mine again")
    write_result(out, {"new.csv": "third", "maps": "a file now"}, overwrite=True)
    assert content(out) == {
        "edited/lungs.seg.nrrd": "corrected",
        "edited/new.csv": "mine",
        "edited-2/new.csv": "mine again",
        "maps": "a file now",
        "new.csv": "third",
        "old.csv": "with remarks",
    }


def test_two_runs_do_not_share_a_new_folder(tmp_path):
    out = tmp_path / "out"
    with results_folder(out) as folder:
        (folder / "a.csv").write_text("first")
        with pytest.raises(InputError, match="another run is writing"):
            write_result(out, {"b.csv": "second"})
    assert content(tmp_path) == {"out/a.csv": "first"}


def test_folder_that_was_filled_meanwhile_is_not_mixed_with_results(tmp_path):
    out = tmp_path / "out"

    def run() -> None:
        with results_folder(out) as folder:
            (folder / "a.csv").write_text("1")
            out.mkdir()
            (out / "note.txt").write_text("of another program")

    with pytest.raises(InputError, match="holds files but no results"):
        run()
    assert content(tmp_path) == {"out/note.txt": "of another program"}


def test_damaged_list_of_files_can_be_mended(tmp_path):
    out = tmp_path / "case"
    write_result(out, {"a.csv": "1", "b.csv": "2"})
    (out / "checksums.json").write_text("")
    (out / "b.csv").write_text("edited")
    with results_folder(out, overwrite=True, mend=True) as folder:
        (folder / "a.csv").write_text("1")
        (folder / "b.csv").write_text("2")
    assert content(out) == {"a.csv": "1", "b.csv": "2", "edited/b.csv": "edited"}
    assert is_whole(out)


class Killed(BaseException):
    """Stands for SIGKILL: what is on the disk then is copied before anything cleans up."""


def killed_at(out: Path, monkeypatch: pytest.MonkeyPatch, where: str, count: int = 1) -> Path:
    """Write a result into ``out`` and die at the nth call of a function; give the copy."""
    left = out.parent.with_name("left")
    calls: list[str] = []
    original = getattr(atomic.shutil if where == "rmtree" else atomic, where)

    def die(*arguments: object, **options: object) -> object:
        calls.append(where)
        if len(calls) != count:
            return original(*arguments, **options)
        shutil.copytree(out.parent, left)
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(atomic.shutil if where == "rmtree" else atomic, where, die)
        with pytest.raises(Killed):
            write_result(out, {"a.csv": "new", "sub/b.csv": "new"}, overwrite=True)
    return left / out.name


@pytest.mark.parametrize(
    ("where", "count", "earlier"),
    [
        *(
            (where, 1, earlier)
            for where in ("write_checksums", "_publish")
            for earlier in (False, True)
        ),
        *(("_rename", 1, False), ("_rename", 1, True), ("_rename", 2, True), ("rmtree", 1, True)),
    ],
)
def test_next_run_cleans_up_after_one_that_was_killed(tmp_path, monkeypatch, where, count, earlier):
    (tmp_path / "in" / ".out.d.partial-12345678").mkdir(parents=True)
    out = tmp_path / "in" / "out"
    if earlier:
        write_result(out, {"a.csv": "old"})
        (out / "mine.txt").write_text("note")
    out = killed_at(out, monkeypatch, where, count)
    here = out.parent
    assert len([entry for entry in here.iterdir() if entry.name.startswith(".out.")]) > 2
    recover(out)
    left = {path.name for path in here.iterdir()} - {".out.d.partial-12345678", ".out.lock"}
    assert left == ({"out"} if earlier else set())
    if earlier:
        new = where == "rmtree"
        found = content(out)
        assert found.pop("sub/b.csv", None) == ("new" if new else None)
        assert found == {"a.csv": "new" if new else "old", "mine.txt": "note"}
        assert is_whole(out)
    write_result(out, {"c.csv": "3"}, overwrite=True)
    assert {path.name for path in here.iterdir()} == {".out.d.partial-12345678", "out"}
    assert content(out) == {"c.csv": "3", **({"mine.txt": "note"} if earlier else {})}


@pytest.mark.parametrize("count", [1, 2, 3])
def test_moving_into_a_mount_point_goes_on_after_a_kill(tmp_path, monkeypatch, count):
    out = tmp_path / "in" / "out"
    write_result(out, {"a.csv": "old", "old.csv": "old"})
    (out / "a.csv").write_text("edited")
    with monkeypatch.context() as patched:
        patched.setattr(os.path, "ismount", lambda path: Path(path).name == "out")
        out = killed_at(out, monkeypatch, "_move_file", count)
    recover(out)
    assert content(out) == {"a.csv": "new", "sub/b.csv": "new", "edited/a.csv": "edited"}
    assert is_whole(out)
    assert {path.name for path in out.iterdir() if path.name.startswith(".")} == {
        ".lungperfusion.lock"
    }


def test_results_are_moved_into_a_folder_that_is_a_mount_point(tmp_path, monkeypatch):
    out = tmp_path / "out"
    out.mkdir()
    monkeypatch.setattr(os.path, "ismount", lambda path: Path(path) == out)
    with results_folder(out) as folder:
        assert folder.parent == out
        (folder / "sub").mkdir()
        (folder / "sub" / "a.csv").write_text("1")
    assert content(tmp_path) == {"out/sub/a.csv": "1"}
    (out / "sub" / "mine.txt").write_text("note")
    with pytest.raises(InputError, match="holds results already"):
        write_result(out, {"b.csv": "2"})
    write_result(out, {"b.csv": "2"}, overwrite=True)
    assert content(tmp_path) == {"out/b.csv": "2", "out/sub/mine.txt": "note"}
    assert is_whole(out)


def test_folder_that_cannot_be_renamed_is_filled_in_place(tmp_path, monkeypatch):
    """A bind mount on the same disk looks like any folder."""
    out = tmp_path / "out"
    write_result(out, {"a.csv": "old", "gone/b.csv": "old"})
    (out / "mine.txt").write_text("note")
    rename = atomic._rename

    def busy(source: Path, target: Path) -> None:
        if out in (source, target):
            raise OSError(errno.EBUSY, "busy")
        rename(source, target)

    monkeypatch.setattr(atomic, "_rename", busy)
    write_result(out, {"a.csv": "new"}, overwrite=True)
    assert content(tmp_path) == {"out/a.csv": "new", "out/mine.txt": "note"}
    assert not (out / "gone").exists()
    assert is_whole(out)


@pytest.mark.parametrize("name", ["x" * 250, "é" * 120, "[a-z]*", "a b"])
def test_any_name_that_the_system_takes(tmp_path, name):
    out = tmp_path / name
    for text in ("1", "2"):
        write_result(out, {f"{'n' * 200}.csv": text}, overwrite=True)
    assert content(out) == {f"{'n' * 200}.csv": "2"}
    with atomic_path(out / f"{'l' * 240}.seg.nrrd") as temporary:
        assert temporary.name.endswith(".seg.nrrd")
        temporary.write_text("x")
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


def test_earlier_file_of_another_content_is_kept(tmp_path):
    target, told = tmp_path / "manifest.csv", []
    (tmp_path / ".manifest.csv.lock").touch()
    (tmp_path / ".0123abcd.partial.manifest.csv").touch()
    for text in ("1", "1", "2", "3"):
        with kept_aside(target, told.append) as temporary:
            temporary.write_text(text)
    assert content(tmp_path) == {
        "manifest.csv": "3",
        "manifest.earlier-1.csv": "1",
        "manifest.earlier-2.csv": "2",
    }
    assert told[1] == "the earlier manifest.csv is kept as manifest.earlier-2.csv"


def test_earlier_file_stays_when_the_new_one_cannot_take_its_place(tmp_path, monkeypatch):
    target = tmp_path / "model.json"
    target.write_text("earlier")
    told: list[str] = []

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"), kept_aside(target, told.append) as temporary:
        temporary.write_text("new")
    assert content(tmp_path) == {"model.json": "earlier"}
    assert told == []


def test_output_that_is_a_file(tmp_path):
    out = tmp_path / "out"
    out.write_text("x")
    with pytest.raises(InputError, match="is a file; name a folder"):
        write_result(out, {})
    with pytest.raises(InputError, match="cannot create the folder"):
        write_result(out / "below", {})


def test_refused_before_any_work(tmp_path):
    out = tmp_path / "out"
    write_result(out, {"a.csv": "old"})
    with pytest.raises(InputError), results_folder(out):
        pytest.fail("work must not start")


def test_failed_exchange_gives_the_old_results_back(tmp_path, monkeypatch):
    """The folder is open in another program while the new one is put in its place."""
    out = tmp_path / "out"
    write_result(out, {"a.csv": "old"})
    replace = Path.replace

    def locked(self: Path, target: Path) -> Path:
        if ".partial-" in self.name:
            raise PermissionError(13, "locked")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", locked)
    monkeypatch.setattr("lungperfusion.io.atomic.time.sleep", lambda seconds: None)
    with pytest.raises(InputError, match="open in another program"):
        write_result(out, {"a.csv": "new"}, overwrite=True)
    assert content(out)["a.csv"] == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


def test_relative_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_result(Path("out"), {"a.csv": "1"})
    assert "a.csv" in content(tmp_path / "out")


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_link_to_a_folder_stays_a_link(tmp_path):
    (tmp_path / "disk").mkdir()
    out = tmp_path / "out"
    out.symlink_to(tmp_path / "disk")
    write_result(out, {"a.csv": "1"})
    assert out.is_symlink()
    assert "a.csv" in content(tmp_path / "disk")

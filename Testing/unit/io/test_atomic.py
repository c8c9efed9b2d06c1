"""Files and folders appear whole or not at all, and never at the cost of the user's own files."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from lungperfusion.errors import InputError
from lungperfusion.io import atomic_path, results_folder


def write_result(out: Path, files: dict[str, str], *, overwrite: bool = False) -> None:
    with results_folder(out, overwrite=overwrite) as folder:
        for name, text in files.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")
        listed = [*files, "results.json"]
        (folder / "results.json").write_text(json.dumps({"files": listed}), encoding="utf-8")


def content(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8")
        for path in folder.rglob("*")
        if path.is_file()
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
    assert set(content(out)) == {"a.csv", "results.json"}


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
    found = content(out)
    found.pop("results.json")
    assert found == {"a.csv": "new", "b.csv": "new", "mine.txt": "note", "sub/more.txt": "more"}
    assert (out / "empty").is_dir()
    assert not (out / "maps").exists()
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize(
    "record", [None, "{}", "[]", "no json", '{"files": "all"}', '{"files": [1]}']
)
@pytest.mark.parametrize("overwrite", [False, True])
def test_foreign_folder_is_never_touched(tmp_path, record, overwrite):
    out = tmp_path / "home"
    out.mkdir()
    (out / "thesis.docx").write_text("years")
    if record is not None:
        (out / "results.json").write_text(record)
    before = content(tmp_path)
    with pytest.raises(InputError, match="no results of this program"):
        write_result(out, {"a.csv": "1"}, overwrite=overwrite)
    assert content(tmp_path) == before


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

"""Temporary folders go with their block, or with the next process."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

import pytest

from lungperfusion.io.scratch import scratch_folder, sweep_scratch


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("error", [None, KeyboardInterrupt])
def test_folder_goes_with_its_block(root, error):
    def work() -> None:
        with scratch_folder() as folder:
            (folder / "image.dcm").write_bytes(b"x")
            if os.name != "nt":
                assert stat.S_IMODE(folder.stat().st_mode) == 0o700
            if error is not None:
                raise error

    if error is None:
        work()
    else:
        with pytest.raises(error):
            work()
    assert list(root.iterdir()) == []


def test_what_a_killed_process_left_is_swept(root):
    left = root / "lungperfusion-scratch-abc"
    left.mkdir()
    (left / "image.dcm").write_bytes(b"x")
    (root / "lungperfusion-scratch-abc.lock").touch()
    (root / "lungperfusion-scratch-of-a-file").touch()
    with scratch_folder() as folder:
        sweep_scratch()
        assert folder.is_dir()
        assert not left.exists()
    assert [path.name for path in root.iterdir()] == ["lungperfusion-scratch-of-a-file"]

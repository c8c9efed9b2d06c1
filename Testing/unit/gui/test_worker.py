"""The panels' child process ends clean and says why."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

LIBRARY = Path(__file__).parents[3] / "LungPerfusionLib"
START = (
    "import sys, runpy; sys.path.insert(0, sys.argv.pop(1)); "
    "runpy.run_module('lungperfusion_gui.worker', run_name='__main__', alter_sys=True)"
)


def worker(*words: str, cwd: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-P", "-c", START, str(LIBRARY), *words],
        stdout=subprocess.PIPE,
        text=True,
        cwd=cwd,
    )


def test_the_panels_start_is_the_one_tested_here():
    source = (LIBRARY / "lungperfusion_gui" / "job.py").read_text(encoding="utf-8")
    assert '"-P", "-c", _START' in source
    for line in START.split("; "):
        assert line in source.replace('"\n    "', "")


@pytest.mark.skipif(os.name == "nt", reason="Windows ends processes without asking them")
def test_termination_leaves_nothing_and_runs_nothing_of_the_current_folder(tmp_path):
    (tmp_path / "queue.py").write_text("open('ran', 'w')", encoding="utf-8")
    process = worker("phantom", "healthy", "--spacing", "2", "-o", "out", cwd=tmp_path)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob(".out.partial-*")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    process.communicate()
    assert process.returncode == 130
    assert [path.name for path in tmp_path.iterdir()] == ["queue.py"]


def test_trouble_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    process = worker("phantom", "small", "--spacing", "nan", "-o", "out", cwd=tmp_path)
    told = json.loads(process.communicate()[0].splitlines()[-1])
    assert (process.returncode, told) == (
        2,
        {"error": "spacing is a number, not nan; give a finite one"},
    )

"""Every example runs as it stands, from any folder."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "Examples").glob("*.py"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_example_runs(example, tmp_path):
    run = subprocess.run(
        [sys.executable, "-W", "error", example],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.returncode == 0, run.stderr
    assert re.search(r"\d", run.stdout), "an example shows numbers"
    assert list(tmp_path.iterdir()) == []


def test_examples_are_numbered_without_gaps():
    assert [path.name[:3] for path in EXAMPLES] == [
        f"{number:02}_" for number in range(1, len(EXAMPLES) + 1)
    ]

"""A clinical constant changed in its one place changes code, method texts, options and docs."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "LungPerfusionLib" / "lungperfusion"

DENSITY = """
import numpy as np
from lungperfusion.density import measure_density
from lungperfusion.regions import RegionSet
from lungperfusion.results.colours import density_classes
from lungperfusion.results.measure_table import measures_markdown
from lungperfusion.terms import MEASURES
from lungperfusion.terms.vq import VQ_MEASURES
from lungperfusion.volume import Geometry, Labelmap, Volume
geometry = Geometry((1, 1, 4), np.eye(4))
lungs = Labelmap(np.full((1, 1, 4), 1, np.uint8), geometry, {1: "left_lung"})
hu = np.array([[[-960, -945, -930, -800]]], np.int16)
rows = measure_density(Volume(hu, geometry, "HU"), RegionSet((lungs,)))
print([row.value for row in rows if (row.region, row.measure) == ("left_lung", "laa_950")][0])
print(MEASURES["laa_950"].formula)
print({m.id: m.formula for m in VQ_MEASURES}["prm_emphysema"])
print(measures_markdown())
print(density_classes())
"""

LOW = """
from lungperfusion.__main__ import make_parser
from lungperfusion.iodine.defects import find_defects
from lungperfusion.results.measure_table import measures_markdown
from lungperfusion.vq.classes import Thresholds
import inspect
print(Thresholds())
print(inspect.signature(find_defects).parameters["relative_below"].default)
words = "ctvq --expiration e --inspiration i -o o".split()
print(make_parser("ctvq").parse_args(words).low_perfusion)
print(measures_markdown())
"""


def run_with(tmp_path: Path, file: str, old: str, new: str, code: str) -> str:
    """Output of a program that sees a copy of the package with one constant changed."""
    copy = tmp_path / "lungperfusion"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    source = (copy / file).read_text(encoding="utf-8")
    assert source.count(old) == 1
    (copy / file).write_text(source.replace(old, new), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{code}"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_limit_of_emphysema(tmp_path):
    shown = run_with(
        tmp_path,
        "terms/density.py",
        "EMPHYSEMA_BELOW_HU = -950.0",
        "EMPHYSEMA_BELOW_HU = -940.0",
        DENSITY,
    )
    assert shown.startswith("50.0\n")  # -960 and -945 HU of four voxels
    assert "-940" in shown
    assert "-950" not in shown.replace("LAA-950", "")  # the names of measures stay


def test_limit_of_low_ventilation_and_perfusion(tmp_path):
    shown = run_with(tmp_path, "terms/vq.py", "LOW_SHARE = 0.6", "LOW_SHARE = 0.55", LOW)
    values, table = shown.split("#", 1)
    assert values.split() == ["Thresholds(ventilation=0.55,", "perfusion=0.55)", "0.55", "0.55"]
    assert "below 0.55 x the mean" in table
    assert "0.6 x" not in table


@pytest.mark.parametrize("limit", [-950, -910, -856, -700])
def test_limits_of_density_stand_in_terms_alone(limit):
    """As numbers in code; comments and docstrings may name them, and windows may end at them."""
    found = []
    for path in PACKAGE.rglob("*.py"):
        if path.parent.name in ("terms", "phantoms"):
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        windows = {
            end for node in ast.walk(tree) if isinstance(node, ast.Tuple) for end in node.elts
        }
        found += [
            f"{path.relative_to(PACKAGE)}:{node.lineno}"
            for node in ast.walk(tree)
            if node not in windows
            and isinstance(node, ast.UnaryOp)
            and isinstance(node.op, ast.USub)
            and isinstance(node.operand, ast.Constant)
            and node.operand.value == -limit
        ]
    assert found == []

"""A light analysis, manifests of it, and batches run on two worker processes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from lungperfusion.batch.engine import BatchState, run_batch
from lungperfusion.batch.manifest import Manifest, read_manifest
from lungperfusion.batch.workers import LocalWorkers
from lungperfusion.io import write_volume
from lungperfusion.phantoms import KINDS
from lungperfusion.registry import Command

FOLDER = Path(__file__).parent
LIGHT = {
    name: Command(name, "takes no time", title=name.capitalize(), module="light_analysis")
    for name in ("light", "also")
}
"""Two names of the light analysis, so that a case can have two."""


@pytest.fixture(autouse=True)
def _light_analysis_can_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(FOLDER)


@pytest.fixture
def order(tmp_path: Path) -> Callable[..., Path]:
    """``order("a", value=5)``: input file of the light analysis."""

    def write(name: str, **content: object) -> Path:
        path = tmp_path / f"{name}.nrrd"
        path.write_text(json.dumps({"value": 5.0, **content}), encoding="utf-8")
        return path

    return write


@pytest.fixture
def manifest(tmp_path: Path) -> Callable[..., Manifest]:
    """``manifest("a,light,a.nrrd", ...)``: manifest of such lines."""

    def read(*lines: str, header: str = "case,analysis,ct") -> Manifest:
        path = tmp_path / "manifest.csv"
        path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
        return read_manifest(path, LIGHT)

    return read


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., BatchState]:
    """``run(manifest)``: run it into ``tmp_path / "out"``."""

    def run(
        manifest: Manifest,
        *,
        out: Path = tmp_path / "out",
        timeout_s: float | None = 60,
        workers: int = 2,
        **options: object,
    ) -> BatchState:
        return run_batch(
            manifest, out, lambda _: LocalWorkers(workers, timeout_s=timeout_s), **options
        )

    return run


@pytest.fixture(scope="session")
def chest_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Coarse chest as NRRD."""
    path = tmp_path_factory.mktemp("chest") / "chest.nrrd"
    write_volume(KINDS["small"]((6.0, 6.0, 6.0)).ct, path)
    return path

"""One small chest with its xenon MRI, shared by the tests of this folder."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from lungperfusion.analysis.stages import remembering
from lungperfusion.io import write_labelmap, write_volume
from lungperfusion.phantoms.rendering import Phantom
from lungperfusion.phantoms.xenon import XenonPhantom
from lungperfusion.volume import Volume

if str(Path(__file__).parent) not in sys.path:
    sys.path.insert(0, str(Path(__file__).parent))  # for half_chest, nifti_layout

from half_chest import make_chest, make_mri


@pytest.fixture(scope="session", autouse=True)
def stages(tmp_path_factory: pytest.TempPathFactory):
    """Keep the join of one MRI and CT, which most tests ask for."""
    folder = tmp_path_factory.mktemp("stages")
    with remembering(folder):
        yield folder


@pytest.fixture(scope="session")
def chest() -> Phantom:
    return make_chest()


@pytest.fixture(scope="session")
def xenon(chest: Phantom) -> XenonPhantom:
    return make_mri(chest, matrix=80, samples=2)


@dataclass(frozen=True)
class Files:
    """The case as files."""

    folder: Path
    stages: Path

    def words(self, *more: str, maps: tuple[str, ...] = ("rbc-gas", "membrane-gas", "ventilation")):
        """Arguments of the command with these maps."""
        given = [word for name in maps for word in (f"--{name}", str(self.folder / f"{name}.nrrd"))]
        return ["xenon", *self.chest, "--mask", str(self.folder / "mask.nrrd"), *given, *more]

    @property
    def chest(self) -> list[str]:
        """Arguments for the CT; its lungs are given, which is quick."""
        lungs = ["--lung-mask", str(self.folder / "lungs.seg.nrrd"), "--lobes", "none"]
        kept = ["--keep-stages", str(self.stages)]
        return ["--ct", str(self.folder / "ct.nrrd"), *lungs, *kept]


@pytest.fixture(scope="session")
def files(
    chest: Phantom, xenon: XenonPhantom, stages: Path, tmp_path_factory: pytest.TempPathFactory
) -> Files:
    folder = tmp_path_factory.mktemp("xenon")
    write_volume(chest.ct, folder / "ct.nrrd")
    write_labelmap(chest.truth.lungs, folder / "lungs.seg.nrrd")
    for name in ("rbc_gas", "membrane_gas", "ventilation"):
        values = np.nan_to_num(getattr(xenon, name))
        volume = Volume(values, xenon.geometry, "1")
        write_volume(volume, folder / f"{name.replace('_', '-')}.nrrd")
    write_volume(Volume(xenon.mask.astype(np.float32), xenon.geometry, "1"), folder / "mask.nrrd")
    for name, image in (("gas", xenon.gas), ("dissolved", xenon.dissolved)):
        for part in ("real", "imag"):
            volume = Volume(getattr(image, part).astype(np.float32), xenon.geometry, "1")
            write_volume(volume, folder / f"{name}-{part}.nrrd")
    return Files(folder, stages)

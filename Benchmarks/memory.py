"""Peak resident memory of every analysis on a chest of full size, 512 x 512 x 600 voxels.

Memory keeps a study from being read on a hospital's laptop, and unlike time it is the same on a
busy machine.  Images are phantoms made coarse, interpolated to the wanted grid with fresh noise;
half as many slices tell how memory grows.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from Benchmarks import Figure
from Benchmarks._measured import run_command
from Benchmarks.lungs_speed import enlarged
from lungperfusion.io import write_volume
from lungperfusion.phantoms.kinds import DUAL_ENERGY_KINDS, KINDS
from lungperfusion.phantoms.patient import make_patient
from lungperfusion.volume import Volume

SLICES = 600
FIELD_MM = 360.0
LIMIT_GIB = 4.0
"""A laptop of 8 GiB leaves some 5 GiB to one program."""

PAIR_LIMIT_GIB = 4.5
"""Of two whole scans."""


def chest() -> dict[str, Volume]:
    return {"chest": KINDS["small"]((2.8, 2.8, 2.8)).ct}


def dual_energy() -> dict[str, Volume]:
    made = DUAL_ENERGY_KINDS["dect_defects"]((3.0, 3.0, 3.0))
    return {"low": made.low, "high": made.high}


def breaths() -> dict[str, Volume]:
    made = make_patient(2.8)
    return {"expiration": made.expiration, "inspiration": made.inspiration}


Images = Callable[[], dict[str, Volume]]
COMMANDS: dict[str, tuple[Images, str, float]] = {
    "lungs": (chest, "lungs {chest}", LIMIT_GIB),
    "lobes": (chest, "lobes {chest}", LIMIT_GIB),
    "vesselbv": (chest, "vesselbv {chest}", LIMIT_GIB),
    "ipv": (dual_energy, "ipv --low {low} --high {high} --kv 80 140Sn", LIMIT_GIB),
    "ctvq": (
        breaths,
        "ctvq --expiration {expiration} --inspiration {inspiration}",
        PAIR_LIMIT_GIB,
    ),
}
"""Images, words and limit of each command."""


def peak_gib(images: Images, words: str, slices: int) -> float:
    """Peak of one command, report included, on images of so many slices."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        paths = {}
        for name, coarse in images().items():
            paths[name] = folder / f"{name}.nrrd"
            spacing_mm = (FIELD_MM / 512, FIELD_MM / 512, FIELD_MM / slices)
            write_volume(enlarged(coarse, (slices, 512, 512), spacing_mm), paths[name])
        arguments = [word.format(**paths) for word in words.split()]
        _, gib = run_command([*arguments, "-o", str(folder / "out"), "--quiet"])
    return gib


def main() -> Iterator[Figure]:
    """Measure every command at half and at full size."""
    for command, (images, words, limit_gib) in COMMANDS.items():
        half, full = (peak_gib(images, words, slices) for slices in (SLICES // 2, SLICES))
        name = f"{command}, 512 x 512 x {SLICES}: peak memory"
        yield Figure(name=name, value=full, unit="GiB", at_most=limit_gib)
        yield Figure(name=f"{command}: half the slices", value=half, unit="GiB")
        yield Figure(
            name=f"{command}: growth over that of voxels", value=full / half / 2, at_most=1.1
        )

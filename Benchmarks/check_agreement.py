"""Whether ``check`` says of a scan what the analysis ``lungs`` then does with it.

Chests of every kind, cropped, tilted, padded, small, thick, mirrored, no chest at all, and the real
scans where they are present.  Compared are the refusal, each gate that both look at, and whether
there is anything to be careful of.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from Benchmarks import Figure
from lungperfusion.analysis.lungs import analyse_lungs
from lungperfusion.analysis.regions import RegionOptions, find_regions
from lungperfusion.checking import WORDS, ScanCheck, check_ct, gates_at_a_glance
from lungperfusion.errors import InputError
from lungperfusion.io import read_ct
from lungperfusion.phantoms import KINDS
from lungperfusion.quality import Gate
from lungperfusion.terms.gates import concerns
from lungperfusion.volume import Geometry, Volume

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
REAL = (
    "contrast_chest_ct/ct.nii.gz",
    "lung_kernel_chest_ct/ct.nii.gz",
    "lower_lungs_ctpa/ct.nii.gz",
    "chest_64/ct-64.nrrd",
    "lung_followup_pair/baseline.nii.gz",
    "lung_followup_pair/followup.nii.gz",
)
SPACING_MM = (4.0, 4.0, 4.0)
GATES_AGREE, VERDICTS_AGREE = 0.9, 0.9


def scaled(ct: Volume, factor: float) -> Volume:
    """Give the same chest in another size."""
    matrix = ct.geometry.ijk_to_ras @ np.diag([factor, factor, factor, 1.0])
    return replace(ct, geometry=Geometry(ct.geometry.shape, matrix))


def averaged(ct: Volume, *factors: int) -> Volume:
    """Average blocks of voxels, as thick slices do."""
    k, j, i = (n // f * f for n, f in zip(ct.array.shape, factors, strict=True))
    blocks = ct.array[:k, :j, :i].reshape(
        k // factors[0], factors[0], j // factors[1], factors[1], i // factors[2], factors[2]
    )
    matrix = ct.geometry.ijk_to_ras @ np.diag([*factors[::-1], 1.0])
    small = np.rint(blocks.mean(axis=(1, 3, 5))).astype(np.int16)
    return Volume(small, Geometry(small.shape, matrix), "HU")


def turned(ct: Volume, degrees: float) -> Volume:
    """Lay the axes of the image askew in the patient."""
    turn, angle = np.eye(4), np.radians(degrees)
    turn[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return replace(ct, geometry=Geometry(ct.geometry.shape, turn @ ct.geometry.ijk_to_ras))


def phantoms() -> Iterator[tuple[str, Volume]]:
    """Make chests of all kinds, and others out of a healthy one."""
    made = KINDS["small"](SPACING_MM)
    ct, lungs = made.ct, made.truth.lungs.array > 0
    k, _, i = ct.array.shape
    whole = slice(None)
    yield "upper half", ct.crop((slice(k // 2, k), whole, whole))
    yield "lower half", ct.crop((slice(0, k // 2), whole, whole))
    yield "right half", ct.crop((whole, whole, slice(0, i // 2)))
    yield "abdomen", ct.crop((slice(0, max(3, int(np.nonzero(lungs)[0].min()))), whole, whole))
    yield "lungs filled", ct.with_array(np.where(ct.array < -300, np.int16(30), ct.array))
    yield "oblique", turned(ct, 20.0)
    for name, axis in (("upside down", 0), ("face down", 1), ("mirrored", 2)):
        yield name, ct.with_array(np.flip(ct.array, axis).copy())
    for name, factor in (("child", 0.6), ("infant", 0.4), ("newborn", 0.3), ("mouse", 0.07)):
        yield name, scaled(ct, factor)
    yield "slices of 8 mm", averaged(ct, 2, 1, 1)
    yield "voxels of 8 mm", averaged(ct, 2, 2, 2)
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 60, ct.array.shape)
    yield "much noise", ct.with_array(np.rint(ct.array + noise).astype(np.int16))
    yield "offset of 40 HU", ct.with_array((ct.array + 40).astype(np.int16))
    for kind, recipe in KINDS.items():
        yield kind, recipe(None if kind == "thick_slices" else SPACING_MM).ct


def real() -> Iterator[tuple[str, Volume]]:
    """Read the real scans."""
    for name in REAL:
        if (DATA / name).is_file():
            yield name.partition(".")[0], read_ct(DATA / name).volume


def analysed(ct: Volume) -> tuple[str, dict[str, Gate], bool]:
    """Analyse a scan: why it is refused, else its gates and whether they lower any value."""
    try:
        found = find_regions(ct, RegionOptions())
    except InputError as error:
        return str(error), {}, False
    analysis = analyse_lungs(ct, found, pictures=False)
    gates = {gate.id: gate for gate in analysis.gates if gate.id in WORDS}
    lowered = any(concerns(gate.id, gate.verdict, "lungs") for gate in gates.values())
    return "", gates, lowered


def compared(name: str, ct: Volume, count: Counter[str]) -> None:
    """Count where both agree, and say where they do not."""
    checked: ScanCheck = check_ct(ct)
    said = next(suits for suits in checked.suits if suits.analysis == "lungs").suits
    refusal, gates, lowered = analysed(ct)
    count["scans"] += 1
    count["refusals agree"] += (said == "no") == bool(refusal)
    done = "no" if refusal else "caution" if lowered else "yes"
    count["verdicts agree"] += said == done
    if said != done:
        print(f"  {name}: check says {said}, lungs {done} {refusal}", flush=True)
    glance = {} if refusal or said == "no" else gates_at_a_glance(ct)
    for gate_id in sorted(glance.keys() & gates.keys()):
        mine, theirs = glance[gate_id].verdict, gates[gate_id].verdict
        count["gates"] += 1
        count["gates agree"] += mine == theirs
        if mine != theirs:
            print(f"  {name}: {gate_id} {mine}, lungs {theirs}", flush=True)


def main() -> list[Figure]:
    count: Counter[str] = Counter()
    for source in (real, phantoms):
        for name, ct in source():
            compared(name, ct, count)
    scans, gates = count["scans"], count["gates"]
    return [
        Figure(name="scans", value=scans, at_least=20),
        Figure(name="refusals agree", value=count["refusals agree"] / scans, at_least=1.0),
        Figure(
            name="verdicts agree", value=count["verdicts agree"] / scans, at_least=VERDICTS_AGREE
        ),
        Figure(name="gates compared", value=gates),
        Figure(name="gates agree", value=count["gates agree"] / gates, at_least=GATES_AGREE),
    ]

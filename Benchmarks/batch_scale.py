"""A cohort of 240 small chests with injected faults: nothing lost, nothing half-written.

Every ninth case or so is corrupt, vanishes after the manifest was checked, kills its worker, once
or always, meets a full disk, or runs out of memory.  The whole batch is killed on its way, some
inputs change, and it is started again.  Every good case is then compared with a single run.
"""

from __future__ import annotations

import contextlib
import csv
import io
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from Benchmarks import Figure
from lungperfusion import registry
from lungperfusion.__main__ import main as run_command
from lungperfusion.batch.cases import CaseOutcome
from lungperfusion.batch.engine import BatchState, run_batch
from lungperfusion.batch.manifest import Manifest, read_manifest
from lungperfusion.batch.workers import LocalWorkers
from lungperfusion.errors import InputError
from lungperfusion.io import write_volume
from lungperfusion.phantoms import KINDS
from lungperfusion.volume import Volume

ROOT = Path(__file__).resolve().parents[1]
CASES = int(os.environ.get("BATCH_SCALE_CASES", "240"))
PACE_CASES = CASES // 2
SPACING_MM = (8.0, 8.0, 8.0)
CHESTS = 4
COMMANDS = {"lungs": replace(registry.COMMANDS["lungs"], module="Benchmarks._faulty_lungs")}
FAULT_OF = {
    7: "corrupt",
    20: "missing",
    33: "kill",
    46: "kill once",
    59: "full disk",
    72: "memory",
}
"""Fault of case number n, by n modulo `FAULT_EVERY`."""
FAULT_EVERY = 80
CHANGED = 6
RECOVERS = {"", "kill once"}
"""Faults after which a case is good all the same."""


def fault_of(number: int) -> str:
    return FAULT_OF.get(number % FAULT_EVERY, "")


def name_of(number: int) -> str:
    return f"case-{number:03d}"


def write_case(folder: Path, chests: list[Volume], number: int, seed: int = 0) -> None:
    """Give every case a chest of its own: other noise on one of a few."""
    chest = chests[number % len(chests)]
    noise = np.random.default_rng([number, seed]).integers(-8, 9, chest.array.shape)
    volume = chest.with_array((chest.array + noise).astype(np.int16))
    write_volume(volume, folder / f"{name_of(number)}.nrrd")


def write_manifest(path: Path, numbers: Iterable[int], *, faults: bool = True) -> Manifest:
    lines = ["case,analysis,ct,fault,no_report"]
    for number in numbers:
        fault = fault_of(number) if faults else ""
        option = fault if fault in {"kill", "kill once", "full disk", "memory"} else ""
        report = "" if number % 10 == 0 else "yes"
        lines.append(f"{name_of(number)},lungs,{name_of(number)}.nrrd,{option},{report}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return read_manifest(path, COMMANDS)


def killed_on_its_way(manifest: Path, out: Path) -> int:
    """Start the batch in a process of its own, kill that at a third; number of finished cases."""
    code = (
        "import sys\nfrom pathlib import Path\nfrom Benchmarks import batch_scale as b\n"
        "b.run_batch(b.read_manifest(Path(sys.argv[1]), b.COMMANDS), Path(sys.argv[2]), "
        "lambda n: b.LocalWorkers(2), resume=True)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(manifest), str(out)], cwd=ROOT)
    while process.poll() is None and len(list((out / "cases").glob("case-*"))) < CASES // 3:
        time.sleep(0.05)
    process.kill()
    process.wait()
    time.sleep(2)  # the workers notice that their input has closed
    return len(list((out / "cases").glob("case-*")))


def half_written(out: Path) -> list[Path]:
    found = [path for path in (out / "cases").iterdir() if path.name.startswith(".")]
    found += list((out / ".batch" / "part").rglob(".*"))
    found += [
        path
        for path in (out / "cases").rglob("measurements.csv")
        if path.read_text(encoding="utf-8") == "half"
    ]
    return found


def same_as_single(out: Path, data: Path, number: int, scratch: Path) -> bool:
    arguments = ["lungs", str(data / f"{name_of(number)}.nrrd"), "--case", name_of(number)]
    arguments += ["-o", str(scratch), "--overwrite", "--no-report", "--quiet"]
    if run_command(arguments):
        return False
    folder = out / "cases" / name_of(number) / "lungs"
    return all(
        (folder / name).is_file() and (folder / name).read_bytes() == (scratch / name).read_bytes()
        for name in ("measurements.csv", "lungs.seg.nrrd")
    )


def main() -> list[Figure]:
    sys.path.insert(0, str(ROOT))  # workers look for modules where this process does
    with tempfile.TemporaryDirectory(prefix="batch-scale-") as folder:
        data, out = Path(folder) / "data", Path(folder) / "out"
        data.mkdir()
        chests = [KINDS["small"](SPACING_MM, seed=seed).ct for seed in range(1, CHESTS + 1)]
        for number in range(CASES):
            write_case(data, chests, number)
        return [*faults(data, out, chests), *pace(data, Path(folder))]


def faults(data: Path, out: Path, chests: list[Volume]) -> list[Figure]:
    everything = range(CASES)
    by_fault = {
        fault: [n for n in everything if fault_of(n) == fault] for fault in FAULT_OF.values()
    }
    for number in by_fault["corrupt"]:
        path = data / f"{name_of(number)}.nrrd"
        path.write_bytes(path.read_bytes()[:-1000])
    path = data / "manifest.csv"
    manifest = write_manifest(path, everything)
    doubled = data / "doubled.csv"
    doubled.write_text(
        path.read_text(encoding="utf-8") + f"{name_of(0)},lungs,{name_of(0)}.nrrd,,\n",
        encoding="utf-8",
    )
    try:
        read_manifest(doubled, COMMANDS)
        refused = 0
    except InputError:
        refused = 1

    finished = killed_on_its_way(path, out)
    for number in by_fault["missing"]:
        (data / f"{name_of(number)}.nrrd").unlink()
    first = run_batch(manifest, out, lambda _: LocalWorkers(2), resume=True)

    good = [n for n in everything if fault_of(n) in RECOVERS]
    changed = [n for n in good if fault_of(n) == ""][5 :: len(good) // CHANGED][:CHANGED]
    for number in changed:
        write_case(data, chests, number, seed=1)
    second = run_batch(manifest, out, lambda _: LocalWorkers(2), resume=True)
    computed = {
        name
        for name, outcome in second.outcomes.items()
        if any(job.status == "done" for job in outcome.jobs)
    }

    scratch = out.parent / "single"
    quiet = io.StringIO()
    with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
        same = sum(same_as_single(out, data, number, scratch) for number in good)
    with (out / "cases.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    failed = {row["case"] for row in rows if row["status"] == "failed" and row["reason"]}
    expected = {name_of(n) for n in everything if fault_of(n) not in RECOVERS}
    return [
        Figure(name="cases in the cohort", value=CASES, at_least=min(CASES, 200)),
        Figure(name="manifest with a duplicate refused", value=refused, at_least=1),
        Figure(name="cases finished when the batch was killed", value=finished),
        Figure(
            name="of them kept when it was started again",
            value=first.kept,
            # those that vanish meanwhile are no longer good
            at_least=finished - len(by_fault["missing"]),
        ),
        Figure(name="good cases identical to a single run", value=same, at_least=len(good)),
        Figure(
            name="bad cases in cases.csv with their reason",
            value=len(failed & expected),
            at_least=len(expected),
        ),
        Figure(name="good cases that failed", value=len(failed - expected), at_most=0),
        Figure(name="half-written folders", value=len(half_written(out)), at_most=0),
        Figure(
            name=f"run again after {CHANGED} inputs changed",
            value=len(computed),
            at_least=CHANGED,
            at_most=CHANGED,
        ),
    ]


def pace(data: Path, folder: Path) -> list[Figure]:
    """Throughput with one worker and with two, and memory of the one over many cases."""
    numbers = [n for n in range(CASES) if fault_of(n) in RECOVERS][:PACE_CASES]
    manifest = write_manifest(data / "pace.csv", numbers, faults=False)
    rates: dict[int, float] = {}
    resident: list[float] = []
    for count in (1, 2):
        arrivals: list[float] = []

        def note(
            _: BatchState, ended: CaseOutcome | None, arrivals: list[float] = arrivals
        ) -> None:
            if ended is not None:
                arrivals.append(time.monotonic())

        def workers(_: int, count: int = count) -> LocalWorkers:
            return LocalWorkers(count)

        state = run_batch(manifest, folder / f"pace-{count}", workers, listener=note)
        warm = len(arrivals) // 10  # without the start of the processes
        rates[count] = (len(arrivals) - 1 - warm) / (arrivals[-1] - arrivals[warm])
        if count == 1:
            resident = [o.resident_mib for o in state.outcomes.values() if o.resident_mib]
    figures = [
        Figure(name="throughput of one worker", value=3600 * rates[1], unit="cases/h"),
        Figure(name="throughput of two workers", value=3600 * rates[2], unit="cases/h"),
        Figure(name="two workers against one", value=rates[2] / rates[1], unit="x", at_least=1.8),
    ]
    if resident:
        tenth = max(1, len(resident) // 10)
        early = float(np.median(resident[tenth : 3 * tenth]))
        late = float(np.median(resident[-2 * tenth :]))
        figures += [
            Figure(name="memory of a worker, early cases", value=early, unit="MiB"),
            Figure(name="memory of a worker, last cases", value=late, unit="MiB"),
            Figure(name="growth over all cases", value=late - early, unit="MiB", at_most=10.0),
        ]
    return figures

"""Reliability under kills, failing writes and limits of memory; ``make torture``.

Trials are drawn from a seed and end after a time, so that a run is bounded and can be repeated.
They fork this process, which has the libraries loaded, and need Linux.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import io
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np

os.environ["LUNGPERFUSION_THREADS"] = "1"  # Python waits for ever for a thread without memory
ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "LungPerfusionLib"), str(ROOT / "Testing" / "unit" / "batch")]

from lungperfusion import __main__ as command  # noqa: E402
from lungperfusion.batch.analyses import analysis_names  # noqa: E402
from lungperfusion.io.checksums import is_whole  # noqa: E402
from lungperfusion.measurement import measured  # noqa: E402
from lungperfusion.pipelines.output import Outcome, add_output_arguments, carry_out  # noqa: E402
from lungperfusion.pipelines.phantom import write_dicom  # noqa: E402
from lungperfusion.pipelines.stages import remembered  # noqa: E402
from lungperfusion.results.analysis import Analysis, Table  # noqa: E402
from lungperfusion.terms import LOBES  # noqa: E402
from lungperfusion.volume import Geometry, Labelmap, Volume  # noqa: E402

SHAPE = (24, 24, 24)
GEOMETRY = Geometry.axial(SHAPE, (2.0, 2.0, 2.0))
NOTE, CORRECTED = "my note", "my correction"
AGREE_HEADER = "region,ct_percent,reference_percent,volume_percent\n"


# ------------------------------------------------------------------------------------ commands


def heavy_step(value: float) -> Volume:
    """Stand for a long step whose result is kept."""
    return Volume(np.full(SHAPE, value, np.float32), GEOMETRY, "mg/mL")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--value", type=float, default=1.0)
    add_output_arguments(parser)


def run(arguments: argparse.Namespace, progress) -> int:
    """Write every kind of file as the analyses do."""

    def work(progress) -> Outcome:
        image = remembered(heavy_step, arguments.value)
        labels = np.zeros(SHAPE, np.uint8)
        labels[4:20, 4:20, 4:20] = 1
        analysis = Analysis(
            module="lungs",
            measurements=(measured("lungs", "tlv", arguments.value, "torture"),),
            maps={"iodine": image},
            labelmaps={"lungs": Labelmap(labels, GEOMETRY, {1: "left_lung"})},
            tables={"findings": Table(("name",), ({"name": "a"},))},
        )
        source = SimpleNamespace(name="scan", sha256="0" * 64, warnings=())
        return Outcome(analysis, {"ct": source})

    return carry_out(arguments, work, progress)


def prepare(folder: Path) -> dict[str, list[str]]:
    """Inputs of the light commands, and the words of each."""
    sys.modules["lungperfusion.pipelines.analysis"] = sys.modules[__name__]
    analysis_names()  # loads all commands before any fork
    command.COMMANDS["analysis"] = "every analysis writes as this one does"
    rng = np.random.default_rng(0)
    shape = (80, 8, 8)
    hu = rng.integers(-1000, 100, shape).astype(np.int16)
    ct = Volume(hu, Geometry.axial(shape, (2.0, 2.0, 2.0)), "HU")
    (folder / "dicom").mkdir()
    write_dicom(ct, folder / "dicom" / "one", kind="torture")
    for number in range(3):
        case = folder / "compared" / f"case{number}"
        case.mkdir(parents=True)
        rows = [f"{lobe},{20 + i + number},{21 + i},{20 + i}\n" for i, lobe in enumerate(LOBES)]
        (case / "reference_comparison.csv").write_text(
            AGREE_HEADER + "".join(rows), encoding="utf-8"
        )
    quiet = ["--quiet", "--overwrite", "-o"]
    return {
        "analysis": ["analysis", "--keep-stages", "STAGES", *quiet],
        "manifest": ["manifest", str(folder / "dicom"), *quiet],
        "agree": ["agree", str(folder / "compared"), *quiet],
    }


# -------------------------------------------------------------------------------------- trials


class Place:
    """A folder with one output that holds an earlier result, a note and a correction."""

    def __init__(self, root: Path, name: str, words: list[str]) -> None:
        self.root = root / "place"
        shutil.rmtree(self.root, ignore_errors=True)
        self.root.mkdir()
        self.name = name
        self.out = self.root / ("out.csv" if name == "manifest" else "out")
        self.words = [str(root / "stages") if word == "STAGES" else word for word in words]
        assert self.to_the_end() == 0
        if name == "manifest":
            self.out.write_text(CORRECTED, encoding="utf-8")
            return
        (self.out / "note.txt").write_text(NOTE, encoding="utf-8")
        edited = next(self.out.glob("*.csv"))
        edited.write_text(CORRECTED, encoding="utf-8")

    def to_the_end(self) -> int:
        return waited(self.start())

    def start(self, spoil: Callable[[], None] = lambda: None, log: Path | None = None) -> int:
        """Fork, and run the command there."""
        sys.stdout.flush()
        child = os.fork()
        if child:
            return child
        code = 99
        try:
            said = io.StringIO()
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
                spoil()
                try:
                    code = command.main([*self.words, str(self.out)])
                except BaseException as error:  # a traceback, had this been the whole program
                    code = 98
                    said.write(f"{type(error).__name__}: {error}")
            if log is not None:
                with contextlib.suppress(OSError):
                    os.write(os.open(log, os.O_WRONLY | os.O_CREAT), said.getvalue().encode())
        finally:
            os._exit(code)

    def lost(self) -> list[str]:
        """What of the user is not there any more, after the next run has come to its end."""
        assert self.to_the_end() == 0
        kept = "\n".join(
            path.read_text(encoding="utf-8", errors="replace")
            for path in self.root.rglob("*")
            if path.is_file()
        )
        expected = (CORRECTED,) if self.name == "manifest" else (CORRECTED, NOTE)
        lost = [text for text in expected if text not in kept]
        if self.name != "manifest" and not is_whole(self.out):
            lost.append("a whole result")
        return lost

    def leftovers(self) -> list[str]:
        return [path.name for path in self.root.rglob(".*")]


def waited(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def killed(place: Place, delay_s: float) -> bool:
    """Kill the command after a time; tell whether it was still at work."""
    child = place.start()
    time.sleep(delay_s)
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    return waited(child) == -signal.SIGKILL


def failing_at(number: int) -> Callable[[], None]:
    """Let the nth operation that changes the disk fail as on a full one."""

    def spoil() -> None:
        count = 0

        def counted(
            function: Callable[..., object], applies: Callable[..., bool]
        ) -> Callable[..., object]:
            def call(*arguments: object, **options: object) -> object:
                nonlocal count
                if applies(*arguments, **options):
                    count += 1
                    if count == number:
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                return function(*arguments, **options)

            return call

        def writes(file: object, mode: str = "r", *_: object, **__: object) -> bool:
            return any(letter in mode for letter in "wa+x")

        io.open = counted(io.open, writes)
        for name in ("mkdir", "replace", "fsync", "link"):
            setattr(os, name, counted(getattr(os, name), lambda *_, **__: True))

    return spoil


def with_memory(extra_mib: int) -> Callable[[], None]:
    def spoil() -> None:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        limit = pages * resource.getpagesize() + extra_mib * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

    return spoil


# --------------------------------------------------------------------------------------- suites


def torture_commands(
    root: Path, rng: random.Random, kills: int, until: float, count: Counter[str]
) -> None:
    commands = prepare(root)
    for name, words in commands.items():
        place = Place(root, name, words)
        begun = time.monotonic()
        assert place.to_the_end() == 0
        lasts = time.monotonic() - begun
        for _ in range(kills):
            if time.monotonic() > until:
                break
            place = Place(root, name, words)
            count["kills"] += killed(place, rng.uniform(0, lasts))
            judge(place, count, f"{name}, killed")
        for number in range(1, 200):
            place = Place(root, name, words)
            log = root / "said"
            log.unlink(missing_ok=True)
            code = waited(place.start(failing_at(number), log))
            said = log.read_text(encoding="utf-8") if log.exists() else ""
            if code == 98 or (code != 0 and len(said.splitlines()) != 1):
                complain(count, "tracebacks", f"{name}, write {number}: {said}")
            judge(place, count, f"{name}, write {number}")
            count["failed writes"] += code != 0
            if code == 0 and number > 5 and not reached(place, number):
                break
            if time.monotonic() > until:
                break
        for extra_mib in (0, 1, 4, 16, 64, 256):
            if time.monotonic() > until:
                break
            place = Place(root, name, words)
            code = waited(place.start(with_memory(extra_mib)))
            if code == 98:
                complain(count, "tracebacks", f"{name}, {extra_mib} MiB more")
            judge(place, count, f"{name}, {extra_mib} MiB more")
            count["memory limits"] += 1


def reached(place: Place, number: int) -> bool:
    """Whether a run has as many operations at all."""
    probe = place.root.with_name("probe")
    probe.unlink(missing_ok=True)

    def spoil() -> None:
        failing_at(number)()
        real = os.strerror

        def noted(code: int) -> str:
            with contextlib.suppress(OSError):
                os.close(os.open(probe, os.O_CREAT | os.O_WRONLY))
            return real(code)

        os.strerror = noted

    waited(place.start(spoil))
    return probe.exists()


def judge(place: Place, count: Counter[str], what: str) -> None:
    for lost in place.lost():
        complain(count, "lost", f"{what}: {lost}")
    for name in place.leftovers():
        complain(count, "leftovers", f"{what}: {name}")


def complain(count: Counter[str], kind: str, what: str) -> None:
    count[kind] += 1
    print(f"  {kind}: {what}", flush=True)


BATCH = """
import sys; sys.path.append(sys.argv[1])
from pathlib import Path
from lungperfusion.batch.engine import run_batch
from lungperfusion.batch.manifest import read_manifest
from lungperfusion.batch.workers import LocalWorkers
manifest = read_manifest(Path(sys.argv[2]), {"light": "light_analysis", "also": "light_analysis"})
state = run_batch(manifest, Path(sys.argv[3]), lambda n: LocalWorkers(2), resume=True)
sys.exit(state.failed + state.left)
"""
CASES = 12


def torture_batch(
    root: Path, rng: random.Random, kills: int, until: float, count: Counter[str]
) -> None:
    """Kill a batch again and again until it is through."""
    folder = root / "batch"
    folder.mkdir()
    lines = ["case,analysis,ct"]
    for number in range(CASES):
        order = json.dumps({"value": number})
        (folder / f"c{number}.nrrd").write_text(order, encoding="utf-8")
        lines += [f"c{number},light,c{number}.nrrd", f"c{number},also,c{number}.nrrd"]
    (folder / "manifest.csv").write_text("\n".join(lines), encoding="utf-8")
    out = folder / "out"
    words = [str(ROOT / "Testing" / "unit" / "batch"), str(folder / "manifest.csv"), str(out)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "LungPerfusionLib")}
    whole: set[str] = set()
    for _ in range(kills):
        if time.monotonic() > until:
            break
        process = subprocess.Popen([sys.executable, "-P", "-c", BATCH, *words], env=environment)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(rng.uniform(1.0, 8.0))
        count["kills"] += process.poll() is None
        process.kill()
        process.wait()
        now = {path.name for path in (out / "cases").glob("c*") if is_whole(path)}
        for case in whole - now:
            complain(count, "lost", f"batch, {case}")
        whole = now
    last = [sys.executable, "-P", "-c", BATCH, *words]
    done = subprocess.run(last, env=environment, check=False)
    if done.returncode:
        complain(count, "lost", f"{done.returncode} cases at the end")
    for number in range(CASES):
        if not is_whole(out / "cases" / f"c{number}"):
            complain(count, "lost", f"batch, c{number}")
    left = [*(out / "cases").glob(".*"), *(out / ".batch" / "part").rglob("*")]
    for path in (*left, *out.glob(".*.partial.*")):
        complain(count, "leftovers", f"batch: {path.name}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=300.0, help="begin no trial after this")
    parser.add_argument("--kills", type=int, default=60, help="of each command; a sixth of batches")
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    count: Counter[str] = Counter()
    until = time.monotonic() + arguments.seconds
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        share = time.monotonic() + 0.7 * arguments.seconds
        torture_commands(root, rng, arguments.kills, share, count)
        torture_batch(root, rng, max(1, arguments.kills // 6), until, count)
    print(
        f"seed {arguments.seed}: {count['kills']} kills, {count['failed writes']} failed writes "
        f"and {count['memory limits']} limits of memory survived; cases lost {count['lost']}, "
        f"leftovers {count['leftovers']}, tracebacks {count['tracebacks']}"
    )
    return int(any(count[kind] for kind in ("lost", "leftovers", "tracebacks")))


if __name__ == "__main__":
    sys.exit(main())

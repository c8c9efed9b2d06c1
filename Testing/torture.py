"""Reliability under kills, failing writes and limits of memory; ``make torture``.

Trials are drawn from a seed and end after a time, so that a run is bounded and can be repeated.
They fork this process, which has the libraries loaded, and need Linux.
"""

from __future__ import annotations

import argparse
import builtins
import contextlib
import ctypes
import errno
import importlib
import io
import itertools
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np

os.environ["LUNGPERFUSION_THREADS"] = "1"  # Python waits for ever for a thread without memory
os.environ["OPENBLAS_NUM_THREADS"] = "1"  # a fork has none of its parent's threads
ROOT = Path(__file__).resolve().parents[1]
TESTS = ROOT / "Testing" / "unit"
sys.path[:0] = map(str, (ROOT / "LungPerfusionLib", TESTS / "batch", TESTS / "archive"))

from archive_support import write_measured, write_source  # noqa: E402

from lungperfusion import __main__ as command  # noqa: E402
from lungperfusion.analysis.stages import remembered  # noqa: E402
from lungperfusion.batch.manifest import Manifest, read_manifest  # noqa: E402
from lungperfusion.commands import batch, demo, phantom, train  # noqa: E402
from lungperfusion.commands.dynamic import POINTS  # noqa: E402
from lungperfusion.commands.output import add_output_arguments, results_of  # noqa: E402
from lungperfusion.commands.phantom import write_dicom  # noqa: E402
from lungperfusion.io import write_labelmap, write_volume  # noqa: E402
from lungperfusion.io.checksums import is_whole  # noqa: E402
from lungperfusion.io.writing import write_time_series  # noqa: E402
from lungperfusion.measurement import measured  # noqa: E402
from lungperfusion.phantoms.dual_energy import DualEnergyPhantom  # noqa: E402
from lungperfusion.phantoms.first_pass import (  # noqa: E402
    INPUTS_RAS_MM,
    SLAB_CENTRE_RAS_MM,
    SLAB_FIELD_MM,
    FirstPassScan,
    render_first_pass,
)
from lungperfusion.phantoms.kinds import DUAL_ENERGY_KINDS, default_geometry  # noqa: E402
from lungperfusion.phantoms.xenon import XenonRecipe, make_xenon  # noqa: E402
from lungperfusion.registry import COMMANDS, Command  # noqa: E402
from lungperfusion.results.analysis import Analysis, Table  # noqa: E402
from lungperfusion.terms import LOBES  # noqa: E402
from lungperfusion.volume import Geometry, Labelmap, Volume  # noqa: E402

MMAP_THRESHOLD = -3
"""M_MMAP_THRESHOLD of mallopt(3)."""
SHAPE = (24, 24, 24)
GEOMETRY = Geometry.axial(SHAPE, (2.0, 2.0, 2.0))
NOTE, CORRECTED = "my note", "my correction"
GAS_MAPS = ("rbc-gas", "membrane-gas", "ventilation", "mask")
D_DIMER = ["--case", "c0", "--d-dimer", "800", "--unit", "ng/mL FEU", "--age", "60"]
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

    with results_of(arguments, progress) as results:
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
        results.write(analysis, {"ct": source})
    return 0


def prepare(folder: Path) -> dict[str, list[str]]:
    """Inputs of all commands that write, and the words of each."""
    words = "every analysis writes as this one does"
    COMMANDS["analysis"] = Command("analysis", words, title="Analysis", module=__name__)
    for place in (*(entry.place for entry in COMMANDS.values()), "sklearn.metrics"):
        importlib.import_module(place)  # before any fork
    chest = DUAL_ENERGY_KINDS["dect"]((8.0, 8.0, 8.0), seed=1)
    tiny = write_tiny_chest(chest, folder / "tiny")
    write_light_inputs(folder)
    write_archived(folder / "archived")
    write_first_pass(folder / "first_pass")
    shorten(folder, chest)
    again = ["--quiet", "--overwrite", "-o"]
    kept = ["--keep-stages", "STAGES", "--no-report", *again]
    regions = ["--lobes", tiny("in_lobes.seg.nrrd"), "--vessel-mask", tiny("in_vessels.seg.nrrd")]
    lungs = ["--lung-mask", tiny("in_lungs.seg.nrrd")]
    pair = ["--expiration", tiny("out.nrrd"), "--inspiration", tiny("in.nrrd")]
    pair += ["--lung-mask", tiny("out_lungs.seg.nrrd"), "--inspiration-lobes", regions[1]]
    pair += ["--inspiration-lung-mask", lungs[1]]
    iodine = ["--iodine", tiny("iodine.nrrd"), "--iodine-unit", "mg/mL", "--ct", tiny("in.nrrd")]
    resumed = ["--workers", "1", "--resume", "--quiet", "-o"]
    frames, held = (str(folder / "first_pass" / name) for name in ("ct.seq.nrrd", "in.seg.nrrd"))
    gas = [word for name in GAS_MAPS for word in (f"--{name}", tiny(f"{name}.nrrd"))]
    points = []
    for option, place in POINTS.items():
        points += [f"--{option}", *map(str, INPUTS_RAS_MM[place])]
    archived = [str(folder / "archived" / name) for name in ("results", "ct")]
    cohort = [str(folder / name) for name in ("measured.csv", "clinical.csv")]
    return {
        "analysis": ["analysis", "--keep-stages", "STAGES", *again],
        "manifest": ["manifest", str(folder / "dicom"), *again],
        "agree": ["agree", str(folder / "compared"), *again],
        "dicom": ["dicom", archived[0], "--source", archived[1], *again],
        "cohort": ["cohort", *cohort, "--relate", "ipv:fvc", "--no-report", *again],
        "context": ["context", *D_DIMER, *again],
        "train": ["train", str(folder / "table.csv"), "--repeats", "1", "--folds", "2", *again],
        "phantom": ["phantom", "dect", *again],
        "lungs": ["lungs", tiny("in.nrrd"), *lungs, *kept],
        "lobes": ["lobes", tiny("in.nrrd"), *regions, *kept],
        "ipv": ["ipv", *iodine, *lungs, *kept],
        "vesselbv": ["vesselbv", tiny("in.nrrd"), *regions, *kept],
        "xenon": ["xenon", "--ct", tiny("in.nrrd"), *lungs, *regions, *gas, *kept],
        "dynamic": ["dynamic", frames, "--lung-mask", held, *points, *kept],
        "batch": ["batch", str(folder / "batch.csv"), *resumed],
        "demo": ["demo", "--quiet", "-o"],
        "ctvq": ["ctvq", *pair, *kept],  # takes longest: last
    }


def write_tiny_chest(chest: DualEnergyPhantom, folder: Path) -> Callable[[str], str]:
    """Write a chest of half the size, breathed in and out, with its truth as given masks."""
    folder.mkdir()
    for name, spacing_mm in (("in", 4.0), ("out", 3.8)):
        geometry = Geometry.axial(chest.high.geometry.shape, (spacing_mm,) * 3)
        write_volume(replace(chest.high, geometry=geometry), folder / f"{name}.nrrd")
        for kind, labels in chest.truth.labelmaps().items():
            labels = replace(labels, geometry=geometry)
            write_labelmap(labels, folder / f"{name}_{kind}.seg.nrrd")
    geometry = Geometry.axial(chest.high.geometry.shape, (4.0,) * 3)
    write_volume(replace(chest.iodine, geometry=geometry), folder / "iodine.nrrd")
    made = make_xenon(
        replace(chest.truth.lobes, geometry=geometry), XenonRecipe(matrix=40, samples=1)
    )
    for name in GAS_MAPS:
        values = np.asarray(getattr(made, name.replace("-", "_")), np.float32)
        write_volume(Volume(np.nan_to_num(values), made.geometry, "1"), folder / f"{name}.nrrd")
    return lambda name: str(folder / name)


def write_archived(folder: Path) -> None:
    """Write a CT series and what was measured on it."""
    folder.mkdir()
    write_measured(folder / "results", write_source(folder / "ct"))


def write_first_pass(folder: Path) -> None:
    """Write a coarse slab, breath held."""
    folder.mkdir()
    geometry = default_geometry(
        (9.0, 9.0, 6.0), field_mm=SLAB_FIELD_MM, centre_ras_mm=SLAB_CENTRE_RAS_MM
    )
    scan = FirstPassScan(frames=14, step_s=2.0, noise_hu=3.0, breath_mm=0.0, streak_hu=0.0)
    made = render_first_pass(geometry, scan=scan)
    write_time_series(made.frames, geometry, made.times_s, folder / "ct.seq.nrrd")
    write_labelmap(made.truth.lungs, folder / "in.seg.nrrd")


def write_light_inputs(folder: Path) -> None:
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
    features = train.PURPOSES["collateral-ventilation"].features
    table = [",".join(("case", *features, "collateral_ventilation"))]
    for number in range(40):
        values = rng.uniform(0, 100, len(features)).round(2)
        outcome = int(values[0] + rng.normal(0, 20) < 50)
        table.append(",".join((f"c{number}", *map(str, values), str(outcome))))
    (folder / "table.csv").write_text("\n".join(table), encoding="utf-8")
    measurements = ["case,module,region,measure,value,unit,method,status,reason"]
    clinical = ["case,fvc"]
    for number in range(12):
        measurements.append(f"c{number},ipv,lungs,ipv,{150 + 3 * number},HU.L,torture,ok,")
        clinical.append(f"c{number},{70 + number % 5}")
    for name, lines in (("measured.csv", measurements), ("clinical.csv", clinical)):
        (folder / name).write_text("\n".join(lines), encoding="utf-8")
    (folder / "c0.nrrd").write_text('{"value": 1}', encoding="utf-8")
    (folder / "batch.csv").write_text("case,analysis,ct\nc0,light,c0.nrrd\n", encoding="utf-8")


def shorten(folder: Path, chest: DualEnergyPhantom) -> None:
    """Let the commands that make phantoms or start workers do so without hours of arithmetic."""

    def made(*_: object, **__: object) -> DualEnergyPhantom:
        return chest

    made.summary = "a chest made before"
    phantom.DUAL_ENERGY_KINDS = {"dect": made}

    light = Command("light", "", title="Light", module="light_analysis", demo={"ct": "inspiration"})

    def light_manifest(path: Path) -> Manifest:
        return read_manifest(path, {"light": light})

    batch.read_manifest = demo.read_manifest = light_manifest
    demo.COMMANDS = {"light": light}
    demo.make_patient = lambda *_, **__: SimpleNamespace(**dict.fromkeys(demo._SCANS))
    demo.write_volume = lambda _, path: path.write_text('{"value": 1}', encoding="utf-8")
    demo.worker_count = lambda: 1


# -------------------------------------------------------------------------------------- trials

FILES = {"manifest": "out.csv", "train": "out.json"}
"""Commands that write one file."""
WHOLE = {"batch": "cases/c0", "demo": f"batch/cases/{demo.CASE}"}
"""Where the results are that must be whole, below OUT."""
EDITED = {
    "demo": "manifest.csv",
    "dicom": "report.dcm",
    "phantom": "truth.json",
    "batch": "cases/c0/measurements.csv",
}
"""What the user has changed below OUT; a table of the others."""


class TimeIsOver(Exception):
    """A trial could not be brought to its end."""


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """End what is done in here after a time, whatever it is busy with."""

    def stop(*_: object) -> None:
        raise TimeIsOver

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, max(0.001, seconds))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def end(child: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)


class Place:
    """A folder with one output that holds an earlier result, a note and a correction."""

    def __init__(self, root: Path, name: str, words: list[str], until: float) -> None:
        self.root = root / f"place-{name}"
        self.until = until
        self.first = root / f"first-{name}"
        self.name = name
        self.out = self.root / FILES.get(name, "out")
        self.words = [str(root / "stages") if word == "STAGES" else word for word in words]
        shutil.rmtree(self.root, ignore_errors=True)
        self.root.mkdir()
        code, said = self.run()
        self.in_time()
        assert code == 0, said
        if name in FILES:
            self.out.write_text(CORRECTED, encoding="utf-8")
        else:
            (self.out / "note.txt").write_text(NOTE, encoding="utf-8")
            edited = EDITED.get(name) or sorted(p.name for p in self.out.glob("*.csv"))[0]
            (self.out / edited).write_text(CORRECTED, encoding="utf-8")
        shutil.copytree(self.root, self.first)

    def renew(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)
        shutil.copytree(self.first, self.root)

    def start(self, spoil: Callable[[], None] = lambda: None) -> tuple[int, int]:
        """Fork, run the command there, and return the process and a pipe with its words."""
        sys.stdout.flush()
        words, end = os.pipe()
        child = os.fork()
        if child:
            os.close(end)
            return child, words
        code = 99
        said = io.StringIO()
        try:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
                try:
                    spoil()
                    code = command.main([*self.words, str(self.out)])
                except BaseException as error:  # a traceback, had this been the whole program
                    code = 98
                    said.write(f"{type(error).__name__}: {error}")
            os.write(end, said.getvalue().encode()[:60_000])
        finally:
            os._exit(code)

    def run(self, spoil: Callable[[], None] = lambda: None) -> tuple[int, str]:
        """Run the command to its end or that of the time; its exit code and what it said."""
        child, words = self.start(spoil)
        alarm = threading.Timer(max(0.0, self.until - time.monotonic()), end, (child,))
        alarm.start()
        try:
            return waited(child, words)
        finally:
            alarm.cancel()

    def in_time(self) -> None:
        """Go on only while there is time: what was ended at its end says nothing."""
        if time.monotonic() > self.until:
            raise TimeIsOver

    def lost(self) -> list[str]:
        """What of the user is not there any more, after the next run has come to its end."""
        code, said = self.run()
        if code:
            return [f"the next run: {said}"]
        kept = "\n".join(
            path.read_text(encoding="utf-8", errors="replace")
            for path in self.root.rglob("*")
            if path.is_file()
        )
        expected = (CORRECTED,) if self.name in FILES else (CORRECTED, NOTE)
        lost = [text for text in expected if text not in kept]
        if self.name not in FILES and not is_whole(self.out / WHOLE.get(self.name, "")):
            lost.append("a whole result")
        return lost

    def leftovers(self) -> list[str]:
        hidden = (path.name for path in self.root.rglob(".*"))
        return [name for name in hidden if name != ".batch"]


def waited(child: int, words: int) -> tuple[int, str]:
    with os.fdopen(words, "rb") as stream:
        said = stream.read().decode("utf-8", "replace")
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), said


def killed(place: Place, delay_s: float) -> tuple[int, str]:
    """Kill the command after a time; its exit code, if it was faster, and what it said."""
    child, words = place.start()
    time.sleep(delay_s)
    end(child)
    return waited(child, words)


def at_operation(act: Callable[[int], None]) -> Callable[[], None]:
    """Do something before each operation that changes the disk, given its number."""

    def spoil() -> None:
        numbers = itertools.count(1)

        def counted(
            function: Callable[..., object], applies: Callable[..., bool]
        ) -> Callable[..., object]:
            def call(*arguments: object, **options: object) -> object:
                if applies(*arguments, **options):
                    act(next(numbers))
                return function(*arguments, **options)

            return call

        def writes(file: object, mode: str = "r", *_: object, **__: object) -> bool:
            return any(letter in mode for letter in "wa+x")

        io.open = builtins.open = counted(io.open, writes)
        for name in ("mkdir", "replace", "rename", "fsync", "link"):
            setattr(os, name, counted(getattr(os, name), lambda *_, **__: True))

    return spoil


def operations(place: Place) -> int:
    """How many operations of a run change the disk."""
    reading, writing = os.pipe()
    place.run(at_operation(lambda _: os.write(writing, b".") and None))
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        return len(stream.read())


def failing_at(number: int) -> Callable[[], None]:
    """Let the nth operation that changes the disk fail as on a full one."""

    def fail(now: int) -> None:
        if now == number:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    return at_operation(fail)


def dying_at(number: int) -> Callable[[], None]:
    """Kill the command at the nth operation that changes the disk."""

    def die(now: int) -> None:
        if now == number:
            os.kill(os.getpid(), signal.SIGKILL)

    return at_operation(die)


def with_memory(extra_mib: int) -> Callable[[], None]:
    """Limit the memory to what is in use and some more; arrays take no memory freed before."""

    def spoil() -> None:
        libc = ctypes.CDLL(None)
        libc.mallopt(MMAP_THRESHOLD, 65536)
        libc.malloc_trim(0)
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        limit = pages * resource.getpagesize() + extra_mib * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

    return spoil


def with_file_size(most_bytes: int) -> Callable[[], None]:
    """Let writing past a size fail, in compiled libraries, too."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))


# --------------------------------------------------------------------------------------- suites


def torture_commands(
    root: Path, rng: random.Random, trials: int, until: float, count: Counter[str]
) -> None:
    """Let the command that had least of the time have a trial, and say at the end what each had."""
    with within(until - time.monotonic()):
        commands = prepare(root)
    counts: dict[str, Counter[str]] = {name: Counter() for name in commands}
    apart_s = (until - time.monotonic()) / (2 * len(commands))  # preparing takes time, too
    spent_s = {name: place * apart_s for place, name in enumerate(commands)}
    trials_of = {
        name: torture_command(root, name, words, rng, trials, until, counts[name])
        for name, words in commands.items()
    }
    while trials_of and time.monotonic() < until:
        name = min(trials_of, key=spent_s.__getitem__)
        begun = time.monotonic()
        try:
            next(trials_of[name])
        except (StopIteration, TimeIsOver):
            del trials_of[name]
        spent_s[name] += time.monotonic() - begun
    for name, had in counts.items():
        print(f"{name}: {figures(had)}", flush=True)
        count.update(had)


def torture_command(
    root: Path,
    name: str,
    words: list[str],
    rng: random.Random,
    trials: int,
    until: float,
    count: Counter[str],
) -> Iterator[None]:
    """Draw trials of all kinds in turn and make one with each step, after a step to prepare."""
    place = Place(root, name, words, until)
    place.renew()
    begun = time.monotonic()
    steps = operations(place)
    lasts = time.monotonic() - begun
    place.in_time()
    biggest = max(path.stat().st_size for path in place.first.rglob("*") if path.is_file())

    def drawn() -> list[int]:
        return rng.sample(range(1, steps + 1), min(steps, trials))

    kinds: list[Iterator[tuple[str, str, Callable[[], None] | float]]] = [
        (("failed writes", f"write {n}", failing_at(n)) for n in drawn()),
        (("memory limits reached", f"{n} MiB more", with_memory(n)) for n in MEMORY_MIB),
        (("kills", f"killed at write {n}", dying_at(n)) for n in drawn()),
        (
            ("limits of file size reached", f"{n} bytes", with_file_size(n))
            for n in (int(biggest ** rng.uniform(0, 1)) for _ in drawn())
        ),
        (("kills", f"killed after {s:.3f} s", s) for s in (rng.uniform(0, lasts) for _ in drawn())),
    ]
    in_turn = itertools.chain.from_iterable(itertools.zip_longest(*kinds))
    for kind, what, spoil in filter(None, in_turn):
        yield
        trial(place, kind, what, spoil, count)


def trial(
    place: Place,
    kind: str,
    what: str,
    spoil: Callable[[], None] | float,
    count: Counter[str],
) -> None:
    """Spoil one run and look at what the next one finds."""
    what = f"{place.name}, {what}"
    place.renew()
    code, said = place.run(spoil) if callable(spoil) else killed(place, spoil)
    place.in_time()
    lost = place.lost()
    place.in_time()
    count[kind] += code != 0
    in_one_line = said.count("\n") == 1 or (code == LOADER_ENDED and not said)
    if code == 98 or (code > 0 and place.name not in WHOLE and not in_one_line):
        complain(count, "tracebacks", f"{what}: {code} {said}")
    for text in lost:
        complain(count, "lost", f"{what}: {text}")
    for name in place.leftovers():
        complain(count, "leftovers", f"{what}: {name}")


LOADER_ENDED = 127
"""Code of the C library's loader, which ends a process with a line of its own where there is no
memory for a compiled library's first thread-local variable."""
MEMORY_MIB = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256)


def complain(count: Counter[str], kind: str, what: str) -> None:
    count[kind] += 1
    print(f"  {kind}: {what}", flush=True)


def figures(count: Counter[str]) -> str:
    return (
        f"{count['kills']} kills, {count['failed writes']} failed writes, "
        f"{count['limits of file size reached']} limits of file size and "
        f"{count['memory limits reached']} of memory survived; cases lost {count['lost']}, "
        f"leftovers {count['leftovers']}, tracebacks {count['tracebacks']}"
    )


BATCH = """
import sys; sys.path.append(sys.argv[1])
from pathlib import Path
from lungperfusion.batch.engine import run_batch
from lungperfusion.batch.manifest import read_manifest
from lungperfusion.batch.workers import LocalWorkers
from lungperfusion.registry import Command
light = {"title": "Light", "module": "light_analysis"}
commands = {name: Command(name, "", **light) for name in ("light", "also")}
manifest = read_manifest(Path(sys.argv[2]), commands)
state = run_batch(manifest, Path(sys.argv[3]), lambda n: LocalWorkers(2), resume=True)
sys.exit(state.failed + state.left)
"""
CASES = 12
LAST_RUN_S = 300.0
"""The last run comes after the time, so that what was killed can be healed; it takes seconds."""


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
    with within(LAST_RUN_S):
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
    parser.add_argument("--seconds", type=float, default=300.0, help="for all, preparation as well")
    parser.add_argument("--kills", type=int, default=60, help="and failures, of each command")
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    count: Counter[str] = Counter()
    until = time.monotonic() + arguments.seconds
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        share = time.monotonic() + 0.7 * arguments.seconds
        try:
            torture_commands(root, rng, arguments.kills, share, count)
            torture_batch(root, rng, max(1, arguments.kills // 6), until, count)
        except TimeIsOver:
            sys.exit("the time was over before everything had its turn; give more --seconds")
    print(f"seed {arguments.seed}: {figures(count)}")
    return int(any(count[kind] for kind in ("lost", "leftovers", "tracebacks")))


if __name__ == "__main__":
    sys.exit(main())

"""Ordinary trouble is told in one sentence, and never with a traceback."""

from __future__ import annotations

import errno
import importlib
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lungperfusion import __main__ as command
from lungperfusion.cohort import libraries
from lungperfusion.cohort.libraries import library
from lungperfusion.commands import phantom
from lungperfusion.errors import InputError
from lungperfusion.io import read_ct, read_labelmap
from lungperfusion.io.windows_names import require_possible_name
from lungperfusion.terminal import TerminalProgress, prepare_streams, remark, show
from lungperfusion.trouble import in_words

posix = pytest.mark.skipif(os.name == "nt", reason="devices and limits of POSIX systems")


def chained(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "x"), "the disk is full"),
        (chained(RuntimeError("writing"), OSError(errno.ENOSPC, "x")), "the disk is full"),
        (RuntimeError("itk: No space left on device"), "the disk is full"),
        (OSError(errno.EFBIG, "x"), "a file would grow beyond the size allowed"),
        (OSError(errno.ENAMETOOLONG, "x"), "name is too long"),
        (OSError(errno.EROFS, "x"), "read-only"),
        (MemoryError(), "out of memory"),
        (RuntimeError("std::bad_alloc"), "out of memory"),
        (RuntimeError("can't start new thread"), "out of memory"),
        (ImportError("libx.so: failed to map segment from shared object"), "out of memory"),
        (PermissionError(errno.EACCES, "Permission denied", "Müller"), "Permission denied; check"),
    ],
)
def test_trouble_in_words(error, words, monkeypatch, capsys, tmp_path):
    def fail(arguments, progress):
        raise error

    monkeypatch.setattr(phantom, "run", fail)
    assert words in in_words(error)
    assert command.main(["phantom", "small", "-o", str(tmp_path / "out")]) == 1
    said = capsys.readouterr().err
    assert said.startswith("lungperfusion phantom: ")
    assert said.count("\n") == 1
    assert "Müller" not in said


@pytest.mark.parametrize(("length", "code"), [(300, 3), (10, 206)])
def test_path_that_is_too_long_for_windows(length, code):
    error = FileNotFoundError(errno.ENOENT, "not found", "x" * length)
    error.winerror = code
    assert "name is too long" in in_words(error)
    error.filename, error.winerror = "short", 3
    assert "name is too long" not in in_words(error)


@pytest.mark.parametrize("name", ["CON", "aux.csv", "a/nul/b", "trail.", "space ", "a?b", "a:b"])
def test_names_that_windows_cannot_have(name, tmp_path):
    out = tmp_path / name
    require_possible_name(out, windows=False)
    with pytest.raises(InputError, match="can be no file or folder on Windows"):
        require_possible_name(out, windows=True)
    require_possible_name(tmp_path / "console" / "a.b" / ".." / "v1.0", windows=True)


def test_nothing_heavy_is_loaded_before_trouble_can_be_told():
    line = "import sys, lungperfusion.__main__; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", line], capture_output=True, check=True, text=True)
    assert not {"numpy", "scipy", "SimpleITK", "pydicom"} & set(done.stdout.split())


def test_faults_of_this_program_are_no_ordinary_trouble(monkeypatch, tmp_path):
    def fail(arguments, progress):
        raise ZeroDivisionError

    monkeypatch.setattr(phantom, "run", fail)
    assert in_words(RuntimeError("itk")) is None
    with pytest.raises(ZeroDivisionError):
        command.main(["phantom", "small", "-o", str(tmp_path / "out")])


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ImportError("libx.so: failed to map segment from shared object"), "out of memory"),
        (ModuleNotFoundError("No module named 'sklearn'"), "sklearn, which is not installed"),
        (ImportError("undefined symbol: x"), "sklearn, which is installed but cannot be loaded"),
    ],
)
def test_library_that_does_not_load_is_not_missing(error, words, monkeypatch, capsys, tmp_path):
    def fail(name):
        raise error

    monkeypatch.setattr(phantom, "run", lambda arguments, progress: library("sklearn"))
    assert command.make_parser("phantom")  # loaded
    monkeypatch.setattr(libraries.importlib, "import_module", only(fail, "sklearn"))
    assert command.main(["phantom", "small", "-o", str(tmp_path / "out")]) in (1, 2)
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1


def only(function, name):
    """Import anything, but a library that a test speaks of by a function."""
    load = importlib.import_module
    return lambda wanted: function(wanted) if wanted == name else load(wanted)


def test_ctrl_c_while_a_command_is_loaded(monkeypatch, capsys):
    def press(name):
        raise KeyboardInterrupt

    monkeypatch.setattr(command.importlib, "import_module", press)
    assert command.main(["lungs", "scan"]) == 130
    assert "interrupted" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_numbers_that_are_none(value, tmp_path, capsys):
    words = ["lungs", "scan.nrrd", f"--rim-mm={value}", "-o", str(tmp_path / "out")]
    assert command.main(words) == 2
    assert "rim_mm is a number, not" in capsys.readouterr().err


@posix
def test_pipes_and_devices_are_refused_at_once(tmp_path, capsys):
    pipe = tmp_path / "pipe.nrrd"
    os.mkfifo(pipe)
    out = str(tmp_path / "out")
    assert command.main(["lungs", str(pipe), "-o", out]) == 2
    assert command.main(["lungs", os.devnull, "-o", out]) == 2
    assert command.main(["lungs", "x" * 300, "-o", out]) == 2
    said = capsys.readouterr().err
    assert said.count("is a device or a pipe") == 2
    assert "File name too long" in said
    with pytest.raises(InputError, match="device or a pipe"):
        read_labelmap(pipe)


@posix
def test_name_that_is_no_utf8(tmp_path, monkeypatch, capsys):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/M\xfcller.nrrd"))
    path.write_bytes(b"NRRD0004\n")
    with pytest.raises(InputError):
        read_ct(path)


LIGHT = """
import sys
from lungperfusion import __main__
from lungperfusion.io import results_folder
from lungperfusion.commands import phantom
from lungperfusion.terminal import remark, show

def run(arguments, progress):
    progress(0.5, "at work")
    with results_folder(arguments.out) as folder:
        (folder / "a.csv").write_bytes(bytes(100_000))
    remark("warning: Öz")
    show(arguments.out)
    return 0

phantom.run = run
sys.exit(__main__.main())
"""


def run(words: str, tmp_path: Path) -> subprocess.CompletedProcess[bytes]:
    """Run a line of the shell in which $P is the command line with a command that takes no time."""
    (tmp_path / "run.py").write_text(LIGHT, encoding="utf-8")
    line = words.replace("$P", f"{sys.executable} {tmp_path / 'run.py'} phantom small")
    return subprocess.run(["sh", "-c", line], capture_output=True, check=False)


@posix
@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("$P -o {out} >&-", 0, ""),
        ("$P -o {out} 2>&- >&-", 0, ""),
        ("$P -o {out} --quiet | true", 0, ""),
        ("PYTHONIOENCODING=ascii $P -o {out}-Öz --quiet", 0, ""),
        ("ulimit -f 1; $P -o {out} --quiet", 1, "size allowed"),
        ("$P -o {out}{long}/a --quiet", 2, "File name too long"),
    ],
    ids=["closed output", "both closed", "broken pipe", "ascii", "file size", "long name"],
)
def test_streams_and_limits(tmp_path, line, code, said):
    done = run(line.format(out=tmp_path / "out", long="n" * 300), tmp_path)
    assert (done.returncode, b"Traceback" in done.stderr) == (code, False), done.stderr.decode()
    assert said in done.stderr.decode()
    left = [p.name for p in tmp_path.iterdir() if p.name.startswith(".")]
    assert left == []


def test_streams_that_take_nothing_end_no_computation(monkeypatch):
    class Full(io.StringIO):
        def write(self, text):
            raise OSError(errno.ENOSPC, "No space left on device")

    heard = io.StringIO()
    monkeypatch.setattr(sys, "stdout", Full())
    monkeypatch.setattr(sys, "stderr", heard)
    show("done")
    assert "standard output cannot be written" in heard.getvalue()
    monkeypatch.setattr(sys, "stderr", Full())
    remark("warning")
    TerminalProgress(Full())(0.5, "at work")
    monkeypatch.setattr(sys, "stdout", None)
    prepare_streams()
    show("nowhere")
    sys.stdout.close()

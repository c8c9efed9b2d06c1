"""Whatever stands in a file, reading it ends with an image or with one sentence.

A seeded mutator changes small sound files of every format: bytes, numbers, whole fields, lengths.
The same files are made on every run; set ``ROUNDS`` higher to search longer.
"""

from __future__ import annotations

import gzip
import os
import re
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from lungperfusion.cohort.reading import read_clinical
from lungperfusion.cohort.specification import read_specification
from lungperfusion.commands.sign_arguments import read_clots, read_lines
from lungperfusion.errors import InputError
from lungperfusion.io import read_ct, read_labelmap
from lungperfusion.io.fissure_points import read_fissure_points
from lungperfusion.io.tables import read_small_table
from lungperfusion.naming import plain

ROUNDS = int(os.environ.get("FUZZ_ROUNDS", "40"))
"""Changed files per format: some ten seconds in all."""

NUMBERS = ("0", "-1", "1e9", "nan", "inf", "1e-30", "99999999999", "x", "", "1,5", "\u0661")


def sentence(error: InputError) -> str:
    """Check that an error is one sentence for a person."""
    text = plain(str(error))
    assert text.strip(), "an empty message"
    assert len(text) < 1500, text
    for trace in ("Traceback", "sitk", r"\.cxx", "0x[0-9a-f]{6}", "itk::", "site-packages"):
        assert not re.search(trace, text), text
    return text


def tried(read: Callable[[Path], object], path: Path) -> None:
    """Read a changed file; anything but an image or an `InputError` fails."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            read(path)
        except InputError as error:
            sentence(error)


def changed_bytes(content: bytes, rng: np.random.Generator, head: int) -> bytes:
    """Flip, cut, double or overwrite bytes, mostly within the header."""
    data = bytearray(content)
    kind = rng.integers(5)
    place = int(rng.integers(min(head, len(data))))
    if kind == 0:
        data[place] = int(rng.integers(256))
    elif kind == 1:
        del data[place : place + int(rng.integers(1, 40))]
    elif kind == 2:
        data[place:place] = bytes(rng.integers(0, 256, int(rng.integers(1, 40)), np.uint8))
    elif kind == 3:
        del data[int(rng.integers(len(data))) :]
    else:
        for _ in range(8):
            data[int(rng.integers(min(head, len(data))))] = int(rng.integers(256))
    return bytes(data)


def changed_text(head: bytes, rng: np.random.Generator) -> bytes:
    """Replace one number or word of a text header."""
    words = head.split(b" ")
    place = int(rng.integers(len(words)))
    value = NUMBERS[int(rng.integers(len(NUMBERS)))].encode()
    tail = words[place][words[place].find(b"\n") :] if b"\n" in words[place] else b""
    words[place] = value + tail
    return b" ".join(words)


@pytest.mark.parametrize("suffix", [".nrrd", ".mha", ".nii", ".nii.gz", ".mhd"])
@pytest.mark.parametrize("read", [read_ct, read_labelmap])
def test_changed_images(tmp_path, chest, grid, write_image, suffix, read):
    array = chest() if read is read_ct else (chest() < -500).astype(np.uint8)
    content = write_image(tmp_path / f"ct{suffix}", array, grid).read_bytes()
    packed = suffix.endswith(".gz")
    content = gzip.decompress(content) if packed else content
    rng = np.random.default_rng([7, len(suffix)])
    head = 400 if "nii" in suffix else content.find(b"\n\n") + 2 or 400
    for number in range(ROUNDS):
        if "nii" not in suffix and number % 2:
            mutant = changed_text(content[:head], rng) + content[head:]
        else:
            mutant = changed_bytes(content, rng, head)
        path = tmp_path / f"ct{suffix}"
        path.write_bytes(gzip.compress(mutant, 1) if packed else mutant)
        tried(read, path)


ODD_VALUES = ("", "x", "nan", "1e300", "-1", "0", "1\\2\\3\\4\\5\\6\\7", "\u00fc" * 70, None)


def changed_element(data: Dataset, rng: np.random.Generator) -> None:
    """Give one element a value that its kind does not allow, or take it away."""
    elements = [e for e in data if e.VR != "SQ" and e.keyword not in ("PixelData", "SOPClassUID")]
    chosen: DataElement = elements[int(rng.integers(len(elements)))]
    value = ODD_VALUES[int(rng.integers(len(ODD_VALUES)))]
    if value is None:
        del data[chosen.tag]
    elif chosen.VR in ("US", "SS", "UL"):
        chosen.value = int(rng.choice([0, 1, 3, 255, 65535]))
    else:
        encoded = value.encode("latin-1", "replace")
        data[chosen.tag] = pydicom.dataelem.RawDataElement(
            chosen.tag, chosen.VR, len(encoded), encoded, 0, False, True
        )


@pytest.mark.parametrize("way", ["elements", "bytes"])
def test_changed_slices(tmp_path, chest, grid, write_series, way):
    folder = write_series(tmp_path / "series", chest(), grid)
    files = sorted(folder.iterdir())
    rng = np.random.default_rng([8, len(way)])
    for _ in range(ROUNDS):
        victim = files[int(rng.integers(len(files)))]
        content = victim.read_bytes()
        if way == "bytes":
            victim.write_bytes(changed_bytes(content, rng, 1200))
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                data = pydicom.dcmread(victim)
                changed_element(data, rng)
                try:
                    data.save_as(victim)
                except Exception:  # what cannot be written cannot be met
                    victim.write_bytes(content)
                    continue
        tried(read_ct, folder)
        victim.write_bytes(content)


def test_changed_multi_frame_images(tmp_path, chest, grid, write_enhanced):
    path = write_enhanced(tmp_path / "enhanced" / "ct.dcm", chest(), grid, range(8))
    content = path.read_bytes()
    rng = np.random.default_rng(9)
    for _ in range(ROUNDS):
        path.write_bytes(changed_bytes(content, rng, 3000))
        tried(read_ct, path.parent)


def test_changed_zips(tmp_path, chest, grid, write_series):
    folder = write_series(tmp_path / "series", chest(), grid)
    path = tmp_path / "ct.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, file.name)
    content = path.read_bytes()
    rng = np.random.default_rng(11)
    for number in range(ROUNDS):
        reach = 900 if number % 2 else len(content)  # the list of members stands at the end
        path.write_bytes(changed_bytes(content[::-1], rng, reach)[::-1])
        tried(read_ct, path)


MARKUPS = b"""{"@schema": "x", "markups": [{"type": "Fiducial", "coordinateSystem": "LPS",
"name": "Left oblique fissure", "controlPoints": [{"label": "LOF-1", "position": [1.0, 2.0, 3.0]},
{"label": "LOF-2", "position": [4.0, 5.0, 6.0]}]}]}"""
LINE = b"""{"markups": [{"type": "Line", "coordinateSystem": "LPS", "name": "pulmonary_artery",
"controlPoints": [{"label": "a", "position": [1.0, 2.0, 3.0]},
{"label": "b", "position": [4.0, 5.0, 6.0]}]}]}"""
TABLE = b"fissure,r_mm,a_mm,s_mm\nleft oblique,1.0,2.0,3.0\nright oblique,4.0,5.0,6.0\n"
LAYOUT = b"""title = "Table 1"
[[group]]
label = "high"
where = ["fvc_pct >= 80"]
[[row]]
column = "ipv"
decimals = 1
"""
CLOTS = b"artery,degree\nright_main,2\n"

SMALL = {
    "points.mrk.json": (MARKUPS, read_fissure_points),
    "points.csv": (TABLE, read_fissure_points),
    "line.mrk.json": (LINE, lambda path: read_lines([path])),
    "clots.csv": (CLOTS, read_clots),
    "clots.json": (b'{"right_main": 2}', read_clots),
    "table.csv": (TABLE, read_small_table),
    "layout.toml": (LAYOUT, read_specification),
    "clinical.csv": (b"case,age_years,d_dimer\np1,50,12.5\np2,60,3\n", read_clinical),
}


@pytest.mark.parametrize("name", SMALL)
def test_changed_small_files(tmp_path, name):
    content, read = SMALL[name]
    rng = np.random.default_rng([10, len(name)])
    path = tmp_path / name
    for number in range(2 * ROUNDS):
        if number % 2:
            path.write_bytes(changed_bytes(content, rng, len(content)))
        else:
            path.write_bytes(changed_json(content, rng))
        tried(read, path)


JSON_VALUES = (b"null", b"[]", b"{}", b"true", b'"x"', b"1e999", b"NaN", b"-1", b"[" * 5000)


def changed_json(content: bytes, rng: np.random.Generator) -> bytes:
    """Put a value of another type in the place of a number or word."""
    marks = [n for n, byte in enumerate(content) if byte in b'0123456789"[{']
    place = marks[int(rng.integers(len(marks)))]
    return content[:place] + JSON_VALUES[int(rng.integers(len(JSON_VALUES)))] + content[place + 1 :]

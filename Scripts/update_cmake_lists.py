"""Write the file lists of LungPerfusionLib/CMakeLists.txt from what is on the disk.

Slicer installs listed files only, so run this (``make cmake-list``) after adding or removing one;
Testing/unit/test_packaging.py fails until it is done.  With ``--check`` nothing is written and
the exit code is 1 when the lists are out of date.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

MODULE = Path(__file__).resolve().parents[1] / "LungPerfusionLib"
PACKAGES = ("lungperfusion", "lungperfusion_gui")
LEFT_OUT = {".pyc", ".md"}


def module_files() -> list[str]:
    """Files that the module ships, as CMake writes paths, in alphabetical order."""
    files = [MODULE / "LungPerfusionLib.py", *(MODULE / "Resources").rglob("*")]
    for package in PACKAGES:
        files += (MODULE / package).rglob("*")
    return sorted(
        path.relative_to(MODULE).as_posix()
        for path in files
        if path.is_file() and path.suffix not in LEFT_OUT and not path.name.startswith(".")
    )


def with_list(text: str, variable: str, files: list[str]) -> str:
    """CMake code in which ``set(variable ...)`` lists these files."""
    block = "".join(f"  {name}\n" for name in files)
    updated, found = re.subn(
        rf"(set\({variable}\n).*?(  \)\n)",
        lambda match: match[1] + block + match[2],
        text,
        flags=re.DOTALL,
    )
    if found != 1:
        raise SystemExit(f"CMakeLists.txt must hold set({variable} ...) once, not {found} times")
    return updated


def main() -> int:
    """Write the lists, or with ``--check`` tell whether they are up to date."""
    path = MODULE / "CMakeLists.txt"
    text = path.read_text(encoding="utf-8")
    files = module_files()
    updated = with_list(
        text, "MODULE_PYTHON_SCRIPTS", [name for name in files if name.endswith(".py")]
    )
    updated = with_list(
        updated, "MODULE_PYTHON_RESOURCES", [name for name in files if not name.endswith(".py")]
    )
    if "--check" in sys.argv[1:]:
        return int(updated != text)
    path.write_text(updated, encoding="utf-8", newline="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

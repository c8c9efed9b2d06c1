"""Libraries for statistics, on demand: they come with ``lungperfusion[cohort]``."""

from __future__ import annotations

import importlib
import platform
from typing import Any

from lungperfusion.trouble import import_refusal

NAMES = ("numpy", "scipy", "pandas", "statsmodels", "scikit-learn")
_MODULES = {"scikit-learn": "sklearn"}


def library(module: str) -> Any:
    """Import a module of a library that is not always there.

    Raises
    ------
    InputError
        If it is not installed or cannot be loaded.

    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise import_refusal(
            error,
            need=f"cohort statistics need {module.partition('.')[0]}",
            remedy='run: pip install "lungperfusion[cohort,report]"',
        ) from error


def pandas() -> Any:
    """Give pandas."""
    return library("pandas")


def versions() -> dict[str, str]:
    """Versions of everything that the numbers rest on."""
    found = {name: library(_MODULES.get(name, name)).__version__ for name in NAMES}
    return {"Python": platform.python_version(), **found}

"""``slicer.packaging``: requirements are read and checked; what would be installed is recorded."""

from __future__ import annotations

import logging
from importlib import metadata
from pathlib import Path
from typing import Any

import slicer
from packaging.requirements import Requirement

recorded: list[str] = []
"""Requirements that a module asked for and that are not installed here."""


def load_requirements(path: str | Path) -> list[Requirement]:
    """Read a requirements file; comments and lines with options are dropped."""
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    texts = [line.split(" #")[0].strip() for line in lines]
    return [Requirement(text) for text in texts if text and not text.startswith(("#", "-"))]


def load_pyproject_dependencies(path: str | Path) -> list[Requirement]:
    """Read the dependencies of a pyproject file."""
    import tomllib

    project = tomllib.loads(Path(path).read_text(encoding="utf-8"))["project"]
    return [Requirement(text) for text in project.get("dependencies", [])]


def _as_list(requirements: Any) -> list[Requirement]:
    if isinstance(requirements, (str, Requirement)):
        requirements = [requirements]
    return [Requirement(str(requirement)) for requirement in requirements]


def pip_check(req: Any, _seen: Any = None) -> bool:
    """Tell whether the requirements are satisfied; markers are honoured."""
    for requirement in _as_list(req):
        if requirement.marker is not None and not requirement.marker.evaluate():
            continue
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            return False
        if not requirement.specifier.contains(version, prereleases=True):
            return False
    return True


def pip_ensure(
    requirements: Any,
    constraints: Any = None,
    skip_packages: Any = None,
    prompt_install: bool = True,
    prompt_restart: bool = True,
    requester: str | None = None,
    skip_in_testing: bool = True,
    show_progress: bool = True,
) -> None:
    """Record what would be installed; under testing nothing is, as in the desktop."""
    missing = [str(each) for each in _as_list(requirements) if not pip_check(each)]
    if missing and skip_in_testing and slicer.app.testingEnabled():
        logging.info(f"Testing mode is enabled: {missing} not installed")
        return
    recorded.extend(missing)


def pip_install(requirements: Any, *args: Any, **kwargs: Any) -> None:
    """Record the requirements."""
    texts = requirements.split() if isinstance(requirements, str) else requirements
    recorded.extend(str(each) for each in texts)


def pip_uninstall(requirements: Any, *args: Any, **kwargs: Any) -> None:
    """Nothing was installed."""


def isPipInstallInProgress() -> bool:
    """Nothing is ever installed."""
    return False

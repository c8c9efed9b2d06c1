"""Quality gates: checks of an input or a result, said in plain words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["pass", "warn", "fail", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """One check.

    ``fail`` means that numbers which rest on it should not be used, ``warn`` that a reader should
    look before using them, ``unknown`` that the check could not be made (``message`` says why).
    """

    id: str
    verdict: Verdict
    message: str
    """A sentence for a radiologist, with the figures it rests on."""
    value: float | None = None
    unit: str = ""
    limit: str = ""
    """The acceptance range in words, such as ``0.5 to 1.6``."""

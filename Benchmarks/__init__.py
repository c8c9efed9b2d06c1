"""Accuracy, speed and memory of the analyses against their targets; run with ``make bench``.

A benchmark is a module here with a ``main()`` that returns `Figure` records (or prints a table of
its own and returns none).  ``python -m Benchmarks`` runs all, ``python -m Benchmarks lungs`` one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured figure with the bounds it has to keep."""

    name: str
    """What was measured on what, such as ``phantom healthy: lung Dice``."""
    value: float
    unit: str = "1"
    at_least: float = -math.inf
    at_most: float = math.inf

    @property
    def target(self) -> str:
        """The bounds in words; empty when the figure is only reported."""
        bounds = []
        if self.at_least > -math.inf:
            bounds.append(f">= {self.at_least:g}")
        if self.at_most < math.inf:
            bounds.append(f"<= {self.at_most:g}")
        return " and ".join(bounds)

    @property
    def verdict(self) -> str:
        """``reached``, ``MISSED``, or empty without a target."""
        if not self.target:
            return ""
        return "reached" if self.at_least <= self.value <= self.at_most else "MISSED"


def table(figures: Iterable[Figure]) -> str:
    """Plain-text table, one line per figure."""
    rows = [("figure", "value", "unit", "target", "")]
    rows += [(f.name, f"{f.value:.4g}", f.unit, f.target, f.verdict) for f in figures]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    template = "  ".join(f"{{:<{width}}}" for width in widths)
    return "\n".join(template.format(*row).rstrip() for row in rows)

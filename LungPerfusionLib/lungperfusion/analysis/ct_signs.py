"""Clot scores, diameter ratios and lung function as measurements."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from lungperfusion.iodine.phenotype import (
    RV_LV_AT_MOST,
    CtFindings,
    LungFunction,
    Pattern,
    gas_transfer_mismatch,
    isolated_low_dlco,
    stratum,
    stratum_code,
)
from lungperfusion.iodine.signs import QANADLI_SOURCE, DiameterRatio, ObstructionIndex
from lungperfusion.measurement import Measurement, measured, missing
from lungperfusion.terms import Region

LINE_NAMES = ("pulmonary_artery", "aorta", "right_ventricle", "left_ventricle")
"""Names of the lines that make the two ratios."""

FUNCTION_TESTS = (
    ("fvc", "forced vital capacity"),
    ("fev1", "forced expiratory volume in 1 s"),
    ("tlc", "total lung capacity"),
    ("dlco_c", "transfer factor, corrected for haemoglobin"),
    ("kco_c", "transfer coefficient, corrected for haemoglobin"),
)


@dataclass(frozen=True, eq=False, kw_only=True)
class CtSigns:
    """Signs that a reader scored or drew; None for what was not."""

    obstruction: ObstructionIndex | None = None
    pa_ao: DiameterRatio | None = None
    rv_lv: DiameterRatio | None = None

    def measurements(self) -> tuple[Measurement, ...]:
        """Measurements of the three signs, those that were not given as missing."""
        rows = [
            missing(Region.LUNGS, "qanadli", "no clot scores were given (--clots)")
            if self.obstruction is None
            else measured(
                Region.LUNGS,
                "qanadli",
                100 * self.obstruction.fraction,
                f"{QANADLI_SOURCE}; {self.obstruction.points} of 40 points",
            )
        ]
        for name, ratio, normal in (
            ("pa_ao_ratio", self.pa_ao, "normal < 1"),
            (
                "rv_lv_ratio",
                self.rv_lv,
                f"letter: normal < 1, its patients up to {RV_LV_AT_MOST:g}",
            ),
        ):
            rows.append(
                missing(Region.LUNGS, name, "no lines were given (--lines)")
                if ratio is None
                else measured(
                    Region.LUNGS,
                    name,
                    ratio.ratio,
                    f"{ratio.numerator_mm:.1f} / {ratio.denominator_mm:.1f} mm; {normal}",
                )
            )
        return tuple(rows)


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class Clinical:
    """What a reader and the lung function laboratory add to an iodine map."""

    signs: CtSigns = field(default_factory=CtSigns)
    function: LungFunction | None = None

    def patterns(self, measurements: Iterable[Measurement]) -> tuple[Pattern, ...]:
        """Patterns of low gas transfer, checked where lung function is known."""
        if self.function is None:
            return ()
        return patterns(self.function, self.signs, measurements)

    def measurements(self, checked: Sequence[Pattern]) -> tuple[Measurement, ...]:
        """Signs, and lung function with its patterns where it is known."""
        if self.function is None:
            return self.signs.measurements()
        return (*self.signs.measurements(), *measure_function(self.function, checked))


NOTHING_CLINICAL = Clinical()


def patterns(
    function: LungFunction, signs: CtSigns, measurements: Iterable[Measurement]
) -> tuple[Pattern, ...]:
    """Check both patterns of low gas transfer against lung function, CT signs and ground glass."""
    ground_glass = next(
        (m.value for m in measurements if (m.region, m.measure) == ("lungs", "ggo")), np.nan
    )
    findings = CtFindings(
        qanadli_percent=None if signs.obstruction is None else 100 * signs.obstruction.fraction,
        ggo_percent=None if np.isnan(ground_glass) else ground_glass,
        pa_ao_ratio=None if signs.pa_ao is None else signs.pa_ao.ratio,
        rv_lv_ratio=None if signs.rv_lv is None else signs.rv_lv.ratio,
    )
    return isolated_low_dlco(function, findings), gas_transfer_mismatch(function, findings)


def measure_function(function: LungFunction, checked: Sequence[Pattern]) -> tuple[Measurement, ...]:
    """Lung function as given, its stratum and the patterns, as rows for tables."""
    rows = [
        measured(Region.LUNGS, f"{name}_predicted", value, "given")
        for name, _ in FUNCTION_TESTS
        if (value := getattr(function, name)) is not None
    ]
    code, words = stratum_code(function), stratum(function)
    rows.append(
        missing(Region.LUNGS, "function_stratum", words)
        if code is None
        else measured(Region.LUNGS, "function_stratum", float(code), words)
    )
    return (*rows, *map(_pattern_row, checked))


def _pattern_row(pattern: Pattern) -> Measurement:
    name = pattern.name.lower().replace(" ", "_")
    by_answer = {
        answer: [c.text for c in pattern.conditions if c.answer == answer]
        for answer in ("not met", "unknown")
    }
    if pattern.answer == "unknown":
        return missing(Region.LUNGS, name, f"unknown: {', '.join(by_answer['unknown'])}")
    words = "all conditions met"
    if pattern.answer == "not met":
        words = f"not met: {', '.join(by_answer['not met'])}"
    return measured(Region.LUNGS, name, float(pattern.answer == "met"), words)

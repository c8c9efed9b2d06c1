"""Oxygen in the blood and what is expected: the alveolar-arterial gradient, grouping by need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lungperfusion.errors import InputError
from lungperfusion.measurement import Measurement, measured, missing
from lungperfusion.terms import Region

SEA_LEVEL_MMHG = 760.0
"""Standard atmosphere."""
BODY_TEMPERATURE_C = 37.0
RESPIRATORY_QUOTIENT = 0.8
"""Usual value on a mixed diet (methods.md D.4)."""
ROOM_AIR_FIO2 = 0.21
NASAL_FIO2_BASE = 0.20
NASAL_FIO2_PER_L_MIN = 0.04
"""Rule of thumb for nasal prongs; the result is an estimate (methods.md D.4)."""
NASAL_MOST_L_MIN = 6.0
"""Above this flow the rule of thumb does not hold."""
OXYGEN_GROUP_L_MIN = 2.0
"""Border between the two groups of the small-vessel letter; 2 L/min belongs to the lower one."""

OxygenGroup = Literal["up_to_2_l_min", "above_2_l_min"]


def water_vapour_mmhg(temperature_c: float = BODY_TEMPERATURE_C) -> float:
    """Saturation pressure of water, 47 mmHg at 37 degrees Celsius.

    Antoine equation for water from 1 to 100 degrees Celsius (constants 8.07131, 1730.63, 233.426),
    scaled to the customary 47 mmHg at 37 degrees.
    """
    if not 20.0 <= temperature_c <= 45.0:
        raise InputError(f"a body temperature of 20 to 45 °C was expected, not {temperature_c:g}")

    def antoine(celsius: float) -> float:
        return float(10 ** (8.07131 - 1730.63 / (233.426 + celsius)))

    return 47.0 * antoine(temperature_c) / antoine(BODY_TEMPERATURE_C)


def fio2_from_nasal_flow(flow_l_min: float) -> float:
    """Estimate the inspired oxygen fraction of nasal prongs.

    Room air without flow; 0.20 + 0.04 per L/min up to 6 L/min.
    """
    if not 0 <= flow_l_min <= NASAL_MOST_L_MIN:
        raise InputError(
            f"the estimate for nasal prongs holds from 0 to {NASAL_MOST_L_MIN:g} L/min, not "
            f"{flow_l_min:g}; give the inspired oxygen fraction itself"
        )
    if flow_l_min == 0:
        return ROOM_AIR_FIO2
    return max(ROOM_AIR_FIO2, NASAL_FIO2_BASE + NASAL_FIO2_PER_L_MIN * flow_l_min)


def aado2_mmhg(
    *,
    pao2_mmhg: float,
    paco2_mmhg: float,
    fio2: float = ROOM_AIR_FIO2,
    pressure_mmhg: float = SEA_LEVEL_MMHG,
    temperature_c: float = BODY_TEMPERATURE_C,
    respiratory_quotient: float = RESPIRATORY_QUOTIENT,
    short: bool = False,
) -> float:
    """Alveolar-arterial oxygen gradient.

    ``FiO2 (Pb - PH2O) - PaCO2 (FiO2 + (1 - FiO2) / R) - PaO2``; the short form takes
    ``PaCO2 / R`` instead.

    Parameters
    ----------
    pao2_mmhg, paco2_mmhg
        Arterial partial pressures, measured or corrected to the patient's temperature.
    fio2
        Inspired oxygen fraction, 0.15 to 1.
    pressure_mmhg
        Barometric pressure.
    temperature_c
        Body temperature, for the water vapour.
    respiratory_quotient
        Carbon dioxide given off over oxygen taken up.
    short
        Whether to use the short form.

    Raises
    ------
    InputError
        For a value that no patient has, such as a fraction given in percent.

    """
    _check("inspired oxygen fraction", fio2, 0.15, 1.0, " (a fraction, not %)")
    _check("arterial oxygen pressure", pao2_mmhg, 10, 700, " mmHg (kPa x 7.5006)")
    _check("arterial carbon dioxide pressure", paco2_mmhg, 5, 200, " mmHg (kPa x 7.5006)")
    _check("barometric pressure", pressure_mmhg, 200, 1500, " mmHg")
    _check("respiratory quotient", respiratory_quotient, 0.6, 1.3, "")
    inspired = fio2 * (pressure_mmhg - water_vapour_mmhg(temperature_c))
    exchange = 1 / respiratory_quotient
    if not short:
        exchange = fio2 + (1 - fio2) / respiratory_quotient
    return inspired - paco2_mmhg * exchange - pao2_mmhg


def _check(what: str, value: float, low: float, high: float, unit: str) -> None:
    if not low <= value <= high:
        raise InputError(f"the {what} must lie between {low:g} and {high:g}{unit}, not {value:g}")


def expected_aado2_mmhg(age_years: float) -> float:
    """Gradient expected breathing room air: age / 4 + 4."""
    if not 0 <= age_years <= 120:
        raise InputError(f"an age of 0 to 120 years was expected, not {age_years:g}")
    return age_years / 4 + 4


def oxygen_group(flow_l_min: float) -> OxygenGroup:
    """Group of the small-vessel letter; exactly 2 L/min belongs to the lower group."""
    if not 0 <= flow_l_min <= 100:
        raise InputError(f"an oxygen flow of 0 to 100 L/min was expected, not {flow_l_min:g}")
    return "above_2_l_min" if flow_l_min > OXYGEN_GROUP_L_MIN else "up_to_2_l_min"


@dataclass(frozen=True, kw_only=True, slots=True)
class BloodGas:
    """A patient's blood gas and oxygen, as far as known."""

    pao2_mmhg: float | None = None
    paco2_mmhg: float | None = None
    fio2: float | None = None
    """None: estimated from the oxygen flow, room air without any."""
    oxygen_l_min: float | None = None
    temperature_c: float = BODY_TEMPERATURE_C
    pressure_mmhg: float = SEA_LEVEL_MMHG
    age_years: float | None = None

    @property
    def given(self) -> bool:
        """Whether there is anything to report."""
        return any(
            value is not None for value in (self.pao2_mmhg, self.paco2_mmhg, self.oxygen_l_min)
        )


def measure_oxygen(gas: BloodGas) -> tuple[Measurement, ...]:
    """Rows on oxygen for the results; nothing when nothing was given."""
    if not gas.given:
        return ()
    rows: list[Measurement] = []
    region = Region.LUNGS
    if gas.pao2_mmhg is None or gas.paco2_mmhg is None:
        rows.append(
            missing(region, "aado2", "needs both arterial oxygen and carbon dioxide pressure")
        )
    elif reason := _no_fio2(gas):
        rows.append(missing(region, "aado2", reason))
    else:
        fio2, how, caution = _fio2(gas)
        value = aado2_mmhg(
            pao2_mmhg=gas.pao2_mmhg,
            paco2_mmhg=gas.paco2_mmhg,
            fio2=fio2,
            pressure_mmhg=gas.pressure_mmhg,
            temperature_c=gas.temperature_c,
        )
        method = (
            f"full alveolar gas equation, FiO2 {fio2:.2f} ({how}), {gas.pressure_mmhg:.0f} mmHg, "
            f"{gas.temperature_c:.1f} °C, R {RESPIRATORY_QUOTIENT:g}"
        )
        rows.append(measured(region, "aado2", value, method, caution=caution))
    if gas.age_years is not None:
        rows.append(
            measured(
                region,
                "aado2_expected",
                expected_aado2_mmhg(gas.age_years),
                "age / 4 + 4, breathing room air",
                caution=_ON_OXYGEN if _on_oxygen(gas) else "",
            )
        )
    if gas.oxygen_l_min is not None:
        above = oxygen_group(gas.oxygen_l_min) == "above_2_l_min"
        rows.append(
            measured(
                region,
                "oxygen_flow_above_2",
                float(above),
                f"oxygen flow of {gas.oxygen_l_min:g} L/min; exactly 2 L/min counts as not above",
            )
        )
    return tuple(rows)


_ON_OXYGEN = "expected breathing room air; on oxygen the gradient of healthy lungs is larger"


def _on_oxygen(gas: BloodGas) -> bool:
    return bool(gas.oxygen_l_min) or (gas.fio2 is not None and gas.fio2 > ROOM_AIR_FIO2 + 0.005)


def _no_fio2(gas: BloodGas) -> str:
    """Say why the inspired oxygen fraction is not known; nothing where it is."""
    flow = gas.oxygen_l_min
    if gas.fio2 is not None or flow is None or flow <= NASAL_MOST_L_MIN:
        return ""
    return (
        f"the inspired oxygen fraction cannot be estimated from {flow:g} L/min (nasal prongs: up "
        f"to {NASAL_MOST_L_MIN:g} L/min); give it with --fio2"
    )


def _fio2(gas: BloodGas) -> tuple[float, str, str]:
    if gas.fio2 is not None:
        return gas.fio2, "given", ""
    if gas.oxygen_l_min:
        caution = "inspired oxygen was estimated from the flow of nasal prongs"
        return fio2_from_nasal_flow(gas.oxygen_l_min), "estimated from nasal flow", caution
    return ROOM_AIR_FIO2, "room air", ""

"""Lung volume reduction: the white paper's flag for surgery and a ranking of target lobes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from lungperfusion.measurement import Measurement
from lungperfusion.terms import LOBES, Region

UPPER_EMPHYSEMA_PERCENT = 50.0
"""At least: CT:VQ white paper, responders of volume reduction surgery."""

UPPER_PERFUSION_PERCENT = 8.0
"""At most: CT:VQ white paper; taken as the share of both upper zones together."""

RESPONSE_RATES_PERCENT = (46.0, 76.0)
"""FEV1 gain of 250 mL or more in all 50 patients of the white paper, and in those with the flag."""

_UPPER_ZONES = (Region.LEFT_UPPER_ZONE, Region.RIGHT_UPPER_ZONE)
_SIDES = {
    Region.LEFT_UPPER_LOBE: (Region.LEFT_LOWER_LOBE,),
    Region.LEFT_LOWER_LOBE: (Region.LEFT_UPPER_LOBE,),
    Region.RIGHT_UPPER_LOBE: (Region.RIGHT_MIDDLE_LOBE, Region.RIGHT_LOWER_LOBE),
    Region.RIGHT_MIDDLE_LOBE: (Region.RIGHT_UPPER_LOBE, Region.RIGHT_LOWER_LOBE),
    Region.RIGHT_LOWER_LOBE: (Region.RIGHT_UPPER_LOBE, Region.RIGHT_MIDDLE_LOBE),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SurgeryFlag:
    """The white paper's two criteria; NaN and None where a zone is missing."""

    upper_emphysema_percent: float
    upper_perfusion_percent: float
    met: bool | None
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetLobe:
    """One lobe as a target of valves, rank 1 first."""

    rank: int
    lobe: str
    emphysema_percent: float
    ventilation_percent: float
    perfusion_percent: float
    volume_percent: float
    heterogeneity_percent: float
    """Emphysema minus that of the other lobes of the same lung, weighed by inspiratory volume."""
    score: float
    """Emphysema share, plus how far V and Q fall short of the volume share; all in points."""


def flag_surgery(measurements: Iterable[Measurement]) -> SurgeryFlag:
    """Apply the white paper's criteria: upper-zone emphysema >= 50 % and perfusion <= 8 %.

    Emphysema is a share of inspiratory volume, so that zones are weighed by that.
    """
    value = _Values(measurements)
    volumes = [value(zone, "inspiratory_volume") for zone in _UPPER_ZONES]
    emphysema = [value(zone, "emphysema") for zone in _UPPER_ZONES]
    perfusion = math.fsum(value(zone, "perfusion_share") for zone in _UPPER_ZONES)
    weighted = math.fsum(v * e for v, e in zip(volumes, emphysema, strict=True))
    upper = weighted / math.fsum(volumes) if math.fsum(volumes) > 0 else math.nan
    if math.isnan(upper) or math.isnan(perfusion):
        return SurgeryFlag(
            upper_emphysema_percent=upper,
            upper_perfusion_percent=perfusion,
            met=None,
            sentence="The criteria need both upper zones, and one could not be measured.",
        )
    met = upper >= UPPER_EMPHYSEMA_PERCENT and perfusion <= UPPER_PERFUSION_PERCENT
    low, high = RESPONSE_RATES_PERCENT
    sentence = (
        f"Upper zones: {upper:.0f} % emphysema (criterion: at least {UPPER_EMPHYSEMA_PERCENT:g} %) "
        f"and {perfusion:.1f} % of the perfusion surrogate (at most "
        f"{UPPER_PERFUSION_PERCENT:g} %): "
        f"criteria {'met' if met else 'not met'}. In the cited 50 patients the response rate was "
        f"{high:g} % with both criteria and {low:g} % overall; thresholds of another software."
    )
    return SurgeryFlag(
        upper_emphysema_percent=upper, upper_perfusion_percent=perfusion, met=met, sentence=sentence
    )


def rank_targets(measurements: Iterable[Measurement]) -> tuple[TargetLobe, ...]:
    """Order the lobes by how much is destroyed and how little they contribute."""
    value = _Values(measurements)
    rows = []
    for lobe in LOBES:
        emphysema = value(lobe, "emphysema")
        shares = [value(lobe, f"{name}_share") for name in ("ventilation", "perfusion", "volume")]
        if math.isnan(emphysema) or any(math.isnan(share) for share in shares):
            continue
        others = [
            (value(other, "inspiratory_volume"), value(other, "emphysema"))
            for other in _SIDES[lobe]
        ]
        known = [(v, e) for v, e in others if not math.isnan(v) and not math.isnan(e)]
        total = math.fsum(v for v, _ in known)
        rest = math.fsum(v * e for v, e in known) / total if total > 0 else math.nan
        shortfall = (shares[2] - shares[0]) / 2 + (shares[2] - shares[1]) / 2
        rows.append((emphysema + shortfall, lobe, emphysema, shares, emphysema - rest))
    rows.sort(key=lambda row: (-row[0], LOBES.index(row[1])))
    return tuple(
        TargetLobe(
            rank=rank,
            lobe=lobe.value,
            emphysema_percent=emphysema,
            ventilation_percent=shares[0],
            perfusion_percent=shares[1],
            volume_percent=shares[2],
            heterogeneity_percent=heterogeneity,
            score=score,
        )
        for rank, (score, lobe, emphysema, shares, heterogeneity) in enumerate(rows, start=1)
    )


class _Values:
    """Look a value up by region and measure; NaN where it is missing."""

    def __init__(self, measurements: Iterable[Measurement]) -> None:
        self._table = {(entry.region, entry.measure): entry.value for entry in measurements}

    def __call__(self, region: Region, measure: str) -> float:
        return self._table.get((region.value, measure), math.nan)

"""Measures of ventilation, perfusion and their match, from an expiratory and inspiratory CT."""

from __future__ import annotations

from dataclasses import replace

from lungperfusion.terms.density import (
    AIR_TRAPPING_BELOW_HU,
    EMPHYSEMA_BELOW_HU,
    GROUND_GLASS_FROM_HU,
)
from lungperfusion.terms.measures import Measure

LOW_SHARE = 0.6
"""Low is strictly below this share of the mean, or of what is expected: the usual cut of the
ventilation defect percent (Thomen 2015, Radiology 274:250)."""

PRM_AT_MOST_HU = -500.0
"""Voxels above, in either scan, are not classified by the parametric response map: vessels, airway
walls and dense lung (Hoff 2017, Sci Rep 7:2999, doi:10.1038/s41598-017-02871-1)."""

RATING_LIMITS = (0.2, 0.4, 0.6, 0.8)
"""Perfusion per volume of a zone, over that of both lungs, at which the rating rises by one."""

_WHITE_PAPER = "CT:VQ white paper"
_OWN = "this project; docs/ctvq.md"
_VOXELS = "over expiratory lung voxels outside vessels and airways"
_CLASSES = f"low: below {LOW_SHARE:g} x the mean of both lungs, after smoothing"


def _share(kind: str, words: str, meaning: str) -> tuple[Measure, ...]:
    return tuple(
        Measure(
            id=f"{kind}_share{suffix}",
            title=f"{words}, share of {of}",
            unit="%",
            formula=f"100 x {of} of voxels with {meaning} / {of} of the region; {_CLASSES}",
            source=f"classes: {_WHITE_PAPER}; threshold: ventilation defect percent in use for "
            "hyperpolarised gas",
        )
        for suffix, of in (("", "volume"), ("_of_v", "ventilation"), ("_of_q", "perfusion"))
    )


def _response(kind: str, words: str, inspiration: str, expiration: str) -> Measure:
    """Class of the parametric response map, by how densities lie to the limits."""
    return Measure(
        id=f"prm_{kind}",
        title=f"Parametric response: {words}",
        unit="%",
        formula=f"100 x volume (inspiration {inspiration} {EMPHYSEMA_BELOW_HU:g} HU, expiration "
        f"{expiration} {AIR_TRAPPING_BELOW_HU:g} HU) / classified volume, after a 3 x 3 x 3 "
        f"median, without voxels above {PRM_AT_MOST_HU:g} HU",
        source="Galban 2012, Nat Med 18:1711; Hoff 2017, Sci Rep 7:2999",
    )


VQ_MEASURES = (
    Measure(
        id="expiratory_volume",
        title="Expiratory volume",
        unit="mL",
        formula="voxels of the expiratory scan x voxel volume",
        source=_OWN,
    ),
    Measure(
        id="inspiratory_volume",
        title="Inspiratory volume",
        unit="mL",
        formula="voxels of the region in the inspiratory scan x voxel volume",
        source=_OWN,
    ),
    Measure(
        id="volume_change",
        title="Volume change on inspiration",
        unit="mL",
        formula="sum of (Jacobian - 1) x voxel volume",
        source="Reinhardt 2008, Med Image Anal 12:752",
        possible=(-15_000.0, 15_000.0),
    ),
    Measure(
        id="ventilation_mean",
        title="Mean ventilation",
        unit="mL/mL",
        formula=f"mean volume change per expiratory volume {_VOXELS}",
        source="Reinhardt 2008, Med Image Anal 12:752",
    ),
    Measure(
        id="specific_ventilation",
        title="Specific ventilation",
        unit="mL/mL",
        formula="inspired air / air at expiration; ratio of sums over the region",
        source="Ding 2012, Med Phys 39:5084",
    ),
    Measure(
        id="ventilation_share",
        title="Relative ventilation",
        unit="%",
        formula="100 x ventilation of the region / ventilation of both lungs",
        source=_WHITE_PAPER,
    ),
    Measure(
        id="perfusion_share",
        title="Relative perfusion (CT surrogate)",
        unit="%",
        formula="100 x perfusion surrogate of the region / that of both lungs",
        source=_WHITE_PAPER,
    ),
    Measure(
        id="volume_share",
        title="Relative expiratory volume",
        unit="%",
        formula="100 x expiratory volume of the region / that of both lungs",
        source="what ventilation and perfusion shares are if the lung is even",
    ),
    Measure(
        id="dense_share",
        title="Ground glass and consolidation at inspiration",
        unit="%",
        formula=f"100 x volume where inspiratory HU >= {GROUND_GLASS_FROM_HU:g} fills its "
        "neighbourhood / volume; no perfusion there, as its density is not that of blood",
        source=_OWN,
    ),
    Measure(
        id="mass_change",
        title="Mass change on inspiration",
        unit="%",
        formula="100 x (sum of Jacobian x inspiratory density / sum of expiratory density - 1), "
        "density 1 + HU / 1000 of the parenchyma, HU of both scans brought together",
        source="Castillo 2021; see docs/ctvq.md",
    ),
    Measure(
        id="vcv",
        title="Ventilation heterogeneity Vcv",
        unit="1",
        formula=f"SD / mean of ventilation {_VOXELS}",
        source=_WHITE_PAPER,
    ),
    Measure(
        id="qcv",
        title="Perfusion heterogeneity Qcv",
        unit="1",
        formula=f"SD / mean of the perfusion surrogate {_VOXELS}",
        source=_WHITE_PAPER,
    ),
    Measure(
        id="vh",
        title="Ventilation heterogeneity, IQR / mean",
        unit="1",
        formula=f"interquartile range / mean of ventilation {_VOXELS}",
        source="abstracts on the cleared product (docs/ctvq.md)",
    ),
    Measure(
        id="qh",
        title="Perfusion heterogeneity, IQR / mean",
        unit="1",
        formula=f"interquartile range / mean of the perfusion surrogate {_VOXELS}",
        source="abstracts on the cleared product (docs/ctvq.md)",
    ),
    Measure(
        id="v_entropy",
        title="Ventilation entropy",
        unit="1",
        formula="Shannon entropy in bits of V / mean in 32 bins from 0 to 3",
        source=_OWN,
    ),
    Measure(
        id="q_entropy",
        title="Perfusion entropy",
        unit="1",
        formula="Shannon entropy in bits of Q / mean in 32 bins from 0 to 3",
        source=_OWN,
    ),
    *(
        Measure(
            id=f"{letter}_gradient_{axis}",
            title=f"{words} gradient, {way}",
            unit="1",
            formula=f"slope of {letter.upper()} / mean against relative position, "
            f"0 {start} to 1 {end}",
            source=_OWN,
        )
        for letter, words in (("v", "Ventilation"), ("q", "Perfusion"))
        for axis, way, start, end in (
            ("si", "base to apex", "lowest", "highest"),
            ("pa", "back to front", "most posterior", "most anterior"),
        )
    ),
    Measure(
        id="ventilation_defect_share",
        title="Ventilation defect",
        unit="%",
        formula=f"100 x volume with low ventilation / volume; {_CLASSES}",
        source="ventilation defect percent of hyperpolarised gas imaging",
    ),
    Measure(
        id="perfusion_defect_share",
        title="Perfusion defect (CT surrogate)",
        unit="%",
        formula=f"100 x volume with low perfusion surrogate / volume; {_CLASSES}",
        source=_OWN,
    ),
    Measure(
        id="ventilation_defect_volume",
        title="Ventilation defect volume",
        unit="mL",
        formula=f"expiratory volume with low ventilation; {_CLASSES}",
        source=_OWN,
    ),
    Measure(
        id="perfusion_defect_volume",
        title="Perfusion defect volume (CT surrogate)",
        unit="mL",
        formula=f"expiratory volume with low perfusion surrogate; {_CLASSES}",
        source=_OWN,
    ),
    *_share("shunt", "Shunt-like", "perfusion preserved and ventilation low"),
    *_share("dead_space", "Dead-space-like", "ventilation preserved and perfusion low"),
    *_share("matched_defect", "Matched defect", "ventilation and perfusion low"),
    *_share("vq_abnormal", "V/Q abnormal", "ventilation or perfusion low"),
    Measure(
        id="vq_log_sd",
        title="V/Q mismatch, log SD",
        unit="1",
        formula=f"perfusion-weighted SD of ln(V / Q) {_VOXELS}",
        source="log SD Q of the multiple inert gas technique: Wagner 1974, J Clin Invest 54:54",
    ),
    Measure(
        id="air_trapping",
        title="Air trapping",
        unit="%",
        formula=f"100 x volume (expiratory HU < {AIR_TRAPPING_BELOW_HU:g} after a 3 x 3 x 3 "
        "median) / volume",
        source="Schroeder 2013, AJR 201:W460; median: Hoff 2017, Sci Rep 7:2999",
    ),
    Measure(
        id="emphysema",
        title="Emphysema at inspiration",
        unit="%",
        formula=f"100 x volume with HU < {EMPHYSEMA_BELOW_HU:g} / volume, of the inspiratory "
        "scan's own region",
        source="Gevenois 1995, Am J Respir Crit Care Med 152:653",
    ),
    _response("normal", "normal", ">=", ">="),
    _response("small_airways", "functional small airways disease", ">=", "<"),
    _response("emphysema", "emphysema", "<", "<"),
    Measure(
        id="zone_rating",
        title="Perfusion rating, 1 absent to 5 well perfused",
        unit="1",
        formula=f"1 + number of limits {', '.join(map(str, RATING_LIMITS))} that Q / volume "
        "share of the zone reaches",
        source=f"scale of the reader study in the {_WHITE_PAPER}; limits: {_OWN}",
    ),
)
"""Measures of the ctvq command; shares sum to 100 over a partition of both lungs."""

MEASURED = "measured_"
"""Before the ID of a measure that rests on a measured map instead of CT alone."""

_OF_Q = ("perfusion_", "qcv", "qh", "q_", "zone_rating")
_OF_V = ("ventilation_share", "vcv", "vh")
_OF_BOTH = ("ventilation_defect_", "shunt", "dead_space", "matched_defect", "vq_")


def _of_measured(measure: Measure) -> Measure:
    """Make the same measure of measured maps."""
    surrogate = " (CT surrogate)"
    words = measure.title.removesuffix(surrogate)
    maps = "measured" if measure.id.startswith((*_OF_Q, *_OF_V)) else "measured maps"
    return replace(
        measure,
        id=f"{MEASURED}{measure.id}",
        title=f"{words} ({maps})",
        formula=measure.formula.replace("perfusion surrogate", "measured perfusion"),
    )


MEASURED_MEASURES = tuple(
    _of_measured(m) for m in VQ_MEASURES if m.id.startswith((*_OF_Q, *_OF_V, *_OF_BOTH))
)
"""Measures of the ctvq command where perfusion or ventilation was measured."""

MEASURED_OF_Q = frozenset(
    m.id for m in MEASURED_MEASURES if m.id.removeprefix(MEASURED).startswith(_OF_Q)
)
"""Those that a measured perfusion gives by itself."""

MEASURED_OF_V = frozenset(
    m.id for m in MEASURED_MEASURES if m.id.removeprefix(MEASURED).startswith(_OF_V)
)
"""Those that a measured ventilation gives by itself."""

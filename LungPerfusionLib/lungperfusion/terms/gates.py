"""Which measures rest on which quality gate, and what a gate that is not passed does to them.

A gate is emitted where it is checked; here stands, once for all analyses, what follows from it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from lungperfusion.terms import (
    MEASURES,
    decisions,
    density,
    dynamic,
    iodine,
    lobes,
    vessels,
    vq,
    xenon,
)
from lungperfusion.terms.measures import Measure
from lungperfusion.terms.regions import FISSURES, HALVES, LOBES, LUNGS, ZONES, Region

Lowered = Literal["caution", "missing"]
"""Status that a value can be lowered to."""

# ------------------------------------------------------------------------- groups of measures


def _ids(measures: Iterable[Measure]) -> frozenset[str]:
    return frozenset(measure.id for measure in measures)


GIVEN = (
    frozenset({"qanadli", "pa_ao_ratio", "rv_lv_ratio"})
    | {"aado2", "aado2_expected", "oxygen_flow_above_2", "function_stratum"}
    | _ids(decisions.FUNCTION)
)
"""A reader's or a laboratory's own: no gate of an image bears on them."""

ABOUT_THE_SCAN = frozenset(
    {
        *("blood_density", "vessel_background", "vessel_noise"),
        *("smallest_cross_section", "point_spread", "boundary_support"),
    }
)
"""They say how good the scan or a step is: what gates are made of, not what rests on them."""

_ALL = MEASURES.values()

IMAGED = _ids(_ALL) - GIVEN - ABOUT_THE_SCAN
"""Everything that is measured in the lungs."""

EXTENT = (
    frozenset(
        measure.id
        for measure in _ALL
        if measure.unit in {"L", "mL", "g", "mg", "HU.L", "m", "mm2", "mL/m2"}
    )
    | {"vessel_count", "perc15_adjusted"}
) & IMAGED
"""Sums over the lungs or corrected by their volume: lower bounds where a part of them is missing"""

SHARES_OF_LUNGS = frozenset(
    {"lobe_volume_share", "ventilation_share", "perfusion_share", "volume_share", "zone_rating"}
    | {"measured_ventilation_share", "measured_perfusion_share", "measured_zone_rating"}
)
"""One part against all others: wrong in every part when one of them is incomplete."""

DENSITY = frozenset(
    {
        *("air_volume", "tissue_volume", "air_share", "lung_mass", "mld", "median_density"),
        *("perc15", "perc15_adjusted"),
    }
)
"""Move with every CT number of the lung."""

TAILS = frozenset({"density_sd", "skewness", "kurtosis", "perc15", "perc15_adjusted"})
"""Shape and edge of the histogram: they hold the noise and the sharpness of the scan as well."""

LOW_ATTENUATION = frozenset(
    {
        *("laa_950", "laa_950_without_noise", "laa_910", "laa_856", "perc15", "perc15_adjusted"),
        *("emphysema", "air_trapping", "prm_normal", "prm_small_airways", "prm_emphysema"),
        *("lvrs_flag", "target_rank", "target_score"),
    }
)
"""Voxels below a threshold near that of air."""

NOISY = (
    frozenset({"laa_950", "laa_910", "laa_856", "emphysema"})
    | {"lvrs_flag", "target_rank", "target_score"}
    | TAILS
)
"""Count single voxels as they are: air trapping and the parametric response take medians first."""

OPACITY = frozenset(
    {"haa", "ggo", "consolidation_share", "isolated_low_dlco", "gas_transfer_mismatch"}
)
"""Voxels above a threshold near that of tissue."""

IODINE = _ids(iodine.IODINE_MEASURES) - GIVEN
IODINE_AMOUNT = frozenset(
    {
        *("iodine_mean", "iodine_aerated_mean", "iodine_median", "iodine_p10", "iodine_p90"),
        *("iodine_concentration", "iodine_mass", "ipv", "pbv", "pbv_volume", "defect_share_40hu"),
    }
)
"""Scale with the calibration; shares, ratios and defects against the lung's own level do not."""
DEFECTS = frozenset(name for name in IODINE if name.startswith("defect_"))
VESSELS = _ids(vessels.VESSEL_MEASURES) - GIVEN - ABOUT_THE_SCAN
SMALL_VESSELS = frozenset(
    name for name in VESSELS if "bv5" in name or "below_1_25" in name or name.startswith("vessel_")
)
"""What noise, blur and thick slices take away first."""

FISSURE = frozenset({"interlobar_area", "fissure_completeness"})

PLANNING = _ids(decisions.PLANNING)
MEASURED = _ids(vq.MEASURED_MEASURES)
"""Rest on a measured map, and on CT for the lungs, the motion and what was not measured."""
MEASURED_Q, MEASURED_V = MEASURED - vq.MEASURED_OF_V, MEASURED - vq.MEASURED_OF_Q
VQ = _ids(vq.VQ_MEASURES) | PLANNING | MEASURED
EXPIRATION_ALONE = frozenset({"expiratory_volume", "volume_share", "air_trapping"})
"""Read on the expiratory scan."""
INSPIRATION_ALONE = frozenset({"inspiratory_volume", "emphysema"})
"""Read on the inspiratory scan."""
REGISTERED = VQ - EXPIRATION_ALONE - INSPIRATION_ALONE
PERFUSION = frozenset(
    name for name in VQ if name.startswith(("perfusion_", "q_", "qcv", "qh", "zone_rating"))
)
VENTILATION = frozenset(
    name
    for name in VQ
    if name.startswith(("ventilation_", "specific_", "v_", "vcv", "vh", "volume_change"))
)
PRM = frozenset(name for name in VQ if name.startswith("prm_"))
MISMATCH = REGISTERED - PERFUSION - VENTILATION - MEASURED - (LOW_ATTENUATION - PLANNING)
"""Need both ventilation and perfusion."""

DYNAMIC = _ids(dynamic.DYNAMIC_MEASURES)
"""Read from the frames of a first pass."""
COURSE = frozenset({"dynamic_ttp", "slab_share"})
"""Need no level of the tissue before the bolus."""
RISE = frozenset({"pulmonary_flow_slope", "pulmonary_flow_slope_per_mass", "dynamic_ttp"})
"""Over before the bolus has left."""
AREA = frozenset(
    name
    for name in DYNAMIC
    if name.startswith(("dynamic_blood_volume", "flow_deficit", "flow_excess"))
)
"""Areas under curves: they hardly depend on the steps between the frames."""
XENON = _ids(xenon.XENON_MEASURES)
XENON_RATIOS = frozenset(name for name in XENON if name.startswith(("xe_rbc", "xe_kco", "xe_dlco")))
"""Hold xenon in red cells."""
XENON_AGAINST_CT = frozenset(
    {"xe_ct_normal_share", "xe_membrane_side_share", "xe_perfusion_side_share"}
    | {f"{name}_share" for name in xenon.MISMATCH_CLASSES}
)
"""Rest on CT and MRI voxel by voxel."""
JOINED = (*LOBES, *ZONES, *HALVES)
"""Regions that a xenon MRI has from the CT alone."""

FULL_INSPIRATION = (
    frozenset({"tlv", "ipv", "iodine_mean", "iodine_aerated_mean", "iodine_concentration", "pbv"})
    | DENSITY
    | TAILS
    | OPACITY
    | (LOW_ATTENUATION - EXPIRATION_ALONE)
)
"""Defined, published or comparable for scans at full inspiration."""

# -------------------------------------------------------------------------------------- effects


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What a gate that is not passed does to some measures."""

    measures: frozenset[str]
    on_warn: Lowered | None = "caution"
    on_fail: Lowered = "missing"
    regions: frozenset[str] | None = None
    """None for every region."""

    def lowers(self, measure: str, region: str, verdict: str) -> Lowered | None:
        """Status that a value of this measure and region falls to; None if it stays."""
        if measure not in self.measures or not (self.regions is None or region in self.regions):
            return None
        return {"warn": self.on_warn, "fail": self.on_fail}.get(verdict)


def _doubt(
    measures: frozenset[str], *regions: Region, on_warn: Lowered | None = "caution"
) -> Effect:
    """Values stand with a caution even when the gate fails."""
    return Effect(
        measures=measures,
        on_warn=on_warn,
        on_fail="caution",
        regions=frozenset(regions) if regions else None,
    )


def _needs(measures: frozenset[str], *, on_warn: Lowered | None = "caution") -> Effect:
    """Without this gate there is no value."""
    return Effect(measures=measures, on_warn=on_warn)


def _fissure(*beside: Region) -> tuple[Effect, ...]:
    """Without support a boundary may be far off; measures of lobes say so themselves."""
    others = IMAGED - _ids(lobes.LOBE_MEASURES)
    return (
        _doubt((EXTENT | SHARES_OF_LUNGS) & others, *beside),
        _doubt(others, *beside, on_warn=None),
    )


def _joined() -> tuple[Effect, ...]:
    """Without a sound join there is nothing of the regions that the CT gives; the lungs stay."""
    regions = frozenset(JOINED)
    return (Effect(measures=XENON, regions=regions), Effect(measures=XENON_AGAINST_CT))


GATES: dict[str, tuple[Effect, ...]] = {
    # files: what was left out may have been slices at an end
    "complete_series": (_doubt(IMAGED),),
    "voxel_size": (_doubt(IMAGED),),
    # lungs
    # a mirrored or turned image puts every value on the wrong side or end
    "orientation": (_doubt(IMAGED),),
    "both_lungs": (
        _needs(IMAGED, on_warn=None),
        _doubt(EXTENT, Region.LUNGS),
    ),
    "side_ratio": (
        _doubt(EXTENT | SHARES_OF_LUNGS, *LUNGS),
        _doubt(EXTENT | SHARES_OF_LUNGS, on_warn=None),
    ),
    "lung_volume": (_needs(EXTENT), _doubt(IMAGED, on_warn=None)),
    "truncation": (_doubt(EXTENT | SHARES_OF_LUNGS), _doubt(IMAGED, on_warn=None)),
    "air_calibration": (
        _needs(DENSITY | LOW_ATTENUATION),
        _doubt(OPACITY | PERFUSION | MISMATCH, on_warn=None),
    ),
    # what the tree floods is taken out of the lungs
    "airways": (_doubt(EXTENT | SHARES_OF_LUNGS | DENSITY | LOW_ATTENUATION | VESSELS | IODINE),),
    "noise": (_doubt(NOISY | {"laa_950_without_noise"}),),
    "kernel": (_doubt(NOISY),),
    "blood_calibration": (_doubt(DENSITY | OPACITY | VESSELS),),
    "contrast": (_doubt(DENSITY | OPACITY | PERFUSION | MISMATCH),),
    "blood_agreement": (_doubt(VESSELS),),
    "slice_thickness": (
        _doubt(LOW_ATTENUATION | TAILS | FISSURE),
        _doubt(IMAGED, *LOBES, *FISSURES, on_warn=None),
        _doubt(EXTENT, on_warn=None),
    ),
    "inspiration": (_doubt(FULL_INSPIRATION | VENTILATION),),
    "dense_lung": (
        _doubt(
            frozenset({"tlv", "tissue_volume", "lung_mass", "consolidation_share", "ipv"})
            | frozenset({"iodine_mean", "iodine_mass", "pbv"})
            | PERFUSION
            | MISMATCH
        ),
    ),
    "missed_disease": (_doubt(EXTENT | SHARES_OF_LUNGS | OPACITY),),
    "gas_pocket": (
        _doubt(
            frozenset({"tlv", "ipv", "air_volume", "air_share", "mld", "expiratory_volume"})
            | LOW_ATTENUATION
            | VENTILATION
        ),
    ),
    # lobes
    "left_oblique_fissure": _fissure(Region.LEFT_UPPER_LOBE, Region.LEFT_LOWER_LOBE),
    "right_oblique_fissure": _fissure(
        Region.RIGHT_UPPER_LOBE, Region.RIGHT_MIDDLE_LOBE, Region.RIGHT_LOWER_LOBE
    ),
    "right_horizontal_fissure": _fissure(Region.RIGHT_UPPER_LOBE, Region.RIGHT_MIDDLE_LOBE),
    # Vessels and bronchi only help to find boundaries: the gates of the fissures judge those.
    "vessel_map": (),
    "airway_map": (),
    # programs of others that draw lungs and lobes: two outlines of which one must be wrong
    "engine_lungs": (_doubt(EXTENT | SHARES_OF_LUNGS), _doubt(IMAGED, on_warn=None)),
    "engine_lobes": (
        _doubt(EXTENT | SHARES_OF_LUNGS, *LOBES, *FISSURES),
        _doubt(IMAGED, *LOBES, *FISSURES, on_warn=None),
    ),
    # iodine
    "pair_alignment": (_needs(IODINE),),
    "subtraction_alignment": (_needs(IODINE),),
    "iodine_ratio": (_needs(IODINE_AMOUNT), _doubt(IODINE, on_warn=None)),
    "iodine_level": (_needs(IODINE_AMOUNT), _doubt(IODINE, on_warn=None)),
    "iodine_air": (_doubt(IODINE_AMOUNT),),
    "soft_tissue_calibration": (_doubt(IODINE_AMOUNT),),
    "blood_share": (_doubt(DEFECTS | {"pbv", "pbv_volume"}),),
    "streaks": (_doubt(DEFECTS),),
    "iodine_map_coverage": (_needs(IODINE & EXTENT), _doubt(IODINE)),
    "iodine_map_clipping": (_doubt(IODINE),),
    # ventilation and perfusion
    "registration_folding": (_needs(REGISTERED),),
    "registration_inverse": (_needs(REGISTERED),),
    "registration_consistency": (_needs(REGISTERED),),
    "registration_texture": (_needs(REGISTERED),),
    # of two scans voxel by voxel; sums over lobes hardly move with the motion of a rim
    "registration_rim": (_doubt(MISMATCH | PRM | MEASURED),),
    "registration_landmarks": (_needs(REGISTERED),),
    "registration_vessels": (_needs(REGISTERED),),
    "registration_density": (_needs(REGISTERED),),
    "registration_volume": (_needs(VENTILATION | MISMATCH), _doubt(PERFUSION | MEASURED)),
    "pair_calibration": (
        _doubt(frozenset({"mass_change", "specific_ventilation"})),
        _doubt(PERFUSION | MISMATCH, on_warn=None),
    ),
    "breath_depth": (_needs(VENTILATION | MISMATCH), _doubt(PERFUSION | MEASURED)),
    "common_view": (_doubt(VQ),),
    # dynamic perfusion
    "first_pass_baseline": (_needs(DYNAMIC - COURSE),),
    "first_pass_step": (_needs(DYNAMIC - AREA - {"slab_share"}),),
    "first_pass_end": (_needs(DYNAMIC - RISE - {"slab_share"}),),
    "first_pass_motion": (_doubt(DYNAMIC),),
    "first_pass_frames": (_doubt(DYNAMIC),),
    "first_pass_order": (_needs(DYNAMIC - {"slab_share"}),),
    # measured maps
    "perfusion_map_alignment": (_needs(MEASURED_Q),),
    "ventilation_map_alignment": (_needs(MEASURED_V),),
    "perfusion_map_coverage": (_needs(MEASURED_Q),),
    "ventilation_map_coverage": (_needs(MEASURED_V),),
    # xenon MRI
    "xenon_gas": (_doubt(XENON_RATIOS),),
    "xenon_haemoglobin": (_doubt(XENON_RATIOS | XENON_AGAINST_CT),),
    "xenon_spectrum": (_doubt(XENON_RATIOS),),
    "xenon_statistics": (_doubt(XENON),),
    "xenon_orientation": (_doubt(XENON, *LUNGS, *JOINED), _doubt(XENON_AGAINST_CT)),
    "xenon_breath": _joined(),
    "xenon_overlap": _joined(),
    "xenon_surface": _joined(),
    "xenon_ct_breath": (_doubt(XENON_AGAINST_CT),),
    # vessels
    "vessel_slice_thickness": (_needs(VESSELS),),
    "vessel_blood_density": (_doubt(VESSELS),),
    "vessel_core_density": (_doubt(VESSELS),),
    "vessel_detectability": (_needs(SMALL_VESSELS), _doubt(VESSELS, on_warn=None)),
    "vessel_noise": (_needs(SMALL_VESSELS),),
    "vessel_breath": (_doubt(VESSELS),),
    "vessel_point_spread": (_needs(SMALL_VESSELS),),
    "vessel_contrast": (_doubt(VESSELS),),
}
"""Effects of every gate that the program has, by its ID; a test finds gates that are not here."""

STATES = {"expiration": INSPIRATION_ALONE, "inspiration": EXPIRATION_ALONE}
"""Breaths that ``ctvq`` puts before the ID of a gate of one scan, with what is read on the other"""

UNLISTED = (_doubt(IMAGED),)
"""A gate that nobody has described may bear on anything."""


def effects_of(gate_id: str) -> tuple[Effect, ...]:
    """Return what a gate bears on; a breath before its ID leaves out what the other scan gives."""
    if gate_id in GATES:
        return GATES[gate_id]
    state, _, base = gate_id.partition("_")
    if state not in STATES or base not in GATES:
        return UNLISTED
    return tuple(
        Effect(
            measures=(effect.measures & VQ) - STATES[state],
            on_warn=effect.on_warn,
            on_fail=effect.on_fail,
            regions=effect.regions,
        )
        for effect in GATES[base]
    )


OF_ANALYSIS: dict[str, frozenset[str]] = {
    "lungs": _ids(density.DENSITY_MEASURES),
    "lobes": _ids(lobes.LOBE_MEASURES),
    "ipv": IODINE,
    "ctvq": _ids(vq.VQ_MEASURES) | MEASURED,
    "vesselbv": VESSELS,
    "dynamic": DYNAMIC,
    "xenon": XENON,
}
"""What each analysis of an image is made for."""


def concerns(gate_id: str, verdict: str, analysis: str) -> bool:
    """Whether a gate with this verdict lowers a value that an analysis is made for."""
    return any(
        effect.measures & OF_ANALYSIS[analysis]
        and {"warn": effect.on_warn, "fail": effect.on_fail}.get(verdict)
        for effect in effects_of(gate_id)
    )

"""Dynamic perfusion: flow, blood volume and transit time from the first pass of a bolus."""

from __future__ import annotations

import math

from lungperfusion.terms.measures import Measure, Reference

_META = "dynamic perfusion meta-analysis"
_HEALTHY = "healthy lungs, studies of CT and MRI together; by vendors' models, without this one's"
_FLOW, _VOLUME = "mL/min/100mL", "mL/100mL"
_FIT = "two-input fit"
_SLOPE = "steepest rise, split at the peak of the left atrium"
_SVD = "block-circulant singular values, pulmonary input alone"
_PROFILE = "95 % profile likelihood over all kernels"


def _measure(
    id: str,
    title: str,
    unit: str,
    formula: str,
    source: str = "this project",
    reference: Reference | None = None,
) -> Measure:
    high = {"%": 100.0}.get(unit, math.inf)
    return Measure(
        id=id,
        title=title,
        unit=unit,
        formula=formula,
        source=source,
        reference=reference,
        possible=(0.0, high),
    )


def _with_interval(id: str, title: str, unit: str) -> tuple[Measure, ...]:
    return tuple(
        _measure(f"{id}_{end}", f"{title}, {words} end", unit, f"{_PROFILE} of the {_FIT}")
        for end, words in (("low", "lower"), ("high", "upper"))
    )


def _per_mass(id: str, title: str, unit: str) -> Measure:
    grams = unit.replace("100mL", "100g")
    formula = "per 100 mL of lung / density of the tissue (baseline HU + 1000) / 1000"
    return _measure(f"{id}_per_mass", f"{title} of tissue", grams, formula, "Dakin 2008")


DYNAMIC_MEASURES = (
    _measure(
        "dynamic_blood_volume",
        "Dynamic blood volume",
        _VOLUME,
        "100 x area under tissue / area under pulmonary trunk; what has not left at the end of the "
        "series by the two-input fit",
    ),
    _per_mass("dynamic_blood_volume", "Dynamic blood volume", _VOLUME),
    _measure(
        "pulmonary_flow",
        "Pulmonary flow",
        _FLOW,
        f"{_FIT}: input of the pulmonary trunk",
        reference=Reference(246.0, 93.0, f"{_HEALTHY}; 14 studies", _META),
    ),
    *_with_interval("pulmonary_flow", "Pulmonary flow", _FLOW),
    _per_mass("pulmonary_flow", "Pulmonary flow", _FLOW),
    _measure("bronchial_flow", "Bronchial flow", _FLOW, f"{_FIT}: input of the aorta"),
    *_with_interval("bronchial_flow", "Bronchial flow", _FLOW),
    _per_mass("bronchial_flow", "Bronchial flow", _FLOW),
    _measure(
        "perfusion_index",
        "Perfusion index",
        "%",
        f"100 x pulmonary / (pulmonary + bronchial flow), {_FIT}",
        "Yuan 2012",
    ),
    *_with_interval("perfusion_index", "Perfusion index", "%"),
    _measure(
        "dynamic_mtt",
        "Mean transit time",
        "s",
        "60 x blood volume / pulmonary flow (central volume theorem, Meier 1954)",
        reference=Reference(5.91, 1.84, f"{_HEALTHY}; 10 studies", _META),
    ),
    *(
        _measure(
            f"dynamic_mtt_{end}",
            f"Mean transit time, {words} end",
            "s",
            f"60 x blood volume / the {other} end of pulmonary flow",
        )
        for end, words, other in (("low", "lower", "upper"), ("high", "upper", "lower"))
    ),
    _measure(
        "pulmonary_flow_slope",
        "Pulmonary flow by slope",
        _FLOW,
        f"6000 x steepest rise before the split / peak of the pulmonary trunk; {_SLOPE}",
        "Miles 1991; vendors' dual-input software is of this kind",
    ),
    _per_mass("pulmonary_flow_slope", "Pulmonary flow by slope", _FLOW),
    _measure(
        "bronchial_flow_slope",
        "Bronchial flow by slope",
        _FLOW,
        f"6000 x steepest rise after the split / peak of the aorta; {_SLOPE}",
        "Yuan 2012; vendors' dual-input software is of this kind",
    ),
    _per_mass("bronchial_flow_slope", "Bronchial flow by slope", _FLOW),
    _measure(
        "perfusion_index_slope",
        "Perfusion index by slope",
        "%",
        "100 x pulmonary / (pulmonary + bronchial flow), both by slope",
        "Yuan 2012",
    ),
    _measure(
        "pulmonary_flow_svd",
        "Flow by deconvolution",
        _FLOW,
        f"6000 x maximum of the residue; {_SVD}: bronchial flow is in it",
        "Wu 2003",
    ),
    _per_mass("pulmonary_flow_svd", "Flow by deconvolution", _FLOW),
    _measure(
        "dynamic_tmax",
        "Time of the residue's maximum",
        "s",
        f"delay of the tissue; {_SVD}",
        "Wu 2003",
    ),
    _measure(
        "dynamic_ttp", "Time to peak", "s", "peak of the tissue - arrival in the pulmonary trunk"
    ),
    _measure(
        "pulmonary_flow_median", "Pulmonary flow, median of the map", _FLOW, "over voxels of 3 mm"
    ),
    _measure(
        "pulmonary_flow_iqr",
        "Pulmonary flow, quartile spread of the map",
        _FLOW,
        "75th - 25th percentile over voxels of 3 mm",
    ),
    _measure(
        "pulmonary_flow_cv", "Pulmonary flow, variation of the map", "1", "SD / mean of voxels"
    ),
    *(
        _measure(
            f"flow_{kind}_share{suffix}",
            f"Perfusion {kind}{words}",
            "%",
            f"100 x findings {limit} of the median of the patient's lungs / measured lung, by "
            f"blood volume per {unit}",
        )
        for kind, limit in (("deficit", "below 50 %"), ("excess", "above 150 %"))
        for suffix, words, unit in (("", "", "100 mL"), ("_per_mass", " per tissue", "100 g"))
    ),
    _measure(
        "slab_share",
        "Share in the images",
        "%",
        "100 x volume of the region in the slab / whole volume, where the whole is known",
    ),
)

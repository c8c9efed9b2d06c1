"""The whole analysis of one xenon MRI."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungperfusion.analysis.xenon.joined import (
    ChestCt,
    JoinedXenon,
    carried_to_ct,
    carried_to_mri,
    join_xenon,
    perfusion_within,
)
from lungperfusion.measurement import Measurement
from lungperfusion.progress import Progress, ignore, part
from lungperfusion.quality import Gate
from lungperfusion.results.analysis import Analysis, Table
from lungperfusion.results.section import Section
from lungperfusion.results.xenon_sections import Drawn, xenon_sections
from lungperfusion.results.xenon_tables import bin_table, published_table, transfer_table
from lungperfusion.terms import LUNGS, STRUCTURES
from lungperfusion.terms.regions import XENON_CLASS_COLOURS
from lungperfusion.terms.xenon import REFERENCE_SETS, ReferenceSet
from lungperfusion.verdicts import follow_gates
from lungperfusion.volume import Labelmap, Volume
from lungperfusion.xenon.classes import Scale, Sex, expected_rbc_membrane
from lungperfusion.xenon.gates import xenon_gates
from lungperfusion.xenon.images import XenonClasses, XenonMaps, classify_maps
from lungperfusion.xenon.joining import Points
from lungperfusion.xenon.metrics import Evidence, measure_xenon
from lungperfusion.xenon.mismatch import PERFUSION_LOW, transfer_mismatch, transfer_patterns
from lungperfusion.xenon.ratios import NO_CORRECTION, Factors, haemoglobin_factors, volume_factors

CT_ON_MRI = "ct_on_xenon"
MISMATCH = "xe_mismatch"
MISMATCH_ON_CT = "xe_mismatch_on_ct"
"""The same classes on the MRI's grid and on that of the CT."""
TRANSFORM = "xenon_to_ct_transform"


@dataclass(frozen=True, kw_only=True, slots=True)
class Background:
    """What is known of the patient beside the images; None for what is not."""

    age_years: float | None = None
    sex: Sex | None = None
    haemoglobin_g_dl: float | None = None
    dlco_percent: float | None = None
    """Measured TLco, % of predicted."""
    kco_percent: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class XenonOptions:
    """Settings of the analysis."""

    reference: ReferenceSet = REFERENCE_SETS["218"]
    scale: Scale = "percentile"
    bias_corrected: bool = True
    wanted_volume_l: float | None = None
    """Bring the ratios to this lung volume; None leaves them."""
    haemoglobin_applied: bool = False
    """Whether the maps are corrected for haemoglobin already."""
    perfusion_low: float = PERFUSION_LOW
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Further settings for results.json: how the maps came about."""


DEFAULT_OPTIONS = XenonOptions()
NOTHING_KNOWN = Background()


def analyse_xenon(
    maps: XenonMaps,
    chests: Sequence[ChestCt],
    *,
    options: XenonOptions = DEFAULT_OPTIONS,
    background: Background = NOTHING_KNOWN,
    perfusion: Volume | None = None,
    points: tuple[Points, Points] | None = None,
    pictures: bool = True,
    progress: Progress = ignore,
) -> Analysis:
    """Classify gas transfer, join it with CT and measure it per lung, lobe and zone.

    Parameters
    ----------
    maps
        Maps of the MRI on its own grid.
    chests
        One CT with its regions or two of different breaths; the one nearest in volume is joined.
    options
        Reference set and corrections.
    background
        Age, sex, haemoglobin and lung function.
    perfusion
        Iodine or perfusion map on the grid of the CT.
    points
        Corresponding points of a reader, RAS mm, shapes (N, 3), on MRI and on CT.
    pictures
        Whether to draw for the report; needs matplotlib.
    progress
        Called throughout; may raise to cancel.

    Raises
    ------
    InputError
        If the maps are no ratios, the image is mirrored or nothing can be joined.

    """
    progress(0.0, "classifying gas transfer")
    factors = _factors(maps, options, background)
    found = classify_maps(
        maps,
        options.reference,
        factors=factors,
        scale=options.scale,
        bias_corrected=options.bias_corrected,
    )
    joined = join_xenon(
        maps.mask, maps.geometry, chests, points=points, progress=part(progress, 0.05, 0.6)
    )
    within = perfusion_within(joined, perfusion)
    evidence = Evidence(
        found=found,
        reference=options.reference,
        expected=expected_rbc_membrane(options.reference, background.age_years, background.sex),
        mismatch=transfer_mismatch(found, joined.tissue),
        patterns=None
        if within is None
        else transfer_patterns(found, within, options.perfusion_low),
    )
    progress(0.65, "measuring regions")
    gates = (*joined.chest.found.gates, *_gates(found, joined, options, background))
    measurements = follow_gates(measure_xenon(evidence, joined.weights, joined.absent), gates)
    ct_on_mri = carried_to_mri(joined, joined.chest.ct)
    labelmaps = _labelmaps(evidence, joined)
    drawn = Drawn(
        ct=ct_on_mri,
        evidence=evidence,
        measurements=measurements,
        sides=joined.join.sides,
        own_ct=joined.chest.ct,
        own_lungs=joined.chest.found.lungs,
    )
    sections: tuple[Section, ...] = ()
    if pictures:
        sections = xenon_sections(
            drawn,
            labelmaps,
            transfer=_transfer(background),
            progress=part(progress, 0.75, 1.0),
        )
    return Analysis(
        module="xenon",
        measurements=measurements,
        gates=gates,
        warnings=(*joined.chest.found.warnings, *_warnings(found, joined)),
        parameters=_parameters(found, joined, options, background),
        maps={**_maps(found), CT_ON_MRI: ct_on_mri},
        labelmaps=labelmaps,
        transforms={TRANSFORM: joined.field},
        tables=_tables(evidence, joined, measurements, background),
        sections=sections,
    )


def _factors(maps: XenonMaps, options: XenonOptions, background: Background) -> Factors:
    """Corrections that were asked for by giving their input."""
    factors = NO_CORRECTION
    if background.haemoglobin_g_dl is not None and not options.haemoglobin_applied:
        rbc, membrane = haemoglobin_factors(background.haemoglobin_g_dl)
        factors = factors.times("haemoglobin", rbc, membrane)
    if options.wanted_volume_l is not None:
        volume_l = float(maps.mask.sum()) * maps.geometry.voxel_volume_ml / 1000
        factors = factors.times("volume", *volume_factors(volume_l, options.wanted_volume_l))
    return factors


def _gates(
    found: XenonClasses, joined: JoinedXenon, options: XenonOptions, background: Background
) -> tuple[Gate, ...]:
    return (
        *joined.gates,
        *xenon_gates(
            found,
            haemoglobin_given=options.haemoglobin_applied
            or background.haemoglobin_g_dl is not None,
            spectrum_given="dixon_order" in options.parameters,
        ),
    )


def _transfer(background: Background) -> Mapping[str, float]:
    """Measured lung function, in % of predicted."""
    given = {"TLco": background.dlco_percent, "KCO": background.kco_percent}
    return {name: value for name, value in given.items() if value is not None}


def _maps(found: XenonClasses) -> dict[str, Volume]:
    images = {
        "xe_ventilation": found.ventilation,
        "xe_rbc_gas": found.rbc_gas,
        "xe_membrane_gas": found.membrane_gas,
    }
    return {name: found.volume(image) for name, image in images.items() if image is not None}


def class_labels(found: XenonClasses, numbers: NDArray[np.uint8]) -> Labelmap:
    """Classes of one map as labels of `STRUCTURES`; the highest ones of membrane:gas as one."""
    names = [f"xe_{name}" for name in XENON_CLASS_COLOURS]
    labels = [STRUCTURES[name].label for name in names]
    table = np.array([0, *labels, *[labels[-1]] * 2], np.uint8)
    return Labelmap(table[numbers], found.maps.geometry, dict(zip(labels, names, strict=True)))


def _labelmaps(evidence: Evidence, joined: JoinedXenon) -> dict[str, Labelmap]:
    found = evidence.found
    classes = {
        "xe_rbc_classes": found.rbc_class,
        "xe_membrane_classes": found.membrane_class,
        "xe_ventilation_classes": found.ventilation_class,
    }
    out = {
        name: class_labels(found, numbers)
        for name, numbers in classes.items()
        if numbers is not None
    }
    if evidence.mismatch is not None:
        out[MISMATCH] = evidence.mismatch.labelmap(found)
        out[MISMATCH_ON_CT] = carried_to_ct(joined, out[MISMATCH])
    out["xe_lungs"] = joined.join.sides
    if (lobes := _lobes(joined)) is not None:
        out["xe_lobes"] = lobes
    return out


def _lobes(joined: JoinedXenon) -> Labelmap | None:
    """Lobe that fills most of every voxel, for pictures and review."""
    lobes = joined.chest.found.regions.lobes
    if lobes is None:
        return None
    names = {label: name for label, name in lobes.names.items() if name in joined.weights}
    if not names:
        return None
    shares = np.stack([joined.weights[name] for name in names.values()])  # type: ignore[index]
    best = np.array(list(names), np.uint8)[shares.argmax(axis=0)]
    array = np.zeros(joined.prints.mask.shape, np.uint8)
    array[joined.prints.mask] = np.where(shares.max(axis=0) > 0, best, 0)
    return Labelmap(array, joined.join.sides.geometry, names)


def _tables(
    evidence: Evidence,
    joined: JoinedXenon,
    measurements: Sequence[Measurement],
    background: Background,
) -> dict[str, Table]:
    tables = {
        "xenon_classes": bin_table(evidence, joined.weights),
        "xenon_published": published_table(measurements),
    }
    if transfer := _transfer(background):
        tables["transfer_factor"] = transfer_table(transfer, measurements)
    return tables


def _warnings(found: XenonClasses, joined: JoinedXenon) -> tuple[str, ...]:
    notes = [f"Not joined: {reason}." for reason in joined.join.missing.values()]
    if found.zeros_ambiguous:
        notes.append(
            "Without a ventilation map a ratio of 0 was taken for lung without gas; some pipelines "
            "also write 0 where noise made it negative."
        )
    return tuple(notes)


def _parameters(
    found: XenonClasses, joined: JoinedXenon, options: XenonOptions, background: Background
) -> dict[str, Any]:
    """Say for results.json what shaped the numbers."""
    reference = options.reference
    return {
        **joined.chest.found.parameters,
        **options.parameters,
        "reference_set": reference.name,
        "reference_source": reference.source,
        "rbc_gas_limits": list(reference.rbc_gas),
        "membrane_gas_limits": list(reference.membrane_gas),
        "ventilation_limits": list(reference.ventilation[options.scale, options.bias_corrected]),
        "ventilation_scale": options.scale,
        "corrections": {name: list(pair) for name, pair in found.factors.applied.items()},
        "joined_ct": joined.chest.role,
        "normal_tissue_hu": [round(limit, 1) for limit in joined.limits_hu],
        "age_years": background.age_years,
        "sex": background.sex,
        "join": {
            lung.value: {
                "dice": round(joined.join.lungs[lung].dice, 4),
                "surface_mm": round(joined.join.lungs[lung].surface_mm, 3),
            }
            for lung in LUNGS
            if lung in joined.join.lungs and math.isfinite(joined.join.lungs[lung].surface_mm)
        },
    }

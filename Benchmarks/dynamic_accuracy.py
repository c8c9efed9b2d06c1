"""Dynamic perfusion: models on known curves, the dynamic phantom, and a bolus of another making."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from Benchmarks import Figure
from Benchmarks import _second_first_pass as other
from Benchmarks._real_first_pass import TISSUES as TISSUES_OF_SCAN
from Benchmarks._real_first_pass import first_pass_of
from lungperfusion.analysis.dynamic import DEFAULT_OPTIONS, DynamicOptions, prepare
from lungperfusion.analysis.regions import RegionOptions
from lungperfusion.dynamic.deconvolution import deconvolve
from lungperfusion.dynamic.findings import find_findings
from lungperfusion.dynamic.first_pass import FirstPass
from lungperfusion.dynamic.maps import flow_maps
from lungperfusion.dynamic.motion import unaligned
from lungperfusion.dynamic.region_flow import measure_regions, region_mean
from lungperfusion.dynamic.series import WORKING_MM, Frames, block_factors, block_mean
from lungperfusion.dynamic.slope import slope_flow
from lungperfusion.dynamic.two_input import TwoInputModel
from lungperfusion.io import read_labelmap, write_labelmap
from lungperfusion.phantoms.bolus import STEP_S, Bolus, Residue, Tissue
from lungperfusion.phantoms.first_pass import (
    INPUTS_RAS_MM,
    SLAB_CENTRE_RAS_MM,
    SLAB_FIELD_MM,
    FirstPassPhantom,
    FirstPassScan,
    render_first_pass,
)
from lungperfusion.phantoms.kinds import FIRST_PASS_KINDS, default_geometry
from lungperfusion.terms import LOBES
from lungperfusion.volume import Labelmap, Mask

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
TIMES_S = np.arange(24) * 1.5
BOLUS = Bolus()
TISSUES: dict[str, tuple[Residue, Tissue]] = {
    "95 %": ("sigmoid", Tissue(pulmonary_flow=200, bronchial_flow=10, transit_s=5)),
    "75 %": ("sigmoid", Tissue(pulmonary_flow=60, bronchial_flow=20, transit_s=4)),
    "23 %": (
        "sigmoid",
        Tissue(pulmonary_flow=15, bronchial_flow=50, transit_s=4, bronchial_transit_s=8),
    ),
    "95 %, exponential": ("exponential", Tissue(pulmonary_flow=120, bronchial_flow=6, transit_s=5)),
    "75 %, exponential": ("exponential", Tissue(pulmonary_flow=60, bronchial_flow=20, transit_s=4)),
}
OTHERS = {
    "96 %, gamma": other.OtherTissue(150, 6, 5.0),
    "82 %, gamma": other.OtherTissue(90, 20, 4.0),
    "94 %, box": other.OtherTissue(120, 8, 5.0, "box"),
}
POINTS = DynamicOptions(points_ras_mm=INPUTS_RAS_MM)
"""Lobes alone do not show where the carina is, from which inputs are sought."""
REPEATS = 200
NOISE_HU = 0.5


def main() -> list[Figure]:
    """Measure models, then images."""
    return [*_curves(), *_second(), *_images(), *_order(), *_real()]


def _curves() -> Iterator[Figure]:
    artery, aorta = (BOLUS.sampled(curve, TIMES_S) for curve in (BOLUS.artery, BOLUS.aorta))
    model = TwoInputModel.of(TIMES_S, artery, aorta)
    rng = np.random.default_rng(17)
    for name, (kind, tissue) in TISSUES.items():
        curve = BOLUS.sampled(np.sum(BOLUS.tissue(tissue, kind), axis=0), TIMES_S)
        sigmoid, high = kind == "sigmoid", tissue.perfusion_index >= 0.75
        fit = model.fit(curve[None])
        ratio = curve.sum() / fit.modelled[0].sum()
        volume = float(fit.blood_volume[0]) * ratio / tissue.blood_volume
        yield Figure(
            name=f"tissue {name}: blood volume, no noise, error",
            value=100 * abs(volume - 1),
            unit="%",
            at_most=1 if sigmoid else np.inf,
        )
        yield Figure(
            name=f"tissue {name}: pulmonary flow, no noise, error",
            value=100 * abs(float(fit.pulmonary_flow[0]) / tissue.pulmonary_flow - 1),
            unit="%",
            at_most=2 if sigmoid else np.inf,
        )
        repeats = curve + NOISE_HU * rng.standard_normal((REPEATS, TIMES_S.size))
        yield from _noisy(
            f"tissue {name}", model, repeats, tissue.perfusion_index, sigmoid and high
        )
        deconvolved = deconvolve(TIMES_S, artery, curve[None]).flow[0]
        yield Figure(
            name=f"tissue {name}: deconvolution over both flows",
            value=float(deconvolved) / (tissue.pulmonary_flow + tissue.bronchial_flow),
        )
    yield _slope()


def _slope() -> Figure:
    """Steepest rise of finely sampled tissue against its analytic slope."""
    fine = np.arange(0, 36, 0.25)
    tissue = TISSUES["95 %"][1]
    curve = np.sum(BOLUS.tissue(tissue), axis=0)
    steepest = 6000 * float(np.diff(curve).max()) / STEP_S / BOLUS.artery.max()
    found = slope_flow(
        fine,
        BOLUS.sampled(curve, fine)[None],
        artery_peak_hu=float(BOLUS.artery.max()),
        aorta_peak_hu=float(BOLUS.aorta.max()),
        split_s=float(BOLUS.at_s[BOLUS.atrium.argmax()]),
        end_s=31.0,
        noise_hu=np.zeros(1),
    )
    error = 100 * abs(float(found.pulmonary_flow[0]) / steepest - 1)
    return Figure(name="slope against the analytic one, error", value=error, unit="%", at_most=3)


def _noisy(
    name: str, model: TwoInputModel, repeats: NDArray[np.float64], index: float, held: bool
) -> Iterator[Figure]:
    found = model.fit(repeats).perfusion_index
    intervals = [model.intervals(curve).perfusion_index for curve in repeats]
    covered = np.mean([entry.low <= index <= entry.high for entry in intervals])
    yield Figure(
        name=f"{name}: perfusion index, {NOISE_HU:g} HU, mean error",
        value=100 * abs(float(np.mean(found)) - index),
        unit="points",
        at_most=6 if held else np.inf,
    )
    yield Figure(
        name=f"{name}: perfusion index, {NOISE_HU:g} HU, interval holds the truth",
        value=100 * float(covered),
        unit="%",
        at_least=90 if held else -np.inf,
    )


def _second() -> Iterator[Figure]:
    artery, aorta = (other.sampled(curve, TIMES_S) for curve in (other.artery(), other.aorta()))
    model = TwoInputModel.of(TIMES_S, artery, aorta)
    for name, tissue in OTHERS.items():
        curve = other.sampled(other.tissue_curve(tissue), TIMES_S)
        volume = float(model.fit(curve[None]).blood_volume[0]) / tissue.blood_volume
        yield Figure(
            name=f"second tissue {name}: blood volume, no noise, error",
            value=100 * abs(volume - 1),
            unit="%",
            at_most=3,
        )
        repeats = other.noisy(curve, NOISE_HU, REPEATS, seed=5)
        yield from _noisy(f"second tissue {name}", model, repeats, tissue.index, held=False)


def _images() -> Iterator[Figure]:
    phantom = FIRST_PASS_KINDS["dynamic"]()
    frames = Frames(phantom.frames, phantom.geometry, phantom.times_s)
    options = RegionOptions(lobes="auto")
    prepared = prepare(frames, options, DEFAULT_OPTIONS)
    first_pass = prepared.first_pass
    still = FirstPass(
        aligned=unaligned(frames.reduced(), first_pass.aligned.reference),
        inputs=first_pass.inputs,
        regions=first_pass.regions,
        lung=first_pass.lung,
    )
    errors = {}
    for words, one in (("aligned", first_pass), ("as scanned", still)):
        flows = measure_regions(one)
        errors[words] = [
            abs(flows.value(lobe, "dynamic_blood_volume") / _truth(phantom, one, lobe) - 1)
            for lobe in LOBES
        ]
        yield Figure(
            name=f"dynamic phantom, 8 mm breath, {words}: blood volume of lobes, median error",
            value=100 * float(np.median(errors[words])),
            unit="%",
        )
        yield Figure(
            name=f"dynamic phantom, 8 mm breath, {words}: blood volume of lobes, greatest error",
            value=100 * float(np.max(errors[words])),
            unit="%",
            at_most=3 if words == "aligned" else np.inf,
        )
    yield Figure(
        name="dynamic phantom, 8 mm breath: error of lobes as scanned over that aligned, medians",
        value=float(np.median(errors["as scanned"]) / np.median(errors["aligned"])),
        at_least=3,
    )
    maps = flow_maps(first_pass)
    deficits = next(
        entry
        for entry in find_findings(first_pass, maps)
        if (entry.kind, entry.per) == ("deficit", "100 mL")
    )
    dice = _dice((phantom.deficits.array > 0) & first_pass.measurable, deficits.mask)
    yield Figure(name="phantom dynamic: deficits, Dice", value=dice, at_least=0.85)


def _order() -> Iterator[Figure]:
    """Rank of the lobes by flow, breath held, at noise of 10 to 40 HU in voxels of 1 mm."""
    geometry = default_geometry(
        (WORKING_MM,) * 3, field_mm=SLAB_FIELD_MM, centre_ras_mm=SLAB_CENTRE_RAS_MM
    )
    for noise_hu in (4.0, 10.0, 16.0):  # in voxels of 3 mm
        scan = FirstPassScan(noise_hu=noise_hu, breath_mm=0.0)
        phantom = render_first_pass(geometry, scan=scan)
        frames = Frames(phantom.frames, phantom.geometry, phantom.times_s)
        first_pass = prepare(frames, _given(phantom.truth.lobes), POINTS).first_pass
        flows = measure_regions(first_pass)
        found = [flows.value(lobe, "pulmonary_flow") for lobe in LOBES]
        truth = [
            phantom.pulmonary_flow.array[first_pass.mask(lobe)].mean(dtype=float) for lobe in LOBES
        ]
        yield Figure(
            name=f"dynamic phantom, held breath, {noise_hu:g} HU: rank correlation of lobar flow",
            value=float(spearmanr(found, truth).statistic),
            at_least=1,
        )


def _real() -> Iterator[Figure]:
    """Blood, breath and noise of another making in a real chest, held and breathing."""
    scan = DATA / "contrast_chest_ct" / "ct.nii.gz"
    if not scan.is_file():
        print("no real scans beside the project (../shared/data): phantoms only")
        return
    for words, breath_mm in (("held", 0.0), ("8 mm breath", 8.0)):
        made = first_pass_of(scan, breath_mm=breath_mm, noise_hu=10.0, seed=1)
        options = DynamicOptions(points_ras_mm=made.points_ras_mm)
        first_pass = prepare(made.frames, _given(made.lobes), options).first_pass
        factors = block_factors(made.frames.geometry, WORKING_MM)
        blood, deficits = (block_mean(a, factors) for a in (made.blood_volume, made.deficits))
        flows = measure_regions(first_pass)
        errors = [
            abs(
                flows.value(name, "dynamic_blood_volume")
                / region_mean(first_pass, first_pass.mask(name), blood[None])[0]
                - 1
            )
            for name in TISSUES_OF_SCAN
        ]
        name = f"bolus through a real chest, {words}: blood volume of half lungs,"
        yield Figure(name=f"{name} median error", value=100 * float(np.median(errors)), unit="%")
        yield Figure(name=f"{name} greatest error", value=100 * float(np.max(errors)), unit="%")
        findings = find_findings(first_pass, flow_maps(first_pass))
        found = next(f for f in findings if (f.kind, f.per) == ("deficit", "100 g"))
        yield Figure(
            name=f"bolus through a real chest, {words}: deficits per 100 g, Dice",
            value=_dice((deficits >= 0.5) & first_pass.measurable, found.mask),
        )


def _given(lobes: Labelmap) -> RegionOptions:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "lobes.seg.nrrd"
        write_labelmap(lobes, path)
        return RegionOptions(lobes=read_labelmap(path))


def _dice(truth: Mask, found: Mask) -> float:
    return 2 * np.count_nonzero(truth & found) / (np.count_nonzero(truth) + np.count_nonzero(found))


def _truth(phantom: FirstPassPhantom, first_pass: FirstPass, lobe: str) -> float:
    inside = phantom.truth.lobes.mask(lobe) & first_pass.measurable
    return float(phantom.blood_volume.array[inside].mean())

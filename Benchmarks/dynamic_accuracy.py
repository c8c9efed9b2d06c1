"""Dynamic perfusion: models on known curves, tissue of another making, and the dynamic phantom."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from Benchmarks import Figure
from Benchmarks import _second_first_pass as other
from lungperfusion.analysis.dynamic import DEFAULT_OPTIONS, prepare
from lungperfusion.analysis.regions import RegionOptions
from lungperfusion.dynamic.deconvolution import deconvolve
from lungperfusion.dynamic.findings import find_findings
from lungperfusion.dynamic.first_pass import FirstPass
from lungperfusion.dynamic.maps import flow_maps
from lungperfusion.dynamic.motion import unaligned
from lungperfusion.dynamic.region_flow import measure_regions
from lungperfusion.dynamic.series import Frames
from lungperfusion.dynamic.slope import slope_flow
from lungperfusion.dynamic.two_input import TwoInputModel
from lungperfusion.phantoms.bolus import STEP_S, Bolus, Residue, Tissue
from lungperfusion.phantoms.first_pass import FirstPassPhantom
from lungperfusion.phantoms.kinds import FIRST_PASS_KINDS
from lungperfusion.terms import LOBES

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
REPEATS = 200
NOISE_HU = 0.5


def main() -> list[Figure]:
    """Measure models, then images."""
    return [*_curves(), *_second(), *_images()]


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
        )
    maps = flow_maps(first_pass)
    deficits = next(
        entry
        for entry in find_findings(first_pass, maps)
        if (entry.kind, entry.per) == ("deficit", "100 mL")
    )
    truth = (phantom.deficits.array > 0) & first_pass.measurable
    found = deficits.mask & first_pass.measurable
    dice = 2 * np.count_nonzero(truth & found) / (np.count_nonzero(truth) + np.count_nonzero(found))
    yield Figure(name="phantom dynamic: deficits, Dice", value=float(dice))


def _truth(phantom: FirstPassPhantom, first_pass: FirstPass, lobe: str) -> float:
    inside = phantom.truth.lobes.mask(lobe) & first_pass.measurable
    return float(phantom.blood_volume.array[inside].mean())

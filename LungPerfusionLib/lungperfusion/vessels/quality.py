"""Quality gates: whether a scan shows the blood volume of small vessels."""

from __future__ import annotations

import numpy as np

from lungperfusion.acquisition import Acquisition
from lungperfusion.blood import BloodDensity
from lungperfusion.quality import Gate, Verdict
from lungperfusion.terms.vessels import BIN_EDGES_MM2
from lungperfusion.vessels.area import LEAST_BLUR_MM, blur_mm
from lungperfusion.vessels.detection import VesselMap
from lungperfusion.vessels.enhancement import certain_from_hu, thin_tubeness_hu
from lungperfusion.volume import Geometry

THICK_SLICE_WARN_MM = 1.25
"""Blood volumes hold to 10 % up to this slice thickness (methods.md D.5)."""
THICK_SLICE_REFUSE_MM = 5.0
"""Slices this thick do not show vessels of 5 mm2 as tubes: no blood volume is given."""
POINT_SPREAD_WARN_MM = 1.5
"""methods.md D.3."""
NOISE_WARN_HU = 60.0
"""Upper end of the noise for which methods.md D.5 asks for a proof."""
DENSE_LUNG_WARN_HU = -750.0
"""Lung this dense between its vessels was scanned in expiration or is diseased throughout."""

SMALLEST_MM2 = BIN_EDGES_MM2[1]
"""Lower end of BV5: what must be seen."""
SEEN_FROM, LOST_BELOW = 2.0, 1.0
"""Tubeness of the smallest vessel over what makes a vessel (`certain_from_hu`).

On phantoms straight vessels of 1.25 mm2 that join no other are seen whole from 3 to 4.5, half from
2.1 to 3 and not below 2.  Those of trees are followed from their parents: BV5 keeps within 10 %
from 1.2 and loses a third at 0.8; below 2 blood of thinner vessels is lost (docs/vesselbv.md).
"""
CORES_SHARE = 0.08
"""Blood that differs from the middle of the widest vessels by more moves volumes by as much."""
CORE_RADIUS_MM = 2.5
"""Vessels as wide read their own density in the middle: point spreads of 1.5 mm do not reach it."""

_FWHM_PER_SIGMA = 2 * np.sqrt(2 * np.log(2.0))

LEAST_SPREAD_MM = LEAST_BLUR_MM * _FWHM_PER_SIGMA
"""Sharper point spreads are not told apart."""


def slice_gate(geometry: Geometry, acquisition: Acquisition | None = None) -> Gate:
    """Judge slice thickness or spacing, whichever is larger."""
    spacing = max(geometry.spacing_ijk_mm)
    stated = acquisition.slice_thickness_mm if acquisition else None
    thickness = max(spacing, stated or 0.0)
    limit = f"up to {THICK_SLICE_WARN_MM:g} mm, refused from {THICK_SLICE_REFUSE_MM:g} mm"
    if thickness >= THICK_SLICE_REFUSE_MM - 1e-6:
        verdict, words = "fail", "too thick for small vessels; no blood volume is given"
    elif thickness > THICK_SLICE_WARN_MM + 1e-6:
        verdict, words = "warn", "blood moves between size bins; compare only with like scans"
    else:
        verdict, words = "pass", "thin enough for small vessels"
    return Gate(
        id="vessel_slice_thickness",
        verdict=verdict,  # type: ignore[arg-type]
        message=f"Slices of {thickness:.2f} mm: {words}.",
        value=thickness,
        unit="mm",
        limit=limit,
    )


def point_spread_mm(vessel_map: VesselMap) -> float | None:
    """Full width at half maximum of the point spread; None where there are too few thin vessels."""
    blur = blur_mm(vessel_map.territory, vessel_map.blood_fraction, vessel_map.measured.area_mm2)
    return None if blur is None else float(_FWHM_PER_SIGMA * blur)


def detectability(vessel_map: VesselMap) -> float:
    """Tubeness of a vessel of `SMALLEST_MM2` over what makes a vessel, at its best scale.

    Noise, blur, slices and contrast act together here.  Where the point spread is not known, it is
    taken at its limit.
    """
    spread = point_spread_mm(vessel_map)
    blur = (POINT_SPREAD_WARN_MM if spread is None else spread) / _FWHM_PER_SIGMA
    lung = float(np.median(vessel_map.background.coarse_hu))
    return max(
        thin_tubeness_hu(SMALLEST_MM2, vessel_map.blood_hu_common - lung, scale, blur)
        / certain_from_hu(noise)
        for scale, noise in vessel_map.ridge_noise_hu.items()
    )


def core_radius_mm(geometry: Geometry) -> float:
    """Least radius of a vessel whose middle shows its own density, at this slice thickness."""
    return max(CORE_RADIUS_MM, 1.25 * max(geometry.spacing_ijk_mm))


def vessel_gates(
    vessel_map: VesselMap,
    blood: BloodDensity,
    acquisition: Acquisition | None = None,
    *,
    cores: BloodDensity | None = None,
) -> tuple[Gate, ...]:
    """Judge blood, point spread, noise, breath and tissue left out.

    ``cores`` is the density in the middle of the widest vessels, where there are any.
    """
    lung = float(np.median(vessel_map.background.coarse_hu))
    gates = [
        Gate(
            id="vessel_blood_density",
            verdict="warn" if blood.source in ("default", "vessels of the lung") else "pass",
            message=f"Blood: {blood.words}. An error of 10 % changes blood volumes by 10 %.",
            value=blood.hu,
            unit="HU",
            limit="measured or given",
        ),
        _cores_gate(blood, cores, lung),
        _detectability_gate(detectability(vessel_map)),
        _limit_gate(
            "vessel_noise",
            vessel_map.noise_hu,
            NOISE_WARN_HU,
            "HU",
            "Noise between the vessels",
            "thin vessels drown in it",
        ),
        Gate(
            id="vessel_breath",
            verdict="warn" if lung > DENSE_LUNG_WARN_HU else "pass",
            message=f"Lung between the vessels: {lung:.0f} HU"
            + (
                "; scanned in expiration or diseased throughout: blood volumes are not comparable."
                if lung > DENSE_LUNG_WARN_HU
                else ", as after breathing in."
            ),
            value=lung,
            unit="HU",
            limit=f"up to {DENSE_LUNG_WARN_HU:g} HU",
        ),
    ]
    spread = point_spread_mm(vessel_map)
    if spread is None:
        gates.append(
            Gate(
                id="vessel_point_spread",
                verdict="unknown",
                message="Too few thin vessels to see how sharp the image is.",
                unit="mm",
                limit=f"up to {POINT_SPREAD_WARN_MM:g} mm",
            )
        )
    elif spread <= LEAST_SPREAD_MM:
        gates.append(
            Gate(
                id="vessel_point_spread",
                verdict="warn",
                message=f"Point spread: at or below the finest that can be measured, "
                f"{LEAST_SPREAD_MM:.2f} mm: the kernel enhances edges, and bins move by some "
                "percent.",
                unit="mm",
                limit=f"{LEAST_SPREAD_MM:.2f} to {POINT_SPREAD_WARN_MM:g} mm",
            )
        )
    else:
        gates.append(
            _limit_gate(
                "vessel_point_spread",
                spread,
                POINT_SPREAD_WARN_MM,
                "mm",
                "Point spread, full width at half maximum",
                "neighbouring thin vessels merge",
            )
        )
    if blood.has_contrast:
        gates.append(
            Gate(
                id="vessel_contrast",
                verdict="warn",
                message="The blood holds contrast agent: arteries and veins may differ in density; "
                "compare only with scans of the same phase, or give arteries and veins.",
                value=blood.hu,
                unit="HU",
            )
        )
    return tuple(gates)


def _cores_gate(blood: BloodDensity, cores: BloodDensity | None, lung_hu: float) -> Gate:
    """Compare the density of blood with what the widest vessels show themselves."""
    limit = f"within {CORES_SHARE:.0%} of blood over lung"
    if cores is None:
        return Gate(
            id="vessel_core_density",
            verdict="unknown",
            message="No vessel of the lung is wide enough to show the density of its blood.",
            unit="HU",
            limit=limit,
        )
    off = (cores.hu - blood.hu) / (blood.hu - lung_hu)
    agrees = abs(off) <= CORES_SHARE
    return Gate(
        id="vessel_core_density",
        verdict="pass" if agrees else "warn",
        message=f"The widest vessels of the lung show {cores.words}"
        + (
            f", as the blood of {blood.hu:.0f} HU that volumes rest on."
            if agrees
            else f", not the {blood.hu:.0f} HU that volumes rest on: these are off by about "
            f"{off:+.0%}, or part of the vessels is diseased lung."
        ),
        value=cores.hu,
        unit="HU",
        limit=limit,
    )


def _detectability_gate(ratio: float) -> Gate:
    verdict: Verdict = "pass" if ratio >= SEEN_FROM else "warn" if ratio >= LOST_BELOW else "fail"
    words = {
        "pass": "is seen",
        "warn": "is partly lost: noise, blur and slices together hide thin vessels",
        "fail": "is mostly lost: noise, blur and slices together hide thin vessels",
    }[verdict]
    return Gate(
        id="vessel_detectability",
        verdict=verdict,
        message=f"A vessel of {SMALLEST_MM2:g} mm2 {words} (signal {ratio:.1f} times what makes a "
        "vessel).",
        value=ratio,
        limit=f"from {SEEN_FROM:g}, refused below {LOST_BELOW:g}",
    )


def _limit_gate(
    id_: str, value: float, limit: float, unit: str, what: str, consequence: str
) -> Gate:
    over = value > limit
    return Gate(
        id=id_,
        verdict="warn" if over else "pass",
        message=f"{what}: {value:.2g} {unit}" + (f"; {consequence}." if over else "."),
        value=value,
        unit=unit,
        limit=f"up to {limit:g} {unit}",
    )

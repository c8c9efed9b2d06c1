"""Quality gates: whether a scan shows the blood volume of small vessels."""

from __future__ import annotations

import numpy as np

from lungperfusion.acquisition import Acquisition
from lungperfusion.blood import BloodDensity
from lungperfusion.quality import Gate
from lungperfusion.vessels.area import blur_mm
from lungperfusion.vessels.detection import VesselMap
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

_FWHM_PER_SIGMA = 2 * np.sqrt(2 * np.log(2.0))


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


def vessel_gates(
    vessel_map: VesselMap, blood: BloodDensity, acquisition: Acquisition | None = None
) -> tuple[Gate, ...]:
    """Judge blood, point spread, noise, breath and tissue left out."""
    lung = float(np.median(vessel_map.background.coarse_hu))
    gates = [
        Gate(
            id="vessel_blood_density",
            verdict="warn" if blood.source == "default" else "pass",
            message=f"Blood: {blood.words}. An error of 10 % changes blood volumes by 10 %.",
            value=blood.hu,
            unit="HU",
            limit="measured or given",
        ),
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

"""Quality of a xenon MRI and of its join with a CT, said in plain words."""

from __future__ import annotations

import numpy as np

from lungperfusion.quality import Gate, Verdict
from lungperfusion.terms import title
from lungperfusion.xenon.images import XenonClasses
from lungperfusion.xenon.joining import Join
from lungperfusion.xenon.orienting import MIRROR_DOUBT, words_of

DICE_WARN, DICE_FAIL = 0.93, 0.85
"""Overlap of the outlines of each lung after the join (docs/xenon.md)."""

SURFACE_WARN_MM, SURFACE_FAIL_MM = 4.0, 8.0
"""Mean distance of the outlines after the join."""

RATIO_PASS, RATIO_WARN = (0.9, 1.1), (0.75, 1.33)
"""Volume on MRI over that on CT: the same breath, and another that can still be compared."""

NO_GAS_PERCENT = 20.0
"""More lung without gas than this leaves too much unmeasured for a mean to speak for the lungs."""


def xenon_gates(
    found: XenonClasses, *, haemoglobin_given: bool, spectrum_given: bool
) -> tuple[Gate, ...]:
    """Check what the maps themselves say."""
    percent = 100 * found.without_gas_share
    gates = [
        Gate(
            id="xenon_gas",
            verdict="pass" if percent <= NO_GAS_PERCENT else "warn",
            message=f"No gas, and so no gas transfer measured, in {percent:.1f} % of the lungs"
            + ("; a value of 0 was taken for it." if found.zeros_ambiguous else "."),
            value=percent,
            unit="%",
            limit=f"at most {NO_GAS_PERCENT:g} %",
        )
    ]
    if found.rbc_gas is not None:
        gates.append(
            Gate(
                id="xenon_haemoglobin",
                verdict="pass" if haemoglobin_given else "warn",
                message="RBC:gas and membrane:gas are corrected for haemoglobin."
                if haemoglobin_given
                else "Haemoglobin is not known: RBC:gas falls with anaemia as with a lung disease.",
            )
        )
    if spectrum_given:
        gates.append(
            Gate(
                id="xenon_spectrum",
                verdict="pass",
                message="RBC and membrane were parted here with RBC:membrane of the spectrum.",
            )
        )
    return tuple(gates)


def join_gates(
    join: Join, fits: dict[str, float], ct_volume_l: float, mri_volume_l: float
) -> tuple[Gate, ...]:
    """Check orientation, breath and the fit of both lungs.

    Parameters
    ----------
    join
        Of this MRI and CT.
    fits
        Of `lungperfusion.xenon.orienting.mirror_fits`.
    ct_volume_l, mri_volume_l
        Lungs of the CT, and the mask.

    """
    return (_orientation(fits), _breath(join.volume_ratio, ct_volume_l, mri_volume_l), *_fit(join))


def _orientation(fits: dict[str, float]) -> Gate:
    best = max((axes for axes in fits if axes), key=fits.__getitem__)
    gain = fits[best] - fits[""]
    verdict: Verdict = "pass" if gain < -MIRROR_DOUBT else "warn"
    words = f"Dice {fits['']:.3f} as it lies, {fits[best]:.3f} with {words_of(best)} exchanged"
    return Gate(
        id="xenon_orientation",
        verdict=verdict,
        message=f"The outline fits the CT as the image lies ({words})."
        if verdict == "pass"
        else f"The outline does not tell whether the image is mirrored ({words}).",
        value=gain,
        limit=f"below {-MIRROR_DOUBT:g}",
    )


def _breath(ratio: float, ct_volume_l: float, mri_volume_l: float) -> Gate:
    def within(limits: tuple[float, float]) -> bool:
        return limits[0] <= ratio <= limits[1]

    verdict: Verdict = "pass" if within(RATIO_PASS) else "warn" if within(RATIO_WARN) else "fail"
    return Gate(
        id="xenon_breath",
        verdict=verdict,
        message=f"Lungs of {mri_volume_l:.2f} L on xenon MRI and {ct_volume_l:.2f} L on CT, ratio "
        f"of the outlines {ratio:.2f}.",
        value=ratio,
        limit=f"{RATIO_PASS[0]:g} to {RATIO_PASS[1]:g}",
    )


def _fit(join: Join) -> tuple[Gate, ...]:
    lungs = join.lungs
    lacking = "".join(f" Not joined: {reason}." for reason in join.missing.values())
    if not lungs:
        return (
            Gate(id="xenon_overlap", verdict="fail", message=f"No lung could be joined.{lacking}"),
        )
    dice = min(found.dice for found in lungs.values())
    surface = max(found.surface_mm for found in lungs.values())
    words = ", ".join(f"{title(lung).lower()} {found.dice:.3f}" for lung, found in lungs.items())
    far = ", ".join(
        f"{title(lung).lower()} {found.surface_mm:.1f} mm" for lung, found in lungs.items()
    )
    return (
        Gate(
            id="xenon_overlap",
            verdict=_graded(dice, DICE_WARN, DICE_FAIL, above=True),
            message=f"Overlap (Dice) of MRI and CT after the join: {words}.{lacking}",
            value=dice,
            limit=f"at least {DICE_WARN:g}",
        ),
        Gate(
            id="xenon_surface",
            verdict=_graded(surface, SURFACE_WARN_MM, SURFACE_FAIL_MM, above=False),
            message=f"Mean distance of the outlines after the join: {far}.",
            value=surface if np.isfinite(surface) else None,
            unit="mm",
            limit=f"at most {SURFACE_WARN_MM:g} mm",
        ),
    )


def _graded(value: float, warn: float, fail: float, *, above: bool) -> Verdict:
    sign = 1 if above else -1
    if sign * value >= sign * warn:
        return "pass"
    return "warn" if sign * value >= sign * fail else "fail"


def ct_breath_gate(
    scans: int, mri_volume_l: float, ct_volume_l: float, dense_from_hu: float
) -> tuple[Gate, ...]:
    """Say what normal density rests on."""
    if scans > 1:
        return (
            Gate(
                id="xenon_ct_breath",
                verdict="pass",
                message=f"Of {scans} CT scans that of {ct_volume_l:.2f} L is nearest to the "
                f"{mri_volume_l:.2f} L on MRI; at its breath lung above {dense_from_hu:.0f} HU is "
                "dense.",
                value=dense_from_hu,
                unit="HU",
            ),
        )
    return ()

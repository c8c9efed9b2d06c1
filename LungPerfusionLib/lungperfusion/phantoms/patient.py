"""One phantom patient with all the scans that the analyses take."""

from __future__ import annotations

from dataclasses import dataclass, replace

from lungperfusion.phantoms.breath import Breath, Stiff
from lungperfusion.phantoms.chest import ChestModel
from lungperfusion.phantoms.dual_energy import DualEnergyScan, Wedge, render_dual_energy
from lungperfusion.phantoms.kinds import KINDS, default_geometry
from lungperfusion.phantoms.rendering import Phantom, render
from lungperfusion.phantoms.xenon import XenonPhantom, XenonRecipe, make_xenon
from lungperfusion.progress import Progress, ignore, part
from lungperfusion.volume import Volume

SPACING_MM = 3.0
"""Distance between voxels: quick to make and to analyse, fine enough to look at."""

SCAN = DualEnergyScan(low_kv="80", high_kv="140Sn", tube="filtered")

_LEAVES = 200
_OCCLUSION = Wedge((-60.0, -40.0, -40.0), (-1.0, -0.6, -0.5), 28.0, name="occlusion")
"""Perfusion defect that the patient has, towards the left lower lobe's pleura."""
_BREATH = Breath(stiff=(Stiff(centre=(86.0, -12.0, 42.0), width_mm=24.0, strain=0.22),))
"""Breath out, with a place in the right upper lobe that holds its air."""

_XENON = XenonRecipe(samples=2)
"""Voxels as fine as a patient's; their shares of lobes need not be exact."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Patient:
    """Scans of one chest."""

    inspiration: Volume
    """Native CT in deep breath."""
    expiration: Volume
    """Native CT after breathing out."""
    low: Volume
    """Low-voltage image of the contrast-enhanced dual-energy scan, in deep breath."""
    high: Volume
    """High-voltage image of the same scan."""


def make_patient(
    spacing_mm: float = SPACING_MM, *, seed: int = 1, progress: Progress = ignore
) -> Patient:
    """Scan one phantom patient three times.

    Parameters
    ----------
    spacing_mm
        Distance between voxels in all directions.
    seed
        Of anatomy and noise.
    progress
        Told how far it is.

    Returns
    -------
    Patient
        The same bytes for the same arguments.

    """
    geometry = default_geometry((spacing_mm,) * 3)
    native = _native(seed)
    expired = replace(native, breath=_BREATH, expiratory_trachea=True)
    enhanced = replace(native, **KINDS["contrast"].anatomy)
    inspiration = _deep_breath(spacing_mm, seed, part(progress, 0.0, 0.3)).ct
    expiration = render(expired, geometry, seed=seed + 1, progress=part(progress, 0.3, 0.6)).ct
    pair = render_dual_energy(
        enhanced,
        geometry,
        changes=(_OCCLUSION,),
        scan=SCAN,
        seed=seed + 2,
        progress=part(progress, 0.6, 1.0),
    )
    return Patient(inspiration=inspiration, expiration=expiration, low=pair.low, high=pair.high)


def make_patient_xenon(
    spacing_mm: float = SPACING_MM, *, seed: int = 1, progress: Progress = ignore
) -> XenonPhantom:
    """Image the same patient with hyperpolarised 129Xe; parameters as of `make_patient`."""
    native = _deep_breath(spacing_mm, seed, part(progress, 0.0, 0.7))
    progress(0.7, "making the xenon MRI")
    return make_xenon(native.truth.lobes, _XENON, seed=seed)


def _native(seed: int) -> ChestModel:
    return ChestModel(seed=seed, leaves=_LEAVES)


def _deep_breath(spacing_mm: float, seed: int, progress: Progress) -> Phantom:
    """Native CT in deep breath with its truth."""
    geometry = default_geometry((spacing_mm,) * 3)
    return render(_native(seed), geometry, seed=seed, progress=progress)

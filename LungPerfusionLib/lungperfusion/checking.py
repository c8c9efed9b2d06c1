"""What a scan is and which analyses it suits, told at a glance: seconds, no outlines drawn.

The lungs are taken as they look on a coarse copy of the CT, and the gates of the analyses are asked
there.  So a check says beforehand, within the coarseness, what an analysis would say of the scan;
where the two differ the analysis is right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lungperfusion.acquisition import Acquisition, kernel_sharpness
from lungperfusion.blood import CONTRAST_FROM_HU
from lungperfusion.body import Coarse, coarse_copy, from_upright, lung_air, upright
from lungperfusion.errors import InputError
from lungperfusion.morphology import dilated, eroded
from lungperfusion.naming import plain
from lungperfusion.noise import Noise, measure_noise
from lungperfusion.quality import Gate
from lungperfusion.registry import analyses
from lungperfusion.segmentation.airways import find_trachea
from lungperfusion.segmentation.bowel import without_bowel
from lungperfusion.segmentation.calibration import kernel_gate, noise_gate
from lungperfusion.segmentation.gates import SLICE_MM, lung_gates, thickness_gate
from lungperfusion.segmentation.lungs import NAMES, SMALLEST_LUNGS_ML, TREE, split_sides
from lungperfusion.stature import body_width_mm, relative_size, require_patient
from lungperfusion.terms.gates import concerns
from lungperfusion.vessels.quality import slice_gate
from lungperfusion.volume import Box, Geometry, Labelmap, Volume, bounding_box

CHECK_MM = 3.0
"""Voxels of the coarse copy: as large as the walls that decide what is lung allow (`COARSE_MM`)."""

NOISE_SLAB_MM = 40.0
"""Height of the part of the lungs that noise and kernel are seen in."""

SKEW_DEGREES = 5.0
"""Axes this far from those of the patient are worth a remark."""

ONE_IMAGE = "one image: a first pass is many frames of one place"
NOT_LOOKED = "Not looked at yet."

Breath = Literal["inspiration", "expiration"]
Suits = Literal["yes", "caution", "no"]
ANALYSES = analyses()
"""What a scan is judged for: every command that analyses a case."""

WORDS = {
    "complete_series": "slices may be missing",
    "voxel_size": "voxel size not stated",
    "orientation": "ends or sides may be exchanged",
    "both_lungs": "only one lung",
    "side_ratio": "unusual share of the left lung",
    "lung_volume": "unusual lung volume",
    "truncation": "lungs cut off by the field of view",
    "air_calibration": "unusual CT number of air",
    "noise": "noise",
    "kernel": "sharp kernel",
    "blood_calibration": "unusual CT number of blood",
    "contrast": "contrast medium",
    "blood_agreement": "places of blood differ in density",
    "slice_thickness": "slices of {value:.2f} mm blur fissures and small holes of emphysema",
    "vessel_slice_thickness": "slices of {value:.2f} mm move blood between size bins",
    "inspiration": "scanned in expiration",
    "dense_lung": "much dense lung",
    "missed_disease": "dense tissue in the place of lung",
    "gas_pocket": "a large pocket of gas",
}
"""What is the matter when a gate warns or fails; gates of what a glance does not show, such as
``airways``, are left to the analyses.  `terms.gates` says which analyses suffer."""

FORESEEN = {
    "contrast": "vessel_contrast",
    "inspiration": "vessel_breath",
    "noise": "vessel_detectability",
    "kernel": "vessel_point_spread",
}
"""Gates of an analysis that will look at the same as a gate of the lungs does."""


@dataclass(frozen=True, slots=True)
class Remark:
    """One thing that a scan is."""

    topic: str
    """Such as ``"breath"``."""
    text: str
    """A sentence."""


@dataclass(frozen=True, slots=True)
class Suitability:
    """Whether a scan suits an analysis."""

    analysis: str
    suits: Suits
    role: str
    """What it serves as and what else the analysis needs; empty where it suits alone."""
    reasons: tuple[str, ...]
    """Why not, or what to be careful of; each without a full stop."""

    @property
    def verdict(self) -> str:
        """Whether it suits, and why not, without the name of the analysis."""
        words = {"yes": "suits", "caution": "suits with caution", "no": "does not suit"}[self.suits]
        reasons = f": {'; '.join(self.reasons)}" if self.reasons else ""
        role = f" {self.role[:1].upper()}{self.role[1:]}." if self.role else ""
        return f"{words}{reasons}.{role}"


@dataclass(frozen=True, slots=True)
class ScanCheck:
    """What a scan is and which analyses it suits; free of names and identifiers."""

    remarks: tuple[Remark, ...]
    suits: tuple[Suitability, ...]
    refusal: str = ""
    """Why every analysis refuses it as a chest CT, as a sentence; empty where none does."""

    @property
    def sentences(self) -> tuple[str, ...]:
        """Everything as lines of text."""
        told = [
            f"{remark.topic[:1].upper()}{remark.topic[1:]}: {remark.text}"
            for remark in self.remarks
        ]
        judged = (f"{suits.analysis}: {suits.verdict}" for suits in self.suits)
        return (*told, *judged)


def check_ct(
    ct: Volume,
    acquisition: Acquisition | None = None,
    *,
    breath: Breath | None = None,
    gates: Sequence[Gate] = (),
    warnings: Sequence[str] = (),
    quick: bool = False,
) -> ScanCheck:
    """Say what a CT is and which analyses it suits.

    Parameters
    ----------
    ct
        CT in HU.
    acquisition
        Technical facts, if the file told them.
    breath
        Breath that the words of the header state.
    gates
        Gates of the files, such as ``complete_series``.
    warnings
        What was mended on reading.
    quick
        Tell what header and grid tell, at once; the lungs are not looked for.

    """
    ct.require_unit("HU", "the chest CT")
    facts = acquisition or Acquisition()
    found = _outside(ct) if quick else glance(ct)
    refusal = found.rstrip(".") if isinstance(found, str) and found != NOT_LOOKED else ""
    thick = {"slice_thickness": thickness_gate(ct.geometry, facts)}
    seen = thick if isinstance(found, str) else _gates_seen(ct, found, facts)
    stated = (_stated_breath(breath), _stated_contrast(facts))
    remarks = [
        modality_remark(facts),
        Remark("kernel", _kernel(facts, seen)),
        grid_remark(ct, facts),
        size_remark(ct),
        Remark("lungs", found if isinstance(found, str) else seen["lung_volume"].message),
        Remark("breath", " ".join((*_told(seen, "inspiration"), stated[0]))),
        Remark("contrast", " ".join((*_told(seen, "contrast"), stated[1]))),
        _orientation(ct.geometry, seen),
        *(Remark("slices", gate.message) for gate in gates),
        *_on_reading(warnings, gates),
        *(Remark("quality", text) for text in _worse(seen)),
    ]
    judged = {gate.id: gate for gate in (*gates, slice_gate(ct.geometry, facts))} | seen
    suits = tuple(
        Suitability(name, "no", "", (refusal,))
        if refusal
        else _suitability(name, ct, facts, judged, breath)
        for name in ANALYSES
    )
    return ScanCheck(tuple(remarks), suits, as_sentence(refusal) if refusal else "")


def check_map(
    image: Volume,
    acquisition: Acquisition | None = None,
    *,
    unit: str | None,
    why_no_ct: str,
    gates: Sequence[Gate] = (),
) -> ScanCheck:
    """Say what an image that is no CT in HU may serve as.

    Parameters
    ----------
    image
        The image as stored.
    acquisition
        Technical facts, if the file told them.
    unit
        Unit that the header states: ``"mg/mL"``, ``"HU"``, another one in words, or None.
    why_no_ct
        Why it cannot be read as a CT, as a sentence.
    gates
        Gates of the files.

    """
    facts = acquisition or Acquisition()
    values = image.array if image.valid is None else image.array[image.valid]
    span = f"Values run from {float(values.min()):.5g} to {float(values.max()):.5g}"
    remarks = [
        modality_remark(facts),
        Remark("values", f"{span}, in {unit or 'a unit that the file does not state'}."),
        grid_remark(image, facts),
        size_remark(image),
        _orientation(image.geometry, {}),
        *(Remark("slices", gate.message) for gate in gates),
    ]
    remarks.insert(1, Remark("no CT in HU", as_sentence(why_no_ct)))
    others = [Suitability(name, "no", "", ("no CT in HU",)) for name in ANALYSES if name != "ipv"]
    cautions = _cautions("ipv", {gate.id: gate for gate in gates})
    role = "if it is an iodine map, together with its CT"
    if facts.modality not in (None, "CT"):
        ipv = Suitability("ipv", "no", "", (f"iodine maps are CT, this is {facts.modality}",))
    elif unit == "mg/mL":
        ipv = Suitability("ipv", "caution" if cautions else "yes", role, cautions)
    elif unit not in (None, "HU"):
        ipv = Suitability("ipv", "no", "", (f"values in {unit} are no iodine",))
    else:
        doubt = (
            "the file does not state the unit: give --iodine-unit"
            if unit is None
            else "in HU the enhancement depends on the voltage: give --kv if the header has none"
        )
        ipv = Suitability("ipv", "caution", role, (doubt, *cautions))
    order = {suits.analysis: suits for suits in (ipv, *others)}
    return ScanCheck(
        tuple(remarks), tuple(order[name] for name in ANALYSES), as_sentence(why_no_ct)
    )


def check_segmentation(geometry: Geometry, labels: Mapping[int, str]) -> ScanCheck:
    """Say what a segmentation may serve as.

    Parameters
    ----------
    geometry
        Its grid.
    labels
        Names of the structures that it holds, by label.

    """
    remarks = (
        Remark("modality", f"A segmentation with {len(labels)} label(s), no CT."),
        Remark("size", _size_words(geometry)),
    )
    reason = "a segmentation, not a CT: give the CT, and this beside it as --lung-mask or --lobes"
    suits = tuple(Suitability(name, "no", "", (reason,)) for name in ANALYSES)
    return ScanCheck(remarks, suits, as_sentence(reason))


# ---- the lungs at a glance -----------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Glance:
    """Lungs of a coarse copy that is a CT of its own."""

    ct: Volume
    labels: Labelmap
    coarse: Coarse


def _outside(ct: Volume) -> str:
    """Look at the size of the image alone."""
    try:
        require_patient(ct, None)
    except InputError as error:
        return as_sentence(str(error))
    return NOT_LOOKED


def glance(ct: Volume) -> Glance | str:
    """Find lungs on a coarse copy; a sentence says why there are none."""
    try:
        width_mm = body_width_mm(ct)
        require_patient(ct, width_mm)
    except InputError as error:
        return as_sentence(str(error))
    coarse = coarse_copy(ct, size_mm=CHECK_MM, size=relative_size(width_mm))
    air, gas = lung_air(coarse)
    trachea = find_trachea(coarse, air, gas)
    air, _ = without_bowel(coarse, air, trachea)
    if np.count_nonzero(air) * coarse.voxel_ml < SMALLEST_LUNGS_ML:
        return (
            f"Only {coarse.volume_ml(air):.0f} mL of the image look like aerated lung: analysed "
            "only with lungs that are given (--lung-mask)."
        )
    tube = dilated(trachea, max(coarse.spacing_mm) * 1.01, coarse.spacing_mm)
    labels = split_sides(coarse, air & ~tube, tube)
    labels[trachea] = TREE
    geometry = _block_geometry(ct.geometry, coarse)
    small = Volume(np.ascontiguousarray(coarse.hu), geometry, "HU", coarse.valid)
    return Glance(small, Labelmap(labels, geometry, NAMES), coarse)


def _block_geometry(geometry: Geometry, coarse: Coarse) -> Geometry:
    """Grid of the blocks of a coarse copy: axes to head, front and right."""
    axes, flips = upright(geometry)
    matrix = np.eye(4)
    start = np.zeros(3)
    for place, (axis, flip, factor) in enumerate(zip(axes, flips, coarse.factors, strict=True)):
        step = geometry.ijk_to_ras[:3, 2 - axis] * (flip.step or 1)
        matrix[:3, 2 - place] = step * factor
        start[2 - axis] = 0 if (flip.step or 1) > 0 else geometry.shape[axis] - 1
        matrix[:3, 3] += step * (factor - 1) / 2
    matrix[:3, 3] += geometry.ras_from_ijk(start)
    return Geometry((coarse.hu.shape[0], coarse.hu.shape[1], coarse.hu.shape[2]), matrix)


def gates_at_a_glance(ct: Volume, acquisition: Acquisition | None = None) -> dict[str, Gate]:
    """Gates of the lungs as a check sees them, by name; none where no lungs are seen.

    Parameters
    ----------
    ct
        CT in HU.
    acquisition
        Technical facts, if the file told them.

    """
    found = glance(ct)
    return {} if isinstance(found, str) else _gates_seen(ct, found, acquisition or Acquisition())


def _gates_seen(ct: Volume, found: Glance, facts: Acquisition) -> dict[str, Gate]:
    """Gates of the lungs on the coarse copy; noise, kernel and slices of the CT itself."""
    seen = {gate.id: gate for gate in lung_gates(found.ct, found.labels, facts)}
    noise = _noise(ct, found)
    own = (noise_gate(noise), kernel_gate(noise, facts), thickness_gate(ct.geometry, facts))
    fine = {gate.id: gate for gate in own}
    return {name: gate for name, gate in {**seen, **fine}.items() if name in WORDS}


def _noise(ct: Volume, found: Glance) -> Noise | None:
    """Noise in a slab of the full grid through the middle of the lungs."""
    coarse, labels = found.coarse, found.labels.array
    lung = eroded((labels > 0) & (labels != TREE), max(coarse.spacing_mm), coarse.spacing_mm)
    if not lung.any():
        return None
    k, j, i = bounding_box(lung)
    half = max(1, round(NOISE_SLAB_MM / coarse.spacing_mm[0] / 2))
    middle = (k.start + k.stop) // 2
    slab: Box = slice(max(k.start, middle - half), min(k.stop, middle + half)), j, i
    within = coarse.fine_box(slab)
    fine = np.zeros(coarse.fine_shape, np.uint8)
    fine[within] = coarse.spread(np.where(lung[slab], labels[slab], 0), within)
    fine = from_upright(fine, ct.geometry)
    if not fine.any():
        return None
    box = bounding_box(fine > 0)
    part = ct.crop(box)
    return measure_noise(part, Labelmap(fine[box], part.geometry, NAMES))


# ---- what it is ----------------------------------------------------------------------------------


def modality_remark(facts: Acquisition) -> Remark:
    """Tell manufacturer, model and voltage."""
    if facts.modality is None:
        return Remark("modality", "Modality, manufacturer and voltage are not stated.")
    parts = [facts.modality, facts.manufacturer, facts.model]
    voltage = [f"{facts.kvp:g} kV"] if facts.kvp else []
    kev = facts.monoenergetic_kev
    energy = [f"virtual monoenergetic at {kev:g} keV"] if kev else []
    return Remark("modality", ", ".join([*(p for p in parts if p), *voltage, *energy]) + ".")


def _kernel(facts: Acquisition, seen: Mapping[str, Gate]) -> str:
    """Quote the gate, which has seen the noise; else judge the name."""
    if "kernel" in seen:
        return seen["kernel"].message
    if facts.kernel is None:
        return "The file names no kernel."
    sharpness = kernel_sharpness(facts.kernel) or "neither soft nor sharp"
    return f"The kernel is {sharpness} by its name."


def grid_remark(image: Volume, facts: Acquisition) -> Remark:
    """Tell the voxels."""
    i, j, k = image.geometry.spacing_ijk_mm
    thick = facts.slice_thickness_mm
    stated = "not stated" if thick is None else f"{thick:g} mm"
    return Remark("spacing", f"Voxels of {i:.3g} x {j:.3g} x {k:.3g} mm, slice thickness {stated}.")


def size_remark(image: Volume) -> Remark:
    """Tell what the image covers."""
    return Remark("size", _size_words(image.geometry))


def _size_words(geometry: Geometry) -> str:
    k, j, i = geometry.shape
    axes, _ = upright(geometry)
    height, depth, width = (geometry.shape[a] * geometry.spacing_kji_mm[a] for a in axes)
    return (
        f"{i} x {j} x {k} voxels; the image covers {width:.0f} mm from side to side, "
        f"{depth:.0f} mm from front to back and {height:.0f} mm from foot to head."
    )


def _told(seen: Mapping[str, Gate], *names: str) -> list[str]:
    return [seen[name].message for name in names if name in seen]


def _worse(seen: Mapping[str, Gate]) -> list[str]:
    """Messages of gates that did not pass, but those that are told anyway."""
    told = ("lung_volume", "inspiration", "contrast", "kernel", "orientation", "slice_thickness")
    worse = (name for name, gate in seen.items() if gate.verdict in ("warn", "fail"))
    return _told(seen, *(name for name in worse if name not in told))


def _stated_breath(breath: Breath | None) -> str:
    return f"The header says {breath}." if breath else "The header does not state the breath."


def _stated_contrast(facts: Acquisition) -> str:
    said = {None: "does not say", True: "says yes", False: "says no"}[facts.contrast_agent]
    return f"On contrast medium the header {said}."


def _orientation(geometry: Geometry, seen: Mapping[str, Gate]) -> Remark:
    axes, flips = upright(geometry)
    plane = {0: "axial", 1: "coronal", 2: "sagittal"}[axes.index(0)]
    order = "from foot to head" if (flips[0].step or 1) > 0 else "from head to foot"
    words = [f"Slices are {plane}"]
    if plane == "axial":
        words.append(f", stored {order}")
    degrees = _tilt_degrees(geometry)
    if degrees > SKEW_DEGREES:
        words.append(f", {degrees:.0f} degrees off the axes of the patient")
    return Remark("orientation", " ".join(("".join(words) + ".", *_told(seen, "orientation"))))


def _tilt_degrees(geometry: Geometry) -> float:
    """Largest angle between an axis of the array and the axis of the patient nearest to it."""
    columns = geometry.ijk_to_ras[:3, :3]
    along = np.abs(columns / np.linalg.norm(columns, axis=0)).max(axis=0)
    return float(np.degrees(np.arccos(np.clip(along, 0, 1))).max())


def _on_reading(warnings: Sequence[str], gates: Sequence[Gate]) -> list[Remark]:
    told = {gate.message for gate in gates}
    return [Remark("on reading", as_sentence(text)) for text in warnings if text not in told]


def as_sentence(text: str) -> str:
    """Return a text as a sentence, as the user sees it."""
    text = plain(text).strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


# ---- what it suits -------------------------------------------------------------------------------


def _suitability(
    analysis: str,
    ct: Volume,
    facts: Acquisition,
    gates: Mapping[str, Gate],
    breath: Breath | None,
) -> Suitability:
    refused = _refused(analysis, ct, facts, gates)
    if refused:
        return Suitability(analysis, "no", "", (refused,))
    breath = breath or _breath(gates)
    state = breath if analysis == "ctvq" else None
    reasons = list(_cautions(analysis, gates, state))
    if facts.monoenergetic_kev:
        reasons.append(
            f"CT numbers of a virtual monoenergetic image ({facts.monoenergetic_kev:g} keV) differ "
            "from those of a plain CT"
        )
    role = _role(analysis, gates, breath)
    return Suitability(analysis, "caution" if reasons else "yes", role, tuple(reasons))


def _cautions(
    analysis: str, gates: Mapping[str, Gate], state: Breath | None = None
) -> tuple[str, ...]:
    """Say what lowers the values of an analysis; of one of two scans, at the given breath."""
    reasons = []
    for name, gate in gates.items():
        if name not in WORDS or (name, state) == ("inspiration", "expiration"):
            continue
        bears = (f"{state}_{name}" if state else name, FORESEEN.get(name, name))
        if any(concerns(gate_id, gate.verdict, analysis) for gate_id in bears):
            value = 0.0 if gate.value is None else gate.value
            reasons.append(WORDS[name].format(value=value))
    return tuple(reasons)


def _breath(gates: Mapping[str, Gate]) -> Breath | None:
    """Breath that the lungs show."""
    verdict = gates["inspiration"].verdict if "inspiration" in gates else "unknown"
    return {"warn": "expiration", "pass": "inspiration"}.get(verdict)  # type: ignore[return-value]


def _thickness_mm(ct: Volume, facts: Acquisition) -> float:
    return max(*ct.geometry.spacing_ijk_mm, facts.slice_thickness_mm or 0.0)


def _refused(analysis: str, ct: Volume, facts: Acquisition, gates: Mapping[str, Gate]) -> str:
    """Say why an analysis gives no values; empty where it does."""
    if analysis == "dynamic":
        return ONE_IMAGE
    thick = _thickness_mm(ct, facts)
    if analysis == "vesselbv" and slice_gate(ct.geometry, facts).verdict == "fail":
        return f"slices of {thick:.2f} mm are too thick for small vessels"
    if analysis == "lobes" and thick > SLICE_MM[1]:
        return f"slices of {thick:.2f} mm are too thick for fissures"
    if "both_lungs" in gates and gates["both_lungs"].verdict == "fail":
        return "no lung was found"
    return ""


def _role(analysis: str, gates: Mapping[str, Gate], breath: Breath | None) -> str:
    """Say what a CT serves as where an analysis needs more than one image."""
    if analysis == "ipv":
        alone = "beside an iodine map (--ct), as one of a dual-energy pair (--low, --high), or as "
        if "contrast" not in gates:
            return f"{alone}one of a pair to subtract (--native, --contrast)"
        enhanced = (gates["contrast"].value or 0.0) >= CONTRAST_FROM_HU
        kind, other = ("contrast", "native") if enhanced else ("native", "contrast")
        return f"{alone}the {kind} CT together with a {other} one to subtract (--{kind})"
    if analysis == "ctvq":
        if breath is None:
            return "as the expiration or the inspiration, together with a CT at the other breath"
        other_breath = {"expiration": "inspiration", "inspiration": "expiration"}[breath]
        return f"as the {breath}, together with a CT at {other_breath}"
    return ""

"""Lungs, lobes, zones, airways and vessels out of other programs' label maps and segmentations.

A segment is found by its terminology code, then by its ID, then by a table of names; never by the
order in which segments stand.  Plain label maps hold numbers only: their convention is stated by
the user, or recognised where it is the only one that fits both the numbers and the anatomy.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lungperfusion.errors import InputError
from lungperfusion.labels import LabelImage, Segment
from lungperfusion.naming import named
from lungperfusion.resampling import resample_labelmap
from lungperfusion.terms import (
    AIRWAYS,
    LOBES,
    LUNGS,
    STRUCTURES,
    VESSEL_SIZES,
    VESSELS,
    ZONES,
    lung_of,
    title,
)
from lungperfusion.volume import Geometry, Labelmap, present_labels

Labels = NDArray[np.unsignedinteger[Any]]

ARTERIES, VEINS = "lung_arteries", "lung_veins"

PARTITIONS: dict[str, dict[str, int]] = {
    "lungs": {name: STRUCTURES[name].label for name in (*LUNGS, AIRWAYS)},
    "lobes": {name: STRUCTURES[name].label for name in LOBES},
    "zones": {name: STRUCTURES[name].label for name in ZONES},
    "vessels": {name: STRUCTURES[name].label for name in (VESSELS, ARTERIES, VEINS)},
}
"""What can be imported: structures that exclude each other share a label map."""

_PARTITION_OF = {name: part for part, names in PARTITIONS.items() for name in names}

_VESSEL_LABELS = {STRUCTURES[name].label for name in VESSEL_SIZES}


@dataclass(frozen=True)
class Convention:
    """Meaning of the numbers in a plain label map.

    Parameters
    ----------
    labels
        Structure of each label value; one structure may have several.
    summary
        What writes such files.
    required
        Values without which a file is not recognised as one of this kind.
    """

    labels: Mapping[int, str]
    summary: str
    required: frozenset[int]
    highest: int = 0
    """Highest label, where such files hold labels of no interest here."""

    def fits(self, present: set[int]) -> bool:
        """Whether a file with these label values may be of this kind."""
        known = present & set(self.labels)
        return (
            bool(known)
            and self.required <= present
            and max(present - known, default=0) <= self.highest
        )


def _cip_labels() -> dict[int, str]:
    """Values of the Chest Imaging Platform: low byte region, high byte type."""
    regions = {
        **{2: "right_lung", 3: "left_lung"},
        **{4: "right_upper_lobe", 5: "right_middle_lobe", 6: "right_lower_lobe"},
        **{7: "left_upper_lobe", 8: "left_lower_lobe"},
        **{9 + index: name for index, name in enumerate(ZONES)},
    }
    return {kind << 8 | region: name for kind in range(256) for region, name in regions.items()}


CIP_AIRWAY_TYPE, CIP_VESSEL_TYPES = 2, {3: VESSELS, 4: ARTERIES, 5: VEINS}
"""High bytes of the Chest Imaging Platform for airways and vessels (cipChestConventions)."""

_LOBE_ORDER = (
    "left_upper_lobe",
    "left_lower_lobe",
    "right_upper_lobe",
    "right_middle_lobe",
    "right_lower_lobe",
)

CONVENTIONS: dict[str, Convention] = {
    "lungperfusion": Convention(
        {
            s.label: s.id
            for s in STRUCTURES.values()
            if s.id in {*LUNGS, AIRWAYS, VESSELS, *LOBES, *ZONES}
        },
        "label maps of this program",
        frozenset(),
    ),
    "totalsegmentator": Convention(
        {**{10 + n: name for n, name in enumerate(_LOBE_ORDER)}, 16: AIRWAYS},
        "TotalSegmentator, task total (version 2)",
        frozenset(range(10, 15)),
        highest=117,
    ),
    "totalsegmentator-lung-vessels": Convention(
        {1: AIRWAYS, 3: ARTERIES, 4: VEINS},
        "TotalSegmentator, task lung_vessels (from 2.13): airways, their walls, arteries, veins",
        frozenset(range(1, 5)),
        highest=4,
    ),
    "totalsegmentator-lung-vessels-legacy": Convention(
        {1: VESSELS, 2: AIRWAYS},
        "TotalSegmentator, task lung_vessels before 2.13: vessels, trachea and bronchi",
        frozenset({1, 2}),
    ),
    "lungmask": Convention(
        {1: "right_lung", 2: "left_lung"}, "lungmask, model R231", frozenset({1, 2})
    ),
    "lungmask-lobes": Convention(
        {1 + n: name for n, name in enumerate(_LOBE_ORDER)},
        "lungmask, models LTRCLobes and LTRCLobes_R231",
        frozenset(range(1, 6)),
    ),
    "cip": Convention(
        _cip_labels(), "Chest Imaging Platform: low byte region, high byte type", frozenset()
    ),
}
"""Plain label maps that can be read, by the name that ``--lobe-convention`` takes."""

BOTH_SIDES_SHARE = 0.3
"""A lobe or lung that reaches this far to the other side holds parts of both: the other lung
crosses the midline by less even where it has spread into the place of a lung that is gone."""

_LEFT, _RIGHT = "7771000", "24028007"
_CODES: dict[tuple[str, str], str] = {
    **{("39607008", side): lung for side, lung in ((_LEFT, "left_lung"), (_RIGHT, "right_lung"))},
    **{("44029006", ""): "left_lung", ("3341006", ""): "right_lung"},
    **{("45653009", _LEFT): "left_upper_lobe", ("90572001", _LEFT): "left_lower_lobe"},
    **{("45653009", _RIGHT): "right_upper_lobe", ("90572001", _RIGHT): "right_lower_lobe"},
    **{("44714003", ""): "left_upper_lobe", ("41224006", ""): "left_lower_lobe"},
    **{("42400003", ""): "right_upper_lobe", ("266005", ""): "right_lower_lobe"},
    **{("72481006", side): "right_middle_lobe" for side in ("", _RIGHT)},
    **{("89187006", ""): AIRWAYS, ("110726009", ""): AIRWAYS},
}
"""SNOMED CT type and modifier of a segment: general concept with a side, or the sided concept."""


def _name_table() -> dict[str, set[str]]:
    """Names under which segments are known, in lower case with single spaces."""
    table: dict[str, set[str]] = {}

    def add(name: str, *structures: str) -> None:
        table.setdefault(name, set()).update(structures)

    for side, part in product(("left", "right"), ("upper", "middle", "lower")):
        lobe = f"{side}_{part}_lobe"
        if lobe not in set(LOBES):
            continue
        words = {"upper": ("upper", "superior"), "lower": ("lower", "inferior")}
        for word in words.get(part, (part,)):
            add(f"{side} {word} lobe", lobe)
            add(f"{word} lobe {side}", lobe)
            add(f"{word} {side} lobe", lobe)
            add(f"{side}{word}lobe", lobe)
            add(f"lung {word} lobe {side}", lobe)
            add(f"{side} lung {word} lobe", lobe)
            add(f"{word} lobe of {side} lung", lobe)
            add(f"{word} lobe of the {side} lung", lobe)
            add(f"{word} lobe", lobe)
            add(f"{word} lobe of lung", lobe)
        add(f"{side[0]}{part[0]}l", lobe)
        add(f"{part[0]}l", lobe)
    for side in ("left", "right"):
        for name in (f"{side} lung", f"lung {side}", f"{side}lung"):
            add(name, f"{side}_lung")
        for zone in ("upper", "middle", "lower"):
            for name in (f"{side} {zone} zone", f"{side} {zone} third"):
                add(name, f"{side}_{zone}_zone")
    for name in ("airways", "airway", "lung airways", "lung trachea bronchia", "trachea"):
        add(name, AIRWAYS)
    for name in ("vessels", "lung vessels", "pulmonary vessels"):
        add(name, VESSELS)
    for name in ("arteries", "lung arteries", "pulmonary arteries"):
        add(name, ARTERIES)
    for name in ("veins", "lung veins", "pulmonary veins"):
        add(name, VEINS)
    return table


NAMES = _name_table()
"""Structures that a name may mean; a name that may mean several is refused (docs/regions.md)."""


@dataclass(frozen=True, eq=False, kw_only=True)
class ImportedRegions:
    """What a file gave."""

    partitions: Mapping[str, Labelmap]
    """Label maps by key of `PARTITIONS`."""
    how: str
    """How the segments were found, for provenance."""
    notes: tuple[str, ...] = ()
    """What the user should know, in sentences."""
    found: Mapping[str, str] = field(default_factory=dict)
    """Segment (ID or label value) that each structure was taken from."""

    @property
    def lungs(self) -> Labelmap | None:
        """``left_lung``, ``right_lung`` and perhaps ``airways``."""
        return self.partitions.get("lungs")

    @property
    def lobes(self) -> Labelmap | None:
        """The lobes that the file has."""
        return self.partitions.get("lobes")

    @property
    def zones(self) -> Labelmap | None:
        """Thirds of the lungs as the file divides them."""
        return self.partitions.get("zones")

    @property
    def vessels(self) -> Labelmap | None:
        """``vessels``, or ``lung_arteries`` and ``lung_veins``."""
        return self.partitions.get("vessels")


def import_regions(
    image: LabelImage, *, convention: str | None = None, target: Geometry | None = None
) -> ImportedRegions:
    """Find lungs, lobes, zones, airways and vessels in the labels of another program.

    Parameters
    ----------
    image
        Labels as read from a file, or taken from a segmentation.
    convention
        Key of `CONVENTIONS` that says what the label values mean; None to go by terminology
        codes, IDs and names, and to recognise plain label maps.
    target
        Grid of the CT: labels on another grid are resampled (nearest label), which the notes say.

    Raises
    ------
    InputError
        If nothing of the lungs is found, a name is ambiguous, two segments claim to be one
        structure, the convention is unknown or cannot be recognised, or the sides contradict the
        anatomy.

    """
    if convention is not None and convention not in CONVENTIONS:
        raise InputError(
            f"the label convention must be one of {', '.join(CONVENTIONS)}, not {convention!r}"
        )
    if convention is None and not _plain(image):
        imported = _by_segments(image)
    else:
        name = convention or _recognised(image)
        how = "stated" if convention else "recognised"
        imported = _by_convention(image, name, f"label values of {name} ({how})")
    if not imported.partitions:
        raise InputError(
            f"{image.name} holds no lung, lobe, airway or vessel that could be recognised by code, "
            f"ID or name; its segments are {named(_listed([s.name for s in image.segments]))}. "
            "Rename them (see docs/regions.md) or state the label convention"
        )
    _require_anatomy(imported, image.name)
    return imported if target is None else _on_grid(imported, image, target)


def import_vessels(image: LabelImage, target: Geometry) -> tuple[Labelmap, tuple[str, ...]]:
    """Find the vessels in the labels of a file.

    Parameters
    ----------
    image
        Vessels of any kind (all of them, by cross-section, or arteries and veins), perhaps beside
        airways; or one label that is no other structure.
    target
        Grid of the CT.

    Returns
    -------
    Labelmap
        ``vessels`` on the grid of the CT.
    tuple of str
        What the user should know, in sentences.

    Raises
    ------
    InputError
        If nothing can be told to be vessels, or the labels lie outside the CT.

    """
    label = STRUCTURES[VESSELS].label
    if image.array.ndim == 3 and _holds_vessels_only(image):
        array = np.where(image.array > 0, np.uint8(label), np.uint8(0))
        alone = {"vessels": Labelmap(array, image.geometry, {label: VESSELS})}
        imported = _on_grid(ImportedRegions(partitions=alone, how="all labels"), image, target)
    else:
        imported = import_regions(image, target=target)
    if imported.vessels is None:
        raise InputError(
            f"vessels were expected in {image.name}, but its segments are "
            f"{named(_listed([s.name for s in image.segments]))}; name one 'Vessels', or give one "
            "label"
        )
    array = np.where(imported.vessels.array > 0, np.uint8(label), np.uint8(0))
    return Labelmap(array, target, {label: VESSELS}), imported.notes


def _holds_vessels_only(image: LabelImage) -> bool:
    """Whether all labels are vessels: by size with what was painted beside, or one label alone."""
    if any(s.id in VESSEL_SIZES or s.label in _VESSEL_LABELS for s in image.segments):
        return True
    if len(image.segments) != 1:
        return False
    (segment,) = image.segments
    meant = _by_code(segment) or _by_id(segment) or _by_name(segment)
    return meant <= set(PARTITIONS["vessels"])


# -------------------------------------------------------------------------------- by segments


def _plain(image: LabelImage) -> bool:
    return all(s.id == f"label_{s.label}" and not s.type for s in image.segments)


def _by_segments(image: LabelImage) -> ImportedRegions:
    found: dict[str, Segment] = {}
    ways: dict[str, str] = {}
    left = list(image.segments)
    for way, meaning in (("code", _by_code), ("ID", _by_id), ("name", _by_name)):
        claims: dict[str, list[Segment]] = {}
        for segment in left:
            structures = meaning(segment)
            if len(structures) > 1:
                raise InputError(
                    f"the segment {named(repr(segment.name))} of {image.name} may be "
                    f"{' or '.join(title(s).lower() for s in sorted(structures))}; rename it"
                )
            for structure in structures - set(found):
                if way == "code" and not _agrees(segment, structure):
                    continue
                claims.setdefault(structure, []).append(segment)
        for structure, segments in claims.items():
            chosen = _narrowed(structure, segments)
            if chosen is None:
                names = named(", ".join(repr(s.name) for s in segments))
                raise InputError(
                    f"{len(segments)} segments of {image.name} may be the "
                    f"{title(structure).lower()} by their {way}: {names}; keep one"
                )
            found[structure] = chosen
            ways[structure] = way
        taken = {id(segment) for segment in found.values()}
        left = [segment for segment in left if id(segment) not in taken]
    return ImportedRegions(
        partitions=_assembled(image, found),
        how="segments by " + ", ".join(w for w in ("code", "ID", "name") if w in ways.values()),
        found={structure: segment.id for structure, segment in found.items()},
    )


def _narrowed(structure: str, segments: list[Segment]) -> Segment | None:
    """Of several segments that may be meant, the one whose ID, else whose name, says so."""
    if len(segments) == 1:
        return segments[0]
    for meaning in (_by_id, _by_name):
        chosen = [segment for segment in segments if structure in meaning(segment)]
        if len(chosen) == 1:
            return chosen[0]
    return None


def _agrees(segment: Segment, structure: str) -> bool:
    """Whether ID and name leave room for what the code says: zones share the code of the lung."""
    own = _by_id(segment) or _by_name(segment)
    return not own or structure in own


def _by_code(segment: Segment) -> set[str]:
    def value(code: str) -> str:
        scheme, _, rest = code.partition("^")
        return rest.partition("^")[0] if scheme.upper() in ("SCT", "SNM3", "SRT") else ""

    structure = _CODES.get((value(segment.type), value(segment.modifier)))
    return set() if structure is None else {structure}


def _by_id(segment: Segment) -> set[str]:
    return {segment.id} if segment.id in _PARTITION_OF else _meanings(segment.id)


def _by_name(segment: Segment) -> set[str]:
    return _meanings(segment.name)


def structure_of(name: str) -> str | None:
    """Structure that a segment or file name means, if it means one.

    Examples
    --------
    >>> structure_of("lung_upper_lobe_left"), structure_of("Upper lobe"), structure_of("spleen")
    ('left_upper_lobe', None, None)

    """
    meant = _meanings(name)
    return next(iter(meant)) if len(meant) == 1 else None


def _meanings(name: str) -> set[str]:
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return NAMES.get(re.sub(r"[^a-z]+", " ", spaced.lower()).strip(), set())


def _assembled(image: LabelImage, found: Mapping[str, Segment]) -> dict[str, Labelmap]:
    """Label maps of the partitions, every segment drawn into its own."""
    out: dict[str, Labelmap] = {}
    for part, labels in PARTITIONS.items():
        chosen = {name: found[name] for name in labels if name in found}
        if not chosen:
            continue
        array = np.zeros(image.geometry.shape, np.uint8)
        for layer in sorted({segment.layer for segment in chosen.values()}):
            lookup = {s.label: labels[n] for n, s in chosen.items() if s.layer == layer}
            _paint(array, image.layer(layer), lookup)
        out[part] = Labelmap(array, image.geometry, {labels[name]: name for name in chosen})
    return out


def _paint(array: NDArray[np.uint8], source: Labels, lookup: Mapping[int, int]) -> None:
    """Write the new values of known labels, slice by slice."""
    keys = np.array(sorted(lookup))
    values = np.array([lookup[key] for key in keys], np.uint8)
    for target, plane in zip(array, source, strict=True):
        place = np.searchsorted(keys, plane).clip(max=len(keys) - 1)
        hit = keys[place] == plane
        target[hit] = values[place[hit]]


# ------------------------------------------------------------------------------ by convention


def _by_convention(image: LabelImage, name: str, how: str) -> ImportedRegions:
    if image.array.ndim == 4:
        raise InputError(
            f"{image.name} holds overlapping segments; a label convention needs one label map"
        )
    convention = CONVENTIONS[name]
    if name == "cip":
        return _from_cip(image, how)
    present = set(present_labels(image.array))
    found = {
        structure: Segment(id=f"label_{value}", name=f"Label {value}", label=value)
        for value, structure in convention.labels.items()
        if value in present
    }
    unknown = sorted(present - set(convention.labels))
    notes = []
    if unknown and not convention.highest:
        notes.append(f"Labels {_listed(unknown)} of {image.name} have no meaning there; left out.")
    return ImportedRegions(
        partitions=_assembled(image, found),
        how=how,
        found={structure: segment.id for structure, segment in found.items()},
        notes=tuple(notes),
    )


def _from_cip(image: LabelImage, how: str) -> ImportedRegions:
    """Split region and type; airways belong to no lung, vessels belong to theirs."""
    region = (image.array & 0xFF).astype(np.uint8)
    kind = (image.array.astype(np.uint16) >> 8).astype(np.uint8)
    airway = kind == CIP_AIRWAY_TYPE
    lungs_of = {**dict.fromkeys((3, 7, 8, 9, 10, 11), LUNGS[0])}
    lungs_of |= dict.fromkeys((2, 4, 5, 6, 12, 13, 14), LUNGS[1])
    tables: dict[str, dict[int, str]] = {
        "lungs": {value: str(lung) for value, lung in lungs_of.items()},
        "lobes": {v: n for v, n in _cip_labels().items() if v < 256 and n in set(LOBES)},
        "zones": {v: n for v, n in _cip_labels().items() if v < 256 and n in set(ZONES)},
    }
    present = set(present_labels(region))
    parts: dict[str, Labelmap] = {}
    for part, table in tables.items():
        labels = PARTITIONS[part]
        lookup = {value: labels[name] for value, name in table.items() if value in present}
        if not lookup:
            continue
        array = np.zeros(image.geometry.shape, np.uint8)
        _paint(array, region, lookup)
        array[airway] = 0
        names = {labels[name]: name for value, name in table.items() if value in lookup}
        if part == "lungs" and airway.any():
            array[airway] = labels[AIRWAYS]
            names[labels[AIRWAYS]] = AIRWAYS
        parts[part] = Labelmap(array, image.geometry, names)
    vessels = {value: name for value, name in CIP_VESSEL_TYPES.items() if (kind == value).any()}
    if vessels:
        labels = PARTITIONS["vessels"]
        array = np.zeros(image.geometry.shape, np.uint8)
        _paint(array, kind, {value: labels[name] for value, name in vessels.items()})
        parts["vessels"] = Labelmap(array, image.geometry, {labels[n]: n for n in vessels.values()})
    return ImportedRegions(partitions=parts, how=how)


def _recognised(image: LabelImage) -> str:
    """Only convention that fits the label values and the anatomy."""
    present = set(present_labels(image.array if image.array.ndim == 3 else image.array[0]))
    fitting = []
    for name, convention in CONVENTIONS.items():
        if _cip_fits(present) if name == "cip" else convention.fits(present):
            candidate = _by_convention(image, name, name)
            if _anatomy_holds(candidate):
                fitting.append(name)
    if len(fitting) == 1:
        return fitting[0]
    what = "fits none" if not fitting else f"fits {' and '.join(fitting)}"
    raise InputError(
        f"{image.name} is a plain label map with the values {_listed(sorted(present))}, which "
        f"{what} of the known conventions; state what its values mean: --lobe-convention "
        f"{{{','.join(CONVENTIONS)}}}"
    )


def _cip_fits(present: set[int]) -> bool:
    """Whether the low bytes are lungs, lobes or whole sets of thirds, with no other region."""
    regions = {value & 0xFF for value in present}
    thirds = regions & set(range(9, 15))
    whole = thirds in ({9, 10, 11}, {12, 13, 14}, set(range(9, 15)), set())
    told = bool(thirds) or {2, 3} <= regions or bool({6, 8} & regions)
    return whole and told and regions <= set(range(15))


# ------------------------------------------------------------------------------------ anatomy


def _centre_ras_mm(labelmap: Labelmap, name: str) -> NDArray[np.float64] | None:
    mask = labelmap.mask(name)
    if not mask.any():
        return None
    index = [
        np.average(np.arange(mask.shape[a]), weights=mask.sum(axis=tuple({0, 1, 2} - {a})))
        for a in range(3)
    ]
    return labelmap.geometry.ras_from_ijk(index[::-1])


def _share_beyond(labelmap: Labelmap, name: str, middle_r_mm: float) -> float:
    """Share of a sided structure that lies on the other side of a sagittal plane."""
    mask = labelmap.mask(name)
    index = np.argwhere(mask[::2, ::2, ::2]) * 2
    if not index.size:
        return 0.0
    r_mm = labelmap.geometry.ras_from_ijk(index[:, ::-1])[:, 0]
    beyond = r_mm > middle_r_mm if lung_of(name) == LUNGS[0] else r_mm < middle_r_mm
    return float(beyond.mean())


def _contradictions(imported: ImportedRegions) -> list[str]:
    """Structures that lie where they cannot."""
    parts = [part for part in (imported.lobes, imported.lungs, imported.zones) if part is not None]
    centres = {
        name: centre
        for part in parts
        for name in part.names.values()
        if (centre := _centre_ras_mm(part, name)) is not None and name != AIRWAYS
    }
    wrong = []
    left = {name: centre for name, centre in centres.items() if lung_of(name) == LUNGS[0]}
    right = {name: centre for name, centre in centres.items() if lung_of(name) == LUNGS[1]}
    for (a, first), (b, second) in product(left.items(), right.items()):
        if first[0] >= second[0]:
            wrong.append(f"the {title(a).lower()} lies to the right of the {title(b).lower()}")
    if left and right:
        middle = (
            np.mean([centre[0] for centre in left.values()])
            + np.mean([centre[0] for centre in right.values()])
        ) / 2
        wrong += [
            f"the {title(name).lower()} lies on both sides"
            for part in parts
            for name in part.names.values()
            if name in {**left, **right} and _share_beyond(part, name, middle) > BOTH_SIDES_SHARE
        ]
    for side in ("left", "right"):
        for kind in ("lobe", "zone"):
            upper, lower = centres.get(f"{side}_upper_{kind}"), centres.get(f"{side}_lower_{kind}")
            if upper is not None and lower is not None and upper[2] <= lower[2]:
                wrong.append(f"the {side} upper {kind} lies below the {side} lower {kind}")
    return wrong


def _anatomy_holds(imported: ImportedRegions) -> bool:
    """Whether everything lies in its place, airways in the middle of what there is."""
    if not imported.partitions:
        return False
    if imported.lobes is None and imported.zones is None and imported.vessels is not None:
        return _vessels_plausible(imported)
    return not _contradictions(imported)


def _vessels_plausible(imported: ImportedRegions) -> bool:
    """Vessels spread farther sideways than the airways between them do."""
    if imported.lungs is None or imported.vessels is None:
        return False
    spread = []
    for labelmap in (imported.vessels, imported.lungs):
        mask = labelmap.array > 0
        axis, _ = labelmap.geometry.array_axis_toward("R")
        profile = mask.sum(axis=tuple({0, 1, 2} - {axis}))
        at = np.arange(profile.size)
        mean = np.average(at, weights=profile)
        spread.append(float(np.sqrt(np.average((at - mean) ** 2, weights=profile))))
    lungs_there = any(name in LUNGS for name in imported.lungs.names.values())
    return not lungs_there and spread[0] > spread[1]


def _require_anatomy(imported: ImportedRegions, name: str) -> None:
    wrong = _contradictions(imported)
    if wrong:
        raise InputError(
            f"the labels of {name} contradict the anatomy: {wrong[0]}; check label names, the "
            "label convention and the orientation of the image"
        )


# --------------------------------------------------------------------------------------- grid


def _on_grid(imported: ImportedRegions, image: LabelImage, target: Geometry) -> ImportedRegions:
    if image.geometry.same_as(target):
        return imported
    parts = {
        name: resample_labelmap(labelmap, target) for name, labelmap in imported.partitions.items()
    }
    before, after = (
        max(part.volume_ml(*part.names.values()) for part in labelmaps.values())
        for labelmaps in (imported.partitions, parts)
    )
    if not after:
        raise InputError(
            f"the labels of {image.name} lie entirely outside the CT; check that both belong to "
            "one patient and one examination"
        )
    spacing = " x ".join(f"{mm:.3g}" for mm in image.geometry.spacing_ijk_mm)
    note = (
        f"The labels of {image.name} lie on another grid ({spacing} mm) and were resampled onto "
        f"the CT (nearest label); the labelled volume went from {before:.0f} to {after:.0f} mL."
    )
    return ImportedRegions(
        partitions=parts, how=imported.how, notes=(*imported.notes, note), found=imported.found
    )


def _listed(items: Sequence[object], most: int = 12) -> str:
    shown = ", ".join(str(item) for item in items[:most])
    return shown if len(items) <= most else f"{shown} and {len(items) - most} more"

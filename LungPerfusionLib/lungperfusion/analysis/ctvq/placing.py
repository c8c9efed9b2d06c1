"""Maps and label maps brought to the grid of the scan that was asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import numpy as np

from lungperfusion.analysis.ctvq.breaths import Breath, JoinedBreaths
from lungperfusion.volume import Box, Geometry, Labelmap, Volume
from lungperfusion.vq.classes import relative_to_mean
from lungperfusion.vq.inspiratory import InspiratoryView

_PLAIN = ("measured_vq_ratio", "perfusion_difference")
"""Maps of a place, whatever its volume, that measured maps add."""

Placed = tuple[Mapping[str, Volume], Mapping[str, Labelmap]]


class OnDemand[Image](Mapping[str, Image]):
    """Images that are brought to the whole grid when they are asked for, so one at a time."""

    def __init__(self, near: Mapping[str, Image], place: Callable[[Image], Image]) -> None:
        self._near = near
        self._place = place

    def __getitem__(self, name: str) -> Image:
        """Make one image."""
        return self._place(self._near[name])

    def __iter__(self) -> Iterator[str]:
        """Go through the names."""
        return iter(self._near)

    def __len__(self) -> int:
        """Count the images."""
        return len(self._near)


def at_expiration(
    maps: Mapping[str, Volume], labelmaps: Mapping[str, Labelmap], box: Box, whole: Geometry
) -> Placed:
    """Pad maps and labels from a box to the whole expiratory grid."""
    return (
        OnDemand(maps, partial(_padded_map, box=box, whole=whole)),
        OnDemand(labelmaps, partial(_padded, box=box, whole=whole)),
    )


def at_inspiration(
    maps: Mapping[str, Volume],
    labelmaps: Mapping[str, Labelmap],
    joined: JoinedBreaths,
    inspiration: Breath,
) -> Placed:
    """Carry maps and labels to the whole inspiratory grid.

    What is given per expiratory volume becomes per inspiratory volume, so that sums over a region
    stay; ratios and densities of a place stay as they are.
    """
    lungs = inspiration.lungs
    view = InspiratoryView.of(joined.registration, lungs)
    density = [n for n in ("measured_perfusion", "measured_ventilation") if n in maps]
    carried = {
        **{name: view.carry(v) for name, v in maps.items() if name.startswith(_PLAIN)},
        **{name: view.carry_density(maps[name], maps["jacobian"]) for name in density},
        "ventilation": view.carry_density(maps["ventilation"], maps["jacobian"]),
        "perfusion": view.carry_density(maps["perfusion"], maps["jacobian"]),
        "specific_ventilation": view.carry(maps["specific_ventilation"]),
        "vq_ratio": view.carry(maps["vq_ratio"]),
        "jacobian": view.carry(maps["jacobian"]),
        "expiration_on_inspiration": view.carry(joined.expiration.ct),
    }
    for name in (
        "perfusion",
        "vq_ratio",
        *(n for n in maps if n.startswith(("measured_", *_PLAIN))),
    ):
        q, seen = carried[name], view.carry_labels(_known_of(maps[name])).mask("known")
        carried[name] = Volume(np.where(seen, q.array, 0), q.geometry, q.unit, seen)
    for name in ("perfusion", *density):
        q = carried[name]
        carried[name] = q.with_array(relative_to_mean(q.array, _known_of(q).mask("known")))
    labels = {name: view.carry_labels(m) for name, m in labelmaps.items() if name != "lungs"}
    inside = Labelmap(np.asarray(lungs.array), inspiration.ct.geometry, lungs.names)
    return carried, {"lungs": inside, **labels}


def _known_of(volume: Volume) -> Labelmap:
    valid = np.ones(volume.array.shape, np.bool_) if volume.valid is None else volume.valid
    return Labelmap(valid.astype(np.uint8), volume.geometry, {1: "known"})


def _padded_map(volume: Volume, box: Box, whole: Geometry) -> Volume:
    fill = -1000 if volume.unit == "HU" else 0
    array = np.full(whole.shape, fill, volume.array.dtype)
    array[box] = volume.array
    valid = np.zeros(whole.shape, np.bool_)
    valid[box] = True if volume.valid is None else volume.valid
    return Volume(array, whole, volume.unit, valid)


def _padded(labels: Labelmap, box: Box, whole: Geometry) -> Labelmap:
    array = np.zeros(whole.shape, labels.array.dtype)
    array[box] = labels.array
    return Labelmap(array, whole, labels.names)

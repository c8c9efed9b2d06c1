"""Key images: what any viewer shows, with "Research use only" in the picture."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from typing import Any

import highdicom as hd
import numpy as np
from numpy.typing import NDArray

from lungperfusion.archive.objects import NOTICE, Export
from lungperfusion.measurement import Measurement
from lungperfusion.naming import plain
from lungperfusion.quality import Gate
from lungperfusion.results.colours import IODINE_PERFUSION, VENTILATION, VQ_RATIO
from lungperfusion.results.figures import Labels, Overlay, three_planes
from lungperfusion.results.tables import number_text
from lungperfusion.terms import LUNGS, MEASURES, Region, title
from lungperfusion.terms.archive import SURROGATES, quantity
from lungperfusion.volume import Labelmap, Volume

MOST_PAGES = 5
VALUES = "measurements"
"""Name of the page of values, the only one that shows nothing of the CT."""
FIRST = (
    *("iodine", "perfusion", "ventilation", "defects", "vq_classes", "vq_ratio", "vessels"),
    *("perfusion_defects", "lobes", "lungs"),
)
"""What is shown before all else, where there is more than the pages hold."""
_DPI = 180
_BANNER_IN = 0.32
_WIDTH_IN = 7.4
_ROWS = 24
"""Measures that fit a page."""
_COLUMNS = {
    Region.LUNGS: "Lungs",
    Region.LEFT_LUNG: "Left",
    Region.RIGHT_LUNG: "Right",
    Region.LEFT_UPPER_LOBE: "LUL",
    Region.LEFT_LOWER_LOBE: "LLL",
    Region.RIGHT_UPPER_LOBE: "RUL",
    Region.RIGHT_MIDDLE_LOBE: "RML",
    Region.RIGHT_LOWER_LOBE: "RLL",
}

Picture = NDArray[np.uint8]


def can_draw() -> bool:
    """Whether matplotlib is there, which draws them."""
    return find_spec("matplotlib") is not None


class KeyPages:
    """Pictures of label maps and maps over the CT, collected while they pass by.

    Parameters
    ----------
    ct
        The source; None leaves the page of values alone.

    """

    def __init__(self, ct: Volume | None) -> None:
        self._ct = ct
        self._pages: dict[str, Picture] = {}

    def add_labels(self, name: str, labels: Labelmap) -> None:
        """Draw a label map; one without a voxel has no page."""
        if self._ct is None or not self._has_room(name) or not labels.array.any():
            return
        shown = Labels(labelmap=labels, fill=0.0 if name == "lungs" else 0.5)
        self._pages[name] = _pixels(three_planes(self._ct, labels=shown, width_in=_WIDTH_IN))

    def add_map(self, name: str, image: Volume, lungs: Labelmap | None) -> None:
        """Draw a map within the lungs; CT numbers of another breath have no page."""
        if self._ct is None or not self._has_room(name) or image.unit == "HU":
            return
        inside = None if lungs is None else lungs.mask(*LUNGS)
        if inside is not None and image.valid is not None:
            inside = inside & image.valid
        overlay = Overlay(
            volume=Volume(image.array, image.geometry, image.unit, inside),
            colours={"iodine": IODINE_PERFUSION, "vq_ratio": VQ_RATIO}.get(name, VENTILATION),
            title=title(name),
            value_range=quantity(name).shown or _spread(image, inside),
            unit=image.unit,
        )
        self._pages[name] = _pixels(
            three_planes(self._ct, overlay=overlay, around=lungs, width_in=_WIDTH_IN)
        )

    def _has_room(self, name: str) -> bool:
        """Whether a picture can be among those shown, by what was drawn so far."""
        better = sum(_rank(known) < _rank(name) for known in self._pages)
        return better < MOST_PAGES - 1

    def objects(
        self,
        export: Export,
        measurements: Sequence[Measurement],
        gates: Sequence[Gate],
        *,
        number: int,
    ) -> Iterator[Any]:
        """Make Secondary Capture objects: the numbers first, then pictures.

        Parameters
        ----------
        export
            What they belong to.
        measurements, gates
            Of the analysis, for the page of numbers.
        number
            Of their series.

        """
        chosen = sorted(self._pages, key=_rank)
        pages = {VALUES: _numbers(measurements, gates)}
        pages |= {name: self._pages[name] for name in chosen[: MOST_PAGES - 1]}
        for page, (name, picture) in enumerate(pages.items(), start=1):
            words = f"{title(name)}{' (CT surrogate)' if name in SURROGATES else ''}"
            yield _secondary_capture(export, _under_banner(picture, words), name, page, number)


def _rank(name: str) -> tuple[int, str]:
    """Order in which pictures are shown."""
    return (FIRST.index(name) if name in FIRST else len(FIRST), name)


def _secondary_capture(export: Export, picture: Picture, name: str, page: int, number: int) -> Any:
    base = export.base("key images", number, f"{export.module} key images")
    made = hd.sc.SCImage(
        pixel_array=picture,
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        patient_orientation=("L", "P"),
        study_instance_uid=export.source.study_uid,
        **{**base, "sop_instance_uid": export.uid(f"key image {name}"), "instance_number": page},
    )
    made.Laterality = ""
    shown = export.source.is_annotated and name != VALUES
    made.BurnedInAnnotation = "YES" if shown else "NO"  # the notice says nothing of the patient
    made.ImageComments = NOTICE
    for keyword in ("DateOfSecondaryCapture", "TimeOfSecondaryCapture"):  # now, otherwise
        if keyword in made:
            del made[keyword]
    return export.finish(made, f"key image {name}")


def _pixels(png: bytes) -> Picture:
    from matplotlib.image import imread

    return np.asarray(np.rint(imread(io.BytesIO(png))[..., :3] * 255), dtype=np.uint8)


def _under_banner(picture: Picture, words: str) -> Picture:
    """Picture with what it shows and the notice above it, in the pixels themselves."""
    from matplotlib.figure import Figure

    width = picture.shape[1] / _DPI
    figure = Figure(figsize=(width, _BANNER_IN), dpi=_DPI, facecolor="black")
    figure.text(0.012, 0.5, plain(words), color="white", size=11, va="center")
    figure.text(0.988, 0.5, NOTICE, color="#f0b429", size=11, va="center", ha="right")
    banner = _drawn(figure)
    height = max(banner.shape[1], picture.shape[1])
    return np.ascontiguousarray(np.vstack([_wide(banner, height), _wide(picture, height)]))


def _wide(picture: Picture, width: int) -> Picture:
    return np.pad(picture, ((0, 0), (0, width - picture.shape[1]), (0, 0)))


def _drawn(figure: Any) -> Picture:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", facecolor=figure.get_facecolor())
    return _pixels(stream.getvalue())


def _numbers(measurements: Sequence[Measurement], gates: Sequence[Gate]) -> Picture:
    """Page of the first measures by lungs and lobes, with the checks that were not passed."""
    from matplotlib.figure import Figure

    cells: dict[str, dict[str, Measurement]] = {}
    for entry in measurements:
        if entry.region in _COLUMNS:
            cells.setdefault(entry.measure, {}).setdefault(entry.region, entry)
    regions = [r for r in _COLUMNS if any(r in row for row in cells.values())] or [Region.LUNGS]
    rows = list(cells.items())[:_ROWS]
    notes = [gate.message for gate in gates if gate.verdict in ("fail", "warn")][:4]
    height = 0.22 * (len(rows) + len(notes) + 3)
    figure = Figure(figsize=(_WIDTH_IN, height), dpi=_DPI, facecolor="black")
    step = 0.22 / height
    columns = [0.5 + 0.49 * (n + 1) / len(regions) for n in range(len(regions))]
    ink: dict[str, Any] = {"color": "#e8e8e8", "size": 6.5, "va": "center"}
    y = 1 - step
    for region, x in zip(regions, columns, strict=True):
        figure.text(x, y, _COLUMNS[region], ha="right", **ink)
    for measure, row in rows:
        y -= step
        unit = MEASURES[measure].unit if measure in MEASURES else ""
        words = MEASURES[measure].title if measure in MEASURES else title(measure)
        figure.text(0.012, y, f"{words[:52]} [{unit}]", **ink)
        for region, x in zip(regions, columns, strict=True):
            if region in row:
                figure.text(x, y, _cell(row[region]), ha="right", **ink)
    y -= step
    figure.text(0.012, y, "* read with caution; – could not be measured (see report)", **ink)
    for note in notes:
        y -= step
        figure.text(0.012, y, plain(note)[:140], **{**ink, "color": "#f0b429", "size": 5.5})
    return _drawn(figure)


def _cell(entry: Measurement) -> str:
    if entry.status == "missing":
        return "–"
    return number_text(float(f"{entry.value:.4g}")) + ("*" if entry.status == "caution" else "")


def _spread(image: Volume, inside: NDArray[np.bool_] | None) -> tuple[float, float]:
    """Range of the middle 98 % of the values."""
    values = image.array[inside] if inside is not None else image.array
    finite = values[np.isfinite(values)]
    if not finite.size:
        return 0.0, 1.0
    low, high = (float(x) for x in np.percentile(finite, (1, 99)))
    return (low, high) if high > low else (low, low + 1.0)

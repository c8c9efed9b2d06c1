"""Writing all objects of one results folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import lungperfusion
from lungperfusion.archive.anonymise import anonymised
from lungperfusion.archive.key_images import KeyPages, can_draw
from lungperfusion.archive.objects import Export, save
from lungperfusion.archive.parametric_maps import make_parametric_map
from lungperfusion.archive.results import FinishedResults
from lungperfusion.archive.segmentations import Kind, SegmentationObject, make_segmentation
from lungperfusion.archive.source import SourceSeries, require_patient
from lungperfusion.archive.structured_report import make_report
from lungperfusion.errors import InputError
from lungperfusion.io import read_map, read_segmentation
from lungperfusion.io.dicom.header import warnings_off
from lungperfusion.orientation import as_stored, axial, axial_geometry
from lungperfusion.progress import Progress, ignore
from lungperfusion.terms import LUNGS
from lungperfusion.volume import Geometry, Labelmap, Volume

SEGMENTATION_SERIES, MAP_SERIES, REPORT_SERIES, KEY_IMAGE_SERIES = 7001, 7101, 7201, 7301
"""Series numbers of the first object of each kind, far above those of scanners."""


@dataclass(frozen=True, kw_only=True)
class ArchiveOptions:
    """What the user may choose."""

    kind: Kind = "binary"
    """How segmentations are stored."""
    outside: float = np.nan
    """Value of maps outside the lungs."""
    anonymise: bool = False
    key_images: bool = True
    """Written where matplotlib is there to draw them."""


def require_measured(results: FinishedResults, source: SourceSeries) -> str:
    """Role that a source had in the measurement.

    Raises
    ------
    InputError
        If the results were measured on other images.

    """
    for role, (file, voxels) in results.inputs.items():
        if source.scan.sha256 == file or (voxels and source.scan.voxels_sha256 == voxels):
            return role
    raise InputError(
        "the source is not what these results were measured on (no input has its SHA-256); give "
        f"the series of one of the inputs: {', '.join(results.inputs)}"
    )


def write_objects(
    folder: Path,
    results: FinishedResults,
    source: SourceSeries,
    options: ArchiveOptions = ArchiveOptions(),  # immutable
    progress: Progress = ignore,
) -> tuple[str, ...]:
    """Write segmentations, maps, the report and key images of one results folder.

    Parameters
    ----------
    folder
        Empty folder; `lungperfusion.io.results_folder` makes it appear whole or not at all.
    results, source
        What was measured, on what.
    options
        What to write how.

    Returns
    -------
    tuple of str
        Names of the files.

    Raises
    ------
    InputError
        If the source was not measured, names no patient, or lies on another grid.

    """
    require_measured(results, source)
    if options.anonymise:
        if results.holds_names:
            raise InputError(
                "these results hold patient identifiers or file names (--keep-identifiers); "
                "measure again without, then write them with --anonymise"
            )
        source = anonymised(source, results.case)
    else:
        require_patient(source)
    export = Export(
        source=source,
        entropy=(lungperfusion.__version__, results.digest, source.scan.sha256, repr(options)),
        module=results.module,
        version=results.version,
    )
    with warnings_off():
        return tuple(_objects(folder, export, results, options, progress))


def _objects(
    folder: Path,
    export: Export,
    results: FinishedResults,
    options: ArchiveOptions,
    progress: Progress,
) -> Iterator[str]:
    geometry = export.source.scan.volume.geometry
    pages = None
    if options.key_images and can_draw():
        hidden = export.source.is_removed and export.source.is_annotated
        pages = KeyPages(None if hidden else export.source.scan.volume)
    segmentations: list[SegmentationObject] = []
    lungs: Labelmap | None = None
    steps = len(results.segmentations) + len(results.maps)
    done = 0
    for number, (name, path) in enumerate(results.segmentations.items()):
        progress(0.8 * done / steps, f"segmentation {name}")
        labels = _on_grid(read_segmentation(path), geometry, name)
        made = make_segmentation(
            export,
            name,
            labels,
            number=SEGMENTATION_SERIES + number,
            by_hand={n: results.is_by_hand(name, n) for n in labels.names.values()},
            kind=options.kind,
        )
        if made is not None:
            segmentations.append(made)
            save(made.dataset, folder / f"seg_{name}.dcm")
            del made.dataset.PixelData  # the report refers to it, no more
            yield f"seg_{name}.dcm"
        if name == "lungs":
            lungs = labels
        if pages is not None:
            pages.add_labels(name, labels)
        done += 1
    for number, (name, (path, unit)) in enumerate(results.maps.items()):
        progress(0.8 * done / steps, f"map {name}")
        image = _on_grid(read_map(path, unit=unit).volume, geometry, name)
        inside = None if lungs is None else lungs.mask(*LUNGS)
        made_map = make_parametric_map(
            export,
            name,
            image,
            number=MAP_SERIES + number,
            inside=inside,
            outside=options.outside,
        )
        save(made_map, folder / f"map_{name}.dcm")
        yield f"map_{name}.dcm"
        if pages is not None:
            pages.add_map(name, image, lungs)
        done += 1
    progress(0.8, "structured report")
    report = make_report(
        export, results.measurements, results.gates, segmentations, number=REPORT_SERIES
    )
    save(report, folder / "report.dcm")
    yield "report.dcm"
    if pages is not None:
        progress(0.9, "key images")
        for page, made_image in enumerate(
            pages.objects(export, results.measurements, results.gates, number=KEY_IMAGE_SERIES), 1
        ):
            save(made_image, folder / f"key_{page}.dcm")
            yield f"key_{page}.dcm"


def _on_grid[Image: (Labelmap, Volume)](image: Image, geometry: Geometry, name: str) -> Image:
    """Image in the voxel order of the source, on all of its grid; refuse one of another grid."""
    turned = axial(image)
    whole, own = axial_geometry(geometry), turned.geometry
    first = np.rint(whole.ijk_from_ras(own.ras_from_ijk((0, 0, 0)))).astype(int)[::-1]
    ends = first + own.shape
    if (first < 0).any() or (ends > whole.shape).any() or not whole.shares_voxels(own):
        raise InputError(
            f"the {name} of these results lies on another grid than the source; give the series "
            "that was the reference of the measurement"
        )
    if own.shape != whole.shape:
        box = tuple(slice(a, b) for a, b in zip(first.tolist(), ends.tolist(), strict=True))
        turned = _surrounded(turned, whole, box)
    return as_stored(turned, geometry)


def _surrounded[Image: (Labelmap, Volume)](
    part: Image, whole: Geometry, box: tuple[slice, ...]
) -> Image:
    """Part of a grid, such as the box of the lungs, with nothing known around it."""
    if isinstance(part, Labelmap):
        labels = np.zeros(whole.shape, part.array.dtype)
        labels[box] = part.array
        return Labelmap(labels, whole, part.names)
    values = np.full(whole.shape, np.nan, np.float32)
    values[box] = part.array
    known = np.zeros(whole.shape, bool)
    known[box] = True if part.valid is None else part.valid
    return Volume(values, whole, part.unit, known)

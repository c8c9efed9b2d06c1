"""A results folder to nodes of the scene."""

import csv
import json
from pathlib import Path

from lungperfusion import mrml
from lungperfusion.io import read_map, read_segmentation
from lungperfusion.io.time_series import read_frames
from lungperfusion.io.writing import written_unit
from lungperfusion.measurement import measurement_of
from lungperfusion.terms import title
from lungperfusion_gui.study import MEASUREMENTS

LUNGS = "lungs"
CURVES = "curves"
"""Table whose columns are drawn over the first one, so they stay numbers."""


def show_results(study, folder, *, maps=(), transforms=()):
    """Load a results folder, updating what an earlier run of the study has left.

    Parameters
    ----------
    study
        Keeps the nodes.
    folder
        Results folder of a command.
    maps
        Names of maps in the order in which they are offered; others follow.
    transforms
        Names of the displacement fields among the results.

    """
    folder = Path(folder)
    record = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    study.text_node("record", json.dumps(record))
    _show_labels(study, folder)
    _show_maps(study, folder, list(maps))
    _show_series(study, folder)
    _show_tables(study, folder, record["analyses"][0]["measurements"])
    for transform in transforms:
        field = folder / f"{transform}.nrrd"
        if field.exists():
            role, name = f"transform.{transform}", study.title(title(transform).lower())
            node = mrml.show_transform(study.scene, field, name, node=study.node(role))
            study.keep(role, node, name)


def _show_labels(study, folder):
    """Show what was measured; what the reader drew beyond that is kept apart."""
    names = []
    for path in sorted(folder.glob("*.seg.nrrd")):
        name = path.name.removesuffix(".seg.nrrd")
        names.append(name)
        role, words = f"labels.{name}", study.title(title(name).lower())
        node, labels = study.node(role), read_segmentation(path)
        drawn = study.node(f"drawn.{name}")
        if node is None or name not in study.corrected or mrml.shows(drawn or node, labels):
            study.drop(f"drawn.{name}")
        elif drawn is None:
            copy = mrml.copy_segmentation(study.scene, node, f"{words} (as drawn)")
            study.keep(f"drawn.{name}", copy)
        image = _image_of(study, labels.geometry)
        node = mrml.show_labelmap(study.scene, labels, words, node=node, reference=image)
        study.keep(role, node, words)
    study.set_names("labels", names)


def _image_of(study, geometry):
    """Volume node of this grid: that of the results, or another scan that they were joined with."""
    nodes = [study.image, *mrml.nodes_of_class(study.scene, "vtkMRMLScalarVolumeNode")]
    return next((node for node in nodes if mrml.has_grid(node, geometry)), study.image)


def _show_maps(study, folder, order):
    lungs = study.node("labels." + LUNGS)
    paths = [
        path
        for path in folder.glob("*.nrrd")
        if not path.name.endswith((".seg.nrrd", ".seq.nrrd", "_transform.nrrd"))
    ]
    names = []
    for path in sorted(paths, key=lambda path: _place(path.stem, order)):
        volume = read_map(path, unit=written_unit(path) or "1").volume
        if lungs is not None:
            volume = mrml.masked(volume, mrml.lungs_mask(lungs, volume.geometry))
        role, words = f"map.{path.stem}", study.title(title(path.stem).lower())
        node = mrml.show_volume(study.scene, volume, words, node=study.node(role))
        study.keep(role, node, words)
        names.append(path.stem)
    study.set_names("map", names)


def _show_series(study, folder):
    """Keep frames that curves of any place are taken from; they are not offered as inputs."""
    names = []
    for path in sorted(folder.glob("*.seq.nrrd")):
        name = path.name.removesuffix(".seq.nrrd")
        role, words = f"series.{name}", study.title(title(name).lower())
        known = study.node(role)
        frames = read_frames(path)
        node = mrml.show_frames(study.scene, frames, words, node=known, hidden=True)
        study.keep(role, node, words)
        names.append(name)
    study.set_names("series", names)


def _place(name, order):
    return (order.index(name) if name in order else len(order), name)


def _show_tables(study, folder, rows):
    role, words = f"table.{MEASUREMENTS}", study.title(MEASUREMENTS)
    measurements = [measurement_of(row) for row in rows]
    node = mrml.show_measurements(study.scene, measurements, words, node=study.node(role))
    study.keep(role, node, words)
    names = [MEASUREMENTS]
    for path in sorted(folder.glob("*.csv")):
        if path.stem == MEASUREMENTS:
            continue
        with path.open(encoding="utf-8", newline="") as stream:
            reader = csv.DictReader(stream)
            found = [{key: _number(value) for key, value in row.items()} for row in reader]
        role, words = f"table.{path.stem}", study.title(title(path.stem).lower())
        columns = reader.fieldnames or ()
        show = mrml.show_curves if path.stem == CURVES else mrml.show_findings
        node = show(study.scene, columns, found, words, node=study.node(role))
        study.keep(role, node, words)
        names.append(path.stem)
    study.set_names("table", names)


def _number(text):
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return text

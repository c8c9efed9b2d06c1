"""Results of the last run as nodes of the scene, found by their roles on the parameter node."""

import csv
import dataclasses
import json
import math
from pathlib import Path
from typing import ClassVar

import slicer

from lungperfusion import mrml
from lungperfusion.io import read_map, read_segmentation
from lungperfusion.measurement import Measurement
from lungperfusion.terms import title

LUNGS = "lungs"
MEASUREMENTS = "measurements"


class ResultNodes:
    """Base of the logics: loads a results folder into the scene and finds its nodes again.

    Subclasses say which volume the results belong to, with `reference`.
    """

    maps: ClassVar = {}
    """Colours of each map by its name."""
    transforms = ()
    """Names of the displacement fields among the results."""

    def reference(self, parameters):
        """Return the volume node whose grid the results have."""
        raise NotImplementedError

    def colours(self, parameters, name):
        """Colours of a map; None for one that stays grey."""
        return self.maps.get(name)

    @staticmethod
    def node(parameters, role):
        """Node of a result; None before there is one."""
        return parameters.parameterNode.GetNodeReference(role)

    @staticmethod
    def names(parameters, kind):
        """Names of the results of a kind (``map``, ``labels``, ``table``), as they were made."""
        raw = parameters.parameterNode
        text = raw.GetAttribute(f"{mrml.ATTRIBUTE_PREFIX}{kind}") or ""
        return [name for name in text.split() if raw.GetNodeReference(f"{kind}.{name}")]

    def _keep(self, parameters, kind, names):
        """Note what this run has made; what only an earlier one made leaves the scene."""
        raw = parameters.parameterNode
        for name in set(self.names(parameters, kind)) - set(names):
            raw.GetScene().RemoveNode(self.node(parameters, f"{kind}.{name}"))
            raw.SetNodeReferenceID(f"{kind}.{name}", None)
        raw.SetAttribute(f"{mrml.ATTRIBUTE_PREFIX}{kind}", " ".join(names))

    def record(self, parameters):
        """Content of results.json of the last run."""
        text = self.node(parameters, "record")
        return json.loads(text.GetText()) if text is not None and text.GetText() else None

    def measurements(self, parameters):
        """Measurements of the last run."""
        record = self.record(parameters)
        if record is None:
            return []
        return [_measurement(row) for row in record["analyses"][0]["measurements"]]

    def show(self, parameters, folder):
        """Load a results folder into the scene, updating what an earlier run has left."""
        scene = parameters.parameterNode.GetScene()
        folder = Path(folder)
        record = json.loads((folder / "results.json").read_text(encoding="utf-8"))
        rows = [_measurement(row) for row in record["analyses"][0]["measurements"]]
        self._set(parameters, "record", self._text(parameters, scene, "record", json.dumps(record)))
        self._show_labels(parameters, scene, folder)
        self._show_maps(parameters, scene, folder)
        self._show_tables(parameters, scene, folder, rows)
        for transform in self.transforms:
            field = folder / f"{transform}.nrrd"
            if field.exists():
                role = f"transform.{transform}"
                name = self._name(parameters, title(transform).lower())
                node = mrml.show_transform(scene, field, name, node=self.node(parameters, role))
                self._set(parameters, role, node, name)

    def _set(self, parameters, role, node, name=""):
        """Hang a result on the parameter node, beside its input under the same study."""
        if name:
            node.SetName(name)
        parameters.parameterNode.SetNodeReferenceID(role, node.GetID())
        reference = self.reference(parameters)
        if reference is not None:
            mrml.put_beside(node.GetScene(), reference, node, "Lung perfusion")
        return node

    def _name(self, parameters, what):
        reference = self.reference(parameters)
        return f"{reference.GetName() if reference is not None else self.moduleName} {what}"

    def _text(self, parameters, scene, role, text):
        node = self.node(parameters, role)
        if node is None:
            node = slicer.vtkMRMLTextNode()
            node.SetHideFromEditors(True)
            node.SetName(self._name(parameters, role))
            node = scene.AddNode(node)
        node.SetText(text)
        return node

    def _show_labels(self, parameters, scene, folder):
        names = []
        corrected = parameters.corrected.split()
        for path in sorted(folder.glob("*.seg.nrrd")):
            name = path.name.removesuffix(".seg.nrrd")
            names.append(name)
            node = self.node(parameters, f"labels.{name}")
            if node is not None and name in corrected:
                continue  # the user's own segments stay as they are
            words = self._name(parameters, title(name).lower())
            node = mrml.show_labelmap(
                scene,
                read_segmentation(path),
                words,
                node=node,
                reference=self.reference(parameters),
            )
            self._set(parameters, f"labels.{name}", node, words)
        self._keep(parameters, "labels", names)

    def _show_maps(self, parameters, scene, folder):
        names = []
        lungs = self.node(parameters, "labels." + LUNGS)
        paths = [
            path
            for path in folder.glob("*.nrrd")
            if not path.name.endswith((".seg.nrrd", "_transform.nrrd"))
        ]
        for path in sorted(paths, key=lambda path: self._map_order(path.stem)):
            unit = _header_unit(path)
            volume = read_map(path, unit=unit).volume
            if lungs is not None:
                volume = mrml.masked(volume, mrml.lungs_mask(lungs, volume.geometry))
            name = path.stem
            names.append(name)
            role = f"map.{name}"
            words = self._name(parameters, title(name).lower())
            node = mrml.show_volume(scene, volume, words, node=self.node(parameters, role))
            self._set(parameters, role, node, words)
        self._keep(parameters, "map", names)

    def _map_order(self, name):
        order = list(self.maps)
        return (order.index(name) if name in order else len(order), name)

    def _show_tables(self, parameters, scene, folder, rows):
        role = f"table.{MEASUREMENTS}"
        name = self._name(parameters, MEASUREMENTS)
        table = mrml.show_measurements(scene, rows, name, node=self.node(parameters, role))
        self._set(parameters, role, table, name)
        names = [MEASUREMENTS]
        for path in sorted(folder.glob("*.csv")):
            if path.stem == MEASUREMENTS:
                continue
            with path.open(encoding="utf-8", newline="") as stream:
                reader = csv.DictReader(stream)
                found = [{key: _number(value) for key, value in row.items()} for row in reader]
            role = f"table.{path.stem}"
            words = self._name(parameters, title(path.stem).lower())
            node = mrml.show_findings(
                scene, reader.fieldnames or (), found, words, node=self.node(parameters, role)
            )
            self._set(parameters, role, node, words)
            names.append(path.stem)
        self._keep(parameters, "table", names)

    def show_chart(self, parameters, measure):
        """Draw a measure of all regions; one chart per module, which the next call reuses."""
        scene = parameters.parameterNode.GetScene()
        chart = mrml.show_chart(
            scene,
            self.measurements(parameters),
            measure,
            self._name(parameters, "chart"),
            chart=self.node(parameters, "chart"),
        )
        return self._set(parameters, "chart", chart)


def _measurement(row):
    """Measurement of a record; what else the record says of it is for the report."""
    known = {field.name: row[field.name] for field in dataclasses.fields(Measurement)}
    known["value"] = math.nan if row["value"] is None else float(row["value"])
    return Measurement(**known)


def _number(text):
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return text


def _header_unit(path):
    """Read the unit that `write_volume` put into the header."""
    with Path(path).open("rb") as stream:
        for line in stream:
            if not line.strip():
                break
            if line.startswith(b"Unit:="):
                return line.decode().strip().removeprefix("Unit:=")
    return "1"

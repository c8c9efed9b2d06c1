"""From nodes to a command, and from its results folder back to nodes; no widgets."""

import csv
import dataclasses
import json
import math
import re
from pathlib import Path
from typing import ClassVar

import slicer
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic

from lungperfusion import mrml
from lungperfusion.errors import InputError
from lungperfusion.io import read_map, read_segmentation, write_labelmap
from lungperfusion.io.writing import write_volume
from lungperfusion.measurement import Measurement
from lungperfusion.segmentation.imports import PARTITIONS, import_regions
from lungperfusion.terms import title
from lungperfusion_gui import fissures

LUNGS = "lungs"
MEASUREMENTS = "measurements"
TRAIL = "trail"
ORIGINAL = "original."


def option_name(parameter):
    """Option of the command line that a parameter stands for.

    Examples
    --------
    >>> option_name("defectBelowHu")
    '--defect-below-hu'

    """
    return "--" + re.sub("(?=[A-Z])", "-", parameter).lower()


class AnalysisLogic(ScriptedLoadableModuleLogic):
    """What a module does without its panel.

    Subclasses say which command they run and how parameters become arguments.
    """

    command = ""
    maps: ClassVar = {}
    """Colours of each map by its name."""
    corrections: ClassVar = {LUNGS: "--lung-mask"}
    """Label maps that can be corrected, with the option that takes the corrected ones."""
    background_labels = ("exclusions",)
    """Label maps that are shown only when the user asks for them in the Data module."""
    findings = ""
    """Label map that the last view of the layout shows."""
    requirements = ("matplotlib>=3.9",)
    """What a report needs beyond Slicer."""

    # ------------------------------------------------------------------ to be given by modules

    def missing(self, parameters):
        """Say what keeps the analysis from running; empty when nothing does."""
        raise NotImplementedError

    def image_options(self, parameters):
        """Volume node and unit by option name; a name without dashes is positional."""
        raise NotImplementedError

    def options(self, parameters):
        """Return further arguments, as words."""
        raise NotImplementedError

    def reference(self, parameters):
        """Return the volume node whose grid the results have."""
        raise NotImplementedError

    option_fields = ()
    """Parameters that are options under the same name."""
    optional_fields = ()
    """The same for numbers of which 0 stands for "not given"."""
    transform = ""
    """Name of the displacement field that a recomputation reuses with ``--transform``."""

    def option_words(self, parameters):
        """Words of the parameters in `option_fields`."""
        words = []
        for name in self.option_fields:
            value = getattr(parameters, name)
            if isinstance(value, bool):
                words += [option_name(name)] if value else []
            else:
                text = f"{value:.12g}" if isinstance(value, float) else str(value)
                words += [option_name(name), text]
        for name in self.optional_fields:
            if getattr(parameters, name):
                words += [option_name(name), f"{getattr(parameters, name):.12g}"]
        return words

    def extra_words(self, parameters, folder):
        """Write further inputs into a folder and return their words."""
        return []

    def lung_options(self, parameters):
        """Lungs found by other programs, by option, with the volume whose grid they get."""
        return {"--lung-mask": (parameters.lungMask, self.reference(parameters))}

    def segmentation_options(self, parameters):
        """Segmentation node by option name, beside the lungs."""
        return {}

    def colours(self, parameters, name):
        """Colours of a map; None for one that stays grey."""
        return self.maps.get(name)

    def signature(self, parameters):
        """Return inputs and options as text, which tells whether results still belong to them."""
        nodes = [node for node, _unit in self.image_options(parameters).values()]
        nodes += [node for node, _volume in self.lung_options(parameters).values()]
        nodes += self.segmentation_options(parameters).values()
        names = ["" if node is None else node.GetName() for node in nodes]
        return " ".join([*names, *self.options(parameters)])

    # ------------------------------------------------------------------------------- command

    def request(self, parameters, folder, *, report=False, corrected=True):
        """Write the inputs of a run into a folder and return the words of its command.

        Parameters
        ----------
        parameters
            Parameter node wrapper.
        folder
            Empty folder for the inputs.
        report
            Whether the run draws pictures and writes the report.
        corrected
            Whether the user's corrections count.

        """
        folder = Path(folder)
        positional, words = [], []
        for option, (node, unit) in self.image_options(parameters).items():
            path = folder / f"{option.strip('-').replace('-', '_')}.nrrd"
            volume = mrml.volume_from_node(node, unit)
            if volume.valid is not None:
                volume = mrml.with_padding(volume)
            write_volume(volume, path, compressed=False)
            if option.startswith("-"):
                words += [option, str(path)]
            else:
                positional.append(str(path))
        words += self.options(parameters)
        words += self._segmentation_words(parameters, folder, corrected)  # files win
        words += fissures.request_words(parameters, folder)
        words += self.extra_words(parameters, folder)
        field = self.node(parameters, f"transform.{self.transform}") if self.transform else None
        if corrected and parameters.corrected and field is not None:
            mrml.write_transform(field, folder / "transform.nrrd")
            words += ["--transform", str(folder / "transform.nrrd")]
        if report and mrml.read_trail(self.node(parameters, TRAIL)):
            path = folder / "corrections.json"
            path.write_text(self.node(parameters, TRAIL).GetText(), encoding="utf-8")
            words += ["--corrections", str(path)]
        if parameters.caseName.strip():
            words += ["--case", parameters.caseName.strip()]
        if not report:
            words.append("--no-report")
        return [self.command, *positional, *words]

    def _segmentation_words(self, parameters, folder, corrected):
        geometry = mrml.geometry_from_node(self.reference(parameters))
        words = []
        chosen = parameters.corrected.split() if corrected else []
        for name in chosen:
            node = self.node(parameters, "labels." + name)
            if node is None:
                raise InputError(f"the corrected {name} are no longer in the scene; press Apply")
            path = folder / f"{name}.seg.nrrd"
            known = PARTITIONS[LUNGS] if name == LUNGS else None
            write_labelmap(mrml.labelmap_from_segmentation(node, geometry, known), path)
            words += [self.corrections[name], str(path)]
        for option, (node, volume) in self.lung_options(parameters).items():
            if node is None or (LUNGS in chosen and option == self.corrections[LUNGS]):
                continue
            path = folder / f"{option.strip('-').replace('-', '_')}.seg.nrrd"
            imported = self.imported(node, mrml.geometry_from_node(volume))
            write_labelmap(imported.lungs or imported.lobes, path)
            words += [option, str(path)]
            if imported.lobes is not None and option == self.corrections[LUNGS]:
                write_labelmap(imported.lobes, folder / "lobes.seg.nrrd")
                words += ["--lobes", str(folder / "lobes.seg.nrrd")]
        for option, node in self.segmentation_options(parameters).items():
            path = folder / f"{option.strip('-').replace('-', '_')}.seg.nrrd"
            write_labelmap(mrml.labelmap_from_segmentation(node, geometry), path)
            words += [option, str(path)]
        return words

    @staticmethod
    def imported(node, geometry):
        """Lungs and lobes of any program's segmentation, told by terminology, ID or name."""
        imported = import_regions(mrml.labelimage_from_segmentation(node, geometry))
        if imported.lungs is None and imported.lobes is None:
            raise InputError(
                f"the segmentation {node.GetName()} holds no lung and no lobe that could be told "
                "by terminology, ID or name; choose another one or none"
            )
        return imported

    # ------------------------------------------------------------------------------- results

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

    @staticmethod
    def _keep(parameters, kind, names):
        parameters.parameterNode.SetAttribute(f"{mrml.ATTRIBUTE_PREFIX}{kind}", " ".join(names))

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
        analysis = record["analyses"][0]
        before = self.measurements(parameters)
        corrected = parameters.corrected.split()
        if corrected:
            self._keep_original(parameters, scene)
        rows = [_measurement(row) for row in analysis["measurements"]]
        self._set(parameters, "record", self._text(parameters, scene, "record", json.dumps(record)))
        self._show_labels(parameters, scene, folder, corrected)
        self._show_maps(parameters, scene, folder)
        self._show_tables(parameters, scene, folder, rows)
        field = folder / f"{self.transform}.nrrd"
        if self.transform and field.exists():
            role = f"transform.{self.transform}"
            name = self._name(parameters, title(self.transform).lower())
            node = mrml.show_transform(scene, field, name, node=self.node(parameters, role))
            self._set(parameters, role, node)
        if corrected:
            self.note(parameters, {"recomputed": corrected, "changes": changes(before, rows)})
        parameters.outdated = False

    def _set(self, parameters, role, node):
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

    def _keep_original(self, parameters, scene):
        """Keep the table of the run before the first correction."""
        role = ORIGINAL + MEASUREMENTS
        current = self.measurements(parameters)
        if current and self.node(parameters, role) is None:
            name = self._name(parameters, "measurements before corrections")
            self._set(parameters, role, mrml.show_measurements(scene, current, name))

    def _show_labels(self, parameters, scene, folder, corrected):
        names = []
        for path in sorted(folder.glob("*.seg.nrrd")):
            name = path.name.removesuffix(".seg.nrrd")
            names.append(name)
            node = self.node(parameters, f"labels.{name}")
            if node is not None and name in corrected:
                continue  # the user's own segments stay as they are
            node = mrml.show_labelmap(
                scene,
                read_segmentation(path),
                self._name(parameters, title(name).lower()),
                node=node,
                reference=self.reference(parameters),
            )
            self._set(parameters, f"labels.{name}", node)
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
            node = mrml.show_volume(
                scene,
                volume,
                self._name(parameters, title(name).lower()),
                node=self.node(parameters, f"map.{name}"),
            )
            self._set(parameters, f"map.{name}", node)
        self._keep(parameters, "map", names)

    def _map_order(self, name):
        order = list(self.maps)
        return (order.index(name) if name in order else len(order), name)

    def _show_tables(self, parameters, scene, folder, rows):
        role = f"table.{MEASUREMENTS}"
        name = self._name(parameters, MEASUREMENTS)
        table = mrml.show_measurements(scene, rows, name, node=self.node(parameters, role))
        self._set(parameters, role, table)
        names = [MEASUREMENTS]
        for path in sorted(folder.glob("*.csv")):
            if path.stem == MEASUREMENTS:
                continue
            with path.open(encoding="utf-8", newline="") as stream:
                reader = csv.DictReader(stream)
                found = [{key: _number(value) for key, value in row.items()} for row in reader]
            role = f"table.{path.stem}"
            node = mrml.show_findings(
                scene,
                reader.fieldnames or (),
                found,
                self._name(parameters, title(path.stem).lower()),
                node=self.node(parameters, role),
            )
            self._set(parameters, role, node)
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

    # --------------------------------------------------------------------------- corrections

    def note(self, parameters, entry):
        """Add an entry to the audit trail that the scene keeps."""
        node = self.node(parameters, TRAIL)
        if node is None:
            scene = parameters.parameterNode.GetScene()
            node = self._set(parameters, TRAIL, self._text(parameters, scene, TRAIL, ""))
        mrml.add_to_trail(node, entry)

    def corrected(self, parameters, name, changed):
        """Record an edit of a label map: results are outdated from now on.

        Parameters
        ----------
        parameters
            Parameter node wrapper.
        name
            Name of the label map.
        changed
            Result of `mrml.SegmentSnapshot.changes_to`.

        """
        for segment, (added, removed, voxel_ml) in changed.items():
            self.note(
                parameters,
                {
                    "segmentation": name,
                    "segment": segment,
                    "voxels_added": added,
                    "voxels_removed": removed,
                    "ml_added": round(added * voxel_ml, 3),
                    "ml_removed": round(removed * voxel_ml, 3),
                },
            )
        names = dict.fromkeys((*parameters.corrected.split(), name))
        parameters.corrected = " ".join(names)
        parameters.outdated = True

    def keep_original_labels(self, parameters, name):
        """Keep the segments as they were found, before the first edit."""
        role = f"{ORIGINAL}{name}"
        node = self.node(parameters, f"labels.{name}")
        if node is not None and self.node(parameters, role) is None:
            copy = mrml.copy_segmentation(node.GetScene(), node, f"{node.GetName()} (original)")
            parameters.parameterNode.SetNodeReferenceID(role, copy.GetID())

    def restore(self, parameters, name):
        """Take back all corrections of a label map; the trail keeps them."""
        original = self.node(parameters, f"{ORIGINAL}{name}")
        node = self.node(parameters, f"labels.{name}")
        if original is None or node is None:
            raise InputError(f"there is no original of the {name}; nothing was corrected")
        mrml.restore_segmentation(node, original)
        self.note(parameters, {"segmentation": name, "restored": True})
        parameters.corrected = " ".join(n for n in parameters.corrected.split() if n != name)
        parameters.outdated = True

    def forget_corrections(self, parameters):
        """Start anew: the next run finds everything itself."""
        raw = parameters.parameterNode
        roles = []
        raw.GetNodeReferenceRoles(roles)
        for role in [role for role in roles if role.startswith(ORIGINAL)]:
            node = raw.GetNodeReference(role)
            raw.SetNodeReferenceID(role, None)
            if node is not None:
                raw.GetScene().RemoveNode(node)
        if parameters.corrected:
            self.note(parameters, {"discarded": parameters.corrected.split()})
        parameters.corrected = ""


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


def changes(before, after, regions=("lungs", "left_lung", "right_lung")):
    """Values that a recomputation changed: region, measure, unit, before and after."""
    old = {(row.region, row.measure): row.value for row in before}
    listed = []
    for row in after:
        was = old.get((row.region, row.measure), math.nan)
        same = row.value == was or (math.isnan(row.value) and math.isnan(was))
        if row.region in regions and not same:
            listed.append(
                {
                    "region": row.region,
                    "measure": row.measure,
                    "unit": row.unit,
                    "before": None if math.isnan(was) else was,
                    "after": None if math.isnan(row.value) else row.value,
                }
            )
    return listed

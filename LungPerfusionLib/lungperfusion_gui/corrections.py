"""What a reader corrected: the audit trail, the originals, and what is outdated."""

import math

from lungperfusion import mrml
from lungperfusion.errors import InputError
from lungperfusion_gui.result_nodes import MEASUREMENTS, ResultNodes

TRAIL = "trail"
ORIGINAL = "original."
ANALYSED = "analysed"
"""Role of the scan that the results were made of."""


class CorrectedResults(ResultNodes):
    """Results that a reader may correct; the scene keeps the originals and the trail."""

    def show(self, parameters, folder):
        """Load a results folder; after a correction, note what it changed."""
        before = self.measurements(parameters)
        recomputed = parameters.outdated
        if recomputed:
            self._keep_original_measurements(parameters, before)
        super().show(parameters, folder)
        if recomputed:
            parts = parameters.corrected.split() or ["reader's marks"]
            found = changes(before, self.measurements(parameters))
            self.note(parameters, {"recomputed": parts, "changes": found})
        parameters.outdated = False
        parameters.parameterNode.SetNodeReferenceID(ANALYSED, _id(self.reference(parameters)))

    def _keep_original_measurements(self, parameters, rows):
        """Keep the table of the run before the first correction."""
        role = ORIGINAL + MEASUREMENTS
        if rows and self.node(parameters, role) is None:
            name = self._name(parameters, "measurements before corrections")
            scene = parameters.parameterNode.GetScene()
            self._set(parameters, role, mrml.show_measurements(scene, rows, name))

    def note(self, parameters, entry):
        """Add an entry to the audit trail that the scene keeps."""
        node = self.node(parameters, TRAIL)
        if node is None:
            scene = parameters.parameterNode.GetScene()
            node = self._set(parameters, TRAIL, self._text(parameters, scene, TRAIL, ""))
        mrml.add_to_trail(node, entry)

    def marked(self, parameters, what):
        """Record that the reader placed, moved or scored something: results are outdated.

        Successive changes of the same mark are one entry with the time of the last.
        """
        node = self.node(parameters, TRAIL)
        entries = mrml.read_trail(node)
        if entries and entries[-1].get("marked") == what:
            mrml.drop_last_of_trail(node)
        self.note(parameters, {"marked": what})
        parameters.outdated = True

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
        """Start anew: the next run finds everything itself; another scan has another trail."""
        raw = parameters.parameterNode
        roles = []
        raw.GetNodeReferenceRoles(roles)
        for role in [role for role in roles if role.startswith(ORIGINAL)]:
            self._remove(raw, role)
        analysed = self.node(parameters, ANALYSED)
        if analysed is not None and analysed is not self.reference(parameters):
            self._remove(raw, TRAIL)
        elif parameters.corrected:
            self.note(parameters, {"discarded": parameters.corrected.split()})
        parameters.corrected = ""
        parameters.outdated = False

    @staticmethod
    def _remove(raw, role):
        node = raw.GetNodeReference(role)
        raw.SetNodeReferenceID(role, None)
        if node is not None:
            raw.GetScene().RemoveNode(node)


def _id(node):
    return None if node is None else node.GetID()


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

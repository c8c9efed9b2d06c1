"""One scan in one module: its results, corrections and marks, which a node of the scene keeps.

Two patients, or two time points of one, live side by side: choosing a scan shows what is its own.
"""

import json

import slicer

from lungperfusion import mrml
from lungperfusion.errors import InputError
from lungperfusion.measurement import measurement_of

MODULE = mrml.ATTRIBUTE_PREFIX + "module"
INPUTS = mrml.ATTRIBUTE_PREFIX + "inputs"
SETTINGS = mrml.ATTRIBUTE_PREFIX + "settings"
SCAN = "analysed"
"""Role of the scan that everything else belongs to."""

MEASUREMENTS = "measurements"
FOLDER = "Lung perfusion"


class Study:
    """What belongs to a scan, found by roles on a hidden node.

    Nothing is kept in this object, so that closed and loaded scenes do no harm.  The node is made
    when there is something to keep.

    Parameters
    ----------
    scene
        ``vtkMRMLScene``.
    module
        Name of the module.
    scan
        Volume node on whose grid the results lie, or the sequence node of a first-pass series;
        None while no scan is chosen.
    """

    def __init__(self, scene, module, scan):
        self.scene, self.module, self.scan = scene, module, scan

    def __eq__(self, other):
        return isinstance(other, Study) and other.scan is self.scan

    __hash__ = None

    @property
    def image(self):
        """Volume that views show: the scan, or the chosen frame of a first-pass series."""
        return mrml.browse(self.scan) if mrml.is_sequence(self.scan) else self.scan

    # ---------------------------------------------------------------------------------- keeping

    @property
    def keeper(self):
        """Node that keeps everything; None before there is anything.

        Older scenes kept results on the parameter node, which is a singleton.
        """
        if self.scan is None:
            return None
        for node in mrml.nodes_of_class(self.scene, "vtkMRMLScriptedModuleNode"):
            ours = self.module in (node.GetAttribute(MODULE), node.GetSingletonTag())
            if ours and node.GetNodeReference(SCAN) is self.scan:
                return node
        return None

    def _keeper(self):
        """Node that keeps everything, made now if need be."""
        if self.scan is None:
            raise InputError("choose the scan first: marks and results belong to one")
        node = self.keeper
        if node is None:
            node = slicer.vtkMRMLScriptedModuleNode()
            node.SetHideFromEditors(True)
            node.SetName(f"{self.module} of {self.scan.GetName()}")
            node.SetAttribute(MODULE, self.module)
            node = self.scene.AddNode(node)
            node.SetNodeReferenceID(SCAN, self.scan.GetID())
        return node

    def node(self, role):
        """Node of a result or mark; None before there is one."""
        keeper = self.keeper
        return None if keeper is None else keeper.GetNodeReference(role)

    def keep(self, role, node, name=""):
        """Keep a node under a role, in a folder beside the scan."""
        if name:
            node.SetName(name)
        self._keeper().SetNodeReferenceID(role, node.GetID())
        mrml.put_beside(self.scene, self.scan, node, FOLDER)
        return node

    def drop(self, role):
        """Take a node out of the scene."""
        node = self.node(role)
        if node is not None:
            self.keeper.SetNodeReferenceID(role, None)
            self.scene.RemoveNode(node)

    def roles(self, start=""):
        """Roles that something is kept under."""
        found = []
        if self.keeper is not None:
            self.keeper.GetNodeReferenceRoles(found)
        return [role for role in found if role.startswith(start)]

    def value(self, name, default=""):
        """Text that was kept under a name."""
        keeper = self.keeper
        return (keeper.GetParameter(name) if keeper is not None else "") or default

    def set_value(self, name, text):
        if text != self.value(name):
            self._keeper().SetParameter(name, text)

    def text_node(self, role, text):
        """Hidden text node under a role, with this text."""
        node = self.node(role)
        if node is None:
            node = slicer.vtkMRMLTextNode()
            node.SetHideFromEditors(True)
            node.SetName(self.title(role))
            node = self.keep(role, self.scene.AddNode(node))
        if node.GetText() != text:
            node.SetText(text)
        return node

    def title(self, what):
        """Name of a node: that of the scan and what it is."""
        return f"{self.scan.GetName()} {what}"

    # ---------------------------------------------------------------------------------- results

    def names(self, kind):
        """Names of the results of a kind (``map``, ``labels``, ``table``), as they were made."""
        keeper = self.keeper
        text = "" if keeper is None else keeper.GetAttribute(mrml.ATTRIBUTE_PREFIX + kind) or ""
        return [name for name in text.split() if keeper.GetNodeReference(f"{kind}.{name}")]

    def set_names(self, kind, names):
        """Note what a run has made; what only an earlier one made leaves the scene."""
        for name in set(self.names(kind)) - set(names):
            self.drop(f"{kind}.{name}")
        self._keeper().SetAttribute(mrml.ATTRIBUTE_PREFIX + kind, " ".join(names))

    @property
    def has_results(self):
        return self.node("record") is not None

    @property
    def record(self):
        """Content of results.json of the last run; None before there is one."""
        text = self.node("record")
        return json.loads(text.GetText()) if text is not None and text.GetText() else None

    @property
    def measurements(self):
        """Measurements of the last run."""
        record = self.record
        rows = [] if record is None else record["analyses"][0]["measurements"]
        return [measurement_of(row) for row in rows]

    # ------------------------------------------------------------------------------ corrections

    @property
    def outdated(self):
        """Whether something was corrected or marked since the last run."""
        return self.value("outdated") == "True"

    @outdated.setter
    def outdated(self, on):
        if on != self.outdated:
            self.set_value("outdated", str(bool(on)))

    @property
    def corrected(self):
        """Names of the label maps that were corrected."""
        return self.value("corrected").split()

    @corrected.setter
    def corrected(self, names):
        self.set_value("corrected", " ".join(dict.fromkeys(names)))

    # ----------------------------------------------------------------------------------- inputs

    def made_with(self, inputs, settings):
        """Note what the results were made with.

        Parameters
        ----------
        inputs
            Input nodes by option.
        settings
            All other options, as text.

        """
        keeper = self._keeper()
        for option in (keeper.GetAttribute(INPUTS) or "").split():
            keeper.SetNodeReferenceID(f"input.{option}", None)
        for option, node in inputs.items():
            keeper.SetNodeReferenceID(f"input.{option}", node.GetID())
        keeper.SetAttribute(INPUTS, " ".join(inputs))
        keeper.SetAttribute(SETTINGS, settings)

    def has_inputs(self, inputs):
        """Whether the results were made with exactly these nodes."""
        keeper = self.keeper
        if keeper is None or keeper.GetAttribute(INPUTS) is None:
            return True
        options = keeper.GetAttribute(INPUTS).split()
        kept = {option: keeper.GetNodeReference(f"input.{option}") for option in options}
        return set(kept) == set(inputs) and all(kept[name] is inputs[name] for name in kept)

    def has_settings(self, settings):
        """Whether the results were made with exactly these options."""
        keeper = self.keeper
        return keeper is None or keeper.GetAttribute(SETTINGS) in (None, settings)

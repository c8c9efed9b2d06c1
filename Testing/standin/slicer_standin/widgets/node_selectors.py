"""Node selectors (probes ``node.*``)."""

from __future__ import annotations

import weakref
from typing import Any, ClassVar

import slicer
import vtk
from PySide6 import QtWidgets

from .core import SceneHolder
from .drawing import Drawn

_Scene = slicer.vtkMRMLScene

# With "none" allowed, setting the scene emits "no node" this often (node.none_enabled_existing).
_EMISSIONS_OF_NONE = 5


class qMRMLNodeComboBox(Drawn, SceneHolder, QtWidgets.QWidget):
    """Selector of one node.

    An existing node is selected when the scene is set, one that is added later is not. After the
    current node is removed the selection falls to the entry before it (the "none" entry counts),
    or to the next when it was the first.
    """

    stored: ClassVar = {
        "addEnabled": True,
        "baseName": "",
        "editEnabled": False,
        "hideChildNodeTypes": [],
        "interactionNodeSingletonTag": "",
        "noneDisplay": "None",
        "removeEnabled": True,
        "renameEnabled": False,
        "selectNodeUponCreation": True,
        "showChildNodeTypes": True,
        "showHidden": False,
        "sizeAdjustPolicy": 0,
    }

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._types: list[str] = []
        self._filters: list[tuple[str, str, Any]] = []
        self._none = False
        self._current: Any = None
        self._name_seen = ""
        self._rename_tag: tuple[Any, int] | None = None
        self._awaited: Any = None
        self._gap: int | None = None
        self._labels: dict[str, str] = {}
        self.setEnabled(False)

    def drawn_text(self) -> str:
        name = self.held("noneDisplay") if self._current is None else self._current.GetName()
        return f"{name} ▾"

    # ------------------------------------------------------------ scene
    def scene_events(self) -> dict[int, Any]:
        return {
            _Scene.NodeAddedEvent: "_added",
            _Scene.NodeAboutToBeRemovedEvent: "_about_to_be_removed",
            _Scene.NodeRemovedEvent: "_removed",
            _Scene.EndBatchProcessEvent: "_batch_ended",
        }

    def scene_set(self, scene: Any) -> None:
        self.setEnabled(scene is not None)
        if scene is None:
            self._keep(None)
            return
        nodes = self.nodes()
        wanted = self._awaited if self._awaited in nodes else None
        self._awaited = None
        if wanted is None and nodes and not self._none:
            wanted = nodes[0]
        if wanted is not None:
            self._select(wanted)
        elif self._none:
            for _ in range(_EMISSIONS_OF_NONE):
                self._announce(None)

    def _busy(self) -> bool:
        return bool(self._scene.IsBatchProcessing())

    def _added(self, node: Any) -> None:
        if not self._busy() and self._offers(node):
            self.emit("nodeAdded(vtkMRMLNode*)", node)

    def _about_to_be_removed(self, node: Any) -> None:
        self._gap = None
        if self._busy() or not self._offers(node):
            return
        self._gap = self.nodes().index(node)
        self.emit("nodeAboutToBeRemoved(vtkMRMLNode*)", node)

    def _removed(self, node: Any) -> None:
        if self._busy() or self._gap is None:
            return
        nodes, gap = self.nodes(), self._gap
        if node is self._current:
            before = gap - 1
            if before >= 0:
                self._select(nodes[before])
            else:
                self._select(None if self._none or not nodes else nodes[0])
        elif self._current in nodes and gap <= nodes.index(self._current):
            self._announce(self._current)

    def _batch_ended(self, node: Any) -> None:
        if self._current is not None and self._current not in self.nodes():
            self._select(None)

    # ------------------------------------------------------------ nodes
    def nodes(self) -> list[Any]:
        """Return the offered nodes in the order of the scene."""
        if self._scene is None:
            return []
        found = slicer.util.getNodesByClass("vtkMRMLNode", self._scene)
        return [node for node in found if self._offers(node)]

    def _offers(self, node: Any) -> bool:
        if node.GetHideFromEditors() and not self.held("showHidden"):
            return False
        kind = node.GetClassName()
        if any(node.IsA(hidden) for hidden in self.held("hideChildNodeTypes")):
            return False
        children = self.held("showChildNodeTypes")
        if not any(node.IsA(wanted) if children else kind == wanted for wanted in self._types):
            return False
        return all(self._passes(node, *rule) for rule in self._filters)

    @staticmethod
    def _passes(node: Any, kind: str, name: str, value: Any) -> bool:
        if not node.IsA(kind):
            return True
        found = node.GetAttribute(name)
        return found is not None and (value is None or found == str(value))

    def nodeTypes(self) -> list[str]:
        return self._types

    def setNodeTypes(self, types: list[str]) -> None:
        self._types = list(types)
        if self._current is not None and self._current not in self.nodes():
            self._select(None)

    def noneEnabled(self) -> bool:
        return self._none

    def setNoneEnabled(self, allowed: bool) -> None:
        changed, self._none = allowed != self._none, allowed
        if not changed or self._scene is None:
            return
        nodes = self.nodes()
        if not allowed and self._current is None and nodes:
            self._select(nodes[0])
        else:
            self._announce(self._current)

    def addAttribute(self, kind: str, name: str, value: Any = None) -> None:
        self._filters.append((kind, name, value))

    def removeAttribute(self, kind: str, name: str) -> None:
        self._filters = [rule for rule in self._filters if rule[:2] != (kind, name)]

    def nodeCount(self) -> int:
        return len(self.nodes())

    def nodeFromIndex(self, index: int) -> Any:
        nodes = self.nodes()
        return nodes[index] if 0 <= index < len(nodes) else None

    def nodeTypeLabel(self, kind: str) -> str:
        return self._labels.get(kind, "")

    def setNodeTypeLabel(self, label: str, kind: str) -> None:
        self._labels[kind] = label

    # ------------------------------------------------------------ selection
    def currentNode(self) -> Any:
        return self._current

    def currentNodeID(self) -> str:
        return "" if self._current is None else self._current.GetID() or ""

    currentNodeId = currentNodeID

    def setCurrentNode(self, node: Any) -> None:
        """Select a node; an ID is refused (node.setCurrentNode_by_id_string)."""
        if isinstance(node, str):
            raise TypeError("method requires a VTK object")
        if self._scene is None:
            self._awaited = node
            return
        if node is not None and node not in self.nodes():
            node = None
        if node is not self._current:
            self._select(node)
            self.emit("nodeActivated(vtkMRMLNode*)", node)

    def setCurrentNodeID(self, identifier: str) -> None:
        if self._scene is not None:
            self.setCurrentNode(self._scene.GetNodeByID(identifier) if identifier else None)

    def setCurrentNodeIndex(self, index: int) -> None:
        self.setCurrentNode(self.nodeFromIndex(index))

    def _select(self, node: Any) -> None:
        self._keep(node)
        self._announce(node)

    def _announce(self, node: Any) -> None:
        self.emit("currentNodeChanged(vtkMRMLNode*)", node)
        self.emit("currentNodeChanged(bool)", node is not None)
        self.emit("currentNodeIDChanged(QString)", self.currentNodeID())

    def _keep(self, node: Any) -> None:
        if self._rename_tag is not None:
            self._rename_tag[0].RemoveObserver(self._rename_tag[1])
            self._rename_tag = None
        self._current = node
        self.update()
        if node is not None:
            self._name_seen = node.GetName()
            me = weakref.ref(self)
            self._rename_tag = (
                node,
                node.AddObserver(
                    vtk.vtkCommand.ModifiedEvent, lambda *_: (it := me()) and it._node_modified()
                ),
            )

    def _node_modified(self) -> None:
        """Renaming the current node announces it again (node.rename_emits_current_changed)."""
        name = self._current.GetName()
        if name != self._name_seen:
            self._name_seen = name
            self._announce(self._current)

    # ------------------------------------------------------------ user actions
    def addNode(self, kind: str = "") -> Any:
        kind = kind or (self._types[0] if self._types else "")
        if self._scene is None or not self._scene.IsNodeClassRegistered(kind):
            return None
        base = self.held("baseName")
        name = self._scene.GenerateUniqueName(base) if base else ""
        node = self._scene.AddNewNodeByClass(kind, name)
        for wanted, attribute, value in self._filters:
            if node.IsA(wanted) and value is not None:
                node.SetAttribute(attribute, str(value))
        if self.held("selectNodeUponCreation"):
            self._select(node)
        self.emit("nodeAddedByUser(vtkMRMLNode*)", node)
        return node

    def removeCurrentNode(self) -> None:
        if self._current is not None:
            self._scene.RemoveNode(self._current)


class qMRMLCheckableNodeComboBox(qMRMLNodeComboBox):
    """Selector of several nodes by check boxes."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._checked: set[Any] = set()

    def checkState(self, node: Any) -> int:
        return 2 if node in self._checked else 0

    def setCheckState(self, node: Any, state: Any) -> None:
        checked = int(getattr(state, "value", state)) == 2
        if checked == (node in self._checked):
            return
        (self._checked.add if checked else self._checked.discard)(node)
        self.emit("checkedNodesChanged()")

    def check(self, node: Any) -> None:
        self.setCheckState(node, 2)

    def uncheck(self, node: Any) -> None:
        self.setCheckState(node, 0)

    def checkedNodes(self) -> list[Any]:
        return [node for node in self.nodes() if node in self._checked]

    def uncheckedNodes(self) -> list[Any]:
        return [node for node in self.nodes() if node not in self._checked]

    def allChecked(self) -> bool:
        return not self.uncheckedNodes()

    def noneChecked(self) -> bool:
        return not self.checkedNodes()


class qMRMLColorTableComboBox(qMRMLNodeComboBox):
    """Selector of colour nodes, also of hidden ones."""

    stored: ClassVar = {"addEnabled": False, "showHidden": True}

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._types = ["vtkMRMLColorTableNode", "vtkMRMLProceduralColorNode"]


class qMRMLSegmentSelectorWidget(SceneHolder, QtWidgets.QWidget):
    """Selector of a segmentation and one of its segments."""

    stored: ClassVar = {
        "editEnabled": False,
        "horizontalLayout": False,
        "multiSelection": False,
        "noneEnabled": False,
        "segmentationNodeSelectorVisible": True,
        "selectNodeUponCreation": True,
    }

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._nodes = qMRMLNodeComboBox(self)
        self._nodes.setNodeTypes(["vtkMRMLSegmentationNode"])
        self._segment = ""

    def scene_set(self, scene: Any) -> None:
        self._nodes.setNoneEnabled(self.held("noneEnabled"))
        self._nodes.setMRMLScene(scene)
        self._pick_first()

    def currentNode(self) -> Any:
        return self._nodes.currentNode()

    def currentNodeID(self) -> str:
        return self._nodes.currentNodeID()

    def setCurrentNode(self, node: Any) -> None:
        if node is self._nodes.currentNode():
            return
        self._nodes.setCurrentNode(node)
        self._pick_first()
        self.emit("currentNodeChanged(vtkMRMLNode*)", node)

    def setCurrentNodeID(self, identifier: str) -> None:
        self.setCurrentNode(self._scene.GetNodeByID(identifier) if identifier else None)

    def segmentIDs(self) -> list[str]:
        node = self.currentNode()
        return [] if node is None else list(node.GetSegmentation().GetSegmentIDs())

    def _pick_first(self) -> None:
        identifiers = self.segmentIDs()
        allowed = identifiers and not self.held("noneEnabled")
        self._segment = identifiers[0] if allowed else ""

    def currentSegmentID(self) -> str:
        return self._segment

    def setCurrentSegmentID(self, identifier: str) -> None:
        if identifier != self._segment and identifier in (*self.segmentIDs(), ""):
            self._segment = identifier
            self.emit("currentSegmentChanged(QString)", identifier)

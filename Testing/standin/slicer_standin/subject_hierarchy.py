"""Items of the subject hierarchy: the desktop's plugins make them, slicer-core has none.

Nodes get an item when they are added and lose it when they are removed; segments are items below
their segmentation (probes ``sh.*``).
"""

from __future__ import annotations

from typing import Any

import slicer
import vtk

OWNERS = {
    "vtkMRMLSegmentationNode": "Segmentations",
    "vtkMRMLLabelMapVolumeNode": "LabelMaps",
    "vtkMRMLVolumeNode": "Volumes",
    "vtkMRMLModelNode": "Models",
    "vtkMRMLMarkupsNode": "Markups",
    "vtkMRMLTransformNode": "Transforms",
    "vtkMRMLTableNode": "Tables",
    "vtkMRMLTextNode": "Texts",
    "vtkMRMLPlotChartNode": "Plots",
    "vtkMRMLPlotSeriesNode": "Plots",
    "vtkMRMLSequenceNode": "Sequences",
}
"""Plugin that owns the item of a node, by class; other nodes get no item."""

_Hierarchy = slicer.vtkMRMLSubjectHierarchyNode
_Segmentation = slicer.vtkSegmentation


def owner(node: Any) -> str | None:
    """Return the plugin that owns a node, or None when it gets no item."""
    if node.GetHideFromEditors():
        return None
    return next((name for kind, name in OWNERS.items() if node.IsA(kind)), None)


class Items:
    """Keeps the hierarchy of a scene in step with its nodes."""

    def __init__(self, scene: Any) -> None:
        self._scene = scene
        self._tags: dict[Any, list[tuple[Any, int]]] = {}
        for event, method in (
            (slicer.vtkMRMLScene.NodeAddedEvent, self._added),
            (slicer.vtkMRMLScene.NodeAboutToBeRemovedEvent, self._leaving),
        ):
            method_with_node = self._with_node(method)
            scene.AddObserver(event, method_with_node)
        scene.AddObserver(slicer.vtkMRMLScene.EndBatchProcessEvent, lambda *_: self.complete())
        self.complete()

    @staticmethod
    def _with_node(method: Any) -> Any:
        def react(caller: Any, event: str, node: Any = None) -> None:
            method(node)

        react.CallDataType = vtk.VTK_OBJECT
        return react

    def hierarchy(self) -> Any:
        """Return the hierarchy node; a closed scene gets a new one."""
        return _Hierarchy.GetSubjectHierarchyNode(self._scene)

    def complete(self) -> None:
        """Make the missing items, for example after a scene was loaded."""
        self.hierarchy()
        for node in slicer.util.getNodesByClass("vtkMRMLNode", self._scene):
            self._added(node)

    def _added(self, node: Any) -> None:
        plugin = None if node is None else owner(node)
        if plugin is None or self._scene.IsClosing() or self._scene.IsImporting():
            return  # a loaded scene brings its own items; the missing ones follow at its end
        hierarchy = self.hierarchy()
        if hierarchy is None or hierarchy.GetItemByDataNode(node):
            return
        item = hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)
        hierarchy.SetItemOwnerPluginName(item, plugin)
        if plugin == "Segmentations" and node not in self._tags:
            self._watch_segments(node)

    def _leaving(self, node: Any) -> None:
        if node is None or owner(node) is None:
            return
        for subject, tag in self._tags.pop(node, []):
            subject.RemoveObserver(tag)
        hierarchy = self.hierarchy()
        item = hierarchy.GetItemByDataNode(node) if hierarchy else 0
        if item:
            hierarchy.RemoveItem(item, False, False)

    def _watch_segments(self, node: Any) -> None:
        segmentation = node.GetSegmentation()
        self._tags[node] = [
            (segmentation, segmentation.AddObserver(event, lambda *_: self._list_segments(node)))
            for event in (_Segmentation.SegmentAdded, _Segmentation.SegmentRemoved)
        ]
        self._list_segments(node)

    def _list_segments(self, node: Any) -> None:
        hierarchy = self.hierarchy()
        parent = hierarchy.GetItemByDataNode(node)
        if not parent:
            return
        known: dict[str, int] = {}
        children: list[int] = []
        hierarchy.GetItemChildren(parent, children)
        for child in children:
            known[hierarchy.GetItemAttribute(child, "segmentID")] = child
        wanted = node.GetSegmentation().GetSegmentIDs()
        for identifier in wanted:
            if identifier not in known:
                name = node.GetSegmentation().GetSegment(identifier).GetName()
                item = hierarchy.CreateHierarchyItem(parent, name, "")
                hierarchy.SetItemAttribute(item, "segmentID", identifier)
                hierarchy.SetItemOwnerPluginName(item, "Segments")
        for identifier, item in known.items():
            if identifier not in wanted:
                hierarchy.RemoveItem(item, False, False)

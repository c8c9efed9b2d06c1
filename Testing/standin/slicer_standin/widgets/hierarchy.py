"""Subject hierarchy widgets and the segments table (probes ``sh.treeview``, ``kind.*``)."""

from __future__ import annotations

from typing import Any, ClassVar

import slicer
from PySide6 import QtWidgets

from .core import SceneHolder


class _ItemSelection(SceneHolder):
    """Mixin: one selected item of the subject hierarchy."""

    _item = 0
    _root = 0

    def subjectHierarchyNode(self) -> Any:
        if self._scene is None:
            return None
        return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(self._scene)

    def scene_events(self) -> dict[int, Any]:
        return {slicer.vtkMRMLScene.EndBatchProcessEvent: "_batch_ended"}

    def _batch_ended(self, node: Any) -> None:
        hierarchy = self.subjectHierarchyNode()
        if self._item and hierarchy.GetItemLevel(self._item) == "":
            self._item = 0

    def rootItem(self) -> int:
        hierarchy = self.subjectHierarchyNode()
        return self._root or (0 if hierarchy is None else hierarchy.GetSceneItemID())

    def setRootItem(self, item: int) -> None:
        self._root = item

    def currentItem(self) -> int:
        return self._item

    def currentNode(self) -> Any:
        hierarchy = self.subjectHierarchyNode()
        return hierarchy.GetItemDataNode(self._item) if hierarchy and self._item else None

    def setCurrentItem(self, item: int) -> None:
        if item != self._item:
            self._item = item
            self.item_changed(item)

    def setCurrentNode(self, node: Any) -> None:
        hierarchy = self.subjectHierarchyNode()
        self.setCurrentItem(hierarchy.GetItemByDataNode(node) if hierarchy and node else 0)

    def item_changed(self, item: int) -> None:
        self.emit("currentItemChanged(vtkIdType)", item)


_COMMON_FILTERS = {
    "attributeNameFilter": "",
    "attributeValueFilter": "",
    "excludeItemAttributeNamesFilter": [],
    "excludeNodeAttributeNamesFilter": [],
    "highlightReferencedItems": True,
    "includeItemAttributeNamesFilter": [],
    "includeNodeAttributeNamesFilter": [],
    "nodeTypes": [],
    "noneDisplay": "No nodes",
    "noneEnabled": False,
    "showRootItem": False,
}


class qMRMLSubjectHierarchyTreeView(_ItemSelection, QtWidgets.QTreeView):
    """Tree of the subject hierarchy."""

    stored: ClassVar = {
        **_COMMON_FILTERS,
        "addNodeMenuActionVisible": False,
        "colorColumnVisible": True,
        "contextMenuEnabled": True,
        "descriptionColumnVisible": False,
        "editMenuActionVisible": True,
        "hideChildNodeTypes": [],
        "idColumnVisible": True,
        "levelFilter": [],
        "multiSelection": True,
        "nameFilter": "",
        "pluginAllowList": [],
        "pluginBlockList": [],
        "selectRoleSubMenuVisible": True,
        "transformColumnVisible": True,
        "useTerminologySelector": True,
        "visibilityColumnVisible": True,
    }

    def currentItems(self) -> list[int]:
        return [self._item] if self._item else []

    def setCurrentItems(self, items: list[int]) -> None:
        self.setCurrentItem(items[0] if items else 0)

    def item_changed(self, item: int) -> None:
        self.emit("currentItemChanged(vtkIdType)", item)
        self.emit("currentNodeChanged(vtkMRMLNode*)", self.currentNode())

    def displayedItemCount(self) -> int:
        hierarchy = self.subjectHierarchyNode()
        return 0 if hierarchy is None else hierarchy.GetNumberOfItems()


class qMRMLSubjectHierarchyComboBox(_ItemSelection, QtWidgets.QComboBox):
    """Combo box with the tree of the subject hierarchy."""

    stored: ClassVar = {
        **_COMMON_FILTERS,
        "alignPopupVertically": True,
        "maximumNumberOfShownItems": 20,
        "showCurrentItemParents": True,
        "showEmptyHierarchyItems": True,
    }

    def clearSelection(self) -> None:
        self.setCurrentItem(0)


class qMRMLSegmentsTableView(SceneHolder, QtWidgets.QWidget):
    """Table of the segments of a segmentation."""

    stored: ClassVar = {
        "colorColumnVisible": True,
        "filterBarVisible": False,
        "headerVisible": True,
        "jumpToSelectedSegmentEnabled": False,
        "layerColumnVisible": False,
        "opacityColumnVisible": True,
        "readOnly": False,
        "selectionMode": 3,
        "statusColumnVisible": False,
        "terminologySelectorAutoDisable": True,
        "terminologySelectorOptionVisible": False,
        "textFilter": "",
        "useTerminologySelector": True,
        "useTerminologySelectorSettingsKey": "",
        "visibilityColumnVisible": True,
    }

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._segmentation: Any = None
        self._selected: list[str] = []

    def segmentationNode(self) -> Any:
        return self._segmentation

    def setSegmentationNode(self, node: Any) -> None:
        self._segmentation, self._selected = node, []

    def displayedSegmentIDs(self) -> list[str]:
        if self._segmentation is None:
            return []
        return list(self._segmentation.GetSegmentation().GetSegmentIDs())

    def segmentCount(self) -> int:
        return len(self.displayedSegmentIDs())

    def selectedSegmentIDs(self) -> list[str]:
        return self._selected

    def setSelectedSegmentIDs(self, identifiers: list[str]) -> None:
        known = self.displayedSegmentIDs()
        self._selected = [identifier for identifier in identifiers if identifier in known]
        self.emit("selectionChanged(QItemSelection,QItemSelection)", None, None)

    def clearSelection(self) -> None:
        self.setSelectedSegmentIDs([])

    def rowForSegmentID(self, identifier: str) -> int:
        known = self.displayedSegmentIDs()
        return known.index(identifier) if identifier in known else -1

    def segmentIDForRow(self, row: int) -> str:
        return self.displayedSegmentIDs()[row]

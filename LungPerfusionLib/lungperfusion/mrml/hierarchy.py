"""Where nodes stand in the subject hierarchy."""

from typing import Any

import slicer


def put_beside(scene: Any, input_node: Any, node: Any, folder: str) -> None:
    """File a node in a folder next to the input it was made from, under the same study."""
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    item = tree.GetItemByDataNode(node)
    if not item:
        return
    parent = tree.GetItemParent(tree.GetItemByDataNode(input_node))
    tree.SetItemParent(
        item, tree.GetItemChildWithName(parent, folder) or tree.CreateFolderItem(parent, folder)
    )

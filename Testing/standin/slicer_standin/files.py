"""Reading and writing of nodes, by the file types of the desktop's readers and writers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import slicer
import vtk
from PySide6 import QtCore

from .natives import Native

_READ = {
    ".seg.nrrd": "SegmentationFile",
    ".seg.nhdr": "SegmentationFile",
    ".mrk.json": "MarkupsFile",
    ".nii.gz": "VolumeFile",
    ".nii": "VolumeFile",
    ".nrrd": "VolumeFile",
    ".nhdr": "VolumeFile",
    ".mha": "VolumeFile",
    ".mhd": "VolumeFile",
    ".h5": "TransformFile",
    ".tfm": "TransformFile",
    ".vtp": "ModelFile",
    ".vtk": "ModelFile",
    ".stl": "ModelFile",
    ".ply": "ModelFile",
    ".csv": "TableFile",
    ".tsv": "TableFile",
    ".ctbl": "ColorTableFile",
    ".txt": "TextFile",
    ".mrml": "SceneFile",
    ".mrb": "SceneFile",
}

_WRITE = {
    "vtkMRMLSegmentationNode": "SegmentationFile",
    "vtkMRMLVolumeNode": "VolumeFile",
    "vtkMRMLModelNode": "ModelFile",
    "vtkMRMLTransformNode": "TransformFile",
    "vtkMRMLMarkupsNode": "MarkupsFile",
    "vtkMRMLTableNode": "TableFile",
    "vtkMRMLColorNode": "ColorTableFile",
    "vtkMRMLTextNode": "TextFile",
    "vtkMRMLScene": "SceneFile",
}


def _extension(path: str) -> str:
    name = Path(path).name.lower()
    return next((known for known in _READ if name.endswith(known)), "")


class qSlicerCoreIOManager(Native, QtCore.QObject):
    """File types, loading and saving (probes ``util.load*``, ``util.save*``)."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.logics: dict[str, Any] = {}

    def fileType(self, path: str) -> str:
        """Return the reader's type; a file that does not exist has none (app.coreIO_fileType)."""
        return _READ.get(_extension(path), "NoFile") if Path(path).exists() else "NoFile"

    def fileWriterFileType(self, node: Any, extension: str = "") -> str:
        return next((kind for name, kind in _WRITE.items() if node.IsA(name)), "NoFile")

    def extractKnownExtension(self, path: str, node: Any = None) -> str:
        return _extension(path)

    def stripKnownExtension(self, path: str, node: Any = None) -> str:
        return path[: len(path) - len(_extension(path))]

    def registeredFileReaderCount(self, kind: str) -> int:
        return int(kind in _READ.values())

    def addDefaultStorageNodes(self) -> None:
        for node in slicer.util.getNodesByClass("vtkMRMLStorableNode"):
            node.AddDefaultStorageNode()

    def loadNodes(
        self, kind: str, properties: dict[str, Any], loaded: Any = None, messages: Any = None
    ) -> bool:
        path = str(properties["fileName"])
        if not Path(path).exists():
            if messages is not None:
                messages.AddMessage(vtk.vtkCommand.ErrorEvent, f"File not found: {path}")
            return False
        if kind == "SceneFile":
            return self._load_scene(path, properties)
        node = self._load(kind, path, properties)
        if node is None:
            return False
        if loaded is not None:
            loaded.AddItem(node)
        if kind == "VolumeFile" and properties.get("show", True):
            self._show(node)
        return True

    def _show(self, volume: Any) -> None:
        application = slicer.app.applicationLogic()
        selection = application.GetSelectionNode()
        if volume.IsA("vtkMRMLLabelMapVolumeNode"):
            selection.SetActiveLabelVolumeID(volume.GetID())
        else:
            selection.SetActiveVolumeID(volume.GetID())
        application.PropagateVolumeSelection()

    def _load_scene(self, path: str, properties: dict[str, Any]) -> bool:
        scene = slicer.mrmlScene
        if properties.get("clear"):
            scene.Clear(0)
        scene.SetURL(path)
        if path.endswith(".mrb"):
            return bool(scene.ReadFromMRB(path, False))
        return bool(scene.Import())

    def _load(self, kind: str, path: str, properties: dict[str, Any]) -> Any:
        name = properties.get("name") or slicer.mrmlScene.GenerateUniqueName(
            Path(self.stripKnownExtension(path)).name
        )
        logic = self.logics
        if kind == "VolumeFile":
            return logic["Volumes"].AddArchetypeVolume(path, name, _volume_options(properties))
        if kind == "SegmentationFile":
            if _extension(path).startswith(".seg"):
                return logic["Segmentations"].LoadSegmentationFromFile(path, True, name)
            return self._segmentation_of_labels(path, name)
        if kind == "ModelFile":
            return logic["Models"].AddModel(path)
        if kind == "TransformFile":
            return logic["Transforms"].AddTransform(path, slicer.mrmlScene)
        if kind == "TableFile":
            return logic["Tables"].AddTable(path, name)
        if kind == "MarkupsFile":
            return slicer.mrmlScene.GetNodeByID(logic["Markups"].LoadMarkups(path, name) or "")
        if kind == "ColorTableFile":
            node = logic["Colors"].LoadColorFile(path, name)
            if node is not None:
                node.SetTypeToUser()
            return node
        if kind == "TextFile":
            return logic["Texts"].AddText(path, name)
        return None

    def _segmentation_of_labels(self, path: str, name: str) -> Any:
        logic = self.logics["Volumes"]
        labels = logic.AddArchetypeVolume(path, name, _volume_options({"labelmap": True}))
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
        node.CreateDefaultDisplayNodes()
        self.logics["Segmentations"].ImportLabelmapToSegmentationNode(labels, node)
        slicer.mrmlScene.RemoveNode(labels)
        return node

    def saveNodes(
        self, kind: str, properties: dict[str, Any], messages: Any = None, scene: Any = None
    ) -> bool:
        path = str(properties["fileName"])
        scene = scene or slicer.mrmlScene
        if kind == "SceneFile":
            scene.SetURL(path)
            return bool(
                scene.WriteToMRB(path, None) if path.endswith(".mrb") else scene.Commit(path)
            )
        node = scene.GetNodeByID(properties["nodeID"])
        storage = node.GetStorageNode()
        if storage is None:
            node.AddDefaultStorageNode(path)
            storage = node.GetStorageNode()
        if storage is None or not storage.GetSupportedFileExtension(path, False, True):
            return False
        storage.SetFileName(path)
        if "useCompression" in properties:
            storage.SetUseCompression(int(properties["useCompression"]))
        return bool(storage.WriteData(node))


class qSlicerIOManager(qSlicerCoreIOManager):
    """The same with dialogs, none of which is stood in."""


def _volume_options(properties: dict[str, Any]) -> int:
    """Return the bits of vtkSlicerVolumesLogic for the reader's properties."""
    bits = {
        "labelmap": 1,
        "center": 2,
        "singleFile": 4,
        "autoWindowLevel": 8,
        "discardOrientation": 16,
    }
    return sum(bit for key, bit in bits.items() if properties.get(key, key == "autoWindowLevel"))

"""Parameter nodes beyond the recorded contract: packs, optional nodes, spoilt values."""

import enum
from typing import Annotated, Optional

import pytest


@pytest.fixture
def wrappers(desktop):
    """Classes that need a started stand-in, and a parameter node."""
    import slicer
    from slicer.parameterNodeWrapper import (
        Choice,
        FloatRange,
        Maximum,
        Minimum,
        RangeBounds,
        WithinRange,
        parameterNodeWrapper,
        parameterPack,
    )

    @parameterPack
    class Inner:
        gain: Annotated[float, WithinRange(0, 10)] = 1.0

    @parameterPack
    class Pack:
        inner: Inner
        count: Annotated[int, Minimum(0), Maximum(9)] = 3

    class Mode(enum.Enum):
        FAST = 1
        EXACT = 2

    class Base:
        name: str = "base"

    @parameterNodeWrapper
    class Parameters(Base):
        volume: slicer.vtkMRMLScalarVolumeNode
        other: Optional[slicer.vtkMRMLScalarVolumeNode]  # noqa: UP045
        method: Annotated[str, Choice(["dual", "single"])] = "dual"
        mode: Mode = Mode.EXACT
        window: Annotated[FloatRange, RangeBounds(-1024, 3071)]
        pack: Pack
        numbers: list[float]
        table: dict[str, list[int]]

        def doubled(self):
            return [2 * number for number in self.numbers]

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode")
    return {"Parameters": Parameters, "Inner": Inner, "Pack": Pack, "Mode": Mode, "node": node}


def test_nested_packs_are_stored_under_dotted_names(wrappers):
    node = wrappers["node"]
    first = wrappers["Parameters"](node)
    first.pack.inner.gain = 4.5
    first.pack.count = 7
    assert node.GetParameter("pack.inner.gain") == "4.5"
    again = wrappers["Parameters"](node)
    assert (again.pack.inner.gain, again.pack.count) == (4.5, 7)
    assert first.getValue("pack.inner.gain") == 4.5
    first.setValue("pack.count", 8)
    assert again.pack.count == 8


def test_packs_refuse_what_their_members_refuse(wrappers):
    parameters = wrappers["Parameters"](wrappers["node"])
    with pytest.raises(ValueError, match=r"within range \[0, 10\], is 11"):
        parameters.pack.inner.gain = 11.0
    with pytest.raises(ValueError, match="less than 9, is 10"):
        parameters.pack.count = 10
    with pytest.raises(TypeError, match="has no member"):
        wrappers["Inner"](gian=2.0)


def test_a_whole_pack_can_be_set(wrappers):
    parameters = wrappers["Parameters"](wrappers["node"])
    parameters.pack = wrappers["Pack"](wrappers["Inner"](2.5), 1)
    assert wrappers["Parameters"](wrappers["node"]).pack == wrappers["Pack"](
        wrappers["Inner"](2.5), 1
    )


def test_members_of_packs_connect_to_widgets(wrappers):
    import ctk

    parameters = wrappers["Parameters"](wrappers["node"])
    slider = ctk.ctkSliderWidget()
    tag = parameters.connectParametersToGui({"pack.inner.gain": slider})
    assert (slider.value, slider.maximum) == (1.0, 10.0)
    slider.value = 7
    assert parameters.pack.inner.gain == 7.0
    parameters.pack.inner.gain = 2.0
    assert slider.value == 2.0
    parameters.disconnectGui(tag)
    slider.value = 9
    assert parameters.pack.inner.gain == 2.0


def test_items_of_a_choice_replace_those_of_the_form(wrappers):
    import qt

    parameters = wrappers["Parameters"](wrappers["node"])
    combo = qt.QComboBox()
    combo.addItems(["from", "the", "form"])
    parameters.connectParametersToGui({"method": combo})
    assert [combo.itemText(index) for index in range(combo.count)] == ["dual", "single"]
    combo.currentIndex = 1
    assert parameters.method == "single"


def test_optional_nodes_have_a_numbered_role(wrappers):
    import slicer

    node = wrappers["node"]
    parameters = wrappers["Parameters"](node)
    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "v")
    parameters.volume = parameters.other = volume
    assert node.GetNodeReferenceID("volume") == volume.GetID()
    assert node.GetNodeReferenceID("other.0") == volume.GetID()
    assert parameters.other is volume
    parameters.other = None
    assert parameters.other is None
    assert node.GetNodeReferenceID("other.0") is None


def test_deleted_node_reads_as_none_and_shows_in_the_selector(wrappers):
    import slicer

    parameters = wrappers["Parameters"](wrappers["node"])
    selector = slicer.qMRMLNodeComboBox()
    selector.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    selector.noneEnabled = True
    selector.setMRMLScene(slicer.mrmlScene)
    parameters.connectParametersToGui({"volume": selector})
    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "v")
    selector.setCurrentNode(volume)
    assert parameters.volume is volume
    slicer.mrmlScene.RemoveNode(volume)
    assert parameters.volume is None
    assert selector.currentNode() is None


def test_inherited_parameters_and_methods(wrappers):
    parameters = wrappers["Parameters"](wrappers["node"])
    assert parameters.name == "base"
    parameters.numbers = [1.5, 2.0]
    assert parameters.doubled() == [3.0, 4.0]
    parameters.numbers.append(4.0)
    assert list(wrappers["Parameters"](wrappers["node"]).numbers) == [1.5, 2.0, 4.0]


def test_containers_write_themselves_and_shrink(wrappers):
    node = wrappers["node"]
    parameters = wrappers["Parameters"](node)
    parameters.table = {"a": [1, 2], "b": []}
    parameters.table["a"] = [3]
    again = wrappers["Parameters"](node)
    assert {key: list(values) for key, values in again.table.items()} == {"a": [3], "b": []}
    del again.table["b"]
    assert list(parameters.table) == ["a"]
    parameters.numbers = [1.0, 2.0, 3.0]
    parameters.numbers = [5.0]
    assert "numbers.1" not in node.GetParameterNames()
    with pytest.raises(TypeError, match="must be of type"):
        parameters.numbers.append("x")
    assert list(parameters.numbers) == [5.0]


def test_a_spoilt_value_breaks_new_wrappers_and_spares_old_ones(wrappers, desktop):
    node = wrappers["node"]
    parameters = wrappers["Parameters"](node)
    node.SetParameter("mode", "SLOW")
    assert parameters.mode is wrappers["Mode"].EXACT
    with pytest.raises(KeyError):
        wrappers["Parameters"](node)
    assert all("KeyError: 'SLOW'" in error for error in desktop.errors)
    for name in node.GetParameterNames():
        node.UnsetParameter(name)
    assert wrappers["Parameters"](node).mode is wrappers["Mode"].EXACT
    assert desktop.errors
    desktop.errors.clear()


def test_values_come_back_with_the_scene(wrappers, desktop, tmp_path):
    import slicer

    parameters = wrappers["Parameters"](wrappers["node"])
    parameters.volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "v")
    parameters.pack.inner.gain = 3.25
    parameters.mode = wrappers["Mode"].FAST
    parameters.numbers = [0.5]
    desktop.save_and_load_scene(tmp_path / "scene.mrb")
    (node,) = slicer.util.getNodesByClass("vtkMRMLScriptedModuleNode")
    again = wrappers["Parameters"](node)
    assert again.volume.GetName() == "v"
    assert again.pack.inner.gain == 3.25
    assert again.mode is wrappers["Mode"].FAST
    assert list(again.numbers) == [0.5]


def test_one_event_for_several_changes(wrappers):
    import slicer
    import vtk

    parameters = wrappers["Parameters"](wrappers["node"])
    seen = []
    parameters.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: seen.append(1))
    with slicer.util.NodeModify(parameters):
        parameters.name = "x"
        parameters.pack.count = 5
    assert len(seen) == 1
    parameters.name = "x"
    assert len(seen) == 1

"""The static check finds seeded mistakes and is silent on clean code."""

import importlib.util
from pathlib import Path

import pytest

TESTING = Path(__file__).resolve().parents[2]
DEMO = Path(__file__).parent / "demo" / "StandinDemo" / "StandinDemo.py"


@pytest.fixture(scope="module")
def lint():
    spec = importlib.util.spec_from_file_location("lint_modules", TESTING / "lint_modules.py")
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules["lint_modules"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def findings(lint, tmp_path):
    """Check a piece of code; return the messages."""

    def check(code: str) -> list[str]:
        path = tmp_path / "Seeded.py"
        path.write_text("import ctk, qt, slicer, vtk\n" + code + "\n", encoding="utf-8")
        return [finding.text for finding in lint.Module(path).check()]

    return check


SEEDED = {
    "unknown qt class": ("w = qt.QPushBotton()", "qt.QPushBotton does not exist"),
    "unknown ctk class": ("w = ctk.ctkSlider()", "ctk.ctkSlider does not exist"),
    "unknown slicer class": ("w = slicer.qMRMLNodeCombo()", "slicer.qMRMLNodeCombo does not exist"),
    "unknown node class": ("n = slicer.vtkMRMLVolumNode()", "slicer.vtkMRMLVolumNode does not"),
    "unknown vtk class": ("m = vtk.vtkMatrix4x5()", "vtk.vtkMatrix4x5 does not exist"),
    "name of slicer-core only": (
        "a = slicer.arrayFromVolume(v)",
        "use slicer.util.arrayFromVolume",
    ),
    "newer than 5.12.3": ("p = slicer.util.LazyImport('pandas')", "slicer.util has no LazyImport"),
    "wrong utility": ("slicer.util.getNods('*')", "slicer.util has no getNods"),
    "wrong parameter": (
        "slicer.util.setSliceViewerLayers(backgroundNode=None)",
        "has no parameter 'backgroundNode'",
    ),
    "too few arguments": ("slicer.util.arrayFromVolume()", "needs at least 1 arguments"),
    "too many arguments": ("slicer.util.arrayFromVolume(1, 2)", "takes at most 1 arguments"),
    "property called": ("w = qt.QLabel('a')\nt = w.text()", "QLabel.text is a property"),
    "ctk property called": (
        "s = ctk.ctkSliderWidget()\nv = s.value()",
        "ctkSliderWidget.value is a property",
    ),
    "setter that does not exist": (
        "s = ctk.ctkSliderWidget()\ns.setMinimum(1)",
        "ctkSliderWidget has no setMinimum",
    ),
    "method misspelt": ("w = qt.QLabel()\nw.setTxt('a')", "QLabel has no setTxt"),
    "attribute misspelt": ("w = qt.QLabel()\nw.txt = 'a'", "QLabel has no txt"),
    "read-only property": ("w = qt.QWidget()\nw.x = 3", "QWidget.x is read-only"),
    "method overwritten": (
        "c = slicer.qMRMLNodeComboBox()\nc.currentNode = None",
        "currentNode is a method",
    ),
    "unknown signal": (
        "b = qt.QPushButton()\nb.connect('clickd()', print)",
        "QPushButton has no signal clickd()",
    ),
    "signal with other arguments": (
        "s = ctk.ctkSliderWidget()\ns.connect('valueChanged(int)', print)",
        "ctkSliderWidget has no signal valueChanged(int)",
    ),
    "signal without arguments": (
        "b = qt.QPushButton()\nb.connect('clicked', print)",
        "is no signal signature",
    ),
    "signal of Qt 5 only": (
        "c = qt.QComboBox()\nc.connect('currentIndexChanged(QString)', print)",
        "QComboBox has no signal currentIndexChanged(QString)",
    ),
    "property connected": (
        "b = qt.QPushButton()\nb.text.connect(print)",
        "QPushButton.text is no signal",
    ),
    "wrong number of arguments": (
        "s = qt.QSpinBox()\ns.setRange(1)",
        "QSpinBox.setRange does not take 1 arguments",
    ),
    "keyword arguments": ("w = qt.QLabel(text='a')", "takes no keyword arguments"),
    "unknown constant": ("a = qt.Qt.AlignLef", "qt.Qt has no AlignLef"),
    "unknown constant of a class": ("a = qt.QMessageBox.Okay", "qt.QMessageBox has no Okay"),
    "application": ("slicer.app.layoutManger()", "qSlicerApplication has no layoutManger"),
    "result of a method": (
        "slicer.app.layoutManager().sliceWidget('Red').sliceLogc()",
        "qMRMLSliceWidget has no sliceLogc",
    ),
    "method of a node": (
        "n = slicer.mrmlScene.AddNewNodeByClass('vtkMRMLTableNode')\nn.AddColum()",
        "vtkMRMLTableNode has no AddColum",
    ),
    "constant of a node class": (
        "e = slicer.vtkMRMLScene.StartCloseEvnt",
        "slicer.vtkMRMLScene has no StartCloseEvnt",
    ),
    "chain of names": (
        "def f():\n    lm = slicer.app.layoutManager()\n    w = lm.sliceWidget('Red')\n"
        "    v = w.sliceView()\n    v.forceRendr()",
        "qMRMLSliceView has no forceRendr",
    ),
    "attribute of self": (
        "class A:\n    def f(self):\n        self.b = qt.QPushButton()\n"
        "    def g(self):\n        self.b.setEnable(True)",
        "QPushButton has no setEnable",
    ),
    "imported name": (
        "from slicer.parameterNodeWrapper import WithinRnge",
        "slicer.parameterNodeWrapper has no WithinRnge",
    ),
    "imported class": ("from slicer import vtkMRMLVolumNode", "slicer.vtkMRMLVolumNode does not"),
    "packaging": (
        "import slicer.packaging\nslicer.packaging.pip_ensure(['a'], ask=False)",
        "has no parameter 'ask'",
    ),
    "import at the top": ("import pandas", "pandas is not shipped with Slicer"),
    "isinstance": ("def f(w):\n    return isinstance(w, qt.QWidget)", "use inherits"),
    "translation": (
        "from slicer.i18n import tr as _\nx = 1\nt = _(f'{x} mL')",
        "an f-string cannot be translated",
    ),
}


@pytest.mark.parametrize("name", SEEDED)
def test_seeded_mistake_is_found(findings, name):
    code, expected = SEEDED[name]
    found = findings(code)
    assert len(found) == 1
    assert expected in found[0]


def test_clean_code_passes(findings):
    assert not findings(
        """
import numpy as np
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import Default, FloatRange, RangeBounds, WithinRange
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleWidget
from slicer.util import VTKObservationMixin

def f(volume, values):
    button = qt.QPushButton(_("Go"))
    button.enabled = not button.isHidden()
    button.connect("clicked(bool)", lambda on: None)
    button.clicked.connect(print)
    button.setProperty("anything", 1)
    slider = ctk.ctkSliderWidget()
    slider.maximum = 3
    slider.value = slider.minimum
    selector = slicer.qMRMLNodeComboBox()
    selector.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    selector.setMRMLScene(slicer.mrmlScene)
    selector.connect("currentNodeChanged(vtkMRMLNode*)", print)
    layout = qt.QFormLayout(button)
    layout.addRow(_("Name"), slider)
    timer = qt.QTimer()
    timer.setSingleShot(True)
    timer.interval = 250
    qt.QTimer.singleShot(0, print)
    box = slicer.util.createProgressDialog(maximum=3, labelText="a")
    view = slicer.app.layoutManager().sliceWidget("Red").sliceView()
    view.forceRender()
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    node.CreateDefaultDisplayNodes()
    table = qt.QTableWidget(2, 3)
    table.item(0, 0).text()
    flags = qt.Qt.AlignLeft | qt.Qt.AlignTop
    either = qt.QLabel() if flags else qt.QLineEdit()
    either.text = str(box)
    button = values
    return vtk.vtkMatrix4x4(), np.zeros(3), button.anything
"""
    )


def test_the_demo_module_is_clean(lint):
    assert lint.Module(DEMO).check() == []


FORM = """<ui version="4.0"><class>F</class><widget class="qMRMLWidget" name="F">
<layout class="QVBoxLayout" name="l"><item><widget class="{kind}" name="w">{extra}</widget></item>
<item><widget class="QPushButton" name="b"/></item></layout></widget>
<connections><connection><sender>{sender}</sender><signal>{signal}</signal>
<receiver>w</receiver><slot>{slot}</slot></connection></connections></ui>"""
CLEAN = {
    "kind": "qMRMLNodeComboBox",
    "extra": '<property name="noneEnabled"><bool>true</bool></property>',
    "sender": "F",
    "signal": "mrmlSceneChanged(vtkMRMLScene*)",
    "slot": "setMRMLScene(vtkMRMLScene*)",
}
SEEDED_FORMS = {
    "class": ({"kind": "qMRMLNodeCombo"}, "unknown widget class qMRMLNodeCombo"),
    "property": (
        {"extra": '<property name="noneEnable"><bool>true</bool></property>'},
        "has no property 'noneEnable'",
    ),
    "sender": ({"sender": "G"}, "connection with 'G', which does not exist"),
    "signal": ({"signal": "sceneChanged(vtkMRMLScene*)"}, "has no signal sceneChanged"),
    "slot": ({"slot": "setScene(vtkMRMLScene*)"}, "has no slot setScene"),
    "enumeration": (
        {
            "kind": "ctkPathLineEdit",
            "extra": '<property name="filters"><set>ctkPathLineEdit::Dir</set></property>',
            "slot": "browse()",
        },
        "unknown enumeration value ctkPathLineEdit::Dir",
    ),
    "two of a name": ({"extra": '<widget class="QLabel" name="b"/>'}, "two widgets are called 'b'"),
}


@pytest.mark.parametrize("name", ["clean", *SEEDED_FORMS])
def test_seeded_mistake_in_a_form_is_found(lint, tmp_path, name):
    changed, expected = SEEDED_FORMS.get(name, ({}, None))
    path = tmp_path / "F.ui"
    path.write_text(FORM.format(**(CLEAN | changed)), encoding="utf-8")
    _, found = lint.check_form(path)
    texts = [finding.text for finding in found]
    assert not texts if expected is None else any(expected in text for text in texts)


MODULE = """import slicer
from slicer.parameterNodeWrapper import parameterNodeWrapper
@parameterNodeWrapper
class P:
    volume: slicer.vtkMRMLScalarVolumeNode
class W:
    def setup(self):
        root = slicer.util.loadUI(self.resourcePath("UI/F.ui"))
        self.ui = slicer.util.childWidgetVariables(root)
        {line}
"""


@pytest.mark.parametrize(
    ("line", "parameter", "expected"),
    [
        ("self.ui.b.enabled = False", "volume", None),
        ("self.ui.button.enabled = False", "volume", "the .ui file has no widget 'button'"),
        ("self.ui.b.text()", "volume", "QPushButton.text is a property"),
        ("self.ui.w.connect('nodeChanged()', print)", "volume", "has no signal nodeChanged()"),
        ("self.ui.b.enabled = False", "volum", "shows the parameter 'volum'"),
    ],
)
def test_widgets_of_the_form_are_known_in_the_module(lint, tmp_path, line, parameter, expected):
    forms = tmp_path / "Resources" / "UI"
    forms.mkdir(parents=True)
    shown = (
        f'<property name="SlicerParameterName" stdset="0"><string>{parameter}</string></property>'
    )
    text = FORM.format(**(CLEAN | {"extra": shown}))
    (forms / "F.ui").write_text(text, encoding="utf-8")
    path = tmp_path / "M.py"
    path.write_text(MODULE.format(line=line), encoding="utf-8")
    texts = [finding.text for finding in lint.Module(path).check()]
    assert not texts if expected is None else len(texts) == 1 and expected in texts[0]


def test_missing_form_is_reported(findings):
    assert "does not exist in Resources" in findings("p = 'UI/Missing.ui'")[0]


def test_command_line(lint, tmp_path, capsys):
    (tmp_path / "A.py").write_text("import qt\nqt.QNothing()\n", encoding="utf-8")
    assert lint.main([str(tmp_path)]) == 1
    assert "A.py:2: qt.QNothing does not exist" in capsys.readouterr().out
    (tmp_path / "A.py").write_text("import qt\nqt.QLabel()\n", encoding="utf-8")
    assert lint.main([str(tmp_path)]) == 0


def test_modules_of_the_repository_are_clean(lint):
    assert lint.main([]) == 0


def test_runs_as_a_script(tmp_path):
    """Its folder must not be on the path: slicer-core would run the files of Testing/slicer."""
    import subprocess
    import sys

    (tmp_path / "A.py").write_text("import slicer\nslicer.getNode('a')\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(TESTING / "lint_modules.py"), str(tmp_path)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 1
    assert "use slicer.util.getNode" in done.stdout

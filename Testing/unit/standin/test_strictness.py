"""The stand-in refuses what the desktop lacks, and raises where the desktop only prints."""

import gc
from pathlib import Path

import pytest
from slicer_standin import Absent, be_strict, dialogs
from slicer_standin.pythonqt.designer import UiError
from slicer_standin.pythonqt.signals import UnknownSignal


@pytest.fixture(autouse=True)
def started(desktop):
    return desktop


def test_unknown_signal_raises_unless_told_otherwise():
    import qt

    button = qt.QPushButton("x")
    with pytest.raises(UnknownSignal, match="QPushButton has no signal 'clickd\\(\\)'"):
        button.connect("clickd()", print)
    be_strict(False)
    try:
        assert button.connect("clickd()", print) is False
    finally:
        be_strict(True)


@pytest.mark.parametrize(
    "code",
    [
        "qt.QPushButton().nosuch",
        "qt.QPushButton().setTxt('a')",
        "ctk.ctkSliderWidget().setMinimum(1)",
        "ctk.ctkNoSuchWidget",
        "qt.QNoSuchThing",
        "slicer.qMRMLNoSuchWidget",
        "slicer.arrayFromVolume",
        "slicer.util.LazyImport",
        "slicer.modules.nosuch",
        "slicer.app.noSuchThing",
        "slicer.qMRMLNodeComboBox().nodes()",
        "qt.Qt.NoSuchEnum",
    ],
)
def test_unknown_names_raise(code):
    import ctk
    import qt
    import slicer

    with pytest.raises(AttributeError):
        eval(code, {"qt": qt, "ctk": ctk, "slicer": slicer})


@pytest.mark.parametrize(
    "code",
    [
        "slicer.qMRMLPlotView().saveAsSVG('a.svg')",
        "slicer.qMRMLSliceWidget().setSliceLogics(None)",
        "slicer.app.layoutManager().setLayoutNumberOfCompareViewRows(2)",
        "ctk.ctkVTKHistogram().build()",
        "slicer.qMRMLTableView().plotSelection()",
        "ctk.ctkDoubleSpinBox.FixedDecimals",
        "ctk.ctkDoubleSpinBox().DecimalsByKey",
    ],
)
def test_known_names_without_behaviour_raise_absent(code):
    import ctk
    import slicer

    with pytest.raises(Absent, match="exists in the desktop"):
        eval(code, {"ctk": ctk, "slicer": slicer})


def test_known_method_with_wrong_number_of_arguments_is_refused_before():
    import slicer

    with pytest.raises(ValueError, match="wrong number of arguments"):
        slicer.qMRMLPlotView().saveAsSVG()


@pytest.mark.parametrize(
    ("widget", "message"),
    [
        ('<widget class="qMRMLNoSuchWidget" name="x"/>', "qMRMLNoSuchWidget"),
        (
            '<widget class="QLabel" name="x"><property name="txt"><string/></property></widget>',
            "QLabel 'x' has no property 'txt'",
        ),
        (
            '<widget class="ctkSliderWidget" name="x"><property name="upper"><double>1</double>'
            "</property></widget>",
            "ctkSliderWidget 'x' has no property 'upper'",
        ),
    ],
)
def test_forms_with_unknown_names_are_refused(tmp_path, widget, message):
    import slicer

    path = tmp_path / "a.ui"
    path.write_text(
        f'<ui version="4.0"><class>F</class><widget class="QWidget" name="F">'
        f'<layout class="QVBoxLayout"><item>{widget}</item></layout></widget></ui>',
        encoding="utf-8",
    )
    with pytest.raises(UiError, match=message):
        slicer.util.loadUI(str(path))


def test_dialogs_that_wait_raise_and_can_be_answered(started):
    import qt
    import slicer
    from slicer_standin import testing

    testing(False)
    with pytest.raises(dialogs.WaitsForUser, match=r"ctkMessageBox.*Really\?"):
        slicer.util.confirmOkCancelDisplay("Really?")
    with pytest.raises(dialogs.WaitsForUser, match="getOpenFileName"):
        qt.QFileDialog.getOpenFileName(None, "Open")
    asked = []

    def answer(kind, dialog):
        asked.append(kind)
        return qt.QMessageBox.Ok if kind == "ctkMessageBox" else "/chosen.nrrd"

    with dialogs.answered(answer):
        assert slicer.util.confirmOkCancelDisplay("Really?")
        assert qt.QFileDialog.getOpenFileName(None, "Open") == "/chosen.nrrd"
    assert asked == ["ctkMessageBox", "QFileDialog.getOpenFileName"]


def test_confirmation_is_no_in_testing_mode():
    import slicer

    assert slicer.util.confirmOkCancelDisplay("Really?") is False
    assert slicer.util.confirmYesNoDisplay("Really?") is False


def test_packages_are_recorded_and_never_installed(started):
    import slicer.packaging
    from slicer_standin import testing

    slicer.packaging.pip_ensure(["numpy", "no-such-package-for-slicer>=1.0"])
    assert started.requested_packages == []
    testing(False)
    slicer.packaging.pip_ensure(["numpy", "no-such-package-for-slicer>=1.0"])
    assert started.requested_packages == ["no-such-package-for-slicer>=1.0"]


def test_requirements_files_are_read_as_in_the_desktop(tmp_path):
    import slicer.packaging

    path = tmp_path / "requirements.txt"
    path.write_text("# comment\nnumpy>=2  # why\n-r other.txt\n\nscipy; python_version < '3'\n")
    found = [str(each) for each in slicer.packaging.load_requirements(path)]
    assert found == ["numpy>=2", 'scipy; python_version < "3"']
    assert slicer.packaging.pip_check("numpy>=2")
    assert slicer.packaging.pip_check(found[1])
    assert not slicer.packaging.pip_check("numpy<1")


def test_errors_in_slots_are_collected(started):
    import qt

    button = qt.QPushButton("x")
    button.connect("clicked()", lambda: 1 / 0)
    button.click()
    assert "ZeroDivisionError" in started.errors.pop()


def test_a_timer_without_a_reference_is_gone(started):
    import qt

    fired = []
    timer = qt.QTimer()
    timer.connect("timeout()", lambda: fired.append(1))
    timer.start(0)
    del timer
    gc.collect()
    from slicer_standin import process_events

    process_events(5)
    assert not fired


def test_a_child_process_runs_with_the_interpreter_of_slicer(started):
    import os
    import shutil

    import qt
    import slicer

    if os.name != "posix":
        pytest.skip("the interpreter is a shell script, on POSIX only")
    program = str(Path(slicer.app.slicerHome) / "bin" / "PythonSlicer")
    assert shutil.which(program)
    process, done = qt.QProcess(), []
    process.connect("finished(int,QProcess::ExitStatus)", lambda code, how: done.append(code))
    process.start(program, ["-c", "import numpy; print('ready'); raise SystemExit(3)"])
    started.wait(lambda: done)
    assert done == [3]
    assert process.readAllStandardOutput().data().strip() == b"ready"


def test_settings_of_the_user_are_not_touched():
    import tempfile

    import qt

    assert qt.QSettings().fileName().startswith(tempfile.gettempdir())


def test_python_subclass_overrides_virtual_methods(started):
    import qt

    class Frame(qt.QFrame):
        def __init__(self):
            super().__init__()
            self.events = []

        def changeEvent(self, event):
            self.events.append(int(event.type()))

    frame = Frame()
    frame.enabled = False
    assert int(qt.QEvent.EnabledChange) in frame.events
    assert frame.className() == "Frame"
    assert frame.inherits("QFrame")


def test_start_twice_gives_the_same_application():
    import slicer
    import slicer_standin

    assert slicer_standin.start() is slicer.app

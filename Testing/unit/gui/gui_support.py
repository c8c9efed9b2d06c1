"""What the tests of all modules do with a panel."""

import json

import numpy as np

from lungperfusion import mrml
from lungperfusion.__main__ import make_parser
from lungperfusion.arguments import check_values
from lungperfusion.errors import InputError
from lungperfusion.progress import ignore
from lungperfusion.terms import Region

RUN_S = 240.0


class JobAtOnce:
    """Runs what the worker is asked for without its process, whose start takes seconds."""

    def __init__(self, words, on_progress, on_done):
        import qt

        self._words, self._on_done = words, on_done
        qt.QTimer.singleShot(0, self._run)

    def _run(self):
        from lungperfusion_gui import xenon_files

        error = ""
        try:
            if self._words[0] == xenon_files.WORD:
                xenon_files.run(self._words[1:], ignore)
            else:
                arguments = make_parser(self._words[0]).parse_args(self._words)
                check_values(arguments)
                assert arguments.run(arguments, ignore) == 0
        except InputError as refused:
            error = str(refused)
        self._on_done(error)

    def abandon(self):
        """Tell nobody how it ends."""
        self._on_done = lambda _error: None


def value(panel, measure, region=Region.LUNGS):
    rows = [
        row for row in panel.study.measurements if row.measure == measure and row.region == region
    ]
    assert len(rows) == 1
    return rows[0].value


def show(panel, folder, *, anew=True):
    """Show a results folder as if a run of this moment had ended."""
    panel.show(folder, panel.newRun(anew=anew))
    panel.updateButtons()


def drained(steps):
    """Take all steps at once; return their value."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def click(panel, button, place):
    """Place the point of a button; return its node."""
    import slicer

    getattr(panel.ui, button).click()
    nodes = slicer.util.getNodesByClass("vtkMRMLMarkupsFiducialNode")
    node = next(node for node in nodes if not node.GetNumberOfControlPoints())
    node.AddControlPoint(*place)
    slicer.app.applicationLogic().GetInteractionNode().SwitchToViewTransformMode()
    return node


def choose_table(panel, name):
    selector = panel.ui.tableSelector
    selector.currentIndex = selector.findData(f"table.{name}")


def apply(desktop, panel, button="applyButton"):
    getattr(panel.ui, button).click()
    assert panel.job is not None
    assert not panel.ui.applyButton.enabled
    desktop.wait(lambda: panel.job is None, RUN_S)


def erase_front(node, identifier, geometry, share=1 / 3):
    """Take the front of a segment away, as a user with scissors would."""
    import slicer

    array = mrml.segment_mask(node, identifier, geometry)
    rows = np.flatnonzero(array.any(axis=(0, 2)))
    array[:, : rows[0] + round(share * (rows[-1] + 1 - rows[0]))] = False
    slicer.util.updateSegmentBinaryLabelmapFromArray(
        array.astype(np.uint8), node, identifier, node.GetNodeReference("referenceImageGeometryRef")
    )


def finish(desktop, panel, tmp_path, measure):
    """Write the report, save and load the scene, close it and reload the module."""
    shown = value(panel, measure)
    panel.ui.reportFolder.currentPath = str(tmp_path)
    panel.parameters.caseName = "P1"
    apply(desktop, panel, "reportButton")
    html = (tmp_path / "P1" / "report.html").read_text(encoding="utf-8")
    assert "Corrections by the reader" in html
    assert (tmp_path / "P1" / "measurements.csv").exists()
    written = json.loads((tmp_path / "P1" / "results.json").read_text(encoding="utf-8"))
    record = panel.study.record
    for part in ("measurements", "parameters"):  # the report is about the numbers in the panel
        assert written["analyses"][0][part] == record["analyses"][0][part]
    desktop.save_and_load_scene(tmp_path / "scene.mrb")
    assert value(panel, measure) == shown
    assert panel.study.corrected
    desktop.close_scene()
    assert panel.study.record is None
    panel = desktop.reload(panel.moduleName)
    assert not panel.ui.applyButton.enabled

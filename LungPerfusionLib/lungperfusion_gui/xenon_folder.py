"""A folder of the open gas exchange pipeline: its button, its nodes, and what was read of it."""

import json
import shutil
from pathlib import Path

import ctk
import qt
import slicer
from slicer.i18n import tr as _

from lungperfusion import mrml
from lungperfusion.io import read_map, read_segmentation
from lungperfusion.terms.xenon import MAPS
from lungperfusion.xenon.orienting import CORONAL, NAMED_ORIENTATIONS
from lungperfusion_gui import xenon_files
from lungperfusion_gui.job import Job

FOLDER_SETTING = "LungPerfusion/xenonFolder"
"""Setting of the application: the folder that was read last."""

NAMES = {
    "ventilation": _("ventilation"),
    "rbc_gas": _("RBC:gas"),
    "membrane_gas": _("membrane:gas"),
    "lungs": _("lungs"),
    "statistics": _("statistics"),
}
"""What a folder may hold, in the order in which it is told."""


class PipelineFolder:
    """Reads the folder in a process of its own; the scene changes when all of it was read.

    Parameters
    ----------
    ui
        Widgets of the panel.
    choose
        Called with the new nodes by the keys of `NAMES`, and what else is known of them.
    """

    def __init__(self, ui, choose):
        self._ui, self._choose = ui, choose
        self._out = self._scene = self.job = None
        ui.xenonFolder.filters = ctk.ctkPathLineEdit.Dirs
        ui.xenonFolder.currentPath = slicer.util.settingsValue(FOLDER_SETTING, "")
        for name in NAMED_ORIENTATIONS:
            ui.fieldOrientation.addItem(name)
        ui.xenonFolderButton.connect("clicked(bool)", self.onClicked)
        self._update()

    def bind(self, study):
        """Forget what was said of another examination; read no further when the panel goes."""
        self._ui.xenonReadLabel.text = ""
        self._scene = None if study is None else study.scene
        if study is None and self.job is not None:
            self.job.abandon()
            self._clear()

    def onClicked(self, checked=False):
        """Read the folder, or stop reading it."""
        if self.job is not None:
            self.job.cancel()
            return
        path = self._ui.xenonFolder.currentPath
        if not path:
            slicer.util.errorDisplay(_("Choose the output folder of the pipeline first."))
            return
        with slicer.util.tryWithErrorDisplay(_("Failed to read the folder.")):
            self._out = Path(slicer.util.tempDirectory())
            words = [xenon_files.WORD, path, str(self._out), *self._placement()]
            self.job = Job(words, self._show_progress, lambda error: self._end(error, path))
            self._update()

    def _placement(self):
        """Field of view and orientation as words, empty where the folder is to say them."""
        ui = self._ui
        extents = [spin.value for spin in (ui.fieldX, ui.fieldY, ui.fieldZ)]
        field = ",".join(f"{extent:g}" for extent in extents) if any(extents) else ""
        orientation = ui.fieldOrientation.currentText.strip()
        usual = NAMED_ORIENTATIONS.get(orientation.lower(), orientation.upper()) == CORONAL
        return field, "" if usual else orientation

    def _show_progress(self, fraction, message):
        self._ui.xenonReadLabel.text = f"{round(100 * fraction)} % {message}"

    def _end(self, error, path):
        words = ""
        try:
            if error:
                slicer.util.errorDisplay(error)
            elif error == "":
                with slicer.util.tryWithErrorDisplay(_("Failed to show the maps.")):
                    nodes, facts = show(self._scene, self._out)
                    self._choose(nodes, facts)
                    words = told(nodes, facts)
                    qt.QSettings().setValue(FOLDER_SETTING, path)
        finally:
            self._clear()
            self._ui.xenonReadLabel.text = words

    def _clear(self):
        self.job = None
        shutil.rmtree(self._out, ignore_errors=True)
        self._update()

    def _update(self):
        reading = self.job is not None
        self._ui.xenonFolderButton.text = _("Stop reading") if reading else _("Load folder")


def show(scene, folder):
    """Put what the worker has written into the scene and the views; return nodes and facts."""
    facts = json.loads((folder / xenon_files.FACTS_FILE).read_text(encoding="utf-8"))
    paths = {name: folder / f"{name}.nrrd" for name in MAPS}
    maps = {name: read_map(path, unit="1").volume for name, path in paths.items() if path.exists()}
    lungs = read_segmentation(folder / xenon_files.LUNGS_FILE)
    with slicer.util.WaitCursor(), slicer.util.RenderBlocker():
        nodes = mrml.show_xenon(scene, maps, lungs, facts["statistics"])
        shown = nodes.get("ventilation") or nodes[next(iter(maps))]
        slicer.util.setSliceViewerLayers(background=shown, fit=True)
    return nodes, facts


def told(nodes, facts):
    """Say in one sentence what was read, where it was placed, and what was not there."""
    read = [_described(name, facts) for name in NAMES if name in nodes]
    missing = [
        _("RBC:gas as values (its colour image, classes only, is read by xenon --duke)")
        if name == "rbc_gas" and facts["rbc_gas_as_colours"]
        else NAMES[name]
        for name in NAMES
        if name not in nodes
    ]
    known = {"age_years": _("age"), "sex": _("sex")}
    if "statistics" in nodes:
        missing += [words for name, words in known.items() if name not in facts["known"]]
    sentence = _("Read: {read}; placed by {place}; missing: {missing}.")
    return sentence.format(
        read=", ".join(read),
        place=_place(facts),
        missing=", ".join(missing) or _("nothing"),
    )


def _described(name, facts):
    if name == "rbc_gas" and facts["rbc_gas_made"]:
        return _("RBC:gas (made from the signals of red cells and gas)")
    return NAMES[name]


def _place(facts):
    if facts["placed_by"] == "header":
        return _("the headers of the files")
    extent = " × ".join(f"{size:g}" for size in facts["field_mm"])
    words = {
        "user": _("the field of view above, {extent} mm"),
        "statistics": _("the field of view of the statistics, {extent} mm"),
    }
    return words[facts["placed_by"]].format(extent=extent)

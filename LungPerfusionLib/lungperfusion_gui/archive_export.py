"""Results as DICOM objects beside the series that Slicer loaded: a button under Export."""

import qt
import slicer
from slicer.i18n import tr as _

from lungperfusion_gui.job import Job

SERIES_UID = "0020,000e"


class ArchiveExport:
    """Button that writes the last report's results as DICOM objects, and says where.

    Parameters
    ----------
    section
        Widget with a form layout to stand in.
    reference
        Called for the volume node whose grid the results have.
    """

    def __init__(self, section, reference):
        self._reference = reference
        self._results = None
        self.job = None
        self.button = qt.QPushButton(_("Write DICOM objects"))
        self.button.objectName = "dicomButton"
        self.label = qt.QLabel()
        self.label.wordWrap = True
        section.layout().addRow(self.button)
        section.layout().addRow(self.label)
        self.button.connect("clicked(bool)", self.onWrite)
        self._update()

    def offer(self, results):
        """Take the results folder of a report that was just written."""
        self._results = results
        self.label.text = ""
        self._update()

    def onWrite(self, checked=False):
        """Write the objects beside the results folder."""
        with slicer.util.tryWithErrorDisplay(_("Failed to write DICOM objects.")):
            file, series = source_of(self._reference())
            target = self._results.with_name(f"{self._results.name}-dicom")
            words = ["dicom", str(self._results), "--source", file, "--series", series]
            self.job = Job(
                [*words, "--out", str(target)],
                self._show_progress,
                lambda error: self._end(error, target),
            )
            self._update()

    def _show_progress(self, fraction, message):
        self.label.text = f"{round(100 * fraction)} % {message}"

    def _end(self, error, target):
        self.job = None
        if error == "":
            self._results = None  # written once: the same results give the same objects
            self.label.text = _("Written: {path}").format(path=target)
        else:
            self.label.text = ""
            if error:
                slicer.util.errorDisplay(error)
        self._update()

    def _update(self):
        self.button.enabled = self._results is not None and self.job is None
        self.button.toolTip = (
            _("Segmentations, maps, report and key images for the study the CT is of.")
            if self.button.enabled
            else _("Write report and tables first: the objects are made from them.")
        )


def source_of(node):
    """Return one file of the series that a volume was loaded from, and the series' UID."""
    uids = ((node and node.GetAttribute("DICOM.instanceUIDs")) or "").split()
    database = getattr(slicer, "dicomDatabase", None)
    file = database.fileForInstance(uids[0]) if uids and database is not None else ""
    if not file:
        raise ValueError(
            _(
                "The CT was not loaded from Slicer's DICOM database, so nobody knows which study "
                "it is of. Load it there, or use the command line: lungperfusion dicom."
            )
        )
    return file, database.instanceValue(uids[0], SERIES_UID).strip()

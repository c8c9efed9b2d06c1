"""Section Review and correction: which segmentation is edited, and what has been."""

from slicer.i18n import tr as _

from lungperfusion.errors import InputError
from lungperfusion_gui import corrections
from lungperfusion_gui.corrections import ORIGINAL
from lungperfusion_gui.segment_editing import Correction, trail_lines
from lungperfusion_gui.selectors import refill


class ReviewPanel:
    """Widgets of the section with the embedded editor.

    Parameters
    ----------
    ui
        Widgets of the panel.
    correctable
        Names of the label maps that can be corrected.
    module_name
        Gives the editor a node of its own.
    on_edit
        Called after an edit was noted.
    on_choice
        Called with the name of the label map that is to be corrected.
    """

    def __init__(self, ui, correctable, module_name, on_edit, on_choice):
        self.ui, self._correctable = ui, tuple(correctable)
        self._on_edit, self._on_choice = on_edit, on_choice
        self.study = None
        self.editing = Correction(ui.segmentEditor, module_name, self._on_edited)
        ui.correctedSelector.connect("currentIndexChanged(int)", self._on_selected)
        ui.reviewCollapsibleButton.connect("contentsCollapsed(bool)", self._on_selected)

    def bind(self, study):
        """Show the corrections of a scan; None before it goes."""
        self.study = study

    def refill(self):
        """Offer what can be corrected and watch it from now on."""
        found = self.study.names("labels")
        labels = [name for name in self._correctable if name in found]
        refill(self.ui.correctedSelector, {name: f"labels.{name}" for name in labels})
        nodes = {name: self.study.node(f"labels.{name}") for name in labels}
        self.editing.watch(self.study, nodes)
        self._on_selected()
        self.show_trail()

    @property
    def chosen(self):
        """Name of the label map that is chosen; empty when there is none."""
        return (self.ui.correctedSelector.currentData or "").removeprefix("labels.")

    @property
    def can_restore(self):
        """Whether the chosen label map was corrected and its original is there."""
        name = self.chosen
        original = bool(name) and self.study.node(ORIGINAL + name) is not None
        return original and name in self.study.corrected

    def restore(self):
        """Take back all corrections of the chosen label map."""
        self.editing.look_now()
        corrections.restore(self.study, self.chosen)
        self.editing.renew()
        self.show_trail()

    def show_trail(self):
        """List what was done so far."""
        try:
            entries = corrections.entries(self.study)
        except InputError as error:
            self.ui.trailText.plainText = str(error)
            return
        self.ui.trailText.plainText = trail_lines(entries) or _("none")

    def _on_selected(self, index=0):
        if self.study is None:
            return
        name = self.chosen
        node = self.study.node(f"labels.{name}") if name else None
        self.editing.edit(self.study, name, node)
        self._on_choice("" if self.ui.reviewCollapsibleButton.collapsed else name)

    def _on_edited(self, study, name, changed):
        """Mark the results of the study outdated at once and note the edit."""
        corrections.note_edit(study, name, changed)
        if self.study is not None and self.study == study:
            self.show_trail()
            self._on_edit()

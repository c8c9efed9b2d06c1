"""Section Review and correction: which segmentation is edited, and what has been."""

from slicer.i18n import tr as _

from lungperfusion import mrml
from lungperfusion.errors import InputError
from lungperfusion_gui.corrections import ORIGINAL, TRAIL
from lungperfusion_gui.segment_editing import Correction, trail_lines
from lungperfusion_gui.selectors import refill


class ReviewPanel:
    """Widgets of the section with the embedded editor.

    Parameters
    ----------
    ui
        Widgets of the panel.
    logic
        Keeps originals and the trail.
    module_name
        Gives the editor a node of its own.
    on_edit
        Called after an edit was noted.
    on_choice
        Called with the name of the label map that is to be corrected.
    """

    def __init__(self, ui, logic, module_name, on_edit, on_choice):
        self.ui, self.logic = ui, logic
        self._on_edit, self._on_choice = on_edit, on_choice
        self.parameters = None
        self.editing = Correction(ui.segmentEditor, module_name, self._on_edited, self._before_edit)
        ui.correctedSelector.connect("currentIndexChanged(int)", self._on_selected)
        ui.reviewCollapsibleButton.connect("contentsCollapsed(bool)", self._on_selected)

    def bind(self, parameters):
        """Show the corrections of a scene; None before it goes."""
        self.parameters = parameters

    def refill(self):
        """Offer what can be corrected and watch it from now on."""
        found = self.logic.names(self.parameters, "labels")
        labels = [name for name in self.logic.corrections if name in found]
        refill(self.ui.correctedSelector, {name: f"labels.{name}" for name in labels})
        nodes = {name: self.logic.node(self.parameters, f"labels.{name}") for name in labels}
        self.editing.watch(nodes)
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
        original = bool(name) and self.logic.node(self.parameters, ORIGINAL + name) is not None
        return original and name in self.parameters.corrected.split()

    def restore(self):
        """Take back all corrections of the chosen label map."""
        self.editing.look_now()
        self.logic.restore(self.parameters, self.chosen)
        self.editing.renew()
        self.show_trail()

    def show_trail(self):
        """List what was done so far."""
        try:
            entries = mrml.read_trail(self.logic.node(self.parameters, TRAIL))
        except InputError as error:
            self.ui.trailText.plainText = str(error)
            return
        self.ui.trailText.plainText = trail_lines(entries) or _("none")

    def _on_selected(self, index=0):
        if self.parameters is None:
            return
        name = self.chosen
        node = self.logic.node(self.parameters, f"labels.{name}") if name else None
        self.editing.edit(name, node, self.logic.reference(self.parameters))
        self._on_choice("" if self.ui.reviewCollapsibleButton.collapsed else name)

    def _before_edit(self, name):
        self.logic.keep_original_labels(self.parameters, name)

    def _on_edited(self, name, changed):
        """Mark the results outdated at once and note the edit."""
        if self.parameters is None:
            return
        self.logic.corrected(self.parameters, name, changed)
        self.show_trail()
        self._on_edit()

"""Hidden module: puts the packages `lungperfusion` and `lungperfusion_gui` on Slicer's path."""

import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import ScriptedLoadableModule, ScriptedLoadableModuleWidget


class LungPerfusionLib(ScriptedLoadableModule):
    """Carries the Python packages that PerfusionIPv, CTVQ and VesselBV share.

    Slicer appends the folder of every registered module file to the Python path before it
    instantiates any module, so the other modules import the packages without further ado.
    """

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("Lung Perfusion Library")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Quantification")]
        self.parent.dependencies = []
        self.parent.contributors = ["SlicerLungPerfusion contributors"]
        self.parent.helpText = _(
            "Python packages shared by the modules of the Lung Perfusion extension. "
            "Research software, not for diagnosis."
        )
        self.parent.acknowledgementText = _(
            "Developed by the SlicerLungPerfusion contributors under the Apache License 2.0."
        )
        self.parent.hidden = True
        slicer.app.connect("startupCompleted()", self._registerAtStartup)

    def _registerAtStartup(self):
        """Offer the phantoms as sample data, and make the layout known to saved scenes."""
        from lungperfusion_gui import overlay, samples

        samples.register(self.resourcePath("Icons"))
        overlay.register_layout()


class LungPerfusionLibWidget(ScriptedLoadableModuleWidget):
    """Empty: Slicer's generic module test asks every module for a widget."""

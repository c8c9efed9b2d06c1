"""Slicer module: iodine perfusion, the score IPv, defects and CT signs from dual-energy CT."""

from typing import Annotated, ClassVar

from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import Choice, WithinRange, parameterNodeWrapper
from slicer.ScriptedLoadableModule import ScriptedLoadableModule

from lungperfusion.iodine.calibration import REFERENCE_HU_PER_MG_ML, VOLTAGES
from lungperfusion.iodine.decomposition import DEFAULT_MODEL
from lungperfusion.iodine.defects import (
    ABSOLUTE_BELOW_HU,
    DEFAULT_RULE,
    MINIMAL_VOLUME_ML,
    RELATIVE_BELOW,
)
from lungperfusion.iodine.exclusion import DEFAULT_HANDLING, HEART_RIM_MM, STREAK_REACH_MM
from lungperfusion.iodine.smoothing import IODINE_SMOOTHING_MM
from lungperfusion.results.colours import IODINE_PERFUSION
from lungperfusion.segmentation.zones import DEFAULT_ZONE_RULE, RIM_MM
from lungperfusion_gui import about, signs
from lungperfusion_gui.logic import LUNGS, AnalysisLogic
from lungperfusion_gui.module_widget import ModuleWidget
from lungperfusion_gui.parameters import ReviewParameters
from lungperfusion_gui.self_test import AnalysisTest

VENDOR_MAP, IMAGE_PAIR = "vendor map", "image pair"


class PerfusionIPv(ScriptedLoadableModule):
    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("Lung Perfusion (IPv)")
        about.describe(
            self.parent,
            _(
                "Iodine perfusion of the lungs, the volume-corrected score IPv, perfusion defects "
                "and CT signs from dual-energy CT."
            ),
        )


@parameterNodeWrapper
class PerfusionIPvParameters(ReviewParameters):
    """Inputs and options; names are those of the command line."""

    source: Annotated[str, Choice([VENDOR_MAP, IMAGE_PAIR])] = VENDOR_MAP
    ct: vtkMRMLScalarVolumeNode
    iodine: vtkMRMLScalarVolumeNode
    iodineUnit: Annotated[str, Choice(["not stated", "mg/mL", "HU"])] = "not stated"
    low: vtkMRMLScalarVolumeNode
    high: vtkMRMLScalarVolumeNode
    kvLow: Annotated[str, Choice(["not stated", *VOLTAGES])] = "not stated"
    kvHigh: Annotated[str, Choice(["not stated", *VOLTAGES])] = "not stated"
    iodineHuPerMgMl: Annotated[float, WithinRange(1.0, 100.0)] = REFERENCE_HU_PER_MG_ML
    model: Annotated[str, Choice(["three-material", "two-material"])] = DEFAULT_MODEL
    lungMask: vtkMRMLSegmentationNode
    lobes: Annotated[str, Choice(["none", "auto"])] = "none"
    zones: Annotated[str, Choice(["height", "volume"])] = DEFAULT_ZONE_RULE
    rimMm: Annotated[float, WithinRange(1.0, 50.0)] = RIM_MM
    smoothingMm: Annotated[float, WithinRange(0.0, 20.0)] = IODINE_SMOOTHING_MM
    exclusions: Annotated[str, Choice(["exclude", "mark"])] = DEFAULT_HANDLING
    streakReachMm: Annotated[float, WithinRange(0.0, 100.0)] = STREAK_REACH_MM
    heartRimMm: Annotated[float, WithinRange(0.0, 50.0)] = HEART_RIM_MM
    defectRule: Annotated[str, Choice(["relative", "absolute"])] = DEFAULT_RULE
    defectBelowHu: Annotated[float, WithinRange(0.0, 200.0)] = ABSOLUTE_BELOW_HU
    defectRelativeBelow: Annotated[float, WithinRange(0.0, 1.0)] = RELATIVE_BELOW
    defectMinimalMl: Annotated[float, WithinRange(0.01, 100.0)] = MINIMAL_VOLUME_ML
    trunk: vtkMRMLSegmentationNode
    clots: str = ""
    """Degree of obstruction by artery, as JSON."""
    clotsScored: bool = False
    fvc: Annotated[float, WithinRange(0.0, 250.0)] = 0.0
    fev1: Annotated[float, WithinRange(0.0, 250.0)] = 0.0
    tlc: Annotated[float, WithinRange(0.0, 250.0)] = 0.0
    dlcoC: Annotated[float, WithinRange(0.0, 250.0)] = 0.0
    kcoC: Annotated[float, WithinRange(0.0, 250.0)] = 0.0


class PerfusionIPvLogic(AnalysisLogic):
    """Parameters to the command ``ipv``."""

    command = "ipv"
    findings = "defects"
    corrections: ClassVar = {LUNGS: "--lung-mask", "defects": "--defects"}
    option_fields = (
        *("model", "lobes", "zones", "rimMm", "iodineHuPerMgMl", "smoothingMm", "defectRule"),
        *("defectBelowHu", "defectRelativeBelow", "defectMinimalMl"),
        *("exclusions", "streakReachMm", "heartRimMm"),
    )
    optional_fields = ("fvc", "fev1", "tlc", "dlcoC", "kcoC")

    def missing(self, parameters):
        if parameters.source == VENDOR_MAP:
            if parameters.ct is None:
                return _("Choose the chest CT.")
            if parameters.iodine is None:
                return _("Choose the iodine map.")
            if parameters.iodine is parameters.ct:
                return _("CT and iodine map are the same volume; choose two.")
            if parameters.iodineUnit == "not stated":
                return _("State the unit of the iodine map.")
            return ""
        if parameters.low is None or parameters.high is None:
            return _("Choose the low- and the high-voltage image.")
        if parameters.low is parameters.high:
            return _("Both images are the same volume; choose two.")
        if "not stated" in (parameters.kvLow, parameters.kvHigh):
            return _("State both tube voltages.")
        return ""

    def image_options(self, parameters):
        if parameters.source == VENDOR_MAP:
            unit = parameters.iodineUnit
            return {"--ct": (parameters.ct, "HU"), "--iodine": (parameters.iodine, unit)}
        return {"--low": (parameters.low, "HU"), "--high": (parameters.high, "HU")}

    def options(self, parameters):
        words = self.option_words(parameters)
        if parameters.source == VENDOR_MAP:
            return [*words, "--iodine-unit", parameters.iodineUnit]
        return [*words, "--kv", parameters.kvLow, parameters.kvHigh]

    def extra_words(self, parameters, folder):
        return signs.request_words(parameters, folder)

    def segmentation_options(self, parameters):
        return {} if parameters.trunk is None else {"--trunk": parameters.trunk}

    def reference(self, parameters):
        return parameters.ct if parameters.source == VENDOR_MAP else parameters.low

    def colours(self, parameters, name):
        """Colours of the letter, in mg/mL through the reference sensitivity."""
        if name != "iodine":
            return None
        low, high = IODINE_PERFUSION.range
        scale = parameters.iodineHuPerMgMl
        return IODINE_PERFUSION.stretched(low / scale, high / scale, "mg/mL")


class PerfusionIPvWidget(ModuleWidget):
    UI = "UI/PerfusionIPv.ui"
    PARAMETERS = PerfusionIPvParameters
    LOGIC = PerfusionIPvLogic

    def onSetup(self):
        self.signs = signs.SignsPanel(self.ui, self.onInputsEdited)

    def onBound(self):
        self.signs.bind(self.parameters)

    def onParametersChanged(self):
        vendor = self.parameters.source == VENDOR_MAP
        for name in ("ct", "iodine", "iodineUnit"):
            getattr(self.ui, name).enabled = vendor
        for name in ("low", "high", "kvLow", "kvHigh", "model"):
            getattr(self.ui, name).enabled = not vendor
        relative = self.parameters.defectRule == "relative"
        self.ui.defectRelativeBelow.enabled = relative
        self.ui.defectBelowHu.enabled = not relative
        self.signs.show()


class PerfusionIPvTest(AnalysisTest):
    """Runs in the application: a phantom through the panel, numbers checked."""

    module = "PerfusionIPv"
    sample = "LungPerfusionDualEnergy"

    def choose(self, panel, volumes):
        panel.parameters.ct = volumes["CT"]
        panel.parameters.iodine = volumes["Iodine map"]
        panel.parameters.iodineUnit = "mg/mL"

    def test_iodine(self):
        panel = self.computed()
        assert 26.0 < self.value(panel, "iodine_mean") < 39.0  # 1.3 mg/mL was painted

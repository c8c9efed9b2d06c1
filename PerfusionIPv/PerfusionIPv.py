"""Slicer module: iodine perfusion, IPv, defects and CT signs from dual-energy CT; first passes."""

from typing import Annotated, ClassVar

from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode, vtkMRMLSequenceNode
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import (
    Choice,
    Default,
    FloatRange,
    RangeBounds,
    WithinRange,
    parameterNodeWrapper,
)
from slicer.ScriptedLoadableModule import ScriptedLoadableModule

from lungperfusion.iodine.calibration import REFERENCE_HU_PER_MG_ML, VOLTAGES
from lungperfusion.iodine.decomposition import DEFAULT_MODEL
from lungperfusion.iodine.defects import DEFAULT_RULE, MINIMAL_VOLUME_ML
from lungperfusion.iodine.exclusion import DEFAULT_HANDLING, HEART_RIM_MM, STREAK_REACH_MM
from lungperfusion.iodine.score import AERATED_HU
from lungperfusion.iodine.smoothing import IODINE_SMOOTHING_MM
from lungperfusion.results.colours import IODINE_PERFUSION
from lungperfusion.segmentation.zones import DEFAULT_ZONE_RULE, RIM_MM
from lungperfusion.terms import Region
from lungperfusion.terms.iodine import DEFECT_BELOW_HU
from lungperfusion.terms.vq import LOW_SHARE
from lungperfusion_gui import about, blood_points, curves, first_pass, iodine_choice, signs
from lungperfusion_gui.logic import AnalysisLogic
from lungperfusion_gui.marks import PointsPanel
from lungperfusion_gui.module_widget import ModuleWidget
from lungperfusion_gui.parameters import ReviewParameters
from lungperfusion_gui.remarks import of_both_lungs
from lungperfusion_gui.self_test import AnalysisTest

VENDOR_MAP, IMAGE_PAIR, SUBTRACTION = "vendor map", "image pair", "contrast minus native CT"
NOT_STATED = "not stated"

SCANS = {VENDOR_MAP: ("ct",), IMAGE_PAIR: ("low", "high"), SUBTRACTION: ("contrast", "native")}
"""Inputs that are CT, by source."""

SOURCE_FIELDS = {
    VENDOR_MAP: ("ct", "iodine", "iodineUnit", "iodineSlope", "iodineOffset"),
    IMAGE_PAIR: ("low", "high", "kvLow", "kvHigh", "model", "iodineRatio", "selfCalibrate"),
    SUBTRACTION: ("contrast", "native", "nativeLungMask"),
}
"""Inputs and options that only one source of iodine has."""


class PerfusionIPv(ScriptedLoadableModule):
    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("Lung Perfusion (IPv)")
        about.describe(
            self.parent,
            _(
                "Iodine perfusion of the lungs, the volume-corrected score IPv, perfusion defects "
                "and CT signs from dual-energy CT; or pulmonary and bronchial flow, blood volume "
                "and transit time from the first pass of contrast medium."
            ),
        )


IODINE_MAP = "iodine map"
"""Choice of analysis that runs the command ``ipv``."""

OF_IODINE = (
    *("source", *(name for names in SOURCE_FIELDS.values() for name in names), "kv", "trunk"),
    *("waterPathCm", "iodineHuPerMgMl", "smoothingMm", "windowed", "windowHu", "exclusions"),
    *("streakReachMm", "heartRimMm", "defectRule", "defectBelowHu", "defectRelativeBelow"),
    *("defectMinimalMl", "fvc", "fev1", "tlc", "dlcoC", "kcoC"),
)
"""Inputs and options that play no part in a first pass."""


@parameterNodeWrapper
class PerfusionIPvParameters(ReviewParameters):
    """Inputs and options; names are those of the command line."""

    analysis: Annotated[str, Choice([IODINE_MAP, first_pass.CHOICE])] = IODINE_MAP
    series: vtkMRMLSequenceNode
    hctRatio: Annotated[float, WithinRange(0.5, 1.0)] = 1.0
    source: Annotated[str, Choice(list(SOURCE_FIELDS))] = VENDOR_MAP
    ct: vtkMRMLScalarVolumeNode
    iodine: vtkMRMLScalarVolumeNode
    iodineUnit: Annotated[str, Choice([NOT_STATED, "mg/mL", "HU"])] = NOT_STATED
    low: vtkMRMLScalarVolumeNode
    high: vtkMRMLScalarVolumeNode
    kvLow: Annotated[str, Choice([NOT_STATED, *VOLTAGES])] = NOT_STATED
    kvHigh: Annotated[str, Choice([NOT_STATED, *VOLTAGES])] = NOT_STATED
    contrast: vtkMRMLScalarVolumeNode
    native: vtkMRMLScalarVolumeNode
    nativeLungMask: vtkMRMLSegmentationNode
    kv: Annotated[str, Choice([NOT_STATED, *VOLTAGES])] = NOT_STATED
    iodineSlope: Annotated[float, WithinRange(-1000.0, 1000.0)] = 1.0
    iodineOffset: Annotated[float, WithinRange(-10000.0, 10000.0)] = 0.0
    iodineRatio: Annotated[float, WithinRange(0.0, 10.0)] = 0.0
    selfCalibrate: bool = False
    waterPathCm: Annotated[float, WithinRange(0.0, 80.0)] = 0.0
    iodineHuPerMgMl: Annotated[float, WithinRange(1.0, 100.0)] = REFERENCE_HU_PER_MG_ML
    model: Annotated[str, Choice(["three-material", "two-material"])] = DEFAULT_MODEL
    lungMask: vtkMRMLSegmentationNode
    vesselMask: vtkMRMLSegmentationNode
    lobes: Annotated[str, Choice(["none", "auto"])] = "none"
    zones: Annotated[str, Choice(["height", "volume"])] = DEFAULT_ZONE_RULE
    rimMm: Annotated[float, WithinRange(1.0, 50.0)] = RIM_MM
    smoothingMm: Annotated[float, WithinRange(0.0, 20.0)] = IODINE_SMOOTHING_MM
    windowed: bool = False
    windowHu: Annotated[FloatRange, RangeBounds(-1024.0, 200.0), Default(FloatRange(*AERATED_HU))]
    exclusions: Annotated[str, Choice(["exclude", "mark"])] = DEFAULT_HANDLING
    streakReachMm: Annotated[float, WithinRange(0.0, 100.0)] = STREAK_REACH_MM
    heartRimMm: Annotated[float, WithinRange(0.0, 50.0)] = HEART_RIM_MM
    defectRule: Annotated[str, Choice(["relative", "absolute"])] = DEFAULT_RULE
    defectBelowHu: Annotated[float, WithinRange(0.0, 200.0)] = DEFECT_BELOW_HU
    defectRelativeBelow: Annotated[float, WithinRange(0.0, 1.0)] = LOW_SHARE
    defectMinimalMl: Annotated[float, WithinRange(0.01, 100.0)] = MINIMAL_VOLUME_ML
    trunk: vtkMRMLSegmentationNode
    fvc: Annotated[float, WithinRange(0.0, 250.0)] = 0.0
    fev1: Annotated[float, WithinRange(0.0, 250.0)] = 0.0
    tlc: Annotated[float, WithinRange(0.0, 250.0)] = 0.0
    dlcoC: Annotated[float, WithinRange(0.0, 250.0)] = 0.0
    kcoC: Annotated[float, WithinRange(0.0, 250.0)] = 0.0


class PerfusionIPvLogic(AnalysisLogic):
    """Parameters to the command ``ipv``, or ``dynamic`` where a first pass is chosen."""

    command = "ipv"
    findings = "defects"
    findings_tables = ("defects", "flow_findings")
    maps = first_pass.COLOURS
    deciding = (
        *(("ipv", Region.LUNGS), ("iodine_mean", Region.LUNGS)),
        *of_both_lungs("iodine_mean"),
        *(("defect_share", Region.LUNGS), ("qanadli", Region.LUNGS)),
        *(("pa_ao_ratio", Region.LUNGS), ("rv_lv_ratio", Region.LUNGS)),
        *first_pass.DECIDING,
    )
    corrections: ClassVar = {**AnalysisLogic.corrections, "defects": "--defects"}
    option_fields = (
        *("iodineUnit", "iodineSlope", "iodineOffset", "model", "selfCalibrate"),
        *("iodineHuPerMgMl", "lobes", "zones", "rimMm", "smoothingMm", "windowHu"),
        *("exclusions", "streakReachMm", "heartRimMm", "defectRule", "defectBelowHu"),
        *("defectRelativeBelow", "defectMinimalMl"),
    )
    optional_fields = (*("iodineRatio", "waterPathCm", "fvc", "fev1", "tlc", "dlcoC", "kcoC"),)

    def command_of(self, parameters):
        return first_pass.COMMAND if first_pass.chosen(parameters) else self.command

    def irrelevant(self, parameters):
        if first_pass.chosen(parameters):
            return frozenset(OF_IODINE)
        source = parameters.source
        left_out = {
            name for other, names in SOURCE_FIELDS.items() if other != source for name in names
        }
        in_hu = source == VENDOR_MAP and parameters.iodineUnit == "HU"
        if not in_hu and source != SUBTRACTION:
            left_out.add("kv")
        if source == VENDOR_MAP and not in_hu:
            left_out.add("waterPathCm")
        if parameters.selfCalibrate:
            left_out.add("iodineRatio")
        if not parameters.windowed:
            left_out.add("windowHu")
        relative = parameters.defectRule == "relative"
        left_out.add("defectBelowHu" if relative else "defectRelativeBelow")
        return frozenset((*left_out, *first_pass.INPUTS))

    def missing(self, parameters):
        if first_pass.chosen(parameters):
            return first_pass.missing(parameters, self.study(parameters))
        if parameters.source == VENDOR_MAP:
            if parameters.ct is None:
                return _("Choose the chest CT.")
            if parameters.iodine is None:
                return _("Choose the iodine map.")
            if parameters.iodine is parameters.ct:
                return _("CT and iodine map are the same volume; choose two.")
            if parameters.iodineUnit == NOT_STATED:
                return _("State the unit of the iodine map.")
            return ""
        if parameters.source == SUBTRACTION:
            if parameters.contrast is None or parameters.native is None:
                return _("Choose the CT with and the CT without contrast.")
            if parameters.contrast is parameters.native:
                return _("Both CT are the same volume; choose two.")
            if parameters.kv == NOT_STATED:
                return _("State the tube voltage.")
            return ""
        if parameters.low is None or parameters.high is None:
            return _("Choose the low- and the high-voltage image.")
        if parameters.low is parameters.high:
            return _("Both images are the same volume; choose two.")
        if NOT_STATED in (parameters.kvLow, parameters.kvHigh):
            return _("State both tube voltages.")
        return ""

    def image_options(self, parameters):
        if first_pass.chosen(parameters):
            return {"first_pass": (parameters.series, "HU")}
        if parameters.source == VENDOR_MAP:
            unit = parameters.iodineUnit
            return {"--ct": (parameters.ct, "HU"), "--iodine": (parameters.iodine, unit)}
        if parameters.source == SUBTRACTION:
            images = (parameters.contrast, parameters.native)
            return {"--contrast": (images[0], "HU"), "--native": (images[1], "HU")}
        return {"--low": (parameters.low, "HU"), "--high": (parameters.high, "HU")}

    def writing(self, parameters, node, unit, path):
        if first_pass.chosen(parameters):
            return first_pass.writing(self.study(parameters), path)
        return super().writing(parameters, node, unit, path)

    def options(self, parameters):
        if first_pass.chosen(parameters):
            return self.option_words(parameters, first_pass.OPTIONS)
        words = self.option_words(parameters)
        if parameters.source == IMAGE_PAIR:
            return [*words, "--kv", parameters.kvLow, parameters.kvHigh]
        if parameters.kv != NOT_STATED and "kv" not in self.irrelevant(parameters):
            return [*words, "--kv", parameters.kv]
        return words

    def extra_words(self, parameters, folder):
        study = self.study(parameters)
        if first_pass.chosen(parameters):
            return first_pass.extra_words(study)
        words = signs.request_words(study, folder)
        if parameters.trunk is None:
            trunk = (blood_points.TRUNK,)
            words += blood_points.request_words(study, folder, "--trunk", trunk)
        return words

    def display_words(self, parameters):
        return ["--enhancement"] if first_pass.chosen(parameters) else []

    def lung_options(self, parameters):
        """Lungs of other programs: those of the native CT, too."""
        if first_pass.chosen(parameters):
            return first_pass.lung_options(parameters)
        options = super().lung_options(parameters)
        if parameters.source == SUBTRACTION:
            options["--native-lung-mask"] = (parameters.nativeLungMask, parameters.native)
        return options

    def segmentation_options(self, parameters):
        unused = parameters.trunk is None or first_pass.chosen(parameters)
        return {} if unused else {"--trunk": parameters.trunk}

    def scans(self, parameters):
        if first_pass.chosen(parameters):
            return []
        lungs = {"native": parameters.nativeLungMask}
        return [
            (getattr(parameters, name), lungs.get(name, parameters.lungMask))
            for name in SCANS[parameters.source]
        ]

    def reference(self, parameters):
        if first_pass.chosen(parameters):
            return parameters.series
        source = {VENDOR_MAP: "ct", IMAGE_PAIR: "low", SUBTRACTION: "contrast"}[parameters.source]
        return getattr(parameters, source)

    def colours(self, parameters, name):
        """Colours of the letter, in mg/mL through the reference sensitivity."""
        if name != "iodine":
            return super().colours(parameters, name)
        low, high = IODINE_PERFUSION.range
        scale = parameters.iodineHuPerMgMl
        return IODINE_PERFUSION.stretched(low / scale, high / scale, "mg/mL")


class PerfusionIPvWidget(ModuleWidget):
    UI = "UI/PerfusionIPv.ui"
    PARAMETERS = PerfusionIPvParameters
    LOGIC = PerfusionIPvLogic

    def onSetup(self):
        self.signs = signs.SignsPanel(self.ui, lambda: self.onMarked(_("CT signs")))
        self.blood = PointsPanel(
            {blood_points.MARKS[blood_points.TRUNK]: self.ui.trunkPointButton},
            self.ui.trunkClearButton,
            lambda: self.onMarked(_("Point in the pulmonary trunk")),
        )
        vessels = first_pass.MARKS.items()
        self.inputPoints = PointsPanel(
            {mark: getattr(self.ui, f"{name}PointButton") for name, mark in vessels},
            self.ui.inputPointsClearButton,
            lambda: self.onMarked(_("Points in the inputs")),
        )
        self.series = first_pass.SeriesPanel(self.ui, self.onSeriesMarked)
        self.curves = curves.CurvesPanel(self.ui)

    def onEnter(self):
        iodine_choice.choose(self.parameters)
        first_pass.choose(self.parameters)

    def ownSections(self):
        return (self.signs, self.blood, self.inputPoints, self.series, self.curves)

    def refreshResults(self):
        super().refreshResults()
        self.series.show()
        self.curves.refill()

    def onSeriesMarked(self, what):
        self.onMarked(what)
        self.onParametersChanged()

    def inputWords(self):
        """Say what a reader should check of the inputs; empty for nothing."""
        if first_pass.chosen(self.parameters):
            return first_pass.timing_words(self.study)
        if self.parameters.source == VENDOR_MAP:
            return ""
        return _("DICOM headers seldom mention tin filters: check the voltages.")

    def takeVoltages(self):
        """Take tube voltages from DICOM as long as none was stated."""
        parameters = self.parameters
        for image, field in (("low", "kvLow"), ("high", "kvHigh"), ("contrast", "kv")):
            if getattr(parameters, field) == NOT_STATED:
                stated = iodine_choice.stated_voltage(getattr(parameters, image))
                if stated:
                    setattr(parameters, field, stated)

    def onParametersChanged(self):
        parameters, ui = self.parameters, self.ui
        first = first_pass.chosen(parameters)
        self.showRelevant([*OF_IODINE, *first_pass.INPUTS])
        for section in ("analysis", "signs", "function"):
            getattr(ui, f"{section}CollapsibleButton").visible = not first
        ui.firstPassCollapsibleButton.visible = ui.curvesCollapsibleButton.visible = first
        ui.trunkPointButton.visible = ui.trunkClearButton.visible = not first
        ui.trunkPointButton.enabled = parameters.trunk is None
        ui.inputsLabel.text = self.inputWords()
        ui.inputsLabel.visible = bool(ui.inputsLabel.text)
        self.signs.show()
        self.takeVoltages()


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
        mean_hu = self.value(panel, "iodine_mean")
        assert 30.0 < mean_hu < 46.0, mean_hu  # 1.7 mg/mL at 25 HU per mg/mL, less the defects
        table = panel.study.node("table.defects")
        assert table.GetNumberOfRows() >= 3  # four wedges, a segment and more were painted

    def chooseSeries(self, panel, volumes):
        panel.parameters.analysis = first_pass.CHOICE
        panel.parameters.series = volumes["First pass"]

    def test_first_pass(self):
        panel = self.computed("LungPerfusionFirstPass", self.chooseSeries)
        blood = self.value(panel, "dynamic_blood_volume")
        assert 7.0 < blood < 12.0, blood  # 7 to 11 mL/100 mL in the lobes, less the deficits
        assert panel.study.node("chart.curves") is not None

"""Slicer module: blood volume of the lung's vessels by their cross-section."""

from typing import Annotated, ClassVar

from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import Choice, WithinRange, parameterNodeWrapper
from slicer.ScriptedLoadableModule import ScriptedLoadableModule

from lungperfusion.segmentation.zones import DEFAULT_ZONE_RULE, RIM_MM
from lungperfusion.terms import Region
from lungperfusion.vessels.oxygen import BODY_TEMPERATURE_C, SEA_LEVEL_MMHG
from lungperfusion_gui import about, blood_points, ct_choice
from lungperfusion_gui.logic import AnalysisLogic
from lungperfusion_gui.marks import PointsPanel
from lungperfusion_gui.module_widget import ModuleWidget
from lungperfusion_gui.parameters import ReviewParameters
from lungperfusion_gui.remarks import of_both_lungs
from lungperfusion_gui.self_test import AnalysisTest


class VesselBV(ScriptedLoadableModule):
    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("Lung Vessel Blood Volume")
        about.describe(
            self.parent,
            _(
                "Blood volume of the lung's vessels by their cross-section (BV5, BV5-10, BV10) per "
                "lung, lobe and zone, from thin-slice chest CT."
            ),
        )


@parameterNodeWrapper
class VesselBVParameters(ReviewParameters):
    """Inputs and options; names are those of the command line, 0 stands for "not given"."""

    ct: vtkMRMLScalarVolumeNode
    arteriesAndVeins: vtkMRMLSegmentationNode
    bloodMask: vtkMRMLSegmentationNode
    lungMask: vtkMRMLSegmentationNode
    vesselMask: vtkMRMLSegmentationNode
    lobes: Annotated[str, Choice(["none", "auto"])] = "none"
    zones: Annotated[str, Choice(["height", "volume"])] = DEFAULT_ZONE_RULE
    rimMm: Annotated[float, WithinRange(1.0, 50.0)] = RIM_MM
    compareMethods: bool = False
    bsaM2: Annotated[float, WithinRange(0.0, 4.0)] = 0.0
    pao2Mmhg: Annotated[float, WithinRange(0.0, 800.0)] = 0.0
    paco2Mmhg: Annotated[float, WithinRange(0.0, 200.0)] = 0.0
    fio2: Annotated[float, WithinRange(0.0, 1.0)] = 0.0
    oxygenLMin: Annotated[float, WithinRange(0.0, 100.0)] = 0.0
    temperatureC: Annotated[float, WithinRange(20.0, 45.0)] = BODY_TEMPERATURE_C
    pressureMmhg: Annotated[float, WithinRange(300.0, 850.0)] = SEA_LEVEL_MMHG
    bloodHu: Annotated[float, WithinRange(0.0, 1000.0)] = 0.0
    ageYears: Annotated[float, WithinRange(0.0, 120.0)] = 0.0


class VesselBVLogic(AnalysisLogic):
    """Parameters to the command ``vesselbv``."""

    command = "vesselbv"
    findings = "vessels"
    deciding = (
        *(("tbv", Region.LUNGS), ("bv5", Region.LUNGS), ("bv10", Region.LUNGS)),
        *(("bv5_share", Region.LUNGS), ("bv5_per_volume", Region.LUNGS)),
        *of_both_lungs("bv5"),
    )
    corrections: ClassVar = {**AnalysisLogic.corrections, "vessels": "--vessel-mask"}
    option_fields = (
        *("lobes", "zones", "rimMm", "compareMethods", "temperatureC", "pressureMmhg"),
    )
    optional_fields = (
        *("bloodHu", "bsaM2", "pao2Mmhg", "paco2Mmhg", "fio2", "oxygenLMin", "ageYears"),
    )

    def missing(self, parameters):
        return "" if parameters.ct is not None else _("Choose the chest CT.")

    def image_options(self, parameters):
        return {"ct": (parameters.ct, "HU")}

    def options(self, parameters):
        return self.option_words(parameters)

    def segmentation_options(self, parameters):
        nodes = {
            "--arteries-veins": parameters.arteriesAndVeins,
            "--blood-mask": parameters.bloodMask,
        }
        return {option: node for option, node in nodes.items() if node is not None}

    def extra_words(self, parameters, folder):
        if parameters.bloodMask is not None or parameters.bloodHu:
            return []
        vessels = (blood_points.AORTA, blood_points.TRUNK)
        study = self.study(parameters)
        return blood_points.request_words(study, folder, "--blood-mask", vessels)

    def reference(self, parameters):
        return parameters.ct


class VesselBVWidget(ModuleWidget):
    UI = "UI/VesselBV.ui"
    PARAMETERS = VesselBVParameters
    LOGIC = VesselBVLogic

    def onSetup(self):
        self.blood = PointsPanel(
            {
                blood_points.MARKS[blood_points.AORTA]: self.ui.aortaPointButton,
                blood_points.MARKS[blood_points.TRUNK]: self.ui.bloodTrunkPointButton,
            },
            self.ui.bloodClearButton,
            lambda: self.onMarked(_("Points in great vessels")),
        )

    def onEnter(self):
        ct_choice.choose(self.parameters)

    def ownSections(self):
        return (self.blood,)

    def onParametersChanged(self):
        given = self.parameters.bloodMask is not None or self.parameters.bloodHu > 0
        for button in ("aortaPointButton", "bloodTrunkPointButton"):
            getattr(self.ui, button).enabled = not given


class VesselBVTest(AnalysisTest):
    """Runs in the application: a phantom through the panel, numbers checked."""

    module = "VesselBV"
    sample = "LungPerfusionChest"

    def choose(self, panel, volumes):
        panel.parameters.ct = volumes["CT"]

    def test_blood_volume(self):
        panel = self.computed()
        assert self.value(panel, "tbv") > 10.0
        share = self.value(panel, "bv5") / self.value(panel, "tbv")
        assert 0.0 < share < 1.0

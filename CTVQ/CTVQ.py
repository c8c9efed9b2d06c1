"""Slicer module: ventilation, perfusion and V/Q from two breaths; gas transfer on xenon MRI."""

import csv
import json
from typing import Annotated, ClassVar, get_args

from slicer import (
    vtkMRMLMarkupsFiducialNode,
    vtkMRMLScalarVolumeNode,
    vtkMRMLSegmentationNode,
    vtkMRMLTableNode,
)
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import Choice, WithinRange, parameterNodeWrapper
from slicer.ScriptedLoadableModule import ScriptedLoadableModule

from lungperfusion import mrml
from lungperfusion.results.colours import VENTILATION, VQ_RATIO
from lungperfusion.segmentation.zones import DEFAULT_ZONE_RULE, RIM_MM
from lungperfusion.terms import Region
from lungperfusion.terms.vq import LOW_SHARE
from lungperfusion.terms.xenon import REFERENCE_SETS
from lungperfusion.vq.measured import MapKind
from lungperfusion.vq.perfusion import WEIGHTS
from lungperfusion.vq.ventilation import DEFAULT_METHOD
from lungperfusion_gui import about, breathing, gas_transfer
from lungperfusion_gui.logic import AnalysisLogic
from lungperfusion_gui.module_widget import ModuleWidget
from lungperfusion_gui.parameters import ReviewParameters
from lungperfusion_gui.remarks import of_both_lungs
from lungperfusion_gui.self_test import AnalysisTest
from lungperfusion_gui.steering import SteeringPoints, points_words
from lungperfusion_gui.xenon_folder import PipelineFolder

CT_SURROGATE, MEASURED_MAP = "CT (surrogate)", "measured map"


class CTVQ(ScriptedLoadableModule):
    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("Lung Ventilation/Perfusion (CT V/Q)")
        about.describe(
            self.parent,
            _(
                "Ventilation, perfusion and their match per lung, lobe and zone from an "
                "inspiratory and an expiratory chest CT without contrast; or gas transfer from a "
                "hyperpolarised 129Xe MRI joined with the lobes of a CT."
            ),
        )


BREATHS = "ventilation and perfusion"
"""Choice of analysis that runs the command ``ctvq``."""

OF_BREATHS = (
    *("ventilation", "perfusion", "lowVentilation", "lowPerfusion", "slideLobes"),
    *("expirationLandmarks", "inspirationLandmarks", "perfusionSource", "ratings"),
    *("reference", "referenceKind", "referenceCt"),
    *("perfusionMap", "perfusionKind", "perfusionCt"),
)
"""Inputs and options that play no part in gas transfer."""


@parameterNodeWrapper
class CTVQParameters(ReviewParameters):
    """Inputs and options; names are those of the command line."""

    analysis: Annotated[str, Choice([BREATHS, gas_transfer.CHOICE])] = BREATHS
    inspiration: vtkMRMLScalarVolumeNode
    expiration: vtkMRMLScalarVolumeNode
    lungMask: vtkMRMLSegmentationNode
    vesselMask: vtkMRMLSegmentationNode
    inspirationLungMask: vtkMRMLSegmentationNode
    lobes: Annotated[str, Choice(["none", "auto"])] = "none"
    zones: Annotated[str, Choice(["height", "volume"])] = DEFAULT_ZONE_RULE
    rimMm: Annotated[float, WithinRange(1.0, 50.0)] = RIM_MM
    ventilation: Annotated[str, Choice(["jacobian", "density", "hybrid"])] = DEFAULT_METHOD
    inspirationLobes: Annotated[str, Choice(["auto", "none"])] = "auto"
    slideLobes: bool = False
    expirationLandmarks: vtkMRMLMarkupsFiducialNode
    inspirationLandmarks: vtkMRMLMarkupsFiducialNode
    reference: vtkMRMLScalarVolumeNode
    referenceKind: Annotated[str, Choice(["perfusion", "ventilation"])] = "perfusion"
    referenceCt: vtkMRMLScalarVolumeNode
    ratings: vtkMRMLTableNode
    perfusion: Annotated[str, Choice(["combined", *WEIGHTS])] = "combined"
    perfusionSource: Annotated[str, Choice([CT_SURROGATE, MEASURED_MAP])] = CT_SURROGATE
    perfusionMap: vtkMRMLScalarVolumeNode
    perfusionKind: Annotated[str, Choice(list(get_args(MapKind)))] = "iodine"
    perfusionCt: vtkMRMLScalarVolumeNode
    lowVentilation: Annotated[float, WithinRange(0.0, 1.0)] = LOW_SHARE
    lowPerfusion: Annotated[float, WithinRange(0.0, 1.0)] = LOW_SHARE
    xenonRbcGas: vtkMRMLScalarVolumeNode
    xenonMembraneGas: vtkMRMLScalarVolumeNode
    xenonVentilation: vtkMRMLScalarVolumeNode
    xenonMask: vtkMRMLSegmentationNode
    xenonPerfusion: vtkMRMLScalarVolumeNode
    xenonPoints: vtkMRMLMarkupsFiducialNode
    ctPoints: vtkMRMLMarkupsFiducialNode
    clinical: vtkMRMLTableNode
    xenonStatistics: vtkMRMLTableNode
    biasCorrected: bool = True
    referenceSet: Annotated[str, Choice(list(REFERENCE_SETS))] = "218"


class CTVQLogic(AnalysisLogic):
    """Parameters to the command ``ctvq``, or ``xenon`` where gas transfer is chosen."""

    command = "ctvq"
    corrections: ClassVar = {**AnalysisLogic.corrections, gas_transfer.LUNGS: "--mask"}
    findings = "vq_classes"
    findings_tables = ("perfusion_defect_candidates",)
    deciding = (
        *of_both_lungs("ventilation_share"),
        *of_both_lungs("perfusion_share"),
        *(("shunt_share", Region.LUNGS), ("dead_space_share", Region.LUNGS)),
        *(("vcv", Region.LUNGS), ("qcv", Region.LUNGS)),
        *((measure, Region.LUNGS) for measure in gas_transfer.DECIDING),
    )
    transforms = (
        "inspiration_to_expiration_transform",
        "inspiration_to_expiration_volume_transform",
    )
    maps: ClassVar = {
        "ventilation": VENTILATION,
        "perfusion": VENTILATION.stretched(0.0, 2.0, "1"),
        "vq_ratio": VQ_RATIO,
        "measured_perfusion": VENTILATION.stretched(0.0, 2.0, "1"),
        "measured_vq_ratio": VQ_RATIO,
        "specific_ventilation": VENTILATION,
        "jacobian": VENTILATION.stretched(1.0, 3.0, "mL/mL"),
        **gas_transfer.COLOURS,
    }
    option_fields = (
        *("lobes", "inspirationLobes", "zones", "rimMm", "slideLobes", "ventilation"),
        *("perfusion", "perfusionKind", "lowVentilation", "lowPerfusion", "referenceKind"),
    )

    def command_of(self, parameters):
        return gas_transfer.COMMAND if gas_transfer.chosen(parameters) else self.command

    def irrelevant(self, parameters):
        if gas_transfer.chosen(parameters):
            return frozenset(OF_BREATHS)
        names = () if parameters.reference is not None else ("referenceKind", "referenceCt")
        if parameters.perfusionSource == CT_SURROGATE:
            names = (*names, "perfusionMap", "perfusionKind", "perfusionCt")
        return frozenset((*names, *gas_transfer.INPUTS))

    def missing(self, parameters):
        if gas_transfer.chosen(parameters):
            return gas_transfer.missing(parameters)
        if parameters.inspiration is None:
            return _("Choose the CT at inspiration.")
        if parameters.expiration is None:
            return _("Choose the CT at expiration.")
        if parameters.inspiration is parameters.expiration:
            return _("Both scans are the same volume; choose two.")
        if parameters.perfusionSource == MEASURED_MAP and parameters.perfusionMap is None:
            return _("Choose the map of measured perfusion.")
        marks = self.landmarks(parameters)
        if marks and len({len(points) for points in marks}) > 1:
            return _("Place as many landmarks in one scan as in the other.")
        return ""

    def image_options(self, parameters):
        if gas_transfer.chosen(parameters):
            return gas_transfer.image_options(parameters)
        images = {
            "--inspiration": (parameters.inspiration, "HU"),
            "--expiration": (parameters.expiration, "HU"),
        }
        if parameters.reference is not None:
            images["--reference"] = (parameters.reference, "1")
            if parameters.referenceCt is not None:
                images["--reference-ct"] = (parameters.referenceCt, "HU")
        if parameters.perfusionSource == MEASURED_MAP:
            images["--perfusion-map"] = (parameters.perfusionMap, "1")
            if parameters.perfusionCt is not None:
                images["--perfusion-ct"] = (parameters.perfusionCt, "HU")
        return images

    def further_nodes(self, parameters):
        if gas_transfer.chosen(parameters):
            return tuple(gas_transfer.tables(parameters).values())
        return (parameters.ratings,)

    def steering(self, parameters):
        """Points count as settings, not as inputs: placing one leaves corrections."""
        if gas_transfer.chosen(parameters):
            return points_words(gas_transfer.marks(parameters))
        words = ["--slide-lobes"] if parameters.slideLobes else []
        return " ".join([*words, points_words(self.landmarks(parameters))]).rstrip()

    @staticmethod
    def landmarks(parameters):
        """Corresponding points in RAS mm, expiratory and inspiratory; none without both lists."""
        nodes = (parameters.expirationLandmarks, parameters.inspirationLandmarks)
        return [] if None in nodes else [mrml.points_ras_mm(node) for node in nodes]

    def extra_words(self, parameters, folder):
        if gas_transfer.chosen(parameters):
            return gas_transfer.extra_words(parameters, folder)
        words = []
        marks = self.landmarks(parameters)
        if marks and len(marks[0]):
            paths = [folder / f"{breath}.mrk.json" for breath in ("expiration", "inspiration")]
            for path, points in zip(paths, marks, strict=True):
                controls = [{"position": list(point)} for point in points]
                markup = {"type": "Fiducial", "coordinateSystem": "RAS", "controlPoints": controls}
                path.write_text(json.dumps({"markups": [markup]}), encoding="utf-8")
            words += ["--landmarks", *map(str, paths)]
        if parameters.ratings is not None:
            path = folder / "ratings.csv"
            columns, rows = mrml.table_rows(parameters.ratings)
            with path.open("w", encoding="utf-8", newline="") as stream:
                csv.writer(stream).writerows([columns, *rows])
            words += ["--ratings", str(path)]
        return words

    def options(self, parameters):
        if gas_transfer.chosen(parameters):
            return gas_transfer.options(parameters)
        return self.option_words(parameters)

    def segmentation_options(self, parameters):
        """Lungs on the MRI."""
        if not gas_transfer.chosen(parameters) or parameters.xenonMask is None:
            return {}
        return {"--mask": parameters.xenonMask}

    def lung_options(self, parameters):
        """Lungs of other programs: those of the other breath, too."""
        if gas_transfer.chosen(parameters):
            return gas_transfer.lung_options(parameters)
        return {
            "--lung-mask": (parameters.lungMask, parameters.expiration),
            "--inspiration-lung-mask": (parameters.inspirationLungMask, parameters.inspiration),
        }

    def scans(self, parameters):
        return [
            (parameters.inspiration, parameters.inspirationLungMask),
            (parameters.expiration, parameters.lungMask),
        ]

    def reference(self, parameters):
        """Results lie on the expiratory grid, those of gas transfer on that of the MRI."""
        if gas_transfer.chosen(parameters):
            return gas_transfer.reference(parameters)
        return parameters.expiration


class CTVQWidget(ModuleWidget):
    UI = "UI/CTVQ.ui"
    PARAMETERS = CTVQParameters
    LOGIC = CTVQLogic

    def onSetup(self):
        self.ui.swapButton.connect("clicked(bool)", self.onSwap)
        self.steering = SteeringPoints(self.onPointDrawn)
        self.pipeline = PipelineFolder(
            self.ui, lambda nodes, facts: gas_transfer.take(self.parameters, nodes, facts)
        )

    def ownSections(self):
        return (self.steering, self.pipeline)

    def onPointDrawn(self):
        self.onMarked(_("Points that steer the registration"))

    def onEnter(self):
        breathing.choose(self.parameters)

    def onSwap(self, checked=False):
        parameters = self.parameters
        parameters.inspiration, parameters.expiration = (
            parameters.expiration,
            parameters.inspiration,
        )

    def onParametersChanged(self):
        parameters, gas = self.parameters, gas_transfer.chosen(self.parameters)
        self.steering.watch(
            (parameters.xenonPoints, parameters.ctPoints)
            if gas
            else (parameters.expirationLandmarks, parameters.inspirationLandmarks)
        )
        words = "" if gas else breathing.warning(parameters, self.study)
        self.ui.inputsLabel.text = words
        self.ui.inputsLabel.styleSheet = "color: #b8540b; font-weight: bold"
        self.ui.inputsLabel.visible = bool(words)
        self.showRelevant([*OF_BREATHS, *gas_transfer.INPUTS])
        self.ui.xenonCollapsibleButton.visible = gas


class CTVQTest(AnalysisTest):
    """Runs in the application: a breathing phantom through the panel, numbers checked."""

    module = "CTVQ"
    sample = "LungPerfusionBreathing"

    def choose(self, panel, volumes):
        panel.parameters.inspiration = volumes["Inspiration"]
        panel.parameters.expiration = volumes["Expiration"]
        panel.parameters.inspirationLungMask = volumes["Inspiratory lungs"]
        panel.parameters.lungMask = volumes["Expiratory lungs"]

    def test_ventilation(self):
        panel = self.computed()
        assert self.value(panel, "ventilation_mean") > 0.05

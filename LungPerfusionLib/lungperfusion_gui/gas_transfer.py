"""Gas transfer in the panel of CTVQ: its inputs, and the words of the command ``xenon``."""

import csv
import json

import slicer
from slicer.i18n import tr as _

from lungperfusion import mrml
from lungperfusion.results.colours import VENTILATION
from lungperfusion_gui.logic import removed_lobe_words

COMMAND = "xenon"
CHOICE = "gas transfer"
"""Choice of analysis that runs it."""

LUNGS = "xe_lungs"
"""Lungs on the MRI, which a reader may correct."""

MAPS = {
    "--rbc-gas": "xenonRbcGas",
    "--membrane-gas": "xenonMembraneGas",
    "--ventilation": "xenonVentilation",
}
"""Parameter of each map by its option."""

INPUTS = (
    *(*MAPS.values(), "xenonMask", "xenonPerfusion"),
    *("xenonPoints", "ctPoints", "clinical", "xenonStatistics", "referenceSet"),
    "biasCorrected",
)
"""Parameters that play a part in gas transfer alone."""

DECIDING = ("xe_rbc_m", "xe_rbc_impaired_share", "xe_transfer_low_ct_normal_share")
"""Measures of both lungs that a reader looks at first."""

COLOURS = {
    "xe_rbc_gas": VENTILATION.stretched(0.0, 0.010, "1"),
    "xe_membrane_gas": VENTILATION.stretched(0.0, 0.020, "1"),
    "xe_ventilation": VENTILATION.stretched(0.0, 2.0, "1"),
}
"""Colours of the maps."""


def chosen(parameters):
    """Whether the panel is asked for gas transfer."""
    return parameters.analysis == CHOICE


def take(parameters, nodes, facts):
    """Choose the nodes of a folder of the pipeline; what it lacks stays without a choice.

    Parameters
    ----------
    parameters
        Parameter node wrapper.
    nodes, facts
        As of `lungperfusion_gui.xenon_folder.show`.

    """
    fields = {option.strip("-").replace("-", "_"): name for option, name in MAPS.items()}
    fields |= {"lungs": "xenonMask", "statistics": "xenonStatistics"}
    with slicer.util.NodeModify(parameters.parameterNode):
        for key, field in fields.items():
            setattr(parameters, field, nodes.get(key))
        parameters.biasCorrected = facts["bias_corrected"]
        if facts["reference_set"] is not None:
            parameters.referenceSet = facts["reference_set"]


def images(parameters):
    """Map nodes by option, those that are chosen."""
    nodes = {option: getattr(parameters, name) for option, name in MAPS.items()}
    return {option: node for option, node in nodes.items() if node is not None}


def reference(parameters):
    """Return a map of the MRI: results have its grid."""
    return next(iter(images(parameters).values()), None)


def missing(parameters):
    """Say what keeps the analysis from running; empty when nothing does."""
    if parameters.inspiration is None:
        return _("Choose a CT, as inspiration.")
    if parameters.expiration is parameters.inspiration:
        return _("Both CT scans are the same volume; choose two, or one.")
    if not images(parameters):
        return _("Choose a map of the xenon MRI.")
    if parameters.xenonMask is None:
        return _("Choose the segmentation of the lungs on the xenon MRI.")
    points = [len(place) for place in marks(parameters)]
    if len(set(points)) > 1:
        return _("Place as many points on the MRI as on the CT.")
    return ""


def image_options(parameters):
    """Volume node and unit by option."""
    nodes = {"--ct": (parameters.inspiration, "HU")}
    if parameters.expiration is not None:
        nodes["--other-ct"] = (parameters.expiration, "HU")
    nodes |= {option: (node, "1") for option, node in images(parameters).items()}
    if parameters.xenonPerfusion is not None:
        nodes["--perfusion"] = (parameters.xenonPerfusion, "1")
    return nodes


def lung_options(parameters):
    """Lungs of other programs by option, with the CT whose grid they get."""
    nodes = {"--lung-mask": (parameters.inspirationLungMask, parameters.inspiration)}
    if parameters.expiration is not None:
        nodes["--other-lung-mask"] = (parameters.lungMask, parameters.expiration)
    return nodes


def options(parameters):
    """Return the settings as words."""
    lobes = ["--lobes", parameters.inspirationLobes]
    if parameters.expiration is not None:
        lobes += ["--other-lobes", parameters.lobes]
    zones = ["--zones", parameters.zones, "--rim-mm", f"{parameters.rimMm:.12g}"]
    reference_set = ["--reference-set", parameters.referenceSet]
    bias = [] if parameters.biasCorrected else ["--no-bias-correction"]
    return [*lobes, *zones, *reference_set, *bias, *removed_lobe_words(parameters)]


def tables(parameters):
    """Table nodes by option, those that are chosen."""
    nodes = {"--clinical": parameters.clinical, "--stats": parameters.xenonStatistics}
    return {option: node for option, node in nodes.items() if node is not None}


def marks(parameters):
    """Corresponding points in RAS mm, on MRI and on CT; none without both lists."""
    nodes = (parameters.xenonPoints, parameters.ctPoints)
    return [] if None in nodes else [mrml.points_ras_mm(node) for node in nodes]


def extra_words(parameters, folder):
    """Write points and tables into a folder and return their words."""
    words, points = [], marks(parameters)
    if points and len(points[0]):
        words.append("--points")
        for name, places in zip(("mri", "ct"), points, strict=True):
            path = folder / f"{name}.mrk.json"
            controls = [{"position": list(place)} for place in places]
            markup = {"type": "Fiducial", "coordinateSystem": "RAS", "controlPoints": controls}
            path.write_text(json.dumps({"markups": [markup]}), encoding="utf-8")
            words.append(str(path))
    for option, node in tables(parameters).items():
        path = folder / f"{option.strip('-')}.csv"
        columns, rows = mrml.table_rows(node)
        with path.open("w", encoding="utf-8", newline="") as stream:
            csv.writer(stream).writerows([columns, *rows])
        words += [option, str(path)]
    return words

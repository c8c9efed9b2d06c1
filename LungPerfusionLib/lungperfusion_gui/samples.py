"""Sample data: phantoms of the package, computed here; nothing is downloaded."""

from pathlib import Path

import slicer
from slicer.i18n import tr as _

from lungperfusion import mrml
from lungperfusion.phantoms import KINDS
from lungperfusion.phantoms.breathing import make_breathing_phantom
from lungperfusion.phantoms.kinds import DUAL_ENERGY_KINDS
from lungperfusion_gui import overlay

CATEGORY = "LungPerfusion"
SPACING_MM = (2.0, 2.0, 2.0)
BREATHING_SPACING_MM = 2.5

SAMPLES = {
    "LungPerfusionChest": "Chest phantom",
    "LungPerfusionDualEnergy": "Chest phantom with perfusion defects and iodine map",
    "LungPerfusionBreathing": "Chest phantom, inspiration and expiration",
}
"""Names of the samples with what they are."""


def make(name):
    """Make a sample, put it into the scene and the views; return its nodes."""
    nodes = _make(name)
    nodes[0].CreateDefaultDisplayNodes()
    overlay.style_ct(nodes[0], "Lung")
    slicer.util.setSliceViewerLayers(background=nodes[0], fit=True)
    return nodes


def _make(name):
    scene = slicer.mrmlScene
    with slicer.util.WaitCursor():
        if name == "LungPerfusionBreathing":
            phantom = make_breathing_phantom(spacing_mm=BREATHING_SPACING_MM)
            return [
                mrml.show_volume(scene, phantom.inspiration, "Inspiration"),
                mrml.show_volume(scene, phantom.expiration, "Expiration"),
                mrml.show_labelmap(scene, phantom.inspiration_lungs, "Inspiratory lungs"),
                mrml.show_labelmap(scene, phantom.expiration_lungs, "Expiratory lungs"),
            ]
        if name == "LungPerfusionDualEnergy":
            phantom = DUAL_ENERGY_KINDS["dect_defects"](SPACING_MM)
            return [
                mrml.show_volume(scene, phantom.mixed, "CT"),
                mrml.show_volume(scene, phantom.iodine, "Iodine map"),
            ]
        return [mrml.show_volume(scene, KINDS["healthy"](SPACING_MM).ct, "CT")]


def register(folder):
    """Offer the samples in Slicer's Sample Data module.

    Parameters
    ----------
    folder
        Where the thumbnails are, ``<name>.png``.

    """
    import SampleData

    logic = SampleData.SampleDataLogic
    logic.registerCustomSampleDataCategory(CATEGORY, _("Lung perfusion (phantoms)"))
    for name, words in SAMPLES.items():
        logic.registerCustomSampleDataSource(
            category=CATEGORY,
            sampleName=words,
            uris=f"local:{name}",
            nodeNames=words,
            customDownloader=lambda source, name=name: make(name),
            thumbnailFileName=str(Path(folder) / f"{name}.png"),
        )

"""Sample data: phantoms of the package, computed here; nothing is downloaded."""

import shutil
from pathlib import Path
from typing import ClassVar

import slicer
from slicer.i18n import tr as _

from lungperfusion import mrml
from lungperfusion.io import read_map, read_segmentation
from lungperfusion.io.time_series import read_frames
from lungperfusion.io.writing import written_unit
from lungperfusion_gui import overlay, sample_files
from lungperfusion_gui.job import Job

CATEGORY = "LungPerfusion"
SPACING_MM = (2.0, 2.0, 2.0)
BREATHING_SPACING_MM = 2.5
FIRST_PASS_SPACING_MM = 3.0

SAMPLES = {
    "LungPerfusionChest": "Chest phantom",
    "LungPerfusionDualEnergy": "Chest phantom with perfusion defects and iodine map",
    "LungPerfusionBreathing": "Chest phantom, inspiration and expiration",
    "LungPerfusionXenon": "Chest phantom with xenon MRI",
    "LungPerfusionFirstPass": "Chest phantom, first pass of contrast medium",
}
"""Names of the samples with what they are."""


class SampleMaker:
    """A sample in the making, in a process of its own; the application goes on meanwhile.

    Parameters
    ----------
    name
        One of `SAMPLES`.
    """

    running: ClassVar = []
    """Kept until they have ended: nobody else holds them."""

    def __init__(self, name):
        self.nodes = None
        """Nodes of the scene, the CT first; None until they are there or if there are none."""
        self._folder = Path(slicer.util.tempDirectory())
        self._dialog = slicer.util.createProgressDialog(
            labelText=SAMPLES[name], maximum=100, windowTitle=_("Sample data")
        )
        own = {
            "LungPerfusionBreathing": BREATHING_SPACING_MM,
            "LungPerfusionFirstPass": FIRST_PASS_SPACING_MM,
        }
        spacing = (own[name],) * 3 if name in own else SPACING_MM
        words = [sample_files.WORD, name, ",".join(map(str, spacing)), str(self._folder)]
        self.job = Job(words, self._show_progress, self._end)
        self._dialog.connect("canceled()", self.job.cancel)
        SampleMaker.running.append(self)

    def _show_progress(self, fraction, message):
        self._dialog.value = round(100 * fraction)
        slicer.util.showStatusMessage(message, 2000)

    def _end(self, error):
        SampleMaker.running.remove(self)
        self.job = None
        self._dialog.close()
        try:
            if error:
                slicer.util.errorDisplay(error)
            elif error == "":
                self.nodes = show(self._folder)
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)


def show(folder):
    """Put the files of a sample into the scene and the views; return the nodes."""
    scene = slicer.mrmlScene
    segmentations = sorted(folder.glob("*.seg.nrrd"))
    series = sorted(folder.glob("*.seq.nrrd"))
    volumes = sorted(set(folder.glob("*.nrrd")) - {*segmentations, *series}, key=_place)
    with slicer.util.WaitCursor(), slicer.util.RenderBlocker():
        nodes = [
            mrml.show_volume(
                scene, read_map(path, unit=written_unit(path) or "HU").volume, path.stem
            )
            for path in volumes
        ]
        for path in segmentations:
            name = path.name.removesuffix(".seg.nrrd")
            nodes.append(mrml.show_labelmap(scene, read_segmentation(path), name))
        for path in series:
            name = path.name.removesuffix(".seq.nrrd")
            nodes.append(mrml.show_frames(scene, read_frames(path), name))
        shown = mrml.browse(nodes[0]) if series else nodes[0]
        shown.CreateDefaultDisplayNodes()
        overlay.style_ct(shown, "Lung")
        slicer.util.setSliceViewerLayers(background=shown, fit=True)
    return nodes


def _place(path):
    """CT and the deep breath first."""
    return (path.stem not in ("CT", "Inspiration"), path.stem)


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
            customDownloader=lambda source, name=name: SampleMaker(name) and None,
            thumbnailFileName=str(Path(folder) / f"{name}.png"),
        )

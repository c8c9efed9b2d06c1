"""Base of the modules' self-tests in the application: a phantom through the panel."""

import time

import slicer
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleTest

from lungperfusion.terms import Region
from lungperfusion_gui import samples

LONGEST_S = 900.0


class AnalysisTest(ScriptedLoadableModuleTest):
    """Subclasses name their module and sample, choose the inputs and check numbers."""

    module = ""
    sample = ""

    def setUp(self):
        slicer.mrmlScene.Clear(0)

    def runTest(self):
        for name in sorted(name for name in dir(self) if name.startswith("test_")):
            self.setUp()
            getattr(self, name)()

    def choose(self, panel, volumes):
        raise NotImplementedError

    def computed(self, sample="", choose=None):
        """Return the panel after Apply on a sample, the usual one if none is named."""
        name = sample or self.sample
        self.delayDisplay(f"Making the phantom {name}")
        sample = samples.SampleMaker(name)
        self.wait(sample)
        assert sample.nodes, "no sample"
        volumes = {node.GetName(): node for node in sample.nodes}
        panel = slicer.util.getModuleWidget(self.module)
        panel.enter()
        (choose or self.choose)(panel, volumes)
        assert panel.ui.applyButton.enabled, panel.ui.applyButton.toolTip
        self.delayDisplay("Computing")
        panel.ui.applyButton.click()
        self.wait(panel)
        assert panel.study.has_results, "no results"
        return panel

    def wait(self, computing):
        """Let the job of a panel or sample end; under --testing nobody turns the event loop."""
        end = time.monotonic() + LONGEST_S
        while computing.job is not None:
            slicer.app.processEvents()
            time.sleep(0.02)
            assert time.monotonic() < end, "the computation took too long"

    def value(self, panel, measure, region=Region.LUNGS):
        """Value of the shown results."""
        return next(
            row.value
            for row in panel.study.measurements
            if row.measure == measure and row.region == region
        )

"""Stands for any scripted module: some probes ask for this one, which the desktop ships.

It computes nothing, so the probe ``stats.segment`` stays among the accepted differences.
"""

from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleWidget,
)


class SegmentStatistics(ScriptedLoadableModule):
    """Module."""


class SegmentStatisticsWidget(ScriptedLoadableModuleWidget):
    """Empty panel with its logic."""

    def setup(self):
        """Make the logic, which `slicer.util.getModuleLogic` takes from the panel."""
        ScriptedLoadableModuleWidget.setup(self)
        self.logic = SegmentStatisticsLogic()


class SegmentStatisticsLogic(ScriptedLoadableModuleLogic):
    """Empty logic."""

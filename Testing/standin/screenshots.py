"""Pictures of the three modules for the documentation: panels and views after Apply on a phantom.

    python Testing/standin/screenshots.py [--out docs/images] [MODULE ...]

Drawn on the desktop stand-in: views by Slicer's own displayable managers, panels by Qt with plain
frames where the desktop draws its own widgets.  The same command gives the same pictures.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from slicer_standin import process_events, reset, testing
from slicer_standin.fixtures import Desktop

ROOT = Path(__file__).resolve().parents[2]
MODULES = ("PerfusionIPv", "FirstPass", "CTVQ", "VesselBV")
OF_FIRST_PASS = ("PerfusionIPv", "LungPerfusionFirstPass", "chooseSeries")
"""Module, sample and choice of inputs of the pictures of a first pass."""
PANEL_WIDTH = 470
VIEW_SIZE = 300
LONGEST_S = 900.0

SPACING_MM, BREATHING_SPACING_MM = (3.0, 3.0, 3.0), 4.0
"""Coarser than the samples of the module Sample Data, which take minutes."""

CHARTS = {
    "PerfusionIPv": "iodine_mean",
    "FirstPass": "dynamic_blood_volume",
    "CTVQ": "ventilation_mean",
    "VesselBV": "bv5",
}
OPEN_SECTIONS = ("inputs", "firstPass", "curves", "signs", "results", "display")
AFTER_APPLY = {
    "CTVQ": {"mapSelector": "map.vq_ratio"},
    "FirstPass": {"mapSelector": "map.pulmonary_flow"},
}
"""Choices of the section Display that show most of a module."""


def computed_panel(desktop, name):
    """Return the panel of a module after Apply on its sample."""
    first = name == "FirstPass"
    name = OF_FIRST_PASS[0] if first else name
    desktop.load(ROOT / name / f"{name}.py")
    panel = desktop.select(name)
    from lungperfusion_gui import samples

    samples.SPACING_MM, samples.BREATHING_SPACING_MM = SPACING_MM, BREATHING_SPACING_MM
    self_test = getattr(sys.modules[name], f"{name}Test")()
    sample = samples.SampleMaker(OF_FIRST_PASS[1] if first else self_test.sample)
    desktop.wait(lambda: sample.job is None, LONGEST_S)
    volumes = {node.GetName(): node for node in sample.nodes}
    choose = getattr(self_test, OF_FIRST_PASS[2] if first else "choose")
    choose(panel, volumes)
    panel.ui.applyButton.click()
    desktop.wait(lambda: panel.job is None, LONGEST_S)
    assert panel.study.record is not None, f"{name} gave no results"
    return panel


def arrange(panel, name):
    """Open what a reader looks at and close the rest."""
    ui = panel.ui
    for section in vars(ui):
        if section.endswith("CollapsibleButton"):
            shown = section.removesuffix("CollapsibleButton") in OPEN_SECTIONS
            getattr(ui, section).collapsed = not shown
    for selector, role in AFTER_APPLY.get(name, {}).items():
        widget = getattr(ui, selector)
        widget.currentIndex = widget.findData(role)
    ui.surfacesCheckBox.checked = True
    ui.layoutSelector.currentIndex = 1
    process_events()


def show_chart(panel, name):
    """Choose a measure and its chart."""
    ui, measures = panel.ui, [row.measure for row in panel.study.measurements]
    ui.tableSelector.currentIndex = ui.tableSelector.findData("table.measurements")
    ui.chartButton.click()
    ui.resultsTableView.selectRow(measures.index(CHARTS[name]))
    process_events()


def save_panel(panel, path):
    widget = panel.parent
    widget.resize(PANEL_WIDTH, 400)
    widget.show()
    process_events()
    widget.resize(PANEL_WIDTH, widget.sizeHint.height())
    process_events()
    widget.grab().save(str(path))
    widget.hide()


def save_views(path):
    """Put the slice views over the 3-D view seen from as many sides."""
    import slicer
    from slicer_standin import rendering

    from lungperfusion_gui import overlay

    manager = slicer.app.layoutManager()
    crosshair = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
    crosshair.SetCrosshairMode(slicer.vtkMRMLCrosshairNode.NoCrosshair)
    size = (VIEW_SIZE, VIEW_SIZE)
    slices = []
    for widget, _kind in overlay.Overlay.widgets():
        logic = widget.sliceLogic()
        picture = rendering.SlicePicture(logic, size=size)
        logic.FitSliceToAll()
        picture.wake_legend()
        slices.append(picture.image())
        picture.close()
    surfaces = []
    picture = rendering.ThreeDPicture(manager.threeDWidget(0).mrmlViewNode(), size=size)
    for side in ("Anterior", "Left", "Posterior")[: len(slices)]:
        picture.look_from(side)
        surfaces.append(picture.image())
    picture.close()
    rendering.save_image(np.vstack([np.hstack(slices), np.hstack(surfaces)]), path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("modules", nargs="*", default=MODULES, metavar="MODULE")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    desktop = Desktop()
    testing(True)
    desktop.load(ROOT / "LungPerfusionLib" / "LungPerfusionLib.py")
    for name in arguments.modules:
        reset()
        panel = computed_panel(desktop, name)
        arrange(panel, name)
        desktop.wait(lambda: not panel.display._surfaces._waiting, LONGEST_S)  # noqa: B023
        save_views(arguments.out / f"{name}-views.png")
        show_chart(panel, name)
        save_panel(panel, arguments.out / f"{name}-panel.png")
        panel.exit()
        desktop.close_scene()
    desktop.quit()
    return 1 if desktop.errors else 0


if __name__ == "__main__":
    sys.exit(main())

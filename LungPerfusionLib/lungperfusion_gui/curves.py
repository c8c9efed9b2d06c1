"""Section Time curves: enhancement of inputs, regions and any place, over time."""

import math

import qt
import slicer
from slicer.i18n import tr as _

from lungperfusion import mrml
from lungperfusion.dynamic.inputs import WORDS
from lungperfusion.io.writing import segment_colour
from lungperfusion.terms import title
from lungperfusion_gui import first_pass, marks
from lungperfusion_gui.cursor import CursorWatch
from lungperfusion_gui.marks import Mark, PointsPanel
from lungperfusion_gui.result_nodes import CURVES
from lungperfusion_gui.selectors import refill

INPUTS = "inputs"
FRAMES = "series.enhancement"
"""Role of the frames that curves of places are taken from."""
FIT = "_fit_hu"
"""End of the names of columns that hold the fit of a region."""

PLACE_COLOUR = (0.95, 0.55, 0.1)
PLACE = Mark("first_pass.place", marks.POINTS, "Place", colour=PLACE_COLOUR)
VIEW = "LungPerfusionCurves"
"""Singleton tag of the plot view in the panel, which no layout shows."""
VIEW_HEIGHT_PX = 260
SETTLE_MS = 40
"""The mouse rests for so long before a curve is drawn."""


class CurvesPanel:
    """Widgets of the section and the plot in it.

    Parameters
    ----------
    ui
        Widgets of the panel.
    """

    def __init__(self, ui):
        self._ui = ui
        self.study = None
        self._frames = self._mouse = None
        self._watch = CursorWatch(self._on_mouse)
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.interval = SETTLE_MS
        self._timer.connect("timeout()", self.draw)
        self.view = slicer.qMRMLPlotView()
        self.view.setMRMLScene(slicer.mrmlScene)
        self.view.setMinimumHeight(VIEW_HEIGHT_PX)
        ui.curvesCollapsibleButton.layout().addRow(self.view)
        self._points = PointsPanel(
            {PLACE: ui.placeButton}, ui.placeClearButton, self.draw, self._timer.start
        )
        ui.curveSelector.connect("currentIndexChanged(int)", lambda index=0: self.draw())
        ui.followCheckBox.connect("toggled(bool)", self._follow)

    def bind(self, study):
        """Show the curves of a series; None before it goes."""
        self.study = study
        self._points.bind(study)
        self._frames = self._mouse = None
        self._follow(study is not None and self._ui.followCheckBox.checked)
        self._timer.stop()

    def refill(self):
        """Offer the curves that there are."""
        self._frames = None
        table = self.study.node(f"table.{CURVES}")
        names = [] if table is None else mrml.table_rows(table)[0]
        regions = [name.removesuffix(FIT) for name in names if name.endswith(FIT)]
        offered = [INPUTS, *regions] if names else []
        refill(self._ui.curveSelector, {name: name for name in offered})
        self.draw()

    def draw(self):
        """Draw the chosen curves, and that of the place."""
        study = self.study
        if study is None or study.scan is None:
            return
        table, chosen = study.node(f"table.{CURVES}"), self._ui.curveSelector.currentData
        if table is None or not chosen:
            self._show(None)
            return
        curves = _inputs(table) if chosen == INPUTS else _region(table, chosen)
        place = self._place_table()
        if place is not None:
            curves.append(mrml.Curve(place, "time_s", "place_hu", PLACE.name, PLACE_COLOUR))
        axes = (_("Time [s]"), _("Enhancement [HU]"))
        chart = mrml.show_chart(study.scene, curves, axes, node=study.node("chart.curves"))
        study.keep("chart.curves", chart, study.title(_("time curves")))
        for number in range(chart.GetNumberOfPlotSeriesNodes()):
            study.keep(f"plot.{number}", chart.GetNthPlotSeriesNode(number))
        self._show(chart)

    def _show(self, chart):
        scene = slicer.mrmlScene
        node = scene.GetSingletonNode(VIEW, "vtkMRMLPlotViewNode")
        if node is None:
            node = slicer.vtkMRMLPlotViewNode()
            node.SetSingletonTag(VIEW)
            node.SetName(VIEW)
            node.SetSaveWithScene(False)
            node.SetHideFromEditors(True)
            node = scene.AddNode(node)
        self.view.setMRMLPlotViewNode(node)
        node.SetPlotChartNodeID(None if chart is None else chart.GetID())
        self.view.fitToContent()

    def _place_table(self):
        """Table of the curve at the mouse or the marked place; None without either."""
        study, place = self.study, self._mouse
        if place is None:
            place = marks.placed(study, {"place": PLACE}).get("place")
        frames = None if place is None else self._all_frames()
        values = None if frames is None else frames.curve_at(place)
        self._ui.curveLabel.text = _place_words(place, values)
        if values is None:
            study.drop("table.place")
            return None
        rows = [
            {"time_s": at, "place_hu": value}
            for at, value in zip(frames.moments_s, values, strict=True)
        ]
        words, node = study.title(_("curve of the place")), study.node("table.place")
        node = mrml.show_curves(study.scene, ("time_s", "place_hu"), rows, words, node=node)
        return study.keep("table.place", node, words)

    def _all_frames(self):
        node = self.study.node(FRAMES)
        if self._frames is None and node is not None:
            self._frames = mrml.frames_from_sequence(node)
        return self._frames

    def _follow(self, on):
        self._mouse = None
        self._watch.follow(on)
        if not on:
            self._timer.start()

    def _on_mouse(self, place):
        if place is not None:
            self._mouse = place
            self._timer.start()


def _inputs(table):
    known = mrml.table_rows(table)[0]
    colours = zip(WORDS.items(), first_pass.VESSELS.values(), strict=True)
    return [
        mrml.Curve(table, "time_s", f"{place}_hu", words.capitalize(), colour)
        for (place, words), colour in colours
        if f"{place}_hu" in known
    ]


def _region(table, region):
    """Measured points of a region, and the fit as a line."""
    name, colour = title(region), segment_colour(region)
    return [
        mrml.Curve(table, "time_s", f"{region}_hu", name, colour, points=True),
        mrml.Curve(table, "time_s", f"{region}{FIT}", _("{name}, fit").format(name=name), colour),
    ]


def _place_words(place, values):
    """Say where the place is and how high its curve rises."""
    if place is None:
        return ""
    r, a, s = place
    where = _("Place at R {r}, A {a}, S {s} mm").format(r=f"{r:.0f}", a=f"{a:.0f}", s=f"{s:.0f}")
    if values is None:
        return _("{place}: outside of the frames").format(place=where)
    top = max(values)
    highest = "–" if math.isnan(top) else f"{top:.0f}"
    return _("{place}: up to {hu} HU").format(place=where, hu=highest)

"""Section Display: which map and which classes the views show, and how."""

import slicer
from slicer.i18n import tr as _

from lungperfusion import mrml
from lungperfusion.errors import InputError
from lungperfusion_gui import corrections, overlay
from lungperfusion_gui.cursor import CursorReadout
from lungperfusion_gui.selectors import refill, select
from lungperfusion_gui.surfaces import SurfaceQueue

STYLED = mrml.ATTRIBUTE_PREFIX + "styled"
"""Attribute of volumes that have got their looks: the reader's changes stay from then on."""

ANATOMY = ("lobes", "lungs")
"""Label maps that are drawn as outlines around the findings; of several the first."""

MAP_ROWS = (
    *("mapSelector", "mapSelectorLabel", "mapOpacity", "mapOpacityLabel", "mapRange"),
    *("mapRangeLabel", "mapThreshold", "mapThresholdLabel", "legendCheckBox"),
)
"""Widgets that play no part where an analysis makes no map."""


class DisplayPanel:
    """Widgets of the section and the views they act on.

    Parameters
    ----------
    ui
        Widgets of the panel.
    findings
        Name of the class map that is shown first.
    colours_of
        Gives the colours of a map by its name; None for one that stays grey.
    """

    def __init__(self, ui, findings, colours_of):
        self.ui = ui
        self._first_findings, self._colours_of = findings, colours_of
        self.study = self._shown = None
        self._overlay = overlay.Overlay()
        self._surfaces = SurfaceQueue(overlay.frame_3d)
        self._cursor = CursorReadout(ui.cursorLabel, self._volumes)
        self._edited = ""
        self._following = self._was_over_map = False
        ui.layoutSelector.addItem(_("Views as they are"), "")
        for orientation in ("Axial", "Coronal"):
            ui.layoutSelector.addItem(_layout_words(orientation, with_map=True), orientation)
        for name, words in overlay.window_titles().items():
            ui.windowPreset.addItem(words, name)
        ui.mapThreshold.enabled = ui.mapRange.enabled = False
        ui.layoutSelector.connect("currentIndexChanged(int)", self._on_layout)
        ui.mapSelector.connect("currentIndexChanged(int)", self._on_choice)
        ui.findingsSelector.connect("currentIndexChanged(int)", self._on_choice)
        ui.mapOpacity.connect("valueChanged(double)", self._on_opacity)
        ui.mapRange.connect("valuesChanged(double,double)", self._on_range)
        ui.mapThreshold.connect("valueChanged(double)", self._on_threshold)
        ui.windowPreset.connect("currentIndexChanged(int)", self._on_window)
        ui.linkCheckBox.connect("toggled(bool)", overlay.link_views)
        ui.legendCheckBox.connect("toggled(bool)", self._on_legend)
        ui.segmentsCheckBox.connect("toggled(bool)", self._on_segments)
        ui.surfacesCheckBox.connect("toggled(bool)", self._on_surfaces)

    # ------------------------------------------------------------------------------ life cycle

    def bind(self, study):
        """Show the results of a scan; None before it goes."""
        self.study = study
        if study is None:
            self._surfaces.stop()

    def enter(self):
        """Take the layout again that was chosen before the module was left."""
        self._follow(True)
        self._cursor.follow(True)
        if self._overlay.comparing():
            self._follow_layout()
        elif self.ui.layoutSelector.currentData:
            self._overlay.compare(self.ui.layoutSelector.currentData, with_map=self._has_map)

    def exit(self):
        """Give the user's own layout back and take the mark of a place away."""
        self.forget()
        self._overlay.compare("")
        overlay.hide_crosshair()

    def forget(self):
        """Follow nothing any longer: the panel goes, perhaps without having been left."""
        self._follow(False)
        self._cursor.follow(False)
        self._surfaces.stop()

    def _follow(self, on):
        manager = slicer.app.layoutManager()
        if manager is not None and on != self._following:
            change = manager.connect if on else manager.disconnect
            change("layoutChanged(int)", self._follow_layout)
            self._following = on

    def _follow_layout(self, layout=0):
        """Show in the selector whether views are compared, whoever chose the layout."""
        selector = self.ui.layoutSelector
        if self._overlay.comparing() == bool(selector.currentData):
            return
        blocked = selector.blockSignals(True)
        selector.currentIndex = 1 if self._overlay.comparing() else 0
        selector.blockSignals(blocked)
        if self.study is not None:
            self.show()

    @property
    def _has_map(self):
        return self.study is None or not self.study.has_results or bool(self.study.names("map"))

    def refill(self):
        """Offer the maps and classes that there are."""
        maps, labels = self.study.names("map"), self.study.names("labels")
        refill(self.ui.mapSelector, {name: f"map.{name}" for name in maps})
        without = bool(labels) and not maps
        for row in MAP_ROWS:
            getattr(self.ui, row).visible = not without
        for index in (1, 2):
            orientation = self.ui.layoutSelector.itemData(index)
            words = _layout_words(orientation, with_map=not without)
            self.ui.layoutSelector.setItemText(index, words)
        self._sync_link()
        classes = [name for name in labels if name not in ANATOMY]
        had_choice = self.ui.findingsSelector.currentData is not None
        refill(self.ui.findingsSelector, {name: f"labels.{name}" for name in classes})
        if not had_choice:
            select(self.ui.findingsSelector, f"labels.{self._first_findings}")

    def _sync_link(self):
        blocked = self.ui.linkCheckBox.blockSignals(True)
        self.ui.linkCheckBox.checked = overlay.linked()
        self.ui.linkCheckBox.blockSignals(blocked)

    def compare(self):
        """Open the comparison, unless the reader has done so."""
        if not self.ui.layoutSelector.currentData:
            self.ui.layoutSelector.currentIndex = 1

    def style(self, study, given=()):
        """Give freshly made results their looks; what was there before keeps the reader's.

        Parameters
        ----------
        study
            Whose results.
        given
            Segmentations of other programs, which would lie over the results.

        """
        overlay.hide_segmentations(given)
        corrections.hide_originals(study)
        for name in study.names("map"):
            node, colours = study.node(f"map.{name}"), self._colours_of(name)
            if node.GetAttribute(STYLED) is None:
                node.SetAttribute(STYLED, "yes")
                if colours is not None:
                    overlay.style_map(node, colours)
                elif node.GetAttribute(mrml.ATTRIBUTE_PREFIX + "unit") == "HU":
                    overlay.style_ct(node, "Lung")
        if study.scan.GetAttribute(STYLED) is None:
            study.scan.SetAttribute(STYLED, "yes")
            overlay.style_ct(study.image, "Lung")

    def show_edited(self, name):
        """Keep the label map visible that the reader corrects."""
        self._edited = name
        if self.study is not None:
            self.show()

    # ------------------------------------------------------------------------------------ views

    def show(self):
        """Show CT, the chosen map and the chosen classes."""
        if self.study.scan is None:
            return
        left, self._shown = self._shown, self.study
        other = left is not None and left != self.study
        if other:
            overlay.hide_segmentations(
                [left.node(f"labels.{name}") for name in left.names("labels")]
            )
        shown, findings = self._map(), self._findings()
        if shown is None and findings is None and not other:
            return
        self._sync_map_controls(shown)
        self._on_legend()
        self._on_segments()
        anatomy = self.study.node(f"labels.{self._around}")
        edited = self.study.node(f"labels.{self._edited}")
        image = self._beneath(findings)
        if image is not self.study.image:  # what lies on the grid of the results is elsewhere
            shown = anatomy = None
        placed = [None if node is edited else node for node in (findings, anatomy)]
        self._overlay.show(image, shown, *placed, self.ui.mapOpacity.value)
        overlay.restrict(edited, [])  # a reader corrects in any view
        self._sync_link()

    def _beneath(self, findings):
        """Volume that the classes lie on: the scan of the results, or one joined with it."""
        own = self.study.image
        image = None if findings is None else mrml.reference_of(findings)
        if image is None or image is own:
            return own
        try:
            apart = not mrml.has_grid(own, mrml.geometry_from_node(image))
        except InputError:  # it lies under a transform that has no grid
            return own
        return image if apart else own

    @property
    def _around(self):
        """Name of the label map that is outlined around the findings; empty without any."""
        labels = self.study.names("labels")
        return next((name for name in ANATOMY if name in labels), "")

    def _volumes(self):
        """Volumes that the views show, with their names, for the values under the mouse."""
        if self.study is None or self.study.scan is None:
            return []
        shown = self._map()
        maps = [] if shown is None else [(self.ui.mapSelector.currentText, shown)]
        return [(_("CT"), self.study.image), *maps]

    def _map(self):
        role = self.ui.mapSelector.currentData
        return self.study.node(role) if role else None

    def _findings(self):
        role = self.ui.findingsSelector.currentData
        return self.study.node(role) if role else None

    def _sync_map_controls(self, shown):
        ui = self.ui
        ui.mapRange.enabled = ui.mapThreshold.enabled = shown is not None
        if shown is None:
            return
        display = shown.GetDisplayNode()
        low, high = display.GetWindowLevelMin(), display.GetWindowLevelMax()
        limits = self._colour_limits() or (low, high)
        span = limits[1] - limits[0]
        for control in (ui.mapRange, ui.mapThreshold):
            blocked = control.blockSignals(True)
            control.decimals = 0 if span > 50 else 2
            control.singleStep = span / 100
            control.minimum = min(0.0, limits[0])
            control.maximum = limits[1] + span
            control.blockSignals(blocked)
        blocked = ui.mapRange.blockSignals(True)
        ui.mapRange.setValues(low, high)
        ui.mapRange.blockSignals(blocked)
        blocked = ui.mapThreshold.blockSignals(True)
        ui.mapThreshold.value = max(ui.mapThreshold.minimum, display.GetLowerThreshold())
        ui.mapThreshold.blockSignals(blocked)

    def _colour_limits(self):
        name = (self.ui.mapSelector.currentData or "").removeprefix("map.")
        colours = self._colours_of(name)
        return None if colours is None else colours.range

    # -------------------------------------------------------------------------------- reactions

    def _on_layout(self, index=0):
        if self.study is not None:
            self._overlay.compare(self.ui.layoutSelector.currentData, with_map=self._has_map)
            self.show()

    def _on_choice(self, index=0):
        if self.study is not None:
            self.show()

    def _on_opacity(self, value=0.0):
        if self.study is not None and self._map() is not None:
            self._overlay.set_opacity(value)
            if self._over_map != self._was_over_map:
                self._on_segments()

    def _on_range(self, low, high):
        shown = self._map() if self.study is not None else None
        if shown is not None and high > low:
            shown.GetDisplayNode().SetWindowLevelMinMax(low, high)

    def _on_threshold(self, value):
        shown = self._map() if self.study is not None else None
        if shown is not None:
            lowest = value <= self.ui.mapThreshold.minimum
            overlay.hide_below(shown, None if lowest else value)

    def _on_window(self, index=0):
        reference = self.study.image if self.study is not None else None
        if reference is not None and self.ui.windowPreset.currentData:
            overlay.style_ct(reference, self.ui.windowPreset.currentData)

    def _on_legend(self, on=None):
        if self.study is None:
            return
        shown = self._map()
        unit = "" if shown is None else shown.GetAttribute(mrml.ATTRIBUTE_PREFIX + "unit") or ""
        heading = "" if shown is None else self.ui.mapSelector.currentText
        overlay.show_legend(shown, heading, unit, self.ui.legendCheckBox.checked)

    def _on_surfaces(self, on=False):
        self._on_segments()

    @property
    def _over_map(self):
        """Whether segments lie over the colours of a map, which fills would change."""
        over = self._map() is not None and self.ui.mapOpacity.value > 0
        return over and not self._overlay.comparing()

    def _on_segments(self, on=None):
        """Fill the chosen classes, outline the anatomy around them, hide the other label maps.

        Over a map classes are outlined, and the anatomy is not: its colours mean values.
        """
        if self.study is None:
            return
        labels, around = self.study.names("labels"), self._around
        chosen = (self.ui.findingsSelector.currentData or "").removeprefix("labels.")
        self._was_over_map = over_map = self._over_map
        outlined = self.ui.segmentsCheckBox.checked
        waiting = []
        for name in labels:
            node, edited = self.study.node(f"labels.{name}"), name == self._edited
            visible = name in (chosen, around) or edited
            surfaces = visible and self.ui.surfacesCheckBox.checked and not edited
            overlay.style_segments(
                node,
                slices=visible and outlined and (edited or name == chosen or not over_map),
                surfaces=surfaces,
                fill=0.35 if name == chosen and not over_map else 0.0,
            )
            waiting += [node] if surfaces else []
        self._surfaces.want(waiting)
        node = self._findings()
        self.ui.classesLabel.text = "" if node is None else _legend_of_classes(node)


def _layout_words(orientation, *, with_map):
    """Say what a comparison shows."""
    views = _("CT | map | findings") if with_map else _("CT | findings")
    return f"{views}, {_(orientation.lower())}"


def _legend_of_classes(node):
    """Names of the segments beside their colours, as rich text."""
    segmentation = node.GetSegmentation()
    items = []
    for identifier in segmentation.GetSegmentIDs():
        segment = segmentation.GetSegment(identifier)
        colour = "#" + "".join(f"{round(255 * part):02x}" for part in segment.GetColor())
        items.append(f'<span style="color:{colour}">&#9632;</span>&nbsp;{segment.GetName()}')
    most = 12
    rest = [_("{count} more").format(count=len(items) - most)] if len(items) > most else []
    return " &nbsp; ".join(items[:most] + rest)

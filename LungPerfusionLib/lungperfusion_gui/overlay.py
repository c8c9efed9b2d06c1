"""What the views show: CT, map in colours with legend, findings, side by side or on top."""

import slicer
from slicer.i18n import tr as _

from lungperfusion import mrml

VIEWS = (
    ("LungPerfusionCT", "CT", "#888888"),
    ("LungPerfusionMap", "M", "#E0A030"),
    ("LungPerfusionFindings", "F", "#30A0E0"),
)
"""Slice views of the comparison; their titles are short, so that the views fit narrow windows."""
GROUP = 1
"""View group: any other number is read back as 1 from a saved scene."""

LAYOUT, LAYOUT_WITHOUT_MAP = 25601, 25602
"""Numbers of the layouts for comparison: with and without a view of the map."""

RESTING_VIEWS = {"Axial": "Red", "Coronal": "Green"}
"""Views of Slicer's own layouts, from which the comparison takes over the slice being read."""

WINDOWS = {"Lung": (-1350.0, 150.0), "Mediastinum": (-160.0, 240.0), "Vessels": (-100.0, 700.0)}
"""CT windows in HU, lowest and highest grey: usual presets of chest reading."""

GLASSY = 0.2
"""Opacity of lungs, airways and normal tissue in 3-D, so that findings inside are seen."""


def _layout_xml(views):
    """Two rows of two views: as wide as two, so that the window need not grow."""
    items = [
        f'<item><view class="vtkMRMLSliceNode" singletontag="{tag}">'
        '<property name="orientation" action="default">Axial</property>'
        f'<property name="viewlabel" action="default">{label}</property>'
        f'<property name="viewcolor" action="default">{colour}</property>'
        f'<property name="viewgroup" action="default">{GROUP}</property></view></item>'
        for tag, label, colour in views
    ]
    items.append(
        '<item><view class="vtkMRMLViewNode" singletontag="1">'
        '<property name="viewlabel" action="default">1</property></view></item>'
    )
    rows = (items[:2], items[2:])
    return '<layout type="vertical" split="true">{}</layout>'.format(
        "".join(
            f'<item><layout type="horizontal" split="true">{"".join(row)}</layout></item>'
            for row in rows
        )
    )


def register_layout():
    """Make the layouts known; also for scenes that were saved in one, so call it at start-up."""
    manager = slicer.app.layoutManager()
    if manager is None:
        return
    node = manager.layoutLogic().GetLayoutNode()
    for number, views in ((LAYOUT, VIEWS), (LAYOUT_WITHOUT_MAP, (VIEWS[0], VIEWS[2]))):
        if not node.IsLayoutDescription(number):
            node.AddLayoutDescription(number, _layout_xml(views))


class Overlay:
    """Display of one module's results.

    Keeps no node: everything is looked up when it is needed, so a closed scene does no harm.
    """

    def __init__(self):
        self._layout_before = None
        self._place_mm = None

    # ------------------------------------------------------------------------------- layout

    def compare(self, orientation, *, with_map=True):
        """Switch to linked slices of one direction, or back to the user's own layout.

        Parameters
        ----------
        orientation
            ``Axial`` or ``Coronal``; empty for the user's own layout.
        with_map
            Whether there is a map that a view is kept for.

        """
        manager = slicer.app.layoutManager()
        if manager is None:
            return
        wanted = LAYOUT if with_map else LAYOUT_WITHOUT_MAP
        if not orientation:
            if self.comparing():
                # a scene that was saved in the layout does not know what was before it
                four_up = slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView
                manager.setLayout(four_up if self._layout_before is None else self._layout_before)
            return
        if not self.comparing():
            self._layout_before = manager.layout
        resting = manager.sliceWidget(RESTING_VIEWS[orientation])
        self._place_mm = None if resting is None else resting.mrmlSliceNode().GetSliceOffset()
        register_layout()
        manager.setLayout(wanted)
        slicer.app.processEvents()  # views must have their size before a slice is fitted in
        for widget, _kind in self.widgets():
            widget.mrmlSliceNode().SetOrientation(orientation)

    @staticmethod
    def comparing():
        manager = slicer.app.layoutManager()
        return manager is not None and manager.layout in (LAYOUT, LAYOUT_WITHOUT_MAP)

    @staticmethod
    def widgets():
        """Slice widgets that can be seen, with the layer each shows: ct, map, findings or all."""
        manager = slicer.app.layoutManager()
        if manager is None:
            return []
        if manager.layout in (LAYOUT, LAYOUT_WITHOUT_MAP):
            pairs = list(zip(VIEWS, ("ct", "map", "findings"), strict=True))
            if manager.layout == LAYOUT_WITHOUT_MAP:
                del pairs[1]
            found = [(manager.sliceWidget(view[0]), kind) for view, kind in pairs]
        else:
            found = [(manager.sliceWidget(name), "all") for name in ("Red", "Yellow", "Green")]
        return [(widget, kind) for widget, kind in found if widget is not None]

    # --------------------------------------------------------------------------------- show

    def show(self, ct, shown, findings, anatomy, opacity):
        """Put CT, map and findings into the views.

        Parameters
        ----------
        ct, shown
            Volume nodes, or None.
        findings
            Segmentation node that only the last view of the layout and 3-D show (and the view of
            the map when there is none), or None.
        anatomy
            Segmentation node that only the first view of the layout and 3-D show, or None: lines
            over a map, or around classes, would be taken for values.
        opacity
            Of the map over the CT.

        """
        seen = []
        for widget, kind in self.widgets():
            layers = widget.mrmlSliceCompositeNode()
            linked = layers.GetLinkedControl()
            layers.SetLinkedControl(0)
            over = shown if kind in ("map", "all") else None
            changed = layers.GetBackgroundVolumeID() != (ct.GetID() if ct else None)
            layers.SetBackgroundVolumeID(ct.GetID() if ct else None)
            layers.SetForegroundVolumeID(over.GetID() if over else None)
            layers.SetForegroundOpacity(opacity)
            if changed or (kind != "all" and self._place_mm is not None):
                widget.sliceLogic().FitSliceToAll()
            if kind == "all":
                layers.SetLinkedControl(linked)
            else:
                if self._place_mm is not None:
                    widget.mrmlSliceNode().SetSliceOffset(self._place_mm)
                widget.mrmlSliceNode().SetViewGroup(GROUP)
                layers.SetLinkedControl(1)
                layers.SetHotLinkedControl(1)
            seen.append((widget, kind))
        self._place_mm = None
        kinds = ("findings",) if shown is not None else ("findings", "map")
        restrict(findings, [w for w, kind in seen if kind in kinds])
        restrict(anatomy, [w for w, kind in seen if kind == "ct"])
        refresh_legends([widget for widget, _kind in seen])

    def set_opacity(self, opacity):
        for widget, kind in self.widgets():
            if kind != "ct":
                layers = widget.mrmlSliceCompositeNode()
                linked = layers.GetLinkedControl()
                layers.SetLinkedControl(0)
                layers.SetForegroundOpacity(opacity)
                layers.SetLinkedControl(linked)


def restrict(node, widgets):
    """Show a segmentation in some slice views and 3-D only; without any it is shown everywhere."""
    display = None if node is None else node.GetDisplayNode()
    if display is None:
        return
    display.RemoveAllViewNodeIDs()
    if widgets:
        for widget in widgets:
            display.AddViewNodeID(widget.mrmlSliceNode().GetID())
        for view in slicer.util.getNodesByClass("vtkMRMLViewNode"):
            display.AddViewNodeID(view.GetID())


def style_ct(node, window):
    """Give a CT one of `WINDOWS`; a volume made by a script may have no display yet."""
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    modifying = display.StartModify()
    display.AutoWindowLevelOff()
    display.SetWindowLevelMinMax(*WINDOWS[window])
    display.EndModify(modifying)


def style_map(node, colours, *, limits=None):
    """Give a map its colours; the window equals the range of the table, so colours mean values."""
    display = node.GetDisplayNode()
    low, high = limits or colours.range
    table = mrml.colour_node(node.GetScene(), colours)
    modifying = display.StartModify()
    display.SetAndObserveColorNodeID(table.GetID())
    display.AutoWindowLevelOff()
    display.SetWindowLevelMinMax(low, high)
    display.SetInterpolate(0)
    hide_below(node, None)
    display.EndModify(modifying)


def hide_below(node, limit):
    """Show only values from a limit on; without one all but NaN."""
    display = node.GetDisplayNode()
    display.SetApplyThreshold(1)
    display.SetThreshold(-1e30 if limit is None else limit, 1e30)


def show_legend(node, heading, unit, on):
    """Show or hide the legend of a map; its labels are values with the unit in the title."""
    colors = slicer.modules.colors.logic()
    for other in slicer.util.getNodesByClass("vtkMRMLColorLegendDisplayNode"):
        owner = other.GetDisplayableNode()
        if owner is not None and owner.GetAttribute(mrml.ATTRIBUTE_PREFIX + "unit"):
            other.SetVisibility(False)
    if node is None:
        return
    legend = colors.AddDefaultColorLegendDisplayNode(node)
    words = "" if unit in ("", "1") else f"\n[{unit}]"
    legend.SetTitleText(heading + words)
    low, high = (
        node.GetDisplayNode().GetWindowLevelMin(),
        node.GetDisplayNode().GetWindowLevelMax(),
    )
    legend.SetLabelFormat("%.0f" if high - low >= 10 else "%.2f")
    legend.SetNumberOfLabels(6)
    legend.SetPosition(0.98, 0.5)
    legend.SetSize(0.10, 0.6)
    legend.SetVisibility(on)


def refresh_legends(widgets):
    """Make views draw legends that were made, or shown in another view, from Python."""
    flag = slicer.vtkMRMLSliceCompositeNode.ForegroundVolumeFlag
    for widget in widgets:
        layers = widget.mrmlSliceCompositeNode()
        linked = layers.GetLinkedControl()
        layers.SetLinkedControl(0)
        widget.sliceLogic().StartSliceCompositeNodeInteraction(flag)
        layers.Modified()
        widget.sliceLogic().EndSliceCompositeNodeInteraction()
        layers.SetLinkedControl(linked)
    for legend in slicer.util.getNodesByClass("vtkMRMLColorLegendDisplayNode"):
        legend.Modified()


def style_segments(node, *, slices=True, surfaces=False, fill=0.25):
    """Outline segments in slices; surfaces in 3-D, findings opaque in a glassy lung."""
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    modifying = display.StartModify()
    display.SetVisibility(slices or surfaces)
    display.SetVisibility2D(slices)
    display.SetOpacity2DFill(fill)
    display.SetOpacity2DOutline(1.0)
    display.SetVisibility3D(surfaces)
    identifiers = node.GetSegmentation().GetSegmentIDs()
    for identifier in identifiers if surfaces else ():
        glassy = identifier.endswith(("_lung", "_lobe", "_normal", "airways"))
        display.SetSegmentOpacity3D(identifier, GLASSY if glassy else 1.0)
    display.EndModify(modifying)
    if not surfaces:  # else every stroke would make them anew
        node.RemoveClosedSurfaceRepresentation()


def hide_segmentations(nodes):
    """Take segmentations out of the views, where they would lie over the results."""
    for node in nodes:
        mrml.hide_segmentation(node)


def link_views(on):
    """Let slice views of the same direction move together, or each for itself."""
    manager = slicer.app.layoutManager()
    if manager is None:
        return
    for name in manager.sliceViewNames():
        layers = manager.sliceWidget(name).mrmlSliceCompositeNode()
        layers.SetLinkedControl(on)
        layers.SetHotLinkedControl(on)


def frame_3d():
    """Bring what 3-D views show into their middle and fill them with it."""
    manager = slicer.app.layoutManager()
    for number in range(0 if manager is None else manager.threeDViewCount):
        view = manager.threeDWidget(number).threeDView()
        view.resetFocalPoint()
        view.resetCamera(False, True, True)  # seen from where the reader looked


def hide_crosshair():
    """Take the mark of a place away."""
    crosshair = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
    if crosshair is not None:
        crosshair.SetCrosshairMode(slicer.vtkMRMLCrosshairNode.NoCrosshair)


def linked():
    """Whether the slice views that are seen move together."""
    layers = [widget.mrmlSliceCompositeNode() for widget, _kind in Overlay.widgets()]
    return bool(layers) and all(layer.GetLinkedControl() for layer in layers)


def jump_to(ras):
    """Bring all slices to a place and mark it; what they show of it sideways stays."""
    slice_node = slicer.vtkMRMLSliceNode
    slice_node.JumpAllSlices(slicer.mrmlScene, *ras, slice_node.OffsetJumpSlice)
    crosshair = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
    if crosshair is not None:
        crosshair.SetCrosshairRAS(*ras)
        crosshair.SetCrosshairMode(slicer.vtkMRMLCrosshairNode.ShowBasic)


def window_titles():
    """Names of the CT windows for a selector."""
    return {"Lung": _("Lung"), "Mediastinum": _("Mediastinum"), "Vessels": _("Vessels")}

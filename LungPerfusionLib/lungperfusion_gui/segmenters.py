"""Segmentation by other extensions, offered only where one is installed."""

import qt
import slicer
from slicer.i18n import tr as _

MODULES = ("TotalSegmentator", "LungCTSegmenter")
"""Modules that segment lungs and lobes.  LungCTSegmenter also runs lungmask."""


def installed():
    """Names of those modules that this Slicer has."""
    return [name for name in MODULES if hasattr(slicer.modules, name.lower())]


def offer_segmenters(button):
    """Make a button open the installed modules; hide it where there is none."""
    names = installed()
    button.visible = bool(names)
    if not names:
        return
    menu = qt.QMenu(button)
    for name in names:
        action = menu.addAction(_("Open {module}").format(module=name))
        action.connect("triggered(bool)", lambda on=False, n=name: slicer.util.selectModule(n))
    button.setMenu(menu)

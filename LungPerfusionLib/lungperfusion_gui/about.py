"""What the modules say about themselves, and what they register at start-up."""

from slicer.i18n import tr as _
from slicer.i18n import translate

HOMEPAGE = "https://github.com/SlicerLungPerfusion/SlicerLungPerfusion"


def describe(parent, words):
    """Fill in the descriptions of a module; ``words`` say what it does."""
    parent.categories = [translate("qSlicerAbstractCoreModule", "Quantification")]
    parent.dependencies = ["LungPerfusionLib"]
    parent.contributors = ["SlicerLungPerfusion contributors"]
    parent.helpText = (
        words
        + "<p>"
        + _("Research software, not for diagnosis.")
        + f' <a href="{HOMEPAGE}">'
        + _("Documentation")
        + "</a></p>"
    )
    parent.acknowledgementText = _(
        "Developed by the SlicerLungPerfusion contributors under the Apache License 2.0."
    )

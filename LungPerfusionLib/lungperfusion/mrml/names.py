"""Names that this extension gives in a scene, and those that Slicer gives."""

ATTRIBUTE_PREFIX = "LungPerfusion."
"""Start of the names of all node attributes and singleton tags of this extension."""

LABELMAP = "Binary labelmap"
CLOSED_SURFACE = "Closed surface"

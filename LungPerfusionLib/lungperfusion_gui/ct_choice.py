"""Which volume of a scene is the chest CT."""

from lungperfusion import mrml
from lungperfusion_gui.breathing import SMALLEST_LUNG_L, lung_volume_l


def choose(parameters):
    """Take the only volume of the scene that holds a chest, if none is chosen."""
    if parameters.ct is not None:
        return
    volumes = [
        node
        for node in mrml.images_in(parameters.parameterNode.GetScene())
        if node.GetImageData() is not None
        and node.GetAttribute(mrml.ATTRIBUTE_PREFIX + "unit") in (None, "HU")
    ]
    if len(volumes) == 1 and lung_volume_l(volumes[0]) > SMALLEST_LUNG_L:
        parameters.ct = volumes[0]

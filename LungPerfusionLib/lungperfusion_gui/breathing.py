"""Which of two scans is the deep breath."""

import math

from slicer.i18n import tr as _

from lungperfusion import mrml
from lungperfusion.errors import InputError
from lungperfusion.segmentation.estimate import estimate_lung_volume_l
from lungperfusion.terms import Region

ATTRIBUTE = mrml.ATTRIBUTE_PREFIX + "estimatedLungVolume_l"

SMALLEST_LUNG_L = 0.5
"""Less air than this is no chest CT."""


def lung_volume_l(node):
    """Guessed lung volume of a CT, remembered on the node; 0 where it holds no CT."""
    known = node.GetAttribute(ATTRIBUTE)
    if known is None:
        try:
            known = f"{estimate_lung_volume_l(mrml.volume_from_node(node, 'HU')):.3f}"
        except InputError:
            known = "0"
        node.SetAttribute(ATTRIBUTE, known)
    return float(known)


def choose(parameters):
    """Take the two CT of the scene when there are exactly two and none is chosen."""
    if parameters.inspiration is not None or parameters.expiration is not None:
        return
    volumes = [
        node
        for node in mrml.images_in(parameters.parameterNode.GetScene())
        if node.GetAttribute(mrml.ATTRIBUTE_PREFIX + "unit") in (None, "HU")
    ]
    if len(volumes) != 2:
        return
    small, large = sorted(volumes, key=lung_volume_l)
    if SMALLEST_LUNG_L < lung_volume_l(small) < lung_volume_l(large):
        parameters.expiration, parameters.inspiration = small, large


def warning(parameters, study):
    """Say that the scans seem swapped; empty when they do not.

    What was measured counts most, then given lungs, then a guess from the scans.
    """
    inspiration, expiration = parameters.inspiration, parameters.expiration
    if inspiration is None or expiration is None or inspiration is expiration:
        return ""
    deep, shallow = (
        _measured_l(study)
        or _masks_l(parameters.inspirationLungMask, parameters.lungMask)
        or (lung_volume_l(inspiration), lung_volume_l(expiration))
    )
    if deep >= shallow:
        return ""
    return _(
        "The scans seem swapped: about {deep} L at inspiration, {shallow} L at expiration."
    ).format(deep=f"{deep:.1f}", shallow=f"{shallow:.1f}")


def _measured_l(study):
    """Volumes at inspiration and expiration of results; None without."""
    known = {row.measure: row.value for row in study.measurements if row.region == Region.LUNGS}
    volumes = [known.get(f"{breath}_volume", math.nan) for breath in ("inspiratory", "expiratory")]
    return None if any(map(math.isnan, volumes)) else tuple(ml / 1000 for ml in volumes)


def _masks_l(inspiration, expiration):
    """Volumes of given lungs; None unless both are given."""
    if inspiration is None or expiration is None:
        return None
    return tuple(mrml.segments_ml(node) / 1000 for node in (inspiration, expiration))

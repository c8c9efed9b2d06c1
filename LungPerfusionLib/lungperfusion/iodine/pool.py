"""Iodine of the blood that enters and leaves the lungs, which their own iodine is judged by."""

from __future__ import annotations

import numpy as np

from lungperfusion.blood import find_blood_density
from lungperfusion.iodine.decomposition import IodineMap
from lungperfusion.iodine.trunk import Trunk
from lungperfusion.volume import Labelmap, Volume


def blood_mg_ml(iodine: IodineMap, ct: Volume, lungs: Labelmap, trunk: Trunk | str) -> float | str:
    """Measure the mean iodine of arterial and venous blood of the lungs, or tell why not.

    Half trunk, half descending aorta: in the middle of the first pass, when the aorta is still
    without contrast, lungs are half full; later both hold alike.  The trunk alone where no aorta is
    found.

    Parameters
    ----------
    iodine
        Iodine map.
    ct
        CT in HU on the same grid, with or without contrast.
    lungs
        Lungs on the same grid.
    trunk
        The pulmonary trunk, or why there is none.

    """
    if isinstance(trunk, str):
        return trunk
    if trunk.doubt:
        return trunk.doubt
    if trunk.iodine_mg_ml <= 0:
        return "the pulmonary trunk holds no iodine"
    aorta = _aorta_mg_ml(iodine, ct, lungs)
    if aorta is None:
        return trunk.iodine_mg_ml
    return (trunk.iodine_mg_ml + max(aorta, 0.0)) / 2


def _aorta_mg_ml(iodine: IodineMap, ct: Volume, lungs: Labelmap) -> float | None:
    """Median iodine of the descending aorta, which is sought with its contrast."""
    enhanced = ct.with_array(ct.array + iodine.enhancement.array.astype(np.float32))
    for site in find_blood_density(enhanced, lungs).sites:
        if site.place == "descending_aorta":
            return float(np.median(iodine.concentration.array[site.box][site.mask]))
    return None

"""Iodine of the blood that enters and leaves the lungs, which their own iodine is judged by."""

from __future__ import annotations

from lungperfusion.iodine.trunk import Trunk


def blood_mg_ml(trunk: Trunk | str, aorta_mg_ml: float | None) -> float | str:
    """Mean iodine of arterial and venous blood of the lungs, or why there is none.

    Half trunk, half descending aorta: early in the first pass, when the aorta is still without
    contrast, the lungs are half full; later both hold alike.

    Parameters
    ----------
    trunk
        The pulmonary trunk, or why there is none.
    aorta_mg_ml
        Of the descending aorta; None where it was not found, which leaves the trunk alone.

    """
    if isinstance(trunk, str):
        return trunk
    if trunk.doubt:
        return trunk.doubt
    if trunk.iodine_mg_ml <= 0:
        return "the pulmonary trunk holds no iodine"
    if aorta_mg_ml is None:
        return trunk.iodine_mg_ml
    return (trunk.iodine_mg_ml + max(aorta_mg_ml, 0.0)) / 2

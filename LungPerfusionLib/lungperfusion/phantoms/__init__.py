"""Digital chests with analytic truth: demo, test and sample data."""

from lungperfusion.phantoms.anatomy import Build
from lungperfusion.phantoms.chest import Ball, ChestModel
from lungperfusion.phantoms.kinds import KINDS, Kind, default_geometry
from lungperfusion.phantoms.rendering import Phantom, render
from lungperfusion.phantoms.truth import PhantomTruth

__all__ = [
    "KINDS",
    "Ball",
    "Build",
    "ChestModel",
    "Kind",
    "Phantom",
    "PhantomTruth",
    "default_geometry",
    "render",
]

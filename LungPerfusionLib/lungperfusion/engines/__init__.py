"""Segmentation engines of others, run as they are installed, in processes of their own.

Nothing of an engine is imported here, and nothing is ever downloaded: an engine runs only where
its program and its weights are already on the machine.
"""

from lungperfusion.engines.agreement import lobe_agreement, lung_agreement
from lungperfusion.engines.catalogue import ENGINES, Engine, Installed, find_engine
from lungperfusion.engines.running import EngineLabels, run_engine

__all__ = [
    "ENGINES",
    "Engine",
    "EngineLabels",
    "Installed",
    "find_engine",
    "lobe_agreement",
    "lung_agreement",
    "run_engine",
]

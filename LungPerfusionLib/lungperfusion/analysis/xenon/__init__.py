"""Gas transfer from hyperpolarised 129Xe MRI, joined with the lobes and the tissue of a CT.

One direction: `joined` chooses the breath and lays the MRI over it, `analysis` goes from the maps
to classes, measures, pictures and tables.
"""

from lungperfusion.analysis.xenon.analysis import Background, XenonOptions, analyse_xenon
from lungperfusion.analysis.xenon.joined import ChestCt

__all__ = ["Background", "ChestCt", "XenonOptions", "analyse_xenon"]

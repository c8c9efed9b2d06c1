"""Lung perfusion, ventilation and small-vessel measures from chest CT.

The package is free of Slicer, VTK and Qt (`lungperfusion.mrml` excepted), so the same code runs
inside 3D Slicer, in a plain Python interpreter and on a cluster.  Importing it loads nothing
heavy.  It is research software and makes no diagnosis.
"""

__version__ = "0.1.0"

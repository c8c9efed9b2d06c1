"""Qt as PythonQt shows it to Slicer's Python, on PySide6.

PythonQt hands out wrappers: properties are attributes, methods convert nearly every argument,
lists come back as tuples, enumerations are integers, and the wrapper classes do not inherit from
each other. These modules build such wrappers around PySide6 objects.
"""

"""Errors that a user can act on.

Every message says what was expected, what was given (with numbers) and what to do.
"""


class InputError(ValueError):
    """An input cannot be used; the command line prints the message and exits with 2."""


class GeometryMismatchError(InputError):
    """Two images that must share a voxel grid do not."""


class CancelledError(Exception):
    """The user cancelled; nothing was written."""

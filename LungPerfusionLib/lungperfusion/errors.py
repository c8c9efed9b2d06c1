"""Errors that a user can act on.

Every message says what was expected, what was given (with numbers) and what to do.
"""

from collections.abc import Mapping

from lungperfusion.naming import NO_ROLES, plain, without_names


class InputError(ValueError):
    """An input cannot be used; the command line prints the message and exits with 2.

    Names in the message are marked by `lungperfusion.naming.named`.  As text the error is what the
    user reads, ``f"{error}"`` hands the marks on to another message.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(plain(message))
        self._marked = message

    def __format__(self, spec: str) -> str:
        """Message with its marks."""
        return format(self._marked, spec)

    def without_names(self, roles: Mapping[str, str] = NO_ROLES) -> str:
        """Message as it may be kept; see `lungperfusion.naming.without_names`."""
        return without_names(self._marked, roles)


class GeometryMismatchError(InputError):
    """Two images that must share a voxel grid do not."""


class MissingTimesError(InputError):
    """Frames do not say when they were taken."""


class CancelledError(Exception):
    """The user cancelled; nothing was written."""

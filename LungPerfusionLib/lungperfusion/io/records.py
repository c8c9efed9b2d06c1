"""Records of arrays in one file and back, so that reading a file can run nothing.

The file is a NumPy archive (``.npz``) of plain arrays, the last of which is a text in JSON that
says how the others belong together.  Objects are dataclasses that are loaded already; no
constructor is called.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import sys
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from lungperfusion.io.atomic import atomic_path
from lungperfusion.naming import Name

_KIND = "!"

_MALFORMED = (
    *(OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, IndexError),
    *(RecursionError, MemoryError, zipfile.BadZipFile, zlib.error, NotImplementedError),
)


class DamagedRecordError(Exception):
    """A file is cut short, damaged or no record."""


def write_record(value: Any, path: Path) -> None:
    """Write nested tuples, lists, mappings, dataclasses, enumerations, numbers, texts and arrays.

    Raises
    ------
    TypeError
        For anything else.

    """
    arrays: list[NDArray[Any]] = []
    tree = _Encoder(arrays).encode(value)
    text = np.frombuffer(json.dumps(tree).encode("utf-8", "surrogatepass"), np.uint8)
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, *arrays, text)


def read_record(path: Path) -> Any:
    """Read what `write_record` wrote.

    Raises
    ------
    DamagedRecordError
        If the file is anything else.

    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            *arrays, text = (archive[f"arr_{number}"] for number in range(len(archive.files)))
            tree = json.loads(text.tobytes().decode("utf-8", "surrogatepass"))
        return _decode(tree, arrays)
    except _MALFORMED as error:
        raise DamagedRecordError(path) from error


class _Encoder:
    def __init__(self, arrays: list[NDArray[Any]]) -> None:
        self._arrays = arrays
        self._known: dict[int, int] = {}

    def encode(self, value: Any) -> Any:
        """Value as JSON can hold it; arrays by their number."""
        kind = type(value)
        if value is None or kind in (bool, int, float, str):
            return value
        if isinstance(value, np.ndarray):
            return self._array(value)
        if isinstance(value, np.generic):
            return {_KIND: "scalar", "array": self._array(np.asarray(value))}
        if isinstance(value, enum.Enum):
            return {_KIND: "enum", "of": _address(kind), "value": self.encode(value.value)}
        if kind is Name:
            return {_KIND: "name", "text": str(value)}
        if kind in _SEQUENCES:
            return {_KIND: kind.__name__, "items": [self.encode(item) for item in value]}
        if kind in (set, frozenset):
            items = [self.encode(item) for item in sorted(value, key=repr)]
            return {_KIND: kind.__name__, "items": items}
        if kind in (dict, MappingProxyType):
            items = [[self.encode(key), self.encode(item)] for key, item in value.items()]
            return {_KIND: kind.__name__, "items": items}
        if kind is slice:
            items = [self.encode(part) for part in (value.start, value.stop, value.step)]
            return {_KIND: "slice", "items": items}
        if dataclasses.is_dataclass(value):
            fields = {
                f.name: self.encode(getattr(value, f.name)) for f in dataclasses.fields(value)
            }
            return {_KIND: "data", "of": _address(kind), "fields": fields}
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            return {_KIND: "named", "of": _address(kind), "items": [self.encode(v) for v in value]}
        raise TypeError(f"a record holds no {kind.__name__}")

    def _array(self, array: NDArray[Any]) -> dict[str, Any]:
        if array.dtype.hasobject:
            raise TypeError("a record holds no array of objects")
        number = self._known.setdefault(id(array), len(self._arrays))
        if number == len(self._arrays):
            self._arrays.append(array)
        writeable = not array.__array_interface__["data"][1]  # flags of a broadcast array warn
        return {_KIND: "array", "number": number, "writeable": writeable}


_SEQUENCES: Mapping[type, Any] = {tuple: tuple, list: list}
_COLLECTIONS: Mapping[str, Any] = {"tuple": tuple, "list": list, "set": set, "frozenset": frozenset}


def _decode(tree: Any, arrays: list[NDArray[Any]]) -> Any:
    if not isinstance(tree, dict):
        return tree
    kind = tree[_KIND]
    if kind == "array":
        array = arrays[tree["number"]]
        array.flags.writeable = bool(tree["writeable"])
        return array
    if kind == "scalar":
        return arrays[tree["array"]["number"]][()]
    if kind == "enum":
        return _found(tree["of"], enum.Enum)(_decode(tree["value"], arrays))
    if kind == "name":
        return Name(tree["text"])
    if kind == "data":
        return _data(tree, arrays)
    if kind in ("dict", "mappingproxy"):
        pairs = {_decode(key, arrays): _decode(item, arrays) for key, item in tree["items"]}
        return pairs if kind == "dict" else MappingProxyType(pairs)
    items = [_decode(item, arrays) for item in tree["items"]]
    if kind == "slice":
        return slice(*items)
    if kind == "named":
        return tuple.__new__(_found(tree["of"], tuple), items)
    return _COLLECTIONS[kind](items)


def _data(tree: Mapping[str, Any], arrays: list[NDArray[Any]]) -> Any:
    kind = _found(tree["of"], object)
    names = [field.name for field in dataclasses.fields(kind)]
    if names != list(tree["fields"]):
        raise ValueError("other fields")
    made = object.__new__(kind)
    for name in names:
        object.__setattr__(made, name, _decode(tree["fields"][name], arrays))
    return made


def _address(kind: type) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"


def _found(address: str, base: type) -> Any:
    """Class of this name, of modules that are loaded already."""
    module, _, name = address.partition(":")
    found = getattr(sys.modules[module], name)
    if not (isinstance(found, type) and issubclass(found, base)):
        raise TypeError(address)
    return cast(Any, found)

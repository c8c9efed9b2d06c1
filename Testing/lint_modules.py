"""Static check of Slicer module files and .ui files against the inventory of the desktop.

Every name that a module uses of ``qt``, ``ctk``, ``slicer`` and ``vtk`` is looked up: classes,
properties, methods with their number of arguments, signals with their argument lists, functions of
Slicer's Python layer with their parameters. Nothing is run.

    python Testing/lint_modules.py [FILE or FOLDER ...]

Without arguments the modules of the repository are checked. What cannot be inferred is not checked.
"""

from __future__ import annotations

import ast
import functools
import os
import re
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
# slicer-core runs every file of a folder "slicer" on sys.path: Testing/slicer must not be one.
sys.path[:] = [place for place in sys.path if Path(place or ".").resolve() != ROOT / "Testing"]
sys.path.insert(0, str(ROOT / "Testing" / "standin"))
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from slicer_standin import inventory  # noqa: E402
from slicer_standin.natives import native_class  # noqa: E402
from slicer_standin.pythonqt import differences, namespaces, objects, values  # noqa: E402

CHECKED = ("PerfusionIPv", "CTVQ", "VesselBV", "LungPerfusionLib")
"""Folders with module files."""

NOT_FOR_SLICER = ("lungperfusion",)
"""Folders below those that are plain Python, without Qt."""

SHIPPED = {
    *sys.stdlib_module_names,
    *("numpy", "scipy", "SimpleITK", "pydicom", "highdicom", "dicomweb_client", "PIL"),
    *("requests", "packaging", "typing_extensions", "slicer", "vtk", "qt", "ctk", "sitkUtils"),
    *("vtkmodules", "SampleData", "ScreenCapture", "DICOMLib", "SegmentStatistics"),
    *("lungperfusion", "lungperfusion_gui", "LungPerfusionLib"),
}
"""Top-level modules that a module file may import at its top: Slicer 5.12 has them."""

APPLICATION_NAMES = {
    *("app", "mrmlScene", "modules", "moduleNames", "util", "cli", "i18n", "packaging", "logic"),
    *("testing", "parameterNodeWrapper", "ScriptedLoadableModule", "selfTests", "dicomDatabase"),
}
"""Names that the application puts on ``slicer`` beside the classes."""

ROOT_CLASSES = {
    "slicer.app": "qSlicerApplication",
    "slicer.mrmlScene": "vtkMRMLScene",
    "slicer.util.mainWindow": "qSlicerAppMainWindow",
}

VAGUE = {"QWidget", "QObject", "vtkMRMLNode", "vtkObject", "QAbstractItemModel", "QLayout"}
"""Declared types of results that say nothing about what is really returned."""

CREATES_NODE = {"AddNewNodeByClass", "CreateNodeByClass", "GetFirstNodeByClass"}

PLAIN_LAYER = {
    "slicer.util",
    "slicer.packaging",
    "slicer.i18n",
    "slicer.ScriptedLoadableModule",
    "slicer.parameterNodeWrapper",
}


ROUNDS = 3
"""Names that are inferred from other names need as many rounds as their chain is long."""


@dataclass(order=True, frozen=True)
class Finding:
    """A mistake at a line of a file."""

    path: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.text}"


# ---------------------------------------------------------------- what exists
@functools.cache
def _slicer_core() -> Any:
    import slicer

    return slicer


@functools.cache
def _vtk() -> Any:
    import vtk

    return vtk


_qt = namespaces.QtNamespace("qt")


def class_exists(name: str) -> bool:
    """Tell whether Python in Slicer can reach a Qt, CTK or Slicer class."""
    return name in inventory.classes() or hasattr(_qt, name)


def _native(name: str) -> type:
    return (
        native_class(name)
        if name in inventory.classes()
        else objects.wrapper_class(name)._native_class
    )


def member(class_name: str, name: str) -> Any:
    """Return the member of a Qt, CTK or Slicer class, or None."""
    kind = _native(class_name)
    found = objects.member(kind, name)
    if found is None and name in objects._COMMON and _is_object(kind):
        return objects.Difference(name, objects._COMMON[name])
    return found


def _is_object(kind: type) -> bool:
    from PySide6 import QtCore

    return issubclass(kind, QtCore.QObject)


def is_vtk(class_name: str) -> bool:
    """Tell whether a class is one of VTK or MRML."""
    return class_name.startswith("vtk")


@functools.cache
def vtk_class(name: str) -> Any:
    """Return a VTK or MRML class, or None."""
    return getattr(_slicer_core(), name, None) or getattr(_vtk(), name, None)


def has_name(class_name: str, name: str) -> bool:
    """Tell whether objects of the class have the name."""
    if is_vtk(class_name):
        return hasattr(vtk_class(class_name), name)
    return member(class_name, name) is not None or name in ("name", "__class__")


@functools.cache
def layer_names(module: str) -> frozenset[str]:
    """Return the public names of a module of Slicer's Python layer."""
    names: set[str] = set()
    for known, layer in inventory.load()["python"].items():
        if known == module or known.startswith(module + "."):
            names |= {*layer["functions"], *layer["classes"], *layer["names"]}
    return frozenset(names)


@functools.cache
def signal_signatures(class_name: str) -> frozenset[str]:
    """Return the signatures of all signals of a class."""
    from PySide6 import QtCore
    from slicer_standin.pythonqt import signals

    own = set(inventory.signals(class_name)) if class_name in inventory.classes() else set()
    meta = _native(class_name).staticMetaObject
    for index in range(meta.methodCount()):
        method = meta.method(index)
        if method.methodType() == QtCore.QMetaMethod.MethodType.Signal:
            own.add(bytes(method.methodSignature()).decode())
    return frozenset(own - signals._ONLY_QT6)


# ---------------------------------------------------------------- .ui files
@dataclass
class Form:
    """Widgets of a .ui file by name, and the parameters they show."""

    widgets: dict[str, str] = field(default_factory=dict)
    parameters: dict[str, str] = field(default_factory=dict)


def check_form(path: Path) -> tuple[Form, list[Finding]]:
    """Check classes, properties and connections of a .ui file."""
    try:
        root = ET.parse(path).getroot()
    except ET.ParseError as problem:
        return Form(), [Finding(str(path), 0, f"no valid .ui file: {problem}")]
    form, found = Form(), []

    def complain(text: str) -> None:
        found.append(Finding(str(path), 0, text))

    for element in root.iter("widget"):
        _check_widget(element, form, complain)
    for element in (*root.iter("layout"), *root.iter("buttongroup"), *root.iter("action")):
        if element.get("name"):
            kind = {"buttongroup": "QButtonGroup", "action": "QAction"}.get(element.tag)
            form.widgets[element.get("name")] = kind or element.get("class")
    for element in root.iter("connection"):
        _check_connection(element, form, complain)
    return form, found


def _check_widget(element: ET.Element, form: Form, complain: Any) -> None:
    kind, name = element.get("class"), element.get("name")
    if not class_exists(kind):
        complain(f"unknown widget class {kind}")
        return
    if name in form.widgets:
        complain(f"two widgets are called {name!r}")
    form.widgets[name] = kind
    for entry in element.findall("property"):
        wanted = entry.get("name")
        if wanted == "SlicerParameterName":
            form.parameters[name] = entry[0].text or ""
            continue
        known = member(kind, wanted)
        if not isinstance(known, (objects.QtProperty, objects.InventoryProperty)):
            complain(f"{kind} {name!r} has no property {wanted!r}")
            continue
        if isinstance(known, objects.InventoryProperty) and "write" not in known.spec:
            complain(f"property {wanted!r} of {kind} {name!r} is read-only")
        if entry[0].tag in ("enum", "set"):
            for part in (entry[0].text or "").split("|"):
                _check_constant(part.strip(), complain)


def _check_constant(text: str, complain: Any) -> None:
    owner, _, name = text.rpartition("::")
    owner = owner.split("::")[0]
    if owner == "Qt":
        if not hasattr(_qt.Qt, name):
            complain(f"unknown enumeration value {text}")
    elif owner and (not class_exists(owner) or member(owner, name) is None):
        complain(f"unknown enumeration value {text}")


def _check_connection(element: ET.Element, form: Form, complain: Any) -> None:
    sender, signal, receiver, slot = (
        element.findtext(key) for key in ("sender", "signal", "receiver", "slot")
    )
    for name in (sender, receiver):
        if name not in form.widgets:
            complain(f"connection with {name!r}, which does not exist")
            return
    if inventory.normalised(signal) not in signal_signatures(form.widgets[sender]):
        complain(f"{form.widgets[sender]} {sender!r} has no signal {signal}")
    method = slot.split("(")[0]
    if member(form.widgets[receiver], method) is None:
        complain(f"{form.widgets[receiver]} {receiver!r} has no slot {slot}")


# ---------------------------------------------------------------- Python files
def chain(node: ast.AST) -> str | None:
    """Return a dotted name, or None for other expressions."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = chain(node.value)
        return None if before is None else f"{before}.{node.attr}"
    return None


UNKNOWN: frozenset[str] = frozenset()
Types = frozenset[str]


class Module(ast.NodeVisitor):
    """Checks one Python file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found: list[Finding] = []
        self.tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
        self.form = Form()
        self.has_form = self.form_is_complete = False
        self.locals: list[dict[str, Types]] = [{}]
        self.attributes: dict[str, Types] = {}
        self.imported: dict[str, str] = {}

    def check(self) -> list[Finding]:
        """Return the mistakes of the file and of the forms it loads."""
        self._load_forms()
        self._check_top_imports()
        self._learn_attributes()
        self.visit(self.tree)
        self._check_parameter_names()
        return sorted(set(self.found))

    def complain(self, node: ast.AST, text: str) -> None:
        self.found.append(Finding(str(self.path), getattr(node, "lineno", 0), text))

    # ------------------------------------------------------------ forms
    def _load_forms(self) -> None:
        """Read the forms that the file names, and those of its base classes' files."""
        for node, name in _form_names(self.tree):
            path = _resource(self.path, name)
            if path is None:
                self.complain(node, f"the file {Path(name).name} does not exist in Resources")
                continue
            form, found = check_form(path)
            self.found += found
            self.form.widgets |= form.widgets
            self.form.parameters |= form.parameters
        for imported in _own_imports(self.tree):
            for _, name in _form_names(_parsed(imported)):
                path = _resource(imported, name)
                if path is not None:
                    self.form.widgets |= check_form(path)[0].widgets
        self.has_form = bool(self.form.widgets)
        self.form_is_complete = _loads_only_named_forms(self.tree)

    def _check_parameter_names(self) -> None:
        """Names that widgets show must be parameters of a wrapper in this file."""
        wrappers = [
            node
            for node in ast.walk(self.tree)
            if isinstance(node, ast.ClassDef)
            and any(
                (chain(mark) or "").endswith("parameterNodeWrapper") for mark in node.decorator_list
            )
        ]
        if not wrappers or any(wrapper.bases for wrapper in wrappers):
            return
        known = {
            entry.target.id
            for wrapper in wrappers
            for entry in wrapper.body
            if isinstance(entry, ast.AnnAssign) and isinstance(entry.target, ast.Name)
        }
        for widget, parameter in self.form.parameters.items():
            if parameter.split(".")[0] not in known:
                text = f"widget {widget!r} shows the parameter {parameter!r}, which does not exist"
                self.complain(wrappers[0], text)

    # ------------------------------------------------------------ imports
    def _check_top_imports(self) -> None:
        for node in self.tree.body:
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            for name in names:
                if name.split(".")[0] not in SHIPPED:
                    self.complain(node, f"{name} is not shipped with Slicer: import it where used")

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self.imported[alias.asname or alias.name.split(".")[0]] = (
                alias.name if alias.asname else alias.name.split(".")[0]
            )

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        module = node.module or ""
        for alias in node.names:
            self.imported[alias.asname or alias.name] = f"{module}.{alias.name}"
            if alias.name == "*":
                continue
            if module in PLAIN_LAYER and alias.name not in layer_names(module):
                self.complain(node, f"{module} has no {alias.name}")
            elif module == "slicer":
                self._check_slicer_name(node, alias.name)
            elif module in ("qt", "ctk"):
                self._check_qt_name(node, module, alias.name)

    def full_name(self, node: ast.AST) -> str | None:
        """Return the dotted name with imports resolved."""
        name = chain(node)
        if name is None:
            return None
        first, dot, rest = name.partition(".")
        return self.imported.get(first, first) + dot + rest

    # ------------------------------------------------------------ inference
    def _learn_attributes(self) -> None:
        """Infer the classes of ``self.x``; conflicting or unclear assignments make it unknown."""
        for node in ast.walk(self.tree):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                getattr(self, f"visit_{type(node).__name__}")(node)
        bound = [
            (chain(target), value)
            for node in ast.walk(self.tree)
            for target, value in _assignments(node)
        ]
        for _ in range(ROUNDS):
            seen: dict[str, list[Types]] = {}
            for name, value in bound:
                is_none = isinstance(value, ast.Constant) and value.value is None
                if name and re.fullmatch(r"self\.\w+", name) and not is_none:
                    seen.setdefault(name, []).append(self.infer(value))
            self.attributes = {
                name: frozenset().union(*types) if all(types) else UNKNOWN
                for name, types in seen.items()
            }

    def infer(self, node: ast.AST | None) -> Types:
        """Return the classes that an expression can have; empty when unknown."""
        if isinstance(node, ast.Call):
            return self._infer_call(node)
        name = None if node is None else chain(node)
        if name is None:
            return UNKNOWN
        if name.startswith(("self.ui.", "ui.")) and self.has_form:
            kind = self.form.widgets.get(name.rpartition(".")[2])
            plain = name.count(".") == 1 + name.startswith("self.")
            return frozenset({kind}) if kind and plain else UNKNOWN
        if name in self.attributes:
            return self.attributes[name]
        for scope in reversed(self.locals):
            if name in scope:
                return scope[name]
        known = ROOT_CLASSES.get(self.full_name(node) or "")
        return frozenset({known}) if known else UNKNOWN

    def _infer_call(self, node: ast.Call) -> Types:
        name = self.full_name(node.func)
        if name in ROOT_CLASSES:
            return frozenset({ROOT_CLASSES[name]})
        if name:
            module, _, kind = name.rpartition(".")
            if module in ("qt", "ctk", "slicer") and class_exists(kind):
                return frozenset({kind})
            if module in ("slicer", "vtk") and is_vtk(kind) and vtk_class(kind) is not None:
                return frozenset({kind})
        if isinstance(node.func, ast.Attribute):
            return self._infer_method(node)
        return UNKNOWN

    def _infer_method(self, node: ast.Call) -> Types:
        method = node.func.attr
        texts = [each.value for each in node.args if isinstance(each, ast.Constant)]
        if method in CREATES_NODE and texts and isinstance(texts[0], str):
            return frozenset({texts[0]}) if vtk_class(texts[0]) else UNKNOWN
        if method == "GetSingletonNode" and len(texts) > 1 and vtk_class(str(texts[1])):
            return frozenset({texts[1]})
        results = set()
        for owner in self.infer(node.func.value):
            result = next(
                (
                    inventory.classes()[base].get("returns", {}).get(method)
                    for base in inventory.lineage(owner)
                    if method in inventory.classes()[base].get("returns", {})
                ),
                None,
            )
            if result is None or result in VAGUE or "Abstract" in result:
                return UNKNOWN
            if not (class_exists(result) or vtk_class(result)):
                return UNKNOWN
            results.add(result)
        return frozenset(results)

    # ------------------------------------------------------------ scopes
    def visit_Module(self, node: ast.Module) -> None:
        self._learn_names(_outside_functions(node))
        self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        self.locals.append({argument.arg: UNKNOWN for argument in arguments})
        self._learn_names(ast.walk(node))
        self.generic_visit(node)
        self.locals.pop()

    def _learn_names(self, nodes: Iterable[ast.AST]) -> None:
        """Infer the classes of plain names in the innermost scope, also from one another."""
        bound = [pair for inner in nodes for pair in _assignments(inner)]
        fixed = set(self.locals[-1])
        for _ in range(ROUNDS):
            seen: dict[str, list[Types]] = {}
            for target, value in bound:
                if isinstance(target, ast.Name):
                    seen.setdefault(target.id, []).append(self.infer(value))
            for name, types in seen.items():
                clear = name not in fixed and all(types)
                self.locals[-1][name] = frozenset().union(*types) if clear else UNKNOWN

    visit_AsyncFunctionDef = visit_FunctionDef

    # ------------------------------------------------------------ names
    def visit_Attribute(self, node: ast.Attribute) -> None:
        name = self.full_name(node)
        if name and name.count(".") == 1:
            module, _, attribute = name.partition(".")
            if module == "slicer" and self._is_module(node.value):
                self._check_slicer_name(node, attribute)
            elif module in ("qt", "ctk") and self._is_module(node.value):
                self._check_qt_name(node, module, attribute)
            elif module == "vtk" and not hasattr(_vtk(), attribute) and attribute != "util":
                self.complain(node, f"vtk.{attribute} does not exist")
        elif name and name.count(".") == 2:
            self._check_deeper(node, name)
        self._check_ui(node)
        self._check_member(node)
        self.generic_visit(node)

    def _is_module(self, node: ast.AST) -> bool:
        return isinstance(node, ast.Name) and not any(node.id in scope for scope in self.locals)

    def _check_slicer_name(self, node: ast.AST, name: str) -> None:
        if name in APPLICATION_NAMES or name in inventory.classes():
            return
        if name.startswith("vtk") and hasattr(_slicer_core(), name):
            return
        if name in layer_names("slicer.util"):
            self.complain(node, f"slicer.{name} exists only in slicer-core: use slicer.util.{name}")
        else:
            self.complain(node, f"slicer.{name} does not exist")

    def _check_qt_name(self, node: ast.AST, module: str, name: str) -> None:
        if module == "qt" and not hasattr(_qt, name):
            self.complain(node, f"qt.{name} does not exist")
        if module == "ctk" and name not in inventory.classes():
            self.complain(node, f"ctk.{name} does not exist")

    def _check_deeper(self, node: ast.Attribute, name: str) -> None:
        module, _, attribute = name.rpartition(".")
        if module in PLAIN_LAYER and attribute not in layer_names(module):
            self.complain(node, f"{module} has no {attribute}")
        elif module == "qt.Qt" and not hasattr(_qt.Qt, attribute):
            self.complain(node, f"qt.Qt has no {attribute}")
        elif module.split(".")[0] in ("qt", "ctk", "slicer"):
            kind = module.partition(".")[2]
            if (is_vtk(kind) and vtk_class(kind) and not hasattr(vtk_class(kind), attribute)) or (
                kind != "Qt"
                and not is_vtk(kind)
                and class_exists(kind)
                and isinstance(getattr(_qt, kind, object), type)
                and member(kind, attribute) is None
                and attribute not in ("connect", "disconnect", "__init__", "__name__")
                and (kind, attribute) not in differences.STATIC
            ):
                self.complain(node, f"{module} has no {attribute}")

    def _check_ui(self, node: ast.Attribute) -> None:
        owner = chain(node.value)
        known = not self.form_is_complete or node.attr in self.form.widgets
        if owner == "self.ui" and self.has_form and not known:
            self.complain(node, f"the .ui file has no widget {node.attr!r}")

    def _check_member(self, node: ast.Attribute) -> None:
        owners = self.infer(node.value)
        if not owners:
            return
        named = "/".join(sorted(owners))
        if not any(has_name(owner, node.attr) for owner in owners):
            what = "creating attributes on C++ objects is refused: " if _is_store(node) else ""
            self.complain(node, f"{what}{named} has no {node.attr}")
        elif _is_store(node):
            for owner in owners:
                self._check_store(node, owner)

    def _check_store(self, node: ast.Attribute, owner: str) -> None:
        if is_vtk(owner) or node.attr == "name":
            return
        found = member(owner, node.attr)
        if isinstance(found, objects.InventoryProperty):
            if "write" not in found.spec:
                self.complain(node, f"{owner}.{node.attr} is read-only")
        elif isinstance(found, objects.QtProperty):
            if not values.qt_property(_native(owner), node.attr)[1]:
                self.complain(node, f"{owner}.{node.attr} is read-only")
        elif found is not None:
            self.complain(node, f"{owner}.{node.attr} is a method and cannot be assigned")

    # ------------------------------------------------------------ calls
    def visit_Call(self, node: ast.Call) -> None:
        name = self.full_name(node.func)
        if name:
            self._check_layer_call(node, name)
            self._check_constructor(node, name)
            if name == "isinstance" and len(node.args) == 2:
                self._check_isinstance(node)
            if self._is_translation(node.func) and isinstance(node.args[0], ast.JoinedStr):
                self.complain(node, "an f-string cannot be translated: use _('...').format(...)")
        if isinstance(node.func, ast.Attribute):
            self._check_method_call(node, node.func)
        self.generic_visit(node)

    def _is_translation(self, function: ast.AST) -> bool:
        return isinstance(function, ast.Name) and self.imported.get(function.id) == "slicer.i18n.tr"

    def _check_isinstance(self, node: ast.Call) -> None:
        kind = self.full_name(node.args[1])
        if kind in ("qt.QWidget", "qt.QObject", "qt.QAbstractButton", "qt.QLayout"):
            self.complain(
                node, f"isinstance(..., {kind}) is False for its subclasses: use inherits"
            )

    def _check_layer_call(self, node: ast.Call, name: str) -> None:
        module, _, function = name.rpartition(".")
        if module not in ("slicer.util", "slicer.packaging"):
            return
        spec = inventory.python_layer(module)["functions"].get(function)
        if spec is None:
            return
        names, keyword_only = spec.get("args", []), spec.get("kwonly", [])
        for keyword in node.keywords:
            if keyword.arg and keyword.arg not in (*names, *keyword_only) and not spec.get("kwarg"):
                self.complain(node, f"{name} has no parameter {keyword.arg!r}")
        if _has_star(node):
            return
        if len(node.args) > len(names) and not spec.get("vararg"):
            self.complain(node, f"{name} takes at most {len(names)} arguments")
        given = len(node.args) + sum(keyword.arg in names for keyword in node.keywords)
        if given < spec.get("min", 0):
            self.complain(node, f"{name} needs at least {spec['min']} arguments")

    def _check_constructor(self, node: ast.Call, name: str) -> None:
        module, _, kind = name.rpartition(".")
        is_wrapped = module in ("qt", "ctk", "slicer") and not is_vtk(kind) and class_exists(kind)
        if is_wrapped and node.keywords and isinstance(getattr(_qt, kind, object), type):
            self.complain(node, f"{name} takes no keyword arguments in PythonQt")

    def _check_method_call(self, node: ast.Call, function: ast.Attribute) -> None:
        owners = self.infer(function.value)
        if function.attr == "connect" and isinstance(function.value, ast.Attribute):
            self._check_signal_attribute(node, function.value)
        for owner in owners:
            if is_vtk(owner):
                continue
            if function.attr in ("connect", "disconnect"):
                self._check_signal(node, owner)
                continue
            found = member(owner, function.attr)
            if isinstance(found, (objects.QtProperty, objects.InventoryProperty)):
                self.complain(node, f"{owner}.{function.attr} is a property: no parentheses")
            elif found is not None:
                self._check_arguments(node, owner, found)

    def _check_signal(self, node: ast.Call, owner: str) -> None:
        if not node.args or not isinstance(node.args[0], ast.Constant):
            return
        text = node.args[0].value
        signature = inventory.normalised(text) if isinstance(text, str) else None
        if signature is None:
            self.complain(node, f"{text!r} is no signal signature: give its argument types")
        elif signature not in signal_signatures(owner):
            self.complain(node, f"{owner} has no signal {text}")

    def _check_signal_attribute(self, node: ast.Call, signal: ast.Attribute) -> None:
        for owner in self.infer(signal.value):
            if is_vtk(owner):
                continue
            found = member(owner, signal.attr)
            if found is not None and not isinstance(found, objects.SignalMember):
                self.complain(node, f"{owner}.{signal.attr} is no signal")

    def _check_arguments(self, node: ast.Call, owner: str, found: Any) -> None:
        if node.keywords:
            text = f"{owner}.{found.name} takes no keyword arguments in PythonQt"
            self.complain(node, text)
        if _has_star(node) or node.keywords:
            return
        count = len(node.args)
        if isinstance(found, objects.InventoryMethod):
            fits = any(few <= count <= most for _, few, most in found.overloads)
        elif isinstance(found, objects.QtMethod):
            fits = _fits_qt(_native(owner), found.name, count)
        else:
            fits = True
        if not fits:
            self.complain(node, f"{owner}.{found.name} does not take {count} arguments")


def _fits_qt(kind: type, name: str, count: int) -> bool:
    overloads = values._overloads(kind, name)
    if not overloads:
        return True
    for signature in overloads:
        places = [
            slot
            for slot in signature.parameters.values()
            if slot.kind in (slot.POSITIONAL_ONLY, slot.POSITIONAL_OR_KEYWORD)
            and slot.name != "self"
        ]
        needed = sum(slot.default is slot.empty for slot in places)
        if needed <= count <= len(places):
            return True
    return False


def _form_names(tree: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    """Yield the names of .ui files that stand in a file."""
    for node in ast.walk(tree):
        is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
        if is_text and re.fullmatch(r"[\w./]+\.ui", node.value):
            yield node, node.value


def _resource(path: Path, name: str) -> Path | None:
    """Return a file of the Resources beside a module, or beside the package it lies in."""
    for folder in (path.parent, path.parent.parent):
        found = folder / "Resources" / name
        if found.exists():
            return found
    return None


def _loads_only_named_forms(tree: ast.AST) -> bool:
    """Tell whether each ``loadUI`` names its form here; a base class may leave it to others."""
    named = {
        chain(target).rpartition(".")[2]
        for node in ast.walk(tree)
        for target, value in _assignments(node)
        if isinstance(value, ast.Constant) and str(value.value).endswith(".ui") and chain(target)
    }
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and (chain(node.func) or "").endswith("loadUI")):
            continue
        parts = [part for argument in node.args for part in ast.walk(argument)]
        texts = [str(part.value) for part in parts if isinstance(part, ast.Constant)]
        names = {chain(part).rpartition(".")[2] for part in parts if chain(part)}
        if not named & names and not any(text.endswith(".ui") for text in texts):
            return False
    return True


def _own_imports(tree: ast.AST) -> Iterator[Path]:
    """Yield the files of the project's Qt package that a file imports names from."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("lungperfusion_gui"):
            base = ROOT / "LungPerfusionLib" / Path(*node.module.split("."))
            candidates = [base.with_suffix(".py")]
            candidates += [base / f"{alias.name}.py" for alias in node.names]
            yield from (path for path in candidates if path.exists())


@functools.cache
def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def _outside_functions(node: ast.AST) -> Iterator[ast.AST]:
    """Walk a module without its functions."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield child
            yield from _outside_functions(child)


def _assignments(node: ast.AST) -> Iterator[tuple[ast.AST, ast.AST | None]]:
    """Yield what a statement binds: targets with values, or None when the value is unclear."""
    if isinstance(node, ast.Assign):
        for target in node.targets:
            if isinstance(target, (ast.Tuple, ast.List)):
                yield from ((part, None) for part in target.elts)
            else:
                yield target, node.value
    elif isinstance(node, (ast.AnnAssign, ast.NamedExpr)):
        if node.value is not None:
            yield node.target, node.value
    elif isinstance(node, (ast.For, ast.comprehension)):
        for part in ast.walk(node.target):
            yield part, None
    elif isinstance(node, ast.With):
        for item in node.items:
            if item.optional_vars is not None:
                yield item.optional_vars, None
    elif isinstance(node, ast.AugAssign):
        yield node.target, None


def _is_store(node: ast.Attribute) -> bool:
    return isinstance(node.ctx, ast.Store)


def _has_star(node: ast.Call) -> bool:
    return any(isinstance(each, ast.Starred) for each in node.args) or any(
        keyword.arg is None for keyword in node.keywords
    )


# ---------------------------------------------------------------- command line
def module_files(places: list[Path]) -> list[Path]:
    """Return the Python files to check at some places."""
    files = []
    for place in places:
        if place.is_file():
            files.append(place)
            continue
        for path in sorted(place.rglob("*.py")):
            parts = path.relative_to(place).parts
            if "Testing" not in parts and not set(NOT_FOR_SLICER) & set(parts[:-1]):
                files.append(path)
    return files


def main(arguments: list[str] | None = None) -> int:
    """Check and print; the exit code is 1 when there are mistakes."""
    given = sys.argv[1:] if arguments is None else arguments
    places = [Path(each) for each in given] or [ROOT / name for name in CHECKED]
    files = module_files(places)
    found = [finding for path in files for finding in Module(path).check()]
    for finding in found:
        print(finding)
    print(f"{len(files)} files checked, {len(found)} mistakes")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())

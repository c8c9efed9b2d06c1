"""The layers of docs/architecture.md hold, and habits that no linter knows are kept."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ROOT / "LungPerfusionLib"
PACKAGE = LIBRARY / "lungperfusion"
SOURCES = sorted(PACKAGE.rglob("*.py"))

LAYERS = {
    0: "__init__ naming errors progress threads terms volume labels resampling orientation "
    "measurement quality acquisition regions verdicts",
    1: "morphology smoothing body stature noise density opacity iodine blood vessels segmentation "
    "vq dynamic xenon registry checking checking_series phantoms",
    2: "terminal arguments processes source trouble io engines results archive "
    "analysis batch cohort commands __main__",
    3: "mrml",
}
"""Parts of the package by layer; each may import those that stand before it."""
LAYER_OF = {part: layer for layer, parts in LAYERS.items() for part in parts.split()}
PLACE_OF = {part: place for place, part in enumerate(LAYER_OF)}
ALLOWED_BELOW = {0: {0}, 1: {0, 1}, 2: {0, 1, 2}, 3: {0, 1, 2, 3}}
"""Layers that each layer may import; of layer 2 mrml takes colours and codes, no files."""

SHIPPED_WITH_SLICER = {"numpy", "scipy", "SimpleITK", "pydicom", "highdicom"}
FORBIDDEN = {
    *("slicer", "vtk", "vtkmodules", "qt", "ctk", "torch", "skimage", "matplotlib"),
    *("pandas", "sklearn", "statsmodels", "dask", "distributed", "numba", "PySide6"),
}
TOUCHES_FILES = {
    *("open", "ReadImage", "WriteImage", "dcmread", "save_as", "write_text", "write_bytes"),
    *("savefig", "savez", "savetxt", "to_csv", "mkdir", "unlink", "rmtree"),
}


def part_of(module: str) -> str:
    """``volume`` of ``lungperfusion.volume``, ``terms`` of ``lungperfusion.terms.regions``."""
    return [*module.split("."), "__init__"][1]


def module_name(path: Path) -> str:
    parts = path.relative_to(LIBRARY).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imported_modules(tree: ast.AST) -> Iterator[tuple[ast.stmt, str]]:
    """Every module that is imported anywhere, functions included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import"
            # `from lungperfusion import mrml` names a module, `from numpy import array` does not
            if node.module == "lungperfusion":
                yield from ((node, f"lungperfusion.{alias.name}") for alias in node.names)
            else:
                yield node, node.module


def file_scope_imports(tree: ast.Module) -> Iterator[str]:
    """Modules imported when the file is, but for type checkers' eyes only."""

    def statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
        for node in body:
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
                continue
            yield node
            for field in ("body", "orelse", "finalbody"):
                if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    yield from statements(getattr(node, field, []))
            for handler in getattr(node, "handlers", []):
                yield from statements(handler.body)

    for node in statements(tree.body):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def calls(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and bare name of everything that is called."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name):
                yield node.lineno, node.func.id
            elif isinstance(node.func, ast.Attribute):
                yield node.lineno, node.func.attr


@pytest.fixture(params=SOURCES, ids=relative)
def source(request: pytest.FixtureRequest) -> tuple[int, ast.Module]:
    """Layer and syntax tree of one file of the package."""
    part = part_of(module_name(request.param))
    assert part in LAYER_OF, f"say in this test and docs/architecture.md which layer {part} is in"
    return LAYER_OF[part], ast.parse(request.param.read_text(encoding="utf-8"))


# Layers ---------------------------------------------------------------------------------------


def test_imports_go_downwards(source, request):
    layer, tree = source
    here = part_of(module_name(ROOT / request.node.callspec.id))
    for node, module in imported_modules(tree):
        if module.split(".")[0] == "lungperfusion":
            part = part_of(module)
            target = LAYER_OF.get(part, 0)  # `from lungperfusion import __version__`
            assert target in ALLOWED_BELOW[layer], (
                f"line {node.lineno}: layer {layer} imports {module} of layer {target}"
            )
            assert PLACE_OF.get(part, 0) <= PLACE_OF[here], (
                f"line {node.lineno}: {here} imports {module}, which stands after it in LAYERS"
            )
        assert not module.startswith("lungperfusion_gui"), f"line {node.lineno}: imports the GUI"


def imports_within(sources: Mapping[str, str]) -> dict[str, set[str]]:
    """Modules that each module imports, of those given by name with their text."""
    graph: dict[str, set[str]] = {}
    for name, text in sources.items():
        found: set[str] = set()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names = {f"{node.module}.{alias.name}" for alias in node.names}
                inner = names & set(sources)  # `from package import module` means that module
                found |= inner or {node.module or ""}
        graph[name] = (found & set(sources)) - {name}
    return graph


def circular(graph: Mapping[str, set[str]]) -> list[str]:
    """Modules that stay when those at either end of all imports are taken away again and again."""
    left = dict(graph)
    while True:
        imported = {target for targets in left.values() for target in targets}
        ends = [n for n, targets in left.items() if not targets & set(left) or n not in imported]
        if not ends:
            return sorted(left)
        for name in ends:
            del left[name]


def test_no_module_imports_itself_by_a_detour():
    texts = {module_name(path): path.read_text(encoding="utf-8") for path in SOURCES}

    assert circular(imports_within(texts)) == []


def test_a_detour_is_seen():
    texts = {
        "a": "import c",
        "b": "def f():\n    from a import x",
        "c": "if TYPE_CHECKING:\n    from b import y",
        "d": "import a",
        "e": "import f",
        "f": "",
    }

    assert circular(imports_within({**texts, "c": ""})) == []
    assert circular(imports_within(texts)) == ["a", "b", "c"]


def test_file_scope_imports_are_what_slicer_ships(source):
    layer, tree = source
    allowed = SHIPPED_WITH_SLICER | {"lungperfusion"} | sys.stdlib_module_names
    if layer == 3:
        allowed |= {"slicer", "vtk", "vtkmodules"}

    assert {name.split(".")[0] for name in file_scope_imports(tree)} <= allowed


def test_lower_layers_touch_no_files(source):
    layer, tree = source
    if layer <= 1:
        assert [(line, name) for line, name in calls(tree) if name in TOUCHES_FILES] == []


def test_only_the_command_line_prints(source, request):
    _, tree = source
    if not request.node.callspec.id.endswith("__main__.py"):
        assert [line for line, name in calls(tree) if name == "print"] == []


def test_no_singletons_of_the_slicer_application(source):
    _, tree = source
    used = [
        f"line {node.lineno}: slicer.{node.attr}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "slicer"
        and node.attr in {"mrmlScene", "app", "modules", "selfTests"}
    ]
    assert used == []


def test_random_numbers_are_seeded(source):
    _, tree = source
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and "default_rng" in ast.dump(node.func):
            assert node.args or node.keywords, f"line {node.lineno}: default_rng() without a seed"
        if isinstance(node, ast.Attribute) and ast.unparse(node).startswith("np.random."):
            name = ast.unparse(node)
            assert name in {"np.random.default_rng", "np.random.Generator"}, name


MOST_LINES = 100
LONGER = {"train"}
"""Still to be divided."""
MOST_PARAMETERS = 8
MORE_PARAMETERS = {
    *("grow", "make_breathing_phantom", "render", "render_vessels"),  # phantoms: physics by name
    *("_claim", "montage", "train", "vq_sections"),
    "find_defects",
}
"""Functions with up to 13 that are still to be divided; the list may only become shorter."""


def test_functions_are_short_and_take_little(source):
    _, tree = source
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        lines = (node.end_lineno or node.lineno) - node.lineno + 1
        assert lines <= MOST_LINES or node.name in LONGER, (
            f"{node.name} has {lines} lines: divide it into named steps"
        )
        count = len([*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs])
        if node.name not in MORE_PARAMETERS:
            assert count <= MOST_PARAMETERS, (
                f"{node.name} takes {count} parameters: make a frozen dataclass of its settings"
            )


def test_no_names_that_mean_nothing():
    vague = {"utils", "util", "helpers", "helper", "misc", "common", "manager", "tools"}

    assert [relative(path) for path in SOURCES if path.stem in vague] == []


@pytest.mark.parametrize(
    ("filename", "code", "rule"),
    [
        ("lungperfusion/density.py", "import slicer", "TID251"),
        ("lungperfusion/density.py", "from vtkmodules.util import numpy_support", "TID251"),
        ("lungperfusion/commands/lungs.py", "import vtk", "TID251"),
        ("lungperfusion/results/report.py", "import qt", "TID251"),
        ("lungperfusion/segmentation/lungs.py", "import ctk", "TID251"),
        ("lungperfusion/density.py", "import skimage.measure", "TID253"),
        ("lungperfusion/results/figures.py", "from matplotlib import pyplot", "TID253"),
        ("lungperfusion/batch/engine.py", "import dask", "TID253"),
        ("lungperfusion/segmentation/lobes.py", "import torch", "TID253"),
        ("lungperfusion/density.py", "print(1)", "T201"),
        ("lungperfusion/density.py", "from .volume import Volume", "TID252"),
    ],
)
def test_linter_catches_a_seeded_violation(filename, code, rule):
    assert rule in ruff_rules(filename, f'"""Doc."""\n\n{code}\n')


@pytest.mark.parametrize(
    ("filename", "code"),
    [
        ("lungperfusion/mrml/volumes.py", "import slicer\nimport vtk"),
        ("lungperfusion_gui/overlay.py", "import qt\nimport slicer"),
        ("lungperfusion/__main__.py", "print(1)"),
        ("lungperfusion/density.py", "import SimpleITK\nfrom scipy import ndimage"),
    ],
)
def test_linter_lets_the_right_layer_pass(filename, code):
    rules = ruff_rules(filename, f'"""Doc."""\n\n{code}\n')

    assert not {"TID251", "TID252", "TID253", "T201"} & rules


def ruff_rules(filename: str, code: str) -> set[str]:
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", "--output-format=concise"]
    run = subprocess.run(
        [*command, "--stdin-filename", str(LIBRARY / filename), "-"],
        input=code,
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert run.returncode in (0, 1), run.stderr
    return set(re.findall(r"^\S+:\d+:\d+: ([A-Z]+\d+)", run.stdout, re.MULTILINE))


def test_package_imports_without_slicer_and_without_extras():
    names = [name for name in map(module_name, SOURCES) if part_of(name) != "mrml"]
    code = (
        "import importlib, sys\n"
        f"for name in {names}: importlib.import_module(name)\n"
        f"print(*sorted({FORBIDDEN} & {{name.split('.')[0] for name in sys.modules}}))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == []


def test_importing_the_package_itself_loads_nothing():
    code = "import sys; before = set(sys.modules); import lungperfusion\n"
    code += "print(*(set(sys.modules) - before))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert run.stdout.split() == ["lungperfusion"]


# The checks themselves ------------------------------------------------------------------------


def test_import_scan_sees_every_form():
    tree = ast.parse(
        "import a.b\nfrom lungperfusion import mrml\nfrom c.d import e\n"
        "def f():\n    import lungperfusion.io.scan\n"
    )

    assert {name for _, name in imported_modules(tree)} == {
        *("a.b", "lungperfusion.mrml", "c.d", "lungperfusion.io.scan")
    }


def test_file_scope_scan_looks_into_try_but_not_into_functions():
    tree = ast.parse(
        "if TYPE_CHECKING:\n    import a\ntry:\n    import b\nexcept ImportError:\n    import c\n"
        "def f():\n    import d\nclass C:\n    import e\n    def g(self):\n        import h\n"
    )

    assert set(file_scope_imports(tree)) == {"b", "c", "e"}


# Names that may be those of patients ----------------------------------------------------------


FROM_OUTSIDE = r"\b(path|paths|folder|file(?!\.frame)|root|out|source)\b|\.name\b(?!\()"
"""Variables that hold what users and their files are called."""
NAMED_ELSEWHERE = (
    r"^(image|scan|options\.\w+)\.name$|^(analysis|engine|pair|self)\b|strerror|^len\("
)
"""Marked where they are made; of this program; numbers."""


def unmarked_names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Names in the messages of errors that `lungperfusion.naming.named` does not mark."""
    caught: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler) and node.name:
            kinds = ast.unparse(node.type) if node.type else "BaseException"
            for inner in ast.walk(node):
                if isinstance(inner, ast.Call) and ast.unparse(inner.func) == "InputError":
                    caught[f"{inner.lineno} {node.name}"] = kinds
    for node in ast.walk(tree):
        if isinstance(node, ast.FormattedValue):
            text = ast.unparse(node.value)  # in any sentence, whatever becomes of it
            if re.fullmatch(r"(Path\()?(path|file|folder|source|image_path)\)?\.name", text):
                yield node.lineno, text
        if not (isinstance(node, ast.Call) and ast.unparse(node.func) == "InputError"):
            continue
        marked = {
            id(inner)
            for part in ast.walk(node)
            if isinstance(part, ast.Call) and ast.unparse(part.func) == "named"
            for inner in ast.walk(part)
        }
        for part in ast.walk(node):
            if not isinstance(part, ast.FormattedValue) or {id(part), id(part.value)} & marked:
                continue
            text = ast.unparse(part.value)
            if re.search(NAMED_ELSEWHERE, text):
                continue
            kinds = caught.get(f"{node.lineno} {text}")
            if re.search(FROM_OUTSIDE, text) or (kinds is not None and kinds != "InputError"):
                yield node.lineno, text


def test_errors_mark_the_names_they_hold(source):
    layer, tree = source
    if layer < 3:  # of the desktop alone, whose errors are shown and not kept
        assert list(unmarked_names(tree)) == []


def test_unmarked_names_are_seen():
    tree = ast.parse(
        "try: pass\n"
        "except OSError as error: raise InputError(f'no {path.name}, {error}, {named(path)}')\n"
        "except InputError as error: raise InputError(f'{error} {error.strerror} {count}')"
    )

    assert {text for _, text in unmarked_names(tree)} == {"path.name", "error"}


# What no file of the project may hold ---------------------------------------------------------

PRIVATE = {
    "a machine path": r"(?<![\w.])/(?:work|root|home|Users|opt/(?:pypi|wheels))/|\b[A-Z]:\\Users\\",
    "a package registry": "|".join(
        re.escape(".".join(name))
        for name in [
            ("pypi", "org"),
            ("files", "pythonhosted", "org"),
            ("conda", "anaconda", "org"),
            ("registry", "npmjs", "org"),
            ("index", "crates", "io"),
            ("proxy", "golang", "org"),
        ]
    ),
    "an open end": r"\b(?:TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b",
}
GENERATED = {".git", ".venv", "build", "dist", "results", "node_modules"}


def project_files() -> list[Path]:
    """Text files of the repository, without what is generated."""
    binary = {".png", ".jpg", ".gif", ".pyc", ".nrrd", ".gz", ".dcm", ".zip", ".npz", ".mrb"}

    def walk(folder: Path) -> Iterator[Path]:
        for path in folder.iterdir():
            if path.is_dir():
                generated = path.name in GENERATED and path.parent == ROOT
                cache = path.name.endswith(("_cache", "__pycache__", ".egg-info"))
                if not generated and not cache and path.name != ".hypothesis":
                    yield from walk(path)
            elif path.suffix.lower() not in binary:
                yield path

    return sorted(walk(ROOT))


@pytest.mark.parametrize("what", PRIVATE)
def test_no_file_holds(what):
    pattern = re.compile(PRIVATE[what])
    found = [
        f"{relative(path)}:{number}: {line.strip()[:80]}"
        for path in project_files()
        if path != Path(__file__) and path.name != ".git"
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if pattern.search(line)
    ]

    assert found == []


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("a machine path", "open('/" + "home/me/ct.nrrd')"),
        ("a machine path", "C:" + "\\Users\\me"),
        ("a package registry", "https://" + "pypi" + ".org/simple"),
        ("an open end", "# TO" + "DO later"),
    ],
)
def test_patterns_find_what_they_look_for(what, text):
    assert re.search(PRIVATE[what], text)


def test_text_files_have_unix_line_ends_and_a_last_one():
    wrong = [
        relative(path)
        for path in project_files()
        if (content := path.read_bytes()) and (b"\r\n" in content or content[-1:] != b"\n")
    ]

    assert wrong == []

"""What importing costs, and what no file in curate/ may hold."""

from __future__ import annotations

import ast
import pkgutil
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from importlib.util import find_spec
from pathlib import Path

import pytest

import curate

ROOT = Path(curate.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
MODULES = sorted(
    found.name for found in pkgutil.walk_packages([str(ROOT)], "curate.") if found.name != "curate.__main__"
)
HEAVY = ("numpy", "pyarrow", "polars", "scipy", "sklearn", "torch", "sentence_transformers", "pydantic")


def loaded_by(*modules: str) -> set[str]:
    """Which of the heavy packages are loaded after importing ``modules`` in a process of its own."""
    lines = [*(f"import {module}" for module in modules), "import sys", "print(*sys.modules)"]
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True)
    return set(done.stdout.split()) & set(HEAVY)


def test_import_curate_loads_nothing_heavy():
    assert loaded_by("curate") == set()


def test_the_command_line_loads_nothing_heavy():
    assert loaded_by("curate.cli.app", "curate.progress", "curate.errors") == set()


def test_reading_a_configuration_needs_pydantic_and_nothing_else_heavy():
    names = [name for name in MODULES if name.startswith("curate.config")]
    assert loaded_by("curate.config", *names) == {"pydantic"}


def test_listing_plugins_loads_none_of_them():
    script = (
        "import sys\nfrom curate.plugins import registry\n"
        "print(*(name for kind in registry.KINDS for name in registry.names(kind)))\n"
        "print(*(name for name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    names, modules = (line.split() for line in done.stdout.splitlines())
    assert {"ccs", "lsa", "kmeans", "parquet"} <= set(names)
    assert not {module.rpartition(".")[2] for module in modules if module.startswith("curate.plugins.")} & set(names)


@pytest.fixture(scope="module")
def everything():
    """A process that imported every module of ours, with warnings as errors, and printed all that it loaded."""
    script = f"import importlib, sys\nfor module in {MODULES}: importlib.import_module(module)\nprint(*sys.modules)"
    return subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=False)


def test_every_module_can_be_imported_without_a_warning(everything):
    assert (everything.returncode, everything.stderr) == (0, "")


def test_no_module_loads_what_only_some_need(everything):
    """scikit-learn and torch stand inside the functions that use them."""
    loaded = {*everything.stdout.split()}
    assert {*MODULES} <= loaded
    assert not {"sklearn", "torch", "sentence_transformers"} & loaded


def imports(module: str, source: str) -> set[str]:
    """The modules of ours that one loads when it is imported; not those that its functions load, nor its packages."""
    pending, found = list(ast.parse(source).body), set()
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            pending += node.orelse
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            pending += ast.iter_child_nodes(node)
    return {name for name in found if name in MODULES and not f"{module}.".startswith(f"{name}.")}


def test_no_modules_import_each_other_so_that_any_can_be_imported_first():
    graph = {module: imports(module, Path(find_spec(module).origin).read_text(encoding="utf-8")) for module in MODULES}
    assert sum(map(len, graph.values())) > len(MODULES)
    TopologicalSorter(graph).prepare()


def test_modules_that_import_each_other_are_found():
    one, other = "curate.errors", "curate.seeds"
    circle = {one: imports(one, f"if True:\n    import {other}"), other: imports(other, f"class A:\n    import {one}")}
    with pytest.raises(CycleError):
        TopologicalSorter(circle).prepare()
    assert imports(one, f"if TYPE_CHECKING:\n    import {other}\ndef f():\n    import {other}") == set()


def found_in(path: Path) -> set[str]:
    """Constructs of a file that house rules speak of."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Assert):
            found.add("assert")
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            found.add("print")
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names} & {"pickle"}
        if isinstance(node, ast.ImportFrom):
            found |= {node.module or ""} & {"pickle"}
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle" and not is_false(node.value):
            found.add("pickle")
        if isinstance(node, ast.ExceptHandler) and node.type is None:
            found.add("bare except")
    return found


def is_false(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is False


def test_no_file_asserts_prints_or_pickles():
    """Results and progress are printed by the progress sinks only; an assert is gone under -O; a pickle runs code."""
    printing = (ROOT / "progress.py", ROOT / "cli" / "output.py")
    found = {
        path.relative_to(ROOT).as_posix(): found_in(path) - ({"print"} if path in printing else set()) for path in FILES
    }
    assert {name: constructs for name, constructs in found.items() if constructs} == {}


def test_the_check_above_can_fail(tmp_path):
    bad = tmp_path / "bad.py"
    bad.write_text("import pickle\nassert print(1)\nnp.load(x, allow_pickle=True)\ntry: pass\nexcept: pass\n")
    assert found_in(bad) == {"pickle", "assert", "print", "bare except"}

"""Collect the docstrings of Python's standard library: ``python data_samples/docstrings.py [OUT]``.

The sources are parsed, and neither imported nor executed. Rows are sorted by module, and in each module from top to
bottom.
"""

from __future__ import annotations

import argparse
import ast
import json
import sys
import sysconfig
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
TESTS = {"test", "tests", "idle_test"}

Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def modules(root: Path) -> list[tuple[str, Path]]:
    """Return the dotted name and the file of every module under ``root``, sorted by name, without tests.

    Directories such as ``site-packages`` and ``config-3.11`` cannot be part of a module name, so they are skipped.
    """
    found = []
    for path in root.rglob("*.py"):
        parts = path.relative_to(root).with_suffix("").parts
        if all(part.isidentifier() for part in parts) and not TESTS.intersection(parts):
            found.append((".".join(parts[:-1] if parts[-1] == "__init__" else parts), path))
    return sorted(found)


def documented(node: ast.AST, name: str) -> Iterator[tuple[str, Documented]]:
    """Yield the node and all definitions in it, with qualified names, from top to bottom."""
    if isinstance(node, Documented):
        yield name, node
    inside = f"{name}.<locals>" if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else name
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield from documented(child, f"{inside}.{child.name}")
        else:
            yield from documented(child, inside)


def rows(root: Path) -> Iterator[dict[str, str | int]]:
    """Yield one row for every docstring under ``root``."""
    seen: Counter[str] = Counter()
    for module, path in modules(root):
        for name, node in documented(ast.parse(path.read_bytes(), path), module):
            text = ast.get_docstring(node)
            if text and text.strip():
                seen[name] += 1
                yield {
                    "id": name if seen[name] == 1 else f"{name}#{seen[name]}",
                    "text": text,
                    "module": module.partition(".")[0],
                    "kind": {ast.Module: "module", ast.ClassDef: "class"}.get(type(node), "function"),
                    "lines": len(text.splitlines()),
                }


def collect(out: Path, root: Path) -> int:
    """Write the docstrings under ``root`` to ``out``, one per line, and return their number.

    ``out`` appears only when it is complete.
    """
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows(root)]
    part = out.with_name(f"{out.name}.part")
    part.write_text("".join(lines), encoding="utf-8", newline="\n")
    part.replace(out)
    return len(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "target", nargs="?", type=Path, default=HERE / "docstrings.jsonl", help="where to write (default: %(default)s)"
    )
    target = parser.parse_args().target
    stdlib = Path(sysconfig.get_path("stdlib"))
    number = collect(target, stdlib)
    print(f"{number} docstrings from {stdlib} in {target}", file=sys.stderr)
    if not number:
        sys.exit("the sources of the standard library are not installed")

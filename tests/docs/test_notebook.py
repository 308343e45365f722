"""Tests that the notebook runs as written and shows the values that its cells have.

To write its outputs again, install Jupyter and run ``jupyter execute --inplace docs/notebook.ipynb``.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import re
import shutil
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
CHANGING = re.compile(r"(export/|version )[0-9a-f]{12}")
"""Versions, which differ between releases."""


def evaluate(source: str, names: dict[str, Any]) -> tuple[object, str]:
    """Run a cell, and return the value of its last expression and what it prints."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, "cell", "exec"), names)
        value = None if last is None else eval(compile(ast.Expression(last.value), "cell", "eval"), names)
    return value, printed.getvalue()


def test_the_notebook_runs_and_shows_its_results(tmp_path, monkeypatch):
    for name in ("data_samples", "configs"):
        shutil.copytree(ROOT / name, tmp_path / name)
    (tmp_path / "docs").mkdir()
    monkeypatch.chdir(tmp_path / "docs")
    names: dict[str, Any] = {}
    cells = json.loads((ROOT / "docs" / "notebook.ipynb").read_text())["cells"]
    codes = [cell for cell in cells if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in codes] == list(range(1, len(codes) + 1))
    for cell in codes:
        value, printed = evaluate("".join(cell["source"]), names)
        shown = {
            kind: "".join(output.get("text", output.get("data", {}).get("text/plain", [])))
            for output in cell["outputs"]
            if (kind := output.get("name", output["output_type"])) in ("stdout", "execute_result")
        }
        assert CHANGING.sub("", printed) == CHANGING.sub("", shown.get("stdout", ""))
        if value is not None:
            assert CHANGING.sub("", repr(value)) == CHANGING.sub("", shown["execute_result"])

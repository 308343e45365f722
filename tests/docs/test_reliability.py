"""Tests of the table of faults: every row names an existing test, and every exit code has a row."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from curate import errors

ROOT = Path(__file__).parents[2]
ROWS = [
    [cell.strip() for cell in line.strip("|\n").split(" | ")]
    for line in (ROOT / "docs" / "explanation" / "reliability.md").read_text().partition("## Faults")[2].splitlines()
    if line.startswith("| ") and not line.startswith(("| fault", "| **"))
]


@cache
def functions(path: Path) -> set[str]:
    return {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_every_row_names_a_test_that_there_is(row):
    fault, told, code, left, test = row
    assert all((fault, told, code, left))
    file, _, name = test.strip("`").partition("::")
    assert name in functions(ROOT / file)
    assert name.startswith("test_")


def test_every_exit_code_has_a_row():
    codes = {str(code) for name, code in vars(errors).items() if name.isupper() and isinstance(code, int)}
    assert codes == {row[2] for row in ROWS if re.fullmatch(r"\d+", row[2])}

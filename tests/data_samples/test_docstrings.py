"""The docstring pool: what is collected, under which name, in which order."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "data_samples" / "docstrings.py"
collect = runpy.run_path(str(SCRIPT))["collect"]


@pytest.fixture
def library(tmp_path: Path) -> Path:
    files = {
        "b.py": '''
            """Module b."""
            raise RuntimeError("this file must not be executed")

            class C:
                """Class C."""
                @property
                def p(self):
                    """Getter."""
                @p.setter
                def p(self, value):
                    """Setter."""

            async def outer():
                """Outer."""
                if True:
                    def inner():
                        """Grüße."""
            ''',
        "a/__init__.py": '"""Package a.\n\n    Indented.\n    """',
        "a/deep.py": 'def f():\n    "  "\ndef g(): pass\n',
        "a/tests/test_x.py": '"""A test."""',
        "site-packages/c.py": '"""Not of the standard library."""',
    }
    for name, text in files.items():
        path = tmp_path / "library" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip(), encoding="utf-8")
    return tmp_path / "library"


def collected(library: Path, out: Path) -> list[dict[str, Any]]:
    number = collect(out, library)
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert number == len(rows)
    return rows


def test_every_docstring_is_collected_once_in_order_of_name_and_place(library: Path, tmp_path: Path) -> None:
    rows = collected(library, tmp_path / "out.jsonl")
    assert [(row["id"], row["kind"], row["module"], row["text"], row["lines"]) for row in rows] == [
        ("a", "module", "a", "Package a.\n\nIndented.", 3),
        ("b", "module", "b", "Module b.", 1),
        ("b.C", "class", "b", "Class C.", 1),
        ("b.C.p", "function", "b", "Getter.", 1),
        ("b.C.p#2", "function", "b", "Setter.", 1),
        ("b.outer", "function", "b", "Outer.", 1),
        ("b.outer.<locals>.inner", "function", "b", "Grüße.", 1),
    ]


def test_two_runs_give_the_same_bytes(library: Path, tmp_path: Path) -> None:
    collect(tmp_path / "one.jsonl", library)
    collect(tmp_path / "two.jsonl", library)
    assert (tmp_path / "one.jsonl").read_bytes() == (tmp_path / "two.jsonl").read_bytes()


def test_a_failure_leaves_the_old_file(library: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    out.write_text("old")
    (library / "z.py").write_text("def (")
    with pytest.raises(SyntaxError):
        collect(out, library)
    assert out.read_text() == "old"


@pytest.mark.slow
def test_the_command_collects_the_real_standard_library(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    run = subprocess.run([sys.executable, SCRIPT, out], check=True, capture_output=True, text=True, env=os.environ)
    rows = {row["id"]: row for row in map(json.loads, out.read_text(encoding="utf-8").splitlines())}
    assert f"{len(rows)} docstrings" in run.stderr, "as many ids as rows"
    assert run.stdout == ""
    assert len(rows) > 5_000
    assert rows["json.dumps"]["module"] == "json"
    assert rows["json.dumps"]["text"].startswith("Serialize ``obj``")
    assert not any(row["module"] == "test" for row in rows.values())

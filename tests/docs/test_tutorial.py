"""Tests that the tutorial runs as written and shows the output of the program.

To write the output again: ``CURATE_WRITE_TUTORIAL=1 python -m pytest tests/docs/test_tutorial.py --tier slow``.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from itertools import groupby, zip_longest
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "tutorial.md"
BLOCK = re.compile(r"^```(sh|python|output)\n(.*?)^```", re.DOTALL | re.MULTILINE)
MEASURED = re.compile(r"; needs about \d+ seeds|\b[0-9a-f]{12,}|[\d.,]+( (s|min|MiB)\b|(?=\t)|$)|~?\d[\d.,]*|[ \t]+")
"""Seconds, memory and fingerprints, which differ between machines and releases; and white space."""
LONGEST = 118
"""Letters of an output line that the page shows."""
MOST_LINES = 16
"""Lines of output that the page shows: of more, the first ones and the last."""


def shell(code: str) -> str:
    """Run the commands of a block as they are written, and return their output."""
    environment = {**os.environ, "COLUMNS": str(LONGEST), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-euc", code], capture_output=True, text=True, env=environment, check=False, timeout=300
    )
    assert done.returncode == 0, (code, done.stderr)
    return done.stdout


def shown(printed: str) -> str:
    """Return output as the page shows it: columns aligned, long lines cut, of many lines the first and the last."""
    lines = aligned([line.rstrip() for line in printed.splitlines()])
    lines = lines if len(lines) <= MOST_LINES else [*lines[: MOST_LINES - 3], "…", *lines[-2:]]
    return "".join(f"{line if len(line) <= LONGEST else line[: LONGEST - 1] + '…'}\n" for line in lines)


def aligned(lines: list[str]) -> list[str]:
    """Return lines with aligned columns, for tables that are separated by tabs."""
    done: list[str] = []
    for is_table, group in groupby(lines, lambda line: "\t" in line):
        rows = [line.split("\t") for line in group]
        widths = [max(map(len, column)) for column in zip_longest(*rows, fillvalue="")]
        done += ["  ".join(map(str.ljust, row, widths)).rstrip() if is_table else row[0] for row in rows]
    return done


def words(printed: str) -> list[str]:
    """Return the words of an output, without measured numbers."""
    return [re.sub(MEASURED, " ", line).strip() for line in printed.splitlines()]


def test_the_tutorial_runs_and_prints_what_it_shows(tmp_path, monkeypatch):
    shutil.copytree(ROOT / "data_samples", tmp_path / "data_samples")
    monkeypatch.chdir(tmp_path)
    page, printed, pieces = PAGE.read_text(), "", []
    end = 0
    for block in BLOCK.finditer(page):
        kind, code = block.groups()
        pieces.append(page[end : block.start(2)])
        end = block.end(2)
        if kind == "sh":
            printed = shell(code)
            pieces.append(code)
        elif kind == "python":
            exec(compile(code, "tutorial.md", "exec"), {"__name__": "tutorial"})
            pieces.append(code)
        else:
            pieces.append(shown(printed))
            if not os.environ.get("CURATE_WRITE_TUTORIAL"):
                assert words(code) == words(shown(printed))
    written = "".join([*pieces, page[end:]])
    if os.environ.get("CURATE_WRITE_TUTORIAL"):
        PAGE.write_text(written)
    assert written.count("```output\n") == page.count("```output\n") > 5

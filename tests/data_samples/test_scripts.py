"""The scripts of data_samples explain themselves, and write nothing when they are asked to."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = sorted((Path(__file__).parents[2] / "data_samples").glob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_help_writes_nothing(script, tmp_path):
    done = subprocess.run([sys.executable, script, "--help"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "where to write" in done.stdout
    assert not list(tmp_path.iterdir())

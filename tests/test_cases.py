"""Inputs that failed once, kept as scripts in the folder that CURATE_CASES names: each exits with 0."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = os.environ.get("CURATE_CASES", "")
CASES = sorted(Path(FOLDER).glob("*/run.sh")) if FOLDER else []
LARGE = "2 GiB"


@pytest.mark.skipif(not CASES, reason="needs the scripts in the folder that CURATE_CASES names")
@pytest.mark.parametrize("script", CASES, ids=lambda path: path.parent.name)
def test_a_case_that_failed_once_does_not_fail(script):
    if LARGE in script.read_text():
        pytest.skip("needs 6 GB of memory and minutes")
    curate = Path(sys.executable).with_name("curate")
    environment = {**os.environ, "CURATE": str(curate)}
    done = subprocess.run(["bash", str(script)], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr

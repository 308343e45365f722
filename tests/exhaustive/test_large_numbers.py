"""The largest number that each field takes ends a small run soon, or is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_the_largest_number_of_every_field_ends_soon_and_in_little_memory():
    command = [sys.executable, str(Path(__file__).with_name("large_numbers.py"))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wrong = [line for line in done.stdout.splitlines() if '"wrong": true' in line]
    assert (done.returncode, wrong) == (0, []), done.stderr

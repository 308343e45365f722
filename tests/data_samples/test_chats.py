"""The sample chats can be written again."""

from __future__ import annotations

import runpy
from pathlib import Path

SAMPLES = Path(__file__).parents[2] / "data_samples"


def test_the_script_writes_the_same_chats(tmp_path):
    runpy.run_path(str(SAMPLES / "chats.py"))["main"](tmp_path / "chats.jsonl")
    assert (tmp_path / "chats.jsonl").read_bytes() == (SAMPLES / "chats.jsonl").read_bytes()

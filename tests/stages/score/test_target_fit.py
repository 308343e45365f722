"""Scorers that are fitted to the texts of the target: kept when the pool grows, fitted again for another target."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from curate import pipeline
from curate.config.loader import config_from_dict
from curate.errors import CurateError
from curate.executors.processes import Processes
from curate.executors.serial import Serial

VERBS = ("sees", "likes", "takes", "finds")


def texts_of(subject: str, n: int, start: int = 0) -> list[str]:
    return [f"the {subject} {VERBS[i % 4]} a stone and item{i}x" for i in range(start, start + n)]


def write(path: Path, texts: list[str]) -> str:
    path.write_text("".join(json.dumps({"id": text, "text": text}) + "\n" for text in texts))
    return str(path)


def run(folder: Path, pool: list[str], target: list[str], executor: Any = None, **more: Any) -> dict[str, float]:
    config = {
        "curate": 1,
        "run": str(folder / "run"),
        "input": {"files": write(folder / "pool.jsonl", pool), "id": "id", "text": "text", "rows_per_shard": 20},
        "embed": {"use": "hashing"},
        "target": {"files": write(folder / "target.jsonl", target), "test_share": 0},
        "score": [{"use": "cross_entropy_difference"}],
        "select": [{"use": "top_k", "keep": 10, "quality": "cross_entropy_difference"}],
        **more,
    }
    pipeline.run(config_from_dict(config), executor or Serial())
    frame = pl.read_parquet(folder / "run" / "score" / "cross_entropy_difference" / "part-*.parquet")
    return dict(frame.iter_rows())


def files_of(folder: Path) -> dict[str, int]:
    paths = (folder / "run" / "score" / "cross_entropy_difference").glob("*")
    return {path.name: path.stat().st_mtime_ns for path in paths if path.suffix in (".parquet", ".npz")}


POOL = texts_of("dog", 40) + texts_of("car", 40)


def test_a_grown_pool_keeps_the_fit_and_the_scores(tmp_path):
    before = run(tmp_path, POOL, texts_of("cat", 20))
    files = files_of(tmp_path)
    after = run(tmp_path, POOL + texts_of("boat", 20), texts_of("cat", 20))
    assert {name: after[name] for name in before} == before
    assert files.items() < files_of(tmp_path).items()


def test_another_target_is_another_fit(tmp_path):
    before = run(tmp_path, POOL, texts_of("cat", 20))
    files = files_of(tmp_path)
    after = run(tmp_path, POOL, texts_of("dog", 20, 900))
    assert before != after
    assert not set(files.items()) & set(files_of(tmp_path).items())
    assert sum(after[text] for text in POOL[:40]) < sum(after[text] for text in POOL[40:])


def test_workers_do_not_change_the_scores(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    alone = run(tmp_path / "a", POOL, texts_of("cat", 20))
    assert run(tmp_path / "b", POOL, texts_of("cat", 20), Processes(2)) == alone


def test_a_pool_with_few_texts_is_an_error_before_it_is_scored(tmp_path):
    with pytest.raises(CurateError, match=r"general: 12 distinct texts, at least 20 are needed"):
        run(tmp_path, texts_of("dog", 12), texts_of("cat", 20))

"""Scorers that add summaries of all shards: the same scores for any shards and workers, and reuse after a change."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from curate import pipeline
from curate.config.loader import config_from_dict
from curate.errors import ConfigErrors
from curate.executors.processes import Processes
from curate.executors.serial import Serial
from curate.kernels.text.hashed_ngrams import count_ngrams, importance, log_ratio
from curate.store import npz

WORDS = ("red", "green", "blue", "cat", "dog", "Überraschung", "東京", "1984")


def texts_of(n: int, start: int = 0) -> list[str]:
    return [
        " ".join(WORDS[(i * k) % len(WORDS)] for k in range(1, 3 + i % 9)) + f" n{i}." for i in range(start, start + n)
    ]


def write(path: Path, texts: list[str]) -> str:
    path.write_text("".join(json.dumps({"id": text, "text": text}) + "\n" for text in texts))
    return str(path)


def run(folder: Path, pool: list[str], target: list[str], executor: Any = None, rows: int = 20, **fields: Any) -> Path:
    folder.mkdir(exist_ok=True)
    config = {
        "curate": 1,
        "run": str(folder / "run"),
        "input": {"files": write(folder / "pool.jsonl", pool), "id": "id", "text": "text", "rows_per_shard": rows},
        "embed": {"use": "hashing"},
        "target": {"files": write(folder / "target.jsonl", target), "test_share": 0},
        "score": [{"use": "dsir", **fields}],
        "select": [{"use": "gumbel_top_k", "keep": 10, "quality": "dsir"}],
    }
    pipeline.run(config_from_dict(config), executor or Serial())
    return folder / "run"


def scores(run: Path) -> dict[str, tuple[float, float]]:
    frame = pl.read_parquet(run / "score" / "dsir" / "*.parquet")
    return {row["id"]: (row["score_dsir"], row["score_dsir_mean"]) for row in frame.to_dicts()}


def expected(pool: list[str], target: list[str]) -> dict[str, tuple[float, float]]:
    ratio = log_ratio(count_ngrams(target, 2, 10_000), count_ngrams(pool, 2, 10_000), 0)
    sums, counts = importance(pool, ratio, 2)
    return {
        text: (float(np.float32(total)), float(np.float32(total / count)))
        for text, total, count in zip(pool, sums, counts, strict=True)
    }


def files_of(run: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((run / "score" / "dsir").glob("*.parquet"))}


def test_scores_are_those_of_the_complete_pool(tmp_path):
    pool, target = texts_of(90), texts_of(7, 200)
    assert scores(run(tmp_path / "a", pool, target)) == expected(pool, target)
    assert scores(run(tmp_path / "b", pool, target, rows=1_000)) == expected(pool, target)


def test_workers_do_not_change_the_bytes(tmp_path):
    pool, target = texts_of(90), texts_of(7, 200)
    alone = files_of(run(tmp_path, pool, target))
    shutil.rmtree(tmp_path / "run")
    assert files_of(run(tmp_path, pool, target, Processes(2))) == alone


def test_added_rows_change_all_scores_but_only_their_summary_is_computed(tmp_path):
    pool, target = texts_of(60), texts_of(7, 200)
    folder = run(tmp_path, pool, target) / "score" / "dsir" / "summaries"
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    more = pool + texts_of(20, 500)
    assert scores(run(tmp_path, more, target)) == expected(more, target)
    after = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert after.items() > before.items()
    assert len(after) == len(before) + 1


def test_removed_shards_leave_no_summary(tmp_path):
    target = texts_of(7, 200)
    run(tmp_path, texts_of(60), target)
    folder = run(tmp_path, texts_of(30), target) / "score" / "dsir"
    assert len(list((folder / "summaries").iterdir())) == len(list(folder.glob("*.parquet"))) == 2
    assert scores(tmp_path / "run") == expected(texts_of(30), target)


def test_a_damaged_summary_is_computed_again(tmp_path):
    pool, target = texts_of(60), texts_of(7, 200)
    folder = run(tmp_path, pool, target) / "score" / "dsir"
    (folder / "summaries" / "part-00001.npz").write_bytes(b"x")
    (folder / "summary.npz").unlink()
    (folder / "part-00000.parquet").unlink()
    assert scores(run(tmp_path, pool, target)) == expected(pool, target)
    assert npz.load(folder / "summaries" / "part-00001.npz", "") is None


def test_one_target_row_and_a_target_equal_to_the_pool(tmp_path):
    pool = texts_of(30)
    assert set(scores(run(tmp_path / "a", pool, pool)).values()) == {(0.0, 0.0)}
    assert scores(run(tmp_path / "b", pool, pool[:1])) == expected(pool, pool[:1])


def test_a_target_is_required(tmp_path):
    config = {
        "curate": 1,
        "run": str(tmp_path / "run"),
        "input": {"files": write(tmp_path / "pool.jsonl", texts_of(3)), "text": "text"},
        "score": [{"use": "dsir"}],
        "select": [{"use": "top_k", "keep": 1}],
    }
    with pytest.raises(ConfigErrors, match="target"):
        config_from_dict(config)

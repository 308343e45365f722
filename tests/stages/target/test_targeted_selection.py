"""Selectors and scorers of the rows of a task: what they read, when they run again, and a language model in a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from curate import pipeline
from curate.config.loader import config_from_dict
from curate.errors import ConfigErrors, DataError
from curate.executors.processes import Processes
from curate.executors.serial import Serial
from curate.plugins.language_models import Example, GradientRequest
from tests import tiny_language_model

FRUIT = ("apple", "banana", "cherry")


def rows_of(n: int, start: int = 0) -> list[dict[str, Any]]:
    return [
        {
            "id": f"r{number}",
            "body": f"{FRUIT[number % 3]} {FRUIT[number % 3]} number w{number % 7} w{number}",
            "kind": FRUIT[number % 3],
            "exam": None if number % 3 == 2 else FRUIT[number % 3],
        }
        for number in range(start, start + n)
    ]


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def settings(folder: Path, targets: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    return {
        "curate": 1,
        "run": str(folder / "run"),
        "input": {"files": write(folder / "pool.jsonl", rows_of(60)), "text": "body", "id": "id", "rows_per_shard": 20},
        "embed": {"use": "lsa", "dimensions": 4},
        "target": {"files": write(folder / "task/t.jsonl", targets), "task": "exam", "test_share": 0},
        "select": [{"use": "less", "keep": 12}],
        **more,
    }


def run(data: dict[str, Any], executor: Any = None) -> Any:
    return pipeline.run(config_from_dict(data), executor or Serial())


def kept(folder: Path) -> list[str]:
    table = pq.ParquetDataset(sorted((folder / "run/select").glob("part-*.parquet"))).read()
    rows = [row for row in table.to_pylist() if row["selected"]]
    return [row["id"] for row in sorted(rows, key=lambda row: row["rank"])]


def kinds(ids: list[str]) -> set[str]:
    return {FRUIT[int(one[1:]) % 3] for one in ids}


@pytest.mark.parametrize("use", ["less", "rds_plus"])
def test_rows_of_the_kinds_of_the_target_are_kept(tmp_path, use):
    run(settings(tmp_path, rows_of(1, 90), select=[{"use": use, "keep": 12}]))
    assert kinds(kept(tmp_path)) == {"apple"}
    run(settings(tmp_path, rows_of(2, 90), select=[{"use": use, "keep": 12}]))
    assert kinds(kept(tmp_path)) == {"apple", "banana"}


def test_a_column_divides_the_target_into_tasks_and_rows_without_a_value_are_one(tmp_path):
    targets = rows_of(7, 90)
    run(settings(tmp_path, targets, select=[{"use": "rds_plus", "keep": 12}]))
    table = pq.ParquetDataset(sorted((tmp_path / "run/target").glob("part-*.parquet"))).read()
    assert table["task"].to_pylist() == [1, 2, 0, 1, 2, 0, 1]
    assert table["text"].to_pylist() == [row["body"] for row in targets]
    assert json.loads((tmp_path / "run/target/manifest.json").read_text())["facts"]["tasks"] == 3
    by_kind = [sum(int(one[1:]) % 3 == number for one in kept(tmp_path)) for number in range(3)]
    assert by_kind == [4, 4, 4]  # of three tasks with 3, 2 and 2 rows


def test_another_target_runs_the_selectors_that_read_it_again(tmp_path):
    data = settings(tmp_path, rows_of(1, 90))
    run(data)
    first = kept(tmp_path)
    changed = (tmp_path / "run/select/manifest.json").stat().st_mtime_ns
    run(data)
    assert (tmp_path / "run/select/manifest.json").stat().st_mtime_ns == changed
    write(tmp_path / "task/t.jsonl", rows_of(1, 91))
    run(data)
    assert kinds(first) == {"apple"}
    assert kinds(kept(tmp_path)) == {"banana"}


def test_a_selector_without_a_target_is_an_error(tmp_path):
    data = settings(tmp_path, rows_of(3, 90))
    del data["target"]
    with pytest.raises(ConfigErrors, match="the selector 'less' compares rows with those of a task"):
        config_from_dict(data)


def test_the_task_column_must_exist(tmp_path):
    data = settings(tmp_path, rows_of(3, 90))
    data["target"]["task"] = "exams"
    with pytest.raises(Exception, match="exams"):
        run(data)


@pytest.mark.slow
@pytest.mark.parametrize("within", [None, "kind"])
def test_workers_and_groups_give_the_same_rows(tmp_path, within):
    select = [{"use": "rds_plus", "keep": 12, **({"within": within} if within else {})}]
    results = []
    for name, executor in (("a", Serial()), ("b", Processes(2))):
        run(settings(tmp_path / name, rows_of(7, 90), select=select), executor)
        results.append(kept(tmp_path / name))
    assert sorted(results[0]) == sorted(results[1])
    if within:
        assert sorted(int(one[1:]) % 3 for one in results[0]) == [0] * 4 + [1] * 4 + [2] * 4


def test_scores_of_the_target_rank_its_kind_first(tmp_path):
    score = [{"use": "target_similarity"}, {"use": "bm25"}]
    run(settings(tmp_path, rows_of(3, 90)[2:], score=score, select=[{"use": "top_k", "quality": "bm25", "keep": 20}]))
    assert kinds(kept(tmp_path)) == {"cherry"}
    tables = {
        name: pq.ParquetDataset(sorted((tmp_path / "run/score" / name).glob("part-*.parquet"))).read()
        for name in ("target_similarity", "bm25")
    }
    assert {"score_bm25", "score_bm25_max"} <= set(tables["bm25"].column_names)
    values = tables["target_similarity"]["score_target_similarity"].to_numpy()
    is_cherry = np.array([int(one[1:]) % 3 == 2 for one in tables["target_similarity"]["id"].to_pylist()])
    assert values[is_cherry].min() > values[~is_cherry].max()


@pytest.mark.slow
@tiny_language_model.needs_transformers
def test_a_target_without_a_vector_is_an_error(tmp_path):
    """Rows with an empty response have no gradient."""
    path = tiny_language_model.save(tmp_path / "model")
    model = {"use": "causal_lm", "model": str(path), "dtype": "float32", "prompt": "body", "response": "kind"}
    targets = [{**row, "kind": ""} for row in rows_of(3, 90)]
    data = settings(tmp_path, targets, model=model, embed={"use": "gradients", "dimension": 16})
    with pytest.raises(DataError, match="no row has a vector"):
        run(data)
    write(tmp_path / "task/t.jsonl", [*targets, *rows_of(1, 93)])
    run(data)
    assert len(kept(tmp_path)) == 12


@pytest.mark.slow
@tiny_language_model.needs_transformers
def test_a_run_selects_by_gradients_and_by_hidden_states(tmp_path):
    from curate.kernels.linalg.cosines import normalize_rows
    from curate.plugins.models.causal_lm import CausalLM
    from curate.plugins.selectors.targeted.less import task_influence

    models = [tiny_language_model.save(tmp_path / name, seed=seed) for seed, name in enumerate(("first", "second"))]
    pool, targets = rows_of(60), rows_of(4, 90)
    data = settings(
        tmp_path,
        targets,
        model=[{"use": "causal_lm", "name": path.name, "model": str(path), "dtype": "float32"} for path in models],
        embed=[
            {"use": "gradients", "models": ["first", "second"], "weights": [3.0, 1.0], "dimension": 64},
            {"use": "language_model", "model": "second"},
        ],
    )
    run(data)
    requests = GradientRequest(dimension=64)
    plugins = [CausalLM(model=str(path), dtype="float32") for path in models]

    def vectors(rows: list[dict[str, Any]]) -> Any:
        examples = [Example((), row["body"]) for row in rows]
        every = [normalize_rows(one.run(examples, requests, lambda _: None)["vector"]) for one in plugins]
        return np.concatenate([every[0] * np.sqrt(0.75), every[1] * np.sqrt(0.25)], axis=1)

    tasks = np.array([0 if row["exam"] is None else 1 + FRUIT.index(row["exam"]) for row in targets], np.int32)
    expected = np.argsort(-task_influence(vectors(pool), vectors(targets), tasks), kind="stable")[:12]
    assert sorted(kept(tmp_path)) == sorted(f"r{number}" for number in expected)
    data["select"] = [{"use": "rds_plus", "keep": 12, "embedding": "language_model"}]
    run(data)
    assert len(kept(tmp_path)) == 12

"""Scorers that read a column of the pool: its values arrive, changes count, and other columns are errors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from curate import pipeline
from curate.config.loader import config_from_dict
from curate.errors import ConfigErrors, CurateError
from curate.executors.serial import Serial

TOPICS = {"sums": "add two numbers", "rhymes": "write a rhyme", "maps": "read the map"}


def rows_of(n: int) -> list[dict[str, Any]]:
    rows = []
    for number in range(n):
        topic = list(TOPICS)[(number * number) % 3]
        skills = None if number % 2 else [topic, "patience"]
        rows.append({"id": f"r{number}", "text": f"{TOPICS[topic]} {number}", "skills": skills, "note": "x"})
    return rows


def run(folder: Path, rows: list[dict[str, Any]], **fields: Any) -> pl.DataFrame:
    (folder / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = {
        "curate": 1,
        "run": str(folder / "run"),
        "input": {"files": str(folder / "pool.jsonl"), "id": "id", "text": "text", "rows_per_shard": 8},
        "embed": {"use": "hashing"},
        "score": [{"use": "skill_graph", "column": "skills", **fields}],
        "select": [{"use": "top_k", "keep": 5, "quality": "skill_graph"}],
    }
    pipeline.run(config_from_dict(config), Serial())
    return pl.read_parquet(folder / "run" / "score" / "skill_graph" / "*.parquet")


def test_rows_with_the_frequent_skills_score_higher(tmp_path):
    rows = rows_of(30)
    scores = run(tmp_path, rows)
    topic = pl.Series([row["text"].rsplit(" ", 1)[0] for row in rows])
    means = scores.with_columns(topic=topic).group_by("topic").agg(pl.col("score_skill_graph").mean())
    by_topic = dict(means.iter_rows())
    assert by_topic["write a rhyme"] > by_topic["add two numbers"]
    facts = json.loads((tmp_path / "run/score/skill_graph/manifest.json").read_text())["facts"]["measured"]
    assert facts == {"skills": 3, "pairs": 2, "rows": 15}


def test_other_skills_give_other_scores(tmp_path):
    before = run(tmp_path, rows_of(20))
    changed = [{**row, "skills": ["sums"] if row["skills"] else None} for row in rows_of(20)]
    assert not before["score_skill_graph"].equals(run(tmp_path, changed)["score_skill_graph"])


def test_columns_that_are_missing_empty_or_no_lists(tmp_path):
    with pytest.raises((ConfigErrors, CurateError), match="nothing"):
        run(tmp_path, rows_of(9), column="nothing")
    with pytest.raises(CurateError, match=r"column 'note' has 'x', but must have lists of strings"):
        run(tmp_path, rows_of(9), column="note")
    with pytest.raises(CurateError, match=r"has no skill that 1 rows of the pool have; .*annotator skills"):
        run(tmp_path, [{**row, "skills": [None]} for row in rows_of(9)])


def test_the_graph_may_come_from_a_file(tmp_path):
    graph = tmp_path / "graph.jsonl"
    graph.write_text('{"skills": ["sums", "maps"]}\n\n{"skills": ["sums", "unknown to the pool"]}\n{"skills": []}\n')
    rows = rows_of(30)
    scores = run(tmp_path, rows, graph=str(graph))
    by_topic = scores.with_columns(sums=pl.Series(["add two" in row["text"] for row in rows]))
    means = dict(by_topic.group_by("sums").agg(pl.col("score_skill_graph").mean()).iter_rows())
    assert means[True] > means[False]
    graph.write_text('{"skills": ["rhymes"]}\n')
    assert not scores["score_skill_graph"].equals(run(tmp_path, rows, graph=str(graph))["score_skill_graph"])


@pytest.mark.parametrize("line", ["[1]", "{", '{"skill": []}', '{"skills": "sums"}', '{"skills": [1]}'])
def test_a_graph_with_a_line_of_another_form(tmp_path, line):
    (tmp_path / "graph.jsonl").write_text(f'{{"skills": ["sums"]}}\n{line}\n')
    with pytest.raises(CurateError, match=r"graph\.jsonl:2") as error:
        run(tmp_path, rows_of(9), graph=str(tmp_path / "graph.jsonl"))
    assert '{"skills": ["solving linear equations"' in str(error.value)

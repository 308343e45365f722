"""Columns that annotators add: used by conditions, groups and exports like those of the input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import curate
from curate import pipeline
from curate.config.loader import config_from_dict
from curate.errors import CurateError
from curate.evaluation.compare import compare
from curate.evaluation.evaluate import evaluate
from curate.executors.processes import Processes
from curate.executors.serial import Serial

PLUGIN = '''
from dataclasses import dataclass

import pyarrow as pa

from curate.plugins.interfaces import annotator
from curate.plugins.results import Annotations


@annotator(version=1)
@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """Number of words, first letter, words and the text with an address."""

    fault: str = ""

    def columns(self):
        return {"": pa.string(), "count": pa.int32(), "list": pa.list_(pa.string()), "contact": pa.string()}

    def annotate(self, batch, rng):
        texts = [one.response for block in batch.examples.blocks() for one in block]
        assert [one.response for one in batch.examples.take([len(texts) - 1, 0])] == [texts[-1], texts[0]]
        columns = {
            "": [text[0] for text in texts],
            "count": [len(text.split()) for text in texts],
            "list": [text.split() for text in texts],
            "contact": [f"{text} a.b@example.com" for text in texts],
        }
        if self.fault == "missing":
            del columns["count"]
        if self.fault == "short":
            columns["count"].pop()
        if self.fault == "type":
            columns["count"][0] = "two"
        return Annotations(columns=columns, warnings=("look here",), facts={"words": sum(columns["count"])})
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "words.py").write_text(PLUGIN)
    rows = [{"id": f"r{number}", "text": f"{'abc'[number % 3]} " + "w " * (number % 5 + 1)} for number in range(50)]
    (tmp_path / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def config(folder: Path, **more: Any) -> dict[str, Any]:
    return {
        "curate": 1,
        "run": str(folder / "run"),
        "plugins": [str(folder / "words.py")],
        "input": {"files": str(folder / "pool.jsonl"), "text": "text", "id": "id", "rows_per_shard": 20},
        "annotate": [{"use": "words"}],
        "embed": {"use": "hashing", "dimensions": 16},
        "cluster": {"use": "column", "column": "words"},
        "select": [
            {"use": "where", "drop": "words_count > 4"},
            {"use": "uniform", "keep_rate": 0.5, "within": "words"},
        ],
        **more,
    }


def run(folder: Path, executor: Any = None, **more: Any) -> Any:
    return pipeline.run(config_from_dict(config(folder, **more)), executor or Serial())


def exported(summary: Any) -> pa.Table:
    return pq.ParquetDataset(sorted((summary.version / "data").glob("*.parquet"))).read()


def test_conditions_groups_clusters_and_the_export_use_added_columns(folder):
    summary = run(folder)
    table = exported(summary)
    assert table.column_names == ["id", "text", "words", "words_count", "words_list", "words_contact"]
    assert max(table["words_count"].to_pylist()) <= 4
    assert table["words_list"].type == pa.list_(pa.string())
    rows = table.to_pylist()
    assert all(row["words"] == row["text"][0] and row["words_list"] == row["text"].split() for row in rows)
    assert "annotate words: look here" in summary.warnings
    assert run(folder).unchanged
    clusters = pq.read_table(folder / "run/cluster/centroids.parquet")["name"].to_pylist()
    assert clusters == ["a", "b", "c"]


def test_exports_choose_rename_and_mask_added_columns(folder):
    export = {"use": "jsonl", "drop": ["words_list"], "rename": {"words_contact": "mail"}, "mask_pii": ["email"]}
    summary = run(folder, export=export)
    rows = [json.loads(line) for path in (summary.version / "data").iterdir() for line in path.read_text().splitlines()]
    assert set(rows[0]) == {"id", "text", "words", "words_count", "mail"}
    assert all(row["mail"].endswith("<EMAIL>") for row in rows)


def test_the_same_rows_with_another_annotation_are_another_input(folder):
    first = run(folder)
    (folder / "words.py").write_text(PLUGIN.replace("text[0]", "'z'"))
    second = run(folder)
    assert not second.unchanged
    assert set(exported(second)["words"].to_pylist()) == {"z"}
    assert first.version != second.version


@pytest.mark.slow
def test_workers_give_the_same_bytes(folder):
    one = run(folder)
    two = run(folder, Processes(2), run=str(folder / "other"))
    assert exported(one) == exported(two)


def test_other_commands_work_on_a_run_with_added_columns(folder):
    run(folder)

    story = curate.explain(str(folder / "run"), "r1")
    assert story.outcome.status in ("kept", "dropped")
    assert len(curate.load(folder / "run").ledger().collect()) == 50
    assert evaluate(folder / "run", Serial(), seeds=2)
    assert compare(config_from_dict(config(folder)), Serial(), select=("uniform",), prune_rates=(0.5,), seeds=2)


@pytest.mark.parametrize("fault", ["missing", "short", "type"])
def test_wrong_annotations_are_errors_of_the_plugin(folder, fault):
    with pytest.raises(CurateError, match="words"):
        run(folder, annotate=[{"use": "words", "fault": fault}])


def test_names_of_added_columns_must_be_new_and_are_known_before_the_run(folder):
    without = {"cluster": {"use": "kmeans"}, "select": [{"use": "uniform", "keep_rate": 0.5}]}
    with pytest.raises(CurateError, match="annotate text: there is already a column 'text'"):
        run(folder, annotate=[{"use": "words", "name": "text"}], **without)
    with pytest.raises(CurateError, match="no input file has a column 'words_cnt'; did you mean 'words_count'"):
        run(folder, select=[{"use": "where", "drop": "words_cnt > 4"}, {"use": "uniform", "keep_rate": 0.5}])

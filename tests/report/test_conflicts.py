"""Tests of the report on equal texts with different labels."""

from __future__ import annotations

import json

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate import pipeline
from curate.config.loader import config_from_dict
from curate.executors.serial import Serial
from curate.report import sentences, statistics
from curate.report.report_data import Conflict, Conflicts, LabelGroup


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from([None, "x", "y", "z"])), max_size=12))
def test_a_row_conflicts_if_another_has_its_text_and_another_label(rows):
    texts, labels = ([row[part] for row in rows] for part in (0, 1))
    found = statistics.conflicts(pl.Series(texts, dtype=pl.String), pl.Series(labels, dtype=pl.String))
    pairs = [
        (row, min(other for other, (text, label) in enumerate(rows) if text == mine and label is not None))
        for row, (mine, own) in enumerate(rows)
        if own is not None and any(text == mine and label not in (None, own) for text, label in rows)
    ]
    assert found.rows() == sorted(pairs, key=lambda pair: (pair[1], pair[0]))


@pytest.mark.parametrize(
    ("part", "told"),
    [
        ((0, 0, 0, 0), "No text has conflicting labels"),
        ((1, 2, 0, 1), "1 text has conflicting labels, in 2 rows: none of these rows was kept"),
        ((1, 3, 1, 1), "1 text has conflicting labels, in 3 rows: 1 of them was kept"),
        ((12, 30, 9, 1), "12 texts have conflicting labels, in 30 rows: 9 of them were kept; shown: the first 1"),
    ],
)
def test_conflicts_are_described(part, told):
    texts, rows, kept, shown = part
    group = Conflict(text="t", rows=2, n_labels=2, labels=())
    assert sentences.describe_conflicts(Conflicts(texts=texts, rows=rows, kept=kept, groups=(group,) * shown)) == told


def test_labels_and_rows_that_are_not_listed_are_counted():
    labels = (LabelGroup(label="x", rows=9, ids=("a", "b")), LabelGroup(label="y", rows=1, ids=("c",)))
    group = Conflict(text="t", rows=14, n_labels=3, labels=labels)
    assert sentences.describe_conflict(group) == "x (a, b and 7 more); y (c); 1 more label"


@pytest.fixture
def labelled(pool):
    """Return a function that sets texts and labels of rows of the pool."""

    def write(changes):
        for path in pool.glob("*.jsonl"):
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            for line in lines:
                line.update(changes.get(line["id"], {}))
            path.write_text("".join(json.dumps(line) + "\n" for line in lines))

    return write


def test_a_run_lists_the_texts_with_different_labels_with_their_rows(labelled, config):
    same = {"text": "one text, mail ann@example.org"}
    other = {"r0003": {"text": "two"}, "r0007": {"text": "two", "topic": "t3"}}  # of one label
    changes = {name: {**same, "topic": "t1"} for name in ("r0050", "r0051")} | {"r0010": {**same, "topic": None}}
    labelled({"r0002": same, "r0009": same} | changes | other)
    settings = config_from_dict(config(export={"use": "parquet", "mask_pii": ["email"]}))
    done = pipeline.run(settings, Serial())
    told = json.loads(json.dumps(pipeline.report(settings)[1]["conflicts"]))
    kept = pl.read_parquet(f"{done.version}/data/*.parquet")["id"]
    assert (told["texts"], told["rows"]) == (1, 4)
    assert told["kept"] == kept.is_in(["r0002", "r0009", "r0050", "r0051"]).sum()
    assert told["finding"].startswith("1 text has conflicting labels, in 4 rows: ")
    assert told["groups"] == [
        {
            "text": "one text, mail <EMAIL>",
            "rows": 4,
            "n_labels": 2,
            "labels": [
                {"label": "t2", "rows": 1, "ids": ["r0002"]},
                {"label": "t1", "rows": 3, "ids": ["r0009", "r0050", "r0051"]},
            ],
        }
    ]
    page = done.report.read_text()
    assert told["finding"] in page
    assert "t2 (r0002); t1 (r0009, r0050 and r0051)" in page


def test_the_listed_texts_labels_and_rows_are_limited(labelled, config):
    labelled({f"r{number:04d}": {"text": f"text {number % 12}", "topic": f"t{number}"} for number in range(60)})
    told = (
        pipeline.run(config_from_dict(config()), Serial())
        and pipeline.report(config_from_dict(config()))[1]["conflicts"]
    )
    assert (told["texts"], told["rows"], told["kept"], len(told["groups"])) == (12, 60, 20, 10)
    assert [group["text"] for group in told["groups"]] == [f"text {number}" for number in range(10)]


def test_the_page_mentions_that_there_are_no_conflicts_unless_there_are_no_labels(pool, config):
    done = pipeline.run(config_from_dict(config()), Serial())
    assert "No text has conflicting labels." in done.report.read_text()
    unlabelled = config()
    del unlabelled["input"]["label"]
    done = pipeline.run(config_from_dict(unlabelled), Serial())
    assert "conflicting labels" not in done.report.read_text()
    assert pipeline.report(config_from_dict(unlabelled))[1]["conflicts"] is None

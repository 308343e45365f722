"""Tests of the report on memorized rows."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import polars as pl
import pytest

from curate import pipeline
from curate.config.loader import config_from_dict
from curate.executors.serial import Serial
from curate.plugins import registry
from curate.report import long_tail_text
from curate.stages.report.long_tail import MEMORIZATION
from tests.report.sample import HOSTILE, long_tail


def test_the_scorer_has_the_name_that_the_report_searches():
    assert MEMORIZATION in registry.names("scorer")


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        (
            {},
            "31 of 4,900 rows with a label (0.6 %) are memorized, with a memorization above 0.25; 12 of them were kept",
        ),
        ({"memorized": 1, "kept": 1}, " is memorized, with a memorization above 0.25; 1 of them was kept"),
        ({"kept": 0}, "none of them was kept"),
        ({"memorized": 0}, "None of 4,900 rows with a label is memorized: no memorization is above 0.25"),
        ({"rows": 0}, "No row has a score memorization"),
    ],
)
def test_the_number_of_memorized_rows_is_described(parts, text):
    assert text in long_tail_text.describe_number(replace(long_tail(), **parts))


@pytest.mark.parametrize(
    ("cost", "text"),
    [
        (0.012, "removing the memorized rows costs 1.20 ± 0.40 percentage points more than removing random rows"),
        (-0.012, "removing the memorized rows is better than removing random rows by 1.20 ± 0.40 percentage points"),
        (0.007, "the difference of the first two, 0.70 ± 0.40 percentage points, is within two standard errors"),
    ],
)
def test_the_cost_of_their_removal_is_described(cost, text):
    (phrase,) = long_tail_text.describe_cost(long_tail(cost))
    assert phrase.startswith("models trained without the memorized rows are right on 89.1 % of held-out rows")
    assert phrase.endswith(text)
    assert long_tail_text.describe_cost(replace(long_tail(), cost=math.nan)) == []


def test_texts_and_labels_are_escaped_and_shortened():
    page = "".join(str(part) for part in long_tail_text.section(long_tail()))
    assert HOSTILE not in page
    assert "&lt;b&gt;bold" in page
    assert "0.83 ± 0.04" in page
    assert "Labels with the most memorized rows" in page
    long = replace(long_tail().examples[0], text="x" * 5_000)
    assert "x" * 1_000 not in "".join(
        str(part) for part in long_tail_text.section(replace(long_tail(), examples=(long,)))
    )


def settings_of(config, select, **fields):
    return config_from_dict(
        config(
            proxy={"use": "mlp", "epochs": 30, "runs": 1, "batch_size": 16},
            score=[{"use": "memorization", "name": "tail", "subsets": 40, **fields}],
            select=[select],
            export={"use": "parquet", "mask_pii": ["email"]},
        )
    )


@pytest.mark.slow
def test_a_run_lists_memorized_rows_their_labels_and_the_cost(pool, config):
    for path in pool.glob("*.jsonl"):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        for line in lines:
            line["text"] += " ann@example.org"
            if line["id"] in ("r0004", "r0020"):
                line["topic"] = "t3"  # a wrong label
            if line["id"] == "r0008":
                line["topic"] = None
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    settings = settings_of(config, {"use": "where", "drop": "score_tail < 0.1"})
    done = pipeline.run(settings, Serial())
    tail = json.loads(json.dumps(pipeline.report(settings)[1]["long_tails"]["tail"]))
    scores = pl.read_parquet("run/score/tail/*.parquet")
    memorized = scores.filter(pl.col("score_tail").fill_nan(None) > 0.25).sort("score_tail", descending=True)
    assert (tail["rows"], tail["memorized"]) == (59, len(memorized))
    assert len(memorized) > 1
    assert [row["id"] for row in tail["examples"]] == memorized["id"].head(20).to_list()
    wrong = next(row for row in tail["examples"] if row["id"] in ("r0004", "r0020"))
    assert wrong["label"] == "t3"
    assert wrong["text"].endswith("<EMAIL>")
    kept = pl.read_parquet(f"{done.version}/data/*.parquet")["id"]
    assert tail["kept"] == memorized["id"].is_in(kept.implode()).sum() > 0
    assert sum(group["memorized"] for group in tail["labels"]) == len(memorized)
    assert all(group["memorized"] <= group["rows"] for group in (*tail["labels"], *tail["clusters"]))
    assert tail["cost"] == pytest.approx(tail["accuracy_without_random"] - tail["accuracy_without_memorized"])
    page = done.report.read_text()
    assert all(finding[1:] in page for finding in tail["findings"])
    assert "Long tail" in page


def test_a_run_in_which_nothing_is_memorized_says_so(pool, config):
    settings = settings_of(config, {"use": "uniform", "keep": 20}, threshold=1.0, subsets=20)
    done = pipeline.run(settings, Serial())
    tail = pipeline.report(settings)[1]["long_tails"]["tail"]
    assert (tail["memorized"], tail["cost"], tail["examples"], tail["labels"]) == (0, None, [], ())
    assert "None of 60 rows with a label is memorized: no tail is above 1." in done.report.read_text()


def test_a_report_without_the_scorer_has_no_such_section(pool, config):
    done = pipeline.run(config_from_dict(config()), Serial())
    assert "Long tail" not in done.report.read_text()
    assert pipeline.report(config_from_dict(config()))[1]["long_tails"] == {}

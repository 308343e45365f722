"""Whether no row that was dropped later is ever named as the one that was kept."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

import curate
from curate.store.diff import diff
from curate.store.explain import explain
from curate.store.ledger import Run

WORDS = ["tide", "moon", "bread", "oven", "chess", "pawn", "soil", "clay", "hive", "comb", "gear", "wheel"]
CHAIN = [{"use": "exact_duplicates"}, {"use": "semdedup", "min_similarity": 0.9}]
LAST = [
    {"use": "facility_location", "keep": 4},
    {"use": "k_center", "keep": 4},
    {"use": "top_k", "keep": 4},
    {"use": "where", "drop": "id < 'h'"},
]


@pytest.fixture
def copies(tmp_path, config, monkeypatch):
    """Rows of twelve texts, each in four copies: two equal, two with one word more."""
    lines = [
        {"id": f"{word}{copy}", "text": f"{word} " * 9 + ("again" if copy > 1 else ""), "source": "a", "stars": copy}
        for word in WORDS
        for copy in range(4)
    ]
    monkeypatch.chdir(tmp_path)
    Path("copies").mkdir()
    Path("copies/a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return lambda **parts: config(
        input={"files": "copies/*.jsonl", "id": "id", "text": "text", "source": "source"}, **parts
    )


@pytest.mark.parametrize("last", LAST, ids=lambda entry: entry["use"])
def test_every_chain_ends_at_an_exported_row_or_says_that_there_is_none(copies, last):
    curate.run(copies(select=[*CHAIN, last], guard={"max_drop_rate": 1, "max_source_drop_rate": 1}))
    ledger = pl.read_parquet("run/select/part-*.parquet")
    exported = {*pl.read_parquet("run/export/current/data/*.parquet")["id"]}
    represented = ledger.filter(pl.col("representative").is_not_null())
    assert len(represented) > len(WORDS)
    ends = Run.open(Path("run")).kept_instead(represented["representative"])
    told = {False: 0, True: 0}
    for line in represented.to_dicts():
        story = explain(Path("run"), line["id"])
        assert story.kept_instead == ends[line["representative"]]
        assert story.kept_instead is None or story.kept_instead in exported
        dropped = next(one for one in story.representatives if one.id == line["representative"])
        filtered = line["dropped_by"] in ("exact_duplicates", "semdedup")
        assert dropped.relation == ("duplicate of" if filtered else "represented by")
        assert any(text.strip().startswith("kept instead") for text in story.lines())
        told[story.kept_instead is None] += 1
    covers = last["use"] in ("facility_location", "k_center")
    assert told[True] == 0 if covers else told[True] > 0


def test_a_difference_names_the_row_that_was_kept(copies):
    curate.run(copies(run="one"))
    curate.run(copies(run="two", select=[*CHAIN, {"use": "facility_location", "keep": 4}]))
    exported = {*pl.read_parquet("two/export/current/data/*.parquet")["id"]}
    removed = [one for one in diff(Path("one"), Path("two"), examples=50).examples if one.change == "removed"]
    named = [one for one in removed if one.representative is not None]
    assert named
    assert {one.kept_instead for one in named} <= exported
    for one in named:
        later = one.representative not in exported
        assert (f"which was dropped later; {one.kept_instead} was kept in its place" in one.describe()) == later


def test_the_report_names_the_row_that_was_kept(copies):
    curate.run(copies(select=[*CHAIN, {"use": "top_k", "keep": 4}]))
    page = Path("run/report.html").read_text()
    assert "that row was dropped later by top_k, and no row was kept in its place" in page

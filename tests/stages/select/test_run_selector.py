"""A selector that reads texts is handed those of the rows that reach it, and no others, block by block."""

from __future__ import annotations

import json
from itertools import chain
from pathlib import Path

import pytest

import curate
from curate import pipeline
from curate.config.loader import config_from_dict
from curate.evaluation import split, trials
from curate.executors.serial import Serial

READER = str(Path(__file__).with_name("reader.py"))
WHERE = {"use": "where", "drop": "stars = 4"}


@pytest.fixture
def rows(pool):
    """The rows of the pool, in shards of 16, 16, 8, 16 and 4: one of them without a text, two without a vector."""
    found = []
    for path in sorted(pool.iterdir()):
        lines = [json.loads(line) | {"v": [1.0, 2.0]} for line in path.read_text().splitlines()]
        found += lines
        for line in lines:
            if line["id"] == "r0007":
                line["text"] = " "
            elif line["id"] in ("r0020", "r0050"):
                line["v"] = None
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return found


@pytest.fixture
def reading(rows, config):
    """A configuration with a selector that reads texts; keyword arguments go into its entry."""

    def made(*, first=(), embed=None, **keys):
        select = [*first, {"use": "reader", **keys}]
        return config(
            plugins=[READER],
            embed=embed or {"use": "column", "column": "v"},
            guard={"max_quarantine_rate": 0.1},
            cluster={"use": "kmeans", "n_clusters": 1},
            select=select,
        )

    return made


def told() -> list[list[list[str]]]:
    """The texts of every block, of every call."""
    return [json.loads(line) for line in Path("told.jsonl").read_text().splitlines()]


def embedded(rows):
    return [row for row in rows if row["text"].strip() and row["v"]]


@pytest.mark.parametrize(
    "embed",
    [
        {"use": "column", "column": "v"},
        [{"use": "hashing", "dimensions": 8}, {"use": "column", "column": "v"}],
    ],
    ids=["one embedder", "two, of which one sets rows aside"],
)
def test_texts_are_those_of_the_survivors_in_order_a_shard_at_a_time(rows, reading, embed):
    curate.run(reading(first=[WHERE], embed=embed))
    (blocks,) = told()
    assert list(chain(*blocks)) == [row["text"] for row in embedded(rows) if row["stars"] != 4]
    assert len(blocks) > 3
    assert max(map(len, blocks)) <= 16


def test_texts_of_the_whole_pool_are_those_of_the_rows_that_were_not_set_aside(rows, reading):
    curate.run(reading())
    assert list(chain(*told()[0])) == [row["text"] for row in embedded(rows)]


def test_each_group_has_its_own_texts(rows, reading):
    curate.run(reading(first=[WHERE], within="topic"))
    left = [row for row in embedded(rows) if row["stars"] != 4]
    groups = [[row["text"] for row in left if row["topic"] == f"t{topic}"] for topic in range(4)]
    assert [list(chain(*blocks)) for blocks in told()] == groups


def test_a_trial_reads_the_texts_of_the_rows_to_choose_from(rows, reading):
    """And not those that were held out."""
    config = config_from_dict(reading(first=[WHERE], within="source"))
    context = pipeline.make_context(config, Serial())
    part = split.split_pool(context, pipeline.build_pool(context))
    (tried,) = trials.run_trials(context, "trying", part, [trials.ChoiceSpec(entries=config.select, seed=0)])
    train = set(split.open_split(part).train.texts)
    survivors = [row for row in embedded(rows) if row["stars"] != 4]
    left = [row for row in survivors if row["text"] in train]
    assert 0 < len(left) == len(tried.chosen.indices) < len(survivors)
    groups = [[row["text"] for row in left if row["source"] == source] for source in ("left", "right")]
    assert [list(chain(*blocks)) for blocks in told()] == groups


def test_a_change_of_a_text_alone_has_the_selection_made_again(rows, reading, pool):
    curate.run(reading())
    assert curate.run(reading()).unchanged
    path = pool / "b.jsonl"
    path.write_text(path.read_text().replace("number 59", "number 9999"))
    curate.run(reading())
    assert [blocks[-1][-1].endswith("number 9999") for blocks in told()] == [False, True]

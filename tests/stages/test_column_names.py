"""A name that means both a column of the pool and one that curate adds is refused, whichever it is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from curate import pipeline
from curate.config.loader import config_from_dict
from curate.config.model import RunConfig
from curate.errors import DataError
from curate.executors.serial import Serial
from curate.stages import column_names


def config_of(select: dict[str, Any] | None = None, **sections: Any) -> RunConfig:
    data = {
        "curate": 1,
        "run": "run",
        "input": {"files": "a.jsonl", "text": "text", "label": "topic", "source": "site"},
        "score": [{"use": "length"}, {"use": "pii"}, {"use": "density", "name": "dense"}],
        "select": [select or {"use": "uniform", "keep": 1}],
        **sections,
    }
    return config_from_dict(data)


NAMES = sorted(column_names.added_columns(config_of()))


def test_the_names_are_those_of_roles_clusters_and_scores():
    assert {"cluster", "tokens", "label", "source", "score_length", "score_dense"} < set(NAMES)
    assert [name for name in NAMES if name.startswith("score_pii_")]


@pytest.mark.parametrize("name", NAMES)
def test_a_condition_over_an_ambiguous_name_is_refused(name):
    config = config_of({"use": "where", "drop": f"{name} IS NULL AND other = 1"})
    column_names.check(config, ["text", "other", "rank"])
    with pytest.raises(DataError, match=f"select.0.drop: '{name}' is ambiguous.*rename the pool's column"):
        column_names.check(config, ["text", name])


@pytest.mark.parametrize("name", column_names.GROUPS)
def test_groups_of_an_ambiguous_name_are_refused(name):
    config = config_of({"use": "uniform", "keep": 1, "within": name})
    with pytest.raises(DataError, match=f"select.0.within: '{name}' is ambiguous"):
        column_names.check(config, [name])


def test_a_column_that_is_named_as_its_role_is_not_ambiguous():
    same = {"files": "a.jsonl", "text": "text", "label": "label", "source": "source", "tokens": "tokens"}
    cluster = {"use": "column", "column": "cluster"}
    drop = {"use": "where", "drop": "label = 'a' OR source = 'b' OR tokens < 3 OR cluster = 'c'"}
    column_names.check(config_of(drop, input=same, cluster=cluster), ["label", "source", "tokens", "cluster"])


ADD = ["id", "rank", "gain", "weight", "cluster", "scores"]


@pytest.mark.parametrize("name", [f"curate_{name}" for name in [*ADD[:-1], *column_names.score_columns(config_of())]])
def test_a_column_that_the_export_adds_is_not_overwritten(name):
    config = config_of(export={"use": "jsonl", "add": ADD})
    column_names.check(config, [name.removeprefix("curate_")])
    with pytest.raises(DataError, match=f"export.add would overwrite the input column '{name}'"):
        column_names.check(config, [name])


def test_a_run_ends_before_anything_is_embedded(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [{"text": f"text {i}", "tokens": i, "topic": "a", "site": "b"} for i in range(5)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(DataError, match=r"'tokens' is ambiguous.*set input\.tokens: tokens if they are the same"):
        pipeline.run(config_of({"use": "where", "drop": "tokens < 3"}), Serial())
    assert not (tmp_path / "run" / "embed").exists()

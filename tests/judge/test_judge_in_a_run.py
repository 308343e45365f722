"""Plugins that ask the judge: annotators, scorers and selectors in a run, its fingerprints, its plan and its links."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from curate import pipeline
from curate.config.loader import config_from_dict
from curate.errors import ConfigErrors, CurateError
from curate.executors.serial import Serial
from tests.judge.scripted_server import serve

HEAD = """
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from curate.plugins.interfaces import OutputColumn, annotator, scorer, selector
from curate.plugins.judging import Question
from curate.plugins.language_models import Turn
from curate.plugins.results import Annotations, Scores, Selection


def ask(judge, word, texts):
    answers = judge.ask([Question(messages=(Turn("user", f"{word}: {text}"),)) for text in texts], int)
    return np.array([answer.value for answer in answers], np.float32)
"""
PLUGINS = {
    "noted": '''
@annotator(version=1, reads={"text", "judge"})
@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """A number for each text."""

    def columns(self):
        return {"": pa.int32()}

    def count_questions(self, rows, budget):
        return rows

    def annotate(self, batch, rng):
        texts = [one.response for block in batch.examples.blocks() for one in block]
        return Annotations(columns={"": ask(batch.judge, "note", texts).astype(int).tolist()})
''',
    "rated": '''
@scorer(version=1, reads={"text", "judge"}, within="corpus", columns=(OutputColumn(higher_is_better=True),), cost="n")
@dataclass(frozen=True, slots=True, kw_only=True)
class Rated:
    """A number for each text."""

    def count_questions(self, rows, budget):
        return rows

    def score(self, batch, rng):
        return Scores(ask(batch.judge, "rate", batch.texts))
''',
    "picked": '''
@selector(version=1, reads={"text", "judge"}, random=False)
@dataclass(frozen=True, slots=True, kw_only=True)
class Picked:
    """Rows with the largest numbers."""

    def count_questions(self, rows, budget):
        return 2 * budget

    def select(self, pool, budget, rng):
        values = ask(pool.judge, "pick", [text for block in pool.texts.blocks() for text in block])
        rows = np.argsort(-values, kind="stable")[:budget]
        return Selection(rows, values[rows])
''',
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, source in PLUGINS.items():
        (tmp_path / f"{name}.py").write_text(HEAD + source)
    rows = [{"id": f"r{number}", "text": f"text {number}", "kind": number % 2} for number in range(30)]
    (tmp_path / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def config(folder: Path, url: str, **more: Any) -> dict[str, Any]:
    return {
        "curate": 1,
        "run": str(folder / "run"),
        "plugins": [str(folder / f"{name}.py") for name in PLUGINS],
        "input": {"files": str(folder / "pool.jsonl"), "text": "text", "id": "id", "rows_per_shard": 10},
        "judge": {"base_url": url, "model": "m"},
        "annotate": [{"use": "noted"}],
        "embed": {"use": "hashing", "dimensions": 16},
        "cluster": {"use": "kmeans", "n_clusters": 2},
        "score": [{"use": "rated"}],
        "select": [{"use": "picked", "keep": 4, "within": "kind"}],
        **more,
    }


def last_number(body: dict[str, Any], _: int) -> str:
    return body["messages"][-1]["content"].split()[-1]


def run(folder: Path, url: str, **more: Any) -> Any:
    return pipeline.run(config_from_dict(config(folder, url, **more)), Serial())


def test_annotators_scorers_and_selectors_ask_and_a_second_run_asks_nothing(folder):
    with serve(last_number) as server:
        summary = run(folder, server.url)
        rows = pq.ParquetDataset(sorted((summary.version / "data").glob("*.parquet"))).read().to_pylist()
        assert {row["id"] for row in rows} == {"r26", "r27", "r28", "r29"}
        assert all(row["noted"] == int(row["id"][1:]) for row in rows)
        assert sorted(question.split(":")[0] for question in server.questions) == 30 * ["note"] + 30 * ["pick"] + 30 * [
            "rate"
        ]
        assert run(folder, server.url).unchanged
        assert len(server.requests) == 90
        select = [{"use": "picked", "keep": 6}]
        assert not run(folder, server.url, select=select).unchanged
        assert len(server.requests) == 90  # all replies are known
        run(folder, server.url, select=select, judge={"base_url": server.url, "model": "other"})
        assert len(server.requests) == 180


def test_the_plan_says_how_many_calls_there_may_be(folder):
    steps = pipeline.plan(config_from_dict(config(folder, "http://127.0.0.1:1/v1")), Serial())
    notes = [step.note for step in steps if "judge" in step.note]
    assert len(notes) == 3
    assert notes[0].startswith("annotate noted makes up to 30 calls of the judge, with ≈ ")
    assert notes[2].startswith("select picked makes up to 8 calls")


def test_a_missing_package_is_an_error_before_the_run_and_a_missing_key_a_note(folder, monkeypatch):
    from curate.stages.preflight import check_without_run

    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    loaded = config_from_dict(config(folder, "http://127.0.0.1:1/v1"))
    assert "judge: OPENAI_API_KEY is not set, so no key is sent" in " ".join(check_without_run(loaded).notes)
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "httpx" else found(name))
    (error,) = check_without_run(loaded).errors
    assert "needs the package 'httpx'" in str(error)
    assert "judge" in str(error)


def test_a_judge_is_needed(folder):
    data = config(folder, "")
    del data["judge"]
    with pytest.raises(ConfigErrors) as caught:
        config_from_dict(data)
    assert str(caught.value).count("add a section judge") == 3


@pytest.mark.parametrize("url", ["http://user:secret@localhost/v1", "ftp://localhost/v1"])
def test_wrong_addresses_are_refused_and_secrets_not_shown(folder, url):
    with pytest.raises(ConfigErrors) as caught:
        config_from_dict(config(folder, url))
    assert "base_url" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_link_in_place_of_the_replies_is_refused(folder, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside")
    with serve(last_number) as server:
        run(folder, server.url)
        (folder / "run/judge").rename(outside / "judge")
        (folder / "run/judge").symlink_to(outside / "judge")
        with pytest.raises(CurateError, match="link"):
            run(folder, server.url)


def test_selectors_that_ask_are_not_compared(folder):
    from curate.evaluation.compare import compare

    with serve(last_number) as server, pytest.raises(CurateError, match="asks a judge"):
        compare(config_from_dict(config(folder, server.url)), Serial(), select=("picked",))

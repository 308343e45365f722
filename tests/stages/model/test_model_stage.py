"""Outputs of language models: read once for each content, by part, for the pool and for the target."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate import pipeline
from curate.config.loader import config_from_dict
from curate.errors import ConfigErrors, CurateError
from curate.executors.processes import Processes
from curate.executors.serial import Serial
from curate.plugins.language_models import Example, Turn
from curate.pool import model_outputs
from curate.stages.model.examples import to_example

PLUGINS = {
    "counting": '''
from dataclasses import dataclass
import json
import os

import numpy as np

from curate.plugins.interfaces import model


@model(version=1, abilities=("loss", "hidden"))
@dataclass(frozen=True, slots=True, kw_only=True)
class Counting:
    """Model whose loss is the number of letters of the prompt and of the response."""

    model: str
    log: str

    def revision(self):
        return self.model

    def estimate_seconds(self, tokens):
        return tokens / 100

    def run(self, examples, request, advance):
        read = [[[turn.content for turn in one.prompt], one.response, request.name] for one in examples]
        descriptor = os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, "".join(json.dumps(one) + "\\n" for one in read).encode())
        os.close(descriptor)
        responses = np.array([len(one.response) for one in examples], np.float32)
        prompts = np.array([sum(len(turn.content) for turn in one.prompt) for one in examples], np.float32)
        truncated = responses > 40
        if request.ability == "hidden":
            vector = np.stack([responses + 1, prompts + 1, np.ones(len(examples))], axis=1).astype(np.float32)
            return {"vector": vector, "tokens": responses.astype(np.int32), "truncated": truncated}
        shown = prompts if request.with_prompt else 0 * prompts
        loss = np.where(responses > 0, 1000 * shown + responses, np.nan).astype(np.float32)
        return {
            "loss": loss,
            "tokens": responses.astype(np.int32),
            "prompt_tokens": prompts.astype(np.int32),
            "truncated": truncated,
            "quantiles": np.repeat(loss[:, None], 5, axis=1),
            "first_loss": np.where(shown > 0, loss, np.float32(np.nan)),
        }
''',
    "both_losses": '''
from dataclasses import dataclass

from curate.plugins.interfaces import OutputColumn, scorer
from curate.plugins.language_models import LossRequest, ModelRequest


@scorer(
    version=1,
    reads={"model"},
    columns=(OutputColumn(name="with", higher_is_better=True), OutputColumn(name="without", higher_is_better=True)),
)
@dataclass(frozen=True, slots=True, kw_only=True)
class BothLosses:
    """Losses with and without the prompt."""

    model: str | None = None

    def requests(self):
        return (ModelRequest(LossRequest(), self.model), ModelRequest(LossRequest(with_prompt=False), self.model))

    def score(self, batch, rng):
        import numpy as np

        return np.stack([one["loss"] for one in batch.outputs], axis=1)
''',
    "pooled": '''
from dataclasses import dataclass

from curate.plugins.interfaces import embedder
from curate.plugins.language_models import HiddenRequest, ModelRequest


@embedder(version=1, reads="model")
@dataclass(frozen=True, slots=True, kw_only=True)
class Pooled:
    """Hidden states: the mean for the pool, the last for the target."""

    def requests(self, *, target):
        return (ModelRequest(HiddenRequest(pooling="last" if target else "mean")),)

    def encode(self, outputs):
        return outputs[0]["vector"]
''',
    "near_target": '''
from dataclasses import dataclass

from curate.plugins.interfaces import OutputColumn, scorer


@scorer(version=1, reads={"embedding", "target"}, columns=(OutputColumn(higher_is_better=True),))
@dataclass(frozen=True, slots=True, kw_only=True)
class NearTarget:
    """Largest similarity to a target row."""

    def score(self, batch, rng):
        return (batch.embeddings @ batch.target.embeddings.T).max(axis=1)
''',
    "live": '''
from dataclasses import dataclass

import numpy as np

from curate.plugins.interfaces import OutputColumn, scorer
from curate.plugins.language_models import Example, LossRequest


@scorer(version=1, reads={"model", "text"}, within="corpus", columns=(OutputColumn(higher_is_better=True),))
@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """Losses of pairs of rows."""

    def requests(self):
        return ()

    def score(self, batch, rng):
        pairs = [Example((), one + other) for one, other in zip(batch.texts, batch.texts[::-1])]
        return batch.run_model(None, pairs, LossRequest())["loss"]
''',
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, source in PLUGINS.items():
        (tmp_path / f"{name}.py").write_text(source)
    monkeypatch.setattr(model_outputs, "PART_ROWS", 7)
    return tmp_path


def rows_of(n: int, start: int = 0) -> list[dict[str, Any]]:
    return [
        {"id": f"r{number}", "question": "q" * (number % 5), "answer": f"answer {number}", "note": number}
        for number in range(start, start + n)
    ]


def write(folder: Path, rows: list[dict[str, Any]], name: str = "pool.jsonl") -> None:
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))


def config(folder: Path, **more: Any) -> dict[str, Any]:
    return {
        "curate": 1,
        "run": str(folder / "run"),
        "plugins": [str(folder / f"{name}.py") for name in PLUGINS],
        "input": {"files": str(folder / "pool.jsonl"), "text": "answer", "id": "id", "rows_per_shard": 20},
        "model": {
            "use": "counting",
            "model": "a",
            "log": str(folder / "log"),
            "prompt": "question",
            "response": "answer",
        },
        "embed": {"use": "hashing", "dimensions": 16},
        "cluster": {"use": "kmeans", "n_clusters": 2},
        "score": [{"use": "both_losses"}],
        "select": [{"use": "uniform", "keep_rate": 1.0}],
        **more,
    }


def run(folder: Path, executor: Any = None, **more: Any) -> Any:
    return pipeline.run(config_from_dict(config(folder, **more)), executor or Serial())


def scores(folder: Path, name: str = "both_losses") -> pa.Table:
    return pq.ParquetDataset(sorted((folder / f"run/score/{name}").glob("part-*.parquet"))).read()


def read_lines(folder: Path) -> list[list[Any]]:
    """Return what the model has read since the last call."""
    log = folder / "log"
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    log.unlink(missing_ok=True)
    return lines


def test_scorers_read_the_outputs_of_their_rows(folder):
    write(folder, rows_of(45))
    summary = run(folder)
    expected = [1000 * (number % 5) + len(f"answer {number}") for number in range(45)]
    assert scores(folder)["score_both_losses_with"].to_pylist() == expected
    assert scores(folder)["score_both_losses_without"].to_pylist() == [value % 1000 for value in expected]
    assert len(read_lines(folder)) == 90
    result = next(record.result for record in summary.records if record.name == "counting-loss")
    assert (result.computed, result.truncated, result.undefined) == (45, 0, 0)
    assert result.tokens == sum(value % 1000 for value in expected)
    assert run(folder).unchanged
    assert not read_lines(folder)


@pytest.mark.slow
def test_the_same_bytes_with_workers(folder, monkeypatch):
    monkeypatch.undo()  # workers have parts of the usual size
    write(folder, rows_of(45))
    run(folder)
    run(folder, Processes(2), run=str(folder / "other"))
    one, other = (
        {path.relative_to(at): path.read_bytes() for path in at.rglob("part-*")}
        for at in (folder / "run", folder / "other")
    )
    assert one == other
    assert sum(path.parts[0] == "model" for path in one) == 6


def test_a_content_is_read_once(folder):
    write(folder, [one for row in rows_of(30) for one in (row, {**row, "id": f"copy {row['id']}"})])
    run(folder, input={**config(folder)["input"], "rows_per_shard": 60})
    assert len(read_lines(folder)) < 80  # copies in the same part
    rows = rows_of(40)
    write(folder, rows[::-1])  # another order, 10 new rows
    run(folder, input={**config(folder)["input"], "rows_per_shard": 13})
    assert sorted(line[1] for line in read_lines(folder)) == sorted(2 * [row["answer"] for row in rows[30:]])
    found = dict(zip(*(scores(folder)[name].to_pylist() for name in ("id", "score_both_losses_with")), strict=True))
    assert found == {row["id"]: 1000 * len(row["question"]) + len(row["answer"]) for row in rows}


def test_other_prompts_and_other_models_are_read(folder):
    write(folder, rows_of(20))
    run(folder)
    read_lines(folder)
    rows = rows_of(20)
    rows[3]["question"] = "another"
    rows[4]["note"] = 1_000  # no part of the prompt
    write(folder, rows)
    run(folder)
    assert read_lines(folder) == [[["another"], "answer 3", "loss"], [["another"], "answer 3", "loss_without_prompt"]]
    run(folder, model={**config(folder)["model"], "model": "b"})
    assert len(read_lines(folder)) == 40


def test_embedders_read_models_and_ask_differently_for_the_target(folder):
    write(folder, rows_of(30))
    write(folder, rows_of(5, 100), "target.jsonl")
    more = {
        "embed": {"use": "pooled"},
        "target": {"files": str(folder / "target.jsonl")},
        "score": [{"use": "near_target"}],
    }
    run(folder, **more)
    lines = read_lines(folder)
    assert [sum(line[2] == f"hidden_{name}" for line in lines) for name in ("mean", "last")] == [30, 5]
    assert {line[1] for line in lines if line[2] == "hidden_last"} == {f"answer {number}" for number in range(100, 105)}
    assert run(folder, **more).unchanged
    assert not read_lines(folder)


def test_a_scorer_of_the_pool_runs_a_model_on_examples_that_are_no_rows(folder):
    write(folder, rows_of(12))
    run(folder, score=[{"use": "live"}])
    texts = [row["answer"] for row in rows_of(12)]
    assert sorted(line[1] for line in read_lines(folder)) == sorted(map("".join, zip(texts, texts[::-1], strict=True)))
    assert run(folder, score=[{"use": "live"}]).unchanged
    run(folder, score=[{"use": "live"}], model={**config(folder)["model"], "model": "b"})
    assert len(read_lines(folder)) == 12


def test_two_questions_of_the_same_scorer_are_two_steps(folder):
    write(folder, rows_of(10))
    for name in "ab":
        (folder / f"{name}.txt").write_text(f"{name}: {{text}}")
    score = [{"use": "ask_llm", "name": name, "question": str(folder / f"{name}.txt")} for name in "ab"]
    fake = str(Path(__file__).parents[2] / "fake.py")
    run(folder, plugins=[fake], model={"use": "fake", "model": "m"}, score=[*score, {**score[0], "name": "c"}])
    steps = sorted(path.name for path in (folder / "run/model").iterdir())
    assert len(steps) == 2
    assert all(name.startswith("fake-answers_ask_llm_") for name in steps)


def test_rows_without_a_response_and_truncated_rows_are_counted(folder):
    write(folder, [*rows_of(5), {"id": "e", "question": "q", "answer": "x" * 50}, {"id": "n", "text": "t"}])
    more = {"input": {**config(folder)["input"], "text": "{text}{answer}"}}
    summary = run(folder, **more)
    assert any("2 of" not in warning and "1 of 7 rows are longer" in warning for warning in summary.warnings)
    assert any("1 of 7 rows have no output" in warning for warning in summary.warnings)
    values = scores(folder)["score_both_losses_with"].to_numpy()
    assert np.isnan(values).tolist() == [False] * 6 + [True]


CHATS = [
    (
        [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}, {"role": "assistant", "content": "a"}],
        Example((Turn("system", "s"), Turn("user", "u")), "a"),
    ),
    (
        [{"from": "human", "value": "u"}, {"from": "gpt", "value": "a"}, {"from": "human", "value": "thanks"}],
        Example((Turn("user", "u"),), "a"),
    ),
    ([{"role": "user", "content": "u"}], Example((Turn("user", "u"),), "")),
    ("a text", Example((), "a text")),
    (None, Example((), "")),
    ([], Example((), "")),
    ({"a": [1]}, Example((), '{"a":[1]}')),
    ('[{"role": "user", "content": "u"}, {"role": "assistant", "content": "a"}]', Example((Turn("user", "u"),), "a")),
]


@pytest.mark.parametrize(("value", "expected"), CHATS, ids=range(len(CHATS)))
def test_the_last_message_of_the_assistant_is_the_response(value, expected):
    assert to_example(value) == expected


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_chats_are_recognized_in_the_text_and_in_another_column(folder, kind):
    rows = [{"id": f"c{number}", "chat": chat, "plain": "p"} for number, (chat, _) in enumerate(CHATS[:3])]
    if kind == "jsonl":
        write(folder, rows)
    else:
        keys = ("role", "content")
        turns = [
            [
                dict(zip(keys, (one.get("role", one.get("from")), one.get("content", one.get("value"))), strict=True))
                for one in row["chat"]
            ]
            for row in rows
        ]
        pq.write_table(
            pa.table({"id": [row["id"] for row in rows], "chat": turns, "plain": ["p"] * 3}), folder / "pool.parquet"
        )
    more = {"input": {"files": str(folder / f"pool.{kind}"), "text": "chat", "id": "id"}}
    model = {key: value for key, value in config(folder)["model"].items() if key not in ("prompt", "response")}
    run(folder, **more, model=model)
    read = [line[:2] for line in read_lines(folder) if line[2] == "loss"]
    assert read == [[[turn.content for turn in one.prompt], one.response] for _, one in CHATS[:3]]
    more["input"]["text"] = "plain"
    run(folder, **more, model={**model, "messages": "chat"})
    assert not read_lines(folder)  # the same contents


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"model": []}, "there is no section model"),
        ({"score": [{"use": "both_losses", "model": "other"}]}, "there is no model 'other'"),
        ({"model": {"use": "counting", "model": "a", "log": "l", "prompt": "question"}}, "set response"),
        (
            {"model": {"use": "counting", "model": "a", "log": "l", "response": "answer", "messages": "c"}},
            "messages is set",
        ),
        ({"model": {"use": "counting", "model": "a", "log": "l", "response": "{answer"}}, "model.response"),
    ],
)
def test_wrong_configurations(folder, more, message):
    write(folder, rows_of(5))
    with pytest.raises(ConfigErrors, match=message):
        config_from_dict(config(folder, **more))


@pytest.mark.parametrize(("key", "value"), [("response", "answr"), ("prompt", "{questionn}"), ("messages", "chat")])
def test_a_column_that_does_not_exist_is_reported_before_the_run(folder, key, value):
    write(folder, rows_of(5))
    model = {**config(folder)["model"], key: value}
    if key == "messages":
        del model["prompt"], model["response"]
    with pytest.raises(CurateError, match="column"):
        run(folder, model=model)
    assert not (folder / "run/input").exists()


def test_the_plan_has_a_step_for_each_output_and_its_time_if_the_model_knows_it(folder):
    write(folder, rows_of(40))
    steps = {step.name: step for step in pipeline.plan(config_from_dict(config(folder)), Serial())}
    loss = steps["counting-loss"]
    assert loss.rows == 40
    assert loss.seconds is not None
    assert loss.memory is None
    assert {"counting-loss", "counting-loss_without_prompt", "both_losses"} <= steps.keys()
    assert steps["both_losses"].seconds is not None

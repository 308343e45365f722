"""What a plan says of each step is what the next run does, whichever key of the configuration changed."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path
from typing import Literal, get_args, get_origin

import annotated_types as at
import pytest

from curate import pipeline
from curate.config.loader import config_from_dict
from curate.config.sections import ENTRY_SECTIONS, SECTIONS, driver_fields
from curate.errors import ConfigError, CurateError
from curate.executors.serial import Serial
from curate.pipeline import PIPELINE
from curate.plugins import registry
from curate.plugins.fields import fields, split_annotated, union_members
from curate.progress import NullProgress

BASE = {
    "embed": {"use": "lsa", "dimensions": 8},
    "cluster": {"use": "kmeans", "n_clusters": 4},
    "proxy": {"use": "logistic", "epochs": 2},
    "score": [{"use": "length"}, {"use": "el2n"}],
    "select": [{"use": "where", "drop": "score_length < 2"}, {"use": "top_k", "keep": 20}],
    "export": {"use": "jsonl"},
    "target": {"files": "eval.jsonl"},
    "decontaminate": {"files": "eval.jsonl", "text": "text"},
}

OTHERS = {
    ("input", "text"): "{text} {topic}",
    ("input", "id"): None,
    ("input", "label"): "source",
    ("input", "source"): "topic",
    ("input", "files"): "pool/a.jsonl",
    ("select.0", "drop"): "score_length < 3",
    ("select.1", "within"): "cluster",
}
"""Values of keys that have no other value by their type, by section and name."""


def other(annotation, value):
    """Return another value of a type; None if none is known."""
    for member in union_members(annotation):
        base, found = split_annotated(member)
        if get_origin(base) is Literal:
            return next((one for one in get_args(base) if one != value), None)
        if base is bool:
            return not value
        if base in (int, float) and not isinstance(value, str):
            high = next((one.le for one in found if isinstance(one, at.Le)), 10**6)
            now = value if isinstance(value, int | float) else 1
            return base(now + 1) if now + 1 <= high else base(now / 2)
    return None


def changes():
    """Yield every key with another value: the section (``select.1``), the key, and the value."""
    for name, section in SECTIONS.items():
        if name not in ENTRY_SECTIONS:
            for field in fields(section.cls):
                value = OTHERS.get((name, field.name), other(field.type, field.default))
                if value is not None or (name, field.name) in OTHERS:
                    yield name, field.name, value
            continue
        given = BASE.get(name, [])
        for index, entry in enumerate(given if isinstance(given, list) else [given]):
            place = f"{name}.{index}" if isinstance(given, list) else name
            plugin = registry.get(ENTRY_SECTIONS[name].kind, entry["use"])
            for field in (*driver_fields(ENTRY_SECTIONS[name]), *fields(plugin.cls)):
                now = entry.get(field.name, field.default)
                value = OTHERS.get((place, field.name), other(field.type, now))
                if value is not None and field.name not in ("use", "name"):
                    yield place, field.name, value
    yield "", "seed", 1


class Steps(NullProgress):
    """Which steps were reused, by stage and name."""

    def __init__(self):
        self.reused = {}
        self.step = ("", "")

    def enter(self, stage, entry):
        self.step = (stage, entry)

    def leave(self, records, *, reused):
        self.reused[self.step] = reused


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return tmp_path_factory.mktemp("planned") / "run"


@pytest.fixture
def finished(pool, config, kept):
    """A finished run of the base, and its configuration."""
    Path("eval.jsonl").write_text('{"text": "what is the capital of the country of the north, and why is it there"}\n')
    data = config(**BASE)
    if not kept.exists():
        pipeline.run(config_from_dict(data), Serial())
        shutil.copytree("run", kept, symlinks=True)
        shutil.rmtree("run")
    shutil.copytree(kept, "run", symlinks=True)
    return data


def agree(data):
    """Compare a plan with the run that follows it."""
    settings = config_from_dict(data)
    planned = {(one.stage, one.name): one.state for one in pipeline.plan(settings, Serial())}
    steps = Steps()
    try:
        pipeline.run(settings, Serial(), steps)
    except CurateError:
        if not steps.reused:
            return planned
    for (stage, name), reused in steps.reused.items():
        names = [entry.name for entry in settings.select] if stage == "select" else [name]
        for one in names:
            state = planned[stage, one]
            assert state == "maybe" or (state == "fresh") == reused, (stage, one, state, reused)
    return planned


@pytest.mark.parametrize(("section", "key", "value"), list(changes()), ids=lambda one: str(one)[:24])
def test_a_plan_says_which_steps_the_run_repeats(finished, section, key, value):
    data = json.loads(json.dumps(finished))
    owner = data
    for step in section.split(".") if section else ():
        owner = owner[int(step)] if isinstance(owner, list) else owner.setdefault(step, {})
    owner[key] = value
    if key in ("keep_rate", "prune_rate", "keep_tokens"):
        owner.pop("keep", None)
    if value is None:
        del owner[key]
    try:
        config_from_dict(data)
    except ConfigError:
        pytest.skip("not valid by itself")
    agree(data)


def test_an_unchanged_configuration_is_planned_to_repeat_nothing(finished):
    assert {*agree(finished).values()} == {"fresh"}


def test_a_changed_row_and_a_lost_file_are_planned_as_they_run(finished):
    path = Path("pool/a.jsonl")
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:-1], lines[-1].replace("number", "another")]) + "\n")
    assert "stale" in agree(finished).values()
    (next(Path("run/cluster").glob("**/part-*.parquet"))).unlink()
    assert "stale" in agree(finished).values()


# ---------------------------------------------------------------- rows and costs


@pytest.mark.parametrize("name", ["pool.csv", "pool.jsonl.gz", "pool.json", "pool.tsv.gz"])
def test_rows_are_counted_whatever_the_format(pool, config, name):
    rows = [{"id": f"r{n}", "text": f"short {n}"} for n in range(15_000)]
    separator = "\t" if ".tsv" in name else ","
    lines = [json.dumps(one) for one in rows]
    if ".json" not in name:
        lines = [f"id{separator}text", *(f'{one["id"]}{separator}"{one["text"]}"' for one in rows)]
    text = f"[{','.join(lines)}]" if name.endswith(".json") else "\n".join(lines) + "\n"
    Path(name).write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    settings = config_from_dict(config(input={"files": name, "id": "id", "text": "text"}))
    first = pipeline.plan(settings, Serial())[0]
    assert (first.rows, first.error) == (15_000, 0)


def test_a_count_that_the_time_ends_is_marked_with_its_error(pool, config, monkeypatch):
    Path("pool.csv").write_text("id,text\n" + "".join(f"r{n},{'word ' * 40}{n}\n" for n in range(60_000)))
    monkeypatch.setattr(pipeline, "_COUNTING", -1.0)
    first = pipeline.plan(config_from_dict(config(input={"files": "pool.csv", "text": "text"})), Serial())[0]
    assert first.error
    assert first.rows == pytest.approx(60_000, rel=first.error)


def test_every_step_has_an_estimate_before_the_first_run(pool, config):
    of_other_files, of_models = {"decontaminate", "target"}, {"model", "annotate"}
    sections = {key: value for key, value in BASE.items() if key not in of_other_files}
    sections |= {"split": {}, "review": {}, "score": [*BASE["score"], {"use": "consistency"}]}
    steps = pipeline.plan(config_from_dict(config(**sections)), Serial())
    assert {step.stage for step in steps} == {stage.name for stage in PIPELINE} - of_other_files - of_models
    for step in steps:
        assert None not in (step.seconds, step.memory, step.disk), step


MEASURED_NOWHERE = {("embedder", "sentence_transformers"), ("proxy", "recorded"), ("exporter", "mds")}
"""Plugins whose cost is that of a model or of files of the user's, or whose library is rarely installed."""


@pytest.mark.parametrize("section", [name for name, one in ENTRY_SECTIONS.items() if name != "metrics"])
def test_every_plugin_was_measured(section):
    from curate.stages.cost_table import TABLE

    kind = ENTRY_SECTIONS[section].kind
    steps = json.loads(TABLE.read_text())["steps"]
    missing = {name for name in registry.names(kind) if f"{section} {name}" not in steps}
    reads = {name: registry.get(kind, name).traits.reads for name in missing}
    missing = {name for name in missing if kind != "model" and not reads[name] & {"model", "judge"}}
    assert {(kind, name) for name in missing} <= MEASURED_NOWHERE

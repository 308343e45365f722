"""Every key that names a column or a file is checked before anything is computed, in every plugin."""

from __future__ import annotations

import importlib.util
import inspect
import json
import sys
from pathlib import Path

import pytest

from curate import pipeline
from curate.config.loader import load_config
from curate.config.sections import ENTRY_SECTIONS, SECTIONS, driver_fields
from curate.errors import CurateError
from curate.executors.serial import Serial
from curate.plugins import registry
from curate.plugins.fields import expand_nested, fields, item_type, iter_marks, key_type, nested_dataclass
from curate.plugins.interfaces import PROXY_READS, ConfigReference, ExampleFiles, ExistingFiles, TemplateField
from curate.plugins.kinds import KINDS
from curate.progress import NullProgress
from curate.stages import preflight

WRONG = "tpic"
"""A column that no file has, though one has nearly that name."""

NOWHERE = "nowhere/*.jsonl"

OF_KIND = {
    "annotator": "skills",
    "clusterer": "kmeans",
    "embedder": "hashing",
    "exporter": "parquet",
    "model": "causal_lm",
    "selector": "uniform",
}
"""A plugin for the fields that every plugin of a kind has."""

WITH = {
    ("causal_lm", "prompt"): {"response": "text"},
    ("skills", "prompt"): {"response": "text"},
    ("submodular", "objective.*.column"): {"objective": [{"group_balance": 1, "column": WRONG}]},
    ("perplexity", "text"): {"files": "texts.jsonl"},
    ("quality_classifier", "text"): {"positive": "texts.jsonl"},
    ("cross_entropy_difference", "text"): {"general": "texts.jsonl"},
    ("submodular", "cost"): {"optimizer": "distorted"},
    ("where", "drop"): {"drop": f"{WRONG} = 't1'"},
}
"""Other fields of an entry that a field needs, by its plugin and name."""


def kind_of(annotation) -> str | None:
    """Return what the values of a field name."""
    for mark in iter_marks(annotation):
        if isinstance(mark, ExistingFiles | ExampleFiles):
            return "file"
        if isinstance(mark, TemplateField) or (
            isinstance(mark, ConfigReference) and mark.target in ("column", "group")
        ):
            return "column"
    return None


def wrong(annotation, kind):
    """Return a value of a type that names something that is not there."""
    value = NOWHERE if kind == "file" else WRONG
    if kind_of(item_type(annotation, list)) and kind == "column":
        return [value]
    if kind_of(key_type(annotation)) and not kind_of(item_type(annotation, dict)):
        return {value: "string"}
    return value


def references():
    """Yield the section, plugin, field and value of every key that names a column or a file."""
    for name, section in SECTIONS.items():
        if name not in ENTRY_SECTIONS:
            for field in fields(section.cls):
                if (kind := kind_of(field.type)) is not None:
                    yield name, "", field.name, wrong(field.type, kind)
            continue
        for field in driver_fields(ENTRY_SECTIONS[name]):
            if (kind := kind_of(field.type)) is not None:
                yield name, "", field.name, wrong(field.type, kind)
        for use in registry.names(ENTRY_SECTIONS[name].kind):
            plugin = registry.get(ENTRY_SECTIONS[name].kind, use)
            named = {one.name for one in expand_nested(fields(plugin.cls)) if kind_of(one.type)}
            for field in expand_nested(fields(plugin.cls)):
                if field.name in named and not (
                    nested_dataclass(item_type(field.type, list)) and "*" not in field.name
                ):
                    yield name, use, field.name, wrong(field.type, kind_of(field.type))
            if "frame" in plugin.traits.reads and not named:
                yield name, use, next(iter(plugin.traits.example)), None


def entry(section, use, field, value):
    """Return an entry of a section with that value."""
    kind = ENTRY_SECTIONS[section].kind
    use = use or OF_KIND[kind]
    traits = registry.get(kind, use).traits
    built = {"use": use, **traits.example, **({"keep": 5} if kind == "selector" and traits.budgeted else {})}
    if value is not None and "*" not in field:
        built[field] = value
    built |= WITH.get((use, field), {})
    return [built] if ENTRY_SECTIONS[section].must_be_list else built


CASES = list(references())


@pytest.fixture
def written(pool, config):
    """Write a configuration with other sections, and return its path."""

    def write(**sections):
        path = Path("config.yaml")
        path.write_text(json.dumps(config(**sections), indent=1))
        return path

    return write


def refused(path: Path) -> str:
    """Return the error of a check, which a run gives too, before anything is embedded."""
    settings = load_config(path)
    with pytest.raises(CurateError) as checked:
        preflight.check_without_run(settings).raise_if_any()
    with pytest.raises(CurateError) as ran:
        pipeline.run(settings, Serial())
    assert not Path("run/embed").exists()
    assert checked.value.exit_code == ran.value.exit_code
    return str(checked.value)


@pytest.mark.parametrize(("section", "use", "field", "value"), CASES, ids=lambda one: str(one)[:20])
def test_a_name_of_nothing_is_found_by_check_and_by_run(written, section, use, field, value):
    Path("texts.jsonl").write_text("".join(f'{{"text": "good text {n}", "id": "e{n}"}}\n' for n in range(60)))
    given = {"files": "texts.jsonl"} if section in ("decontaminate", "target") else {}
    base = json.loads(written().read_text())
    plain = {**base.get(section, {}), **given, field: value} if section not in ENTRY_SECTIONS else {}
    built = plain or entry(section, use, field, value)
    reads = registry.get("scorer", use).traits.reads if section == "score" and use else frozenset()
    more = {"proxy": {"use": "logistic"}} if reads & PROXY_READS else {}
    if "target" in reads:
        more["target"] = {"files": "texts.jsonl", "text": "text"}
    if section == "annotate":
        more["judge"] = {"base_url": "http://127.0.0.1:9/v1", "model": "judge", "max_retries": 0}
    message = refused(written(**{section: built}, **more))
    key = field.replace("*", "0")
    assert any(line.startswith("config.yaml:") and f".{key}" in line for line in message.splitlines()), message
    if value == NOWHERE:
        assert "no file matches 'nowhere/*.jsonl'" in message
    elif section not in ("decontaminate", "target") and field != "text":
        assert f"no input file has a column '{WRONG}'; did you mean 'topic'?" in message


def test_the_keys_are_found():
    result = {(section, use, field) for section, use, field, _ in CASES}
    assert {
        ("input", "", "files"),
        ("input", "", "text"),
        ("input", "", "id"),
        ("input", "", "label"),
        ("input", "", "source"),
        ("input", "", "types"),
        ("target", "", "files"),
        ("target", "", "text"),
        ("decontaminate", "", "files"),
        ("decontaminate", "", "text"),
        ("evaluate", "", "files"),
        ("evaluate", "", "ground_truth"),
        ("select", "", "within"),
        ("embed", "column", "column"),
        ("cluster", "column", "column"),
        ("proxy", "recorded", "files"),
        ("score", "perplexity", "files"),
        ("score", "quality_classifier", "positive"),
        ("select", "where", "drop"),
        ("select", "markov", "column"),
        ("select", "submodular", "objective.*.column"),
    } <= result


LOG = '{"id": "r0000", "epoch": 0, "probabilities": [0.5, 0.5]}\n'

MISTAKES = {
    "more rows than the pool has": ({"select": [{"use": "uniform", "keep": 61}]}, "select.0.keep|keep is 61"),
    "more rows than the entry before leaves": (
        {"select": [{"use": "uniform", "keep": 10, "name": "a"}, {"use": "uniform", "keep": 11}]},
        "only 10 rows reach this entry",
    ),
    "more rows than a rate leaves": (
        {"select": [{"use": "uniform", "keep_rate": 0.5, "name": "a"}, {"use": "uniform", "keep": 31}]},
        "only 30 rows reach this entry",
    ),
    "fewer rows than the guard demands": ({"guard": {"min_rows": 21}}, "only 20 of 60 rows would be exported"),
    "more dropped than the guard allows": (
        {"guard": {"max_drop_rate": 0.5}},
        "40 of 60 rows (66.67%) would be dropped",
    ),
    "a condition on values of another type": (
        {"select": [{"use": "where", "drop": "stars > 'x'"}]},
        "select.0.drop: cannot evaluate \"stars > 'x'\"",
    ),
    "a condition on a score that is none": (
        {"select": [{"use": "where", "drop": "score_prototypicalty > 1"}]},
        "did you mean 'score_prototypicality'?",
    ),
    "vectors that are texts": ({"embed": {"use": "column", "column": "text"}}, "embed.column: column 'text'"),
    "no vectors at all": ({"embed": {"use": "column"}}, "neither a column nor input.vectors is set"),
    "a tokenizer that is no file": (
        {"input": {"tokens": "tokens.json"}},
        "input.tokens: 'tokens.json' is neither a column of the input nor a tokenizer",
    ),
    "arrays that are not there": ({"input": {"vectors": ".npy"}}, "input.vectors: cannot read the vectors of pool/a"),
    "a log of other classes": (
        {"proxy": {"use": "recorded", "files": "log.jsonl"}, "score": [{"use": "el2n"}]},
        "proxy.files: log.jsonl: the log has 2 classes, but the pool has 4 labels",
    ),
    "a label that the log does not know": (
        {"proxy": {"use": "recorded", "files": "log.jsonl", "classes": ["t0", "t1"]}, "score": [{"use": "el2n"}]},
        "proxy.classes: the list lacks the label 't2' of the pool",
    ),
    "an id that is a list": ({"input": {"id": "tags"}}, "input.id: column 'tags' is list"),
    "too few examples": (
        {"score": [{"use": "perplexity", "files": "few.jsonl"}]},
        "score.0.files: there are 1 texts, at least",
    ),
    "an evaluation set without its text": (
        {"decontaminate": {"files": "log.jsonl", "text": "question"}},
        "decontaminate.text: no file of decontaminate.files has a column 'question'; there are: id, epoch",
    ),
    "target rows without the column of labels": (
        {"target": {"files": "log.jsonl", "text": "id", "label": "kind"}},
        "target.label: no file of target.files has a column 'kind'; did you mean 'id'?",
    ),
    "a run directory with other files": ({"run": "pool"}, "the folder is not empty and not a run directory"),
    "a run directory that is a file": ({"run": "few.jsonl"}, "few.jsonl is a file, expected a folder"),
}


@pytest.mark.parametrize(("sections", "expected"), MISTAKES.values(), ids=MISTAKES.keys())
def test_what_no_run_could_do_is_found_by_check_and_by_run(written, config, sections, expected):
    Path("log.jsonl").write_text(LOG)
    Path("few.jsonl").write_text('{"text": "one"}\n')
    if "input" in sections:
        sections = {"input": config()["input"] | sections["input"]}
    message = refused(written(**sections))
    assert any(part in message for part in expected.split("|")), message


# ---------------------------------------------------------------- packages and models


@pytest.mark.parametrize("kind", KINDS)
def test_every_plugin_that_needs_an_extra_declares_a_check(kind):
    for name in registry.names(kind):
        plugin = registry.get(kind, name)
        own = sys.modules[plugin.cls.__module__]
        used = {getattr(value, "__module__", None) or getattr(value, "__name__", "") for value in vars(own).values()}
        modules = {own.__name__, *(one for one in used if str(one).startswith("curate.plugins."))}
        needs = any("missing_extra_error(" in inspect.getsource(sys.modules[one]) for one in modules)
        assert plugin.traits.check == needs, name


def test_a_missing_package_is_found_before_anything_is_embedded(written, monkeypatch):
    there = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "py3langid" else there(name))
    message = refused(written(score=[{"use": "language"}]))
    assert message.startswith("config.yaml:")
    assert "score.0.use: scorer 'language' needs the package 'py3langid'" in message
    assert "pip install" in message


def test_a_missing_model_is_found_before_anything_is_embedded(written, monkeypatch):
    pytest.importorskip("sentence_transformers")
    for name in ("./models/none", "nobody/none"):
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        message = refused(written(embed={"use": "sentence_transformers", "model": name}))
        assert "embed.use: " in message
        assert "there is no directory" in message


# ---------------------------------------------------------------- pools that are not read completely


def test_a_column_of_late_rows_is_no_mistake(written):
    lines = [{"id": f"r{n}", "text": f"text {n} " * 40} | ({"late": n} if n > 2990 else {}) for n in range(3_000)]
    Path("pool/a.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    Path("pool/b.jsonl").unlink()
    source = {"files": "pool/a.jsonl", "id": "id", "text": "text"}
    result = preflight.check_without_run(
        load_config(written(input=source, select=[{"use": "where", "drop": "late > 5"}]))
    )
    assert not result.errors
    assert not result.pool.complete
    assert str(result.pool.row_count) == "3,000"
    path = written(input=source, select=[{"use": "where", "drop": "latte > 5"}])
    assert "select.0.drop: no input file has a column 'latte'" in refused(path)


def test_a_check_writes_nothing(written):
    path = written()
    before = sorted(Path().rglob("*"))
    preflight.check_without_run(load_config(path)).raise_if_any()
    assert sorted(Path().rglob("*")) == before


@pytest.mark.parametrize(("free", "expected"), [(2**14, "error"), (2**15, "note"), (2**40, "")])
def test_a_disk_that_is_too_small_is_found(written, monkeypatch, free, expected):
    usage = type("Usage", (), {"free": free})
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    result = preflight.check_without_run(load_config(written()))
    assert ("error" if result.errors else "note" if result.notes else "") == expected
    assert all("a first run writes ≈" in str(one) and "run" in str(one) for one in (*result.errors, *result.notes))


def test_a_memory_that_is_too_small_is_found(written, monkeypatch):
    monkeypatch.setattr("os.sysconf", lambda _: 1 << 10)
    assert "a process needs ≈" in preflight.check_without_run(load_config(written())).notes[0]


def test_a_first_run_on_a_disk_that_is_too_small_is_reported(written, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 2**14}))
    config, notes = load_config(written()), []
    for expected in (1, 0):  # what a run writes again is not what a first one writes
        notes.clear()
        listening = NullProgress()
        listening.note = notes.append
        pipeline.run(config, Serial(), listening)
        assert sum("a first run writes ≈" in note for note in notes) == expected
        config = load_config(written(), ["seed=1"])

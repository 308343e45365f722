"""Every field that may name a file or a folder is marked, and its content is part of the fingerprint."""

from __future__ import annotations

import importlib
import json
import re
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import curate
from curate import paths
from curate.config.loader import config_from_dict
from curate.executors.serial import Serial
from curate.pipeline import plan
from curate.plugins import registry
from curate.plugins.fields import expand_nested, fields, iter_marks
from curate.plugins.interfaces import ConfigReference, ContentPath, TemplateField
from tests import tiny_language_model
from tests.fake_models import ScriptedJudge, reply_by_content
from tests.test_paths import edited

_PATHS = re.compile(r"\b(files?|folders?|paths?|director(y|ies)|glob)\b", re.IGNORECASE)


def declared():
    """Return every string field of every plugin, and whether it is marked."""
    for kind in registry.KINDS:
        for name in registry.names(kind):
            for field in expand_nested(fields(registry.get(kind, name).cls)):
                result = [type(mark) for mark in iter_marks(field.type)]
                if "string" in field.text and not {TemplateField, ConfigReference} & {*result}:
                    yield kind, name, field, any(issubclass(mark, ContentPath) for mark in result)


MARKED = {(kind, name, field.name) for kind, name, field, marked in declared() if marked}


def test_a_field_whose_documentation_speaks_of_files_is_marked():
    unmarked = [(kind, name, field.name, field.doc) for kind, name, field, marked in declared() if not marked]
    assert not [each for each in unmarked if _PATHS.search(each[-1])]


def words(number):
    return " ".join(f"word{(number * step) % 1009}" for step in range(1, 12))


def examples(path):
    Path(path).write_text("".join(json.dumps({"text": f"{words(n)} {path}"}) + "\n" for n in range(200)))
    return path


def skills(path):
    Path(path).write_text('{"skills": ["t0", "t1"], "number 1": 0}\n{"skills": ["t0"]}\n')
    return path


def log(path):
    lines = [{"id": f"r{n:04d}", "epoch": e, "logits": [0.25] * 4} for n in range(60) for e in range(2)]
    Path(path).write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def retrievals(path):
    lines = [{"query": q, "id": f"r{(7 * q + n):04d}", "rank": n, "utility": n % 2} for q in range(9) for n in range(4)]
    Path(path).write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def model(path, monkeypatch):
    """Create a model folder and a fake library that loads a model from it."""
    Path(path).mkdir()
    (Path(path) / "weights").write_bytes(b"1234")
    (Path(path) / "config.json").write_text("{}")

    def load(name, *_):
        scale = float(sum((Path(name) / "weights").read_bytes()))
        return SimpleNamespace(
            device=SimpleNamespace(type="cpu"),
            parameters=list,
            buffers=list,
            get_embedding_dimension=lambda: 3,
            encode=lambda texts, **_: np.array([[len(t), t.count("a"), scale] for t in texts], np.float32),
        )

    monkeypatch.setattr(importlib.import_module("curate.plugins.embedders.sentence_transformers"), "load", load)
    return path


def question(path, places="{text}"):
    """Write a question, and return its path."""
    Path(path).write_text(f"1 question about {places}")
    return path


FAKE = str(Path(__file__).parents[1] / "fake.py")


def with_fake_model(**entry):
    """Return the sections of a scorer that reads a model."""
    return {"plugins": [FAKE], "model": {"use": "fake", "model": "m"}, "score": [entry]}


def with_scripted_judge(patch, **sections):
    """Return sections with a judge that needs no endpoint."""

    @contextmanager
    def opened(*_):
        yield ScriptedJudge(reply_by_content)

    patch.setattr("curate.stages.base.open_judge", opened)
    return {"judge": {"base_url": "http://localhost/v1", "model": "m"}, **sections}


CASES = {
    ("model", "causal_lm", "model"): (
        "model",
        lambda _: {
            "model": {"use": "causal_lm", "model": str(tiny_language_model.save(Path("lm"), context=512))},
            "score": [{"use": "loss"}],
        },
        "lm/generation_config.json",
    ),
    ("model", "encoder", "model"): (
        "model",
        lambda _: {
            "model": {"use": "encoder", "model": str(tiny_language_model.save_encoder(Path("lm"), context=512))},
            "embed": {"use": "language_model"},
        },
        "lm/config.json",
    ),
    ("scorer", "ask_llm", "question"): (
        "model",
        lambda _: with_fake_model(use="ask_llm", question=question("q.txt")),
        "q.txt",
    ),
    ("scorer", "deita_rating", "complexity_question"): (
        "model",
        lambda _: with_fake_model(use="deita_rating", complexity_question=question("q.txt")),
        "q.txt",
    ),
    ("scorer", "deita_rating", "quality_question"): (
        "model",
        lambda _: with_fake_model(use="deita_rating", quality_question=question("q.txt")),
        "q.txt",
    ),
    ("scorer", "pairwise_quality", "question"): (
        "score",
        lambda _: with_fake_model(use="pairwise_quality", question=question("q.txt", "{prompt} {response}")),
        "q.txt",
    ),
    ("scorer", "llm_judge", "rubric"): (
        "score",
        lambda patch: with_scripted_judge(patch, score=[{"use": "llm_judge", "rubric": question("q.txt")}]),
        "q.txt",
    ),
    ("selector", "add_one_in", "instruction"): (
        "select",
        lambda patch: with_scripted_judge(
            patch, select=[{"use": "add_one_in", "keep": 20, "instruction": question("q.txt", "{chosen} {candidates}")}]
        ),
        "q.txt",
    ),
    ("annotator", "skills", "question"): (
        "annotate",
        lambda patch: with_scripted_judge(patch, annotate=[{"use": "skills", "question": question("q.txt")}]),
        "q.txt",
    ),
    ("embedder", "sentence_transformers", "model"): (
        "embed",
        lambda patch: {"embed": {"use": "sentence_transformers", "model": model("./m", patch)}},
        "m/weights",
    ),
    ("proxy", "recorded", "files"): (
        "proxy",
        lambda _: {"proxy": {"use": "recorded", "files": log("log.jsonl")}, "score": [{"use": "el2n"}]},
        "log.jsonl",
    ),
    ("scorer", "perplexity", "files"): (
        "score",
        lambda _: {"score": [{"use": "perplexity", "files": examples("a.jsonl")}]},
        "a.jsonl",
    ),
    ("scorer", "retrieval_importance", "files"): (
        "score",
        lambda _: {"score": [{"use": "retrieval_importance", "files": retrievals("r1.jsonl").replace("1", "*")}]},
        "r1.jsonl",
    ),
    ("scorer", "cross_entropy_difference", "general"): (
        "score",
        lambda _: {
            "score": [{"use": "cross_entropy_difference", "general": examples("a.jsonl"), "min_count": 1}],
            "target": {"files": examples("t.jsonl")},
        },
        "a.jsonl",
    ),
    ("scorer", "skill_graph", "graph"): (
        "score",
        lambda _: {"score": [{"use": "skill_graph", "column": "tags", "graph": skills("s.jsonl")}]},
        "s.jsonl",
    ),
    ("scorer", "quality_classifier", "positive"): (
        "score",
        lambda _: {
            "score": [{"use": "quality_classifier", "positive": examples("g.jsonl"), "negative": examples("b.jsonl")}]
        },
        "g.jsonl",
    ),
    ("scorer", "quality_classifier", "negative"): (
        "score",
        lambda _: {
            "score": [{"use": "quality_classifier", "positive": examples("g.jsonl"), "negative": examples("b.jsonl")}]
        },
        "b.jsonl",
    ),
}


def stale(settings, **options):
    return {step.stage for step in plan(config_from_dict(settings), Serial(), **options) if step.state != "fresh"}


def test_there_is_a_case_for_every_marked_field():
    assert set(CASES) == MARKED


@pytest.mark.parametrize("case", sorted(CASES), ids=".".join)
def test_a_byte_changed_under_the_old_name_size_and_time_makes_the_stage_stale(pool, config, monkeypatch, case):
    stage, sections, path = CASES[case]
    settings = config(**sections(monkeypatch))
    curate.run(settings)
    assert not stale(settings)
    edited(Path(path), Path(path).read_bytes().index(b"1"))
    assert stage in stale(settings)


PLUGIN = '''
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
import numpy as np
from curate.plugins.interfaces import ContentPath, OutputColumn, scorer


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One of several."""

    path: Annotated[str, ContentPath()]
    """Path of the table."""


@scorer(version=1, reads={"text"}, columns=(OutputColumn(higher_is_better=True),))
@dataclass(frozen=True, slots=True, kw_only=True)
class Mine:
    """Counts words of lists."""

    one: Annotated[str, ContentPath()]
    """A file."""

    many: Annotated[tuple[str, ...], ContentPath()] = ()
    """A list."""

    tables: tuple[Table, ...] = ()
    """Nested."""

    def score(self, batch, rng):
        names = [self.one, *self.many, *(table.path for table in self.tables)]
        return np.array([sum(text.count(Path(n).read_text()) for n in names) for text in batch.texts], np.float32)
'''


@pytest.mark.parametrize("path", ["one", "two", "three"])
def test_the_files_that_a_plugin_of_the_users_names_are_known_by_content(pool, config, path):
    Path("mine.py").write_text(PLUGIN)
    for name in ("one", "two", "three"):
        Path(name).write_text("1")
    entry = {"use": "mine", "one": "one", "many": ["two"], "tables": [{"path": "three"}]}
    settings = config(plugins=["./mine.py"], score=[entry])
    curate.run(settings)
    assert not stale(settings)
    edited(Path(path), 0)
    assert stale(settings) >= {"score"}
    curate.run(settings)
    assert not stale(settings)
    Path(path).unlink()
    assert stale(settings) >= {"score"}


def tokenizer():
    tokenizers = pytest.importorskip("tokenizers")
    built = tokenizers.Tokenizer(tokenizers.models.WordLevel({"[UNK]": 0, "amber": 1}, unk_token="[UNK]"))
    built.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    built.save("tokenizer.json")


@pytest.mark.parametrize("tokens", ["tokenizer.json", "."])
def test_a_tokenizer_is_known_by_content_and_loaded_again_in_the_same_process(pool, config, tokens):
    tokenizer()
    settings = config()
    settings["input"]["tokens"] = tokens
    tokens_before = curate.run(settings).records[-2].result.tokens
    assert not stale(settings)
    built = json.loads(Path("tokenizer.json").read_text()) | {"pre_tokenizer": None}
    Path("tokenizer.json").write_text(json.dumps(built))
    assert "input" in stale(settings)
    tokens_after = curate.run(settings).records[-2].result.tokens
    assert tokens_after == 60 < tokens_before  # every text is one unknown word


@pytest.mark.parametrize("kind", ["files", "vectors", "target", "decontaminate", "plugins"])
def test_a_byte_changed_in_what_the_other_sections_name_is_noticed(pool, config, kind):
    settings = config()
    path = pool / "a.jsonl"
    if kind == "vectors":
        for name, rows in (("a", 40), ("b", 20)):
            np.save(pool / f"{name}.npy", np.random.default_rng(0).standard_normal((rows, 4)).astype(np.float32))
        settings["input"]["vectors"] = ".npy"
        settings["embed"] = {"use": "column"}
        path = pool / "b.npy"
    elif kind in ("decontaminate", "target"):
        path = Path(examples("exam.jsonl"))
        settings[kind] = {"files": "exam.jsonl"}
    elif kind == "plugins":
        path = Path("mine.py")
        path.write_text(PLUGIN)
        Path("one").write_text("1")
        settings |= {"plugins": ["./mine.py"], "score": [{"use": "mine", "one": "one"}]}
    curate.run(settings)
    assert not stale(settings)
    edited(path, path.read_bytes().index(b"number 1") + 7 if kind == "files" else path.stat().st_size - 3)
    assert {"files": "input", "vectors": "input", "plugins": "score"}.get(kind, kind) in stale(settings)


@pytest.mark.parametrize("of", ["pool", "log", "examples", "set", "target", "field"])
def test_verify_hashes_files_with_equal_timestamps(pool, config, command, monkeypatch, of):
    monkeypatch.setattr(paths, "read_stamp", lambda path: {"size": path.stat().st_size})  # a file system without times
    settings, path, stage = config(), pool / "a.jsonl", "input"
    if of == "log":
        settings |= {"proxy": {"use": "recorded", "files": log("log.jsonl")}, "score": [{"use": "el2n"}]}
        path, stage = Path("log.jsonl"), "proxy"
    elif of == "examples":
        path, stage = Path(examples("a.jsonl")), "score"
        settings["score"] = [{"use": "perplexity", "files": "a.jsonl"}]
    elif of == "set":
        path, stage = Path(examples("exam.jsonl")), "decontaminate"
        settings["decontaminate"] = {"files": "exam.jsonl"}
    elif of == "target":
        path, stage = Path(examples("exam.jsonl")), "target"
        settings["target"] = {"files": "exam.jsonl"}
    elif of == "field":
        Path("mine.py").write_text(PLUGIN)
        path, stage = Path("one"), "score"
        path.write_text("25")
        settings |= {"plugins": ["./mine.py"], "score": [{"use": "mine", "one": "one"}]}
    Path("config.yaml").write_text(json.dumps(settings))
    curate.run(settings)
    assert not stale(settings, verify=True)
    edited(path, path.read_bytes().index(b"25" if of in ("log", "field") else b"word" if of != "pool" else b"number"))
    assert not stale(settings)
    assert stage in stale(settings, verify=True)
    planned = json.loads(command("plan", "config.yaml", "--verify", "--json").stdout)
    assert stage in {step["stage"] for step in planned if step["state"] == "stale"}
    assert command("run", "config.yaml", "--verify").returncode == 0
    assert not stale(settings, verify=True)

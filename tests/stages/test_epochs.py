"""A plan of epochs goes through the whole pipeline: from a selector's answer to a folder for each epoch."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.dataset as ds
import pytest

import curate
from curate.config.loader import config_from_dict
from curate.errors import DataError, PluginError
from curate.executors.serial import Serial
from curate.pipeline import plan
from curate.store.diff import diff_published
from curate.store.explain import RowOutcome, explain

DRAWS = str(Path(__file__).with_name("draws.py"))
EXPORT = Path("run/export/current")


@pytest.fixture
def planned(config):
    """A configuration that plans epochs; keyword arguments go into its select entry."""

    def made(run: str = "run", **keys):
        entry = {"use": "draws", "keep": 8, **keys}
        export = {"use": "parquet", "rows_per_file": 5, "add": ["id", "weight"]}
        return config(run=run, plugins=[DRAWS], select=[{"use": "where", "drop": "stars = 4"}, entry], export=export)

    return made


def ledger(run: str = "run") -> pl.DataFrame:
    return pl.read_parquet(f"{run}/select/part-*.parquet")


def files(run: str = "run") -> dict[str, str]:
    root = Path(run) / "export" / "current"
    found = sorted(path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def test_every_epoch_has_its_rows_in_the_ledger_and_in_a_folder_of_its_own(pool, planned):
    done = curate.run(planned())
    lines = ledger()
    chosen = lines.filter("selected")
    assert lines.filter(~pl.col("selected"))["epochs"].null_count() == len(lines) - len(chosen)
    assert chosen["epochs"].list.len().cast(pl.Float32).equals(chosen["weight"], check_names=False)
    assert chosen["weight"].max() > 1
    assert all(epochs == sorted(set(epochs)) for epochs in chosen["epochs"].to_list())
    assert set(chosen["epochs"].explode()) == set(range(5))

    read = pl.read_parquet(EXPORT / "data", hive_partitioning=True)
    assert read.group_by("epoch").len().sort("epoch").rows() == [(epoch, 8) for epoch in range(5)]
    for epoch in range(5):
        own = lines.filter(pl.col("epochs").list.contains(epoch))["id"]
        assert read.filter(epoch=epoch)["id"].to_list() == own.to_list(), "in input order"
    table = ds.dataset(EXPORT / "data", partitioning="hive").to_table(filter=ds.field("epoch") == 3)
    assert sorted(table["id"].to_pylist()) == sorted(read.filter(epoch=3)["id"])
    assert set(zip(read["id"], read["curate_weight"], strict=True)) == set(chosen.select("id", "weight").rows())

    manifest = json.loads((EXPORT / "manifest.json").read_text())
    names = [f"data/epoch={epoch:03d}/train-{n:05d}-of-00002.parquet" for epoch in range(5) for n in range(2)]
    assert [(file["file"], file["rows"]) for file in manifest["files"]] == list(zip(names, [5, 3] * 5, strict=True))
    assert (manifest["rows"], manifest["epochs"]) == (len(chosen), [8] * 5)
    assert done.records[-1].count.kept == done.kept == len(chosen)
    assert f"{len(chosen)} kept ({len(chosen) / 60:.1%}), 8 in each of 5 epochs; " in done.sentence()
    assert f"{len(chosen)} of 60 rows kept, 8 in each of 5 epochs" in Path("run/report.html").read_text()


def test_the_card_loads_an_epoch_and_all_of_them_in_order(pool, planned, tmp_path):
    datasets = pytest.importorskip("datasets")
    datasets.config.HF_DATASETS_CACHE = tmp_path / "cache"
    curate.run(planned())
    read = pl.read_parquet(EXPORT / "data", hive_partitioning=True).sort("epoch", maintain_order=True)
    code = re.search(r"```python\n(.*?)```", (EXPORT / "README.md").read_text(), re.DOTALL).group(1)
    for part in code.replace("path/to/this/folder", str(EXPORT.resolve())).split("\n\n"):
        space: dict[str, Any] = {}
        exec(part, space)  # the card's own words
        assert list(space["rows"]["id"]) == read.filter(epoch=0)["id"].to_list()
    assert list(datasets.load_dataset(str(EXPORT.resolve()), split="train")["id"]) == read["id"].to_list()


def test_the_bytes_do_not_depend_on_the_number_of_workers(pool, planned):
    curate.run(planned())
    curate.run(planned("two"), executor="processes", workers=2)
    assert files() == files("two")


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"")])
def test_a_damaged_file_of_an_epoch_is_seen_and_made_anew(pool, planned, damage):
    curate.run(planned())
    before = files()
    damage(EXPORT / "data/epoch=002/train-00001-of-00002.parquet")
    told = next(step.reason for step in plan(config_from_dict(planned()), Serial()) if step.stage == "export")
    assert "/data/epoch=002/train-00001-of-00002.parquet is" in told
    curate.run(planned())
    assert files() == before


def test_versions_with_and_without_a_plan_are_compared_by_their_rows_and_forgotten_alike(pool, planned, config):
    curate.run(planned())
    first = set(ledger().filter("selected")["id"])
    curate.run(planned(keep=11))
    second = set(ledger().filter("selected")["id"])
    found = diff_published(Path("run"), examples=0).churn
    assert (found.added, found.removed, found.kept) == (len(second - first), len(first - second), len(first & second))
    for keep in (3, 4, 5, 6):
        curate.run(config(select=[{"use": "top_k", "keep": keep}]))
    assert list(files()) == ["README.md", "data/train-00000-of-00001.parquet", "manifest.json"]
    assert not list(Path("run/export").rglob("epoch=*"))


def test_a_row_says_in_which_epochs_it_is(pool, planned):
    curate.run(planned())
    for name, epochs in ledger().select("id", "epochs").rows():
        fate = explain(Path("run"), name).outcome
        assert fate.epochs == tuple(epochs or ())
        assert (" of 5" in str(fate)) == (epochs is not None), str(fate)


@pytest.mark.parametrize(
    ("epochs", "of", "words"),
    [
        ((1,), 2, "in epoch 1 of 2"),
        ((0, 1), 2, "in all 2 epochs"),
        ((0, 3, 7), 10, "in epochs 0, 3 and 7 of 10"),
        (range(0, 20, 2), 30, "in 10 of 30 epochs: 0, 2, 4, 6, 8, 10, 12, 14, … and 18"),
    ],
)
def test_epochs_are_listed_as_far_as_one_reads_them(epochs, of, words):
    fate = RowOutcome(
        status="chosen", decided_by="draws", rank=0, n_selected=9, gain=0.5, weight=2, epochs=tuple(epochs), n_epochs=of
    )
    assert str(fate) == f"chosen by draws at rank 0 of 0 to 8, gain 0.5, weight 2, {words}"


def test_groups_merge_their_plans_epoch_by_epoch(pool, planned):
    curate.run(planned(within="topic", quota="balanced", keep=3, epochs=4))
    read = pl.read_parquet(EXPORT / "data", hive_partitioning=True)
    counts = read.group_by("epoch", "topic").len()
    assert read.group_by("epoch").len().sort("epoch").rows() == [(epoch, 3) for epoch in range(4)]
    assert set(counts["len"]) == {1}, "one topic of the four has no share"


def test_what_would_be_exported_is_planned_in_rows_of_each_epoch(command, pool, planned):
    Path("config.yaml").write_text(json.dumps(planned()))
    lines = [line.split("\t") for line in command("plan", "config.yaml").stdout.splitlines()]
    assert [line[3] for line in lines if line[1] in ("draws", "parquet")] == ["8 in each of 5 epochs"] * 2
    curate.run("config.yaml")
    bytes_written = sum(file["bytes"] for file in json.loads((EXPORT / "manifest.json").read_text())["files"])
    steps = {step.name: step for step in plan(config_from_dict(planned(keep_rate=0.5, keep=None)), Serial())}
    assert [(steps[name].rows, steps[name].epochs) for name in ("where", "draws")] == [(None, 1), (None, 5)]
    assert steps["parquet"].disk == bytes_written, "as before, as only running tells how many different rows"


def test_one_epoch_is_an_ordinary_selection(pool, planned):
    curate.run(planned(epochs=1))
    assert ledger()["epochs"].null_count() == 60
    assert [name for name in files() if name.startswith("data/")] == [
        "data/train-00000-of-00002.parquet",
        "data/train-00001-of-00002.parquet",
    ]
    assert "epochs" not in json.loads((EXPORT / "manifest.json").read_text())


def test_a_plan_of_another_length_than_asked_for_is_refused(pool, planned):
    with pytest.raises(PluginError, match="select draws: its plan has 4 epochs, but its field epochs is 5"):
        curate.run(planned(forgets=True))


def test_a_column_that_the_folders_would_hide_is_refused(pool, planned):
    for path in pool.iterdir():
        path.write_text(path.read_text().replace('"stars"', '"epoch"'))
    data = planned()
    data["select"] = data["select"][1:]
    with pytest.raises(
        DataError, match=r"the input has a column 'epoch', which conflicts with .*; rename the column, or set"
    ):
        curate.run(data)
    data["select"][0]["epochs"] = 1
    curate.run(data)
    assert "epoch" in pl.read_parquet(EXPORT / "data/*.parquet").columns

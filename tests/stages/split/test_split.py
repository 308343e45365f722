"""Splits: nothing that belongs together crosses them, shares are exact, and no row changes sides."""

from __future__ import annotations

import csv
import itertools
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate import pipeline
from curate.config.loader import config_from_dict
from curate.errors import ConfigErrors, DataError
from curate.executors.processes import Processes
from curate.executors.serial import Serial
from curate.store.explain import explain

WORDS = [f"word{number}" for number in range(3_000)]


def make_rows(n: int, seed: int = 0) -> list[dict[str, Any]]:
    """Return rows of 30 random words, in families of near-duplicates of 1 to 4 rows."""
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    while len(rows) < n:
        words = [WORDS[number] for number in rng.integers(0, len(WORDS), 30)]
        family = f"family {seed}-{len(rows)}"
        for copy in range(int(rng.choice([1, 1, 1, 2, 4]))):
            row = {"id": f"{seed}-{len(rows)}", "text": " ".join([*words, *["end"] * copy]), "family": family}
            rows.append(row | {"kind": "ab"[len(rows) % 2], "chat": len(rows) // 3})
    return rows[:n]


def run(folder: Path, rows: list[dict[str, Any]], split: dict[str, Any], executor: Any = None, **more: Any) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = {
        "curate": 1,
        "run": str(folder / "run"),
        "input": {"files": str(folder / "a.jsonl"), "text": "text", "id": "id", "rows_per_shard": 50},
        "embed": {"use": "hashing", "dimensions": 8},
        "select": [{"use": "uniform", "keep_rate": 1.0}],
        "split": split,
        **more,
    }
    pipeline.run(config_from_dict(data), executor or Serial())
    return folder / "run"


def splits(folder: Path) -> dict[str, str]:
    """Return the split of each selected row by its id."""
    table = pq.ParquetDataset(sorted((folder / "split").glob("part-*.parquet"))).read()
    return {row["id"]: row["split"] for row in table.to_pylist() if row["split"] is not None}


def record(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "split" / "manifest.json").read_text())["facts"]


THIRDS = {"shares": {"train": 0.6, "test": 0.4}}


def test_near_duplicates_are_in_one_split_and_shares_are_exact(tmp_path):
    rows = make_rows(400)
    folder = run(tmp_path, rows, {"shares": {"train": 0.8, "validation": 0.1, "test": 0.1}})
    of = splits(folder)
    assert Counter(of.values()) == {"train": 320, "validation": 40, "test": 40}
    by_family: dict[str, set[str]] = {}
    for row in rows:
        by_family.setdefault(row["family"], set()).add(of[row["id"]])
    assert {len(found) for found in by_family.values()} == {1}
    train, validation, test = record(folder)["splits"]
    assert train["leak"] is None
    for held_out in (validation, test):
        assert held_out["leak"]["sampled"] == 40
        assert held_out["leak"]["words"] == 0
        assert held_out["leak"]["random_words"] > 5


def test_a_random_division_leaks_as_much_as_the_estimate_says(tmp_path):
    rows = [row | {"text": f"{row['text']} {' '.join(WORDS[:3])}"} for row in make_rows(400)]
    folder = run(tmp_path, rows, {**THIRDS, "min_similarity": None})
    leak = record(folder)["splits"][1]["leak"]
    assert leak["sampled"] == 160
    assert abs(leak["words"] - leak["random_words"]) < 25
    assert leak["words"] > 20


@pytest.mark.parametrize("workers", [1, 2])
def test_splits_do_not_depend_on_the_workers(tmp_path, workers):
    rows = make_rows(200)
    serial = run(tmp_path / "serial", rows, THIRDS)
    executor = Processes(workers)
    try:
        other = run(tmp_path / "other", rows, THIRDS, executor)
    finally:
        executor.close()
    assert splits(serial) == splits(other)
    assert record(serial) == record(other)


def test_no_row_changes_sides_when_the_pool_grows_shrinks_and_changes(tmp_path):
    rows = make_rows(300)
    first = splits(run(tmp_path, rows, THIRDS))
    fewer = splits(run(tmp_path, rows[:100], THIRDS))
    assert fewer == {row["id"]: first[row["id"]] for row in rows[:100]}
    more = splits(run(tmp_path, [*make_rows(300, 1), *reversed(rows)], THIRDS))
    assert {row["id"]: more[row["id"]] for row in rows} == first
    assert Counter(more.values()) == {"train": 360, "test": 240}
    renamed = [row | {"id": f"new {row['id']}"} for row in rows]  # known by their texts
    assert splits(run(tmp_path, renamed, THIRDS)) == {f"new {name}": of for name, of in first.items()}
    edited = [row | {"text": f"{row['id']} is another text"} for row in rows]  # known by their ids
    assert splits(run(tmp_path, edited, THIRDS)) == first


def test_an_unchanged_run_reuses_its_splits_and_a_lost_shard_comes_back(tmp_path):
    rows = make_rows(200)
    folder = run(tmp_path, rows[:100], THIRDS)
    run(tmp_path, rows, THIRDS)
    before = {path.name: path.read_bytes() for path in (folder / "split").iterdir()}
    version = (folder / "export" / "current").resolve()
    run(tmp_path, rows, THIRDS)
    assert {path.name: path.read_bytes() for path in (folder / "split").iterdir()} == before
    for lost in ("manifest.json", "part-00001.parquet"):  # as after a kill
        (folder / "split" / lost).unlink()
    run(tmp_path, rows, THIRDS)
    after = {path.name: path.read_bytes() for path in (folder / "split").iterdir()}
    assert {name: data for name, data in after.items() if name != "manifest.json"} == {
        name: data for name, data in before.items() if name != "manifest.json"
    }
    assert (folder / "export" / "current").resolve() == version


def test_a_damaged_history_is_an_error(tmp_path):
    folder = run(tmp_path, make_rows(60), THIRDS)
    path = folder / "split" / "history.parquet"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match="history of splits is damaged"):
        run(tmp_path, make_rows(70), THIRDS)


def test_groups_are_not_divided_and_rows_without_a_value_are_not_a_group(tmp_path):
    rows = [row | ({"chat": None} if number > 150 else {}) for number, row in enumerate(make_rows(300))]
    of = splits(run(tmp_path, rows, {**THIRDS, "groups": ["chat"]}))
    by_chat: dict[int, set[str]] = {}
    for row in rows:
        if row["chat"] is not None:
            by_chat.setdefault(row["chat"], set()).add(of[row["id"]])
    assert {len(found) for found in by_chat.values()} == {1}
    assert {of[row["id"]] for row in rows if row["chat"] is None} == {"train", "test"}
    assert Counter(of.values()) == {"train": 180, "test": 120}


def test_clusters_are_not_divided(tmp_path):
    cluster = {"cluster": {"use": "kmeans", "n_clusters": 30}}
    folder = run(tmp_path, make_rows(300), {**THIRDS, "groups": ["cluster"]}, **cluster)
    of = splits(folder)
    table = pq.ParquetDataset(sorted((folder / "cluster").glob("part-*.parquet"))).read().to_pylist()
    pairs = {(row["cluster"], of[row["id"]]) for row in table}
    assert len(pairs) == len({number for number, _ in pairs})
    assert len({of for _, of in pairs}) == 2


def test_shares_hold_in_every_stratum(tmp_path):
    rows = [row | {"kind": "rare" if number % 10 == 0 else "common"} for number, row in enumerate(make_rows(400))]
    of = splits(run(tmp_path, rows, {**THIRDS, "stratify": "kind", "min_similarity": None}))
    counts = Counter((row["kind"], of[row["id"]]) for row in rows)
    assert counts == {
        ("common", "train"): 216,
        ("common", "test"): 144,
        ("rare", "train"): 24,
        ("rare", "test"): 16,
    }


def test_shares_of_tokens_are_exact_to_a_row(tmp_path):
    rows = [
        row | {"text": " ".join(row["text"].split()[: 1 + number % 29])} for number, row in enumerate(make_rows(300))
    ]
    folder = run(tmp_path, rows, {**THIRDS, "unit": "tokens"})
    train, test = record(folder)["splits"]
    total = train["tokens"] + test["tokens"]
    assert abs(train["tokens"] - 0.6 * total) < 10
    assert train["rows"] + test["rows"] == 300


def test_a_row_that_connects_two_splits_is_counted(tmp_path):
    left, right = (" ".join(f"{side}{number}" for number in range(40)) for side in ("left", "right"))
    rows = [{"id": f"{number}", "text": " ".join(WORDS[number * 20 : number * 20 + 20])} for number in range(60)]
    rows += [{"id": "left", "text": left}, {"id": "right", "text": right}]
    for seed in range(20):  # until the two are in different splits
        (tmp_path / f"{seed}").mkdir()
        folder = run(tmp_path / f"{seed}", rows, THIRDS, seed=seed)
        before = splits(folder)
        if before["left"] != before["right"]:
            break
    assert record(folder)["divided"] == 0
    rows += [{"id": "both", "text": f"{left} {right}"}]
    config = {**THIRDS, "min_similarity": 0.4}
    after = splits(run(folder.parent, rows, config, seed=seed))
    assert {name: after[name] for name in before} == before
    assert record(folder)["divided"] == 3


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ({"shares": {"train": 0.9, "test": 0.2}}, "must have the sum 1"),
        ({"shares": {"train": 0.9, "Test/..": 0.1}}, "lowercase"),
        ({"shares": {"train": 1.0}}, "train"),
        ({"groups": ["chat"], "stratify": "chat"}, "strata"),
        ({"stratify": "label"}, "input.label is not set"),
        ({"groups": ["a", "a"]}, "listed twice"),
        ({"share": {}}, "unknown key"),
    ],
)
def test_a_wrong_section_is_an_error(tmp_path, split, message):
    with pytest.raises(ConfigErrors, match=message):
        run(tmp_path, [], split)


def test_a_split_without_rows_and_an_unknown_column_are_errors(tmp_path):
    with pytest.raises(DataError, match="no row is in test"):
        run(tmp_path, make_rows(40), {"shares": {"train": 0.999, "test": 0.001}})
    with pytest.raises(DataError, match="no input file has a column 'nothing'"):
        run(tmp_path, make_rows(40), {"groups": ["nothing"]})


def test_every_ledger_row_has_a_line_and_only_selected_rows_have_a_split(tmp_path):
    rows = [*make_rows(120), {"id": "empty", "text": ""}]
    folder = run(
        tmp_path,
        rows,
        THIRDS,
        select=[{"use": "uniform", "keep_rate": 0.5}],
        guard={"max_quarantine_rate": 0.5},
    )
    for number in itertools.count():
        ledger = folder / "select" / f"part-{number:05d}.parquet"
        if not ledger.exists():
            break
        lines, own = pq.read_table(ledger).to_pylist(), pq.read_table(folder / "split" / ledger.name).to_pylist()
        assert [line["id"] for line in lines] == [line["id"] for line in own]
        assert [line["selected"] for line in lines] == [line["split"] is not None for line in own]
    assert number == 3


# ---------------------------------------------------------------- the export


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("use", ["parquet", "jsonl", "csv", "datasets"])
def test_each_split_has_its_own_files(tmp_path, use, shuffle):
    rows = make_rows(200)
    export = {"use": use, "rows_per_file": 50, "shuffle": shuffle}
    folder = run(tmp_path, rows, THIRDS, export=export, seed=3)
    of, version = splits(folder), folder / "export" / "current"
    read = {
        "parquet": lambda path: pq.read_table(path).to_pylist(),
        "jsonl": lambda path: [json.loads(line) for line in path.read_text().splitlines()],
        "csv": lambda path: list(csv.DictReader(path.read_text().splitlines())),
        "datasets": lambda path: pa.ipc.open_stream(path).read_all().to_pylist(),
    }[use]
    for name, count in {"train": 120, "test": 80}.items():
        files = sorted((version / "data").rglob(f"{name}-*"))
        assert len(files) == -(-count // 50)
        ids = [row["id"] for path in files for row in read(path)]
        expected = [row["id"] for row in rows if of[row["id"]] == name]
        assert sorted(ids) == sorted(expected)
        assert (ids == expected) != shuffle
    contents = json.loads((version / "manifest.json").read_text())
    assert {name: part["rows"] for name, part in contents["splits"].items()} == {"train": 120, "test": 80}
    assert sum(file["rows"] for file in contents["files"]) == 200


def test_the_card_lists_the_splits_and_datasets_loads_them(tmp_path):
    datasets = pytest.importorskip("datasets")
    folder = run(tmp_path, make_rows(100), THIRDS)
    version = folder / "export" / "current"
    loaded = datasets.load_dataset(str(version.resolve()), cache_dir=str(tmp_path / "cache"))
    assert {name: len(part) for name, part in loaded.items()} == {"train": 60, "test": 40}
    card = (version / "README.md").read_text()
    assert "## Splits" in card
    assert 'split="train"' in card


def test_explain_names_the_split(tmp_path):
    folder = run(tmp_path, make_rows(60), THIRDS)
    for name, split in list(splits(folder).items())[:3]:
        assert explain(folder, name).split == split
        assert re.search(rf"split +{split}\n", f"{explain(folder, name)}\n")

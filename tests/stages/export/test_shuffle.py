"""Order and layout of the files: shuffled, by rows and by bytes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from curate import pipeline
from curate.config.loader import config_from_dict
from curate.errors import CurateError
from curate.executors.processes import Processes
from curate.executors.serial import Serial
from curate.stages.export import file_writer, stage
from curate.store import versions

ROWS = [{"id": f"r{i:03d}", "text": "x" * (1 + i % 7), "mail": f"a{i}@example.org"} for i in range(203)]


def export(folder: Path, export: dict[str, Any], run: str = "run", workers: int = 0, **changes: Any) -> Path:
    pool = folder / "pool.jsonl"
    pool.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    data = {
        "curate": 1,
        "run": str(folder / run),
        "input": {"files": str(pool), "id": "id", "text": "{text} {mail}", "rows_per_shard": 40},
        "embed": {"use": "hashing", "dimensions": 8},
        "select": [{"use": "uniform", "keep_rate": 1.0}],
        "export": {"use": "parquet", **export},
        **changes,
    }
    executor = Processes(workers) if workers else Serial()
    try:
        return Path(pipeline.run(config_from_dict(data), executor).version)
    finally:
        executor.close()


def ids(version: Path) -> list[list[str]]:
    """Return the ids in each file."""
    return [pl.read_parquet(path)["id"].to_list() for path in sorted(version.rglob("*.parquet"))]


def flat(files: list[list[str]]) -> list[str]:
    return [name for file in files for name in file]


def test_a_shuffled_export_has_every_row_once_in_another_order(tmp_path):
    files = ids(export(tmp_path, {"shuffle": True, "rows_per_file": 50}))
    assert [len(file) for file in files] == [50, 50, 50, 50, 3]
    order = flat(files)
    assert sorted(order) == [row["id"] for row in ROWS]
    assert order != sorted(order)
    shards = {name: int(name[1:]) // 40 for name in order}
    assert all({shards[name] for name in file} >= {0, 1, 2, 3, 4} for file in files[:4])
    assert not (tmp_path / "run" / "export" / ".incoming").exists()


def test_the_order_depends_on_the_seed_but_not_on_files_format_and_workers(tmp_path):
    first = flat(ids(export(tmp_path, {"shuffle": True, "rows_per_file": 50})))
    assert flat(ids(export(tmp_path, {"shuffle": True, "rows_per_file": 7}, "other"))) == first
    assert flat(ids(export(tmp_path, {"shuffle": True, "rows_per_file": 50}, "seed", seed=1))) != first
    lines = export(tmp_path, {"shuffle": True, "use": "jsonl"}, "lines")
    assert [json.loads(line)["id"] for line in next(lines.rglob("*.jsonl")).read_text().splitlines()] == first


def test_shuffled_files_have_the_same_bytes_for_any_number_of_workers(tmp_path):
    settings = {"shuffle": True, "rows_per_file": 30, "mask_pii": ["email"]}
    one, two = (export(tmp_path, settings, f"run{workers}", workers) for workers in (0, 2))
    contents = [versions.read_contents(version) for version in (one, two)]
    assert contents[0] == contents[1]
    assert contents[0]["masked"] == {"rows": 203, "spans": {"email": 203}}


def test_each_epoch_has_a_separate_order(tmp_path):
    select = [{"use": "rs2", "keep": 203, "epochs": 2}]
    version = export(tmp_path, {"shuffle": True}, select=select)
    first, second = (pl.read_parquet(f"{version}/data/epoch=00{epoch}/*.parquet")["id"].to_list() for epoch in (0, 1))
    assert sorted(first) == sorted(second) == [row["id"] for row in ROWS]
    assert first != second


@pytest.mark.parametrize("shuffle", [False, True])
def test_files_are_cut_at_about_the_requested_bytes(tmp_path, shuffle):
    version = export(tmp_path, {"bytes_per_file": 1_000, "shuffle": shuffle})
    sizes = []
    for path in sorted(version.rglob("*.parquet")):
        rows = pl.read_parquet(path).to_dicts()
        sizes.append(sum(len(value) for row in rows for value in row.values()))
    total = sum(len(value) for row in ROWS for value in row.values())
    assert sum(sizes) == total
    assert all(900 < size < 1_100 for size in sizes[:-1])
    assert len(ids(version)) == -(-total // 1_000) or abs(len(ids(version)) - total / 1_000) <= 1


def test_rows_and_bytes_both_limit_a_file(tmp_path):
    files = ids(export(tmp_path, {"bytes_per_file": "10MiB", "rows_per_file": 100}))
    assert [len(file) for file in files] == [100, 100, 3]
    assert all(len(file) == 1 for file in ids(export(tmp_path, {"bytes_per_file": 1}, "tiny")))


def test_removed_spans_are_counted_once_in_a_shuffled_export(tmp_path):
    repeated = "one two three four five six seven eight"
    pool = tmp_path / "pool.jsonl"
    rows = [{"id": str(i), "text": f"{repeated} number {i}"} for i in range(9)]
    counts = []
    for shuffle in (False, True):
        pool.write_text("".join(json.dumps(row) + "\n" for row in rows))
        data = {
            "curate": 1,
            "run": str(tmp_path / f"run{shuffle}"),
            "input": {"files": str(pool), "id": "id", "text": "text", "rows_per_shard": 4},
            "embed": {"use": "hashing", "dimensions": 8},
            "select": [{"use": "uniform", "keep_rate": 1.0}],
            "export": {"use": "parquet", "shuffle": shuffle, "remove_repeated_spans": 5},
        }
        version = Path(pipeline.run(config_from_dict(data), Serial()).version)
        counts.append(versions.read_contents(version)["cut"])
    assert counts[0] == counts[1]
    assert counts[0]["rows"] == 8


@pytest.mark.parametrize("use", ["csv", "datasets", "webdataset"])
def test_shuffled_splits_have_the_same_bytes_for_any_number_of_workers(tmp_path, use):
    if use == "webdataset":
        pytest.importorskip("webdataset")
    split = {"shares": {"train": 0.7, "test": 0.3}}
    settings = {"shuffle": True, "rows_per_file": 30, "use": use}
    expected = export(tmp_path, settings, split=split)
    for workers in (4,) if use == "csv" else (2,):
        version = export(tmp_path, settings, f"run{workers}", workers, split=split)
        assert versions.read_contents(version) == versions.read_contents(expected)
        assert not versions.find_damage(version.parent, version.name, read=True)


@pytest.mark.parametrize("use", ["jsonl", "datasets"])
@pytest.mark.parametrize(("step", "number"), [("_deal", 3), ("_write", 2), ("_write_indices", 1)])
def test_an_interrupted_shuffled_export_is_resumed_with_the_same_bytes(tmp_path, monkeypatch, use, step, number):
    settings = {"shuffle": True, "rows_per_file": 50, "use": use}
    expected = export(tmp_path, settings, "undisturbed")
    module = stage if step == "_write_indices" else file_writer
    function, calls = getattr(module, step), []

    def interrupted(*values: Any) -> Any:
        calls.append(values)
        if len(calls) == number:
            raise KeyboardInterrupt
        return function(*values)

    monkeypatch.setattr(module, step, interrupted)
    with pytest.raises(KeyboardInterrupt):
        export(tmp_path, settings)
    assert not (tmp_path / "run" / "export" / "current").exists()
    monkeypatch.setattr(module, step, function)
    version = export(tmp_path, settings)
    assert versions.read_contents(version) == versions.read_contents(expected)
    assert not versions.find_damage(version.parent, version.name, read=True)
    assert not (version.parent / ".incoming").exists()


def test_a_link_in_place_of_the_dealt_rows_is_refused(tmp_path):
    export(tmp_path, {"shuffle": True})
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run" / "export" / ".incoming").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CurateError, match="symbolic link"):
        export(tmp_path, {"shuffle": True, "rows_per_file": 50})
    assert not list((tmp_path / "elsewhere").iterdir())

"""The source of a row may be the file that it is in, or a part of the path."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

import curate
from curate.config.loader import config_from_dict
from curate.errors import ConfigError, DataError
from curate.stages.ingest import source_names
from curate.store import manifest
from curate.store.inputs import InputResult
from curate.store.ledger import Run

FILES = {"en/web-1": 8, "en/web-2": 4, "de/web-1": 6, "de/forum-1": 2}


@pytest.fixture
def pool(tmp_path, monkeypatch):
    """Write a pool of four files, the last line of each of which does not parse, and give its configuration."""
    monkeypatch.chdir(tmp_path)
    for name, rows in FILES.items():
        path = Path("pool") / f"{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [json.dumps({"id": f"{name}/{row}", "text": f"row {row} of {name}"}) for row in range(rows)]
        path.write_text("\n".join([*lines, '{"id": ']) + "\n")

    def config(source: object, **more: object) -> dict[str, object]:
        select = [{"use": "uniform", "keep_rate": 0.5, "within": "source"}]
        read = {"files": "pool/**/*.jsonl", "id": "id", "text": "text", "source": source}
        return {
            **{"curate": 1, "run": "run", "input": read, "embed": {"use": "hashing"}, "select": select},
            **{"guard": {"max_quarantine_rate": 1.0}, **more},
        }

    return config


@pytest.mark.parametrize("executor", ["serial", "processes"])
@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("file", {f"pool/{name}.jsonl": (rows + 1, 1) for name, rows in FILES.items()}),
        ({"path": "pool/{source}/*.jsonl"}, {"en": (14, 2), "de": (10, 2)}),
        ({"path": "{source}-*.jsonl"}, {"web": (21, 3), "forum": (3, 1)}),
        ({"path": "pool/**/{source}.jsonl"}, {"web-1": (16, 2), "web-2": (5, 1), "forum-1": (3, 1)}),
    ],
)
def test_rows_and_bad_records_count_for_the_source_of_their_file(pool, source, expected, executor):
    curate.run(pool(source), executor=executor)
    record = manifest.load(Path("run/input"), InputResult)
    assert {name: (count.rows_in, count.quarantined) for name, count in record.sources.items()} == expected
    kept = pl.read_parquet("run/export/current/data/*.parquet")
    assert "source" not in kept.columns
    assert sum(record.count.kept for record in [record]) == 20
    bad = pl.concat([pl.read_parquet(path) for _, files in Run.open(Path("run")).quarantine_files() for path in files])
    assert set(bad["source"]) == set(expected)


def test_a_row_with_the_id_of_another_counts_for_its_own_file(pool):
    path = Path("pool/de/forum-1.jsonl")
    path.write_text('{"id": "en/web-1/0", "text": "again"}\n' + path.read_text())
    curate.run(pool("file"))
    sources = manifest.load(Path("run/input"), InputResult).sources
    assert [sources[name].quarantined for name in ("pool/de/forum-1.jsonl", "pool/en/web-1.jsonl")] in ([1, 2], [2, 1])


def test_a_quota_names_files(pool):
    select = [{"use": "uniform", "keep": 9, "within": "source", "quota": {"pool/de/forum-1.jsonl": 2, "web": 3}}]
    with pytest.raises(DataError, match=r"no row that reaches this entry has 'web' as its source; there are: pool/de"):
        curate.run(pool("file", select=select))
    select[0]["quota"] = {"forum": 2}
    curate.run(pool({"path": "{source}-*.jsonl"}, select=select))
    kept = pl.read_parquet("run/export/current/data/*.parquet")
    assert (len(kept), kept["id"].str.contains("forum").sum()) == (9, 2)


def test_a_path_that_does_not_match_is_named_before_anything_is_read(pool):
    with pytest.raises(DataError, match=r"pool/de/forum-1\.jsonl: the path does not match input\.source\.path 'en/"):
        curate.run(pool({"path": "en/{source}.jsonl"}))
    assert not Path("run/input").exists()


def test_a_pool_with_a_column_file_says_which_is_meant(pool):
    path = Path("pool/de/web-1.jsonl")
    path.write_text('{"id": "x", "text": "y", "file": "z"}\n')
    with pytest.raises(
        DataError, match=r"input\.source: 'file' is ambiguous: it means the path .*, but the pool has a column"
    ):
        curate.run(pool("file"))


@pytest.mark.parametrize("path", ["pool/*.jsonl", "{source}/{source}.jsonl"])
def test_a_pattern_names_the_source_once(pool, path):
    with pytest.raises(ConfigError, match=r"input\.source\.path: must contain \{source\} exactly once"):
        config_from_dict(pool({"path": path}))


def test_special_letters_of_a_pattern_are_themselves(pool):
    config = config_from_dict(pool({"path": "a+b(c)/{source}.*"})).input
    assert source_names.source_from_path(config, "x/a+b(c)/d.e.jsonl") == "d"
    with pytest.raises(DataError):
        source_names.source_from_path(config, "x/aab(c)/d.jsonl")

"""Which version is published is looked up once: what a reader then reads is all of one version."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path

import polars as pl
import pyarrow.dataset as ds
import pytest

import curate
from curate.errors import ConfigError, DataError
from curate.store import versions

FORMATS = [
    {"use": "parquet"},
    *({"use": "jsonl", "compression": one} for one in ("none", "gz", "zst")),
]


@pytest.fixture
def exported(pool, config):
    """Publish an export of some rows, in several files."""

    def publish(keep, **export):
        settings = {"use": "parquet", "rows_per_file": 4, "keep_versions": 1} | export
        curate.run(config(select=[{"use": "top_k", "keep": keep}], export=settings))
        return curate.get_published("run")

    return publish


@pytest.mark.parametrize("export", FORMATS, ids=lambda one: one.get("compression", one["use"]))
def test_the_files_of_every_format_can_be_read(exported, export):
    found = exported(10, **export)
    kind = "parquet" if export["use"] == "parquet" else "json"
    read = pl.read_parquet if kind == "parquet" else pl.read_ndjson
    assert sum(len(read(file)) for file in found.files) == found.rows == 10
    assert len(found.files) == 3
    assert all(Path(file).is_absolute() and "current" not in Path(file).parts for file in found.files)


def test_it_is_printed_and_the_same_in_json(exported, command):
    found = exported(10)
    assert command("path", "run").stdout == f"{Path('run/export').resolve() / found.version}\n"
    assert json.loads(command("path", "run", "--json").stdout) == found.as_dict() | {"files": list(found.files)}


def test_what_is_not_published_or_damaged_is_reported(exported, command, tmp_path):
    missing = command("path", "nowhere")
    assert (missing.returncode, missing.stdout) == (2, "")
    assert "there is no run directory or configuration file with this name" in missing.stderr
    found = exported(10)
    Path(found.files[0]).unlink()
    damaged = command("path", "run")
    assert (damaged.returncode, damaged.stdout) == (3, "")
    assert "is missing" in damaged.stderr
    with pytest.raises(DataError):
        curate.get_published("run")
    shutil.rmtree("run")
    with pytest.raises(ConfigError):
        curate.get_published("run")


def test_a_version_in_a_store_is_named_by_its_url(pool, config):
    pytest.importorskip("upath")
    curate.run(config(run="memory://published/run"))
    found = curate.get_published("memory://published/run")
    assert found.path == f"memory://published/run/export/{found.version}"
    assert found.files[0].startswith(found.path)


def test_readers_see_all_of_one_version_while_others_are_published(exported):
    """Back and forth, and with publications in between; both ways of reading several files."""
    texts = {}
    for keep in (12, 20):
        found = exported(keep, keep_versions=2)  # for as long as two more publications, which are milliseconds here
        texts[found.version] = sorted(pl.read_parquet(list(found.files))["id"])
    whole, mixed, over = [], [], threading.Event()

    def read(how):
        while not over.is_set():
            found = curate.get_published("run")
            (whole if how(found) == texts.get(found.version, how(found)) else mixed).append(found.version)

    def one_by_one(found):
        return sorted(name for file in found.files for name in pl.read_parquet(file)["id"])

    def at_once(found):
        return sorted(ds.dataset(list(found.files)).to_table(["id"])["id"].to_pylist())

    failures = []

    def reader(how):
        try:
            read(how)
        except Exception as error:  # shown below
            failures.append(error)

    readers = [threading.Thread(target=reader, args=(how,)) for how in (one_by_one, at_once)]
    for one in readers:
        one.start()
    for _ in range(40):
        versions.rollback(
            Path("run"),
            sorted(set(versions.complete_versions(Path("run/export"))) - {curate.get_published("run").version})[0],
            str,
        )
    exported(16, keep_versions=2)
    over.set()
    for one in readers:
        one.join()
    assert (failures, mixed) == ([], [])
    assert len(whole) > 20

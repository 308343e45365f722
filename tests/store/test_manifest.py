"""A manifest says what a stage was made from, and rows that are unaccounted for stop the run."""

from __future__ import annotations

import json
import pickle
from dataclasses import dataclass, replace

import pytest

from curate.accounting import Count, sum_counts
from curate.errors import AccountingError
from curate.store import manifest
from curate.store.manifest import EntryAccount, Record, StageResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Result(StageResult):
    recipe: str
    rows: tuple[int, ...]
    drift: float | None


INPUTS = {"plugin": "lsa", "params": {"dimensions": 256}, "seed": 0}
RECORD = Record(
    stage="embed",
    name="lsa",
    fingerprint=manifest.fingerprint(INPUTS),
    inputs=INPUTS,
    count=Count(rows_in=10, kept=9, quarantined=1),
    sources={"a": Count(rows_in=4, kept=4), "b": Count(rows_in=6, kept=5, quarantined=1)},
    shards=2,
    result=Result(recipe="r", rows=(9, 0), drift=None),
)


def test_a_fingerprint_depends_on_content_not_on_order():
    assert manifest.fingerprint({"a": 1, "b": [1, 2]}) == manifest.fingerprint({"b": [1, 2], "a": 1})
    assert manifest.fingerprint({"a": 1}) != manifest.fingerprint({"a": 2})
    assert manifest.fingerprint({"a": [1, 2]}) != manifest.fingerprint({"a": [2, 1]})


def test_a_record_survives_the_disk(tmp_path):
    manifest.save(RECORD, tmp_path)
    assert manifest.load(tmp_path, Result) == RECORD
    assert manifest.load(tmp_path) == replace(RECORD, result=StageResult())


def test_no_manifest_or_half_of_one_is_no_record(tmp_path):
    assert manifest.load(tmp_path) is None
    manifest.save(RECORD, tmp_path)
    path = tmp_path / manifest.NAME
    path.write_text(path.read_text()[:-20])
    assert manifest.load(tmp_path) is None
    path.write_text(json.dumps({"stage": "embed"}))
    assert manifest.load(tmp_path) is None
    manifest.save(replace(RECORD, result=StageResult()), tmp_path)
    assert manifest.load(tmp_path, Result) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"count": Count(rows_in=10, kept=8, quarantined=1)}, "10 rows in, but 8 kept"),
        ({"sources": {"a": Count(rows_in=10, kept=8)}}, "in source 'a'"),
        ({"sources": {"a": Count(rows_in=4, kept=4)}}, "do not add up"),
    ],
)
def test_a_lost_row_stops_the_run(tmp_path, change, message):
    with pytest.raises(AccountingError, match=message):
        manifest.save(replace(RECORD, **change), tmp_path)
    assert manifest.load(tmp_path) is None


def test_a_stale_stage_says_which_key_made_it_so():
    assert manifest.compare(None, INPUTS) == ("missing", "never completed")
    assert manifest.compare(RECORD, INPUTS) == ("fresh", "")
    assert manifest.compare(RECORD, {**INPUTS, "seed": 1}) == ("stale", "seed: 0 is now 1")
    state, why = manifest.compare(RECORD, {**INPUTS, "params": {"dimensions": 64}})
    assert (state, why) == ("stale", "params.dimensions: 256 is now 64")
    _, why = manifest.compare(RECORD, {"a": 1, "b": 2, "c": 3, "d": 4})
    assert why.endswith("and 4 more")


# ---------------------------------------------------------------- many sources


def many(number, entries=()):
    """A record with that many sources, and the same counts for each of the entries."""
    sources = {
        f"https://site{i}.example": Count(rows_in=i % 7 + 1, kept=i % 3, dropped=i % 7 + 1 - i % 3) for i in range(9)
    }
    sources |= {f"s{i:07d}": Count(rows_in=2, kept=1, dropped=1) for i in range(number - 9)}
    sources = {name: count for name, count in sources.items() if count.dropped >= 0}
    accounts = tuple(EntryAccount(name=name, sources=sources, seconds=1.0, peak_memory=1) for name in entries)
    return replace(RECORD, count=sum_counts(sources.values()), sources=sources, entries=accounts)


@pytest.mark.parametrize("number", [999, 1_000, 1_001, pytest.param(100_000, marks=pytest.mark.slow)])
def test_a_manifest_stays_small_and_its_counts_exact(tmp_path, number):
    record = many(number, ("where", "top_k"))
    saved = manifest.save(record, tmp_path)
    size = (tmp_path / manifest.NAME).stat().st_size + (
        (tmp_path / manifest.SOURCES).stat().st_size if len(record.sources) > manifest.MAX_SOURCES else 0
    )
    assert size < 1_000_000  # 100,000 sources of three accounts were 38 MB
    assert (tmp_path / manifest.SOURCES).exists() == (len(record.sources) > manifest.MAX_SOURCES)
    for found in (saved, manifest.load(tmp_path), pickle.loads(pickle.dumps(manifest.load(tmp_path)))):
        assert found.check().count == record.count
        assert dict(found.sources) == record.sources
        lines = manifest.expand_entries([found])
        assert [line.name for line in lines] == ["where", "top_k"]
        assert all(dict(line.sources) == record.sources and line.count == record.count for line in lines)
    manifest.save(manifest.load(tmp_path), tmp_path)  # as a run does that finds its input touched
    assert dict(manifest.load(tmp_path).sources) == record.sources


@pytest.mark.parametrize("damage", ["gone", "cut off", "of another stage"])
def test_counts_that_are_not_those_of_the_manifest_are_no_record(tmp_path, damage):
    manifest.save(many(2_000), tmp_path)
    table = tmp_path / manifest.SOURCES
    if damage == "gone":
        table.unlink()
    elif damage == "cut off":
        table.write_bytes(table.read_bytes()[:-9])
    else:
        manifest.save(replace(many(1_500), fingerprint="another"), tmp_path / "other")
        (tmp_path / "other" / manifest.SOURCES).replace(table)
    assert manifest.load(tmp_path) is None


def test_a_lost_row_of_one_of_many_sources_stops_the_run(tmp_path):
    record = many(5_000)
    sources = {**record.sources, "s0000007": Count(rows_in=2, kept=1)}
    with pytest.raises(AccountingError, match="in source 's0000007'"):
        manifest.save(replace(record, sources=sources), tmp_path)
    with pytest.raises(AccountingError, match="do not add up"):
        manifest.save(
            replace(record, sources={name: record.sources[name] for name in list(record.sources)[1:]}), tmp_path
        )
    assert not list(tmp_path.iterdir())


def test_a_table_is_removed_once_there_are_few_sources_again(tmp_path):
    manifest.save(many(2_000), tmp_path)
    manifest.save(RECORD, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [manifest.NAME]

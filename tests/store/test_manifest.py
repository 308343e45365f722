"""A manifest says what a stage was made from, and rows that are unaccounted for stop the run."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from curate.errors import AccountingError
from curate.store import manifest
from curate.store.manifest import Count, Record

PARTS = {"plugin": "lsa", "params": {"dimensions": 256}, "seed": 0}
RECORD = Record(
    stage="embed",
    name="lsa",
    fingerprint=manifest.fingerprint(PARTS),
    parts=PARTS,
    count=Count(rows_in=10, kept=9, quarantined=1),
    sources={"a": Count(rows_in=4, kept=4), "b": Count(rows_in=6, kept=5, quarantined=1)},
    shards=2,
    facts={"recipe": "r", "rows": [9, 0], "dimensions": 256, "drift": None},
)


def test_a_fingerprint_depends_on_content_not_on_order():
    assert manifest.fingerprint({"a": 1, "b": [1, 2]}) == manifest.fingerprint({"b": [1, 2], "a": 1})
    assert manifest.fingerprint({"a": 1}) != manifest.fingerprint({"a": 2})
    assert manifest.fingerprint({"a": [1, 2]}) != manifest.fingerprint({"a": [2, 1]})


def test_a_record_survives_the_disk(tmp_path):
    manifest.save(RECORD, tmp_path)
    assert manifest.load(tmp_path) == RECORD


def test_no_manifest_or_half_of_one_is_no_record(tmp_path):
    assert manifest.load(tmp_path) is None
    manifest.save(RECORD, tmp_path)
    path = tmp_path / manifest.NAME
    path.write_text(path.read_text()[:-20])
    assert manifest.load(tmp_path) is None
    path.write_text(json.dumps({"stage": "embed"}))
    assert manifest.load(tmp_path) is None


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
    assert manifest.compare(None, PARTS) == ("missing", "never completed")
    assert manifest.compare(RECORD, PARTS) == ("fresh", "")
    assert manifest.compare(RECORD, {**PARTS, "seed": 1}) == ("stale", "seed: 0 is now 1")
    state, why = manifest.compare(RECORD, {**PARTS, "params": {"dimensions": 64}})
    assert (state, why) == ("stale", "params.dimensions: 256 is now 64")
    _, why = manifest.compare(RECORD, {"a": 1, "b": 2, "c": 3, "d": 4})
    assert why.endswith("and 4 more")

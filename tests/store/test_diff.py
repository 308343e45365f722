"""What changed between two selections is counted by id and by source, and each change has its reason."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import polars as pl
import pytest

import curate
from curate.config.loader import config_from_dict
from curate.errors import ConfigError
from curate.executors.serial import Serial
from curate.pipeline import run as run_until
from curate.store import versions
from curate.store.churn import Churn, compute_churn
from curate.store.diff import diff, diff_published


def frame(**rows: str) -> pl.DataFrame:
    return pl.DataFrame({"id": list(rows), "source": list(rows.values())}, {"id": pl.String, "source": pl.String})


# ---------------------------------------------------------------- counting


def test_churn_counts_by_id_and_by_source():
    found = compute_churn(frame(a="x", b="x", c="y"), frame(b="x", c="y", d="y", e="z"))
    assert (found.added, found.removed, found.kept) == (2, 1, 2)
    assert found.rate == 3 / 5
    assert found.sources == {
        "x": Churn(removed=1, kept=1),
        "y": Churn(added=1, kept=1),
        "z": Churn(added=1),
    }


@pytest.mark.parametrize(
    ("before", "after", "rate"),
    [
        ({}, {}, 0.0),
        ({"a": "x"}, {"a": "x"}, 0.0),
        ({"a": "x"}, {}, 1.0),
        ({}, {"a": "x"}, 1.0),
        ({"a": ""}, {"b": ""}, 1.0),
    ],
)
def test_the_churn_rate_is_in_0_to_1(before, after, rate):
    assert compute_churn(frame(**before), frame(**after)).rate == rate


def test_a_row_that_changed_its_source_is_kept():
    found = compute_churn(frame(a="x"), frame(a="y"))
    assert (found.added, found.removed, found.sources) == (0, 0, {"y": Churn(kept=1)})


# ---------------------------------------------------------------- two runs


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """The folders of both runs, once a test has made them."""
    return tmp_path_factory.mktemp("kept")


@pytest.fixture
def two(pool, config, kept):
    """Two runs: for the second, a line is rewritten, one is gone, one is new, one is empty, and other rows are kept."""
    if not any(kept.iterdir()):
        curate.run(config(run="one", select=[{"use": "where", "drop": "stars = 0"}]))
        lines = [json.loads(line) for line in (pool / "a.jsonl").read_text().splitlines()]
        lines[1]["text"] += " and more"
        lines[2]["text"] = " "
        del lines[3]
        lines.append({**lines[1], "id": "new", "stars": 3, "source": "new"})
        (pool / "a.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
        settings = config(run="two", select=[{"use": "where", "drop": "stars = 4"}], guard={"max_quarantine_rate": 0.1})
        curate.run(settings)
        shutil.copytree(".", kept, symlinks=True, dirs_exist_ok=True)
    else:
        for folder in (pool.parent / name for name in ("pool", "one", "two")):
            shutil.copytree(kept / folder.name, folder, symlinks=True, dirs_exist_ok=True)
    return Path("one"), Path("two")


def expected(pool_rows: int = 60) -> tuple[set[str], set[str]]:
    first = {f"r{n:04d}" for n in range(pool_rows) if n % 5 != 0}
    second = {f"r{n:04d}" for n in range(pool_rows) if n % 5 != 4} - {"r0002", "r0003"} | {"new"}
    return first, second


def test_rows_added_removed_and_kept_are_counted_each_with_its_reason(two):
    found = diff(*two, examples=3)
    first, second = expected()
    counts = (found.churn.added, found.churn.removed, found.churn.kept)
    assert counts == (len(second - first), len(first - second), len(first & second)) == (13, 14, 34)
    assert found.rewritten == 1
    told = {(one.change, one.status, one.decided_by, one.reason): one.rows for one in found.reasons}
    assert told == {
        ("added", "dropped", "where", "drop: stars = 0"): 12,
        ("added", "not in the pool", None, None): 1,
        ("removed", "dropped", "where", "drop: stars = 4"): 12,
        ("removed", "not in the pool", None, None): 1,
        ("removed", "quarantined", "input", "has no text"): 1,
    }
    assert found.churn.sources["new"] == Churn(added=1)
    assert sum(one.removed for one in found.churn.sources.values()) == 14


def test_examples_are_as_many_as_asked_for_with_text_and_reason(two):
    for number in (0, 3, 1000):
        found = diff(*two, examples=number)
        added = [one for one in found.examples if one.change == "added"]
        removed = [one for one in found.examples if one.change == "removed"]
        assert (len(added), len(removed)) == (min(number, 13), min(number, 14))
    by_id = {one.id: one for one in found.examples}
    assert by_id["new"].describe() == "not in the pool"
    assert by_id["new"].text.endswith("number 1 and more")
    assert by_id["r0002"].describe() == "quarantined by input: has no text"
    assert by_id["r0002"].text.endswith("number 2")
    assert by_id["r0005"].describe() == "dropped by where: drop: stars = 0"


def test_the_same_run_differs_in_nothing(two):
    found = diff(two[0], two[0], examples=5)
    assert (found.churn.added, found.churn.removed, found.churn.rate, found.reasons, found.examples) == (
        0,
        0,
        0.0,
        (),
        (),
    )
    assert found.summary() == "one -> one: 0 rows added, 0 removed, 48 kept; 0.00% of the rows in either run changed"
    assert [header[0] for header, _ in found.tables()] == ["source"]


def test_people_and_programs_are_told_the_same(two):
    found = diff(*two, examples=1)
    assert found.summary() == (
        "one -> two: 13 rows added, 14 removed, 34 kept (1 of them with a changed text); "
        "44.26% of the rows in either run changed"
    )
    (_, sources), (_, reasons) = found.tables()
    assert ["new", "1", "0", "0", "100.00%"] in sources
    assert ["12", "added", "one: dropped by where: drop: stars = 0"] in reasons
    assert ["1", "removed", "two: quarantined by input: has no text"] in reasons
    assert next(iter(found.lines())).startswith("+ ")
    data = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert (data["added"], data["removed"], data["kept"], data["churn_rate"]) == (13, 14, 34, 27 / 61)
    assert data["sources"]["new"]["added"] == 1
    assert {one["change"] for one in data["examples"]} == {"added", "removed"}


def test_a_near_duplicate_is_told_with_what_stands_for_it(pool, config):
    curate.run(config(run="one", select=[{"use": "where", "drop": "stars = 9"}]))
    curate.run(config(run="two", select=[{"use": "semdedup", "min_similarity": 0.9}]))
    one = diff(Path("one"), Path("two"), examples=1).examples[0]
    assert one.representative is not None
    assert one.describe() == (
        f"dropped by semdedup: near-duplicate (similarity at least 0.9); duplicate of {one.representative}, "
        f"similarity {one.similarity:.4g}"
    )


def test_a_folder_without_a_selection_is_an_error(two, config):
    with pytest.raises(ConfigError, match="nowhere: this folder is not a run directory"):
        diff(two[0], Path("nowhere"), examples=0)
    settings = config(run="three", guard={"max_quarantine_rate": 0.1})
    run_until(config_from_dict(settings), Serial(), until="score")
    with pytest.raises(
        ConfigError, match=r"three: no rows have been selected from this pool yet; run: curate run three/config\.yaml"
    ):
        diff(two[0], Path("three"), examples=0)


# ---------------------------------------------------------------- two versions of one run


@pytest.fixture
def published(pool, config):
    """A run that published twice, a row less in the pool and another selection the second time; the two versions."""
    curate.run(config(select=[{"use": "where", "drop": "stars = 0"}]))
    lines = (pool / "a.jsonl").read_text().splitlines()
    (pool / "a.jsonl").write_text("\n".join(lines[:3] + lines[4:]) + "\n")
    curate.run(config(select=[{"use": "where", "drop": "stars = 4"}]))
    return [line["version"] for line in versions.read_history(Path("run/export"))]


def test_the_published_export_is_compared_with_the_one_before_it_from_one_folder(published):
    found = diff_published(Path("run"), examples=100)
    assert (found.run_a, found.run_b) == tuple(f"run/export/{version}" for version in published)
    assert (found.churn.added, found.churn.removed, found.churn.kept) == (12, 13, 35)
    assert sum(one.removed for one in found.churn.sources.values()) == 13
    assert {(one.change, one.status, one.decided_by, one.reason): one.rows for one in found.reasons} == {
        ("removed", "dropped", "where", "drop: stars = 4"): 12,
        ("removed", "not in the pool", None, None): 1,
    }
    by_id = {one.id: one for one in found.examples}
    assert len(by_id) == 25
    assert (by_id["r0003"].text, by_id["r0003"].describe()) == (None, "not in the pool")
    assert by_id["r0004"].text is not None
    assert by_id["r0004"].text.endswith("number 4")
    assert (by_id["r0005"].change, by_id["r0005"].status) == ("added", None)
    lines = list(found.lines())
    assert "- r0003 (right): (no longer in the pool)" in lines
    assert f"    run/export/{published[1]}: dropped by where: drop: stars = 4" in lines
    assert found.summary().endswith("12 rows added, 13 removed, 35 kept; 41.67% of the rows in either run changed")
    assert json.loads(json.dumps(found.as_dict(), allow_nan=False))["rewritten"] is None


def test_after_a_rollback_the_ledger_tells_of_the_rows_that_came_back(published):
    versions.rollback(Path("run"), None, lambda _: None)
    found = diff_published(Path("run"), examples=0)
    assert found.run_b == f"run/export/{published[0]}"
    assert {(one.change, one.status): one.rows for one in found.reasons} == {
        ("added", "dropped"): 12,
        ("added", "not in the pool"): 1,
    }


def test_a_ledger_of_another_selection_gives_no_reasons(published, config):
    run_until(config_from_dict(config(select=[{"use": "uniform", "keep": 3}])), Serial(), until="select")
    found = diff_published(Path("run"), examples=1)
    assert (found.churn.removed, found.reasons) == (13, ())
    assert {one.status for one in found.examples} == {None}


def test_without_a_version_before_there_is_nothing_to_compare(pool, config):
    run_until(config_from_dict(config()), Serial(), until="select")
    with pytest.raises(ConfigError, match=r"run: no export has been published yet; run: curate run run/config\.yaml"):
        diff_published(Path("run"), examples=0)
    export = {"use": "jsonl", "keep_versions": 1}
    curate.run(config(export=export))
    with pytest.raises(ConfigError, match=r"run: \w+ is the only published version; pass a second run"):
        diff_published(Path("run"), examples=0)
    curate.run(config(export=export, select=[{"use": "top_k", "keep": 5}]))
    diff_published(Path("run"), examples=0)
    for path in Path("run/export").glob("*.ids.parquet"):
        path.unlink()
    with pytest.raises(ConfigError, match=r"was deleted; compare again after the next publication"):
        diff_published(Path("run"), examples=0)


def test_a_difference_without_a_ledger_says_that_its_reasons_are_left_out(pool, config):
    for keep in (30, 20):
        curate.run(config(select=[{"use": "uniform", "keep": keep}]))
    assert diff_published(Path("run"), 3).reasons
    shutil.rmtree("run/select")
    found = diff_published(Path("run"), 3)
    assert (found.reasons, found.as_dict()["missing"]) == ((), ["select"])
    assert list(found.lines())[-1] == "no reasons: the results of select are missing; run again to restore them"

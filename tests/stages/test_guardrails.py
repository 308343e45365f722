"""Each guardrail stops the run with its own words, leaves the published export, and lets pass what keeps to it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import curate
from curate import pipeline
from curate.accounting import Count, sum_counts
from curate.config.loader import config_from_dict
from curate.config.model import GuardConfig
from curate.errors import GUARD, GuardrailError
from curate.executors.serial import Serial
from curate.pipeline import plan
from curate.stages import guardrails
from curate.store import versions
from curate.store.manifest import Record, StageResult

ROOT = Path("run/export")


def record(**sources: tuple[int, int]) -> Record:
    """A selection that kept so many of so many rows of each source."""
    counts = {name: Count(rows_in=rows, kept=kept, dropped=rows - kept) for name, (kept, rows) in sources.items()}
    return Record(
        stage="select",
        name="select",
        fingerprint="",
        inputs={},
        result=StageResult(),
        count=sum_counts(counts.values()),
        sources=counts,
        shards=1,
    )


@pytest.mark.parametrize(
    ("guard", "message"),
    [
        (
            GuardConfig(min_rows=41),
            "only 40 of 2,200 rows would be exported; guard.min_rows requires 41; most are dropped from "
            "'web' 99.00% (1,980 of 2,000), 'books' 90.00% (180 of 200); "
            "raise the budgets of the select section, or lower guard.min_rows",
        ),
        (
            GuardConfig(max_drop_rate=0.98),
            "2,160 of 2,200 rows (98.18%) would be dropped; guard.max_drop_rate allows 98.00%; most are dropped from "
            "'web' 99.00% (1,980 of 2,000), 'books' 90.00% (180 of 200); "
            "check the entries of the select section, or raise guard.max_drop_rate",
        ),
        (
            GuardConfig(max_source_drop_rate=0.5),
            "2 sources would lose too much: 'web' 99.00% (1,980 of 2,000), 'books' 90.00% (180 of 200); "
            "guard.max_source_drop_rate allows 50.00%; "
            "check these sources and the entries of the select section, or raise guard.max_source_drop_rate",
        ),
    ],
)
def test_a_message_names_the_rule_the_number_and_the_worst_sources(guard, message):
    with pytest.raises(GuardrailError) as tripped:
        guardrails.check_drops(guard, record(web=(20, 2000), books=(20, 200)))
    assert str(tripped.value) == message
    assert tripped.value.exit_code == GUARD == 5


def test_of_many_sources_five_are_named():
    many = {f"s{number}": (number, 10) for number in range(1, 9)}
    with pytest.raises(GuardrailError) as tripped:
        guardrails.check_drops(GuardConfig(min_rows=1000), record(**many))
    assert re.findall(r"'(s\d)'", str(tripped.value)) == ["s1", "s2", "s3", "s4", "s5"]


@pytest.mark.parametrize(
    "guard",
    [
        GuardConfig(),
        GuardConfig(min_rows=40, max_drop_rate=2160 / 2200, max_source_drop_rate=0.99),
    ],
)
def test_a_limit_that_is_just_kept_lets_pass(guard):
    guardrails.check_drops(guard, record(web=(20, 2000), books=(20, 200)))


# ---------------------------------------------------------------- churn


def selected(config, drop: str, **guard: float):
    return curate.run(config(select=[{"use": "where", "drop": drop}], guard=guard))


def test_an_export_that_differs_too_much_is_not_published(pool, config):
    selected(config, "stars = 0", max_churn_rate=0.0)  # the first has nothing to differ from
    before = versions.published_version(ROOT)
    with pytest.raises(GuardrailError) as tripped:
        selected(config, "stars = 4", max_churn_rate=0.3)
    assert str(tripped.value) == (
        "12 rows would be added to the published export and 12 removed, 40.00% of the rows in either; "
        "guard.max_churn_rate allows 30.00%; most change in 'left' 40.00% (16 of 40), 'right' 40.00% (8 of 20); "
        "if the change is intended, raise the guard for one run: --set guard.max_churn_rate=1"
    )
    assert versions.published_version(ROOT) == before
    assert versions.complete_versions(ROOT) == [before]
    selected(config, "stars = 4", max_churn_rate=0.4)
    assert versions.published_version(ROOT) != before


def test_the_same_rows_are_no_churn_whatever_else_changed(pool, config):
    selected(config, "stars = 0", max_churn_rate=0.0)
    selected(config, "stars < 1", max_churn_rate=0.0)
    assert len(versions.read_history(ROOT)) == 2
    assert versions.read_history(ROOT)[1]["churn_rate"] == 0.0


def test_churn_is_against_what_is_published_also_after_a_rollback(pool, config):
    selected(config, "stars = 0")
    selected(config, "stars = 4")
    versions.rollback(Path("run"), None, lambda _: None)
    with pytest.raises(GuardrailError, match=r"40\.00% of the rows in either"):
        selected(config, "stars = 4", max_churn_rate=0.3)
    selected(config, "stars = 0", max_churn_rate=0.0)


def test_a_churn_that_cannot_be_computed_is_not_taken_for_none(pool, config):
    selected(config, "stars = 0")
    versions.ids_path(ROOT, str(versions.published_version(ROOT))).unlink()
    with pytest.raises(
        GuardrailError, match=r"\w+\.ids\.parquet: guard\.max_churn_rate cannot be checked: .*: the file is missing"
    ):
        selected(config, "stars = 4", max_churn_rate=1.0)
    selected(config, "stars = 4")
    selected(config, "stars = 4", max_churn_rate=0.0)


def test_a_plan_is_not_stopped_by_a_guard_on_what_would_be_published(pool, config):
    settings = config(guard={"min_rows": 60}, select=[{"use": "where", "drop": "stars = 0"}])
    with pytest.raises(GuardrailError, match=r"of 60 rows would be exported; guard\.min_rows requires 60"):
        curate.run(settings)
    states = {step.stage: step.state for step in plan(config_from_dict(settings), Serial())}
    assert (states["select"], states["export"]) == ("fresh", "missing")


# ---------------------------------------------------------------- many sources


def test_the_rules_hold_for_each_of_many_sources_and_nothing_that_is_written_grows_with_them(pool, config):
    count = 3_000
    lines = [
        {"id": f"r{n:05d}", "text": f"words {n} {n % 97}", "source": f"https://site{n // 2}.example", "stars": n % 2}
        for n in range(count)
    ]
    lines[-1]["stars"] = 0  # of the last source both rows are dropped, of all others one
    (pool / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    settings = config(select=[{"use": "where", "drop": "stars = 0"}], score=[])
    settings["input"] |= {"files": "pool/a.jsonl", "label": None, "rows_per_shard": 1_000}
    done = curate.run(settings | {"guard": {"max_source_drop_rate": 1.0}})
    assert {line["name"]: line["kept"] for line in done.as_dict()["accounting"]}["where"] == count // 2 - 1
    for again in (settings, settings | {"run": "fresh"}):  # with the counts as they were stored, and as they are made
        with pytest.raises(GuardrailError) as tripped:
            curate.run(again | {"guard": {"max_source_drop_rate": 0.5}})
        assert str(tripped.value) == (
            "1 sources would lose too much: 'https://site1499.example' 100.00% (2 of 2); "
            "guard.max_source_drop_rate allows 50.00%; "
            "check these sources and the entries of the select section, or raise guard.max_source_drop_rate"
        )
    for path in Path("run").rglob("manifest.json"):
        assert path.stat().st_size < 200_000, path
    contents = json.loads((ROOT / "current" / "manifest.json").read_text())
    listed, others = contents["sources"].values(), contents["other_sources"]
    assert (len(listed), others["sources"]) == (1_000, 500)
    for what in ("rows_in", "kept", "dropped", "quarantined"):
        total = sum(each[what] for each in listed) + others[what]
        assert total == {"rows_in": count, "kept": 1_499, "dropped": 1_501, "quarantined": 0}[what]
    page, summary = pipeline.report(config_from_dict(settings))
    assert "rows from 1,500 sources" in page.read_text()
    assert "1,480 other sources" in page.read_text()
    assert "| 1,480 other sources |" in (ROOT / "current" / "README.md").read_text()
    assert summary["other_sources"]["sources"] == 500
    for part in (summary, *summary["stages"]):
        shown = part["sources"].values()
        rows = part.get("rows", part)
        assert 999 <= len(shown) <= 1_000  # the stage export has none of one of them
        assert sum(each["rows_in"] for each in shown) + part["other_sources"]["rows_in"] == rows["rows_in"]

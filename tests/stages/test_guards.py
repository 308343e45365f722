"""Each guardrail stops the run with its own words, leaves the published export, and lets pass what keeps to it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import curate
from curate.errors import GUARD, GuardrailError
from curate.executors.serial import Serial
from curate.pipeline import plan
from curate.settings.config import from_data
from curate.settings.model import GuardConfig
from curate.stages import guards
from curate.store import versions
from curate.store.manifest import Count, Record, sum_of

ROOT = Path("run/export")


def record(**sources: tuple[int, int]) -> Record:
    """A selection that kept so many of so many rows of each source."""
    counts = {name: Count(rows_in=rows, kept=kept, dropped=rows - kept) for name, (kept, rows) in sources.items()}
    return Record(
        stage="select", name="select", fingerprint="", parts={}, count=sum_of(counts.values()), sources=counts, shards=1
    )


@pytest.mark.parametrize(
    ("guard", "message"),
    [
        (
            GuardConfig(min_rows=41),
            "only 40 of 2,200 rows would be exported; guard.min_rows asks for 41; most are dropped from "
            "'web' 99.00% (1,980 of 2,000), 'books' 90.00% (180 of 200)",
        ),
        (
            GuardConfig(max_drop_rate=0.98),
            "2,160 of 2,200 rows (98.18%) would be dropped; guard.max_drop_rate allows 98.00%; most are dropped from "
            "'web' 99.00% (1,980 of 2,000), 'books' 90.00% (180 of 200)",
        ),
        (
            GuardConfig(max_source_drop_rate=0.5),
            "2 sources would lose too much: 'web' 99.00% (1,980 of 2,000), 'books' 90.00% (180 of 200); "
            "guard.max_source_drop_rate allows 50.00%",
        ),
    ],
)
def test_a_message_names_the_rule_the_number_and_the_worst_sources(guard, message):
    with pytest.raises(GuardrailError) as tripped:
        guards.drops(guard, record(web=(20, 2000), books=(20, 200)))
    assert str(tripped.value) == message
    assert tripped.value.exit_code == GUARD == 5


def test_of_many_sources_five_are_named():
    many = {f"s{number}": (number, 10) for number in range(1, 9)}
    with pytest.raises(GuardrailError) as tripped:
        guards.drops(GuardConfig(min_rows=1000), record(**many))
    assert re.findall(r"'(s\d)'", str(tripped.value)) == ["s1", "s2", "s3", "s4", "s5"]


@pytest.mark.parametrize(
    "guard",
    [
        GuardConfig(),
        GuardConfig(min_rows=40, max_drop_rate=2160 / 2200, max_source_drop_rate=0.99),
    ],
)
def test_a_limit_that_is_just_kept_lets_pass(guard):
    guards.drops(guard, record(web=(20, 2000), books=(20, 200)))


# ---------------------------------------------------------------- churn


def selected(config, drop: str, **guard: float):
    return curate.run(config(select=[{"use": "where", "drop": drop}], guard=guard))


def test_an_export_that_differs_too_much_is_not_published(pool, config):
    selected(config, "stars = 0", max_churn_rate=0.0)  # the first has nothing to differ from
    before = versions.published(ROOT)
    with pytest.raises(GuardrailError) as tripped:
        selected(config, "stars = 4", max_churn_rate=0.3)
    assert str(tripped.value) == (
        "12 rows would be added to the published export and 12 removed, 40.00% of the rows in either; "
        "guard.max_churn_rate allows 30.00%; most change in 'left' 40.00% (16 of 40), 'right' 40.00% (8 of 20); "
        "if that is wanted, raise the guard for one run: --set guard.max_churn_rate=1"
    )
    assert versions.published(ROOT) == before
    assert versions.kept(ROOT) == [before]
    selected(config, "stars = 4", max_churn_rate=0.4)
    assert versions.published(ROOT) != before


def test_the_same_rows_are_no_churn_whatever_else_changed(pool, config):
    selected(config, "stars = 0", max_churn_rate=0.0)
    selected(config, "stars < 1", max_churn_rate=0.0)
    assert len(versions.history(ROOT)) == 2
    assert versions.history(ROOT)[1]["churn_rate"] == 0.0


def test_churn_is_against_what_is_published_also_after_a_rollback(pool, config):
    selected(config, "stars = 0")
    selected(config, "stars = 4")
    versions.rollback(Path("run"), None, lambda _: None)
    with pytest.raises(GuardrailError, match=r"40\.00% of the rows in either"):
        selected(config, "stars = 4", max_churn_rate=0.3)
    selected(config, "stars = 0", max_churn_rate=0.0)


def test_a_churn_that_cannot_be_told_is_not_taken_for_none(pool, config):
    selected(config, "stars = 0")
    versions.ids(ROOT, str(versions.published(ROOT))).unlink()
    with pytest.raises(
        GuardrailError, match=r"guard\.max_churn_rate cannot be checked: run/export/\w+\.ids\.parquet is gone"
    ):
        selected(config, "stars = 4", max_churn_rate=1.0)
    selected(config, "stars = 4")
    selected(config, "stars = 4", max_churn_rate=0.0)


def test_a_plan_is_not_stopped_by_a_guard_on_what_would_be_published(pool, config):
    settings = config(guard={"min_rows": 21})
    with pytest.raises(GuardrailError, match="only 20 of 60 rows would be exported"):
        curate.run(settings)
    states = {step.stage: step.state for step in plan(from_data(settings), Serial())}
    assert (states["select"], states["export"]) == ("fresh", "missing")

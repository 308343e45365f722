"""Tests of the table of the costs of selectors: exponents, texts, and agreement with the declared costs."""

from __future__ import annotations

import importlib
import math
from pathlib import Path

import pytest

from curate.plugins import registry

ROOT = Path(__file__).parents[2]
CLEARLY_QUADRATIC = 1.75
"""Halfway from 1.5, which comparing rows within √n clusters gives, to 2."""


@pytest.fixture
def table(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs")
    return importlib.import_module("cost_table")


def line(selector, rows, seconds):
    machine = {"python": "3", "libraries": ["blas ×2"], "versions": {"numpy": "2", "scipy": "1", "scikit-learn": "1"}}
    measured = {"seconds": seconds, "peak_mib": 1234, "before_mib": 90, "machine": machine}
    skipped = {"skipped": "about 5 h expected"}
    return {"selector": selector, "version": 1, "rows": rows, **(skipped if seconds is None else measured)}


def test_the_exponent_is_the_slope_between_logarithms_and_omitted_for_short_times(table):
    powers = [[line("k_center", 10**i, 0.01 * 10 ** (p * (i - 4))) for i in (4, 5, 6)] for p in (1, 1.5, 2)]
    assert [table.exponent(lines) for lines in powers] == [1, 1.5, 2]
    assert math.isnan(table.exponent([line("uniform", 10_000, 1e-4), line("uniform", 1_000_000, 0.049)]))
    assert math.isnan(table.exponent([line("craig", 10_000, 9.0), line("craig", 100_000, None)]))


def test_the_table_lists_the_fastest_first_and_skipped_plugins_but_no_removed_ones(table):
    measured = [
        *(line("k_center", 10_000, 0.5), line("k_center", 100_000, 50.0), line("k_center", 1_000_000, None)),
        *(line("top_k", 10_000, 0.001), line("top_k", 100_000, 0.12), line("top_k", 1_000_000, 1.44)),
        line("gone", 10_000, 1.0),
    ]
    found = {"keep_rate": 0.01, "dimensions": 384, "measured": measured}
    lines = table.selectors(found).splitlines()
    assert lines[0] == "| selector | 10,000 rows | 100,000 rows | 1,000,000 rows | exponent | quadratic |"
    assert lines[2].startswith(
        "| [`top_k`](../plugins/selectors-difficulty.md#top_k) | 0.001 s, 1,234 MiB | 0.120 s, 1,234 MiB | 1.4 s, "
    )
    assert lines[3].endswith("| 50.0 s, 1,234 MiB | — (about 5 h expected) | 2.00 | yes |")
    assert len(lines) == 4
    assert "Each selector keeps 1 % of the rows, whose embeddings have 384 dimensions" in table.conditions(found)


def test_what_was_measured_to_be_quadratic_is_declared_so(table):
    found = table.results()
    if found is None:
        pytest.skip("nothing was measured yet")
    powers = {name: table.exponent(list(lines.values())) for name, lines in table.by_selector(found).items()}
    undeclared = [name for name in powers if not registry.get("selector", name).traits.quadratic]
    assert {name: powers[name] for name in undeclared if powers[name] > CLEARLY_QUADRATIC} == {}

"""A selector whose time grows with the square of the rows says so before it starts, where the rows are many."""

from __future__ import annotations

import json
from collections import Counter

import pytest

import curate
from curate.config.loader import config_from_dict
from curate.executors.serial import Serial
from curate.pipeline import plan, run
from curate.plugins import registry
from curate.progress import NullProgress
from curate.stages.select import cost_warnings

LAW = "its time grows with the square of the rows that it sees at once"
GROWTH = "4 times the rows take up to 16 times as long"


@pytest.fixture(autouse=True)
def many(monkeypatch):
    """What counts as many rows here; the pool has sixty, 40 of source left and 20 of source right."""
    monkeypatch.setattr(cost_warnings, "MIN_WARNED_ROWS", 30)


def notes(settings):
    return {step.name: step.note for step in plan(config_from_dict(settings), Serial()) if step.note}


def entry(**keys):
    return {"use": "k_center", "keep_rate": 0.5, **keys}


def test_a_plan_says_so_of_a_quadratic_selector_and_of_no_other(pool, config):
    select = [{"use": "uniform", "keep": 50}, {"use": "top_k", "keep": 45}, entry()]
    told = f"k_center: {LAW} (up to 45): {GROWTH}; set within: cluster to limit it"
    assert notes(config(select=select)) == {"k_center": told}


def test_a_plan_is_silent_about_few_rows_and_about_what_is_done(pool, config):
    assert notes(config(select=[{"use": "uniform", "keep": 29}, entry()])) == {}
    settings = config(select=[entry()])
    assert list(notes(settings)) == ["k_center"]
    curate.run(settings)
    assert notes(settings) == {}


def test_a_filter_leaves_no_more_than_came(pool, config):
    told = notes(config(select=[{"use": "semdedup"}, entry(), entry(name="again")]))
    assert set(told) == {"k_center", "again"}
    assert all("(up to 60)" in one for one in told.values())


def test_a_plan_tells_the_largest_group_once_it_is_known(pool, config):
    settings = config(select=[entry(within="cluster")])
    assert "(those of the largest group of 'cluster', unknown yet)" in notes(settings)["k_center"]
    run(config_from_dict(settings), Serial(), until="score")
    sizes = json.loads((pool.parent / "run/cluster/manifest.json").read_text())["facts"]
    assert sizes["largest"] < cost_warnings.MIN_WARNED_ROWS
    assert notes(settings) == {}
    by_source = notes(config(select=[entry(within="source")]))["k_center"]
    assert f"(up to 40 in the largest group of 'source'): {GROWTH}; use smaller groups to limit it" in by_source


@pytest.mark.slow
@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({}, [f"k_center: {LAW} (up to 60): {GROWTH}; set within: cluster to limit it"]),
        (
            {"within": "source"},
            [f"k_center: {LAW} (up to 40 in the largest group of 'source'): {GROWTH}; use smaller groups to limit it"],
        ),
        ({"within": "topic"}, []),
        ({"use": "uniform"}, []),
    ],
)
def test_a_run_says_so_when_the_entry_begins(pool, config, keys, told):
    class Heard(NullProgress):
        def __init__(self):
            self.said = []

        def begin(self, what, total, unit="rows"):
            self.said.append(what)

        def note(self, message):
            self.said.append(message)

    heard = Heard()
    run(config_from_dict(config(select=[entry(**keys)])), Serial(), heard)
    name = keys.get("use", "k_center")
    began = next(number for number, one in enumerate(heard.said) if one.endswith(name) and LAW not in one)
    assert [one for one in heard.said if LAW in one] == told
    assert heard.said[began - len(told) : began] == told


def test_the_time_of_a_quadratic_selector_is_expected_to_grow_with_the_square(pool, config, monkeypatch):
    curate.run(config(select=[entry(name="slow"), {"use": "uniform", "name": "quick", "keep_rate": 0.5}]))
    path = pool.parent / "run/select/manifest.json"
    record = json.loads(path.read_text())
    del record["checksum"]
    for line in record["facts"]["entries"]:
        line["seconds"] = 10.0
    path.write_text(json.dumps(record))
    half = config(select=[{"use": "uniform", "keep": 30, "name": "first"}, entry(name="slow")])
    half["select"].append({"use": "uniform", "name": "quick", "keep_rate": 0.5})
    expected = {step.name: (step.rows, step.seconds) for step in plan(config_from_dict(half), Serial())}
    assert expected["slow"] == (15, 2.5)  # it kept 30 of the 60 rows before: now half as many
    assert expected["quick"][1] == pytest.approx(10 * 7 / 15, abs=0.05)


def test_the_plan_on_the_command_line_ends_with_the_notes(command, pool, config):
    pool.parent.joinpath("config.yaml").write_text(json.dumps(config(select=[entry()])))
    assert command("plan", "config.yaml").stdout.splitlines()[-1].startswith(f"k_center: {LAW}")
    steps = json.loads(command("plan", "config.yaml", "--json").stdout)
    assert Counter(bool(step["note"]) for step in steps) == {False: 5, True: 1}


def test_the_list_of_plugins_says_so_too(command):
    assert registry.get("selector", "k_center").description().endswith("the number of rows processed together.")
    assert "Runtime is quadratic" in command("plugins", "selector", "k_center").stdout
    assert "Runtime is quadratic" not in command("plugins", "selector", "top_k").stdout

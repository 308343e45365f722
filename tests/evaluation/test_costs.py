"""Whether trials that do not fit a budget are refused before any of them begins, with what fits."""

from __future__ import annotations

import re
import time
from pathlib import Path

import numpy as np
import pytest

import curate
from curate.config.loader import config_from_dict
from curate.errors import ConfigError
from curate.evaluation import costs
from curate.evaluation.compare import compare
from curate.evaluation.evaluate import evaluate
from curate.executors.serial import Serial
from curate.progress import NullProgress


class Notes(NullProgress):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


@pytest.fixture
def slow(over, monkeypatch):
    """A configuration whose metric takes a second for a thousand rows, by a clock that nobody waits for."""
    clock = [0.0]
    monkeypatch.setattr(costs.time, "perf_counter", lambda: clock[0])
    measure = costs.trials.measure

    def measured(rows, chosen, entry, seed):
        clock[0] += len(chosen.indices) / 1_000
        return measure(rows, chosen, entry, seed)

    monkeypatch.setattr(costs.trials, "measure", measured)
    return config_from_dict(over())


def trained() -> list[Path]:
    return [path for folder in ("chosen", "measured") for path in Path("run/evaluate", folder).glob("*")]


def test_what_does_not_fit_is_refused_before_anything_is_trained(crowd, slow):
    with pytest.raises(ConfigError) as refused:
        compare(slow, Serial(), prune_rates=[0.5], seeds=5, budget=4.0)
    message = str(refused.value)
    assert "--budget 4.0 s is too little for" in message
    assert re.search(r"--seeds [234] fits \(about ", message)
    assert not trained()


def test_where_no_number_of_seeds_fits_the_contenders_are_named(crowd, slow):
    with pytest.raises(ConfigError) as refused:
        compare(slow, Serial(), select=["k_center", "top_k"], prune_rates=[0.5], seeds=5, budget=0.1)
    assert all(name in str(refused.value) for name in ("k_center", "top_k", "uniform", "--seeds 2"))
    assert not trained()


def test_the_seeds_that_fit_do_fit_and_lower_nothing_silently(crowd, slow):
    with pytest.raises(ConfigError) as refused:
        compare(slow, Serial(), prune_rates=[0.5], seeds=5, budget=4.0)
    seeds = int(re.search(r"--seeds (\d)", str(refused.value))[1])
    assert compare(slow, Serial(), prune_rates=[0.5], seeds=seeds, budget=4.0).seeds == seeds


def test_what_was_done_before_costs_nothing(crowd, slow):
    compare(slow, Serial(), prune_rates=[0.5], seeds=3)
    assert compare(slow, Serial(), prune_rates=[0.5], seeds=3, budget=1e-6).seeds == 3


def test_evaluating_is_bounded_too(crowd, slow, over):
    curate.run(over())
    with pytest.raises(ConfigError, match="is too little"):
        evaluate(Path("run"), Serial(), seeds=5, budget=0.5)
    assert not trained()
    assert not Path("run/evaluate/evaluate.json").exists()


def test_the_estimate_is_announced_without_a_budget(crowd, slow):
    notes = Notes()
    compare(slow, Serial(), notes, prune_rates=[0.5], seeds=2)
    assert any(re.fullmatch(r"\d+ trials: about .+ s", note) for note in notes.notes)


@pytest.mark.parametrize("power", [0.0, 1.0, 1.5, 2.0])
def test_times_that_are_a_power_of_the_rows_are_extrapolated(power):
    points = [(rows, 0.001 * rows**power) for rows in (1_000, 2_000)]
    assert costs.extrapolate(points, 50_000) == pytest.approx(0.001 * 50_000**power)


def test_a_start_that_takes_long_is_not_multiplied():
    points = [(rows, 3 + 0.001 * rows) for rows in (1_000, 2_000)]
    assert costs.extrapolate(points, 50_000) == pytest.approx(53)


@pytest.mark.slow
def test_the_estimate_is_about_what_it_takes(crowd, over):
    """Within a factor of ten, which no load of the machine explains."""
    notes = Notes()
    config = config_from_dict(over(metrics=[{"use": "logistic_probe"}], select=[{"use": "k_center", "keep": 100}]))
    compare(config, Serial(), NullProgress(), prune_rates=[0.9], seeds=1)
    begun = time.perf_counter()
    compare(config, Serial(), notes, prune_rates=[0.5], seeds=5)
    taken = time.perf_counter() - begun
    (note,) = [note for note in notes.notes if "trials: about" in note]
    estimated = float(re.search(r"about ([\d.]+) s", note)[1])
    assert np.isfinite(estimated)
    assert taken / 10 < estimated < taken * 10

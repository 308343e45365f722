"""Tests that trials over the time limit are refused before the first, with a number of seeds that fits."""

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
    """Return a configuration whose metric takes a second per thousand rows, by a simulated clock."""
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


def test_a_comparison_over_the_time_limit_is_refused_before_training(crowd, slow):
    with pytest.raises(ConfigError) as refused:
        compare(slow, Serial(), prune_rates=[0.5], seeds=5, budget=4.0)
    message = str(refused.value)
    assert "--budget 4.0 s is too little for" in message
    assert re.search(r"use --seeds [234] \(about ", message)
    assert not trained()


def test_if_no_number_of_seeds_fits_the_limit_the_selectors_are_named(crowd, slow):
    with pytest.raises(ConfigError) as refused:
        compare(slow, Serial(), select=["k_center", "top_k"], prune_rates=[0.5], seeds=5, budget=0.1)
    assert all(name in str(refused.value) for name in ("k_center", "top_k", "uniform", "--seeds 2"))
    assert not trained()


def test_the_suggested_number_of_seeds_fits_the_limit_and_is_never_applied_silently(crowd, slow):
    with pytest.raises(ConfigError) as refused:
        compare(slow, Serial(), prune_rates=[0.5], seeds=5, budget=4.0)
    seeds = int(re.search(r"--seeds (\d)", str(refused.value))[1])
    assert compare(slow, Serial(), prune_rates=[0.5], seeds=seeds, budget=4.0).seeds == seeds


def test_reused_trials_cost_no_time(crowd, slow):
    compare(slow, Serial(), prune_rates=[0.5], seeds=3)
    assert compare(slow, Serial(), prune_rates=[0.5], seeds=3, budget=1e-6).seeds == 3


def test_the_time_limit_applies_to_evaluate_too(crowd, slow, over):
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


def test_a_slow_start_is_not_extrapolated():
    points = [(rows, 3 + 0.001 * rows) for rows in (1_000, 2_000)]
    assert costs.extrapolate(points, 50_000) == pytest.approx(53)


@pytest.mark.slow
def test_the_estimate_is_close_to_the_measured_time(crowd, over):
    """Within a factor of ten, which is more than the load of the machine can explain."""
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

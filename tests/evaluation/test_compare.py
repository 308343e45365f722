"""Tests of ``curate compare`` on pools for which the truth is known."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.linear_model import LogisticRegression

import curate
from curate.config.loader import config_from_dict
from curate.errors import ConfigError
from curate.evaluation import trials, verdict
from curate.evaluation.compare import compare
from curate.executors.processes import Processes
from curate.executors.serial import Serial
from curate.store import parquet_io

RATES = [0.95]
FOLDER = Path(__file__).parent
WITH_PLANS = [str(FOLDER / "nearest_class.py"), str(FOLDER / "weighed.py"), str(FOLDER.parent / "stages/draws.py")]


class Counting(Serial):
    """Counter of trials that raises an error before a given one."""

    def __init__(self, stop: int | None = None) -> None:
        self.done, self.stop = 0, stop

    def map(self, fn, tasks):
        for result in super().map(fn, tasks):
            if fn.args[-1].__name__ == "_try":  # within the run directory
                self.done += 1
                if self.done == self.stop:
                    raise KeyboardInterrupt
            yield result


def written(run: str = "run") -> dict:
    """Return the stored comparison without its times."""
    found = parquet_io.read_json(Path(run, "compare.json"))
    for cell in found["cells"]:
        del cell["seconds"], cell["pareto"]
    return {**found, "run": ""}


def test_a_selector_known_to_be_better_is_recommended(crowd, over):
    """A random selection misses rare classes, facility location covers all, and typical rows are of one class."""
    found = compare(config_from_dict(over()), Serial(), select=["facility_location", "top_k"], prune_rates=RATES)
    told = verdict.sentence(found)
    assert told.startswith("use facility_location at prune rate 0.95: it is better than the random baseline by ")
    assert told.endswith("; top_k does not differ significantly from it")
    assert any("facility_location and top_k select the same rows with every seed" in note for note in found.notes)
    assert any("some classes absent" in note for note in found.notes)
    assert verdict.sentence(found) == json.loads(Path("run/compare.json").read_text())["sentence"]


def test_no_selector_beats_random_if_labels_are_noise(noise, over):
    found = compare(
        config_from_dict(over()), Serial(), select=["facility_location", "k_center"], prune_rates=[0.7, 0.9]
    )
    assert verdict.sentence(found).startswith(
        "no selector is significantly better than the random baseline: use uniform"
    )


def test_one_seed_gives_no_significant_result(crowd, over):
    found = compare(config_from_dict(over()), Serial(), prune_rates=RATES, seeds=1)
    assert verdict.sentence(found).startswith("one seed is not enough for a statistical test")
    cell = found.cells["facility_location", 0.95]
    assert math.isnan(cell.p)
    assert math.isnan(cell.same_over_seeds)
    assert "NaN" not in Path("run/compare.json").read_text()


def test_after_an_interruption_only_the_missing_trials_run(crowd, over):
    config = config_from_dict(over(run="run"))
    with pytest.raises(KeyboardInterrupt):
        compare(config, Counting(stop=4), prune_rates=RATES, seeds=2)
    second, third = Counting(), Counting()
    compare(config, second, prune_rates=RATES, seeds=2)
    again = written()
    compare(config, third, prune_rates=RATES, seeds=2)
    whole = Counting()
    compare(config_from_dict(over(run="other")), whole, prune_rates=RATES, seeds=2)
    assert (second.done, third.done) == (whole.done - 4, 0)
    assert again == written() == written("other")


def test_selectors_without_randomness_are_tried_once_for_all_seeds(crowd, over):
    counting, config = Counting(), config_from_dict(over(metrics=[{"use": "coverage"}]))
    found = compare(config, counting, select=["facility_location"], prune_rates=RATES, seeds=3)
    every_row, facility_location, uniform, with_rows_away = 1, 1, 3, 2
    assert counting.done == every_row + facility_location + uniform + with_rows_away
    assert found.cells["facility_location", 0.95].same_over_seeds == 1


def test_no_two_tasks_make_the_same_measurement(crowd, over):
    """Workers that measured the same selection for two seeds at once would do the work twice."""

    class Watching(Serial):
        def __init__(self) -> None:
            self.files: list[Path] = []

        def map(self, fn, tasks):
            if fn.args[-1].__name__ == "_try":
                self.files += [trials._measure_file(task, entry)[0] for task in tasks for entry in task.metrics]
            return super().map(fn, tasks)

    watching = Watching()
    spread = str(Path(__file__).parent / "spread.py")
    both = over(plugins=[*over()["plugins"], spread], metrics=[{"use": "coverage"}, {"use": "nearest_class"}])
    compare(config_from_dict(both), watching, select=["facility_location"], prune_rates=RATES, seeds=3)
    assert len(watching.files) == len(set(watching.files)) > 0
    assert {file.name for file in watching.files} == {file.name for file in Path("run/evaluate/measured").iterdir()}


def test_another_metric_repeats_no_selection(crowd, over):
    compare(config_from_dict(over()), Serial(), prune_rates=RATES, seeds=2)
    chosen = sorted(Path("run/evaluate/chosen").iterdir())
    spread = str(Path(__file__).parent / "spread.py")
    both = over(plugins=[*over()["plugins"], spread], metrics=[{"use": "nearest_class"}, {"use": "spread"}])
    found = compare(config_from_dict(both), Serial(), prune_rates=RATES, seeds=2)
    assert [measure.name for measure in found.measures] == ["nearest_class_accuracy", "spread"]
    assert sorted(Path("run/evaluate/chosen").iterdir()) == chosen


@pytest.mark.slow
def test_the_executor_changes_no_number(crowd, over):
    compare(config_from_dict(over(run="one")), Serial(), prune_rates=RATES, seeds=2)
    executor = Processes(2)
    compare(config_from_dict(over(run="two")), executor, prune_rates=RATES, seeds=2)
    executor.close()
    assert written("one") == written("two")


def test_filters_come_before_every_selector_but_uniform(crowd, over):
    """Without near-duplicates, less than half of the pool remains: the cell at 0.5 is empty and explains why."""
    select = [{"use": "semdedup", "min_similarity": 0.9}, {"use": "top_k", "keep": 5}]
    found = compare(config_from_dict(over(select=select)), Serial(), prune_rates=[0.5, 0.99], seeds=2)
    assert (found.filters, found.selectors) == (("semdedup",), ("top_k",))
    assert "rows remain after the filters" in found.cells["top_k", 0.5].untested
    assert found.cells["top_k", 0.99].rows == found.cells["uniform", 0.99].rows == 6
    assert not found.cells["uniform", 0.5].untested


def test_a_selector_may_be_an_entry_a_plugin_or_a_mapping(crowd, over):
    select = [{"use": "ccs", "name": "mine", "by": "prototypicality", "keep": 9}]
    names = ["mine", "k_center", "{use: ccs, by: prototypicality, diversity_weight: 1}", "uniform"]
    found = compare(config_from_dict(over(select=select)), Serial(), select=names, prune_rates=[0.9], seeds=1)
    assert found.selectors == ("mine", "k_center", "ccs")


def test_a_plan_of_epochs_is_compared_with_a_random_baseline_of_the_same_size(crowd, over):
    """If each epoch has half of the rows, five epochs contain nearly all of them."""
    data = over(plugins=WITH_PLANS, refresh={"keep_previous_weight": 0.5})
    data["metrics"] = [{"use": "nearest_class"}, {"use": "weighed"}]
    found = compare(config_from_dict(data), Serial(), select=["draws", "top_k"], prune_rates=[0.5], seeds=2)
    plan, top, chance = (found.cells[name, 0.5] for name in ("draws", "top_k", "uniform"))
    assert (top.rows, chance.rows) == (318, 318)
    assert 550 < plan.rows < 636
    assert plan.values["weighed"].mean == 5 * 318
    assert plan.differences["weighed"].mean == pytest.approx(5 * 318 - plan.rows, abs=0.5)
    assert top.differences["weighed"].mean == 0
    assert sum("because draws plans epochs" in note for note in found.notes) == 1


def test_uniform_cannot_be_compared_alone(crowd, over):
    found = compare(config_from_dict(over()), Serial(), select=["uniform"], prune_rates=[0.5], seeds=2)
    assert found.selectors == ()
    assert "there is nothing to compare" in verdict.sentence(found)


@pytest.mark.parametrize(
    ("select", "rates", "told"),
    [
        pytest.param(["k_centre"], RATES, "did you mean 'k_center'", id="a name that does not exist"),
        pytest.param(["{use: ccs, by: el2m}"], RATES, "no score 'el2m'", id="a score that does not exist"),
        pytest.param(["semdedup"], RATES, "takes no budget", id="a filter"),
        pytest.param(["top_k"], [0.999], "none of the 636 rows would remain", id="a rate that leaves no row"),
    ],
)
def test_what_cannot_be_compared_is_refused(crowd, over, select, rates, told):
    with pytest.raises(ConfigError, match=told):
        compare(config_from_dict(over()), Serial(), select=select, prune_rates=rates)


@pytest.mark.slow
def test_another_library_with_fresh_seeds_finds_the_same_in_one_cell(crowd, over):
    """Only the selector is code under test; reading, training and testing are independent of it."""
    found = compare(config_from_dict(over()), Serial(), prune_rates=RATES).cells["facility_location", 0.95]
    pool, test = (pq.read_table(path) for path in ("pool/a.parquet", "test.parquet"))
    (x, y), (their_x, their_y) = (
        (np.array(table["vector"].to_pylist()), np.array(table["label"].to_pylist())) for table in (pool, test)
    )
    order = curate.select(x, selector="facility_location", keep=found.rows).indices

    def accuracy(rows):
        return LogisticRegression(C=100, max_iter=1000).fit(x[rows], y[rows]).score(their_x, their_y)

    rng = np.random.default_rng(12345)
    random = [accuracy(rng.choice(len(x), found.rows, replace=False)) for _ in range(100)]
    difference = found.differences["nearest_class_accuracy"]
    assert accuracy(order) == pytest.approx(found.values["nearest_class_accuracy"].mean, abs=0.01)
    assert accuracy(order) - np.mean(random) == pytest.approx(difference.mean, abs=difference.half_width)

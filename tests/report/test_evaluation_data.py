"""Tests of the report on an evaluation, or on a missing one."""

import math
from dataclasses import replace
from types import ModuleType

import pytest

from curate.accounting import Count
from curate.report import evaluation_text
from curate.report.charts import error_bars
from curate.report.evaluation_data import Estimate, Evaluation
from curate.report.report_data import Report, Stage
from curate.report.run_page import render


def verdict(sample: ModuleType, *line: object, **parts: object) -> Evaluation:
    """Return an evaluation with one metric."""
    only = sample.line("probe", "accuracy", *line, **parts)
    return replace(sample.evaluation(), metrics=(only,), primary=only.name)


@pytest.mark.parametrize(
    ("line", "parts", "headline"),
    [
        pytest.param(
            (0.9, 0.02, -0.03),
            {},
            "Better than the random baseline; 3.0 ± 0.8 points worse than all rows",
            id="the usual",
        ),
        pytest.param(
            (0.9, -0.02, -0.03),
            {},
            "Worse than the random baseline; 3.0 ± 0.8 points worse than all rows",
            id="chance wins",
        ),
        pytest.param(
            (0.9, 0.02, 0.03),
            {},
            "Better than the random baseline; 3.0 ± 0.8 points better than all rows",
            id="it pays",
        ),
        pytest.param(
            (0.9, 0.02, -0.001, 0.2),
            {},
            "Not significantly different from the random baseline; no significant cost of pruning",
            id="nothing to be told",
        ),
        pytest.param(
            (0.9, 0.02, -0.03),
            {"higher_is_better": False, "rate": False, "unit": "nats"},
            "Worse than the random baseline; 0.03 ± 0.008 better than all rows",
            id="where lower is better",
        ),
    ],
)
def test_the_headline_names_the_better_selection_and_the_cost_of_pruning(sample, line, parts, headline) -> None:
    assert evaluation_text.headline(verdict(sample, *line, **parts)) == headline


def test_one_seed_is_never_significant(sample) -> None:
    found = verdict(sample, 0.9, 0.02, -0.03, math.nan)
    alone = Estimate(0.02, math.nan, math.nan)
    found = replace(found, metrics=(replace(found.metrics[0], difference=alone, cost=replace(alone, mean=-0.03)),))
    assert evaluation_text.sentence(found) == (
        "A model trained on the selection reaches a probe accuracy of 90.0 ± 1.3 %: "
        "+2.0 compared with the random baseline (not tested), −3.0 compared with all rows (not tested)."
    )


def test_the_worst_groups_are_named_for_each_selection(sample) -> None:
    _, rows = evaluation_text.worst(sample.evaluation())
    assert rows[0][:2] == ["worst label", "70.0 % (tides)"]
    assert rows[2] == ["worst cluster", "91.0 % (cluster 7)", "80.0 % (cluster 7)", "90.0 % (cluster 7)"]


def test_each_quantity_has_a_chart_and_the_primary_metric_comes_first(sample) -> None:
    first, second = error_bars.draw_models(replace(sample.evaluation(), primary="logistic_probe_cross_entropy"))
    assert [first.key, second.key] == ["models", "probes-1"]
    assert first.layout["xaxis"]["title"]["text"] == "Cross entropy (nats), lower is better"
    assert second.layout["yaxis"]["ticktext"] == ["Logistic probe", "Knn probe"]
    assert [trace["name"] for trace in second.data] == ["This selection", "Random baseline", "All rows"]
    assert second.data[1]["x"] == pytest.approx([89.1, 87.6])
    assert second.data[1]["error_x"]["array"] == pytest.approx([1.6, 1.6])


def test_the_bar_of_a_group_is_the_interval_of_its_loss(sample) -> None:
    selection, uniform, full = error_bars.draw_groups(sample.evaluation()).data
    assert selection["error_x"]["array"] == pytest.approx([10] * 4)
    assert uniform["error_x"]["array"] == full["error_x"]["array"] == [None] * 4


def told(**parts: object) -> str:
    stages = (Stage(name="input", description="Read.", rows=Count(3, 3)),)
    page = render(Report(run="r", seed=0, version="1", stages=stages, **parts))
    return page.partition("<main>")[0].partition("<header>")[2] + page.partition("<main>")[2].partition("</main>")[0]


def test_the_evaluation_comes_first_on_the_page(sample) -> None:
    body = told(evaluation=sample.evaluation())
    assert body.count("2.1 ± 0.9 points better than the random baseline, 0.9 ± 0.8 points worse than all rows") == 2
    assert body.index("Models trained on the selection") < body.index("Rows, time and memory by stage")
    assert "after removing 1 % of the rows" in body
    assert "1 test row left out" in body


def test_without_a_metric_that_trains_a_model_no_model_is_mentioned(sample) -> None:
    found = sample.evaluation()
    body = told(evaluation=replace(found, primary=None, metrics=found.metrics[-1:], sliced=None, slices=()))
    assert "No metric trained a model" in body
    assert "better than the random baseline" not in body


def test_without_an_evaluation_a_line_explains_how_to_get_one() -> None:
    body = told(unevaluated="not measured: run curate evaluate r")
    assert "not measured: run curate evaluate r" in body
    assert "Models trained on the selection" not in body


def test_a_comparison_is_linked_beside_the_page(sample) -> None:
    assert '<a href="compare.html">' in told(comparison="compare.html")

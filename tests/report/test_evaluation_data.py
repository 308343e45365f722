"""What is said and drawn of an evaluation, and what of there being none."""

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
    """An evaluation with one line."""
    only = sample.line("probe", "accuracy", *line, **parts)
    return replace(sample.evaluation(), metrics=(only,), primary=only.name)


@pytest.mark.parametrize(
    ("line", "parts", "headline"),
    [
        pytest.param((0.9, 0.02, -0.03), {}, "Better than chance; pruning cost 3.0 ± 0.8 points", id="the usual"),
        pytest.param((0.9, -0.02, -0.03), {}, "Worse than chance; pruning cost 3.0 ± 0.8 points", id="chance wins"),
        pytest.param((0.9, 0.02, 0.03), {}, "Better than chance; 3.0 ± 0.8 points better than every row", id="it pays"),
        pytest.param(
            (0.9, 0.02, -0.001, 0.2),
            {},
            "No better than chance, as far as this can tell; no cost of pruning to be seen",
            id="nothing to be told",
        ),
        pytest.param(
            (0.9, 0.02, -0.03),
            {"higher_is_better": False, "rate": False, "unit": "nats"},
            "Worse than chance; 0.03 ± 0.008 better than every row",
            id="where lower is better",
        ),
    ],
)
def test_the_headline_tells_who_wins_and_what_pruning_cost(sample, line, parts, headline) -> None:
    assert evaluation_text.headline(verdict(sample, *line, **parts)) == headline


def test_one_seed_is_not_called_a_finding(sample) -> None:
    found = verdict(sample, 0.9, 0.02, -0.03, math.nan)
    alone = Estimate(0.02, math.nan, math.nan)
    found = replace(found, metrics=(replace(found.metrics[0], difference=alone, cost=replace(alone, mean=-0.03)),))
    assert evaluation_text.sentence(found) == (
        "Trained on what is left, a model reaches a probe accuracy of 90.0 ± 1.3 %: "
        "+2.0 to uniform, which may be chance, −3.0 to every row, which may be chance."
    )


def test_the_groups_that_are_worst_are_named_with_each_choice(sample) -> None:
    _, rows = evaluation_text.worst(sample.evaluation())
    assert rows[0][:2] == ["worst label", "70.0 % (tides)"]
    assert rows[2] == ["worst cluster", "91.0 % (cluster 7)", "80.0 % (cluster 7)", "90.0 % (cluster 7)"]


def test_a_chart_for_each_thing_that_is_measured_and_the_verdicts_first(sample) -> None:
    first, second = error_bars.of_models(replace(sample.evaluation(), primary="logistic_probe_cross_entropy"))
    assert [first.key, second.key] == ["models", "probes-1"]
    assert first.layout["xaxis"]["title"]["text"] == "Cross entropy (nats), lower is better"
    assert second.layout["yaxis"]["ticktext"] == ["Logistic probe", "Knn probe"]
    assert [trace["name"] for trace in second.data] == ["This selection", "Uniform", "Every row"]
    assert second.data[1]["x"] == pytest.approx([89.1, 87.6])
    assert second.data[1]["error_x"]["array"] == pytest.approx([1.6, 1.6])


def test_a_groups_bar_is_the_interval_of_what_it_lost(sample) -> None:
    selection, uniform, full = error_bars.of_groups(sample.evaluation()).data
    assert selection["error_x"]["array"] == pytest.approx([10] * 4)
    assert uniform["error_x"]["array"] == full["error_x"]["array"] == [None] * 4


def told(**parts: object) -> str:
    stages = (Stage(name="input", description="Read.", rows=Count(3, 3)),)
    page = render(Report(run="r", seed=0, version="1", stages=stages, **parts))
    return page.partition("<main>")[0].partition("<header>")[2] + page.partition("<main>")[2].partition("</main>")[0]


def test_the_page_tells_it_first(sample) -> None:
    body = told(evaluation=sample.evaluation())
    assert body.count("2.1 ± 0.9 points better than uniform, 0.9 ± 0.8 points worse than every row") == 2
    assert body.index("Does it train a better model?") < body.index("What each stage did")
    assert "with 1 % of the rows taken away" in body
    assert "1 test row left out" in body


def test_where_no_metric_learns_no_model_is_judged(sample) -> None:
    found = sample.evaluation()
    body = told(evaluation=replace(found, primary=None, metrics=found.metrics[-1:], sliced=None, slices=()))
    assert "No metric trained a model" in body
    assert "better than uniform" not in body


def test_without_one_a_line_says_how_to_get_it() -> None:
    body = told(unevaluated="not measured: run curate evaluate r")
    assert "not measured: run curate evaluate r" in body
    assert "Does it train a better model?" not in body


def test_a_comparison_is_linked_beside_the_page(sample) -> None:
    assert '<a href="compare.html">' in told(comparison="compare.html")

"""Tests of the curve of kept rows by threshold."""

from __future__ import annotations

import numpy as np
import pytest

from curate.kernels.neighbors.retention import RecallSample, Retention, merge_retention
from curate.report.charts.threshold_curve import draw_retention, title
from curate.report.report_data import EntryRetention


def retained(**parts):
    kept = tuple(range(100, 201))
    given = {"entry": "minhash", "similarity": "Jaccard similarity", "threshold": 0.8, "rows": 200, "kept": kept}
    return EntryRetention(**{**given, **parts})


def test_the_title_gives_the_dropped_share_at_below_and_above_the_threshold():
    assert title(retained()) == "minhash: duplicates are 10 % of the rows at 0.8, 15 % at 0.7, 5 % at 0.9"
    assert title(retained(threshold=0.95)).endswith("2.5 % of the rows at 0.95, 7.5 % at 0.85")


def test_the_curve_is_the_share_of_rows_at_each_threshold():
    (line,) = draw_retention(0, retained()).data
    assert (line["x"][0], line["x"][-1]) == (0.3, 1)
    assert (line["y"][0], line["y"][-1]) == (130 / 200, 1)
    assert draw_retention(0, retained(threshold=0.2)).data[0]["x"][0] == 0.1


def test_what_is_compared_too_seldom_is_drawn_beside_it():
    figure = draw_retention(0, retained(compared_rates=tuple(t / 100 for t in range(101))))
    assert [line["name"] for line in figure.data] == ["Rows kept", "Probability of comparison"]
    assert "lower min_similarity" in figure.note
    assert "lower min_similarity" not in draw_retention(0, retained(compared_rates=(1.0,) * 101)).note


def test_the_share_of_missed_duplicates_is_mentioned_if_it_was_measured():
    figure = draw_retention(0, retained(sample=RecallSample(rows=1000, pairs=200, missed=3)))
    assert "3 of 200 pairs of duplicates (1.5 %) were missed" in figure.note
    assert "there are no duplicates" in draw_retention(0, retained(sample=RecallSample(rows=9, pairs=0, missed=0))).note


@pytest.mark.parametrize("parts", [{"kept": (1,) * 100}, {"compared_rates": (1.0,)}, {"threshold": 7.0}])
def test_another_shape_is_refused(parts):
    with pytest.raises(ValueError, match=r"one entry per threshold"):
        retained(**parts)


def test_kept_rows_have_no_earlier_row_of_that_similarity():
    nearest = np.array([-1, 0.8, 0.5, 1 - 1e-7], np.float32)
    kept = Retention("cosine similarity", 0.9, nearest).kept()
    assert [kept[t] for t in (0, 50, 51, 80, 81, 100)] == [1, 1, 2, 2, 3, 3]


def test_groups_are_put_together_and_one_without_leaves_none():
    one, other = (Retention("cosine similarity", 0.9, np.array(x, np.float32)) for x in ([0.1, 0.2], [0.3]))
    groups = [np.array([2, 0]), np.array([1])]
    found = merge_retention(3, groups, [one, other])
    assert found.nearest.tolist() == np.array([0.2, 0.3, 0.1], np.float32).tolist()
    assert merge_retention(3, groups, [one, None]) is None
    assert found.sample is None


def test_samples_of_groups_are_added_up():
    one, other, none = (
        Retention("cosine similarity", 0.9, np.zeros(1, np.float32), sample=sample)
        for sample in (RecallSample(10, 4, 1), RecallSample(5, 2, 2), None)
    )
    groups = [np.array([row]) for row in range(3)]
    assert merge_retention(3, groups, [none, one, other]).sample == RecallSample(15, 6, 3)
    assert merge_retention(3, groups, [none, one, other]).curve().sample == RecallSample(rows=15, pairs=6, missed=3)

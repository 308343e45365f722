"""Balance compares shares with those of the pool, and detects missing groups."""

from __future__ import annotations

import numpy as np
import pytest

from curate.plugins.batches import MetricInput
from curate.plugins.metrics.balance import Balance

LABEL = np.array([0, 0, 0, 0, 1, 1, 2, 2, -1, -1], np.int32)
SOURCE = np.array([0, 0, 0, 0, 0, 1, 1, 1, 1, 1], np.int32)


def measure(chosen, label=LABEL, source=SOURCE):
    trial = MetricInput(
        n=10, selected=np.array(chosen), label=label, source=source, classes=("a", "b", "c", "only in tests")
    )
    return Balance().measure(trial, np.random.default_rng(0))


def test_shares_of_the_labeled_rows_and_of_the_sources():
    result = measure([0, 1, 2, 4, 8]).values  # labels 3/4, 1/4, 0 against 1/2, 1/4, 1/4; sources 4/5, 1/5 against 1/2
    assert result["label_distance"] == pytest.approx(0.25)
    assert (result["labels_missing"], result["smallest_label"]) == (1, 0)
    entropy = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25)) / np.log(3)
    assert result["label_entropy"] == pytest.approx(entropy)
    assert result["source_distance"] == pytest.approx(0.3)
    assert result["sources_missing"] == 0


def test_even_labels_have_an_entropy_of_1_and_a_distance():
    result = measure([0, 4, 6]).values
    assert result["label_entropy"] == pytest.approx(1)
    assert result["label_distance"] == pytest.approx(1 / 6)
    assert result["smallest_label"] == 1


@pytest.mark.parametrize("nothing", [None, np.full(10, -1, np.int32)])
def test_without_labels_the_sources_are_compared(nothing):
    measured = measure([0, 5], label=nothing)
    assert measured.notes == ("the pool has no labels",)
    assert np.isnan([v for name, v in measured.values.items() if "label" in name]).all()
    assert measured.values["source_distance"] == 0


def test_a_choice_without_a_labeled_row_misses_every_label():
    measured = measure([8, 9])
    assert measured.values["labels_missing"] == 3
    assert np.isnan(measured.values["label_distance"])
    assert "no selected row has a label" in measured.notes


def test_one_source_has_no_entropy():
    measured = measure([0, 1], source=np.zeros(10, np.int32))
    assert np.isnan(measured.values["source_entropy"])
    assert measured.notes == ("all rows have the same source",)

"""Data-OOB finds wrong labels, and copies and rows without a label are treated as documented."""

from __future__ import annotations

import numpy as np

from curate.plugins.scorers.data_oob import DataOob
from tests.plugins.scorers.learners import batch_of, mixture


def score(x, labels, **fields):
    return result_of(x, labels, **fields).values


def result_of(x, labels, **fields):
    return DataOob(**{"models": 30, **fields}).score(batch_of(x, labels, 3), np.random.default_rng(0))


def test_wrong_labels_have_the_lowest_values():
    x, labels = mixture(150, 3, noise=0.25)
    wrong = np.arange(0, 150, 10)
    labels[wrong] = (labels[wrong] + 1) % 3
    for measure in ("correct", "probability"):
        values = score(x, labels, measure=measure)[:, 0]
        assert np.isin(np.argsort(values)[:15], wrong).mean() > 0.9
        assert np.delete(values, wrong).mean() > 0.9 * values.max()


def test_standard_errors_shrink_with_the_number_of_models():
    x, labels = mixture(60, 3, noise=1.5)
    few, many = (score(x, labels, models=models)[:, 1].mean() for models in (20, 180))
    assert 2.2 < few / many < 4


def test_rows_without_a_label_have_no_value_and_change_no_other():
    x, labels = mixture(60, 3)
    some = labels.copy()
    some[::5] = -1
    values, alone = score(x, some), score(x[some >= 0], some[some >= 0])
    assert np.isnan(values[::5]).all()
    np.testing.assert_array_equal(values[some >= 0], alone)


def test_rows_that_no_model_left_out_get_a_warning():
    x, labels = mixture(40, 3)
    result = result_of(x, labels, models=1)
    missing = int(np.isnan(result.values[:, 0]).sum())
    assert 15 < missing < 35
    assert result.warnings == (
        f"{missing} of 40 rows with a label have no value, as no model left them out; increase `models`",
    )
    assert not result_of(x, labels).warnings
    (warning,) = result_of(x[:1], labels[:1]).warnings
    assert warning.endswith("it is the only row with a label")


def test_a_pool_without_labels_has_no_values():
    x, _ = mixture(4, 3)
    assert np.isnan(score(x, np.full(4, -1, np.int32))).all()

"""The lines of a log are parsed, and malformed ones refused."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from curate.errors import DataError
from curate.kernels.stats.softmax import softmax
from curate.plugins.proxies.recorded import Recorded


def lines(**columns):
    return Recorded(files="log.jsonl").read(pa.table(columns))


def read(**columns):
    return softmax(lines(**columns).logits)


def test_probabilities_are_divided_by_their_sum():
    result = read(probabilities=[[0.2, 0.79], [1.0, 0.0]])
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, [[0.2 / 0.99, 0.79 / 0.99], [1, 0]], rtol=1e-6, atol=1e-30)


@pytest.mark.parametrize("correct", [[True, False], [1, 0], [1.0, 0.0], ["true", "False"], ["1", "0"]])
def test_a_log_may_have_losses_and_correctness_only(correct):
    found = lines(loss=[0.5, 2], correct=correct, gradient_norm=[1, 3])
    assert found.logits is None
    values = {name: array.tolist() for name, array in found.statistics.items()}
    assert values == {"loss": [0.5, 2], "correct": [1, 0], "gradient": [1, 3]}


def test_statistics_are_computed_from_the_probabilities_if_there_are_some():
    found = lines(probabilities=[[0.5, 0.5]], loss=[7.0], gradient_norm=[2.0])
    assert set(found.statistics) == {"gradient"}


def test_logits_become_probabilities_also_as_texts():
    np.testing.assert_allclose(read(logits=["[0, 0]", "[1000, 0]"]), [[0.5, 0.5], [1, 0]], atol=1e-6)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"losses": [1.0]}, "none of the columns 'probabilities', 'logits', 'loss', 'correct', 'gradient_norm'"),
        ({"loss": ["high"]}, "loss: every line of the log needs one number"),
        ({"correct": [0.5]}, "correct: every line of the log needs true or false, 1 or 0"),
        ({"probabilities": [[0.5, 0.5], [1.0]]}, "needs a list with one number for each class"),
        ({"probabilities": ["[0.5, "]}, "needs a list with one number for each class"),
        ({"probabilities": [0.5]}, "needs a list with one number for each class"),
        ({"logits": [[1.0], [2.0]]}, "needs a list with one number for each class"),
        ({"probabilities": [[1.2, -0.2]]}, "negative or do not sum to 1"),
        ({"probabilities": [[0.5, 0.4]]}, "negative or do not sum to 1"),
    ],
)
def test_a_log_without_probabilities_is_refused(columns, message):
    with pytest.raises(DataError, match=message):
        read(**columns)

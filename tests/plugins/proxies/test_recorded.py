"""What a log's lines are taken for, and which lines are none."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from curate.errors import DataError
from curate.plugins.proxies.recorded import Recorded


def read(**columns):
    return Recorded(files="log.jsonl").probabilities(pa.table(columns))


def test_probabilities_are_divided_by_their_sum():
    found = read(probabilities=[[0.2, 0.79], [1.0, 0.0]])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [[0.2 / 0.99, 0.79 / 0.99], [1, 0]], rtol=1e-6)


def test_logits_become_probabilities_also_as_texts():
    np.testing.assert_allclose(read(logits=["[0, 0]", "[1000, 0]"]), [[0.5, 0.5], [1, 0]], atol=1e-6)


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"loss": [1.0]}, "no column 'probabilities' and none 'logits'"),
        ({"probabilities": [[0.5, 0.5], [1.0]]}, "not a list of numbers"),
        ({"probabilities": ["[0.5, "]}, "not a list of numbers"),
        ({"probabilities": [0.5]}, "not a list of numbers"),
        ({"logits": [[1.0, float("inf")]]}, "NaN or infinity"),
        ({"probabilities": [[1.2, -0.2]]}, "negative, or do not sum to 1"),
        ({"probabilities": [[0.5, 0.4]]}, "negative, or do not sum to 1"),
    ],
)
def test_a_log_without_probabilities_is_refused(columns, told):
    with pytest.raises(DataError, match=told):
        read(**columns)

"""The lines of a log are parsed, and malformed ones refused."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from curate.errors import DataError
from curate.plugins.proxies.recorded import Recorded


def read(**columns):
    return Recorded(files="log.jsonl").probabilities(pa.table(columns))


def test_probabilities_are_divided_by_their_sum():
    result = read(probabilities=[[0.2, 0.79], [1.0, 0.0]])
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, [[0.2 / 0.99, 0.79 / 0.99], [1, 0]], rtol=1e-6)


def test_logits_become_probabilities_also_as_texts():
    np.testing.assert_allclose(read(logits=["[0, 0]", "[1000, 0]"]), [[0.5, 0.5], [1, 0]], atol=1e-6)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"loss": [1.0]}, "neither a column 'probabilities' nor 'logits'"),
        ({"probabilities": [[0.5, 0.5], [1.0]]}, "needs a list with one number for each class"),
        ({"probabilities": ["[0.5, "]}, "needs a list with one number for each class"),
        ({"probabilities": [0.5]}, "needs a list with one number for each class"),
        ({"logits": [[1.0, float("inf")]]}, "NaN or infinity"),
        ({"probabilities": [[1.2, -0.2]]}, "negative or do not sum to 1"),
        ({"probabilities": [[0.5, 0.4]]}, "negative or do not sum to 1"),
    ],
)
def test_a_log_without_probabilities_is_refused(columns, message):
    with pytest.raises(DataError, match=message):
        read(**columns)

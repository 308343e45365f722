import numpy as np
import pytest

from curate.errors import PluginError
from curate.kernels.linalg.last_layer_gradients import last_layer_gradients

X = np.array([[1, 0], [0.6, 0.8]], np.float32)


def test_without_an_error_the_embeddings_are_the_gradients():
    assert last_layer_gradients(X, {}, None, "craig") is X


def test_a_gradient_is_as_long_as_the_error():
    error = np.array([0, 2], np.float32)
    np.testing.assert_allclose(np.linalg.norm(last_layer_gradients(X, {"el2n": error}, "el2n", "craig"), axis=1), error)


@pytest.mark.parametrize("bad", [-1, np.nan, np.inf])
def test_an_error_that_is_no_length_is_refused_with_the_way_out(bad):
    scores = {"el2n": np.array([1, bad], np.float32)}
    with pytest.raises(PluginError, match=r"craig: the score 'el2n' is missing, infinite or negative for 1 rows") as no:
        last_layer_gradients(X, scores, "el2n", "craig")
    assert "score_el2n is null" in str(no.value.hint)

import numpy as np
import pytest
from scipy import sparse
from sklearn.utils.extmath import randomized_svd as reference

from curate.kernels.linalg.randomized_svd import randomized_svd
from curate.kernels.parallel import one_blas_thread


def texts(n: int, features: int, seed: int = 0) -> sparse.csr_array:
    rng = np.random.default_rng(seed)
    rows = sparse.random_array((n, features), density=0.1, rng=rng, dtype=np.float32, format="csr")
    return sparse.csr_array(rows)


@pytest.mark.parametrize("shape", [(80, 300), (300, 80), (90, 90)])
@pytest.mark.parametrize("n_iter", [3, 7])
def test_it_equals_scikit_learn_bit_for_bit(shape, n_iter):
    matrix = texts(*shape)
    with one_blas_thread():
        _, values, directions = reference(matrix, 12, n_iter=n_iter, n_oversamples=9, random_state=4)
    ours = randomized_svd(matrix, 12, n_iter=n_iter, n_oversamples=9, seed=4)
    assert np.array_equal(ours[0], values)
    assert np.array_equal(ours[1], directions)
    assert ours[1].dtype == np.float32


def test_many_iterations_are_close_to_the_exact_decomposition():
    matrix = texts(100, 150)
    values, directions = randomized_svd(matrix, 5, n_iter=30, n_oversamples=40, seed=0)
    _, expected, axes = np.linalg.svd(matrix.toarray(), full_matrices=False)
    assert np.allclose(values, expected[:5], rtol=1e-4)
    assert np.allclose(np.abs((directions * axes[:5]).sum(axis=1)), 1, atol=1e-3)


def test_more_directions_than_the_matrix_has_are_cut_to_its_rank():
    values, directions = randomized_svd(texts(20, 30), 20, n_iter=2, n_oversamples=64, seed=0)
    assert values.shape == (20,)
    assert directions.shape == (20, 30)

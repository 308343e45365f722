import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from curate.report.charts.projection import project


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def groups(each: int, dimensions: int = 32, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = unit(rng.standard_normal((4, dimensions)))
    return unit(np.repeat(centres, each, axis=0) + 0.05 * rng.standard_normal((4 * each, dimensions)))


@pytest.mark.parametrize("rows", [1, 2, 3, 9, 10, 11, 40])
@pytest.mark.parametrize("dimensions", [1, 2, 3, 64])
def test_any_number_of_rows_gets_finite_positions(rows: int, dimensions: int) -> None:
    places = project(unit(np.random.default_rng(rows).standard_normal((rows, dimensions))))
    assert places.shape == (rows, 2)
    assert places.dtype == np.float32
    assert np.isfinite(places).all()
    assert np.abs(places).max() <= 1


@pytest.mark.parametrize("rows", [1, 5, 300])
def test_identical_rows_share_one_position(rows: int) -> None:
    places = project(np.tile(unit(np.ones((1, 8))), (rows, 1)))
    assert not places.any()


def test_many_copies_of_few_rows_are_separated() -> None:
    """With fewer distinct rows than t-SNE needs, each still has its own position."""
    places = project(np.repeat(np.eye(3, dtype=np.float32), 50, axis=0))
    assert len(np.unique(places.round(4), axis=0)) == 3


def test_rows_of_one_group_lie_next_to_each_other() -> None:
    rows = groups(40)
    places = project(rows)
    distance = np.linalg.norm(places[:, None] - places[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    assert (distance.argmin(axis=1) // 40 == np.arange(160) // 40).all()


def test_more_dimensions_than_rows_gives_the_same_map_as_their_span() -> None:
    """Both methods for the principal axes agree: by rows if there are fewer of them, else by dimensions."""
    rows = unit(np.random.default_rng(0).standard_normal((8, 6)))
    assert np.allclose(project(np.pad(rows, ((0, 0), (0, 20)))), project(rows), atol=1e-5)


def test_positions_do_not_depend_on_threads() -> None:
    rows = groups(60)
    with threadpool_limits(1):
        one = project(rows)
    with threadpool_limits(2):
        two = project(rows)
    assert np.array_equal(one, two)


def test_the_input_rows_are_not_modified() -> None:
    rows = groups(10)
    before = rows.copy()
    project(rows)
    assert np.array_equal(rows, before)

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.report import statistics

values = st.lists(st.floats(width=32) | st.integers(0, 5).map(float), max_size=60)


@given(values, st.integers(0, 2**16))
def test_every_row_is_in_a_bin_or_missing(numbers: list[float], seed: int) -> None:
    rng = np.random.default_rng(seed)
    kept, uniform = rng.random((2, len(numbers))) < 0.5
    part = statistics.histogram("s", np.array(numbers, np.float32), kept, uniform)
    finite = np.isfinite(np.array(numbers, np.float32))
    assert part.kept.sum() == (kept & finite).sum()
    assert part.dropped.sum() == (~kept & finite).sum()
    assert part.uniform.sum() == (uniform & finite).sum()
    assert part.missing == (~finite).sum()
    assert (np.diff(part.edges) > 0).all()


def test_outliers_are_counted_in_the_outermost_bins_and_mentioned() -> None:
    numbers = np.append(np.linspace(0, 1, 1_000), [1e6, -1e6]).astype(np.float32)
    part = statistics.histogram("s", numbers, np.ones(1_002, bool), np.zeros(1_002, bool))
    assert part.edges[0] >= 0
    assert part.edges[-1] <= 1
    assert part.outside >= 2
    assert part.kept.sum() == 1_002


def test_a_score_with_few_integer_values_has_one_bin_per_value() -> None:
    part = statistics.histogram("s", np.array([1.0, 1, 3]), np.ones(3, bool), np.zeros(3, bool))
    assert part.edges.tolist() == [0.5, 1.5, 2.5, 3.5]
    assert part.kept.tolist() == [2, 0, 1]


def test_rows_in_no_group_become_a_group() -> None:
    part = statistics.shares(
        "label", np.array([-1, 0, -1]), ["a"], np.array([1, 0, 0], bool), np.array([0, 1, 0], bool)
    )
    assert part.names == ("none", "a")
    assert part.before.tolist() == [2, 1]
    assert part.after.tolist() == [1, 0]


@pytest.mark.parametrize("groups", [1, 2, 7])
def test_the_effective_number_of_equal_groups_is_their_number(groups: int) -> None:
    assert statistics.effective_groups(np.full(groups, 13)) == pytest.approx(groups)


def test_near_copies_are_above_the_threshold_not_at_it() -> None:
    assert statistics.copies(np.array([0.95, 0.96, 1.0, 0.1], np.float32), 0.96) == 0.5

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from curate.kernels.stats.rounding import ceil_counts, floor_count


@given(st.integers(0, 100), st.integers(0, 10_000))
def test_percentages_are_rounded_like_integers(percent, n):
    share = percent / 100 * n
    assert floor_count(share) == percent * n // 100
    assert ceil_counts(np.array([share])).tolist() == [-(-percent * n // 100)]

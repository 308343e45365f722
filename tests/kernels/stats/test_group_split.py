"""Splits have exact shares, of large groups as of small ones."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from curate.kernels.stats.group_split import split_groups


def sizes_of(split, sizes, n_splits):
    return np.bincount(split, weights=sizes, minlength=n_splits)


@given(seed=st.integers(0, 1 << 32), n_splits=st.integers(1, 5), n_strata=st.integers(1, 4))
def test_shares_are_exact_if_there_are_enough_single_rows(seed, n_splits, n_strata):
    rng = np.random.default_rng(seed)
    share = rng.dirichlet(np.full(n_splits, 5.0))
    large = rng.integers(1, 12, rng.integers(1, 60))
    singles = int(12 * n_splits / share.min())
    sizes = np.concatenate([large, np.ones(n_strata * singles, int)])
    stratum = np.concatenate([rng.integers(0, n_strata, len(large)), np.repeat(np.arange(n_strata), singles)])
    key = rng.integers(0, 1 << 62, len(sizes)).astype(np.uint64)
    split = split_groups(sizes, key, share.tolist(), stratum=stratum.astype(np.int32))
    assert np.abs(sizes_of(split, sizes, n_splits) - share * sizes.sum()).max() < (1 if n_strata == 1 else 2)
    for code in range(n_strata):
        own = stratum == code
        assert np.abs(sizes_of(split[own], sizes[own], n_splits) - share * sizes[own].sum()).max() < 3


def test_large_groups_are_in_every_split_in_proportion():
    sizes = np.repeat([100, 10, 1], [50, 500, 5_000])
    split = split_groups(sizes, np.arange(len(sizes), dtype=np.uint64), [0.8, 0.1, 0.1])
    for size in (100, 10, 1):
        counts = np.bincount(split[sizes == size], minlength=3) / (sizes == size).sum()
        assert np.abs(counts - [0.8, 0.1, 0.1]).max() <= 0.02


@given(seed=st.integers(0, 1 << 32))
def test_assigned_groups_keep_their_split_and_new_ones_restore_the_shares(seed):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 4, 400)
    key = rng.integers(0, 1 << 62, 400).astype(np.uint64)
    fixed = np.where(np.arange(400) < 200, rng.choice(3, 400, p=[0.9, 0.05, 0.05]), -1).astype(np.int32)
    split = split_groups(sizes, key, [0.8, 0.1, 0.1], fixed=fixed)
    assert (split[fixed >= 0] == fixed[fixed >= 0]).all()
    share = np.array([0.8, 0.1, 0.1])
    assert np.abs(sizes_of(split, sizes, 3) - share * sizes.sum()).max() < 3


@given(seed=st.integers(0, 1 << 32))
def test_the_order_of_the_groups_does_not_matter(seed):
    rng = np.random.default_rng(seed)
    sizes, key = rng.integers(1, 5, 60), rng.permutation(60).astype(np.uint64)
    order = rng.permutation(60)
    assert (split_groups(sizes, key, [0.7, 0.3])[order] == split_groups(sizes[order], key[order], [0.7, 0.3])).all()


def test_one_group_larger_than_a_share_is_in_the_largest_split():
    assert split_groups(np.array([1, 90, 9]), np.arange(3, dtype=np.uint64), [0.1, 0.9]).tolist()[1] == 1


def test_no_groups():
    assert len(split_groups(np.zeros(0, int), np.zeros(0, np.uint64), [0.5, 0.5])) == 0

"""The fold of a text depends only on its content, and folds have equal expected size."""

from __future__ import annotations

import numpy as np

from curate.kernels.stats.hash_folds import assign_folds, assign_vector_folds, hash_folded_texts


def test_copies_that_differ_in_capitals_and_white_space_share_a_key_and_others_do_not():
    texts = ["One  two", "one two\n", " ONE\ttwo ", "one two.", "onetwo", "", " \n", "\ud800", "É", "é"]
    keys = hash_folded_texts(texts)
    same = [[int(a == b) for b in keys] for a in keys]
    groups = [0, 0, 0, 1, 2, 3, 3, 4, 5, 5]
    assert same == [[int(a == b) for b in groups] for a in groups]


def test_a_key_does_not_depend_on_other_texts():
    assert hash_folded_texts(["a", "b", "c"])[1] == hash_folded_texts(["b"])[0]


def test_folds_are_of_one_size_but_for_chance():
    counts = np.bincount(
        assign_folds(hash_folded_texts([f"text {number}" for number in range(10_000)]), 5), minlength=5
    )
    assert len(counts) == 5
    assert (np.abs(counts - 2000) < 4 * np.sqrt(10_000 * 0.2 * 0.8)).all()


def test_copies_of_a_vector_share_a_fold_and_distinct_vectors_are_divided_equally():
    x = np.random.default_rng(0).standard_normal((50, 4)).astype(np.float32)
    folds = assign_vector_folds(np.concatenate([x, x]), 5, np.random.default_rng(1))
    assert (folds[:50] == folds[50:]).all()
    assert np.bincount(folds[:50]).tolist() == [10] * 5
    other = assign_vector_folds(np.concatenate([x, x]), 5, np.random.default_rng(2))
    assert (other != folds).any()


def test_only_the_counted_rows_are_divided_equally():
    x = np.random.default_rng(0).standard_normal((60, 4)).astype(np.float32)
    counted = np.arange(0, 60, 2)
    folds = assign_vector_folds(x, 5, np.random.default_rng(1), counted)
    assert np.bincount(folds[counted]).tolist() == [6] * 5
    assert set(folds.tolist()) == set(range(5))

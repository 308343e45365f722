"""Content-based samples are uniform, independent of the row order, and similar for similar sets."""

from __future__ import annotations

import numpy as np

from curate.kernels.stats.hash_sampling import content_order, hash_vectors, sample_by_content


def rows(n, d=4, seed=0):
    return np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)


def test_the_order_depends_on_the_content_of_rows():
    x = np.repeat(rows(300), np.arange(300) % 3 + 1, axis=0)
    shuffled = x[np.random.default_rng(1).permutation(len(x))]
    assert (x[content_order(x, 5)] == shuffled[content_order(shuffled, 5)]).all()
    assert sorted(content_order(x, 5)) == list(range(len(x)))


def test_labels_count_as_content():
    x, labels = np.repeat(rows(200), 2, axis=0), (np.arange(400) % 2).astype(np.int32)
    shuffle = np.random.default_rng(1).permutation(400)
    order, again = content_order(x, 5, labels), content_order(x[shuffle], 5, labels[shuffle])
    assert (labels[order] == labels[shuffle][again]).all()
    assert (x[order] == x[shuffle][again]).all()
    hashes = hash_vectors(x, np.random.default_rng(0), labels)
    assert len(np.unique(hashes)) == 400
    assert len(np.unique(hash_vectors(x, np.random.default_rng(0), labels * 0))) == 200


def test_another_salt_is_another_order():
    x = rows(300)
    assert (content_order(x, 1) != content_order(x, 2)).mean() > 0.9


def test_samples_of_a_set_and_of_the_pool_share_rows():
    x = rows(1_000)
    some = np.random.default_rng(2).choice(1_000, 700, replace=False)
    chosen, pool = sample_by_content(x, some, 200, 3)
    assert len(chosen) == len(pool) == 200
    assert np.isin(chosen, some).all()
    assert set(pool) & set(some) <= set(chosen)
    everything, complete = sample_by_content(x, np.random.default_rng(3).permutation(1_000), 200, 3)
    assert everything.tolist() == complete.tolist()


def test_every_row_is_drawn_as_often_as_another_copies_too():
    """500 samples of 10 of 40 rows, half of them copies of one: 125 each, give or take five standard deviations."""
    x = rows(40)
    x[:20] = x[0]
    counts = np.zeros(40)
    for salt in range(500):
        counts[content_order(x, salt)[:10]] += 1
    of_copies, of_others = counts[:20].sum(), counts[20:]
    sd = (500 * 0.25 * 0.75) ** 0.5
    assert np.abs(of_others - 125).max() < 5 * sd
    assert abs(of_copies - 2_500) < 5 * sd * 20**0.5

"""Cynical selection against computing the cross-entropy of every text in every step."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from curate.kernels.text import unigram_selection
from curate.kernels.text.unigram_selection import WordCounts, select_by_cross_entropy


def as_counts(table, others):
    """Return the counts of a table (n, v), and of ``others`` (n,) further words."""
    rows, words = np.nonzero(table)
    starts = np.concatenate([[0], np.cumsum((table > 0).sum(axis=1))])
    return WordCounts(starts, words, table[rows, words], table.sum(axis=1) + others)


def entropy(target, counts, total):
    return -(target * np.log(counts / total)).sum()


def greedily(table, others, target, budget, smoothing):
    """Compute the cross-entropy with each further text, from the definition."""
    counts, total = np.full(len(target), smoothing), smoothing * len(target)
    left, chosen, gains = set(range(len(table))), [], []
    for _ in range(budget):
        now = entropy(target, counts, total)
        after = {
            row: entropy(target, counts + table[row], total + table[row].sum() + others[row]) for row in sorted(left)
        }
        row = min(after, key=lambda one: (after[one], table[one].sum() + others[one], one))
        gains.append(now - after[row])
        chosen.append(row)
        left.remove(row)
        counts, total = counts + table[row], total + table[row].sum() + others[row]
    return chosen, gains


@given(
    n=st.integers(0, 12), v=st.integers(1, 5), smoothing=st.sampled_from([0.01, 0.5, 3.0]), seed=st.integers(0, 10_000)
)
def test_each_text_is_the_best_of_all(n, v, smoothing, seed):
    rng = np.random.default_rng(seed)
    table, others = rng.poisson(0.8, (n, v)), rng.integers(0, 4, n)
    target = rng.random(v) + 0.05
    target /= target.sum()
    rows, gains = select_by_cross_entropy(as_counts(table, others), target, n, smoothing)
    _, expected = greedily(table, others, target, n, smoothing)
    assert sorted(rows.tolist()) == list(range(n))
    counts, total = np.full(v, smoothing), smoothing * v
    for row, gain, best in zip(rows, gains, expected, strict=True):
        before = entropy(target, counts, total)
        counts, total = counts + table[row], total + table[row].sum() + others[row]
        np.testing.assert_allclose(before - entropy(target, counts, total), gain, atol=1e-9)
        np.testing.assert_allclose(gain, best, atol=1e-9)


def test_a_smaller_budget_is_a_prefix():
    rng = np.random.default_rng(3)
    counts = as_counts(rng.poisson(0.5, (50, 9)), rng.integers(0, 4, 50))
    every, _ = select_by_cross_entropy(counts, np.full(9, 1 / 9), 50, 0.01)
    assert select_by_cross_entropy(counts, np.full(9, 1 / 9), 20, 0.01)[0].tolist() == every[:20].tolist()
    assert len(select_by_cross_entropy(counts, np.full(9, 1 / 9), 0, 0.01)[0]) == 0


def test_the_number_of_texts_computed_at_once_does_not_matter(monkeypatch):
    rng = np.random.default_rng(4)
    kinds = rng.poisson(0.6, (12, 6))
    table = kinds[rng.integers(0, 12, 300)]  # many equal texts
    counts = as_counts(table, np.zeros(300, np.int64))
    results = []
    for first, growth in ((64, 16), (1, 2), (1_000, 2)):
        monkeypatch.setattr(unigram_selection, "_FIRST", first)
        monkeypatch.setattr(unigram_selection, "_GROWTH", growth)
        rows, gains = select_by_cross_entropy(counts, np.full(6, 1 / 6), 300, 0.01)
        results.append((rows.tolist(), gains.tolist()))
    assert results[0] == results[1] == results[2]
    assert sorted(results[0][0]) == list(range(300))

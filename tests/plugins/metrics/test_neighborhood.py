"""Precision, recall, density and coverage agree with brute-force counts of balls around rows."""

from __future__ import annotations

import numpy as np
import pytest

from curate.plugins.metrics.neighborhood import neighborhood


def by_definition(x, chosen, pool, k):
    distance = np.linalg.norm(x[:, None].astype(float) - x, axis=2)

    def reach(row, among):
        return np.sort([distance[row, other] for other in among if other != row])[min(k, len(among) - 1) - 1] + 1e-7

    ball, own = ({row: reach(row, among) for row in among} for among in (pool, chosen))
    inside = {row: [c for c in chosen if distance[row, c] <= ball[row]] for row in pool}
    others = {c: [row for row in pool if row != c and c in inside[row]] for c in chosen}
    return {
        "precision": np.mean([bool(others[c]) for c in chosen]),
        "recall": np.mean([any(row == c or distance[row, c] <= own[c] for c in chosen) for row in pool]),
        "density": np.mean([len(others[c]) / k for c in chosen]),
        "coverage": np.mean([bool(inside[row]) for row in pool]),
    }


@pytest.mark.parametrize(("k", "size"), [(1, 10), (3, 25), (5, 60)])
def test_is_its_definition(rows, k, size):
    x = rows(60, 3)
    chosen = np.random.default_rng(size).permutation(60)[:size]
    assert neighborhood(x, chosen, np.arange(60), k) == pytest.approx(by_definition(x, chosen, np.arange(60), k))


def test_outliers_lower_precision_and_density_and_a_narrow_choice_lowers_what_is_reached():
    angle = np.concatenate([np.linspace(0, 1, 50) ** 1.1, [2, 3.1, 4.4]])  # a crowd, and three ever farther apart
    x = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
    pool = np.arange(53)
    outliers, narrow, even = (neighborhood(x, rows, pool, 1) for rows in (pool[-4:], pool[:8], pool[:50:6]))
    assert outliers["precision"] < even["precision"]
    assert outliers["density"] < even["density"]
    assert narrow["coverage"] < even["coverage"]
    assert narrow["recall"] < even["recall"]

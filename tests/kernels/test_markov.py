"""Entropy rates of a chain's coordinates are those of its transition matrix."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest

from curate.kernels.markov import Chain, Information, state_hashes

STATES = np.array(list(product(range(2), repeat=3)))  # of three coordinates


def stationary(matrix):
    values, vectors = np.linalg.eig(matrix.T)
    law = np.real(vectors[:, np.argmax(np.real(values))])
    return law / law.sum()


def random_chain(seed):
    matrix = np.random.default_rng(seed).random((8, 8)) ** 3
    return matrix / matrix.sum(axis=1, keepdims=True)


def product_chain():
    each = [np.array([[0.9, 0.1], [0.3, 0.7]]), np.array([[0.5, 0.5], [0.5, 0.5]]), np.array([[0.2, 0.8], [0.6, 0.4]])]
    return np.kron(np.kron(each[0], each[1]), each[2]), each


def chain_of(matrix):
    """Every transition, with its probability."""
    law = stationary(matrix)
    hashes = state_hashes(STATES.T)
    pairs = list(product(range(8), repeat=2))
    first, second = (np.array(side) for side in zip(*pairs, strict=True))
    return Chain(hashes[:, first], hashes[:, second], law[first] * matrix[first, second])


def restricted(matrix, coordinates):
    """π_S and P^(S), from the definition."""
    law, keys = stationary(matrix), [tuple(state[list(coordinates)]) for state in STATES]
    groups = sorted(set(keys))
    member = np.array([[key == group for key in keys] for group in groups], float)
    joint = member @ (law[:, None] * matrix) @ member.T
    return joint.sum(axis=1), joint / joint.sum(axis=1, keepdims=True)


def rate(matrix, coordinates):
    law, kernel = restricted(matrix, coordinates)
    return -float((law[:, None] * kernel * np.log(np.where(kernel > 0, kernel, 1))).sum())


def value(f, rows):
    f, total = f.fresh(), 0.0
    for row in rows:
        total += float(f.gains(np.array([row]))[0])
        f.take(row)
    return total - f.cost[list(rows)].sum()


SUBSETS = [rows for size in (1, 2, 3) for rows in combinations(range(3), size)]


@pytest.mark.parametrize("seed", range(3))
def test_entropy_rate_less_its_cost_is_that_of_the_restricted_chain(seed):
    matrix = random_chain(seed)
    f = Information(chain_of(matrix), "entropy_rate")
    for rows in SUBSETS:
        assert value(f, rows) == pytest.approx(rate(matrix, rows), abs=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_factorizability_is_the_divergence_from_the_two_parts_side_by_side(seed):
    matrix = random_chain(seed)
    law = stationary(matrix)
    f = Information(chain_of(matrix), "factorizability")
    for rows in SUBSETS[:-1]:
        others = [i for i in range(3) if i not in rows]
        places = [sorted({tuple(state[list(part)]) for state in STATES}) for part in (rows, others)]
        kernels = [restricted(matrix, part)[1] for part in (rows, others)]
        divergence = 0.0
        for (i, x), (j, y) in product(enumerate(STATES), repeat=2):
            apart = 1.0
            for part, place, kernel in zip((list(rows), others), places, kernels, strict=True):
                apart *= kernel[place.index(tuple(x[part])), place.index(tuple(y[part]))]
            divergence += law[i] * matrix[i, j] * np.log(matrix[i, j] / apart)
        assert value(f, rows) == pytest.approx(divergence, abs=1e-9)


def test_rates_of_independent_coordinates_add_up():
    matrix, each = product_chain()
    f = Information(chain_of(matrix), "entropy_rate")
    alone = [rate(matrix, (i,)) for i in range(3)]
    assert alone[1] == pytest.approx(np.log(2))
    assert f.cost.tolist() == pytest.approx([0, 0, 0], abs=1e-12)
    for rows in SUBSETS:
        assert value(f, rows) == pytest.approx(sum(alone[i] for i in rows))
    law = stationary(each[0])
    expected = -(law[:, None] * each[0] * np.log(each[0])).sum()
    assert alone[0] == pytest.approx(expected)


@pytest.mark.parametrize("objective", ["entropy_rate", "factorizability"])
def test_gains_fall_and_are_not_negative(objective):
    counter = 0.9 * np.roll(np.eye(8), 1, axis=1) + 0.1 * random_chain(5)  # one bit alone is hard to tell, all are not
    f = Information(chain_of(counter), objective)
    assert f.cost.max() > 0, "a chain for which the objective is monotone anyway"
    last = np.full(3, np.inf)
    for row in range(3):
        gains = f.gains(np.arange(3))
        assert (gains[row:] >= 0).all()
        assert (gains[row:] <= last[row:] + 1e-9).all()
        last = gains
        f.take(row)

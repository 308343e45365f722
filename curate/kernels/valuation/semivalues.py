"""Semivalues of players, such as Beta-Shapley and Banzhaf values, from utilities of random sets of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from curate.kernels.parallel import map_blocks
from curate.kernels.types import Advance, Counts, Flags, Numbers

_BINS = 10  # ranges of sizes in which the baseline is measured
Utility = Callable[[Flags, np.random.Generator], float]
"""Utility of a set of players, as a mask (n,)."""


def beta_weights(n: int, alpha: float, beta: float) -> Numbers:
    """Return the weight of each size 0 … n - 1 of the set that a player joins in a Beta-Shapley value.

    Parameters
    ----------
    n : number of players
    alpha, beta : parameters; (1, 1) is the Shapley value, alpha above beta prefers small sets

    Returns
    -------
    (n,) float64 that sum to 1

    References
    ----------
    Kwon & Zou (2022), Beta Shapley: a Unified and Noise-reduced Data Valuation Framework for Machine Learning,
    arXiv:2110.14049.

    Examples
    --------
    >>> beta_weights(4, 1, 1).round(6).tolist()
    [0.25, 0.25, 0.25, 0.25]
    >>> beta_weights(4, 16, 1).round(3).tolist()
    [0.842, 0.14, 0.017, 0.001]
    """
    from scipy.special import betaln

    size = np.arange(n)
    logs = _log_binomials(n - 1) + betaln(size + beta, n - 1 - size + alpha) - betaln(alpha, beta)
    return _normalized(np.exp(logs))


def banzhaf_weights(n: int) -> Numbers:
    """Return the weight of each size 0 … n - 1 of the set that a player joins in a Banzhaf value.

    All sets weigh the same.

    Parameters
    ----------
    n : number of players

    Returns
    -------
    (n,) float64 that sum to 1

    References
    ----------
    Wang & Jia (2023), Data Banzhaf: A Robust Data Valuation Framework for Machine Learning, arXiv:2205.15466.

    Examples
    --------
    >>> banzhaf_weights(3).round(6).tolist()
    [0.25, 0.5, 0.25]
    """
    return _normalized(np.exp(_log_binomials(n - 1) - (n - 1) * np.log(2)))


def _log_binomials(n: int) -> Numbers:
    """Return the logarithms of the numbers of sets of each size 0 … n."""
    from scipy.special import gammaln

    size = np.arange(n + 1)
    logs: Numbers = gammaln(n + 1) - gammaln(size + 1) - gammaln(n - size + 1)
    return logs


def _normalized(weights: Numbers) -> Numbers:
    normalized: Numbers = weights / weights.sum()
    return normalized


@dataclass(frozen=True, slots=True)
class _Estimator:
    """Factors of the utility of a set of each size in the estimates of its members and of the other players."""

    chance: Numbers
    """Probability with which a size is drawn, (n + 1,); 0 for 0 and n."""

    member: Numbers
    """Factor for members, (n + 1,)."""

    other: Numbers
    """Factor for players that are not members, (n + 1,), at most 0."""

    @classmethod
    def from_weights(cls, weights: Numbers) -> _Estimator:
        """Choose the chances of sizes that minimize the mean of the squared factors of a player."""
        n = len(weights)
        size = np.arange(1, n)
        joined, left = weights[:-1], weights[1:]  # of the set without the player, for members and for others
        chance, member, other = np.zeros((3, n + 1))
        chance[1:n] = _normalized(np.sqrt(joined**2 * n / size + left**2 * n / (n - size)))
        positive = chance > 0
        member[1:n], other[1:n] = joined * n / size, -left * n / (n - size)
        member[positive] /= chance[positive]
        other[positive] /= chance[positive]
        return cls(chance, member, other)


def semivalues(
    n: int,
    weights: Numbers,
    utility: Utility,
    empty: float,
    samples: int,
    rng: np.random.Generator,
    advance: Advance | None = None,
) -> tuple[Numbers, Numbers]:
    """Estimate semivalues from utilities of random sets, each of which counts for all players.

    A semivalue is the mean gain of utility when a player joins a set of other players, for a distribution of the size
    of this set.

    Parameters
    ----------
    n : number of players
    weights : (n,) probability of each size 0 … n - 1 of the set that a player joins
    utility : utility of a set, called from several threads, also for the set of all players
    empty : utility of the empty set
    samples : number of random sets
    rng : random generator
    advance : receives the progress

    Returns
    -------
    values : (n,) float64
    errors : (n,) float64 standard errors; 0 for one player, whose value is exact

    Notes
    -----
    Cost: samples + 1 utilities; O(samples n) time, and samples n / 8 bytes.

    Guarantee: the estimates are unbiased. The utilities of the empty set and of all players are used exactly. From
    others, a baseline for their size is subtracted, which is measured on the other half of the samples.

    Sizes are drawn with the chances that minimize a bound of the variance. For Banzhaf values these are binomial, so
    that sets are uniformly random, as in the estimator by maximum sample reuse.

    References
    ----------
    Banzhaf values by maximum sample reuse: Wang & Jia (2023), arXiv:2205.15466. Shapley values from utilities of sets
    that count for all players: Kolpaczki, Bengs, Muschalik & Hüllermeier (2024), Approximating the Shapley Value
    without Marginal Contributions, arXiv:2302.00736.
    """
    every = utility(np.ones(n, np.bool_), rng.spawn(1)[0])
    if n == 1:
        return np.array([every - empty]), np.zeros(1)
    estimator = _Estimator.from_weights(weights)
    sizes = rng.choice(n + 1, samples, p=estimator.chance)
    masks = np.empty((samples, -(-n // 8)), np.uint8)
    utilities = np.empty(samples)

    def of_sample(sample: tuple[int, np.random.Generator]) -> tuple[Flags, float]:
        number, own_rng = sample
        members = np.zeros(n, np.bool_)
        members[own_rng.permutation(n)[: sizes[number]]] = True
        return members, utility(members, own_rng)

    generators = (rng.spawn(1)[0] for _ in range(samples))
    for number, (members, value) in enumerate(map_blocks(of_sample, enumerate(generators))):
        masks[number], utilities[number] = np.packbits(members), value
        if advance is not None:
            advance(1 / samples)
    constant, residuals = _subtract_baselines(sizes, utilities, weights, empty, every)
    total, squares = np.zeros((2, n))
    for known, part in zip(constant, _contributions(masks, sizes, residuals, estimator, n), strict=True):
        contribution = known + part
        total += contribution
        squares += contribution**2
    values = total / samples
    spread = np.maximum(squares / samples - values**2, 0)
    errors: Numbers = np.sqrt(spread / max(samples - 1, 1))
    return values, errors


def _contributions(
    masks: np.ndarray, sizes: Counts, residuals: Numbers, estimator: _Estimator, n: int
) -> Iterator[Numbers]:
    """Yield the contribution of each set to the estimate of every player, (n,)."""
    for mask, size, residual in zip(masks, sizes, residuals, strict=True):
        members = np.unpackbits(mask, count=n).astype(np.bool_)
        yield residual * np.where(members, estimator.member[size], estimator.other[size])


def _subtract_baselines(
    sizes: Counts, utilities: Numbers, weights: Numbers, empty: float, every: float
) -> tuple[Numbers, Numbers]:
    """Return for each set the known part of the estimate, and the utility above the baseline of its size.

    The baseline of a half of the sets interpolates the mean utilities of the other half.
    """
    n = len(weights)
    constant, residuals = np.empty(len(sizes)), np.empty(len(sizes))
    half = np.arange(len(sizes)) % 2 == 0
    for part in (half, ~half):
        order = np.argsort(sizes[~part], kind="stable")
        bins = [one for one in np.array_split(order, _BINS) if len(one)]
        x = [0.0, *(float(sizes[~part][one].mean()) for one in bins), float(n)]
        y = [empty, *(float(utilities[~part][one].mean()) for one in bins), every]
        baseline = np.interp(np.arange(n + 1), x, y)
        inner = (baseline[1:n] * (weights[:-1] - weights[1:])).sum()
        constant[part] = weights[-1] * every - weights[0] * empty + inner
        residuals[part] = utilities[part] - baseline[sizes[part]]
    return constant, residuals

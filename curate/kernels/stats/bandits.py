"""Indices of three bandit algorithms, from the rewards of each arm so far."""

from __future__ import annotations

import numpy as np

from curate.kernels.types import Counts, Flags, Numbers


def ucb(mean: Numbers, counts: Counts, exploration: float) -> Numbers:
    """Compute upper confidence bounds: mean_i + α √(2 ln Σ_j T_j / T_i); infinite for arms never drawn from.

    Parameters
    ----------
    mean : (k,) mean reward of each arm so far; ignored where ``counts`` is 0
    counts : (k,) T, number of rewards of each arm
    exploration : α, at least 0, in units of the reward; 0 uses the means alone

    Returns
    -------
    (k,) float64; play the largest

    Notes
    -----
    Cost: O(k).

    References
    ----------
    Auer, Cesa-Bianchi & Fischer (2002), "Finite-time analysis of the multiarmed bandit problem", Machine Learning 47,
    where α is 1 and rewards are in [0, 1].

    Examples
    --------
    >>> ucb(np.array([0.3, 0.1, 0.2]), np.array([5, 1, 2]), 0.1).round(5).tolist()
    [0.3912, 0.30393, 0.3442]
    """
    bonus = exploration * np.sqrt(2 * np.log(max(int(counts.sum()), 1)) / np.maximum(counts, 1))
    return np.where(counts > 0, mean + bonus, np.inf)


def thompson(mean: Numbers, counts: Counts, exploration: float, rng: np.random.Generator) -> Numbers:
    """Draw from the posterior of each arm's mean: N(mean_i, σ² / T_i); infinite for arms never drawn from.

    This is the posterior for Gaussian rewards of standard deviation σ under a flat prior.

    Parameters
    ----------
    mean, counts : as in ``ucb``
    exploration : σ, at least 0, in units of the reward; 0 uses the means alone
    rng : random generator

    Returns
    -------
    (k,) float64; play the largest

    Notes
    -----
    Cost: O(k).

    References
    ----------
    Thompson (1933), doi:10.1093/biomet/25.3-4.285; Lattimore & Szepesvári (2020), Bandit Algorithms, theorem 36.3.

    Examples
    --------
    >>> thompson(np.array([0.3, 0.1]), np.array([5, 0]), 0.0, np.random.default_rng(0)).tolist()
    [0.3, inf]
    """
    noise = rng.standard_normal(len(mean)) / np.sqrt(np.maximum(counts, 1))
    return np.where(counts > 0, mean + exploration * noise, np.inf)


def exp3(estimate: Numbers, available: Flags, exploration: float) -> Numbers:
    """Compute the probability of each available arm: (1 − γ) w_i / Σ w + γ / k with w_i = exp(γ estimate_i / k).

    Parameters
    ----------
    estimate : (k,) sum over an arm's plays of reward / probability of the play, rewards in [0, 1]
    available : (k,) bool, which arms can be played, at least one; the others have probability 0
    exploration : γ in (0, 1], the share of uniform plays, and the learning rate

    Returns
    -------
    (k,) float64, sum 1

    Notes
    -----
    Cost: O(k).

    References
    ----------
    Auer, Cesa-Bianchi, Freund & Schapire (2002), "The nonstochastic multiarmed bandit problem", SIAM Journal on
    Computing 32, section 3.

    Examples
    --------
    >>> exp3(np.array([0.0, 0.0, 9.0]), np.array([True, True, False]), 0.1).tolist()
    [0.5, 0.5, 0.0]
    """
    exponents = exploration / len(estimate) * np.where(available, estimate, -np.inf)
    weights = np.exp(exponents - exponents.max())
    probabilities: Numbers = (1 - exploration) * weights / weights.sum() + exploration * available / available.sum()
    return probabilities

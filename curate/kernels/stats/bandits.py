"""How three bandit algorithms judge their arms, from what each arm has given so far."""

from __future__ import annotations

import numpy as np

from curate.kernels.types import Counts, Flags, Numbers


def ucb(mean: Numbers, drawn: Counts, exploration: float) -> Numbers:
    """Upper confidence bounds: mean_i + α √(2 ln Σ_j T_j / T_i); infinite for an arm that was never drawn from.

    Parameters
    ----------
    mean : (k,) mean reward of each arm so far; not read where ``drawn`` is 0
    drawn : (k,) T, rewards seen of each arm
    exploration : α, at least 0, in units of the reward; 0: the means alone

    Returns
    -------
    (k,) float64; play the largest. Cost: O(k).

    References
    ----------
    Auer, Cesa-Bianchi & Fischer (2002), "Finite-time analysis of the multiarmed bandit problem", Machine Learning 47,
    where α is 1 and rewards are in [0, 1].

    >>> ucb(np.array([0.3, 0.1, 0.2]), np.array([5, 1, 2]), 0.1).round(5).tolist()
    [0.3912, 0.30393, 0.3442]
    """
    bonus = exploration * np.sqrt(2 * np.log(max(int(drawn.sum()), 1)) / np.maximum(drawn, 1))
    return np.where(drawn > 0, mean + bonus, np.inf)


def thompson(mean: Numbers, drawn: Counts, exploration: float, rng: np.random.Generator) -> Numbers:
    """A draw from what is believed of each arm's mean: N(mean_i, σ² / T_i); infinite for an arm never drawn from.

    That is the posterior for Gaussian rewards of standard deviation σ under a flat prior.

    Parameters
    ----------
    mean, drawn : as in ``ucb``
    exploration : σ, at least 0, in units of the reward; 0: the means alone

    Returns
    -------
    (k,) float64; play the largest. Cost: O(k).

    References
    ----------
    Thompson (1933), doi:10.1093/biomet/25.3-4.285; Lattimore & Szepesvári (2020), Bandit Algorithms, theorem 36.3.

    >>> thompson(np.array([0.3, 0.1]), np.array([5, 0]), 0.0, np.random.default_rng(0)).tolist()
    [0.3, inf]
    """
    noise = rng.standard_normal(len(mean)) / np.sqrt(np.maximum(drawn, 1))
    return np.where(drawn > 0, mean + exploration * noise, np.inf)


def exp3(estimate: Numbers, available: Flags, exploration: float) -> Numbers:
    """The probability of each arm: (1 − γ) w_i / Σ w + γ / k with w_i = exp(γ estimate_i / k), over available arms.

    Parameters
    ----------
    estimate : (k,) sum over an arm's plays of reward / probability of the play, rewards in [0, 1]
    available : (k,) which arms can be played, at least one; the others have probability 0
    exploration : γ in (0, 1], the share of plays that are uniform, and the rate of learning

    Returns
    -------
    (k,) float64, sum 1. Cost: O(k).

    References
    ----------
    Auer, Cesa-Bianchi, Freund & Schapire (2002), "The nonstochastic multiarmed bandit problem", SIAM Journal on
    Computing 32, section 3.

    >>> exp3(np.array([0.0, 0.0, 9.0]), np.array([True, True, False]), 0.1).tolist()
    [0.5, 0.5, 0.0]
    """
    power = exploration / len(estimate) * np.where(available, estimate, -np.inf)
    weight = np.exp(power - power.max())
    probability: Numbers = (1 - exploration) * weight / weight.sum() + exploration * available / available.sum()
    return probability

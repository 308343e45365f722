"""Quad: bandit over clusters that draws from those with good rewards so far or few draws."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Le

from curate.kernels.stats.bandits import exp3, thompson, ucb
from curate.kernels.stats.distributions import min_max_scale
from curate.kernels.types import Codes, Counts, Flags, Numbers, Rows, Vector
from curate.plugins.batches import Pool
from curate.plugins.interfaces import ScoreName, selector
from curate.plugins.results import Selection

Policy = Literal["ucb", "thompson", "exp3"]


def quad(
    reward: Vector,
    cluster: Codes,
    budget: int,
    rng: np.random.Generator,
    *,
    policy: Policy = "ucb",
    exploration: float = 0.1,
    epochs: int = 1,
    clusters_per_round: int = 1,
    samples_per_cluster: int = 1,
    min_reward: float | None = None,
) -> tuple[Rows, ...]:
    """Draw rows from clusters as a bandit plays arms, and update it with the rewards of the drawn rows.

    In every round the policy picks clusters, and some rows of each that were not drawn before are drawn. Their rewards,
    as shares of the pool's range, update the policy. The rows are kept, unless the mean reward of all rows drawn from
    their cluster is not above ``min_reward``. If this holds for every cluster with remaining rows, drawing stops: the
    rest of the budget is filled with rows of the clusters of highest mean. The next epoch continues with the updated
    policy, and draws rows used by fewer epochs first.

    Parameters
    ----------
    reward : (n,) float32, finite, higher = better; the reward of a row is read when it is drawn, the range at the start
    cluster : (n,) int32; rows of cluster -1 form a cluster
    budget : number of rows in each epoch, 0 <= budget <= n
    rng : random generator
    policy : "ucb" and "thompson" pick the clusters of largest index, ties to the lowest cluster, after each was drawn
        from once; "exp3" draws clusters by their probabilities
    exploration : at least 0; α of "ucb" and σ of "thompson" in units of the range of rewards; γ in (0, 1] of "exp3"
    epochs : number of epochs, at least 1
    clusters_per_round : k, clusters picked with the knowledge at the beginning of the round
    samples_per_cluster : b, maximum number of rows drawn of each
    min_reward : τ, in units of ``reward``; None = all drawn rows are kept

    Returns
    -------
    ``epochs`` arrays of (budget,) rows in the order they were taken; without ``min_reward`` a smaller budget with the
        same rng gives a prefix of the first epoch

    Notes
    -----
    Cost: O(epochs n log n) time, and O(clusters) for each cluster picked; O(n) memory.

    Guarantee: exactly the budget, no row twice in an epoch.

    Deviations: the range of rewards is known, so ``exploration`` has a unit. The paper stops short of the budget if no
    cluster reaches the threshold. The authors' code also shares rewards among neighboring clusters, and takes many more
    rows of a winning cluster than it evaluated.

    References
    ----------
    Zhang et al. (2025), Quad, arXiv:2409.16986. The policies: see ``curate.kernels.stats.bandits``.

    Examples
    --------
    >>> reward, cluster = np.array([0, 0, 0, 1, 1, 1], np.float32), np.array([0, 0, 0, 1, 1, 1], np.int32)
    >>> (epoch,) = quad(reward, cluster, 4, np.random.default_rng(0), exploration=0)
    >>> sorted(epoch.tolist())[1:]
    [3, 4, 5]
    """
    if not budget:
        return (np.empty(0, np.intp),) * epochs
    _, arm_of_row = np.unique(cluster, return_inverse=True)
    minimum = float(reward.min())
    reward_range = float(reward.max()) - minimum or 1.0
    threshold = -np.inf if min_reward is None else (min_reward - minimum) / reward_range
    bandit = _Bandit(arm_of_row, min_max_scale(reward), policy, exploration)
    shuffled = rng.permutation(len(arm_of_row))
    n_uses = np.zeros(len(arm_of_row), np.intp)
    plan = []
    for _ in range(epochs):
        queue = shuffled[np.lexsort((n_uses[shuffled], arm_of_row[shuffled]))]  # by cluster, then by use, then random
        rows = bandit.epoch(queue, budget, threshold, clusters_per_round, samples_per_cluster, rng)
        n_uses[rows] += 1
        plan.append(rows)
    return tuple(plan)


class _Bandit:
    """State of each cluster, across epochs."""

    def __init__(self, arm: Rows, reward: Numbers, policy: Policy, exploration: float) -> None:
        self.arm, self.reward, self.policy, self.exploration = arm, reward, policy, exploration
        self.size: Counts = np.bincount(arm)
        self.drawn = np.zeros_like(self.size)
        self.mean = np.zeros(len(self.size))
        self.estimate = np.zeros(len(self.size))
        """Rewards divided by the probabilities of their plays, for exp3."""

    def epoch(
        self, queue: Rows, budget: int, threshold: float, picks: int, samples: int, rng: np.random.Generator
    ) -> Rows:
        """Return ``budget`` rows of ``queue``, which contains the rows of one cluster after the other."""
        ends, n_left = np.cumsum(self.size), self.size.copy()
        kept_blocks = [queue[:0]]
        n_missing = budget
        while n_missing and (n_left[(self.drawn == 0) | (self.mean > threshold)] > 0).any():
            for arm, probability in self.pick(n_left > 0, picks, rng):
                count = min(samples, int(n_left[arm]), n_missing)
                if not count:
                    continue
                rows = queue[ends[arm] - n_left[arm] :][:count]
                n_left[arm] -= count
                self.learn(arm, self.reward[rows], probability)
                if self.mean[arm] > threshold:
                    kept_blocks.append(rows)
                    n_missing -= count
        chosen_rows = np.concatenate(kept_blocks)
        other_rows = queue[~np.isin(queue, chosen_rows)] if n_missing else queue[:0]
        best_first = np.argsort(-self.mean[self.arm[other_rows]], kind="stable")
        return np.concatenate((chosen_rows, other_rows[best_first[:n_missing]]))

    def pick(self, available: Flags, picks: int, rng: np.random.Generator) -> list[tuple[int, float]]:
        """Return clusters to draw from, and the probability of each pick."""
        if self.policy == "exp3":
            probabilities = exp3(self.estimate, available, self.exploration)
            arms = rng.choice(len(probabilities), picks, p=probabilities).tolist()
            return [(arm, float(probabilities[arm])) for arm in arms]
        if self.policy == "ucb":
            index = ucb(self.mean, self.drawn, self.exploration)
        else:
            index = thompson(self.mean, self.drawn, self.exploration, rng)
        index[~available] = -np.inf
        picked = []
        for _ in range(min(picks, int(np.count_nonzero(available)))):
            picked.append((int(index.argmax()), 1.0))
            index[picked[-1][0]] = -np.inf
        return picked

    def learn(self, arm: int, rewards: Numbers, probability: float) -> None:
        """Update the state of a cluster with rewards."""
        self.drawn[arm] += len(rewards)
        self.mean[arm] += (rewards - self.mean[arm]).sum() / self.drawn[arm]
        self.estimate[arm] += rewards.mean() / probability


@selector(
    version=1,
    scope="merge",
    reads={"cluster", "quality", "scores"},
    cost="O(n log n + k c) for c clusters",
    guarantee="only the regret bound of the policy",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Quad:
    """Keep rows of clusters with high rewards, and some of all others: a bandit over clusters.

    Use it if quality differs between clusters, such as topics or sources, and you want most rows from the good ones
    without losing the others. Within a cluster rows are drawn at random, so a good row of a poor cluster is rarely
    kept; to rank single rows use ``top_k`` or ``mmr``.

    Without ``by`` and without a quality all rewards are equal, and the clusters take turns. Gains are rewards. With
    several epochs, the weight of a row is the number of epochs that use it.

    Notes
    -----
    Deviations: rewards are scores, known for every row; in the paper they are influences on a language model, which are
    so expensive that only drawn rows are evaluated (the scorer influence is their form for one softmax layer). One row
    of one cluster at a time, where the authors' code evaluates 10 rows of each of 50 out of 10,000 clusters: pools here
    have some hundreds of clusters, which such rounds would visit equally. The budget is always met.

    References
    ----------
    Zhang et al. (2025), "Harnessing diversity for important data selection in pretraining large language models",
    arXiv:2409.16986. Auer, Cesa-Bianchi & Fischer (2002), "Finite-time analysis of the multiarmed bandit problem",
    Machine Learning 47; Auer, Cesa-Bianchi, Freund & Schapire (2002), "The nonstochastic multiarmed bandit problem",
    SIAM Journal on Computing 32; Thompson (1933), doi:10.1093/biomet/25.3-4.285.
    """

    by: ScoreName | None = None
    """Score used as reward, oriented so that higher is better; by default, the quality."""

    policy: Policy = "ucb"
    """Policy that picks clusters: upper confidence bounds, as in the paper; Thompson sampling, with Gaussian rewards
    and a flat prior; or exp3, which assumes no distribution of rewards, and learns far more slowly: hardly anything in
    10,000 picks of 300 clusters."""

    exploration: Annotated[float, Ge(0)] = 0.1
    """Amount of exploration: α of ucb and the standard deviation of rewards for thompson, in units of the range of
    rewards; for exp3 γ, above 0 and at most 1, the share of random picks."""

    epochs: Annotated[int, Ge(1), Le(1_000)] = 1
    """Number of planned epochs; the budget is that of each. Later epochs use the rewards of earlier ones, and prefer
    rows that fewer epochs have used."""

    clusters_per_round: Annotated[int, Ge(1), Le(1_000_000)] = 1
    """Number of clusters picked before the policy is updated."""

    samples_per_cluster: Annotated[int, Ge(1), Le(1_000_000)] = 1
    """Number of rows drawn of a cluster each time it is picked."""

    min_reward: float | None = None
    """Rows of a cluster are kept while the mean reward of all rows drawn from it is above this, in units of the score,
    oriented so that higher is better; if no cluster reaches it, those of highest mean fill the budget."""

    def __post_init__(self) -> None:
        if self.policy == "exp3" and not 0 < self.exploration <= 1:
            raise ValueError("exploration: must be above 0 and at most 1 with policy exp3")

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> Selection:
        reward = pool.quality if self.by is None else pool.require_score(self.by, "quad", oriented=True)
        plan = quad(
            reward,
            pool.cluster,
            budget,
            rng,
            policy=self.policy,
            exploration=self.exploration,
            epochs=self.epochs,
            clusters_per_round=self.clusters_per_round,
            samples_per_cluster=self.samples_per_cluster,
            min_reward=self.min_reward,
        )
        return Selection.from_epochs(plan, reward, ("not drawn from its cluster",))

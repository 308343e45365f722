"""Quad: a bandit over the clusters, which draws from those that gave good rows so far or have hardly been looked at."""

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
    """Draw rows from clusters as a bandit plays arms, and learn from the rewards of the rows drawn.

    In every round the policy picks clusters, and some rows of each that were not drawn before are. Their rewards, as
    shares of the pool's range, are told to the policy. The rows are kept, unless the mean reward of all that was drawn
    from their cluster is not above ``min_reward``. When that is so of every cluster with rows left, no more is drawn:
    the rest of the budget is filled with rows of the clusters of highest mean. The next epoch goes on from what was
    learnt, and draws rows that fewer epochs have used first.

    Parameters
    ----------
    reward : (n,) float32, finite, higher = better; a row's is looked at when it is drawn, the range at the outset
    cluster : (n,) int32; the rows of cluster -1 are a cluster of their own
    budget : number of rows in each epoch, 0 <= budget <= n
    policy : "ucb" and "thompson" pick the clusters of largest index, ties to the lowest cluster, after each was drawn
        from once; "exp3" draws clusters by their probabilities, each time anew
    exploration : at least 0; α of "ucb" and σ of "thompson" in units of the range of rewards; γ in (0, 1] of "exp3"
    epochs : number of epochs, at least 1
    clusters_per_round : k, picked on what is known at the beginning of the round
    samples_per_cluster : b, rows drawn of each at most
    min_reward : τ, in units of ``reward``; None = all rows drawn are kept

    Returns
    -------
    ``epochs`` times (budget,) rows in the order they were taken; without ``min_reward`` a smaller budget with the same
    rng gives the first rows of the first epoch

    Cost: O(epochs n log n) time, and O(clusters) for each cluster picked; O(n) memory. Guarantee: exactly the budget,
    none twice in an epoch.

    References
    ----------
    Zhang et al. (2025), Quad, arXiv:2409.16986. The policies: see ``curate.kernels.stats.bandits``.

    Deviations: the range of rewards is known, so that ``exploration`` has a unit. The paper stops short of the budget
    when no cluster clears the threshold. The authors' code also shares rewards among neighbouring clusters, and takes
    many more rows of a winning cluster than it judged.

    >>> reward, cluster = np.array([0, 0, 0, 1, 1, 1], np.float32), np.array([0, 0, 0, 1, 1, 1], np.int32)
    >>> (epoch,) = quad(reward, cluster, 4, np.random.default_rng(0), exploration=0)
    >>> sorted(epoch.tolist())[1:]
    [3, 4, 5]
    """
    if not budget:
        return (np.empty(0, np.intp),) * epochs
    _, arm = np.unique(cluster, return_inverse=True)
    low = float(reward.min())
    span = float(reward.max()) - low or 1.0
    threshold = -np.inf if min_reward is None else (min_reward - low) / span
    bandit = _Bandit(arm, min_max_scale(reward), policy, exploration)
    shuffled = rng.permutation(len(arm))
    uses = np.zeros(len(arm), np.intp)
    plan = []
    for _ in range(epochs):
        queue = shuffled[np.lexsort((uses[shuffled], arm[shuffled]))]  # by cluster, in it by use, then at random
        rows = bandit.epoch(queue, budget, threshold, clusters_per_round, samples_per_cluster, rng)
        uses[rows] += 1
        plan.append(rows)
    return tuple(plan)


class _Bandit:
    """What is known of each cluster, from epoch to epoch."""

    def __init__(self, arm: Rows, reward: Numbers, policy: Policy, exploration: float) -> None:
        self.arm, self.reward, self.policy, self.exploration = arm, reward, policy, exploration
        self.size: Counts = np.bincount(arm)
        self.drawn = np.zeros_like(self.size)
        self.mean = np.zeros(len(self.size))
        self.estimate = np.zeros(len(self.size))
        """Of exp3: rewards over the probabilities of the plays that gave them."""

    def epoch(
        self, queue: Rows, budget: int, threshold: float, picks: int, samples: int, rng: np.random.Generator
    ) -> Rows:
        """``budget`` rows of ``queue``, which has the rows of one cluster after the other."""
        ends, left = np.cumsum(self.size), self.size.copy()
        kept = [queue[:0]]
        missing = budget
        while missing and (left[(self.drawn == 0) | (self.mean > threshold)] > 0).any():
            for arm, probability in self.pick(left > 0, picks, rng):
                count = min(samples, int(left[arm]), missing)
                if not count:
                    continue
                rows = queue[ends[arm] - left[arm] :][:count]
                left[arm] -= count
                self.learn(arm, self.reward[rows], probability)
                if self.mean[arm] > threshold:
                    kept.append(rows)
                    missing -= count
        chosen = np.concatenate(kept)
        rest = queue[~np.isin(queue, chosen)] if missing else queue[:0]
        best_first = np.argsort(-self.mean[self.arm[rest]], kind="stable")
        return np.concatenate((chosen, rest[best_first[:missing]]))

    def pick(self, available: Flags, picks: int, rng: np.random.Generator) -> list[tuple[int, float]]:
        """Clusters to draw from, and how probable each pick was."""
        if self.policy == "exp3":
            probability = exp3(self.estimate, available, self.exploration)
            arms = rng.choice(len(probability), picks, p=probability).tolist()
            return [(arm, float(probability[arm])) for arm in arms]
        if self.policy == "ucb":
            index = ucb(self.mean, self.drawn, self.exploration)
        else:
            index = thompson(self.mean, self.drawn, self.exploration, rng)
        index[~available] = -np.inf
        best = []
        for _ in range(min(picks, int(np.count_nonzero(available)))):
            best.append((int(index.argmax()), 1.0))
            index[best[-1][0]] = -np.inf
        return best

    def learn(self, arm: int, rewards: Numbers, probability: float) -> None:
        """Take in what a cluster gave."""
        self.drawn[arm] += len(rewards)
        self.mean[arm] += (rewards - self.mean[arm]).sum() / self.drawn[arm]
        self.estimate[arm] += rewards.mean() / probability


@selector(
    version=1,
    reads={"cluster", "quality", "scores"},
    cost="O(n log n + k c) for c clusters",
    guarantee="none on the whole; the policy's regret",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Quad:
    """Keep rows of the clusters that give good ones, and some of all the others: quality by reward, variety by trying.

    Within a cluster rows are drawn at random, so that a good row of a poor cluster is rarely kept. Without ``by`` and
    without a quality all rewards are alike, and the clusters take turns. Gains are rewards. With more epochs, the
    weight of a row counts those that it is in.

    References
    ----------
    Zhang et al. (2025), "Harnessing diversity for important data selection in pretraining large language models",
    arXiv:2409.16986. Auer, Cesa-Bianchi & Fischer (2002), "Finite-time analysis of the multiarmed bandit problem",
    Machine Learning 47; Auer, Cesa-Bianchi, Freund & Schapire (2002), "The nonstochastic multiarmed bandit problem",
    SIAM Journal on Computing 32; Thompson (1933), doi:10.1093/biomet/25.3-4.285.

    Deviations: rewards are scores, which every row has by then; to the paper they are influences on a language model,
    which cost so much that only rows drawn are judged (the scorer influence is their form for one softmax layer). One
    row of one cluster at a time, where the authors' code judges 10 rows of each of 50 out of 10,000 clusters: pools
    here have some hundreds of clusters, which such rounds would go through alike. The budget is always met.
    """

    by: ScoreName | None = None
    """The score that is the reward, turned so that higher is better; without it, the quality."""

    policy: Policy = "ucb"
    """How clusters are picked: by upper confidence bounds, as in the paper; by Thompson sampling, with Gaussian rewards
    and a flat prior; or by exp3, which takes rewards to follow no distribution, and learns far more slowly: in 10,000
    picks of 300 clusters hardly anything."""

    exploration: Annotated[float, Ge(0)] = 0.1
    """How much is tried that looks worse: α of ucb and the standard deviation that thompson takes rewards to have, in
    units of the range of rewards; with exp3 γ, above 0 and at most 1, the share of picks at random."""

    epochs: Annotated[int, Ge(1), Le(1_000)] = 1
    """How many epochs are planned; the budget is that of each. What one has learnt the next one knows, and in a cluster
    the rows come first that fewer epochs have used."""

    clusters_per_round: Annotated[int, Ge(1), Le(1_000_000)] = 1
    """Clusters picked before the next look at what they gave."""

    samples_per_cluster: Annotated[int, Ge(1), Le(1_000_000)] = 1
    """Rows drawn of a cluster each time that it is picked."""

    min_reward: float | None = None
    """Rows of a cluster are kept while the mean reward of all that was drawn from it is above this, in units of the
    score, turned so that higher is better; when that holds of no cluster, those of highest mean fill the budget."""

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

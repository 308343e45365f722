"""Classifier of the rows of a task against rows of the pool, on embeddings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt

from curate.errors import DataError
from curate.kernels.parallel import block_slices, map_blocks
from curate.kernels.stats.calibration import auc_interval
from curate.kernels.stats.fold_classifiers import N_FOLDS, fit_folds, fold_logits
from curate.kernels.stats.hash_folds import assign_folds
from curate.kernels.stats.hash_sampling import content_order, hash_vectors
from curate.kernels.types import Counts, Hashes, Matrix
from curate.plugins.batches import ScoreBatch, TargetRows, require
from curate.plugins.interfaces import OutputColumn, scorer
from curate.plugins.results import Scores

_ROWS = 4096
_SALT = 0x5EED


def hash_rows(x: Matrix) -> Hashes:
    """Hash vectors with a fixed key, so that copies in the target and in the pool are in the same fold."""
    return hash_vectors(x, np.random.default_rng(_SALT))


@scorer(
    version=1,
    reads={"embedding", "target"},
    within="corpus",
    columns=(OutputColumn(higher_is_better=True, unit="nats", higher_means="likelier a row of the target"),),
    cost="O(n d), and a few fits",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class TargetClassifier:
    """Log-odds that a row is one of the target rather than of the pool, by a classifier of their embeddings.

    A baseline for ``dsir`` and ``rds_plus``: the odds estimate the ratio of the two densities, so ``{use:
    gumbel_top_k, quality: target_classifier}`` samples a selection that is distributed like the target, and ``top_k``
    keeps the rows most typical of it, on which a model had the best accuracy in a test (page Evidence). With few target
    rows, similarity (``target_similarity``) needs less data.
    ``quality_classifier`` is the same for words and files of good and bad texts. Needs a section ``target``.

    Five logistic regressions are fitted, each without a fifth of the distinct vectors, and every row is scored by the
    one that did not see it or a copy of it. The log and the report have the area under the ROC curve on held-out rows;
    at 0.5, the target does not differ from the pool. Both sides have the same total weight, so 0 means as likely from
    either.

    References
    ----------
    Bickel, Brückner & Scheffer (2007), "Discriminative learning for differing training and test distributions", ICML,
    doi:10.1145/1273496.1273507. Brown et al. (2020), arXiv:2005.14165, appendix A.
    """

    sample_size: Annotated[int, Ge(1)] = 50_000
    """Maximum number of rows of the pool to fit on, sampled by their content."""

    l2_penalty: Annotated[float, Gt(0)] = 0.1
    """L2 penalty: half of it times the squared weights is added to the sum of the losses."""

    def score(self, batch: ScoreBatch, rng: np.random.Generator) -> Scores:  # noqa: ARG002 - sampled by content
        from sklearn.metrics import roc_auc_score

        x, target = require(batch.embeddings), require(batch.target)
        targets = distinct_rows(target)
        sample = x[content_order(x, _SALT)[: self.sample_size]]
        vectors = np.concatenate([targets, sample])
        positive = np.arange(len(vectors)) < len(targets)
        folds = assign_folds(hash_rows(vectors), N_FOLDS)
        if not has_several_folds(folds[positive]):
            message = f"target_classifier: {len(targets)} distinct target rows are too few to leave some out"
            raise DataError(message, hint="add target rows, or use target_similarity, which needs only one")
        if not has_several_folds(folds[~positive]):
            message = "all scores are 0: the pool has too few distinct rows to leave some out"
            return Scores(np.zeros(len(x), np.float32), warnings=(message,))
        weights, bias = fit_folds(vectors, positive, folds, self.l2_penalty)
        area = float(roc_auc_score(positive, fold_logits(vectors, folds, weights, bias)))
        low, high = auc_interval(area, len(targets), len(sample))
        values = np.empty(len(x), np.float32)

        def block(rows: slice) -> None:
            values[rows] = fold_logits(x[rows], assign_folds(hash_rows(x[rows]), N_FOLDS), weights, bias)

        for _ in map_blocks(block, block_slices(len(x), _ROWS)):
            pass
        warning = f"the target does not differ from the pool: the area under the ROC curve is {area:.3f}"
        return Scores(values, warnings=(warning,) * (low <= 0.5), facts={"auc": area, "auc_low": low, "auc_high": high})


def distinct_rows(target: TargetRows) -> Matrix:
    """Return the distinct vectors of the target rows, in the order of their hashes."""
    _, first = np.unique(hash_rows(target.embeddings), return_index=True)
    return target.embeddings[first]


def has_several_folds(folds: Counts) -> bool:
    """Return whether some rows are left whichever fold is left out."""
    return len(np.unique(folds)) > 1

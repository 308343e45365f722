"""Incumbents: rows of the published selection that a new selection keeps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from curate.errors import PluginError
from curate.kernels.types import Rows
from curate.plugins.results import Selection

DISPLACED = "displaced by a published row that refresh.keep_previous_weight keeps"
"""Reason for dropping a row that would have been chosen without the incumbents."""


@dataclass(frozen=True, slots=True)
class Incumbents:
    """Published rows among n rows, and the weight with which a new selection keeps them."""

    published: NDArray[np.bool_]
    """Whether each row is published, shape (n,)."""

    weight: float
    """Weight in [0, 1]: 0 ignores the published rows, 1 keeps all of them and fills the remaining budget."""

    def take(self, rows: Rows) -> Incumbents:
        """Return the incumbents among some of the rows."""
        return Incumbents(self.published[rows], self.weight)


def keep_incumbents(fresh: Selection, incumbents: Incumbents, reselect: Callable[[Rows, int], Selection]) -> Selection:
    """Return a selection of the size of ``fresh`` that drops at most a share ``1 - weight`` of the published rows.

    Of the published rows that ``fresh`` drops, those that must stay replace its last new rows. More of
    them are dropped only if the budget is smaller than their number.

    Parameters
    ----------
    fresh : Selection
        Selection of the selector from n rows, ignoring the published rows.
    reselect : Callable[[Rows, int], Selection]
        Function that runs the selector on some of the rows and returns positions among them.

    Raises
    ------
    PluginError
        The selector returns weights, which are valid only for its own selection.
    """
    published, weight = incumbents.published, incumbents.weight
    k, n = len(fresh.indices), len(published)
    is_published = published[fresh.indices]
    unselected = np.setdiff1d(np.flatnonzero(published), fresh.indices)
    n_droppable = max(int((1 - weight) * published.sum() + 1e-9), int(published.sum()) - k)
    if (n_kept := len(unselected) - n_droppable) <= 0:
        return fresh
    if fresh.weight is not None:
        message = "a selector that returns weights cannot keep published rows"
        raise PluginError(message, hint="set refresh.keep_previous_weight: 0")
    kept = np.flatnonzero(is_published | (np.cumsum(~is_published) <= k - int(is_published.sum()) - n_kept))
    added = reselect(unselected, n_kept)
    order = np.concatenate([fresh.indices[kept], unselected[added.indices]])
    reason = np.zeros(n, np.int16) if fresh.reason is None else fresh.reason.copy()
    reason[np.setdiff1d(fresh.indices, order)] = len(fresh.reasons)
    answer = replace(
        fresh,
        indices=order,
        gain=np.concatenate([fresh.gain[kept], added.gain]),
        reasons=(*fresh.reasons, DISPLACED),
        reason=reason,
    )
    if fresh.representative is None:
        return answer
    chosen = np.zeros(n + 1, bool)  # the last element represents -1
    chosen[order] = True
    dropped = ~chosen[fresh.representative]
    similarity = None if fresh.similarity is None else np.where(dropped, np.float32(np.nan), fresh.similarity)
    return replace(answer, representative=np.where(dropped, -1, fresh.representative), similarity=similarity)

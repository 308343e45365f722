"""The published selection as an anchor: how many of its rows a new one may replace."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from curate.errors import PluginError
from curate.kernels.types import Rows
from curate.plugins.results import Selection

PLACE_TAKEN = "its place was kept for a row that is published"
"""Why a row is not chosen that would have been, but for the anchor."""


@dataclass(frozen=True, slots=True)
class Incumbents:
    """Which of n rows are published, and how firmly a new selection is held to them."""

    published: NDArray[np.bool_]
    """(n,)"""

    weight: float
    """0 gives the new selection, 1 keeps every published row and fills what is free."""

    def take(self, rows: Rows) -> Incumbents:
        """The same for some of the rows."""
        return Incumbents(self.published[rows], self.weight)


def keep_incumbents(fresh: Selection, anchor: Incumbents, again: Callable[[Rows, int], Selection]) -> Selection:
    """A selection of as many rows as ``fresh``, of which at most a share ``1 - weight`` of the published rows are gone.

    Of the published rows that ``fresh`` leaves out, those that must stay take the places of its last new rows. More of
    them go only where the budget is smaller than their number.

    Parameters
    ----------
    fresh : what the selector chooses of n rows with no regard to what is published
    again : asks the selector for its choice of some of the rows, as positions among them

    Raises
    ------
    PluginError : for a selector that weighs its rows, as the weights hold for its own choice only
    """
    published, weight = anchor.published, anchor.weight
    k, n = len(fresh.indices), len(published)
    stays = published[fresh.indices]
    left_out = np.setdiff1d(np.flatnonzero(published), fresh.indices)
    may_go = max(int((1 - weight) * published.sum() + 1e-9), int(published.sum()) - k)
    if (held := len(left_out) - may_go) <= 0:
        return fresh
    if fresh.weight is not None:
        told = "a selector that gives weights cannot be held to the published rows"
        raise PluginError(told, hint="set refresh.keep_previous_weight: 0")
    kept = np.flatnonzero(stays | (np.cumsum(~stays) <= k - int(stays.sum()) - held))
    back = again(left_out, held)
    order = np.concatenate([fresh.indices[kept], left_out[back.indices]])
    reason = np.zeros(n, np.int16) if fresh.reason is None else fresh.reason.copy()
    reason[np.setdiff1d(fresh.indices, order)] = len(fresh.reasons)
    answer = replace(
        fresh,
        indices=order,
        gain=np.concatenate([fresh.gain[kept], back.gain]),
        reasons=(*fresh.reasons, PLACE_TAKEN),
        reason=reason,
    )
    if fresh.representative is None:
        return answer
    chosen = np.zeros(n + 1, bool)  # the last stands for -1
    chosen[order] = True
    gone = ~chosen[fresh.representative]
    similarity = None if fresh.similarity is None else np.where(gone, np.float32(np.nan), fresh.similarity)
    return replace(answer, representative=np.where(gone, -1, fresh.representative), similarity=similarity)

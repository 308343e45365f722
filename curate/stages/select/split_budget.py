"""How a budget is shared: over groups by a quota, and over rows by their tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from curate.config.model import Quota, Temperature
from curate.kernels.neighbors import retention
from curate.kernels.stats import quotas
from curate.kernels.types import Rows
from curate.plugins.results import Selection


def split(quota: Quota | None, sizes: NDArray[np.intp], budget: int) -> list[int]:
    """How many rows each group may keep: they sum to ``budget``, and none exceeds its group's size."""
    return [int(share) for share in quotas.allocate(sizes, budget, _shares(quota, sizes))]


def _shares(quota: Quota | None, sizes: NDArray[np.intp]) -> NDArray[np.float64]:
    if isinstance(quota, Temperature):
        return quotas.temperature(sizes, quota.temperature)
    return quotas.balanced(sizes) if quota == "balanced" else quotas.proportional(sizes)


def merged(n: int, groups: Sequence[Rows], answers: Sequence[Selection]) -> Selection:
    """The groups' selections as one of the whole pool, their orders interleaved so that any prefix keeps the shares."""
    place = np.concatenate([(np.arange(len(a.order)) + 0.5) / max(1, len(a.order)) for a in answers])
    interleaved = np.argsort(place, kind="stable")
    order = np.concatenate([group[a.order] for group, a in zip(groups, answers, strict=True)])
    gain = np.concatenate([a.gain for a in answers])
    weight = None
    if any(a.weight is not None for a in answers):
        ones = [np.ones(len(a.order), np.float32) if a.weight is None else a.weight for a in answers]
        weight = np.concatenate(ones)[interleaved]
    reasons: dict[str, int] = {}
    reason = np.zeros(n, np.int16)
    representative = np.full(n, -1, np.intp)
    similarity = np.full(n, np.nan, np.float32)
    for group, a in zip(groups, answers, strict=True):
        codes = np.array([reasons.setdefault(text, len(reasons)) for text in a.reasons], np.int16)
        reason[group] = codes[0 if a.reason is None else a.reason]
        if a.representative is not None:
            representative[group] = np.where(a.representative < 0, -1, group[a.representative])
        if a.similarity is not None:
            similarity[group] = a.similarity
    return Selection(
        order[interleaved],
        gain[interleaved],
        weight,
        tuple(reasons),
        reason,
        representative,
        similarity,
        retention.merged(n, groups, [a.retention for a in answers]),
        _merged_epochs(groups, answers),
    )


def _merged_epochs(groups: Sequence[Rows], answers: Sequence[Selection]) -> tuple[Rows, ...] | None:
    """The groups' epoch plans as one: each epoch has the rows that every group trains on in it."""
    plans = [a.epochs for a in answers if a.epochs is not None]
    if not plans:
        return None
    return tuple(
        np.concatenate([group[rows] for group, rows in zip(groups, each, strict=True)])
        for each in zip(*plans, strict=True)
    )


def within_tokens(
    choose: Callable[[int], Selection], tokens: NDArray[np.int32], limit: int, *, prefix: bool
) -> Selection:
    """The largest selection of at most ``limit`` tokens.

    A selector with the prefix property is asked once for its order and cut; another is asked for about log2(n) sizes,
    and the largest that fits is taken.
    """
    most = int(np.searchsorted(np.cumsum(np.sort(tokens), dtype=np.int64), limit, "right"))
    if prefix:
        spent = np.cumsum(tokens[choose(most).order], dtype=np.int64)
        return choose(int(np.searchsorted(spent, limit, "right")))
    fits, low, high = choose(0), 0, most
    while low < high:
        middle = (low + high + 1) // 2
        tried = choose(middle)
        if int(tokens[tried.order].sum(dtype=np.int64)) <= limit:
            fits, low = tried, middle
        else:
            high = middle - 1
    return fits

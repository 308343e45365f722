"""Splitting of a budget over groups by a quota, and over rows by their tokens."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from curate.config.issues import suggest_name
from curate.config.model import Quota, SelectEntry, Temperature
from curate.errors import DataError
from curate.kernels.neighbors import retention
from curate.kernels.stats import quotas
from curate.kernels.types import Rows
from curate.plugins.results import Selection


@dataclass(frozen=True, slots=True)
class Groups:
    """Groups of a pool's rows, in order of their values."""

    names: tuple[str, ...]
    """Value of each group as written in a quota; "" for rows without a value."""

    rows: tuple[Rows, ...]
    """Rows of each group, ascending."""


def split(entry: SelectEntry, names: Sequence[str], sizes: NDArray[np.int64], budget: int) -> list[int]:
    """Return the part of ``budget`` for each group; no part exceeds the size of its group.

    The parts sum to ``budget``, or to less for an entry with ``at_most`` whose quota exceeds the available amounts.

    Parameters
    ----------
    entry : SelectEntry
        Entry with the quota, named in errors.
    names : Sequence[str]
        Names of the groups, as written in the quota.
    sizes : ndarray of int64
        Number of rows or tokens in each group, shape (g,).
    budget : int
        Rows or tokens, at most ``sizes.sum()``.

    Raises
    ------
    DataError
        The quota names a missing group, or amounts that exceed the groups or the budget.
    """
    if isinstance(entry.quota, Mapping):
        return _split_by_name(entry, entry.quota, names, sizes, budget)
    return [int(share) for share in quotas.allocate(sizes, budget, _shares(entry.quota, sizes))]


def _split_by_name(
    entry: SelectEntry, quota: Mapping[str, int | float], names: Sequence[str], sizes: NDArray[np.int64], budget: int
) -> list[int]:
    """Return the amounts that a quota names, and split the rest over the other groups."""
    at_most = entry.budget is not None and bool(entry.budget.at_most)
    unit = "tokens" if entry.budget is not None and entry.budget.keep_tokens is not None else "rows"
    where = f"select {entry.name}: quota"
    parts = np.zeros(len(sizes), np.int64)
    index = {name: number for number, name in enumerate(names) if name}
    for name, amount in quota.items():
        if name not in index:
            hint = suggest_name(name, [*index, "temperature"])
            raise DataError(f"{where}: no row that reaches this entry has {name!r} as its {entry.within}", hint=hint)
        required = amount if isinstance(amount, int) else math.floor(Fraction(str(amount)) * budget)
        size = int(sizes[index[name]])
        if required > size and not at_most:
            raise DataError(
                f"{where}: {name!r} requires {required:,} {unit}, but only {size:,} reach this entry",
                hint="lower the amount, or add 'at_most: true' to keep all of them",
            )
        parts[index[name]] = min(required, size)
    rest = budget - int(parts.sum())
    if rest < 0:
        raise DataError(
            f"{where}: its groups require {budget - rest:,} {unit}, but the budget is {budget:,}",
            hint="raise the budget, or lower the amounts",
        )
    others = np.where([name in quota for name in names], 0, sizes)
    if rest > others.sum() and not at_most:
        raise DataError(
            f"{where}: {rest:,} {unit} of the budget remain for the other groups, but they have only "
            f"{int(others.sum()):,}",
            hint="lower the budget, raise the amounts, or add 'at_most: true' to keep fewer",
        )
    return (parts + quotas.allocate(others, rest, quotas.proportional_shares(others))).tolist()  # type: ignore[no-any-return]


def _shares(quota: Quota | None, sizes: NDArray[np.int64]) -> NDArray[np.float64]:
    if isinstance(quota, Temperature):
        return quotas.temperature_shares(sizes, quota.temperature)
    return quotas.balanced_shares(sizes) if quota == "balanced" else quotas.proportional_shares(sizes)


def merge_selections(n: int, groups: Sequence[Rows], answers: Sequence[Selection]) -> Selection:
    """Merge the selections of groups, with their orders interleaved so that any prefix keeps the shares."""
    positions = np.concatenate([(np.arange(len(a.indices)) + 0.5) / max(1, len(a.indices)) for a in answers])
    interleaved = np.argsort(positions, kind="stable")
    order = np.concatenate([group[a.indices] for group, a in zip(groups, answers, strict=True)])
    gain = np.concatenate([a.gain for a in answers])
    weight = None
    if any(a.weight is not None for a in answers):
        ones = [np.ones(len(a.indices), np.float32) if a.weight is None else a.weight for a in answers]
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
        retention.merge_retention(n, groups, [a.retention for a in answers]),
        _merged_epochs(groups, answers),
    )


def _merged_epochs(groups: Sequence[Rows], answers: Sequence[Selection]) -> tuple[Rows, ...] | None:
    """Merge the epoch plans of groups: each epoch has the rows of all groups in that epoch."""
    plans = [a.epochs for a in answers if a.epochs is not None]
    if not plans:
        return None
    return tuple(
        np.concatenate([group[rows] for group, rows in zip(groups, each, strict=True)])
        for each in zip(*plans, strict=True)
    )


def select_within_tokens(
    choose: Callable[[int], Selection], tokens: NDArray[np.int32], limit: int, *, prefix: bool
) -> Selection:
    """Return the largest selection of at most ``limit`` tokens.

    A selector with the prefix property runs once, and its order is cut; other selectors run for about log2(n) sizes,
    and the largest selection that fits is returned.
    """
    most = int(np.searchsorted(np.cumsum(np.sort(tokens), dtype=np.int64), limit, "right"))
    if prefix:
        spent = np.cumsum(tokens[choose(most).indices], dtype=np.int64)
        return choose(int(np.searchsorted(spent, limit, "right")))
    fits, low, high = choose(0), 0, most
    while low < high:
        middle = (low + high + 1) // 2
        tried = choose(middle)
        if int(tokens[tried.indices].sum(dtype=np.int64)) <= limit:
            fits, low = tried, middle
        else:
            high = middle - 1
    return fits

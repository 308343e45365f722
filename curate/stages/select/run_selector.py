"""Execution of one entry of the select section, with its inputs from the pool, its budget and its groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.errors import DataError, PluginError
from curate.kernels.types import Rows, Vector
from curate.plugins.batches import Pool, PublishedRows
from curate.plugins.interfaces import get_scope
from curate.plugins.judging import Judge
from curate.plugins.results import Selection
from curate.pool.view import PoolView
from curate.seeds import rng_for
from curate.stages.base import plugin_call
from curate.stages.entry_tasks import selects_in_two_rounds
from curate.stages.select import split_budget
from curate.stages.select.incumbents import Incumbents, keep_incumbents
from curate.stages.select.split_budget import Groups

if TYPE_CHECKING:
    from curate.config.model import Quota, SelectEntry

S = TypeVar("S", bound=np.generic)


def choose(
    view: PoolView,
    survivors: Rows,
    entry: SelectEntry,
    seed: int,
    incumbents: Incumbents | None = None,
    published: PublishedRows | None = None,
    pool: Pool | None = None,
    judge: Judge | None = None,
) -> Selection:
    """Return the survivors that the entry keeps, as positions among them.

    ``incumbents``, ``published`` and ``pool`` are of the survivors; ``pool`` is built by default.

    Raises
    ------
    PluginError
        The selector fails or returns an invalid selection.
    ConfigError
        The budget exceeds the number of rows.
    """
    counts_tokens = entry.budget is not None and entry.budget.keep_tokens is not None
    return run(
        entry,
        build_pool(view, survivors, entry, published, judge) if pool is None else pool,
        seed,
        groups=_groups(view, survivors, entry),
        tokens=view.tokens[survivors] if counts_tokens else None,
        incumbents=incumbents,
    )


def run(
    entry: SelectEntry,
    pool: Pool,
    seed: int,
    *,
    groups: Groups | None = None,
    tokens: NDArray[np.int32] | None = None,
    incumbents: Incumbents | None = None,
) -> Selection:
    """Run the selector of an entry on a pool, or on each of its groups with a part of the budget.

    Parameters
    ----------
    entry : SelectEntry
        Entry with the selector and its budget.
    pool : Pool
        Inputs of the selector.
    seed : int
        Seed of all random choices.
    groups : Groups, optional
        Groups to select within; None for the complete pool at once.
    tokens : ndarray of int32, optional
        Number of tokens of each row, shape (n,), for a budget in tokens.
    incumbents : Incumbents, optional
        Published rows of the pool, and the weight with which they are kept.

    Raises
    ------
    PluginError
        The selector fails or returns an invalid selection.
    DataError
        A budget or a quota exceeds the number of rows.
    """
    sizes = _sizes(pool, groups, tokens)
    shares = split_shares(entry, sizes, groups)
    if groups is None:
        selections = [_share(entry, pool, seed, shares[0], tokens, incumbents)]
        selection = selections[0]
    else:
        selections, unused = [], 0
        for number, (rows, share) in enumerate(zip(groups.rows, shares, strict=True)):
            part = None if tokens is None else tokens[rows]
            limit = None if share is None else share + unused
            group_incumbents = None if incumbents is None else incumbents.take(rows)
            one = _share(entry, pool.take(rows), seed, limit, part, group_incumbents, number)
            if part is not None and limit is not None:  # unused tokens are passed to the next group
                unused = limit - int(part[one.indices].sum(dtype=np.int64))
            selections.append(one)
        selection = split_budget.merge_selections(len(pool), groups.rows, selections)
    budget = None if tokens is not None or entry.budget is None else sum(share or 0 for share in shares)
    return selection.check(len(pool), budget)


def _sizes(pool: Pool, groups: Groups | None, tokens: NDArray[np.int32] | None) -> NDArray[np.int64]:
    """Return the number of rows or tokens of each group, shape (g,); shape (1,) without groups."""
    if groups is None:
        return np.array([len(pool) if tokens is None else tokens.sum(dtype=np.int64)], np.int64)
    return np.array(
        [len(rows) if tokens is None else tokens[rows].sum(dtype=np.int64) for rows in groups.rows], np.int64
    )


def split_shares(entry: SelectEntry, sizes: NDArray[np.int64], groups: Groups | None) -> Sequence[int | None]:
    """Return the part of the budget for each group; None for a filter."""
    if entry.budget is None:
        return [None] * len(sizes)
    total = int(sizes.sum())
    budget = entry.budget.resolve_rows(total, entry.name)
    if budget is None:
        budget = entry.budget.resolve_tokens(total, entry.name) or 0
    return [budget] if groups is None else split_budget.split(entry, groups.names, sizes, budget)


def max_rows_at_once(view: PoolView, survivors: Rows, entry: SelectEntry) -> int:
    """Return the largest number of rows that the entry's selector sees at once."""
    groups = _groups(view, survivors, entry)
    return len(survivors) if groups is None else max(map(len, groups.rows))


def build_pool(
    view: PoolView,
    survivors: Rows,
    entry: SelectEntry,
    published: PublishedRows | None = None,
    judge: Judge | None = None,
) -> Pool:
    """Return the survivors with the inputs that the selector reads."""
    reads = entry.spec.plugin().traits.reads
    n, is_complete = len(survivors), len(survivors) == len(view)

    def take(array: NDArray[S]) -> NDArray[S]:
        part = array if is_complete else array[survivors]
        part.flags.writeable = False
        return part

    selector = entry.spec.build()
    quality = view.quality(entry.quality if "quality" in reads else None)
    with plugin_call(entry.spec, entry.name):
        columns = selector.columns() if "frame" in reads else ()
    texts = view.texts() if "text" in reads else None
    images = view.images() if "image" in reads else None
    try:
        return Pool(
            take(view.embeddings(entry.embedding)) if "embedding" in reads else np.zeros((n, 0), np.float32),
            take(quality),
            take(view.cluster) if "cluster" in reads else np.zeros(n, np.int32),
            {name: take(score) for name, score in view.scores.items()} if "scores" in reads else {},
            view.higher_is_better,
            view.frame(columns)[survivors] if columns else None,
            None if texts is None else texts.take(survivors),
            published,
            None if images is None else images.take(survivors),
            judge,
            view.target_rows(entry.embedding, texts="text" in reads) if "target" in reads else None,
        )
    except PluginError as error:
        raise PluginError(f"select {entry.name}: {error.message}", hint=error.hint) from error


def _groups(view: PoolView, survivors: Rows, entry: SelectEntry) -> Groups | None:
    """Return the groups of the survivors; None without ``within``."""
    return None if entry.within is None else find_groups(view, survivors, entry)


def find_groups(view: PoolView, survivors: Rows, entry: SelectEntry) -> Groups:
    """Return the groups of the survivors for an entry with ``within``."""
    return build_groups(view.groups(entry.within or "")[survivors], entry.quota)


def build_groups(values: pl.Series, quota: Quota | None) -> Groups:
    """Return the groups of rows with the same value; rows without a value are the first group.

    Raises
    ------
    DataError
        The quota names groups, but the values are lists or objects.

    >>> build_groups(pl.Series([True, False, None]), {"true": 1}).names
    ('', 'false', 'true')
    """
    codes = values.rank("dense").fill_null(0).to_numpy()
    order = np.argsort(codes, kind="stable")
    rows = np.split(order, np.flatnonzero(np.diff(codes[order])) + 1)
    if not isinstance(quota, Mapping):
        return Groups(("",) * len(rows), tuple(rows))
    first = [int(each[0]) for each in rows if len(each)]
    try:
        names = values[first].cast(pl.String).fill_null("").to_list() if first else [""]
    except pl.exceptions.PolarsError as error:
        hint = "set within to another column, or use a quota without names"
        raise DataError(f"a quota cannot name groups of {values.dtype}: {error}", hint=hint) from error
    return Groups(tuple(names), tuple(rows))


def _share(
    entry: SelectEntry,
    pool: Pool,
    seed: int,
    budget: int | None,
    tokens: NDArray[np.int32] | None,
    incumbents: Incumbents | None,
    task: int = 0,
) -> Selection:
    """Run the selector for a number of rows or, with ``tokens``, a number of tokens."""
    pool = _measure(entry, pool)
    answer = partial(_run, entry, seed, pool, incumbents, task=task)
    if tokens is None or budget is None:
        return answer(budget)
    prefix = entry.spec.plugin().traits.prefix and incumbents is None and not selects_in_two_rounds(entry)
    return split_budget.select_within_tokens(answer, tokens, budget, prefix=prefix)


def select_group(
    entry: SelectEntry, pool: Pool, seed: int, budget: int | None, incumbents: Incumbents | None, number: int
) -> Selection:
    """Run the selector on the rows of the group with this number, for a budget in rows."""
    return _share(entry, pool, seed, budget, None, incumbents, number)


_VALUES = "curate: values"
"""Score with the numbers of a ``MeasuringSelector``."""


def pool_of_values(values: Vector) -> Pool:
    """Return a pool that has nothing but the numbers of a ``MeasuringSelector`` for its rows."""
    n = len(values)
    return Pool(np.zeros((n, 0), np.float32), np.zeros(n, np.float32), np.zeros(n, np.int32), {_VALUES: values})


def _measure(entry: SelectEntry, pool: Pool) -> Pool:
    """Return the pool of the numbers of a ``MeasuringSelector``; the pool itself for other selectors."""
    selector = entry.spec.build()
    if _VALUES in pool.scores or not entry.spec.plugin().traits.has_measures or get_scope(selector) != "merge":
        return pool
    with plugin_call(entry.spec, entry.name):
        return pool_of_values(selector.measure(pool, selector.summarize(pool)))


def _run(
    entry: SelectEntry, seed: int, pool: Pool, incumbents: Incumbents | None, budget: int | None, task: int = 0
) -> Selection:
    """Run the selector, and keep published rows as the configuration requires."""
    selector = entry.spec.build()
    with plugin_call(entry.spec, entry.name):
        selection: Selection = (
            selector.choose(pool.scores[_VALUES], budget)
            if _VALUES in pool.scores
            else selector.select(pool, budget, rng_for(seed, f"select/{entry.name}", task))
        )
    planned = 0 if selection.epochs is None else len(selection.epochs)
    if planned != (entry.epochs if entry.epochs > 1 else 0):
        message = f"select {entry.name}: its plan has {planned} epochs, but its field epochs is {entry.epochs}"
        raise PluginError(message, hint="a selector must plan as many epochs as its field, and no plan for 1 epoch")
    selection = selection.check(len(pool), budget)
    if incumbents is None or budget is None:
        return selection
    return keep_incumbents(
        selection, incumbents, lambda rows, count: _run(entry, seed, pool.take(rows), None, count, task)
    )

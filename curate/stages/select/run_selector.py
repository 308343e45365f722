"""One entry of the select section: what it is handed of the pool, its budget and groups, and its answer."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from curate.errors import PluginError
from curate.kernels.types import Rows
from curate.plugins.batches import Pool, Published
from curate.plugins.results import Selection
from curate.pool.view import PoolView
from curate.seeds import rng_for
from curate.stages.base import running
from curate.stages.select import split_budget
from curate.stages.select.incumbents import Anchor, anchored

if TYPE_CHECKING:
    from curate.config.model import SelectEntry

S = TypeVar("S", bound=np.generic)


def choose(
    view: PoolView,
    survivors: Rows,
    entry: SelectEntry,
    seed: int,
    anchor: Anchor | None = None,
    published: Published | None = None,
) -> Selection:
    """What the entry keeps of the survivors: positions among them.

    ``anchor`` and ``published`` are of the survivors.

    Raises
    ------
    PluginError : a selector that fails, or breaks its promises
    ConfigError : a budget beyond the rows there are
    """
    pool = pool_of(view, survivors, entry, published)
    groups = _groups(view, survivors, entry)
    answer = partial(_run, entry, seed, pool, anchor)
    if groups is not None:
        answer = partial(_in_groups, entry, seed, pool, groups, anchor)
    if entry.budget is None:
        return answer(None).check(len(pool), None)
    rows = entry.budget.rows(len(pool), entry.name)
    if rows is not None:
        return answer(rows).check(len(pool), rows)
    tokens = view.tokens[survivors]
    limit = entry.budget.tokens(int(tokens.sum(dtype=np.int64)), entry.name) or 0
    prefix = entry.spec.plugin().traits.prefix and groups is None and anchor is None
    return split_budget.within_tokens(answer, tokens, limit, prefix=prefix).check(len(pool), None)


def most_at_once(view: PoolView, survivors: Rows, entry: SelectEntry) -> int:
    """The most rows that the entry's selector sees at once."""
    groups = _groups(view, survivors, entry)
    return len(survivors) if groups is None else max(map(len, groups))


def pool_of(view: PoolView, survivors: Rows, entry: SelectEntry, published: Published | None = None) -> Pool:
    """The survivors, with what the selector reads."""
    reads = entry.spec.plugin().traits.reads
    n, whole = len(survivors), len(survivors) == len(view)

    def taken(array: NDArray[S]) -> NDArray[S]:
        part = array if whole else array[survivors]
        part.flags.writeable = False
        return part

    selector = entry.spec.build()
    quality = view.quality(entry.quality if "quality" in reads else None)
    with running(entry.spec, entry.name):
        wanted = selector.columns() if "frame" in reads else ()
    texts = view.texts() if "text" in reads else None
    try:
        return Pool(
            taken(view.embeddings(entry.embedding)) if "embedding" in reads else np.zeros((n, 0), np.float32),
            taken(quality),
            taken(view.cluster) if "cluster" in reads else np.zeros(n, np.int32),
            {name: taken(score) for name, score in view.scores.items()} if "scores" in reads else {},
            view.higher_is_better,
            view.frame(wanted)[survivors] if wanted else None,
            None if texts is None else texts.take(survivors),
            published,
        )
    except PluginError as error:
        raise PluginError(f"select {entry.name}: {error.message}", hint=error.hint) from error


def _groups(view: PoolView, survivors: Rows, entry: SelectEntry) -> list[Rows] | None:
    """The survivors' positions in each group, groups in order of their value; None without ``within``."""
    if entry.within is None:
        return None
    codes = view.groups(entry.within)[survivors].rank("dense").fill_null(0).to_numpy()
    order = np.argsort(codes, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(codes[order])) + 1)


def _in_groups(
    entry: SelectEntry, seed: int, pool: Pool, groups: list[Rows], anchor: Anchor | None, budget: int | None
) -> Selection:
    """Run the selector on each group with its part of the budget and put the answers together."""
    sizes = np.array([len(group) for group in groups])
    shares = [None] * len(groups) if budget is None else split_budget.split(entry.quota, sizes, budget)
    answers = [
        _run(entry, seed, pool.take(group), None if anchor is None else anchor.take(group), share, number)
        for number, (group, share) in enumerate(zip(groups, shares, strict=True))
    ]
    return split_budget.merged(len(pool), groups, answers)


def _run(
    entry: SelectEntry, seed: int, pool: Pool, anchor: Anchor | None, budget: int | None, task: int = 0
) -> Selection:
    """Run the selector, and hold a budgeted one to the published rows as far as the configuration asks."""
    selector = entry.spec.build()
    with running(entry.spec, entry.name):
        answer: Selection = selector.select(pool, budget, rng_for(seed, f"select/{entry.name}", task))
    planned = 0 if answer.epochs is None else len(answer.epochs)
    if planned != (entry.epochs if entry.epochs > 1 else 0):
        message = f"select {entry.name}: its plan is of {planned} epochs, its field epochs says {entry.epochs}"
        raise PluginError(message, hint="a selector plans as many epochs as its field says, and makes no plan for 1")
    answer = answer.check(len(pool), budget)
    if anchor is None or budget is None:
        return answer
    return anchored(answer, anchor, lambda rows, held: _run(entry, seed, pool.take(rows), None, held, task))

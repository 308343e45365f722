"""Unit that each task of an entry processes, from the declarations of its plugin and its other settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from curate.config.model import Entry, SelectEntry
from curate.plugins.interfaces import get_scope

if TYPE_CHECKING:
    from curate.plugins.two_rounds import TwoRoundSelector

ONE_PROCESS = "one process"
"""Tasks of an entry that needs all rows at once."""


def describe_tasks(entry: Entry) -> str:
    """Return what each task of an entry processes if the pool has several shards."""
    if isinstance(entry, SelectEntry):
        return _describe_selection(entry)
    traits = entry.spec.plugin().traits
    return ONE_PROCESS if traits.kind == "proxy" or traits.within != "shard" else "shards"


def _describe_selection(entry: SelectEntry) -> str:
    """Return what each task of a select entry processes.

    Groups with a budget in tokens are no tasks, because the tokens that a group leaves are passed to the next. With
    published rows, each group or cluster would be compared with all of them. Scores alone are not worth dividing.
    """
    traits, scope = entry.spec.plugin().traits, get_scope(entry.spec.build())
    if traits.reads_judge:  # its replies are shared by all groups
        return ONE_PROCESS
    if scope == "row" or (scope == "merge" and traits.has_measures and entry.within is None):
        return "shards"
    counts_tokens = entry.budget is not None and entry.budget.keep_tokens is not None
    if entry.within is not None:
        has_tasks = entry.against is None and not counts_tokens and (scope != "merge" or traits.has_measures)
        return "groups" if has_tasks else ONE_PROCESS
    if scope == "sketch":
        return "partitions"
    if scope == "group":
        return "clusters" if entry.against is None else ONE_PROCESS
    return "partitions" if selects_in_two_rounds(entry) and not counts_tokens else ONE_PROCESS


def selects_in_two_rounds(entry: SelectEntry) -> bool:
    """Return whether the selector of an entry selects in two rounds."""
    if not entry.spec.plugin().traits.two_rounds:
        return False
    import numpy as np

    selector: TwoRoundSelector = entry.spec.build()
    return selector.partition(1, np.random.default_rng(0)) is not None

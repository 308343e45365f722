"""What is said, before it starts, of a selector whose time grows with the square of the rows that it sees at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from curate.config.model import SelectEntry

MIN_WARNED_ROWS = 20_000
"""Rows seen at once from which it is worth a word: below, any selector takes seconds."""


def cost_warning(entry: SelectEntry, rows: int, largest: int | None = None) -> str:
    """What to expect of the entry; empty if its time grows no faster than the rows, or they are few.

    Parameters
    ----------
    entry : of the select section
    rows : the most that can reach it
    largest : of these, the rows of the largest group that it is run ``within``; None if that is not known yet
    """
    at_once = rows if entry.within is None or largest is None else min(rows, largest)
    if not is_quadratic(entry) or at_once < MIN_WARNED_ROWS:
        return ""
    if entry.within is None:
        seen, remedy = f"up to {rows:,}", "within: cluster bounds it"
    elif largest is None:
        seen, remedy = f"those of the largest group of {entry.within!r}, not known yet", "small groups bound it"
    else:
        seen, remedy = f"up to {at_once:,} in the largest group of {entry.within!r}", "smaller groups bound it"
    law = "its time grows with the square of the rows that it sees at once"
    return f"{entry.name}: {law} ({seen}): 4 times the rows take up to 16 times as long; {remedy}"


def is_quadratic(entry: SelectEntry) -> bool:
    """Whether its selector says so of itself."""
    return entry.spec.plugin().traits.quadratic

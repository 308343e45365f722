"""Warning before a selector starts whose time grows with the square of the rows that it sees at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from curate.config.model import SelectEntry

MIN_WARNED_ROWS = 20_000
"""Smallest number of rows at once that triggers a warning; with fewer rows, any selector takes seconds."""


def cost_warning(entry: SelectEntry, rows: int, largest: int | None = None) -> str:
    """Return a warning about the cost of an entry; "" if its time is not quadratic, or the rows are few.

    Parameters
    ----------
    entry : SelectEntry
        Entry of the select section.
    rows : int
        Largest number of rows that can reach the entry.
    largest : int, optional
        Size of the largest group that it runs ``within``; None if it is unknown yet.
    """
    at_once = rows if entry.within is None or largest is None else min(rows, largest)
    if not is_quadratic(entry) or at_once < MIN_WARNED_ROWS:
        return ""
    if entry.within is None:
        seen, remedy = f"up to {rows:,}", "set within: cluster to limit it"
    elif largest is None:
        seen, remedy = f"those of the largest group of {entry.within!r}, unknown yet", "use small groups to limit it"
    else:
        seen, remedy = f"up to {at_once:,} in the largest group of {entry.within!r}", "use smaller groups to limit it"
    law = "its time grows with the square of the rows that it sees at once"
    return f"{entry.name}: {law} ({seen}): 4 times the rows take up to 16 times as long; {remedy}"


def is_quadratic(entry: SelectEntry) -> bool:
    """Return whether the selector declares a quadratic cost."""
    return entry.spec.plugin().traits.quadratic

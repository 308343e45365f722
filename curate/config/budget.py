"""Budget of a selector: rows or tokens, absolute or as a share."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated

from annotated_types import Ge, Gt, Le, Lt

from curate.errors import DataError


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Budget of a selector, set with exactly one of four keys.

    Raises
    ------
    ValueError
        If none of the keys is set, or more than one.
    """

    keep: Annotated[int, Ge(1)] | None = None
    """Number of rows to keep; for an epoch plan, in each epoch."""

    keep_rate: Annotated[float, Gt(0), Le(1)] | None = None
    """Share of the entry's input rows to keep, rounded down to a number of rows; for an epoch plan, in each epoch."""

    prune_rate: Annotated[float, Ge(0), Lt(1)] | None = None
    """Share of the entry's input rows to drop; the same as a keep_rate of 1 - prune_rate."""

    keep_tokens: Annotated[int, Ge(1)] | None = None
    """Number of tokens to keep; rows are never split. Not available for epoch plans."""

    at_most: bool | None = None
    """Whether to keep every row if there are fewer rows or tokens than keep, keep_tokens or a count in the quota
    requires; by default, that is an error."""

    def __post_init__(self) -> None:
        values = (self.keep, self.keep_rate, self.prune_rate, self.keep_tokens)
        if sum(value is not None for value in values) != 1:
            raise ValueError("set exactly one of keep, keep_rate, prune_rate and keep_tokens")

    def resolve_rows(self, n: int, entry: str) -> int | None:
        """Return the number of rows to keep out of ``n`` rows; None if the budget is in tokens.

        A rate is treated as an exact decimal number, so that keeping 0.29 of 100 rows keeps 29 rows.

        Raises
        ------
        DataError
            If the budget exceeds the number of rows that reach ``entry``, and ``at_most`` is not set.

        >>> Budget(keep_rate=0.29).resolve_rows(100, "top_k"), Budget(prune_rate=0.9).resolve_rows(10, "top_k")
        (29, 1)
        """
        if self.keep_rate is not None:
            return math.floor(Fraction(str(self.keep_rate)) * n)
        if self.prune_rate is not None:
            return math.floor((1 - Fraction(str(self.prune_rate))) * n)
        return None if self.keep is None else self._within(self.keep, n, entry, "keep", "rows")

    def resolve_tokens(self, total: int, entry: str) -> int | None:
        """Return the number of tokens to keep out of ``total`` tokens; None if the budget is in rows.

        Raises
        ------
        DataError
            If the budget exceeds the number of tokens that reach ``entry``, and ``at_most`` is not set.
        """
        return (
            None if self.keep_tokens is None else self._within(self.keep_tokens, total, entry, "keep_tokens", "tokens")
        )

    def _within(self, requested: int, available: int, entry: str, key: str, unit: str) -> int:
        if requested > available and not self.at_most:
            raise DataError(
                f"select {entry}: {key} is {requested:,}, but only {available:,} {unit} reach this entry",
                hint=f"lower {key}, use keep_rate instead, or add 'at_most: true' to keep all of them",
            )
        return min(requested, available)

"""How much a selector keeps: rows or tokens, absolute or as a share."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated

from annotated_types import Ge, Gt, Le, Lt

from curate.errors import DataError


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Exactly one of four ways to say it.

    Raises
    ------
    ValueError : if none is given, or more than one
    """

    keep: Annotated[int, Ge(1)] | None = None
    """How many rows to keep; of an epoch plan, in each epoch."""

    keep_rate: Annotated[float, Gt(0), Le(1)] | None = None
    """The share of the rows that enter this entry to keep, rounded down to whole rows; of an epoch plan, in each."""

    prune_rate: Annotated[float, Ge(0), Lt(1)] | None = None
    """The share of the rows that enter this entry to drop; the same as a keep_rate of 1 - prune_rate."""

    keep_tokens: Annotated[int, Ge(1)] | None = None
    """How many tokens to keep, in whole rows; not of an epoch plan."""

    at_most: bool | None = None
    """Whether to keep every row where fewer are left than keep, keep_tokens or a count of the quota says; by default,
    that is an error."""

    def __post_init__(self) -> None:
        given = [value for value in (self.keep, self.keep_rate, self.prune_rate, self.keep_tokens) if value is not None]
        if len(given) != 1:
            raise ValueError("exactly one of keep, keep_rate, prune_rate and keep_tokens must be given")

    def resolve_rows(self, n: int, entry: str) -> int | None:
        """Return the number of ``n`` rows to keep; None if the budget is in tokens.

        A rate is taken as the decimal number that was written, so that keeping 0.29 of 100 rows keeps 29 of them.

        Raises
        ------
        DataError : if more rows are to be kept than reach ``entry``, and ``at_most`` is not set

        >>> Budget(keep_rate=0.29).resolve_rows(100, "top_k"), Budget(prune_rate=0.9).resolve_rows(10, "top_k")
        (29, 1)
        """
        if self.keep_rate is not None:
            return math.floor(Fraction(str(self.keep_rate)) * n)
        if self.prune_rate is not None:
            return math.floor((1 - Fraction(str(self.prune_rate))) * n)
        return None if self.keep is None else self._within(self.keep, n, entry, "keep", "rows")

    def resolve_tokens(self, total: int, entry: str) -> int | None:
        """Return the number of ``total`` tokens to keep; None if the budget is in rows.

        Raises
        ------
        DataError : if more tokens are to be kept than reach ``entry``, and ``at_most`` is not set
        """
        return (
            None if self.keep_tokens is None else self._within(self.keep_tokens, total, entry, "keep_tokens", "tokens")
        )

    def _within(self, wanted: int, there: int, entry: str, key: str, unit: str) -> int:
        if wanted > there and not self.at_most:
            raise DataError(
                f"select {entry}: {key} is {wanted:,}, but only {there:,} {unit} reach this entry",
                hint=f"lower {key}, write keep_rate instead, or add 'at_most: true' to keep all there are",
            )
        return min(wanted, there)

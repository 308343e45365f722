"""Quality rules: limits on measures of a text, and the first rule that a text fails."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Le
from numpy.typing import NDArray

from curate.kernels.text.char_ngrams import text_blocks
from curate.kernels.types import Flags, Numbers, Texts

Measures = Mapping[str, Numbers]
"""Measures by name, (n,) float64 of n texts."""

Rate = Annotated[float, Ge(0), Le(1)]

_CHARACTERS = 1 << 18  # characters measured at a time; fewer are slower, more are not faster


@dataclass(frozen=True, slots=True)
class Rule:
    """Limit on one measure; a text exactly at the limit passes."""

    measure: str
    limit: float
    reason: str
    """Reason in the ledger for texts that fail."""

    is_minimum: bool
    """Whether the limit is a minimum; otherwise it is a maximum."""

    def fails(self, measures: Measures) -> Flags:
        """Return which texts are beyond the limit, (n,) bool."""
        measured = measures[self.measure]
        return measured < self.limit if self.is_minimum else measured > self.limit


def min_rule(measure: str, limit: float | None, reason: str) -> list[Rule]:
    """Return a rule with a minimum, or no rule if ``limit`` is None.

    ``reason`` contains the limit as {} or, in %, as {%}.

    Parameters
    ----------
    measure : name of the measure
    limit : smallest value that passes; None for no rule
    reason : reason for texts that fail; contains the limit as {} or, in %, as {%}
    """
    return [] if limit is None else [Rule(measure, limit, _format_reason(reason, limit), is_minimum=True)]


def max_rule(measure: str, limit: float | None, reason: str) -> list[Rule]:
    """Return a rule with a maximum, or no rule if ``limit`` is None.

    ``reason`` contains the limit as {} or, in %, as {%}.

    Parameters
    ----------
    measure : name of the measure
    limit : largest value that passes; None for no rule
    reason : reason for texts that fail; contains the limit as {} or, in %, as {%}

    Examples
    --------
    >>> max_rule("bullet_line_rate", 0.9, "more than {%} of lines begin with a bullet")[0].reason
    'more than 90 % of lines begin with a bullet'
    """
    return [] if limit is None else [Rule(measure, limit, _format_reason(reason, limit), is_minimum=False)]


def build_rules(values: object, table: Iterable[tuple[str, str, str]]) -> list[Rule]:
    """Build rules whose limits are attributes of an object.

    Parameters
    ----------
    values : object with the limits, such as a plugin; None disables a rule
    table : measure, attribute (a name that begins with "min" or "max") and reason of each rule

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> table = [("words", "min_words", "fewer than {} words"), ("words", "max_words", "more than {} words")]
    >>> [rule.reason for rule in build_rules(SimpleNamespace(min_words=3, max_words=None), table)]
    ['fewer than 3 words']
    """
    return [
        rule
        for measure, name, reason in table
        for rule in (min_rule if name.startswith("min") else max_rule)(measure, getattr(values, name), reason)
    ]


def _format_reason(reason: str, limit: float) -> str:
    number = str(limit) if isinstance(limit, int) else f"{limit:g}"
    return reason.replace("{%}", f"{100 * limit:g} %").replace("{}", number)


def check_limits(plugin: object, *measures: str) -> None:
    """Check that the minimum and maximum of each measure do not contradict each other.

    Parameters
    ----------
    plugin : object with attributes ``min_…`` and ``max_…``
    measures : names of measures

    Raises
    ------
    ValueError : if a minimum is above its maximum
    """
    for measure in measures:
        minimum, maximum = (getattr(plugin, f"{side}_{measure}") for side in ("min", "max"))
        if minimum is not None and maximum is not None and minimum > maximum:
            raise ValueError(f"max_{measure}: must be at least min_{measure} ({minimum}), or null; got {maximum}")


def find_first_failed(
    texts: Texts, measure: Callable[[Sequence[str]], Measures], rules: Sequence[Rule]
) -> NDArray[np.int16]:
    """Find the first rule that each text fails.

    Parameters
    ----------
    texts : n texts, read once
    measure : function that computes the measures of some texts
    rules : rules in order of priority

    Returns
    -------
    (n,) int16 index into ``rules``, -1 for texts that pass all rules
    """
    failed = np.full(texts.rows, -1, np.int16)
    row = 0
    for block in texts.blocks():
        for rows in text_blocks(block, _CHARACTERS):
            measures = measure(block[rows])
            block_failed = failed[row + rows.start : row + rows.stop]
            for index in reversed(range(len(rules))):
                block_failed[rules[index].fails(measures)] = index
        row += len(block)
    return failed

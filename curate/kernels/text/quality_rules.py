"""Rules that a text must pass to stay, each a limit on something measured; the first that it fails is the reason."""

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
"""By name, (n,) float64 of n texts."""

Rate = Annotated[float, Ge(0), Le(1)]

_CHARACTERS = 1 << 18  # measured at once: fewer take longer, more do not take less


@dataclass(frozen=True, slots=True)
class Rule:
    """A limit on one measure; a text that is at the limit passes."""

    measure: str
    limit: float
    reason: str
    """Why a text that fails is dropped."""

    least: bool
    """Whether the limit is the least that passes, or the most."""

    def fails(self, measures: Measures) -> Flags:
        """(n,) bool: the texts beyond the limit."""
        measured = measures[self.measure]
        return measured < self.limit if self.least else measured > self.limit


def min_rule(measure: str, limit: float | None, reason: str) -> list[Rule]:
    """The rule, if there is a limit: what is measured must be no less. ``reason`` names it as {} or, in %, as {%}."""
    return [] if limit is None else [Rule(measure, limit, _worded(reason, limit), least=True)]


def max_rule(measure: str, limit: float | None, reason: str) -> list[Rule]:
    """The rule, if there is a limit: what is measured must be no more. ``reason`` names it as {} or, in %, as {%}.

    >>> max_rule("bullet_line_rate", 0.9, "more than {%} of its lines begin with a bullet")[0].reason
    'more than 90 % of its lines begin with a bullet'
    """
    return [] if limit is None else [Rule(measure, limit, _worded(reason, limit), least=False)]


def build_rules(values: object, table: Iterable[tuple[str, str, str]]) -> list[Rule]:
    """Make the rules whose limits are attributes of ``values``.

    Parameters
    ----------
    values : object with the limits, such as a plugin; None switches a rule off
    table : of each rule the measure, the name of the attribute, which begins with "min" or "max", and the reason

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


def _worded(reason: str, limit: float) -> str:
    number = str(limit) if isinstance(limit, int) else f"{limit:g}"
    return reason.replace("{%}", f"{100 * limit:g} %").replace("{}", number)


def check_limits(rules: object, *measures: str) -> None:
    """Nothing, if some text can pass both ``min_…`` and ``max_…`` of each measure, fields of a plugin.

    Raises
    ------
    ValueError : naming the greatest first, as messages about fields do
    """
    for measure in measures:
        least, most = (getattr(rules, f"{side}_{measure}") for side in ("min", "max"))
        if least is not None and most is not None and least > most:
            raise ValueError(f"max_{measure}: must be at least min_{measure}, which is {least}, or null; got {most}")


def find_first_failed(
    texts: Texts, measure: Callable[[Sequence[str]], Measures], rules: Sequence[Rule]
) -> NDArray[np.int16]:
    """Find the first rule that each text fails.

    Parameters
    ----------
    texts : n texts, read once
    measure : computes the measures of some texts

    Returns
    -------
    (n,) int16 index into ``rules``, -1 for a text that passes all of them
    """
    failed = np.full(texts.rows, -1, np.int16)
    row = 0
    for block in texts.blocks():
        for some in text_blocks(block, _CHARACTERS):
            measures = measure(block[some])
            here = failed[row + some.start : row + some.stop]
            for number in reversed(range(len(rules))):
                here[rules[number].fails(measures)] = number
        row += len(block)
    return failed

"""FineWeb quality rules: texts whose lines do not end like sentences, repeat, or are short, are dropped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated

import numpy as np
from annotated_types import Ge

from curate.kernels.text.lines import QUOTES, TERMINAL, duplicate_rates, split_lines
from curate.kernels.text.quality_rules import Measures, Rate, Rule, find_first_failed, max_rule, min_rule
from curate.plugins.batches import Pool, require
from curate.plugins.interfaces import selector
from curate.plugins.results import Selection

MEASURES = ("terminal_line_rate", "duplicate_line_character_rate", "short_line_rate")

_ENDS = TERMINAL + QUOTES


def fineweb_quality(texts: Sequence[str], *, short_line_length: int = 30) -> Measures:
    r"""Measure texts for FineWeb's own quality rules.

    A line counts if it is not blank, without the white space around it.

    Parameters
    ----------
    texts : n strings
    short_line_length : lines of fewer characters are short

    Returns
    -------
    (n,) float64 in [0, 1] for each name in ``MEASURES``, 0 for a blank text: share of lines that end with terminal
        punctuation or a quotation mark; share of the lines' characters in lines that occurred before; share of short
        lines

    Notes
    -----
    Cost: O(characters).

    Deviations: the paper leaves open which marks count; here they are those of ``curate.kernels.text.lines``, of
    several scripts. The implementation in datatrove counted quotation marks when FineWeb was created, and no longer
    does; it counts a line of exactly 30 characters as short, uses lines with the white space around them, and has a
    fourth rule, at most 0.3 line breaks per word, which is not in the paper.

    References
    ----------
    Penedo et al. (2024), The FineWeb Datasets, arXiv:2406.17557, section 3.6.

    Examples
    --------
    >>> measures = fineweb_quality(["A line that is long enough to be none.\nHome\nHome"])
    >>> [round(float(rate[0]), 2) for rate in measures.values()]
    [0.33, 0.09, 0.67]
    """
    rows = [_line_measures(split_lines(text), short_line_length) for text in texts]
    return dict(zip(MEASURES, np.array(rows, np.float64).reshape(-1, len(MEASURES)).T, strict=True))


def _line_measures(text_lines: Sequence[str], short_line_length: int) -> tuple[float, ...]:
    n = max(1, len(text_lines))
    return (
        sum(line.endswith(_ENDS) for line in text_lines) / n,
        duplicate_rates(text_lines)[1],
        sum(len(line) < short_line_length for line in text_lines) / n,
    )


@selector(
    version=1,
    scope="row",
    reads={"text"},
    budgeted=False,
    equivariant=True,
    random=False,
    cost="O(characters)",
    guarantee="exactly the rows that pass every rule",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class FineWebQuality:
    """Drop rows that fail one of FineWeb's own quality rules on lines.

    Use it for web pages, after ``gopher_repetition``, ``gopher_quality`` and ``c4_quality``, as FineWeb does; the last
    with ``terminal_lines: false``, ``min_sentences: 5`` and ``min_line_words: 3``. Texts without line structure pass
    most rules.

    The reason is the first rule that a text fails, in the order below. A text exactly at a limit passes; ``null``
    disables a rule.

    Notes
    -----
    Deviations: the paper also drops texts exactly at the limits; the released pipeline no longer does.

    References
    ----------
    Penedo et al. (2024), The FineWeb Datasets, arXiv:2406.17557, section 3.6.
    """

    min_terminal_line_rate: Rate | None = 0.12
    """Minimum share of lines that end with terminal punctuation or a quotation mark."""

    max_duplicate_line_character_rate: Rate | None = 0.01
    """Maximum share of the lines' characters in lines that occurred before: the value of the pipeline that created
    FineWeb; the paper states 0.1."""

    max_short_line_rate: Rate | None = 0.67
    """Maximum share of short lines."""

    short_line_length: Annotated[int, Ge(1)] = 30
    """Lines of fewer characters are short."""

    def rules(self) -> list[Rule]:
        """Return the rules in the order in which they are applied."""
        return [
            *min_rule(
                "terminal_line_rate", self.min_terminal_line_rate, "fewer than {%} of its lines end like a sentence"
            ),
            *max_rule(
                "duplicate_line_character_rate",
                self.max_duplicate_line_character_rate,
                "more than {%} of its characters are in lines that occurred before",
            ),
            *max_rule(
                "short_line_rate",
                self.max_short_line_rate,
                f"more than {{%}} of its lines have fewer than {self.short_line_length} characters",
            ),
        ]

    def select(self, pool: Pool, budget: None, rng: np.random.Generator) -> Selection:  # noqa: ARG002
        measure = partial(fineweb_quality, short_line_length=self.short_line_length)
        rules = self.rules()
        failed = find_first_failed(require(pool.texts), measure, rules)
        return Selection.from_failed_rules(failed, [rule.reason for rule in rules])

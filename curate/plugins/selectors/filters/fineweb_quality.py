"""FineWeb's quality rules: drop texts whose lines do not end like sentences, repeat, or are short."""

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
    r"""What FineWeb's own quality rules look at.

    A line counts if it is not blank, without the white space around it.

    Parameters
    ----------
    texts : n strings
    short_line_length : characters; a line of fewer is short

    Returns
    -------
    For each name in ``MEASURES`` (n,) float64 in [0, 1], 0 for a blank text: the share of the lines that end with
    terminal punctuation or a quotation mark; the share of the lines' characters in lines that came before; the share
    of the lines that are short

    Cost: O(characters).

    References
    ----------
    Penedo et al. (2024), The FineWeb Datasets, arXiv:2406.17557, section 3.6.

    Deviations: the paper leaves open which marks count; here those of ``curate.kernels.text.lines`` do, of several
    scripts.
    The implementation in datatrove has counted quotation marks when FineWeb was made, and no longer does; it counts a
    line of just 30 characters as short, looks at lines with the white space around them, and has a fourth rule, at most
    0.3 line breaks for each word, which is not in the paper.

    >>> measures = fineweb_quality(["A line that is long enough to be none.\nHome\nHome"])
    >>> [round(float(rate[0]), 2) for rate in measures.values()]
    [0.33, 0.09, 0.67]
    """
    measured = [_measured(split_lines(text), short_line_length) for text in texts]
    return dict(zip(MEASURES, np.array(measured, np.float64).reshape(-1, len(MEASURES)).T, strict=True))


def _measured(some: Sequence[str], short: int) -> tuple[float, ...]:
    n = max(1, len(some))
    return (
        sum(line.endswith(_ENDS) for line in some) / n,
        duplicate_rates(some)[1],
        sum(len(line) < short for line in some) / n,
    )


@selector(
    version=1,
    reads={"text"},
    budgeted=False,
    equivariant=True,
    random=False,
    cost="O(characters)",
    guarantee="exactly the rows that pass every rule",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class FineWebQuality:
    """Drop rows whose text fails one of FineWeb's own quality rules; the first, in the order below, is the reason.

    A text at a limit passes; ``null`` switches a rule off. FineWeb was made with ``gopher_repetition``,
    ``gopher_quality`` and ``c4_quality`` before these, the last with ``terminal_lines: false``, ``min_sentences: 5``
    and ``min_line_words: 3``.

    References
    ----------
    Penedo et al. (2024), The FineWeb Datasets, arXiv:2406.17557, section 3.6.

    Deviations: the paper drops texts at the limits too; the pipeline that it released does not any more.
    """

    min_terminal_line_rate: Rate | None = 0.12
    """The least share of lines that end with terminal punctuation or a quotation mark."""

    max_duplicate_line_character_rate: Rate | None = 0.01
    """The largest share of the lines' characters in lines that came before: that of the pipeline which made FineWeb;
    the paper says 0.1."""

    max_short_line_rate: Rate | None = 0.67
    """The largest share of short lines."""

    short_line_length: Annotated[int, Ge(1)] = 30
    """A line of fewer characters is short."""

    def rules(self) -> list[Rule]:
        """In the order in which they are looked at."""
        return [
            *min_rule(
                "terminal_line_rate", self.min_terminal_line_rate, "fewer than {%} of its lines end like a sentence"
            ),
            *max_rule(
                "duplicate_line_character_rate",
                self.max_duplicate_line_character_rate,
                "more than {%} of its characters are in lines that came before",
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

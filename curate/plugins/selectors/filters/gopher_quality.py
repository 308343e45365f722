"""Gopher's quality rules: drop texts whose words and lines are not those of prose."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from string import punctuation
from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt, Le

from curate.kernels.text.lines import BULLETS, split_lines
from curate.kernels.text.quality_rules import Measures, Rate, Rule, build_rules, check_limits, find_first_failed
from curate.kernels.text.word_tokens import split_words
from curate.plugins.batches import Pool, require
from curate.plugins.interfaces import selector
from curate.plugins.results import Selection

STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")

MEASURES = (
    "words",
    "mean_word_length",
    "hash_word_rate",
    "ellipsis_word_rate",
    "alphabetic_word_rate",
    "stop_words",
    "bullet_line_rate",
    "ellipsis_line_rate",
)

LIMITS = (
    ("words", "min_words", "fewer than {} words"),
    ("words", "max_words", "more than {} words"),
    ("mean_word_length", "min_mean_word_length", "mean word length below {}"),
    ("mean_word_length", "max_mean_word_length", "mean word length above {}"),
    ("hash_word_rate", "max_symbol_word_rate", "more than {} number signs for each word"),
    ("ellipsis_word_rate", "max_symbol_word_rate", "more than {} ellipses for each word"),
    ("bullet_line_rate", "max_bullet_line_rate", "more than {%} of its lines begin with a bullet"),
    ("ellipsis_line_rate", "max_ellipsis_line_rate", "more than {%} of its lines end in an ellipsis"),
    ("alphabetic_word_rate", "min_alphabetic_word_rate", "fewer than {%} of its words have a letter"),
    ("stop_words", "min_stop_words", "fewer than {} different stop words"),
)
"""Measure, field with its limit, and reason of each rule, in the order in which the rules are applied."""

_AROUND_WORDS = punctuation + "“”‘’«»‹›„…–—。、，！？「」"


def gopher_quality(texts: Sequence[str], *, stop_words: Collection[str] = STOP_WORDS) -> Measures:
    r"""What Gopher's quality rules look at.

    A word is what stands between white space, with its punctuation; a character of a script written without blanks,
    such as Chinese, Japanese or Thai, is a word. A line counts if it is not blank, without the white space around it.

    Parameters
    ----------
    texts : n strings
    stop_words : a word is one of them if it is without the punctuation around it, in any case

    Returns
    -------
    For each name in ``MEASURES`` (n,) float64, 0 for a blank text: the number of words; their mean length in
    characters; number signs, and ellipses, for each word; the share of the words with a letter; how many different stop
    words there are; the share of the lines that begin with a bullet, and that end with an ellipsis

    Cost: O(characters) time; memory for the words of one text, some 60 bytes each.

    References
    ----------
    Rae et al. (2021), arXiv:2112.11446, appendix A.1.1, "Quality Filtering".

    Deviations: the paper leaves open what words, lines, bullets and ellipses are. Bullets are those of
    ``curate.kernels.text.lines``, hyphen and asterisk among them; ellipses are "…" and three full stops. The well-known
    implementation in datatrove takes words from a tokenizer, so that punctuation is a word of its own (left out of
    their number and mean length, not of the rates), counts blank lines, knows two bullets, and finds no stop word with
    a capital.

    >>> measures = gopher_quality(["# The end of\n- it all ..."])
    >>> [float(measures[name][0]) for name in ("words", "stop_words", "bullet_line_rate", "hash_word_rate")]
    [8.0, 2.0, 0.5, 0.125]
    """
    wanted = frozenset(word.lower() for word in stop_words)
    measured = [(*_of_words(text, split_words(text), wanted), *_of_lines(split_lines(text))) for text in texts]
    return dict(zip(MEASURES, np.array(measured, np.float64).reshape(-1, len(MEASURES)).T, strict=True))


def _of_words(text: str, found: Sequence[str], stop_words: frozenset[str]) -> tuple[float, ...]:
    n = max(1, len(found))
    without_letter = sum(not any(map(str.isalpha, word)) for word in found if not word.isalpha())
    return (
        len(found),
        sum(map(len, found)) / n,
        text.count("#") / n,
        (text.count("...") + text.count("…")) / n,
        (len(found) - without_letter) / n,
        len(stop_words & {word.strip(_AROUND_WORDS).lower() for word in set(found)}),
    )


def _of_lines(some: Sequence[str]) -> tuple[float, ...]:
    n = max(1, len(some))
    return (
        sum(line.startswith(BULLETS) for line in some) / n,
        sum(line.endswith(("...", "…")) for line in some) / n,
    )


def _check_stop_words(stop_words: Collection[str], least: int) -> None:
    """Raise ValueError unless each stop word is one that can be found, and ``least`` different ones can be."""
    for word in stop_words:
        if split_words(word) != [word] or word.strip(_AROUND_WORDS) != word:
            raise ValueError(f"stop_words: {word!r} is not one word without punctuation around it; none is found")
    different = len({word.lower() for word in stop_words})
    if least > different:
        raise ValueError(f"min_stop_words: must be at most {different}, as many as there are stop words; got {least}")


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
class GopherQuality:
    """Drop rows whose text fails one of Gopher's quality rules; the first, in the order below, is the reason.

    The rules were set for English web pages. A text at a limit passes; ``null`` switches a rule off. A character of a
    script written without blanks counts as a word: such a text fails ``min_mean_word_length``, and one in any other
    language than English ``min_stop_words``, so set those to ``null``, or name stop words of the language.

    References
    ----------
    Rae et al. (2021), arXiv:2112.11446, appendix A.1.1, "Quality Filtering".

    Deviations: words are what stands between white space, where others take them from a tokenizer.
    """

    min_words: Annotated[int, Ge(0), Le(1_000_000)] | None = 50
    """The least number of words."""

    max_words: Annotated[int, Ge(0)] | None = 100_000
    """The greatest number of words."""

    min_mean_word_length: Annotated[float, Ge(0)] | None = 3.0
    """The least mean length of the words, in characters."""

    max_mean_word_length: Annotated[float, Gt(0)] | None = 10.0
    """The greatest mean length of the words, in characters."""

    max_symbol_word_rate: Annotated[float, Ge(0)] | None = 0.1
    """The most number signs (#), and the most ellipses, for each word: two rules."""

    max_bullet_line_rate: Rate | None = 0.9
    """The largest share of lines that begin with a bullet."""

    max_ellipsis_line_rate: Rate | None = 0.3
    """The largest share of lines that end with an ellipsis."""

    min_alphabetic_word_rate: Rate | None = 0.8
    """The least share of words with a letter in them."""

    min_stop_words: Annotated[int, Ge(0)] | None = 2
    """How many of the stop words must be there, each counted once."""

    stop_words: tuple[str, ...] = STOP_WORDS
    """Words that every coherent text has; case does not matter."""

    def __post_init__(self) -> None:
        check_limits(self, "words", "mean_word_length")
        _check_stop_words(self.stop_words, self.min_stop_words or 0)

    def rules(self) -> list[Rule]:
        """In the order in which they are looked at."""
        return build_rules(self, LIMITS)

    def select(self, pool: Pool, budget: None, rng: np.random.Generator) -> Selection:  # noqa: ARG002
        rules = self.rules()
        failed = find_first_failed(require(pool.texts), partial(gopher_quality, stop_words=self.stop_words), rules)
        return Selection.from_failed_rules(failed, [rule.reason for rule in rules])

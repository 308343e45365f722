"""Gopher repetition rules: texts that repeat their own lines, paragraphs or word n-grams are dropped."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from curate.kernels.text.lines import duplicate_rates, split_lines, split_paragraphs
from curate.kernels.text.ngrams import repetition_rates
from curate.kernels.text.quality_rules import Measures, Rate, Rule, find_first_failed, max_rule
from curate.kernels.text.word_tokens import number_words
from curate.plugins.batches import Pool, require
from curate.plugins.interfaces import selector
from curate.plugins.results import Selection

TOP, DUPLICATE = (2, 3, 4), (5, 6, 7, 8, 9, 10)
"""Sizes of the n-grams whose most frequent one is measured, and of those whose duplicates are measured."""

REASONS = {
    "duplicate_line_rate": "more than {%} of its lines occurred before",
    "duplicate_paragraph_rate": "more than {%} of its paragraphs occurred before",
    "duplicate_line_character_rate": "more than {%} of its characters are in lines that occurred before",
    "duplicate_paragraph_character_rate": "more than {%} of its characters are in paragraphs that occurred before",
    **{
        f"top_{n}gram_character_rate": f"more than {{%}} of its characters are in its most frequent {n}-gram"
        for n in TOP
    },
    **{
        f"duplicate_{n}gram_character_rate": f"more than {{%}} of its characters are in {n}-grams that occurred before"
        for n in DUPLICATE
    },
}
"""Reason for each measure, in the order in which the rules are applied."""

_PIECE_MEASURES = (
    "duplicate_line_rate",
    "duplicate_line_character_rate",
    "duplicate_paragraph_rate",
    "duplicate_paragraph_character_rate",
)


def gopher_repetition(
    texts: Sequence[str], *, top_sizes: Collection[int] = TOP, duplicate_sizes: Collection[int] = DUPLICATE
) -> Measures:
    r"""Measure texts for Gopher's repetition rules.

    A line counts if it is not blank, without the white space around it; paragraphs are separated by blank lines. Words
    are separated by white space and keep their punctuation; a character of a script written without blanks, such as
    Chinese, Japanese or Thai, is a word. A duplicate is a line, a paragraph or a word n-gram that occurred before in
    the text: the first of equal ones is not a duplicate.

    Parameters
    ----------
    texts : n strings
    top_sizes, duplicate_sizes : sizes of n-grams, at least 2

    Returns
    -------
    (n,) float64 in [0, 1] by name, 0 for a blank text: share of the lines, and of the paragraphs, that are duplicates
        ("duplicate_line_rate", …), and of their characters ("duplicate_line_character_rate", …); of the characters of
        the words, the share in the most frequent n-gram ("top_2gram_character_rate", …), and the share in duplicate
        n-grams ("duplicate_5gram_character_rate", …)

    Notes
    -----
    Cost: O(characters + w log w) time for w words, for ordinary texts most of it for the characters; some 60 bytes of
    memory a word.

    Guarantee: exact.

    Deviations: an n-gram that occurs once does not count as the most frequent one, otherwise short texts would fail
    only because they are short; of equally frequent ones the longest counts. As the paper requires for duplicate
    n-grams, a character counts once however many n-grams contain it, also for the most frequent one, which may overlap
    itself. The implementation in datatrove takes words from a tokenizer; continues after a duplicate n-gram with the
    word after it, and so misses the ends of long repeats; counts the most frequent n-gram with its blanks, as often as
    it occurs, and also if it occurs once; and divides by all characters, including white space.

    References
    ----------
    Rae et al. (2021), arXiv:2112.11446, appendix A.1.1, "Repetition Removal", and table A1.

    Examples
    --------
    >>> measures = gopher_repetition(["a bb c\na bb d\na bb c"], top_sizes=[2], duplicate_sizes=[3])
    >>> names = "duplicate_line_rate", "top_2gram_character_rate", "duplicate_3gram_character_rate"
    >>> [round(float(measures[name][0]), 2) for name in names]
    [0.33, 0.75, 0.33]
    """
    pieces = [(*duplicate_rates(split_lines(text)), *duplicate_rates(split_paragraphs(text))) for text in texts]
    measures = dict(zip(_PIECE_MEASURES, np.array(pieces, np.float64).reshape(-1, len(_PIECE_MEASURES)).T, strict=True))
    top_rates, duplicate_shares = repetition_rates(
        *number_words(texts), top_sizes=top_sizes, duplicate_sizes=duplicate_sizes
    )
    measures |= {f"top_{n}gram_character_rate": rates for n, rates in top_rates.items()}
    return measures | {f"duplicate_{n}gram_character_rate": rates for n, rates in duplicate_shares.items()}


@selector(
    version=1,
    scope="row",
    reads={"text"},
    budgeted=False,
    equivariant=True,
    random=False,
    cost="O(characters + w log w) for w words",
    guarantee="exactly the rows that pass every rule",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class GopherRepetition:
    """Drop rows that fail one of Gopher's repetition rules on lines, paragraphs and n-grams.

    Use it for web pages, to drop texts that repeat themselves, such as menus, logs and spam. For repetition across
    texts, use the duplicate filters.

    The reason is the first rule that a text fails, in the order below. A text exactly at a limit passes; ``null``
    disables a rule. Punctuation and case distinguish words. A character of a script written without blanks counts as a
    word.

    Notes
    -----
    Deviations: an n-gram that occurs once is not the most frequent one; words are separated by white space.

    References
    ----------
    Rae et al. (2021), arXiv:2112.11446, appendix A.1.1, "Repetition Removal", and table A1.
    """

    max_duplicate_line_rate: Rate | None = 0.3
    """Maximum share of lines that occurred before."""

    max_duplicate_paragraph_rate: Rate | None = 0.3
    """Maximum share of paragraphs that occurred before."""

    max_duplicate_line_character_rate: Rate | None = 0.2
    """Maximum share of the lines' characters in lines that occurred before."""

    max_duplicate_paragraph_character_rate: Rate | None = 0.2
    """Maximum share of the paragraphs' characters in paragraphs that occurred before."""

    max_top_2gram_character_rate: Rate | None = 0.2
    """Maximum share of the words' characters in the most frequent 2-gram of words."""

    max_top_3gram_character_rate: Rate | None = 0.18
    """Maximum share of the words' characters in the most frequent 3-gram of words."""

    max_top_4gram_character_rate: Rate | None = 0.16
    """Maximum share of the words' characters in the most frequent 4-gram of words."""

    max_duplicate_5gram_character_rate: Rate | None = 0.15
    """Maximum share of the words' characters in 5-grams of words that occurred before, each character counted once."""

    max_duplicate_6gram_character_rate: Rate | None = 0.14
    """Maximum share of the words' characters in 6-grams that occurred before."""

    max_duplicate_7gram_character_rate: Rate | None = 0.13
    """Maximum share of the words' characters in 7-grams that occurred before."""

    max_duplicate_8gram_character_rate: Rate | None = 0.12
    """Maximum share of the words' characters in 8-grams that occurred before."""

    max_duplicate_9gram_character_rate: Rate | None = 0.11
    """Maximum share of the words' characters in 9-grams that occurred before."""

    max_duplicate_10gram_character_rate: Rate | None = 0.1
    """Maximum share of the words' characters in 10-grams that occurred before."""

    def rules(self) -> list[Rule]:
        """Return the rules in the order in which they are applied, that of the fields."""
        return [
            rule
            for measure, reason in REASONS.items()
            for rule in max_rule(measure, getattr(self, f"max_{measure}"), reason)
        ]

    def select(self, pool: Pool, budget: None, rng: np.random.Generator) -> Selection:  # noqa: ARG002
        rules = self.rules()
        used_measures = {rule.measure for rule in rules}
        top_sizes = [n for n in TOP if f"top_{n}gram_character_rate" in used_measures]
        duplicate_sizes = [n for n in DUPLICATE if f"duplicate_{n}gram_character_rate" in used_measures]
        failed = find_first_failed(
            require(pool.texts), partial(gopher_repetition, top_sizes=top_sizes, duplicate_sizes=duplicate_sizes), rules
        )
        return Selection.from_failed_rules(failed, [rule.reason for rule in rules])

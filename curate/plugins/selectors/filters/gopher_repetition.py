"""Gopher's repetition rules: drop texts that repeat their own lines, paragraphs or runs of words."""

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
"""The lengths, in words, of n-grams of which the most frequent is looked at, and of which all duplicates are."""

REASONS = {
    "duplicate_line_rate": "more than {%} of its lines came before",
    "duplicate_paragraph_rate": "more than {%} of its paragraphs came before",
    "duplicate_line_character_rate": "more than {%} of its characters are in lines that came before",
    "duplicate_paragraph_character_rate": "more than {%} of its characters are in paragraphs that came before",
    **{
        f"top_{n}gram_character_rate": f"more than {{%}} of its characters are in its most frequent {n}-gram"
        for n in TOP
    },
    **{
        f"duplicate_{n}gram_character_rate": f"more than {{%}} of its characters are in {n}-grams that came before"
        for n in DUPLICATE
    },
}
"""Why a text is dropped, for each measure, in the order in which the rules are looked at."""

_OF_PIECES = (
    "duplicate_line_rate",
    "duplicate_line_character_rate",
    "duplicate_paragraph_rate",
    "duplicate_paragraph_character_rate",
)


def gopher_repetition(
    texts: Sequence[str], *, top: Collection[int] = TOP, duplicate: Collection[int] = DUPLICATE
) -> Measures:
    r"""What Gopher's repetition rules look at.

    A line is one that is not blank, without the white space around it; a paragraph stands between blank lines. A word
    is what stands between white space, with its punctuation; a character of a script written without blanks, such as
    Chinese, Japanese or Thai, is a word. A duplicate is a line, a paragraph or an n-gram of words that came before in
    the text: the first of equal ones is none.

    Parameters
    ----------
    texts : n strings
    top, duplicate : lengths of n-grams, at least 2

    Returns
    -------
    For each name (n,) float64 in [0, 1], 0 for a blank text: the share of the lines, and of the paragraphs, that are
    duplicates ("duplicate_line_rate", …), and of their characters ("duplicate_line_character_rate", …); of the
    characters of the words, the share within the most frequent n-gram ("top_2gram_character_rate", …), and the share
    within duplicate n-grams ("duplicate_5gram_character_rate", …)

    Cost: O(characters + w log w) time for w words, for ordinary texts most of it for the characters; some 60 bytes of
    memory a word. Guarantee: exact.

    References
    ----------
    Rae et al. (2021), arXiv:2112.11446, appendix A.1.1, "Repetition Removal", and table A1.

    Deviations: an n-gram that occurs once is not the most frequent one, else short texts fail for their shortness; of
    equally frequent ones the longest counts. As the paper asks of duplicate n-grams, a character counts once however
    many n-grams it is in, also for the most frequent one, which may overlap itself. The implementation in datatrove
    takes words from a tokenizer; goes on after a duplicate n-gram with the word after it, by which the ends of long
    repeats are missed; counts the most frequent n-gram with its blanks, as often as it occurs, and if it occurs once;
    and measures by all characters, white space too.

    >>> measures = gopher_repetition(["a bb c\na bb d\na bb c"], top=[2], duplicate=[3])
    >>> names = "duplicate_line_rate", "top_2gram_character_rate", "duplicate_3gram_character_rate"
    >>> [round(float(measures[name][0]), 2) for name in names]
    [0.33, 0.75, 0.33]
    """
    pieces = [(*duplicate_rates(split_lines(text)), *duplicate_rates(split_paragraphs(text))) for text in texts]
    measures = dict(zip(_OF_PIECES, np.array(pieces, np.float64).reshape(-1, len(_OF_PIECES)).T, strict=True))
    tops, repeats = repetition_rates(*number_words(texts), top=top, duplicate=duplicate)
    measures |= {f"top_{n}gram_character_rate": rates for n, rates in tops.items()}
    return measures | {f"duplicate_{n}gram_character_rate": rates for n, rates in repeats.items()}


@selector(
    version=1,
    reads={"text"},
    budgeted=False,
    equivariant=True,
    random=False,
    cost="O(characters + w log w) for w words",
    guarantee="exactly the rows that pass every rule",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class GopherRepetition:
    """Drop rows whose text fails one of Gopher's repetition rules; the first, in the order below, is the reason.

    What is repeated is what came before in the same text. A text at a limit passes; ``null`` switches a rule off.
    Punctuation and capitals make words different. A character of a script written without blanks counts as a word.

    References
    ----------
    Rae et al. (2021), arXiv:2112.11446, appendix A.1.1, "Repetition Removal", and table A1.

    Deviations: an n-gram that occurs once is not the most frequent one; words are what stands between white space.
    """

    max_duplicate_line_rate: Rate | None = 0.3
    """The largest share of lines that came before."""

    max_duplicate_paragraph_rate: Rate | None = 0.3
    """The largest share of paragraphs that came before."""

    max_duplicate_line_character_rate: Rate | None = 0.2
    """The largest share of the lines' characters in lines that came before."""

    max_duplicate_paragraph_character_rate: Rate | None = 0.2
    """The largest share of the paragraphs' characters in paragraphs that came before."""

    max_top_2gram_character_rate: Rate | None = 0.2
    """The largest share of the words' characters in the most frequent run of 2 words."""

    max_top_3gram_character_rate: Rate | None = 0.18
    """The largest share of the words' characters in the most frequent run of 3 words."""

    max_top_4gram_character_rate: Rate | None = 0.16
    """The largest share of the words' characters in the most frequent run of 4 words."""

    max_duplicate_5gram_character_rate: Rate | None = 0.15
    """The largest share of the words' characters in runs of 5 words that came before, each character counted once."""

    max_duplicate_6gram_character_rate: Rate | None = 0.14
    """The same of 6 words."""

    max_duplicate_7gram_character_rate: Rate | None = 0.13
    """The same of 7 words."""

    max_duplicate_8gram_character_rate: Rate | None = 0.12
    """The same of 8 words."""

    max_duplicate_9gram_character_rate: Rate | None = 0.11
    """The same of 9 words."""

    max_duplicate_10gram_character_rate: Rate | None = 0.1
    """The same of 10 words."""

    def rules(self) -> list[Rule]:
        """In the order in which they are looked at, which is that of the fields."""
        return [
            rule
            for measure, reason in REASONS.items()
            for rule in max_rule(measure, getattr(self, f"max_{measure}"), reason)
        ]

    def select(self, pool: Pool, budget: None, rng: np.random.Generator) -> Selection:  # noqa: ARG002
        rules = self.rules()
        looked_at = {rule.measure for rule in rules}
        top = [n for n in TOP if f"top_{n}gram_character_rate" in looked_at]
        duplicate = [n for n in DUPLICATE if f"duplicate_{n}gram_character_rate" in looked_at]
        failed = find_first_failed(require(pool.texts), partial(gopher_repetition, top=top, duplicate=duplicate), rules)
        return Selection.from_failed_rules(failed, [rule.reason for rule in rules])

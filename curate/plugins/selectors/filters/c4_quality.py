"""C4's rules: drop pages of placeholder text or code, and those of which too few sentences are left."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, MinLen

from curate.kernels.text.lines import QUOTES, TERMINAL, count_sentences, split_lines
from curate.kernels.text.quality_rules import Measures, Rate, Rule, find_first_failed, max_rule, min_rule
from curate.kernels.text.word_tokens import split_words
from curate.plugins.batches import Pool, require
from curate.plugins.interfaces import selector
from curate.plugins.results import Selection

Phrases = tuple[Annotated[str, MinLen(1)], ...]

PAGE_PHRASES = ("lorem ipsum", "{")
LINE_PHRASES = (
    *("javascript", "terms of use", "privacy policy", "cookie policy"),
    *("uses cookies", "use of cookies", "use cookies"),
)

_CITATION = re.compile(r"\[(?:\d*|edit|citation needed)\]")
_ENDS = TERMINAL + QUOTES


def c4_quality(
    texts: Sequence[str],
    *,
    page_phrases: Sequence[str] = PAGE_PHRASES,
    bad_words: Sequence[str] = (),
    line_phrases: Sequence[str] = LINE_PHRASES,
    terminal_lines: bool = True,
    min_line_words: int = 5,
) -> Measures:
    r"""What C4's rules look at: phrases that a page must not hold, and what would be left of it without its bad lines.

    A line is left if it ends with terminal punctuation or a quotation mark, has enough words, and none of the phrases.
    Citation marks such as [1] and [] are removed first. A word is what stands between white space; a character of a
    script written without blanks, such as Chinese, Japanese or Thai, is a word. For sentences see
    ``curate.kernels.text.lines.count_sentences``.

    Parameters
    ----------
    texts : n strings
    page_phrases, line_phrases : strings to be found anywhere, in any case
    bad_words : the same, but found only where no letter, digit or underscore stands beside them, save where a script
        written without blanks does
    terminal_lines : whether a line must end with terminal punctuation or a quotation mark, and not in an ellipsis
    min_line_words : the least number of words in a line

    Returns
    -------
    For each name (n,) float64: "holds PHRASE" for each page phrase, 0 or 1; "bad_words", how many of them there are;
    "sentences" in the lines that are left; "left_word_rate", the share of the words in those lines, 0 for a blank text

    Cost: O(characters), times the number of phrases and bad words for a fast search; memory for the words of one line.

    References
    ----------
    Raffel et al. (2020), Exploring the Limits of Transfer Learning, arXiv:1910.10683, section 2.2.

    Deviations: C4 deletes lines, and keeps the rest of a page; a text is never changed here, so that the page is judged
    by what would be left, and kept whole. C4 is without three-sentence spans that occur twice in all of it, and without
    pages that a classifier takes for another language than English: neither is a rule on one text. Sentences are
    counted by their marks, without the list of abbreviations that nltk's tokenizer has, so a few more are found. As in
    the code that C4 was made with, a line that ends in an ellipsis has no terminal mark; unlike there, no line is left
    out for a word of over 1,000 characters, and page phrases are looked for in all lines, as in the paper. datatrove
    has the limits of the paper's first version, 3 words and 5 sentences, by default.

    >>> page = "He said so. She did not believe it.[1]\nClick here!\nPlease enable Javascript in your browser."
    >>> measures = c4_quality([page])
    >>> {name: round(float(values[0]), 2) for name, values in measures.items() if not name.startswith("holds")}
    {'bad_words': 0.0, 'sentences': 2.0, 'left_word_rate': 0.5}
    """
    whole, in_lines = [phrase.lower() for phrase in page_phrases], [phrase.lower() for phrase in line_phrases]
    bad = [(word.lower(), _standing_alone(word.lower())) for word in bad_words]
    measured = []
    for text in texts:
        page = _CITATION.sub("", text.lower())
        held = [phrase in page for phrase in whole]
        bad_here = sum(word in page and alone.search(page) is not None for word, alone in bad)
        there = [phrase for phrase in in_lines if phrase in page]
        n_sentences = left = every = 0
        for line in split_lines(page):
            n_words = len(split_words(line))
            every += n_words
            ends = not terminal_lines or (line.endswith(_ENDS) and not line.endswith("..."))
            if ends and n_words >= min_line_words and not any(phrase in line for phrase in there):
                left += n_words
                n_sentences += count_sentences(line)
        measured.append((*held, bad_here, n_sentences, left / max(1, every)))
    names = *(f"holds {phrase}" for phrase in page_phrases), "bad_words", "sentences", "left_word_rate"
    return dict(zip(names, np.array(measured, np.float64).reshape(-1, len(names)).T, strict=True))


def _standing_alone(word: str) -> re.Pattern[str]:
    """Finds a word where no letter stands beside it, unless one that it would not make a longer word with."""
    before = "" if split_words(f"x{word}")[0] == "x" else r"(?<!\w)"
    after = "" if split_words(f"{word}x")[-1] == "x" else r"(?!\w)"
    return re.compile(before + re.escape(word) + after)


@selector(
    version=2,
    reads={"text"},
    budgeted=False,
    equivariant=True,
    random=False,
    cost="O(characters · phrases)",
    guarantee="exactly the rows that pass every rule",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class C4Quality:
    """Drop rows whose text C4 would leave out; the first rule that it fails, in the order below, is the reason.

    A text at a limit passes; ``null``, or an empty list, switches a rule off. The phrases are English. A character of a
    script written without blanks counts as a word.

    References
    ----------
    Raffel et al. (2020), Exploring the Limits of Transfer Learning, arXiv:1910.10683, section 2.2.

    Deviations: C4 also deletes lines from the pages that it keeps. Texts are not changed here: a text is judged by what
    would be left of it, and kept whole; ``min_remaining_word_rate`` drops those that would lose much.
    """

    page_phrases: Phrases = PAGE_PHRASES
    """A text with one of these in it is dropped; case does not matter. Each is a rule."""

    bad_words: Phrases = ()
    """A text with one of these words in it is dropped. C4's is the "List of Dirty, Naughty, Obscene or Otherwise Bad
    Words", which does not come with this; a word does not count within a longer one, and case does not matter."""

    min_sentences: Annotated[int, Ge(0)] | None = 3
    """The least number of sentences in the lines that would be left."""

    min_remaining_word_rate: Rate | None = None
    """The least share of the words in the lines that would be left; C4 has no such rule."""

    line_phrases: Phrases = LINE_PHRASES
    """A line with one of these in it would not be left; case does not matter."""

    terminal_lines: bool = True
    """Whether a line must end with terminal punctuation or a quotation mark, and not in an ellipsis, to be left."""

    min_line_words: Annotated[int, Ge(0)] | None = 5
    """The least number of words in a line that would be left."""

    def rules(self) -> list[Rule]:
        """In the order in which they are looked at."""
        return [
            *(Rule(f"holds {phrase}", 0, f"it holds {phrase!r}", least=False) for phrase in self.page_phrases),
            *max_rule("bad_words", 0 if self.bad_words else None, "it holds a bad word"),
            *min_rule("sentences", self.min_sentences, "fewer than {} sentences would be left"),
            *min_rule("left_word_rate", self.min_remaining_word_rate, "less than {%} of its words would be left"),
        ]

    def select(self, pool: Pool, budget: None, rng: np.random.Generator) -> Selection:  # noqa: ARG002
        def measure(texts: Sequence[str]) -> Measures:
            return c4_quality(
                texts,
                page_phrases=self.page_phrases,
                bad_words=self.bad_words,
                line_phrases=self.line_phrases,
                terminal_lines=self.terminal_lines,
                min_line_words=self.min_line_words or 0,
            )

        rules = self.rules()
        failed = find_first_failed(require(pool.texts), measure, rules)
        return Selection.from_failed_rules(failed, [rule.reason for rule in rules])

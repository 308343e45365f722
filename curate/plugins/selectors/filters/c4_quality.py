"""C4 quality rules: pages with placeholder text or code, and pages with too few good sentences, are dropped."""

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
    r"""Measure texts for the rules of C4: forbidden phrases, and the sentences and words of good lines.

    A line is good if it ends with terminal punctuation or a quotation mark, has enough words, and contains none of the
    phrases. Citation marks such as [1] and [] are removed first. Words are separated by white space; a character of a
    script written without blanks, such as Chinese, Japanese or Thai, is a word. For sentences see
    ``curate.kernels.text.lines.count_sentences``.

    Parameters
    ----------
    texts : n strings
    page_phrases, line_phrases : strings to be found anywhere, in any case
    bad_words : strings to be found as separate words: not next to a letter, digit or underscore, except in scripts
        written without blanks
    terminal_lines : whether a line must end with terminal punctuation or a quotation mark, and not in an ellipsis
    min_line_words : minimum number of words in a line

    Returns
    -------
    (n,) float64 by name: "contains PHRASE" for each page phrase, 0 or 1; "bad_words", their number; "sentences" in good
        lines; "remaining_word_rate", share of the words in good lines, 0 for a blank text

    Notes
    -----
    Cost: O(characters), times the number of phrases and bad words for a fast search; memory for the words of one line.

    Deviations: C4 deletes lines, and keeps the rest of a page; here a text is never changed, so the page is judged by
    its good lines, and kept completely. C4 also removes three-sentence spans that occur twice in the corpus, and pages
    that a classifier considers not English: neither is a rule on one text. Sentences are counted by their marks,
    without the abbreviation list of nltk's tokenizer, so a few more are found. As in the code that created C4, a line
    that ends in an ellipsis has no terminal mark; unlike there, lines are not excluded for a word of over 1,000
    characters, and page phrases are searched in all lines, as in the paper. datatrove has the limits of the paper's
    first version, 3 words and 5 sentences, by default.

    References
    ----------
    Raffel et al. (2020), Exploring the Limits of Transfer Learning, arXiv:1910.10683, section 2.2.

    Examples
    --------
    >>> page = "He said so. She did not believe it.[1]\nClick here!\nPlease enable Javascript in your browser."
    >>> measures = c4_quality([page])
    >>> {name: round(float(values[0]), 2) for name, values in measures.items() if not name.startswith("contains")}
    {'bad_words': 0.0, 'sentences': 2.0, 'remaining_word_rate': 0.5}
    """
    page_patterns, line_patterns = (
        [phrase.lower() for phrase in page_phrases],
        [phrase.lower() for phrase in line_phrases],
    )
    bad_patterns = [(word.lower(), _word_pattern(word.lower())) for word in bad_words]
    rows = []
    for text in texts:
        page = _CITATION.sub("", text.lower())
        matches = [phrase in page for phrase in page_patterns]
        n_bad = sum(word in page and pattern.search(page) is not None for word, pattern in bad_patterns)
        present_phrases = [phrase for phrase in line_patterns if phrase in page]
        n_sentences = n_left = n_total = 0
        for line in split_lines(page):
            n_words = len(split_words(line))
            n_total += n_words
            has_end = not terminal_lines or (line.endswith(_ENDS) and not line.endswith("..."))
            if has_end and n_words >= min_line_words and not any(phrase in line for phrase in present_phrases):
                n_left += n_words
                n_sentences += count_sentences(line)
        rows.append((*matches, n_bad, n_sentences, n_left / max(1, n_total)))
    names = *(f"contains {phrase}" for phrase in page_phrases), "bad_words", "sentences", "remaining_word_rate"
    return dict(zip(names, np.array(rows, np.float64).reshape(-1, len(names)).T, strict=True))


def _word_pattern(word: str) -> re.Pattern[str]:
    """Return a pattern that finds a word on its own, not as a part of a longer word."""
    before = "" if split_words(f"x{word}")[0] == "x" else r"(?<!\w)"
    after = "" if split_words(f"{word}x")[-1] == "x" else r"(?!\w)"
    return re.compile(before + re.escape(word) + after)


@selector(
    version=2,
    scope="row",
    reads={"text"},
    budgeted=False,
    equivariant=True,
    random=False,
    cost="O(characters · phrases)",
    guarantee="exactly the rows that pass every rule",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class C4Quality:
    """Drop rows that C4 would exclude: forbidden phrases, or too few good sentences.

    Use it for English web pages, to drop placeholder text, code, menus and error pages. It is part of the recipe of
    FineWeb, together with ``gopher_repetition``, ``gopher_quality`` and ``fineweb_quality``.

    The reason is the first rule that a text fails, in the order below. A text exactly at a limit passes; ``null``, or
    an empty list, disables a rule. The phrases are English. A character of a script written without blanks counts as a
    word.

    Notes
    -----
    Deviations: C4 also deletes lines from the pages that it keeps. Here texts are not changed: a text is judged by its
    good lines, and kept completely; ``min_remaining_word_rate`` drops those that would lose much.

    References
    ----------
    Raffel et al. (2020), Exploring the Limits of Transfer Learning, arXiv:1910.10683, section 2.2.
    """

    page_phrases: Phrases = PAGE_PHRASES
    """Phrases for which a text is dropped, in any case. Each is a rule."""

    bad_words: Phrases = ()
    """Words for which a text is dropped, in any case, but not as parts of longer words. C4 uses the "List of Dirty,
    Naughty, Obscene or Otherwise Bad Words", which is not included."""

    min_sentences: Annotated[int, Ge(0)] | None = 3
    """Minimum number of sentences in good lines."""

    min_remaining_word_rate: Rate | None = None
    """Minimum share of words in good lines; C4 has no such rule."""

    line_phrases: Phrases = LINE_PHRASES
    """Phrases for which a line is bad, in any case."""

    terminal_lines: bool = True
    """Whether a good line must end with terminal punctuation or a quotation mark, and not in an ellipsis."""

    min_line_words: Annotated[int, Ge(0)] | None = 5
    """Minimum number of words in a good line."""

    def rules(self) -> list[Rule]:
        """Return the rules in the order in which they are applied."""
        return [
            *(Rule(f"contains {phrase}", 0, f"contains {phrase!r}", is_minimum=False) for phrase in self.page_phrases),
            *max_rule("bad_words", 0 if self.bad_words else None, "contains a bad word"),
            *min_rule("sentences", self.min_sentences, "fewer than {} sentences would remain"),
            *min_rule("remaining_word_rate", self.min_remaining_word_rate, "less than {%} of its words would remain"),
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

"""Gopher quality rules: texts whose words and lines are not those of prose are dropped."""

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
    ("hash_word_rate", "max_symbol_word_rate", "more than {} number signs per word"),
    ("ellipsis_word_rate", "max_symbol_word_rate", "more than {} ellipses per word"),
    ("bullet_line_rate", "max_bullet_line_rate", "more than {%} of its lines begin with a bullet"),
    ("ellipsis_line_rate", "max_ellipsis_line_rate", "more than {%} of its lines end in an ellipsis"),
    ("alphabetic_word_rate", "min_alphabetic_word_rate", "fewer than {%} of its words have a letter"),
    ("stop_words", "min_stop_words", "fewer than {} different stop words"),
)
"""Measure, field with its limit, and reason of each rule, in the order in which the rules are applied."""

_AROUND_WORDS = punctuation + "“”‘’«»‹›„…–—。、，！？「」"


def gopher_quality(texts: Sequence[str], *, stop_words: Collection[str] = STOP_WORDS) -> Measures:
    r"""Measure texts for Gopher's quality rules.

    Words are separated by white space and keep their punctuation; a character of a script written without blanks, such
    as Chinese, Japanese or Thai, is a word. A line counts if it is not blank, without the white space around it.

    Parameters
    ----------
    texts : n strings
    stop_words : compared with words without surrounding punctuation, in any case

    Returns
    -------
    (n,) float64 for each name in ``MEASURES``, 0 for a blank text: number of words; their mean length in characters;
        number signs, and ellipses, per word; share of words with a letter; number of distinct stop words; share of
        lines that begin with a bullet, and that end with an ellipsis

    Notes
    -----
    Cost: O(characters) time; memory for the words of one text, some 60 bytes each.

    Deviations: the paper leaves open how words, lines, bullets and ellipses are defined. Bullets are those of
    ``curate.kernels.text.lines``, including hyphen and asterisk; ellipses are "…" and three full stops. The well-known
    implementation in datatrove takes words from a tokenizer, so that punctuation is a separate word (excluded from
    their number and mean length, not from the rates), counts blank lines, knows two bullets, and finds no stop word
    with a capital letter.

    References
    ----------
    Rae et al. (2021), arXiv:2112.11446, appendix A.1.1, "Quality Filtering".

    Examples
    --------
    >>> measures = gopher_quality(["# The end of\n- it all ..."])
    >>> [float(measures[name][0]) for name in ("words", "stop_words", "bullet_line_rate", "hash_word_rate")]
    [8.0, 2.0, 0.5, 0.125]
    """
    stop_word_set = frozenset(word.lower() for word in stop_words)
    rows = [
        (*_word_measures(text, split_words(text), stop_word_set), *_line_measures(split_lines(text))) for text in texts
    ]
    return dict(zip(MEASURES, np.array(rows, np.float64).reshape(-1, len(MEASURES)).T, strict=True))


def _word_measures(text: str, tokens: Sequence[str], stop_words: frozenset[str]) -> tuple[float, ...]:
    n = max(1, len(tokens))
    n_without_letter = sum(not any(map(str.isalpha, word)) for word in tokens if not word.isalpha())
    return (
        len(tokens),
        sum(map(len, tokens)) / n,
        text.count("#") / n,
        (text.count("...") + text.count("…")) / n,
        (len(tokens) - n_without_letter) / n,
        len(stop_words & {word.strip(_AROUND_WORDS).lower() for word in set(tokens)}),
    )


def _line_measures(text_lines: Sequence[str]) -> tuple[float, ...]:
    n = max(1, len(text_lines))
    return (
        sum(line.startswith(BULLETS) for line in text_lines) / n,
        sum(line.endswith(("...", "…")) for line in text_lines) / n,
    )


def _check_stop_words(stop_words: Collection[str], minimum: int) -> None:
    """Raise ValueError unless each stop word can be found, and ``minimum`` distinct ones exist."""
    for word in stop_words:
        if split_words(word) != [word] or word.strip(_AROUND_WORDS) != word:
            raise ValueError(f"stop_words: {word!r} is not a single word without surrounding punctuation")
    n_distinct = len({word.lower() for word in stop_words})
    if minimum > n_distinct:
        raise ValueError(
            f"min_stop_words: must be at most {n_distinct}, the number of distinct stop words; got {minimum}"
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
class GopherQuality:
    """Drop rows that fail one of Gopher's quality rules on words and lines.

    Use it for English web pages, to drop lists, tables, code and text fragments. For other languages, set
    ``min_stop_words`` to ``null`` or list stop words of the language; for scripts without blanks also set
    ``min_mean_word_length`` to ``null``. ``lexical_quality`` gives the same measures as a score.

    The reason is the first rule that a text fails, in the order below. A text exactly at a limit passes; ``null``
    disables a rule. A character of a script written without blanks counts as a word.

    Notes
    -----
    Deviations: words are separated by white space; other implementations use a tokenizer.

    References
    ----------
    Rae et al. (2021), arXiv:2112.11446, appendix A.1.1, "Quality Filtering".
    """

    min_words: Annotated[int, Ge(0), Le(1_000_000)] | None = 50
    """Minimum number of words."""

    max_words: Annotated[int, Ge(0)] | None = 100_000
    """Maximum number of words."""

    min_mean_word_length: Annotated[float, Ge(0)] | None = 3.0
    """Minimum mean length of the words, in characters."""

    max_mean_word_length: Annotated[float, Gt(0)] | None = 10.0
    """Maximum mean length of the words, in characters."""

    max_symbol_word_rate: Annotated[float, Ge(0)] | None = 0.1
    """Maximum number of number signs (#), and of ellipses, per word: two rules."""

    max_bullet_line_rate: Rate | None = 0.9
    """Maximum share of lines that begin with a bullet."""

    max_ellipsis_line_rate: Rate | None = 0.3
    """Maximum share of lines that end with an ellipsis."""

    min_alphabetic_word_rate: Rate | None = 0.8
    """Minimum share of words that contain a letter."""

    min_stop_words: Annotated[int, Ge(0)] | None = 2
    """Minimum number of distinct stop words."""

    stop_words: tuple[str, ...] = STOP_WORDS
    """Words that coherent texts contain, in any case."""

    def __post_init__(self) -> None:
        check_limits(self, "words", "mean_word_length")
        _check_stop_words(self.stop_words, self.min_stop_words or 0)

    def rules(self) -> list[Rule]:
        """Return the rules in the order in which they are applied."""
        return build_rules(self, LIMITS)

    def select(self, pool: Pool, budget: None, rng: np.random.Generator) -> Selection:  # noqa: ARG002
        rules = self.rules()
        failed = find_first_failed(require(pool.texts), partial(gopher_quality, stop_words=self.stop_words), rules)
        return Selection.from_failed_rules(failed, [rule.reason for rule in rules])

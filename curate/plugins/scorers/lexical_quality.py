"""Published heuristics that separate prose from junk by counts of characters, words and lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from curate.kernels.text.char_ngrams import text_blocks
from curate.kernels.types import Matrix
from curate.plugins.batches import ScoreBatch, require
from curate.plugins.interfaces import OutputColumn, scorer

_ANY = float("inf")
_BLOCK = 1 << 22  # characters at a time, about 40 bytes each

_STOP_WORDS = r"(?i)\b(?:the|be|to|of|and|that|have|with)\b"
_BULLET = r"^[-*•‣◦▪●]"
_ELLIPSIS = r"(?:\.\.\.|…)$"
_TERMINAL = r"[.!?。！？]['\"”’」』)]*$"

COLUMNS = (
    OutputColumn(higher_is_better=True, unit="share of checks", range=(0.0, 1.0), higher_means="more like clean prose"),
    OutputColumn(
        name="mean_word_length",
        higher_is_better=True,
        unit="characters",
        range=(0.0, _ANY),
        higher_means="longer words",
    ),
    OutputColumn(
        name="hash_word_rate", higher_is_better=False, unit="per word", range=(0.0, _ANY), higher_means="more # signs"
    ),
    OutputColumn(
        name="ellipsis_word_rate",
        higher_is_better=False,
        unit="per word",
        range=(0.0, _ANY),
        higher_means="more ellipses",
    ),
    OutputColumn(
        name="alphabetic_word_rate",
        higher_is_better=True,
        unit="share of words",
        range=(0.0, 1.0),
        higher_means="more words with letters",
    ),
    OutputColumn(
        name="stop_words",
        higher_is_better=True,
        unit="different stop words",
        range=(0.0, 8.0),
        higher_means="more everyday words",
    ),
    OutputColumn(
        name="bullet_line_rate",
        higher_is_better=False,
        unit="share of lines",
        range=(0.0, 1.0),
        higher_means="more bullet points",
    ),
    OutputColumn(
        name="ellipsis_line_rate",
        higher_is_better=False,
        unit="share of lines",
        range=(0.0, 1.0),
        higher_means="more lines cut off",
    ),
    OutputColumn(
        name="duplicate_line_rate",
        higher_is_better=False,
        unit="share of lines",
        range=(0.0, 1.0),
        higher_means="more repeated lines",
    ),
    OutputColumn(
        name="duplicate_line_character_rate",
        higher_is_better=False,
        unit="share of characters",
        range=(0, 1),
        higher_means="more text in repeated lines",
    ),
    OutputColumn(
        name="top_2gram_rate",
        higher_is_better=False,
        unit="share of characters",
        range=(0.0, 1.0),
        higher_means="more repetition",
    ),
    OutputColumn(
        name="top_3gram_rate",
        higher_is_better=False,
        unit="share of characters",
        range=(0.0, 1.0),
        higher_means="more repetition",
    ),
    OutputColumn(
        name="top_4gram_rate",
        higher_is_better=False,
        unit="share of characters",
        range=(0.0, 1.0),
        higher_means="more repetition",
    ),
    OutputColumn(
        name="unique_word_rate",
        higher_is_better=True,
        unit="share of words",
        range=(0.0, 1.0),
        higher_means="less repetition",
    ),
    OutputColumn(
        name="terminal_line_rate",
        higher_is_better=True,
        unit="share of lines",
        range=(0.0, 1.0),
        higher_means="more complete sentences",
    ),
    OutputColumn(
        name="symbol_rate",
        higher_is_better=False,
        unit="share of characters",
        range=(0.0, 1.0),
        higher_means="more symbols",
    ),
    OutputColumn(
        name="digit_rate",
        higher_is_better=False,
        unit="share of characters",
        range=(0.0, 1.0),
        higher_means="more digits",
    ),
    OutputColumn(
        name="uppercase_rate",
        higher_is_better=False,
        unit="share of letters",
        range=(0.0, 1.0),
        higher_means="more capitals",
    ),
)

CHECKS: tuple[pl.Expr, ...] = (
    pl.col("words").is_between(50, 100_000),
    pl.col("mean_word_length").is_between(3, 10),
    (pl.col("hash_word_rate") <= 0.1) & (pl.col("ellipsis_word_rate") <= 0.1),
    pl.col("alphabetic_word_rate") >= 0.8,
    pl.col("stop_words") >= 2,
    pl.col("bullet_line_rate") <= 0.9,
    pl.col("ellipsis_line_rate") <= 0.3,
    pl.col("duplicate_line_rate") <= 0.3,
    pl.col("duplicate_line_character_rate") <= 0.2,
    pl.col("top_2gram_rate") <= 0.2,
    pl.col("top_3gram_rate") <= 0.18,
    pl.col("top_4gram_rate") <= 0.16,
)
"""Checks of Rae et al. (2021), appendix A.1.1: the first seven from its text, the others from its table A1."""


def lexical_quality(texts: Sequence[str]) -> Matrix:
    r"""Compute the share of published checks that a text passes, and the measures they use.

    A word is a run of characters that are not white space; a line counts if it is not blank, without the white space
    around it; characters are those that are not white space.

    Parameters
    ----------
    texts : n strings

    Returns
    -------
    (n, 18) float32, in the order and the ranges of ``COLUMNS``; never NaN. A blank text has 0 in every column.

    Notes
    -----
    Cost: O(characters), about 40 bytes of memory for each of 4 million characters at a time.

    Deviations: paragraphs and duplicate 5- to 10-grams are omitted. An n-gram counts only if it occurs twice, so that
    short texts do not fail only because they are short; its characters are counted without blanks, and at most as many
    as the text has, though occurrences may overlap. Of equally frequent n-grams the longest counts.

    References
    ----------
    Rae et al. (2021), arXiv:2112.11446, appendix A.1.1 and table A1: the checks. Raffel et al. (2020),
    arXiv:1910.10683, section 2.2: lines that end in terminal punctuation.

    Examples
    --------
    >>> text = "It is the end of the line.\nIt is the end of the line."
    >>> score = dict(zip([column.name for column in COLUMNS], lexical_quality([text])[0].tolist()))
    >>> score["stop_words"], score["duplicate_line_rate"], score["terminal_line_rate"]
    (2.0, 0.5, 1.0)
    """
    blocks = [_measure_block(texts[rows]) for rows in text_blocks(texts, _BLOCK)]
    return np.concatenate(blocks) if blocks else np.empty((0, len(COLUMNS)), np.float32)


def _measure_block(texts: Sequence[str]) -> Matrix:
    frame = pl.DataFrame({"text": pl.Series(texts, dtype=pl.String)}).with_row_index("row")
    words = frame.select("row", word=pl.col("text").str.extract_all(r"\S+")).explode("word").drop_nulls()
    parts = [_count_lines(frame), _count_distinct_words(words), *(_top_ngram(words, n) for n in (2, 3, 4))]
    table = frame.select("row", *_count_expressions(pl.col("text").str))
    for part in parts:
        table = table.join(part, on="row", how="left", maintain_order="left")
    characters, ngram_names = pl.col("characters"), ("top_2gram", "top_3gram", "top_4gram")
    table = table.fill_null(0).select(
        "words",
        "stop_words",
        mean_word_length=characters / pl.col("words"),
        hash_word_rate=pl.col("hashes") / pl.col("words"),
        ellipsis_word_rate=pl.col("ellipses") / pl.col("words"),
        alphabetic_word_rate=pl.col("alphabetic_words") / pl.col("words"),
        unique_word_rate=pl.col("unique_words") / pl.col("words"),
        duplicate_line_character_rate=pl.col("duplicate_line_characters") / characters,
        symbol_rate=pl.col("symbols") / characters,
        digit_rate=pl.col("digits") / characters,
        uppercase_rate=pl.col("uppercase") / pl.col("letters"),
        **{f"{kind}_line_rate": pl.col(f"{kind}_lines") / pl.col("lines") for kind in _LINE_KINDS},
        **{f"{name}_rate": (pl.col(name) / characters).clip(upper_bound=1) for name in ngram_names},
    )
    passed = pl.when(pl.col("words") > 0).then(pl.sum_horizontal(*CHECKS) / len(CHECKS)).otherwise(0)
    table = table.fill_nan(0).with_columns(passed.alias(""))
    return table.select(pl.col(column.name).cast(pl.Float32) for column in COLUMNS).to_numpy()


_LINE_KINDS = ("bullet", "ellipsis", "terminal", "duplicate")
"""Kinds of lines that are counted."""


def _count_expressions(text: pl.expr.string.ExprStringNameSpace) -> list[pl.Expr]:
    stop_words = text.extract_all(_STOP_WORDS).list.eval(pl.element().str.to_lowercase()).list.n_unique()
    return [
        stop_words.alias("stop_words"),
        *(
            text.count_matches(pattern).alias(name)
            for name, pattern in {
                "characters": r"\S",
                "words": r"\S+",
                "hashes": "#",
                "ellipses": r"\.\.\.|…",
                "alphabetic_words": r"\S*\p{L}\S*",
                "symbols": r"[^\w\s]",
                "digits": r"\p{Nd}",
                "letters": r"\p{L}",
                "uppercase": r"\p{Lu}",
            }.items()
        ),
    ]


def _count_lines(frame: pl.DataFrame) -> pl.DataFrame:
    """Count the lines of a text by kind; a duplicate is a line that occurred before in the text."""
    line = pl.col("line")
    lines = (
        frame.select("row", line=pl.col("text").str.split("\n"))
        .explode("line")
        .with_columns(line.str.strip_chars())
        .filter(line != "")
        .with_columns(duplicate=~pl.struct("row", "line").is_first_distinct())
    )
    return lines.group_by("row").agg(
        lines=pl.len(),
        bullet_lines=line.str.contains(_BULLET).sum(),
        ellipsis_lines=line.str.contains(_ELLIPSIS).sum(),
        terminal_lines=line.str.contains(_TERMINAL).sum(),
        duplicate_lines=pl.col("duplicate").sum(),
        duplicate_line_characters=line.filter("duplicate").str.count_matches(r"\S").sum(),
    )


def _count_distinct_words(words: pl.DataFrame) -> pl.DataFrame:
    return words.group_by("row").agg(unique_words=pl.col("word").str.to_lowercase().n_unique())


def _top_ngram(words: pl.DataFrame, n: int) -> pl.DataFrame:
    """Count the characters that the most frequent n-gram of a text covers, if it occurs twice."""
    count, characters = pl.col("count"), pl.col("characters")
    grams = (
        words.select("row", gram=pl.concat_str([pl.col("word").shift(-i) for i in range(n)], separator=" "))
        .filter(pl.col("row") == words["row"].shift(1 - n))
        .group_by("row", "gram")
        .agg(count=pl.len())
        .filter(count > 1)
        .filter(count == count.max().over("row"))
        .with_columns(characters=count * (pl.col("gram").str.len_chars() - (n - 1)))
    )
    return grams.group_by("row").agg(characters.max().alias(f"top_{n}gram"))


@scorer(
    version=2,
    reads={"text"},
    columns=COLUMNS,
    cost="O(characters)",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class LexicalQuality:
    """Share of twelve published checks for junk that the text passes, with one column for each measure.

    Use it for a first look at web text: sort rows by it, or write your own rules over its columns with ``where``. To
    drop junk by the published rules, use ``gopher_quality``, ``gopher_repetition``, ``c4_quality`` and
    ``fineweb_quality``, which report reasons.

    The checks: 50 to 100,000 words; a mean word length of 3 to 10; at most one # and at most one ellipsis per ten
    words; a letter in 80 % of the words; two of the stop words the, be, to, of, and, that, have, with; at most 90 % of
    the lines begin with a bullet; at most 30 % end with an ellipsis; at most 30 % of the lines, and 20 % of the
    characters, in lines that occurred before; at most 20, 18 and 16 % of the characters in the most frequent 2-, 3- and
    4-gram of words. They were designed for English web pages: for short answers, code and other languages, compare only
    texts of one kind, or use the columns. A blank text scores 0 in every column.

    References
    ----------
    Rae et al. (2021), arXiv:2112.11446, appendix A.1.1 and table A1. Raffel et al. (2020), arXiv:1910.10683.
    """

    def score(self, batch: ScoreBatch, rng: np.random.Generator) -> Matrix:  # noqa: ARG002 - nothing is drawn
        return lexical_quality(require(batch.texts))

"""Heuristics that separate prose from junk."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.plugins.scorers import lexical_quality as module
from curate.plugins.scorers.lexical_quality import CHECKS, COLUMNS, lexical_quality

NAMES = [column.name for column in COLUMNS]
PROSE = (
    "The harbour was quiet when the first boats came back from the night's work. Men who had not slept\n"
    "carried crates of herring along the quay, and their breath stood white in the morning air. A girl\n"
    "on the sea wall counted them, as she did every day, to know that none of her brothers had been lost.\n"
    "Later, with the market open and the gulls loud, nobody would have guessed how still it had been."
)
pieces = st.sampled_from(
    ["the", "a", "word", "WORD", "#", "...", "…", "12", "你好。", "🎉", "- ", "* ", "\n", " ", "end.", "x" * 12]
)
texts = st.lists(pieces, max_size=40).map(" ".join) | st.text(max_size=20)


def scores(text):
    return dict(zip(NAMES, lexical_quality([text])[0].tolist(), strict=True))


def slow_top_ngram(text, n):
    words = text.split(" ")
    counts = Counter(zip(*(words[i:] for i in range(n)), strict=False))
    best = max(counts.values(), default=0)
    if best < 2:
        return 0.0
    covered = max(best * sum(map(len, gram)) for gram, count in counts.items() if count == best)
    return min(1.0, covered / sum(map(len, words)))


@given(st.lists(texts, max_size=5))
def test_every_value_is_a_number_in_the_declared_range(sample):
    result = lexical_quality(sample)
    assert result.shape == (len(sample), len(COLUMNS))
    assert result.dtype == np.float32
    for column, values in zip(COLUMNS, result.T, strict=True):
        assert ((values >= column.range[0]) & (values <= column.range[1]) & np.isfinite(values)).all(), column.name


@given(st.lists(texts, min_size=1, max_size=5))
def test_a_score_does_not_depend_on_other_texts(sample):
    alone = np.concatenate([lexical_quality([text]) for text in sample])
    np.testing.assert_array_equal(lexical_quality(sample), alone)


def test_blocks_do_not_change_a_score(monkeypatch):
    sample = [PROSE, "", "a b", "word " * 50]
    complete = lexical_quality(sample)
    monkeypatch.setattr(module, "_BLOCK", 10)
    np.testing.assert_array_equal(lexical_quality(sample), complete)


@given(st.lists(st.sampled_from(["ab", "cd", "efg", "a"]), min_size=1, max_size=14).map(" ".join))
def test_top_ngrams_are_those_of_a_counter(text):
    result = scores(text)
    for n in (2, 3, 4):
        assert result[f"top_{n}gram_rate"] == pytest.approx(slow_top_ngram(text, n), rel=1e-6)


def test_prose_passes_every_check():
    assert scores(PROSE)[""] == 1


LINES = PROSE.split("\n")
JUNK = {
    "words": "\n".join(LINES[:2]),
    "mean_word_length": PROSE.replace("e", "e" * 20),
    "hash_word_rate": PROSE + " #" * 12,
    "ellipsis_word_rate": PROSE + " …" * 12,
    "alphabetic_word_rate": PROSE + "".join(f" {i:04d}" for i in range(25)),
    "stop_words": PROSE.replace("the ", "das ")
    .replace("The ", "Das ")
    .replace("and ", "und ")
    .replace("that", "dass")
    .replace("have ", "habe ")
    .replace("to ", "zu ")
    .replace("with ", "mit ")
    .replace("of ", "von ")
    .replace("be ", ""),
    "bullet_line_rate": "\n".join(f"- {line}" for line in LINES),
    "ellipsis_line_rate": PROSE.replace("\n", "…\n", 2),
    "duplicate_line_rate": PROSE + "\nHi" * 4,
    "duplicate_line_character_rate": "\n".join([*LINES, max(LINES, key=len)]),
}
"""Prose that was spoilt so that it fails one check, by what the check measures."""


@pytest.mark.parametrize("measure", JUNK)
def test_what_is_wrong_in_one_way_fails_one_check(measure):
    spoilt = scores(JUNK[measure])
    assert spoilt[""] == pytest.approx(1 - 1 / len(CHECKS))


def test_hashes_and_ellipses_are_limited_each_to_a_tenth_and_not_together():
    """Of 100 words, ten of each are enough and eleven of either too many."""
    prose = " ".join((PROSE.split() * 2)[:80]) + "."
    both = scores(f"{prose}{' #' * 10}{' …' * 10}")
    assert (both["hash_word_rate"], both["ellipsis_word_rate"]) == pytest.approx((0.1, 0.1))
    assert scores(f"{prose}{' #' * 10}{' …' * 10}")[""] - scores(f"{prose}{' #' * 11}{' …' * 9}")[""] == pytest.approx(
        1 / len(CHECKS)
    )
    assert scores(f"{prose}{' #' * 10}{' …' * 10}")[""] - scores(f"{prose}{' #' * 9}{' …' * 11}")[""] == pytest.approx(
        1 / len(CHECKS)
    )


def test_a_repeated_phrase_fails_the_checks_of_its_ngrams():
    spoilt = scores(PROSE + " buy the cheap watches" * 12)
    assert spoilt[""] == pytest.approx(1 - 3 / len(CHECKS))
    assert min(spoilt[f"top_{n}gram_rate"] for n in (2, 3, 4)) > 0.2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", dict.fromkeys(NAMES, 0)),
        (" \n ", dict.fromkeys(NAMES, 0)),
        ("word", {"": 10 / 12, "mean_word_length": 4, "unique_word_rate": 1, "alphabetic_word_rate": 1}),
        ("你好。你好", {"mean_word_length": 5, "terminal_line_rate": 0, "symbol_rate": 0.2}),
        ("你好。", {"terminal_line_rate": 1}),
        ("🎉🎉", {"symbol_rate": 1, "alphabetic_word_rate": 0, "uppercase_rate": 0}),
        ("THE END 42", {"uppercase_rate": 1, "digit_rate": 0.25, "stop_words": 1, "unique_word_rate": 1}),
        ("The the THE", {"unique_word_rate": 1 / 3, "stop_words": 1}),
        ("- a\n* b\n\n  • c\nd", {"bullet_line_rate": 0.75}),
        (
            "so...\nand…\nyes",
            {"ellipsis_line_rate": 2 / 3, "ellipsis_word_rate": 2 / 3, "hash_word_rate": 0, "stop_words": 1},
        ),
        ("ab\ncdef\n ab \nab", {"duplicate_line_rate": 0.5, "duplicate_line_character_rate": 0.4}),
        ("a b a b c", {"top_2gram_rate": 0.8, "top_3gram_rate": 0, "top_4gram_rate": 0}),
        ('He said "no."\nmaybe', {"terminal_line_rate": 0.5}),
        ("word " * 200_000, {"mean_word_length": 4, "top_2gram_rate": 1, "unique_word_rate": 1 / 200_000}),
    ],
    ids=lambda value: repr(value)[:24] if isinstance(value, str) else "",
)
def test_values_of(text, expected):
    result = scores(text)
    assert {name: result[name] for name in expected} == pytest.approx(expected, rel=1e-6)


def test_no_texts_have_no_scores():
    assert lexical_quality([]).shape == (0, len(COLUMNS))

"""The repetition rules of Gopher drop values beyond a limit, keep those at it, and give the reason."""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from dataclasses import fields

import pytest

from curate.plugins.selectors.filters.gopher_repetition import GopherRepetition

TOP = {2: 20, 3: 18, 4: 16}
DUPLICATE = {5: 15, 6: 14, 7: 13, 8: 12, 9: 11, 10: 10}
"""Table A1, in per cent."""

RULES = [
    "more than 30 % of its lines occurred before",
    "more than 30 % of its paragraphs occurred before",
    "more than 20 % of its characters are in lines that occurred before",
    "more than 20 % of its characters are in paragraphs that occurred before",
    *(f"more than {limit} % of its characters are in its most frequent {n}-gram" for n, limit in TOP.items()),
    *(f"more than {limit} % of its characters are in {n}-grams that occurred before" for n, limit in DUPLICATE.items()),
]
"""In the order of the table."""


def only(field):
    """Return the filter with one rule enabled, at its default."""
    names = {one.name for one in fields(GopherRepetition)}
    return GopherRepetition(**dict.fromkeys(names - {field}))


def pieces(rate, between):
    """Return ten lines or paragraphs, ``rate`` of which are repeats."""
    return between.join([*"abcdefghij"[: 10 - rate], *"a" * rate])


def said_twice(n, others):
    """Return a repeated sequence of n five-letter words and two other words."""
    run = " ".join("v" * 4 + letter for letter in "abcdefghij"[:n])
    return f"{run} {'-' * 5} {run} {'=' * (others - 5)}"


CASES = [
    pytest.param("max_duplicate_line_rate", pieces(3, "\n"), pieces(4, "\n"), id="lines"),
    pytest.param("max_duplicate_paragraph_rate", pieces(3, "\n\n"), pieces(4, "\n\n"), id="paragraphs"),
    *(
        pytest.param(
            f"max_duplicate_{piece}_character_rate",
            between.join(["a" * 20, "b" * 60, "a" * 20]),
            between.join(["a" * 20, "b" * 59, "a" * 20]),
            id=f"{piece}-characters",
        )
        for piece, between in (("line", "\n"), ("paragraph", "\n \n"))
    ),
    *(
        pytest.param(
            f"max_top_{n}gram_character_rate",
            said_twice(n, math.ceil(1000 * n / limit) - 10 * n),
            said_twice(n, math.ceil(1000 * n / limit) - 10 * n - 1),
            id=f"top-{n}gram",
        )
        for n, limit in TOP.items()
    ),
    *(
        pytest.param(
            f"max_duplicate_{n}gram_character_rate",
            said_twice(n, math.ceil(500 * n / limit) - 10 * n),
            said_twice(n, math.ceil(500 * n / limit) - 10 * n - 1),
            id=f"duplicate-{n}gram",
        )
        for n, limit in DUPLICATE.items()
    ),
]


@pytest.mark.parametrize(("field", "inside", "outside"), CASES)
def test_texts_just_inside_a_published_limit_are_kept_and_just_outside_are_dropped(field, inside, outside, outcomes):
    rule = RULES[[case.values[0] for case in CASES].index(field)]
    assert outcomes(only(field), [inside, outside]) == ["", rule]


# ---------------------------------------------------------------- the slow, obvious version


def tokens(text):
    return re.sub("([\u0e00-\u0e7f\u3001-\u303f\u3040-\u30ff\u4e00-\u9fff\uff01-\uff0f])", r" \1 ", text).split()


def of_pieces(some):
    """Return the percentage of repeated pieces, and of characters in them."""
    again = [piece for position, piece in enumerate(some) if piece in some[:position]]
    return 100 * len(again) / max(1, len(some)), 100 * len("".join(again)) / max(1, len("".join(some)))


def within(words, places, n):
    """Return the percentage of characters covered by the n-grams at the given positions."""
    covered = set(itertools.chain.from_iterable(range(position, position + n) for position in places))
    return 100 * sum(len(words[position]) for position in covered) / max(1, len("".join(words)))


def top(words, n):
    grams = [tuple(words[position : position + n]) for position in range(len(words) - n + 1)]
    frequent = Counter(grams).most_common()
    if not frequent or frequent[0][1] == 1:
        return 0
    most = [gram for gram, times in frequent if times == frequent[0][1]]
    longest = max(most, key=lambda gram: len("".join(gram)))
    return within(words, [position for position, gram in enumerate(grams) if gram == longest], n)


def duplicate(words, n):
    grams = [tuple(words[position : position + n]) for position in range(len(words) - n + 1)]
    seen, positions = set(), []
    for position, gram in enumerate(grams):
        if gram in seen:
            positions.append(position)
        seen.add(gram)
    return within(words, positions, n)


def reference(text):
    """Return the rows of table A1 that a text fails."""
    words = tokens(text)
    stripped = [line.strip() for line in text.split("\n")]
    lines = of_pieces([line for line in stripped if line])
    paragraphs = of_pieces(
        [piece.strip("\n") for piece in re.split(r"\n\n+", "\n".join(stripped)) if piece.strip("\n")]
    )
    rows = [
        lines[0] > 30,
        paragraphs[0] > 30,
        lines[1] > 20,
        paragraphs[1] > 20,
        *(top(words, n) > limit for n, limit in TOP.items()),
        *(duplicate(words, n) > limit for n, limit in DUPLICATE.items()),
    ]
    return [rule for rule, fails in zip(RULES, rows, strict=True) if fails]


@pytest.fixture(scope="module")
def failed(junk):
    return [reference(text) for text in junk]


def test_the_first_rule_that_the_reference_fails_is_the_reason(junk, failed, outcomes):
    result = outcomes(GopherRepetition(), junk)
    assert result == [(*rules, "")[0] for rules in failed]
    assert result.count("") > 50


@pytest.mark.parametrize("field", [case.values[0] for case in CASES])
def test_each_rule_alone_agrees_with_the_reference(field, junk, failed, outcomes):
    rule = RULES[[case.values[0] for case in CASES].index(field)]
    result = outcomes(only(field), junk)
    assert result == [rule if rule in rules else "" for rules in failed]
    assert set(result) == {"", rule}


# ---------------------------------------------------------------- what counts


def test_short_texts_and_blank_ones_repeat_nothing(outcomes):
    texts = ["", " \n\n ", "one", "two words", "see https://example.org/a/very/long/address now"]
    assert outcomes(GopherRepetition(), texts) == [""] * 5


def test_blank_lines_and_the_space_around_lines_do_not_count(outcomes):
    text = "one line\n\n\n\nanother line\n\n\n\n  one more line"
    assert outcomes(GopherRepetition(), [text]) == [""]
    assert outcomes(only("max_duplicate_line_rate"), ["same\n\n  same\r\n same "]) == [RULES[0]]


def test_the_ends_of_a_long_repeat_count(outcomes):
    """9 words said twice: by steps of 5 words, only 5 of the second 9 would be found: 25 characters of 200."""
    text = said_twice(9, 110)
    assert outcomes(only("max_duplicate_5gram_character_rate"), [text]) == [RULES[7]]


def test_text_without_blanks_is_judged_by_its_characters(outcomes):
    assert outcomes(GopherRepetition(), ["今天天气很好我们一起去公园散步吧", "好吃好吃好吃好吃"]) == ["", RULES[4]]


def test_null_for_every_rule_keeps_every_text(outcomes):
    nothing = GopherRepetition(**dict.fromkeys(one.name for one in fields(GopherRepetition)))
    assert outcomes(nothing, ["a a a a a a a a a a"]) == [""]

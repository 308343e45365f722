"""The quality rules of Gopher drop values beyond a limit, keep those at it, and give the reason."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import fields

import pytest

from curate.plugins.selectors.filters.gopher_quality import GopherQuality

RULES = [
    "fewer than 50 words",
    "more than 100000 words",
    "mean word length below 3",
    "mean word length above 10",
    "more than 0.1 number signs per word",
    "more than 0.1 ellipses per word",
    "more than 90 % of its lines begin with a bullet",
    "more than 30 % of its lines end in an ellipsis",
    "fewer than 80 % of its words have a letter",
    "fewer than 2 different stop words",
]
"""In the order of the paper."""


def prose(n):
    """Return n words, two of them stop words."""
    return ["The", "of", *("spoke" for _ in range(n - 2))]


def lines(n, first, rest):
    """Return ten lines of six words, n of which are ``first``."""
    return "\n".join([first] * n + [rest] * (10 - n))


def long_words(length):
    """Return 50 words: two short ones, one of the given length, and others of ten characters."""
    return " ".join(["the", "and", "w" * length, *["wordswords"] * 47])


CASES = [
    pytest.param(" ".join(prose(50)), " ".join(prose(49)), 0, id="min_words"),
    pytest.param(" ".join(prose(100_000)), " ".join(prose(100_001)), 1, id="max_words"),
    pytest.param("the and " * 25, "the and " * 25 + "to", 2, id="min_mean_word_length"),
    pytest.param(long_words(24), long_words(25), 3, id="max_mean_word_length"),
    pytest.param(" ".join([*prose(45), *["word#"] * 5]), " ".join([*prose(44), *["word#"] * 6]), 4, id="number-signs"),
    pytest.param(" ".join([*prose(45), *["wo...rd"] * 5]), " ".join([*prose(44), *["wo…rd"] * 6]), 5, id="ellipses"),
    pytest.param(
        lines(9, "- the end of some long words", "the end of some long words"),
        lines(10, "• the end of some long words", ""),
        6,
        id="max_bullet_line_rate",
    ),
    pytest.param(
        lines(3, "the end of some long words...", "the end of some long words"),
        lines(4, "the end of some long words …", "the end of some long words"),
        7,
        id="max_ellipsis_line_rate",
    ),
    pytest.param(" ".join([*prose(40), *["1234"] * 10]), " ".join([*prose(39), *["1234"] * 11]), 8, id="alphabetic"),
    pytest.param("Spoke, " * 48 + "(That) HAVE,", "spoke " * 49 + "that", 9, id="min_stop_words"),
]


@pytest.mark.parametrize(("inside", "outside", "rule"), CASES)
def test_texts_just_inside_a_published_limit_are_kept_and_just_outside_are_dropped(inside, outside, rule, outcomes):
    assert outcomes(GopherQuality(), [inside, outside]) == ["", RULES[rule]]


# ---------------------------------------------------------------- the slow, obvious version


def reference(text):
    """Apply the rules of the paper one by one; words and lines are those of the docstring."""
    alone = "\u0e00-\u0e7f\u3001-\u303f\u3040-\u30ff\u4e00-\u9fff\uff01-\uff0f"
    words = re.sub(f"([{alone}])", r" \1 ", text).split()
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    stop_words = {"the", "be", "to", "of", "and", "that", "have", "with"}
    result = {match for word in words for match in [re.sub(r"^\W+|\W+$", "", word).lower()] if match in stop_words}
    n = len(words)
    clauses = [
        n < 50,
        n > 100_000,
        sum(len(word) for word in words) < 3 * n,
        sum(len(word) for word in words) > 10 * n,
        10 * text.count("#") > n,
        10 * len(re.findall(r"\.\.\.|…", text)) > n,
        10 * sum(line[0] in "-*•‣◦▪●" for line in lines) > 9 * len(lines),
        10 * sum(line[-1] == "…" or line[-3:] == "..." for line in lines) > 3 * len(lines),
        10 * sum(any(character.isalpha() for character in word) for word in words) < 8 * n,
        len(result) < 2,
    ]
    return next((rule for rule, fails in zip(RULES, clauses, strict=True) if fails), "")


def test_the_same_as_the_reference_on_junk(junk, outcomes):
    result = outcomes(GopherQuality(), junk)
    assert result == [reference(text) for text in junk]
    assert set(RULES) - set(result) == {"more than 100000 words"}, "every rule is tried"
    assert Counter(result)[""] > 20


# ---------------------------------------------------------------- what can be set


def test_null_switches_a_rule_off_and_the_next_one_is_the_reason(outcomes):
    """A text that fails nearly all, until no rule is left."""
    text, off, reasons = "- # ...\n• 1 …", {}, []
    indices = ["min_words", "min_mean_word_length", "max_symbol_word_rate", "max_bullet_line_rate"]
    for field in [*indices, "max_ellipsis_line_rate", "min_alphabetic_word_rate", "min_stop_words"]:
        reasons += outcomes(GopherQuality(**off), [text])
        off[field] = None
    assert reasons == [RULES[rule] for rule in (0, 2, 4, 6, 7, 8, 9)]
    assert outcomes(GopherQuality(**off), [text]) == [""]


def test_stop_words_of_another_language_or_script(outcomes):
    german = "Das Haus, das wir sahen, ist nicht weit von hier. " * 6
    chinese = "我们的家不远，是在市场的旁边，走路去很近。" * 4
    assert outcomes(GopherQuality(), [german, chinese]) == [RULES[9], RULES[2]]
    assert outcomes(GopherQuality(stop_words=("DAS", "ist")), [german]) == [""]
    assert outcomes(GopherQuality(stop_words=("的", "是"), min_mean_word_length=None), [chinese]) == [""]


def test_a_blank_text_fails_every_minimum(outcomes):
    numbers = [field.name for field in fields(GopherQuality) if field.name.startswith(("min", "max"))]
    for field in numbers:
        only = GopherQuality(**{name: None for name in numbers if name != field})
        assert bool(outcomes(only, [" \n"])[0]) == field.startswith("min")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"min_words": 9, "max_words": 8}, "max_words: must be at least min_words (9), or null; got 8"),
        ({"min_mean_word_length": 11}, "max_mean_word_length: must be at least min_mean_word_length (11)"),
        ({"min_stop_words": 3, "stop_words": ("der", "DER", "das")}, "min_stop_words: must be at most 2"),
        ({"stop_words": ("of the",)}, "stop_words: 'of the' is not a single word"),
        ({"stop_words": ("l'",)}, 'stop_words: "l\'" is not a single word'),
        ({"stop_words": ("我们",)}, "stop_words: '我们' is not a single word"),
        ({"stop_words": ("",)}, "stop_words: '' is not a single word"),
    ],
)
def test_limits_that_no_text_can_pass_are_refused(fields, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        GopherQuality(**fields)
    assert GopherQuality(min_words=9, max_words=9, min_stop_words=2, stop_words=("der", "DER", "don't")).rules()

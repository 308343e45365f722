"""The rules of C4 apply to the remaining sentences of a page, keep values at a limit, and give the reason."""

from __future__ import annotations

import re

import numpy as np
import pytest

from curate.plugins.selectors.filters.c4_quality import C4Quality, c4_quality

TOO_FEW = "fewer than 3 sentences would remain"
LINE = "There is enough in here."
"""Five words, one sentence."""


def left(text, **fields):
    """Return the number of sentences that would remain of a page."""
    return int(c4_quality([text], **fields)["sentences"][0])


# ---------------------------------------------------------------- the published limits


def test_three_sentences_are_enough_and_two_are_not(outcomes):
    assert outcomes(C4Quality(), ["\n".join([LINE] * 3), "\n".join([LINE] * 2)]) == ["", TOO_FEW]
    assert outcomes(C4Quality(), ["One. Two. So that is three.", "One. So that is two sentences."]) == ["", TOO_FEW]


def test_five_words_make_a_line_and_four_do_not(outcomes):
    five, four = "\n".join([LINE] * 3), "\n".join([LINE, LINE, "There is enough here."])
    assert outcomes(C4Quality(), [five, four]) == ["", TOO_FEW]


@pytest.mark.parametrize(
    "end", [".", "!", "?", '"', "”", "。", ".[12]", "![citation needed]", "?[edit][3]", ".[]", ".[\u0662][]"]
)
def test_a_line_that_ends_with_terminal_punctuation_is_left(end):
    assert left(f"So this is a line{end}") == 1


@pytest.mark.parametrize("end", ["", ",", ":", ")", "...", "…", ".[a]", ".[1a]", ".[ ]", ".)"])
def test_a_line_that_ends_otherwise_is_not(end):
    assert left(f"So this is a line{end}") == 0
    assert left(f"So this is a line{end}", terminal_lines=False) == 1


@pytest.mark.parametrize(
    "phrase",
    ["JavaScript", "terms of use", "Privacy Policy", "cookie policy", "uses cookies", "use of cookies", "use cookies"],
)
def test_a_line_with_a_notice_is_not_left(phrase):
    assert left(f"{LINE}\nSo this is about {phrase} too.\n{LINE}") == 2
    assert left(f"So this is about {phrase[:3]}[1]{phrase[3:]} too.") == 0, "once the citation is taken out"
    assert left(f"So this is about {phrase} too.", line_phrases=()) == 1


@pytest.mark.parametrize(
    ("phrase", "reason"),
    [("Lorem  ipsum", ""), ("LOREM ipsum", "contains 'lorem ipsum'"), ("{", "contains '{'"), ("}", "")],
)
def test_a_page_with_placeholder_text_or_code_anywhere_is_dropped(phrase, reason, outcomes):
    assert outcomes(C4Quality(), [f"{LINE} {LINE} {LINE}\n{phrase}"]) == [reason]


# ---------------------------------------------------------------- the slow, obvious version


def reference(text):
    """Apply the rules of the paper, in the order of the fields."""
    page = re.sub(r"\[(\d+|edit|citation needed)\]", "", text.lower())
    for phrase in ("lorem ipsum", "{"):
        if phrase in page:
            return f"contains {phrase!r}"
    count = 0
    for line in map(str.strip, page.split("\n")):
        words = re.sub("([\u3001-\u303f\u3040-\u30ff\u4e00-\u9fff\uff01-\uff0f])", r" \1 ", line).split()
        if not line or line[-1] not in ".!?؟۔।॥።։。！？｡．။។\"'”’»›」』" or line.endswith("...") or len(words) < 5:
            continue
        if any(notice in line for notice in ("javascript", "terms of use", "privacy policy")):
            continue
        pieces = re.split("(?<=[。！？])", line)
        pieces = [part for piece in pieces for part in re.split(r"(?:(?<=[.!?…])|(?<=[.!?…]\"))\s", piece)]
        count += sum(any(character.isalnum() for character in piece) for piece in pieces)
    return "" if count >= 3 else TOO_FEW


def test_the_same_as_the_reference_on_junk(junk, outcomes):
    result = outcomes(C4Quality(), junk)
    assert result == [reference(text) for text in junk]
    assert set(result) == {"", "contains 'lorem ipsum'", "contains '{'", TOO_FEW}


# ---------------------------------------------------------------- what can be set


def test_bad_words_count_only_as_complete_words(outcomes):
    page = " ".join([LINE] * 3)
    plugin = C4Quality(bad_words=("Darn", "very bad", "性"))
    texts = [f"{page}\n{end}" for end in ("darn!", "DARN it", "darning", "a very bad, one", "every bad", "两性的", "")]
    expected = ["contains a bad word", "contains a bad word", "", "contains a bad word", "", "contains a bad word", ""]
    assert outcomes(plugin, texts) == expected


def test_a_bad_word_that_a_pattern_would_take_for_something_else_is_a_plain_string(outcomes):
    page = " ".join([LINE] * 3)
    plugin = C4Quality(bad_words=("a.c", "(("), page_phrases=("{}", "{%}"))
    texts = [f"{page}\n{end}" for end in ("abc", "a.c", "((", "{}")]
    assert outcomes(plugin, texts) == ["", "contains a bad word", "contains a bad word", "contains '{}'"]


def test_the_remaining_rate_is_a_score_and_a_limit(outcomes):
    texts = [f"{LINE} {LINE} {LINE}\n{'chaff ' * chaff}" for chaff in (0, 15, 16)]
    np.testing.assert_allclose(c4_quality([*texts, ""])["remaining_word_rate"], [1, 0.5, 15 / 31, 0])
    reason = "less than 50 % of its words would remain"
    assert outcomes(C4Quality(min_remaining_word_rate=0.5), texts) == ["", "", reason]


def test_empty_and_null_switch_rules_off(outcomes):
    text = "{ lorem ipsum }\nBy using javascript\ntwo words. And more.\n"
    off = {"page_phrases": (), "line_phrases": (), "terminal_lines": False, "min_line_words": None}
    assert outcomes(C4Quality(), [text]) == ["contains 'lorem ipsum'"]
    assert outcomes(C4Quality(page_phrases=()), [text]) == [TOO_FEW]
    assert outcomes(C4Quality(**off), [text]) == [""]
    assert left(text, **{**off, "min_line_words": 0}) == 4
    assert outcomes(C4Quality(page_phrases=(), min_sentences=None), [text]) == [""]


def test_blank_texts_and_dots_have_no_sentence(outcomes):
    assert outcomes(C4Quality(), ["", " \n", ". . . . . . . .\n" * 9, "\ud800"]) == [TOO_FEW] * 4


def test_text_without_blanks_is_counted_by_its_characters(outcomes):
    assert outcomes(C4Quality(), ["今天天气很好。我们去公园！你也来吗？", "今天天气很好。我们去公园"]) == ["", TOO_FEW]

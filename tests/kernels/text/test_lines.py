"""Lines, paragraphs and sentences are split as documented, and duplicates are repeats of earlier ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.kernels.text.lines import count_sentences, duplicate_rates, split_lines, split_paragraphs


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" \n\t\n", []),
        ("a b", [["a b"]]),
        ("\n\n a \n\tb\n\n\n\nc\n", [["a", "b"], ["c"]]),
        ("a\r\n\r\nb\r\nc", [["a"], ["b", "c"]]),
        ("a\n \u3000\nb", [["a"], ["b"]]),
        ("a\u2028b\x0bc", [["a\u2028b\x0bc"]]),
    ],
)
def test_lines_end_with_a_line_feed_and_paragraphs_with_a_blank_line(text, expected):
    assert split_paragraphs(text) == ["\n".join(some) for some in expected]
    assert split_lines(text) == [line for some in expected for line in some]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", 0),
        ("... ?! --", 0),
        ("no mark", 1),
        ("One. Two! Three?", 3),
        ("One. Two and a rest", 2),
        ("Version 3.11 of example.org", 1),
        ("Really?! Yes... and no", 3),
        ('He said "stop." (She did not.) Then...', 3),
        ("Go …  on", 2),
        ("走了。来了！好吗？", 3),
        ("ذهب؟ نعم۔", 2),
        (". . . . .", 0),
        ("A _ . _ .", 1),
    ],
)
def test_sentences_are_counted_by_their_marks(line, expected):
    assert count_sentences(line) == expected


@given(st.lists(st.sampled_from(["a", "bb", "cccc", "\ud800"]), max_size=12))
def test_duplicates_are_counted_as_one_would_by_hand(pieces):
    seen, repeated = set(), []
    for piece in pieces:
        if piece in seen:
            repeated.append(piece)
        seen.add(piece)
    expected = len(repeated) / max(1, len(pieces)), len("".join(repeated)) / max(1, len("".join(pieces)))
    assert duplicate_rates(pieces) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("." * 10**6 + "x", 1),
        ("x." + "'" * 10**6 + "x", 1),
        ("x.'" * 10**6 + "!", 1),
        (" . " * 10**6, 0),
        ("。" * 10**6, 0),
    ],
)
def test_hostile_lines_take_time_in_proportion_to_their_length(line, expected):
    """A pattern that goes back over what it has read would not end."""
    assert count_sentences(line) == expected

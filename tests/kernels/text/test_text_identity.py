"""Text identity has one definition, and a text without visible characters is empty."""

from __future__ import annotations

import sys
import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.kernels.text.text_differences import DIFFERENCES
from curate.kernels.text.text_identity import INVISIBLE, is_blank, normalize

WORDS = "The café's menu"
VISIBLE_FORMATS = "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd"
"""Marks that enclose the digits after them: Unicode's property Prepended_Concatenation_Mark."""

characters = st.text(
    st.sampled_from(
        "aAßİΣς .,$<\t\u3000\u2800\0\x1b\u00ad\u034f\u0345\u200b\u200d\ufe0f\ufeff\u3164\u0301éﬁＡ你\ud800👩"
    )
    | st.characters(),
    max_size=20,
)
differences = st.lists(st.sampled_from(DIFFERENCES), unique=True)


@pytest.mark.parametrize(
    ("same", "needed"),
    [
        pytest.param(unicodedata.normalize("NFD", WORDS), {"unicode"}, id="decomposed"),
        pytest.param("The ca\u00adfé's menu", {"unicode"}, id="soft hyphen"),
        pytest.param("\ufeffThe café's\u200b me\u200cnu\u2060", {"unicode"}, id="zero width"),
        pytest.param("\u202aThe café's menu\u202c", {"unicode"}, id="direction"),
        pytest.param("The café's menu\ufe0f\0\U000e0041", {"unicode"}, id="selector, control and tag"),
        pytest.param("Ｔhe café's menu", {"unicode"}, id="full width"),
        pytest.param("THE CAFÉ'S menu", {"case"}, id="capitals"),
        pytest.param("\tThe\u00a0\u3000café's\u2800menu\n", {"space"}, id="white space"),
        pytest.param("The «cafés» menu…$", {"punctuation"}, id="punctuation"),
        pytest.param("the\u200b CAFE\u0301S  menu", set(DIFFERENCES), id="all"),
    ],
)
def test_a_difference_is_removed_by_its_name_and_by_no_other(same, needed):
    for number in range(1 << len(DIFFERENCES)):
        chosen = [name for bit, name in enumerate(DIFFERENCES) if number >> bit & 1]
        equal = normalize(same, chosen) == normalize(WORDS, chosen)
        assert equal == (needed <= {*chosen}), chosen


@given(characters, differences)
def test_a_normalized_text_is_unchanged(text, chosen):
    done = normalize(text, chosen)
    assert normalize(done, chosen) == done
    assert normalize(text, chosen[::-1]) == done


@given(characters)
def test_nothing_is_removed_unless_named(text):
    assert normalize(text, ()) == text


@given(characters.filter(lambda text: not any("\ud800" <= c <= "\udfff" for c in text)))
def test_a_blank_text_is_one_that_normalizing_empties(text):
    shown = normalize(text, ["unicode", "space"]).strip("\U0001d159" + "".join(map(chr, range(0x13430, 0x13440))) + " ")
    assert is_blank(pa.array([text])).tolist() == [not shown]


def test_all_that_unicode_calls_a_control_a_format_or_a_separator_is_blank_but_for_visible_marks():
    for code in range(sys.maxunicode + 1):
        if unicodedata.category(chr(code)) in ("Cc", "Cf", "Zs", "Zl", "Zp"):
            assert is_blank(pa.array([chr(code) * 2])).tolist() == [chr(code) not in VISIBLE_FORMATS], hex(code)


@pytest.mark.parametrize("category", ["L", "M", "N", "P", "S"])
def test_letters_marks_numbers_punctuation_and_symbols_show_something_with_few_exceptions(category):
    """Hangul and Khmer fillers, joiners, shorthand and musical controls, variation selectors, the blank of braille."""
    codes = [code for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code))[0] == category]
    blank = np.array(codes)[is_blank(pa.array(map(chr, codes)))].tolist()
    exceptions = {
        "L": [0x115F, 0x1160, 0x3164, 0xFFA0],
        "M": [0x34F, 0x17B4, 0x17B5, 0x180B, 0x180C, 0x180D, 0x180F, *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)],
        "S": [0x2800, 0x1D159],
    }
    assert set(blank) <= {*exceptions.get(category, []), 0x13440}


def test_invisible_characters_are_not_white_space():
    assert not any(chr(code).isspace() for first, last in INVISIBLE for code in range(first, last + 1))


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())]
)
def test_blank_texts_of_every_type_of_strings(kind):
    values = ["x", "", None, " \u200b\u2060", "\0", "\u2800\u3164\u00ad", "\u200bx", "\u0301"]
    wanted = [False, True, True, True, True, True, False, False]
    array = pa.array(values).dictionary_encode() if pa.types.is_dictionary(kind) else pa.array(values, kind)
    assert is_blank(array).tolist() == wanted
    assert is_blank(pa.chunked_array([array, array[:2]])).tolist() == wanted + wanted[:2]
    assert is_blank(array[2:5]).tolist() == wanted[2:5]
    assert is_blank(array[:0]).tolist() == []

from typing import get_args

import pytest

from curate.kernels.text.text_differences import DIFFERENCES, Difference
from curate.kernels.text.text_identity import normalize

PAIRS = {"case": ("A b", "a B"), "punctuation": ("a, b", "a b"), "space": ("a  b\n", "a b"), "unicode": ("ｔ", "t")}


def test_the_tuple_names_every_kind():
    assert get_args(Difference) == DIFFERENCES
    assert set(PAIRS) == set(DIFFERENCES)


@pytest.mark.parametrize("difference", DIFFERENCES)
def test_each_kind_makes_texts_differ_until_it_is_ignored(difference):
    one, other = PAIRS[difference]
    others = [name for name in DIFFERENCES if name != difference]
    assert normalize(one, others) != normalize(other, others)
    assert normalize(one, [difference]) == normalize(other, [difference])

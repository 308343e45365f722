"""The first rule that a text fails is its reason; a text at every limit passes."""

from __future__ import annotations

import numpy as np
import pytest

from curate.kernels.text.quality_rules import find_first_failed, max_rule, min_rule
from curate.kernels.types import Texts


def measure(texts):
    return {
        "length": np.array([len(text) for text in texts], float),
        "a": np.array([t.count("a") for t in texts], float),
    }


RULES = [
    *min_rule("length", 2, "shorter than {}"),
    *max_rule("length", None, "longer than {}"),
    *max_rule("a", 1, "more than {} a"),
    *max_rule("length", 4, "longer than {}"),
]


@pytest.mark.parametrize("block", [1, 2, 100])
def test_the_first_rule_failed_is_the_reason_and_the_limit_passes(block):
    texts = ["", "b", "ba", "aab", "aaaaa", "bbbbb", "abbb"]
    assert [rule.reason for rule in RULES] == ["shorter than 2", "more than 1 a", "longer than 4"]
    assert find_first_failed(Texts.from_list(texts, block), measure, RULES).tolist() == [0, 0, -1, 1, 1, 2, -1]


def test_without_a_rule_every_text_stays():
    assert find_first_failed(Texts.from_list(["a", ""]), measure, min_rule("length", None, "")).tolist() == [-1, -1]


@pytest.mark.parametrize(
    ("limit", "reason", "expected"),
    [(0.14, "{%}", "14 %"), (0.005, "{%}", "0.5 %"), (0.1, "{}", "0.1"), (3.0, "{}", "3"), (100_000, "{}", "100000")],
)
def test_reasons_name_the_limit_as_it_is_written(limit, reason, expected):
    assert max_rule("a", limit, reason)[0].reason == expected


def test_very_long_texts_are_processed_alone():
    seen = []

    def spy(texts):
        seen.append([len(text) for text in texts])
        return measure(texts)

    find_first_failed(Texts.from_list(["b", "b" * 2**20, "b", "b"]), spy, RULES)
    assert seen == [[1], [2**20], [1, 1]]

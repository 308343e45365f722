"""The rules of FineWeb drop values beyond a limit, keep those at it, and give the reason."""

from __future__ import annotations

import pytest

from curate.plugins.selectors.filters.fineweb_quality import FineWebQuality

RULES = [
    "fewer than 12 % of its lines end like a sentence",
    "more than 1 % of its characters are in lines that occurred before",
    "more than 67 % of its lines have fewer than 30 characters",
]
OFF = dict.fromkeys(("min_terminal_line_rate", "max_duplicate_line_character_rate", "max_short_line_rate"))


def numbered(n, width, end=""):
    """Return n distinct lines of the given length."""
    return [f"{number:0{width - len(end)}d}{end}" for number in range(n)]


@pytest.mark.parametrize(
    ("field", "inside", "outside", "rule"),
    [
        pytest.param(
            "min_terminal_line_rate",
            numbered(3, 40, ".") + numbered(22, 40),
            numbered(2, 40, ".") + numbered(23, 40),
            0,
        ),
        pytest.param("max_duplicate_line_character_rate", ["a", "a", "b" * 98], ["a", "a", "b" * 97], 1),
        pytest.param(
            "max_short_line_rate", numbered(67, 29) + numbered(33, 30), numbered(68, 29) + numbered(32, 30), 2
        ),
    ],
)
def test_texts_just_inside_a_limit_are_kept_and_just_outside_are_dropped(field, inside, outside, rule, outcomes):
    plugin = FineWebQuality(**{name: None for name in OFF if name != field})
    assert outcomes(plugin, ["\n".join(inside), "\n".join(outside)]) == ["", RULES[rule]]


@pytest.mark.parametrize("mark", ".!?\"'”’»」。！？؟۔।")
def test_marks_that_end_a_line(mark, outcomes):
    assert outcomes(FineWebQuality(max_short_line_rate=None), [f"So be it{mark} ", f"{mark} So be it"]) == [
        "",
        RULES[0],
    ]


def test_a_line_is_short_below_the_length_that_is_set(outcomes):
    texts = ["a" * 9 + ".", "a" * 8 + ".", "  " + "a" * 8 + ".  "]
    reason = "more than 67 % of its lines have fewer than 10 characters"
    assert outcomes(FineWebQuality(short_line_length=10), texts) == ["", reason, reason]


# ---------------------------------------------------------------- the slow, obvious version


def reference(text):
    """Apply the three rules of the paper, with the limits of the pipeline."""
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    again = [line for position, line in enumerate(lines) if line in lines[:position]]
    fails = [
        100 * sum(line[-1] in ".!?؟۔।॥።։。！？｡．။។\"'”’»›」』" for line in lines) < 12 * len(lines) or not lines,
        100 * len("".join(again)) > len("".join(lines)),
        100 * sum(len(line) < 30 for line in lines) > 67 * len(lines),
    ]
    return next((rule for rule, failed in zip(RULES, fails, strict=True) if failed), "")


def test_the_same_as_the_reference_on_junk(junk, outcomes):
    result = outcomes(FineWebQuality(), junk)
    assert result == [reference(text) for text in junk]
    assert set(result) == {"", *RULES}


def test_null_switches_a_rule_off_and_the_next_one_is_the_reason(outcomes):
    text, off, reasons = "same\nsame", {}, []
    for field in OFF:
        reasons += outcomes(FineWebQuality(**off), [text])
        off[field] = None
    assert reasons == RULES
    assert outcomes(FineWebQuality(**off), [text]) == [""]

"""Formatting of numbers and texts, shared by all parts of a report."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from curate.report.evaluation_data import Estimate

DASH = "–"


def count(number: float) -> str:
    """Format a number of things.

    >>> count(12345), count(0), count(3.7)
    ('12,345', '0', '4')
    """
    return f"{number:,.0f}"


def compact(number: float) -> str:
    """Format a large number with a unit prefix.

    >>> [compact(n) for n in (812, 12_345, 999_960, 3_400_000, 2.5e9, 4e12)]
    ['812', '12.3 k', '1 M', '3.4 M', '2.5 B', '4 T']
    """
    for size, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if number >= size * 0.99995:
            return f"{number / size:.1f}".removesuffix(".0") + f" {unit}"
    return count(number)


def plural(number: int, noun: str) -> str:
    """Format a number with a noun in the singular or plural.

    >>> plural(1, "row"), plural(2000, "row"), plural(2, "address")
    ('1 row', '2,000 rows', '2 addresses')
    """
    return f"{count(number)} {noun}{'' if number == 1 else 'es' if noun.endswith('s') else 's'}"


def format_epochs(rows: Sequence[int]) -> str:
    """Return the phrase on the rows per epoch of an epoch plan, which follows the number of kept rows.

    >>> format_epochs([1_000, 1_000]), format_epochs([])
    (', 1,000 in each of 2 epochs', '')
    """
    return f", {count(rows[0])} in each of {plural(len(rows), 'epoch')}" if rows else ""


_KINDS = {
    "key": "key",
    "email": "e-mail address",
    "iban": "account number",
    "card": "card number",
    "ip": "IP address",
    "phone": "phone number",
}


def describe_masked(rows: int, spans: Mapping[str, int]) -> str:
    """Return the phrase on personal data that was masked in the export.

    >>> describe_masked(9, {"email": 12, "phone": 0})
    'masked: 12 e-mail addresses and 0 phone numbers in 9 rows'
    """
    counts = [plural(number, _KINDS.get(kind, kind)) for kind, number in spans.items()]
    return f"masked: {join_words(counts)} in {plural(rows, 'row')}"


def describe_removed_spans(rows: int, spans: int, words: int, empty: int) -> str:
    """Return the phrase on repeated spans that were removed in the export.

    >>> describe_removed_spans(rows=2, spans=3, words=1200, empty=1)
    'removed: 3 repeated spans with 1,200 words from 2 rows, 1 of which is now empty'
    """
    empty_rows = f", {count(empty)} of which {'is' if empty == 1 else 'are'} now empty" if empty else ""
    spans_text = f"{plural(spans, 'repeated span')} with {plural(words, 'word')}"
    return f"removed: {spans_text} from {plural(rows, 'row')}{empty_rows}"


def share(part: float, total: float = 1.0) -> str:
    """Format a fraction in percent, never rounded to 0 % or 100 %.

    >>> share(1, 8), share(1, 100_000), share(99_999, 100_000), share(0, 5), share(5, 5), share(0, 0)
    ('12.5 %', '<0.1 %', '>99.9 %', '0 %', '100 %', '–')
    """
    if not total or math.isnan(part):
        return DASH
    percent = 100 * part / total
    if 0 < percent < 0.1:
        return "<0.1 %"
    if 99.9 < percent < 100:
        return ">99.9 %"
    return f"{percent:.1f}".removesuffix(".0") + " %"


def value(number: float) -> str:
    """Format a score or similarity with three significant digits.

    >>> value(0.12345), value(1234.5), value(2.0), value(-0.00001), value(float("nan"))
    ('0.123', '1,234', '2', '−1e-05', '–')
    """
    if math.isnan(number):
        return DASH
    text = f"{number:,.0f}" if abs(number) >= 1000 and math.isfinite(number) else f"{number:.3g}"
    return text.replace("-", "−", 1) if text.startswith("-") else text


def seconds(number: float) -> str:
    """Format a duration in seconds.

    >>> seconds(0.0312), seconds(3.14159), seconds(75), seconds(7322), seconds(float("nan"))
    ('0.03 s', '3.1 s', '1 min 15 s', '2 h 2 min', '–')
    """
    if math.isnan(number):
        return DASH
    if number < 1:
        return f"{number:.2f} s"
    if number < 59.95:
        return f"{number:.1f} s"
    total = round(number)
    if total < 3600:
        return f"{total // 60} min {total % 60} s"
    return f"{total // 3600:,} h {total % 3600 // 60} min"


def size(number: int | None) -> str:
    """Format a number of bytes.

    >>> size(412_300_000), size(2_500_000_000), size(900), size(None)
    ('412 MB', '2.5 GB', '900 B', '–')
    """
    if number is None:
        return DASH
    if number >= 999.5e6:
        return f"{number / 1e9:.1f} GB"
    for scale, unit in ((1e6, "MB"), (1e3, "kB")):
        if number >= scale * 0.9995:
            return f"{number / scale:.0f} {unit}"
    return f"{number} B"


def short(text: str, length: int) -> str:
    """Shorten a text to at most ``length`` characters, with an ellipsis at the end.

    >>> short("abcdef", 4), short("abcd", 4)
    ('abc…', 'abcd')
    """
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def join_words(words: list[str]) -> str:
    """Join words to a list in a sentence.

    >>> join_words(["a"]), join_words(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def capitalize(text: str) -> str:
    """Return a text that begins with a capital letter, unless it begins with a name that contains an underscore.

    >>> capitalize("use ccs"), capitalize("knn_probe: few test rows")
    ('Use ccs', 'knn_probe: few test rows')
    """
    return text if "_" in text.partition(" ")[0] else text[:1].upper() + text[1:]


# ---------------------------------------------------------------- estimates with errors


def number(mean: float, *, rate: bool) -> str:
    """Format a share in percent, or another number with three significant digits.

    >>> number(0.8971, rate=True), number(12.5, rate=False), number(math.nan, rate=True)
    ('89.7 %', '12.5', '–')
    """
    if math.isnan(mean):
        return DASH
    return f"{100 * mean:.1f} %" if rate else value(mean)


def plus_minus(estimate: Estimate, *, rate: bool) -> str:
    """Format a mean with the half width of its confidence interval, if known.

    >>> plus_minus(Estimate(0.8971, 0.0149, 0), rate=True)
    '89.7 ± 1.5 %'
    """
    if math.isnan(estimate.half_width):
        return number(estimate.mean, rate=rate)
    if rate:
        return f"{100 * estimate.mean:.1f} ± {100 * estimate.half_width:.1f} %"
    return f"{value(estimate.mean)} ± {value(estimate.half_width)}"


def signed(estimate: Estimate, *, rate: bool) -> str:
    """Format a difference with its sign; differences of shares are in percentage points.

    >>> signed(Estimate(0.096, 0.0149, 0), rate=True)
    '+9.6 ± 1.5'
    """
    text = plus_minus(estimate, rate=rate).removesuffix(" %").replace("-", "−")
    return f"+{text}" if estimate.mean > 0 else text


def points(difference: float, half_width: float, *, rate: bool) -> str:
    """Format the size of a difference, without a sign.

    >>> points(-0.096, 0.0149, rate=True), points(0.25, math.nan, rate=False)
    ('9.6 ± 1.5 points', '0.25')
    """
    known = [abs(difference)] if math.isnan(half_width) else [abs(difference), half_width]
    return f"{' ± '.join(f'{100 * part:.1f}' if rate else value(part) for part in known)}{' points' if rate else ''}"


def probability(p: float) -> str:
    """Format a p value.

    >>> probability(0.0004), probability(0.031), probability(math.nan)
    ('<0.001', '0.031', '–')
    """
    if math.isnan(p):
        return DASH
    return "<0.001" if p < 0.001 else f"{p:.3f}"

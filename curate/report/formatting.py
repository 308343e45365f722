"""How numbers and shortened texts are written, the same in every part of a report."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from curate.report.evaluation_data import Estimate

DASH = "–"


def count(number: float) -> str:
    """
    >>> count(12345), count(0), count(3.7)
    ('12,345', '0', '4')
    """
    return f"{number:,.0f}"


def compact(number: float) -> str:
    """
    >>> [compact(n) for n in (812, 12_345, 999_960, 3_400_000, 2.5e9, 4e12)]
    ['812', '12.3 k', '1 M', '3.4 M', '2.5 B', '4 T']
    """
    for size, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if number >= size * 0.99995:
            return f"{number / size:.1f}".removesuffix(".0") + f" {unit}"
    return count(number)


def plural(number: int, noun: str) -> str:
    """
    >>> plural(1, "row"), plural(2000, "row"), plural(2, "address")
    ('1 row', '2,000 rows', '2 addresses')
    """
    return f"{count(number)} {noun}{'' if number == 1 else 'es' if noun.endswith('s') else 's'}"


def in_epochs(rows: Sequence[int]) -> str:
    """What is said after the rows that are kept of a plan with so many in each epoch.

    >>> in_epochs([1_000, 1_000]), in_epochs([])
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


def masked(rows: int, spans: Mapping[str, int]) -> str:
    """What of personal data was replaced when rows were written.

    >>> masked(9, {"email": 12, "phone": 0})
    'masked: 12 e-mail addresses and 0 phone numbers in 9 rows'
    """
    found = [plural(number, _KINDS.get(kind, kind)) for kind, number in spans.items()]
    return f"masked: {listed(found)} in {plural(rows, 'row')}"


def cut(rows: int, spans: int, words: int, empty: int) -> str:
    """What of repeated spans was cut out when rows were written.

    >>> cut(rows=2, spans=3, words=1200, empty=1)
    'cut: 3 repeated spans of 1,200 words out of 2 rows, of which 1 has nothing left'
    """
    left = f", of which {count(empty)} {'has' if empty == 1 else 'have'} nothing left" if empty else ""
    return f"cut: {plural(spans, 'repeated span')} of {plural(words, 'word')} out of {plural(rows, 'row')}{left}"


def share(part: float, whole: float = 1.0) -> str:
    """A fraction in per cent; never rounded to all or nothing.

    >>> share(1, 8), share(1, 100_000), share(99_999, 100_000), share(0, 5), share(5, 5), share(0, 0)
    ('12.5 %', '<0.1 %', '>99.9 %', '0 %', '100 %', '–')
    """
    if not whole or math.isnan(part):
        return DASH
    percent = 100 * part / whole
    if 0 < percent < 0.1:
        return "<0.1 %"
    if 99.9 < percent < 100:
        return ">99.9 %"
    return f"{percent:.1f}".removesuffix(".0") + " %"


def value(number: float) -> str:
    """A score or similarity, in three significant digits.

    >>> value(0.12345), value(1234.5), value(2.0), value(-0.00001), value(float("nan"))
    ('0.123', '1,234', '2', '−1e-05', '–')
    """
    if math.isnan(number):
        return DASH
    text = f"{number:,.0f}" if abs(number) >= 1000 and math.isfinite(number) else f"{number:.3g}"
    return text.replace("-", "−", 1) if text.startswith("-") else text


def seconds(number: float) -> str:
    """
    >>> seconds(0.0312), seconds(3.14159), seconds(75), seconds(7322), seconds(float("nan"))
    ('0.03 s', '3.1 s', '1 min 15 s', '2 h 2 min', '–')
    """
    if math.isnan(number):
        return DASH
    if number < 1:
        return f"{number:.2f} s"
    if number < 59.95:
        return f"{number:.1f} s"
    whole = round(number)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60} min"


def size(number: int | None) -> str:
    """
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
    """At most ``length`` characters, ending in an ellipsis if some are left out.

    >>> short("abcdef", 4), short("abcd", 4)
    ('abc…', 'abcd')
    """
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def listed(words: list[str]) -> str:
    """
    >>> listed(["a"]), listed(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def begun(text: str) -> str:
    """
    >>> begun("use ccs")
    'Use ccs'
    """
    return text[:1].upper() + text[1:]


# ---------------------------------------------------------------- what was measured, with its error


def number(found: float, *, rate: bool) -> str:
    """A share in per cent, anything else in three significant digits.

    >>> number(0.8971, rate=True), number(12.5, rate=False), number(math.nan, rate=True)
    ('89.7 %', '12.5', '–')
    """
    if math.isnan(found):
        return DASH
    return f"{100 * found:.1f} %" if rate else value(found)


def plus_minus(found: Estimate, *, rate: bool) -> str:
    """A mean, with how far chance may have moved it where that is known.

    >>> plus_minus(Estimate(0.8971, 0.0149, 0), rate=True)
    '89.7 ± 1.5 %'
    """
    if math.isnan(found.half_width):
        return number(found.mean, rate=rate)
    if rate:
        return f"{100 * found.mean:.1f} ± {100 * found.half_width:.1f} %"
    return f"{value(found.mean)} ± {value(found.half_width)}"


def signed(found: Estimate, *, rate: bool) -> str:
    """A difference with its sign; of shares in percentage points.

    >>> signed(Estimate(0.096, 0.0149, 0), rate=True)
    '+9.6 ± 1.5'
    """
    told = plus_minus(found, rate=rate).removesuffix(" %").replace("-", "−")
    return f"+{told}" if found.mean > 0 else told


def points(by: float, half_width: float, *, rate: bool) -> str:
    """By how much, without a sign.

    >>> points(-0.096, 0.0149, rate=True), points(0.25, math.nan, rate=False)
    ('9.6 ± 1.5 points', '0.25')
    """
    known = [abs(by)] if math.isnan(half_width) else [abs(by), half_width]
    return f"{' ± '.join(f'{100 * part:.1f}' if rate else value(part) for part in known)}{' points' if rate else ''}"


def probability(p: float) -> str:
    """
    >>> probability(0.0004), probability(0.031), probability(math.nan)
    ('<0.001', '0.031', '–')
    """
    if math.isnan(p):
        return DASH
    return "<0.001" if p < 0.001 else f"{p:.3f}"

"""Detection of personal data and secrets: e-mail and IP addresses, phone, card and account numbers, keys."""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Callable, Collection
from typing import Literal

PiiKind = Literal["key", "email", "iban", "card", "ip", "phone"]
PiiSpan = tuple[int, int, PiiKind]
"""Start, end and kind of a match."""

PII_KINDS: tuple[PiiKind, ...] = ("key", "email", "iban", "card", "ip", "phone")
"""Kinds in the order of detection; the characters of a match are excluded from later kinds."""

PII_VERSION = 1
"""Version of the patterns, raised whenever the same text would give other spans."""

_MASK = "\0"  # replaces spans of earlier kinds; no pattern matches it


def find_pii(text: str) -> list[PiiSpan]:
    r"""Find personal data and secrets in a text, in text order, without overlaps.

    - key: private keys in PEM and OpenPGP format, also if the text ends within one; JSON web tokens; and tokens with
      the prefixes of AWS, GitHub, GitLab, Google, Hugging Face, npm, OpenAI, Anthropic, PyPI, SendGrid, Slack and
      Stripe, in their length and alphabet
    - email: addresses whose domain ends in letters, except names of images (``icon@2x.png``) and the user of repository
      URLs (``git@``)
    - iban: of the length of their country, with a valid check number; spaces between groups of four are allowed
    - card: 13 to 19 digits with the prefix of an issuer and a valid Luhn digit; spaces or hyphens between the usual
      groups are allowed
    - ip: global addresses of both versions. Private, local, multicast and documentation addresses (192.168.0.1,
      203.0.113.7, 2001:db8::1) are not personal and not found; neither are likely version or section numbers: four
      single digits (1.1.1.1 too), or numbers after "version" or "v"
    - phone: with a country code (``+49 30 901820``); North American numbers with hyphens, dots or a bracketed area
      code; and 7 to 15 digits after a word such as "phone", "tel" or "fax". Other runs of digits, dates, ISBNs and
      versions are not matched

    Precision has priority over recall: names, postal addresses and obfuscated text ("at", "dot") are not detected.
    Letters and digits are ASCII, in e-mail addresses also accented Latin letters; text in any other script is a word
    boundary, so that matches need no blanks around them.

    Parameters
    ----------
    text : the text

    Returns
    -------
    list of spans (start, end, kind)

    Notes
    -----
    Cost: O(characters) time for any text, as every pattern is bounded, or begins only where a run of its characters
    does: 5 to 10 million characters of prose a second. Memory: the text twice, and 300 bytes a span.

    References
    ----------
    IBAN: ISO 13616 and its registry's lengths, ISO 7064 MOD 97-10. Cards: ISO/IEC 7812-1, annex B (Luhn). Phone
    numbers: ITU-T E.164. Addresses: IANA's special-purpose registries, RFC 6890. JSON web tokens: RFC 7519. Private
    keys: RFC 7468, RFC 9580.

    Examples
    --------
    >>> text = "Ask ann@example.org, +44 20 7946 0958; card 4111-1111-1111-1111, from 2019-05-12."
    >>> [(kind, text[start:end]) for start, end, kind in find_pii(text)]
    [('email', 'ann@example.org'), ('phone', '+44 20 7946 0958'), ('card', '4111-1111-1111-1111')]
    """
    results: list[PiiSpan] = []
    remaining_text = text
    finders = _FINDERS if _NUMBER.search(text) else _FINDERS_WITHOUT_NUMBERS
    for kind, find in finders:
        matches = find(remaining_text)
        if matches:
            remaining_text = _replace(remaining_text, [(start, end, _MASK * (end - start)) for start, end in matches])
            results += [(start, end, kind) for start, end in matches]
    return sorted(results)


def mask_pii(text: str, kinds: Collection[PiiKind]) -> tuple[str, Counter[PiiKind]]:
    """Replace spans of some kinds with placeholders such as ``<EMAIL>``, and count the spans of each kind.

    All kinds are detected, whichever are masked: a card number is not masked as a phone number if only phones are
    masked.

    Parameters
    ----------
    text : the text
    kinds : kinds to mask

    Returns
    -------
    text : the masked text
    counts : number of masked spans by kind

    Examples
    --------
    >>> mask_pii("ann@example.org or bob@example.org", ["email"])
    ('<EMAIL> or <EMAIL>', Counter({'email': 2}))
    """
    selected = [span for span in find_pii(text) if span[2] in kinds]
    text = _replace(text, [(start, end, f"<{kind.upper()}>") for start, end, kind in selected])
    return text, Counter(kind for _, _, kind in selected)


def _replace(text: str, replacements: list[tuple[int, int, str]]) -> str:
    pieces, last = [], 0
    for start, end, replacement in replacements:
        pieces += [text[last:start], replacement]
        last = end
    return "".join([*pieces, text[last:]])


# ---------------------------------------------------------------- patterns
# For linear time, each quantifier is bounded, or possessive after a lookbehind that excludes its characters. Nested
# quantifiers occur only where every repetition consumes exactly one digit or one label.

_PRIVATE_KEY = re.compile(
    r"-----BEGIN (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----"
    r"(?:(?:[^-]|-(?!----)){16,65536}+-----END [A-Z0-9 ]{0,48}-----|[A-Za-z0-9+/=\s\\]{64,65536}+\Z)",
    re.ASCII,
)
_WEB_TOKEN = re.compile(
    r"(?<![\w.-])eyJ[A-Za-z0-9_-]{10,8192}+\.eyJ[A-Za-z0-9_-]{10,8192}+\.[A-Za-z0-9_-]{10,2048}+(?![\w-])", re.ASCII
)
_TOKENS = (
    r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}",
    r"gh[opsur]_[A-Za-z0-9]{36,255}+",
    r"github_pat_[A-Za-z0-9_]{22,255}+",
    r"glpat-[A-Za-z0-9_-]{20,64}+",
    r"AIza[A-Za-z0-9_-]{35}",
    r"hf_[A-Za-z0-9]{34,40}+",
    r"npm_[A-Za-z0-9]{36}",
    r"pypi-AgE[A-Za-z0-9_-]{48,512}+",
    r"SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}",
    r"xox[abdeoprs]-[A-Za-z0-9-]{10,255}+",
    r"[rs]k_(?:live|test)_[A-Za-z0-9]{16,255}+",
    r"sk-[A-Za-z0-9_-]{20,255}+",
)
_TOKEN = re.compile(f"(?<![A-Za-z0-9_-])(?:{'|'.join(_TOKENS)})(?![A-Za-z0-9_-])", re.ASCII)
_TOKEN_BEGINNINGS = (
    *("AKIA", "ASIA", "ABIA", "ACCA", "gho_", "ghp_", "ghs_", "ghu_", "ghr_", "github_pat_", "glpat-", "AIza", "hf_"),
    *("npm_", "pypi-", "SG.", "xox", "k_live_", "k_test_", "sk-"),
)

_LETTER = "A-Za-zÀ-ÖØ-öø-ɏ"
_LABEL = f"[{_LETTER}0-9](?:[{_LETTER}0-9-]{{0,62}}+)"
_EMAIL = re.compile(
    rf"(?<![{_LETTER}0-9._%+-])(?!git@)[{_LETTER}0-9._%+-]{{1,64}}+@(?:{_LABEL}\.){{1,8}}"
    rf"(?!(?:png|jpe?g|gif|svg|webp)\b)[{_LETTER}]{{2,24}}+(?![0-9])",
    re.ASCII | re.IGNORECASE,
)

_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?![A-Za-z0-9])", re.ASCII)
_IBAN_COUNTRIES = {
    **{15: "NO", 16: "BE", 18: "DK FI FK FO GL NL SD", 19: "MK SI", 20: "AT BA EE KZ LT LU MN XK"},
    **{21: "CH HR LI LV", 22: "BG BH CR DE GB GE IE ME RS VA", 23: "AE GI IL IQ OM SO TL"},
    **{24: "AD CZ ES MD PK RO SA SE SK TN VG", 25: "LY PT ST", 26: "IS TR", 27: "BI DJ FR GR IT MC MR SM"},
    **{28: "AL AZ BY CY DO GT HN HU LB NI PL SV", 29: "BR EG PS QA UA", 30: "JO KW MU YE", 31: "MT SC", 32: "LC"},
    **{33: "RU"},
}
_IBAN_LENGTH = {country: length for length, countries in _IBAN_COUNTRIES.items() for country in countries.split()}

_CARD = re.compile(
    r"(?<![\w.,+-])(?:\d{4}([ -])\d{4}\1\d{4}\1\d{4}|\d{4}([ -])\d{6}\2\d{4,5}|\d{13,19}+)(?!\w|[.,-]\d)", re.ASCII
)
_ISSUER = re.compile(
    r"4(?:.{12}|.{15}|.{18})"  # Visa
    r"|(?:5[1-5]..|222[1-9]|22[3-9].|2[3-6]..|27[01].|2720).{12}"  # Mastercard
    r"|3[47].{13}"  # American Express
    r"|(?:30[0-5]|36.|38.).{11}"  # Diners Club
    r"|(?:6011|65..|64[4-9].).{12}"  # Discover
    r"|35(?:2[89]|[3-8].).{12}"  # JCB
    r"|62.{14,17}"  # UnionPay
)

_IPV4 = re.compile(r"(?<![\w.])(?<![A-Za-z]-)\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}(?!\w|\.\w)", re.ASCII)
_IPV6 = re.compile(r"(?<![\w:.])[23][0-9A-Fa-f]{3}(?::[0-9A-Fa-f]{0,4}){1,6}:[0-9A-Fa-f]{1,4}(?![\w:])", re.ASCII)
_VERSION_BEFORE = re.compile(r"(?:\bv|\bver\.?|version|release|revision|section)[\s:=]*\Z", re.ASCII | re.IGNORECASE)
_SPECIAL_NETWORKS = tuple(
    map(
        ipaddress.ip_network,
        (
            *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
            *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24"),
            *("203.0.113.0/24", "224.0.0.0/3", "2001:db8::/32", "3fff::/20"),
        ),
    )
)

_NUMBER = re.compile(r"\d(?:[ .()/-]{0,2}+\d){4}", re.ASCII)  # part of every card number, phone number and IPv4 address
_DIGITS = r"(?:[ .()/-]{0,2}+\d)"
_INTERNATIONAL = re.compile(rf"(?<![\w+])\+[1-9]{_DIGITS}{{7,14}}(?!\w|[.,]\d)", re.ASCII)
_NORTH_AMERICAN = re.compile(
    r"(?<![\w.+-])(?:1[ .-])?(?:\([2-9]\d\d\) ?[2-9]\d\d[ .-]\d{4}|[2-9]\d\d([.-])[2-9]\d\d\1\d{4})(?!\w|[.,-]\d)",
    re.ASCII,
)
_LABELED = re.compile(
    r"(?<![A-Za-z])(?:tel|telephone|telefon|phone|mobile|cell|fax|whatsapp)"
    rf"(?:[\s.:#]|\bno\b|\bnumber\b|\bis\b){{0,6}}+(\(?\d{_DIGITS}{{6,14}})(?!\w|[.,]\d)",
    re.ASCII | re.IGNORECASE,
)
_DATE = re.compile(r"\(?(?:(?:19|20)\d\d([./ -])\d\d?\1\d\d?|\d\d?([./ -])\d\d?\2(?:19|20)\d\d)(?!\d)", re.ASCII)


# ---------------------------------------------------------------- finders

Find = Callable[[str], list[tuple[int, int]]]


def _private_keys(text: str) -> list[tuple[int, int]]:
    return [match.span() for match in _PRIVATE_KEY.finditer(text)] if "PRIVATE KEY" in text else []


def _web_tokens(text: str) -> list[tuple[int, int]]:
    return [match.span() for match in _WEB_TOKEN.finditer(text)] if "eyJ" in text else []


def _tokens(text: str) -> list[tuple[int, int]]:
    if not any(beginning in text for beginning in _TOKEN_BEGINNINGS):
        return []
    return [match.span() for match in _TOKEN.finditer(text) if _is_token(match[0])]


def _is_token(token: str) -> bool:
    """Return whether a match is a random token; prefixes that are common in names also require digits."""
    if token.startswith("sk-"):
        return all(
            any(predicate(character) for character in token) for predicate in (str.isdigit, str.isupper, str.islower)
        )
    return not token.startswith("xox") or any(map(str.isdigit, token))


def _emails(text: str) -> list[tuple[int, int]]:
    return [match.span() for match in _EMAIL.finditer(text)] if "@" in text else []


def _ibans(text: str) -> list[tuple[int, int]]:
    matches = []
    for match in _IBAN.finditer(text):
        length = _IBAN_LENGTH.get(match[0][:2])
        positions = [position for position, character in enumerate(match[0]) if character != " "]
        if length is None or length > len(positions):
            continue
        end = positions[length - 1] + 1
        number = match[0][:end].replace(" ", "")
        if match[0][end : end + 1] in ("", " ") and _remainder(number) == 1:
            matches.append((match.start(), match.start() + end))
    return matches


def _remainder(iban: str) -> int:
    return int("".join(str(int(character, 36)) for character in iban[4:] + iban[:4])) % 97


def _cards(text: str) -> list[tuple[int, int]]:
    return [match.span() for match in _CARD.finditer(text) if _is_card(re.sub("[ -]", "", match[0]))]


def _is_card(digits: str) -> bool:
    backwards = [int(digit) for digit in reversed(digits)]
    total = sum(backwards[::2]) + sum(sum(divmod(2 * digit, 10)) for digit in backwards[1::2])
    return total % 10 == 0 and _ISSUER.fullmatch(digits) is not None


def _ipv4_addresses(text: str) -> list[tuple[int, int]]:
    matches = []
    for match in _IPV4.finditer(text):
        prefix = text[max(0, match.start() - 16) : match.start()]
        if len(match[0]) > len("1.1.1.1") and _is_global(match[0]) and not _VERSION_BEFORE.search(prefix):
            matches.append(match.span())
    return matches


def _ipv6_addresses(text: str) -> list[tuple[int, int]]:
    if text.count(":") < 2:
        return []
    return [match.span() for match in _IPV6.finditer(text) if _is_global(match[0])]


def _is_global(address: str) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return not any(parsed in network for network in _SPECIAL_NETWORKS)


def _international_phones(text: str) -> list[tuple[int, int]]:
    if "+" not in text:
        return []
    return [match.span() for match in _INTERNATIONAL.finditer(text) if _is_international(match[0])]


def _is_international(number: str) -> bool:
    digits = "".join(filter(str.isdigit, number))
    if re.fullmatch(r"\+\d{4,}\.\d+", number):  # decimal number
        return False
    return not digits.startswith("1") or re.fullmatch(r"1[2-9]\d\d[2-9]\d{6}", digits) is not None


def _north_american_phones(text: str) -> list[tuple[int, int]]:
    return [match.span() for match in _NORTH_AMERICAN.finditer(text)]


def _phones_labeled(text: str) -> list[tuple[int, int]]:
    return [match.span(1) for match in _LABELED.finditer(text) if not _DATE.match(match[1])]


_FINDERS_WITHOUT_NUMBERS: tuple[tuple[PiiKind, Find], ...] = (
    ("key", _private_keys),
    ("key", _web_tokens),
    ("key", _tokens),
    ("email", _emails),
    ("iban", _ibans),
    ("ip", _ipv6_addresses),
)
_FINDERS: tuple[tuple[PiiKind, Find], ...] = (
    *_FINDERS_WITHOUT_NUMBERS[:-1],
    ("card", _cards),
    ("ip", _ipv4_addresses),
    ("ip", _ipv6_addresses),
    ("phone", _international_phones),
    ("phone", _north_american_phones),
    ("phone", _phones_labeled),
)
"""Finders in the order of ``PII_KINDS``."""

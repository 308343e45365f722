"""Personal data and secrets: what is found, what is not, and the time for the worst texts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.kernels.text.pii_patterns import PII_KINDS, find_pii, mask_pii

# Put together here, so that no scanner takes this file for one that holds secrets.
AWS, GITHUB, OPENAI = "AKIA" + "IOSFODNN7EXAMPLE", "gh" + "p_" + "a1B2" * 9, "s" + "k-proj-" + "aB3x" * 9
SLACK, STRIPE, GOOGLE = "xo" + "xb-12345-abcdefgh", "sk" + "_live_" + "aB3x" * 5, "AI" + "za" + "aB3x_" * 7
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
BODY = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIB+/==\n" * 3
PEM = f"-----BEGIN RSA PRIVATE KEY-----\n{BODY}-----END RSA PRIVATE KEY-----"


def found(text):
    return [(kind, text[start:end]) for start, end, kind in find_pii(text)]


@pytest.mark.parametrize(
    ("text", "kind", "span"),
    [
        *((f"x={token};", "key", token) for token in (AWS, GITHUB, OPENAI, SLACK, STRIPE, GOOGLE, TOKEN, PEM)),
        (f"{PEM}\nrest", "key", PEM),
        (f"a\n{PEM[:120]}", "key", PEM[:120]),
        ("write to ann.lee+x@mail.example.org.", "email", "ann.lee+x@mail.example.org"),
        ("联系foo@bar.com谢谢", "email", "foo@bar.com"),
        ("jörg@müller.de", "email", "jörg@müller.de"),
        ("\udc80ann@example.org\0", "email", "ann@example.org"),
        ("to DE89 3704 0044 0532 0130 00 today", "iban", "DE89 3704 0044 0532 0130 00"),
        ("GB82WEST12345698765432.", "iban", "GB82WEST12345698765432"),
        ("NL91 ABNA 0417 1643 00 BIC ABNANL2A", "iban", "NL91 ABNA 0417 1643 00"),
        ("NO93 8601 1117 947", "iban", "NO93 8601 1117 947"),
        ("4111 1111 1111 1111 12/25", "card", "4111 1111 1111 1111"),
        ("5555-5555-5555-4444", "card", "5555-5555-5555-4444"),
        ("3782 822463 10005", "card", "3782 822463 10005"),
        ("6011111111111117", "card", "6011111111111117"),
        ("from 81.2.69.142:8080", "ip", "81.2.69.142"),
        ("from 2a00:1450:4001:81b::200e, port 80", "ip", "2a00:1450:4001:81b::200e"),
        ("+49 (0)30 901820", "phone", "+49 (0)30 901820"),
        ("电话+8613800138000号", "phone", "+8613800138000"),
        ("+1 (415) 555-2671", "phone", "+1 (415) 555-2671"),
        ("call (415) 555-2671.", "phone", "(415) 555-2671"),
        ("415.555.2671", "phone", "415.555.2671"),
        ("1-800-555-0199", "phone", "1-800-555-0199"),
        ("Tel.: 030 901820", "phone", "030 901820"),
        ("fax number is 0621/60-0123", "phone", "0621/60-0123"),
    ],
)
def test_what_is_found(text, kind, span):
    assert found(text) == [(kind, span)]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2019-05-12, 12.05.2019 and 2019-05-12T10:00:00+0200",
        "phone 2019-05-12",
        "mobile 12.05.2019",
        "iphone 1234567",
        "v81.2.69.142, version 81.2.69.142, release: 81.2.69.142, pkg-81.2.69.142.tar.gz and 81.2.69.142.5",
        "section 1.2.3.4, and 1.2.3.4, 8.8.8.8",
        "ISBN 978-0-306-40615-7, 0-306-40615-2, 9780306406157, 0-415-555-2671",
        "ISSN 2049-3630, and 123-45-6789",
        "3.14159265358979323846 and 0.4111111111111111",
        "12345678901234567890123 and 1,234,567,890,123",
        "5551234567 2345678901 0x7fff1234567",
        "1+12345678 and +12.345.678,90 and +35236450.6 and +10000000000",
        "81.2.69.142.in-addr.arpa",
        "10:30:45, 00:1a:2b:3c:4d:5e and std::vector",
        "192.168.0.1 10.0.0.12 127.0.0.11 169.254.1.10 203.0.113.9 224.0.0.251 255.255.255.0 999.81.2.69",
        "2001:db8::1 and 3fff::1 and fe80::1 and ::1 and 2a00:1450::/32",
        "4111111111111112 and 4111 1111 1111 1112",
        "1234567890123452",
        "DE89 3704 0044 0532 0130 01, DE89370400440532013000X and ZZ89370400440532013000",
        "icon@2x.png lodash@4.17.21 git@github.com:a/b a@b @decorator x@y",
        "sk-toggleable__control-label-arrow, task-aB3xaB3xaB3xaB3xaB3x, xoxo-hugs-and-kisses",
        "AKIA and ghp_short and eyJust.eyJoking.about",
        "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----",
        "Begin with -----BEGIN PRIVATE KEY-----, then the letters, in lines of 64, and all that goes with them.",
    ],
)
def test_what_is_not(text):
    assert found(text) == []


def test_what_one_kind_has_found_no_later_kind_is_part_of():
    assert found(f"https://{GITHUB}@example.org") == [("key", GITHUB)]
    assert found("phone 4111 1111 1111 1111") == [("card", "4111 1111 1111 1111")]
    assert mask_pii("phone 4111 1111 1111 1111", ["phone"]) == ("phone 4111 1111 1111 1111", {})


def test_every_kind_has_a_placeholder():
    text = f"{AWS} a@example.org GB82WEST12345698765432 4111111111111111 81.2.69.142 +442079460958"
    hidden, counted = mask_pii(text, PII_KINDS)
    assert hidden == "<KEY> <EMAIL> <IBAN> <CARD> <IP> <PHONE>"
    assert counted == dict.fromkeys(PII_KINDS, 1)


PIECES = [AWS, GITHUB, PEM, TOKEN, "a@example.org", "GB82 WEST 1234 5698 7654 32", "4111 1111 1111 1111", "81.2.69.142"]
PIECES += ["+442079460958", "(415) 555-2671", "tel", "v", "@", ".", "-", "+", "1", "a", "::", "\0", "<", "\ud800"]
texts = st.lists(st.sampled_from(PIECES), max_size=12).map(" ".join) | st.text(max_size=30)


@given(text=texts, kinds=st.sets(st.sampled_from(PII_KINDS)))
def test_spans_are_apart_and_what_is_masked_is_gone(text, kinds):
    positions = [position for start, end, _ in find_pii(text) for position in (start, end)]
    assert positions == sorted(positions)
    assert all(start < end for start, end, _ in find_pii(text))
    hidden, counted = mask_pii(text, kinds)
    assert not {kind for _, _, kind in find_pii(hidden)} & kinds
    assert counted.total() == sum(kind in kinds for _, _, kind in find_pii(text))


HOSTILE = [
    *("a", "1", "A1", "a@", "@", "a.", "a@a.", "1.", "1 ", "1-", "+1", "+1 ", "(1", "1234 ", "AB12", "AB12 ", "2:"),
    *("2001:", "tel ", "tel 1 ", "tel.", "eyJ", "eyJaaaaaaaaaaaa.", "eyJ-", "sk-", "-----", "-----BEGIN ", "ghp_a"),
    *("-----BEGIN PRIVATE KEY-----", "-----BEGIN PRIVATE KEY-----A", "-----BEGIN A A A ", " ", "\n", "\0", "é", "你"),
    *("a@a-", "415-555-", "415.", "1 1-1.", "phone number is ", "xoxb-", "github_pat_", "A" * 15 + "-", "SG."),
]


@pytest.mark.parametrize("size", [20_000, 500_000])
def test_no_text_is_worse_than_its_length(size):
    """A quadratic pattern would need hours for the larger ones."""
    for unit in HOSTILE:
        find_pii(unit * (size // len(unit)))

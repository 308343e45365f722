"""Normalization of texts for comparison, and detection of blank texts."""

from __future__ import annotations

import string
import unicodedata
from collections.abc import Collection, Iterable
from functools import lru_cache
from sys import maxunicode
from typing import TYPE_CHECKING

import numpy as np

from curate.kernels.text.char_ngrams import WHITE_SPACE
from curate.kernels.text.nfkc import normalize_nfkc
from curate.kernels.text.text_differences import Difference
from curate.kernels.types import Flags

if TYPE_CHECKING:
    import pyarrow as pa

Ranges = tuple[tuple[int, int], ...]

_CONTROL: Ranges = ((0x00, 0x08), (0x0E, 0x1B), (0x7F, 0x84), (0x86, 0x9F))
_IGNORABLE: Ranges = (
    *((0xAD, 0xAD), (0x34F, 0x34F), (0x61C, 0x61C), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F)),
    *((0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF)),
    *((0xFFA0, 0xFFA0), (0xFFF0, 0xFFF8), (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A), (0xE0000, 0xE0FFF)),
)
"""Unicode's property Default_Ignorable_Code_Point."""

INVISIBLE: Ranges = (*_CONTROL, *_IGNORABLE, (0xFFF9, 0xFFFB))
"""Code points that show nothing and take no space: controls that are not white space, default-ignorable code points
(zero-width characters, soft hyphens, byte order marks, directional marks, variation selectors, fillers, tags), and
interlinear annotation marks."""

_BRAILLE_BLANK = "\u2800"
_BLANK: Ranges = (*INVISIBLE, *WHITE_SPACE, (0x2800, 0x2800), (0x13430, 0x1343F), (0x1D159, 0x1D159))


def normalize(text: str, differences: Collection[Difference]) -> str:
    r"""Remove some differences from a text; texts are equal up to these differences if the results are equal.

    Parameters
    ----------
    text : any string, lone surrogates included
    differences : which to remove, in any order:

        - ``unicode``: the form of characters (NFKC), and characters that are ``INVISIBLE``
        - ``case``: capitals (full case folding, so that "ß" is "ss")
        - ``punctuation``: Unicode's categories P, and the punctuation and symbols of ASCII
        - ``space``: the kind and amount of white space, and any at either end

    Returns
    -------
    The text itself if ``differences`` is empty. Otherwise, a text of white space only becomes "".

    Notes
    -----
    Cost: O(characters). Idempotent. All four together are Unicode's ``toNFKC_Casefold``, less punctuation and with
    single spaces.

    Characters that join or select glyphs are invisible as well: an emoji family equals its members in a row, and
    Persian words may lack their zero-width non-joiner. Without punctuation, "a < b" equals "a > b".

    References
    ----------
    The Unicode Standard, section 3.13, ``toNFKC_Casefold``; Annex 44, Default_Ignorable_Code_Point. Case, white space
    and ASCII's punctuation removed before deduplication: Shen et al. (2023), SlimPajama-DC, arXiv:2309.10818; before
    decontamination: Brown et al. (2020), arXiv:2005.14165, appendix C.

    Examples
    --------
    >>> normalize(" Ｆｕｌｌ  width, STRAS\u00adSE!", ["unicode", "case", "punctuation", "space"])
    'full width strasse'
    >>> normalize("zero\u200bwidth, cafe\u0301", ["unicode"]) == "zerowidth, caf\u00e9"
    True
    """
    if not differences:
        return text
    if "unicode" in differences:
        text = normalize_nfkc(text)
    if "case" in differences:
        text = text.casefold()
    if "unicode" in differences or "punctuation" in differences:
        text = _remove_characters(text, "unicode" in differences, "punctuation" in differences)
    if "unicode" in differences:  # removing characters and folding case can denormalize
        text = normalize_nfkc(text)
    if "space" in differences:
        return " ".join(text.replace(_BRAILLE_BLANK, " ").split())
    return "" if text.isspace() else text


_SMALL = 64


def is_blank(texts: pa.Array | pa.ChunkedArray) -> Flags:
    r"""Find texts that show nothing: null, empty, or only white space and invisible characters.

    Parameters
    ----------
    texts : (n,) string, large_string, string_view, or a dictionary of strings; valid UTF-8

    Returns
    -------
    (n,) bool

    Notes
    -----
    Cost: O(blank characters before the first visible one), in Arrow's regular expressions; no Python for each row.

    Examples
    --------
    >>> import pyarrow as pa
    >>> is_blank(pa.array(["x", "", " \u200b\ufeff\u00ad", None, "\u2800\u3164", "\u200bx"])).tolist()
    [False, True, True, True, True, False]
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_dictionary(texts.type):
        texts = texts.cast(texts.type.value_type)
    if not (pa.types.is_string(texts.type) or pa.types.is_large_string(texts.type)):
        texts = texts.cast(pa.large_string())
    if len(texts) <= _SMALL and all(text is not None and "!" <= text[:1] <= "~" for text in texts.to_pylist()):
        return np.zeros(len(texts), np.bool_)  # compiling the expression would take longer
    visible = pc.fill_null(pc.match_substring_regex(texts, _visible()), False)
    blank: Flags = ~np.asarray(visible.to_numpy(zero_copy_only=False), np.bool_)
    return blank


def _remove_characters(text: str, invisible: bool, punctuation: bool) -> str:
    if text.isascii():
        return text.translate(_ascii(invisible, punctuation))
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
    removed = _removed(invisible, punctuation)[codes]
    kept: bytes = codes[~removed].tobytes()
    return kept.decode("utf-32-le", "surrogatepass") if removed.any() else text


@lru_cache
def _removed(invisible: bool, punctuation: bool) -> Flags:
    """Return a table (0x110000,) of the code points that ``normalize`` removes."""
    table = np.zeros(maxunicode + 1, np.bool_)
    if invisible:
        table |= _table(INVISIBLE)
    if punctuation:
        codes = map(chr, range(maxunicode + 1))
        marks = (
            character in string.punctuation or unicodedata.category(character).startswith("P") for character in codes
        )
        table |= np.fromiter(marks, np.bool_, maxunicode + 1)
    return table


@lru_cache
def _ascii(invisible: bool, punctuation: bool) -> dict[int, None]:
    return dict.fromkeys(np.flatnonzero(_removed(invisible, punctuation)[:0x80]).tolist())


def _table(ranges: Iterable[tuple[int, int]]) -> Flags:
    table = np.zeros(maxunicode + 1, np.bool_)
    for first, last in ranges:
        table[first : last + 1] = True
    return table


@lru_cache(maxsize=1)
def _visible() -> str:
    return "[^" + "".join(rf"\x{{{first:X}}}-\x{{{last:X}}}" for first, last in _BLANK) + "]"

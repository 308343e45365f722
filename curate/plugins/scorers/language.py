"""Probability that a text is in one of the requested languages."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated

import numpy as np
from annotated_types import MinLen

from curate.errors import missing_extra_error
from curate.kernels.text.nfkc import sort_combining_marks
from curate.kernels.types import Vector
from curate.plugins.batches import ScoreBatch, require
from curate.plugins.interfaces import OutputColumn, scorer

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

_CODES = (
    "ace af am an ar ary arz as az ba bcl be bg bn br bs ca crh cs cy da de dz el en eo es et eu ext fa fi fo fr "
    "fuv fy ga gcf gcr gd gl gom grc gu gug guw ha hbo he hi hr ht hu hy id ig is it ja jv ka kab kik kk km kn ko "
    "ku ky la lb lg lij ln lo lt ltg lv mg mk ml mn mr ms mt my ne nl nn no nso oc om or pa pcm pl ps pt qu ro ru "
    "rw sa sdh se si sk sl sn so sq sr st sv sw ta te tg th tk tl tr tt ug uk ur uz uzs vec vi vo wa wuu xh yo "
    "yue zh zu zxx"
)
LANGUAGES = frozenset(_CODES.split())
"""Languages of the model; zxx is text without language, such as numbers and code."""


def language(texts: Sequence[str], languages: Sequence[str]) -> Vector:
    """Compute the probability that each text is in one of some languages.

    The model is a naive Bayes classifier of frequent byte sequences in 140 languages; its scores are divided by the
    square root of the text's length in bytes before they become probabilities, so that long texts are not all certain.

    Parameters
    ----------
    texts : n strings
    languages : ISO 639 codes from ``LANGUAGES``

    Returns
    -------
    (n,) float32 in [0, 1]. A text without evidence, such as an empty or blank one, or only punctuation, has the share
        of ``languages`` among all: 0.007 for one. So, nearly, has a single word or a number, as many languages could
        have it. A text in several languages divides its probability among them; lone surrogates are bytes that no
        language has.

    Notes
    -----
    Cost: O(bytes) time, 1 to 5 million characters a second, and some 20 bytes of memory for each byte of the longest
    text; loading the model takes half a second, once per process.

    References
    ----------
    Lui & Baldwin (2012), "langid.py: An off-the-shelf language identification tool", ACL 2012 system demonstrations,
    P12-3005; Lui & Baldwin (2011), "Cross-domain feature selection for language identification", I11-1062. The model
    is the one inside the package py3langid.

    Examples
    --------
    >>> texts = ["It is a nice day, and we walk in the park.", "Heute ist es schön, und wir gehen in den Park."]
    >>> (language(texts, ["en"]) > 0.5).tolist(), (language(texts, ["de", "en"]) > 0.5).tolist()
    ([True, False], [True, True])
    """
    model = _model()
    scores = np.empty(len(texts), np.float32)
    for row, text in enumerate(texts):
        scores[row] = min(
            1.0, sum(share for name, share in model.rank(sort_combining_marks(text)) if name in languages)
        )
    return scores


def _check_package() -> None:
    if importlib.util.find_spec("py3langid") is None:
        raise missing_extra_error("py3langid", "language", "scorer 'language'")


@lru_cache(maxsize=1)
def _model() -> LanguageIdentifier:
    """Return the model, loaded once per process."""
    _check_package()
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


@scorer(
    version=1,
    reads={"text"},
    columns=(
        OutputColumn(
            higher_is_better=True,
            unit="probability",
            range=(0.0, 1.0),
            higher_means="more likely in one of the languages",
        ),
    ),
    check=True,
    cost="O(characters)",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """Probability that the text is in one of the requested languages.

    Use it to keep only texts in your languages: ``{use: where, drop: "score_language < 0.5"}``. For short texts require
    less, such as 0.1.

    Text without a language is dropped too: random characters, symbols, tables of numbers, single words, and most code.
    Of closely related languages (Norwegian and Danish, Croatian and Serbian) list all that you want. Needs the extra
    ``language``.

    References
    ----------
    Lui & Baldwin (2012), ACL 2012 system demonstrations, P12-3005.
    """

    languages: Annotated[tuple[str, ...], MinLen(1)] = ("en",)
    """ISO 639 codes of the requested languages, such as "en" and "de"; two letters if a language has them."""

    def __post_init__(self) -> None:
        if unknown := next((name for name in self.languages if name not in LANGUAGES), None):
            raise ValueError(f"languages: unknown language {unknown!r}; available: {', '.join(sorted(LANGUAGES))}")

    def check(self) -> Sequence[str]:
        _check_package()
        return ()

    def score(self, batch: ScoreBatch, rng: np.random.Generator) -> Vector:  # noqa: ARG002 - nothing is drawn
        return language(require(batch.texts), self.languages)

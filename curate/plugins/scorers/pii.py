"""Counts of personal data and secrets in texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from curate.kernels.text.pii_patterns import PII_KINDS, PiiKind, find_pii
from curate.kernels.types import Matrix
from curate.plugins.batches import ScoreBatch, require
from curate.plugins.interfaces import OutputColumn, scorer

_NAMES: dict[PiiKind, tuple[str, str]] = {
    "key": ("keys", "keys and tokens"),
    "email": ("emails", "e-mail addresses"),
    "iban": ("ibans", "account numbers"),
    "card": ("cards", "card numbers"),
    "ip": ("ips", "IP addresses"),
    "phone": ("phones", "phone numbers"),
}
"""Column of each kind, and its unit."""


def count_pii(texts: Sequence[str]) -> Matrix:
    """Count the matches of each kind of personal data in each text.

    Parameters
    ----------
    texts : n strings

    Returns
    -------
    (n, 7) float32, integers: the total, then keys, emails, ibans, cards, ips and phones

    Notes
    -----
    Cost: O(characters); 5 to 10 million characters of prose a second.

    Examples
    --------
    >>> count_pii(["ann@example.org, +44 20 7946 0958", ""]).tolist()
    [[2.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0], [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]]
    """
    table = np.zeros((len(texts), 1 + len(PII_KINDS)), np.float32)
    for row, text in enumerate(texts):
        for kind, count in Counter(kind for _, _, kind in find_pii(text)).items():
            table[row, 1 + PII_KINDS.index(kind)] = count
    table[:, 0] = table[:, 1:].sum(axis=1)
    return table


@scorer(
    version=1,
    reads={"text"},
    columns=(
        OutputColumn(
            higher_is_better=False, unit="matches", range=(0.0, float("inf")), higher_means="more personal data"
        ),
        *(
            OutputColumn(
                name=_NAMES[kind][0],
                higher_is_better=False,
                unit=_NAMES[kind][1],
                range=(0.0, float("inf")),
                higher_means=f"more {_NAMES[kind][1]}",
            )
            for kind in PII_KINDS
        ),
    ),
    cost="O(characters)",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Pii:
    """Counts of personal data and secrets: keys, e-mail and IP addresses, account, card and phone numbers.

    Use it to drop rows with personal data, ``{use: where, drop: "score_pii_keys > 0"}``, or to find out how common they
    are. To keep the rows and replace the matches, use ``export.mask_pii``.

    It is designed for few false alarms: account and card numbers are verified by their check digits, IP addresses are
    global ones only, and phone numbers need a country code, the North American form, or a word such as "phone" before
    them. Names and postal addresses are not detected.

    References
    ----------
    ISO 13616 and ISO 7064 MOD 97-10 (account numbers); ISO/IEC 7812-1, annex B (cards); ITU-T E.164 (phones).
    """

    def score(self, batch: ScoreBatch, rng: np.random.Generator) -> Matrix:  # noqa: ARG002 - nothing is drawn
        return count_pii(require(batch.texts))

"""Names of the differences that texts may have and still be the same."""

from __future__ import annotations

from typing import Literal

Difference = Literal["case", "punctuation", "space", "unicode"]
"""Kind of difference; ``text_identity.normalize`` defines and removes them."""

DIFFERENCES: tuple[Difference, ...] = ("case", "punctuation", "space", "unicode")
"""Every kind."""

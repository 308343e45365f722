"""Names of differences between texts that can be ignored."""

from __future__ import annotations

from typing import Literal

Difference = Literal["case", "punctuation", "space", "unicode"]
"""Kind of difference; ``text_identity.normalize`` defines and removes them."""

DIFFERENCES: tuple[Difference, ...] = ("case", "punctuation", "space", "unicode")
"""All kinds of differences."""

"""Lists as a command line writes them, separated by commas."""

from __future__ import annotations

from collections.abc import Sequence

from curate.errors import ConfigError


def names(given: Sequence[str]) -> list[str]:
    """The names of several options; a comma within brackets separates nothing.

    >>> names(["ccs, {use: ccs, by: el2n}", "k_center"])
    ['ccs', '{use: ccs, by: el2n}', 'k_center']
    """
    found: list[str] = []
    for text in given:
        depth = start = 0
        for at, character in enumerate(f"{text},"):
            depth += (character in "{[") - (character in "}]")
            if character == "," and (depth <= 0 or at == len(text)):
                found.append(text[start:at].strip())
                start = at + 1
    if not all(found):
        raise ConfigError("--select: an empty name", hint="write --select a,b")
    return found


def rates(given: str) -> list[float]:
    """Prune rates, in order, each once.

    >>> rates(".9,.5, 0.9")
    [0.5, 0.9]
    """
    found: set[float] = set()
    for text in given.split(","):
        try:
            rate = float(text)
        except ValueError as error:
            told = f"--prune-rate: {text.strip()!r} is no number"
            raise ConfigError(told, hint="write --prune-rate .5,.9") from error
        if not 0 <= rate < 1:
            raise ConfigError(f"--prune-rate: must be >= 0 and < 1; got {text.strip()}")
        found.add(rate)
    return sorted(found)

"""Lists and times as a command line writes them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from curate.errors import ConfigError


def parse_names(given: Sequence[str]) -> list[str]:
    """The names of several options; a comma within brackets separates nothing.

    >>> parse_names(["ccs, {use: ccs, by: el2n}", "k_center"])
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


def parse_rates(given: str) -> list[float]:
    """Prune rates, in order, each once.

    >>> parse_rates(".9,.5, 0.9")
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


def parse_duration(given: str) -> float:
    """Return the seconds of a time.

    >>> parse_duration("90"), parse_duration("10m"), parse_duration("1.5h")
    (90.0, 600.0, 5400.0)
    """
    unit = {"s": 1.0, "m": 60.0, "h": 3600.0}.get(given[-1:].lower())
    try:
        number = float(given if unit is None else given[:-1])
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise ConfigError(f"--budget: {given!r} is not a time above 0", hint="write seconds, or --budget 10m, or 2h")
    return number * (unit or 1.0)

"""Parsers for option values: comma-separated lists and durations."""

from __future__ import annotations

import math
from collections.abc import Sequence

from curate.errors import ConfigError


def parse_names(values: Sequence[str]) -> list[str]:
    """Parse comma-separated names; commas inside brackets do not separate.

    >>> parse_names(["ccs, {use: ccs, by: el2n}", "k_center"])
    ['ccs', '{use: ccs, by: el2n}', 'k_center']
    """
    names: list[str] = []
    for text in values:
        depth = start = 0
        for index, character in enumerate(f"{text},"):
            depth += (character in "{[") - (character in "}]")
            if character == "," and (depth <= 0 or index == len(text)):
                names.append(text[start:index].strip())
                start = index + 1
    if not all(names):
        raise ConfigError("--select: contains an empty name", hint="write --select a,b")
    return names


def parse_rates(value: str) -> list[float]:
    """Parse comma-separated prune rates, and return them sorted and without duplicates.

    >>> parse_rates(".9,.5, 0.9")
    [0.5, 0.9]
    """
    rates: set[float] = set()
    for text in value.split(","):
        try:
            rate = float(text)
        except ValueError as error:
            message = f"--prune-rate: {text.strip()!r} is not a number"
            raise ConfigError(message, hint="write --prune-rate .5,.9") from error
        if not 0 <= rate < 1:
            raise ConfigError(f"--prune-rate: must be >= 0 and < 1; got {text.strip()}")
        rates.add(rate)
    return sorted(rates)


def parse_duration(value: str) -> float:
    """Parse a duration, and return it in seconds.

    >>> parse_duration("90"), parse_duration("10m"), parse_duration("1.5h")
    (90.0, 600.0, 5400.0)
    """
    unit = {"s": 1.0, "m": 60.0, "h": 3600.0}.get(value[-1:].lower())
    try:
        number = float(value if unit is None else value[:-1])
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        hint = "write a number of seconds, or a time such as --budget 10m or --budget 2h"
        raise ConfigError(f"--budget: {value!r} is not a positive duration", hint=hint)
    return number * (unit or 1.0)

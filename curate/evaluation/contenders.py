"""The selectors that are compared: entries of the select section, or plugins, each with a budget of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from curate.config import yaml_positions
from curate.config.budget import Budget
from curate.config.model import SelectEntry
from curate.config.sections import BUDGET_KEYS
from curate.errors import ConfigError
from curate.plugins import registry

if TYPE_CHECKING:
    from curate.config.model import EvaluateConfig, RunConfig

UNIFORM = "uniform"


def uniform_entry(keep: int) -> SelectEntry:
    """Chance, by a name that no entry can have, so that it draws other rows than an entry of the user's."""
    plugin = registry.get("selector", UNIFORM)
    return SelectEntry(
        name=f"evaluate/{UNIFORM}", spec=registry.make_spec(plugin.cls(), UNIFORM), budget=Budget(keep=keep)
    )


def apply_options(config: EvaluateConfig, files: Sequence[str], seeds: int | None) -> EvaluateConfig:
    """The evaluate section with what the command line says instead."""
    config = replace(config, files=tuple(files)) if files else config
    return replace(config, seeds=seeds) if seeds is not None else config


@dataclass(frozen=True, slots=True)
class Contender:
    """A selector to be compared."""

    name: str
    entry: SelectEntry
    """Its budget is to be replaced."""


def parse_contenders(config: RunConfig, names: Sequence[str]) -> tuple[tuple[SelectEntry, ...], tuple[Contender, ...]]:
    """The filters that stand before every selector, and the selectors.

    Parameters
    ----------
    names : names of entries of the select section, names of selectors, or YAML mappings such as
        ``{use: ccs, by: el2n}``; none: the last entry of the section

    Raises
    ------
    ConfigErrors : as loading a configuration with these entries would
    """
    from curate.config.loader import config_from_dict

    given: list[dict[str, object]] = list(config.resolved["select"])
    filters = [entry for entry in config.select[:-1] if entry.budget is None]
    kept = [data for data, entry in zip(given, config.select, strict=True) if entry in filters]
    wanted = [_data(config, text) for text in names or [config.select[-1].name]]
    wanted = [data for data in wanted if data != {"use": UNIFORM}]  # it is always among them
    for data in wanted:
        _refuse_filter(config, data)
    named = _named(wanted, [entry.name for entry in filters])
    alone = [  # each is the last of its own section, as a plan of epochs must be, and held to nothing published
        config_from_dict(
            {**config.resolved, "refresh": {}, "select": [*kept, {**data, "prune_rate": 0.5}]}, source="--select"
        )
        for data in named
    ]
    return tuple(filters), tuple(Contender(one.select[-1].name, one.select[-1]) for one in alone)


def shrink_budgets(entries: Sequence[SelectEntry], left: int, n: int) -> tuple[SelectEntry, ...]:
    """Return the entries for fewer rows than n: numbers of rows and tokens shrink with them."""

    def smaller(number: int) -> int:
        return max(1, number * left // n)

    def one(entry: SelectEntry) -> SelectEntry:
        budget, quota = entry.budget, entry.quota
        if budget is None:
            return entry
        numbers: dict[str, Any] = {
            key: smaller(number) for key in ("keep", "keep_tokens") if (number := getattr(budget, key))
        }
        if isinstance(quota, dict):  # a group may have lost more of its rows than the pool
            numbers["at_most"] = True
            quota = {name: smaller(part) if isinstance(part, int) and part else part for name, part in quota.items()}
        return replace(entry, budget=replace(budget, **numbers), quota=quota)

    return tuple(one(entry) for entry in entries)


def rows_per_rate(n: int, rates: Sequence[float]) -> dict[float, int]:
    """How many of n rows are left at each prune rate."""
    rows = {rate: int((1 - Fraction(str(rate))) * n) for rate in sorted(set(rates))}
    for rate, left in rows.items():
        if not left:
            raise ConfigError(f"--prune-rate {rate}: leaves none of the {n:,} rows to choose from", hint="lower it")
    return rows


def _data(config: RunConfig, text: str) -> dict[str, object]:
    """What an entry of --select says, without a budget."""
    if text.startswith("{"):
        parsed = yaml_positions.parse_yaml(text, f"--select {text}").data
        data: Mapping[str, object] = parsed if isinstance(parsed, dict) else {}
    else:
        mine = [entry for entry in config.resolved["select"] if text == (entry.get("name") or entry["use"])]
        data = mine[0] if mine else {"use": text}
    return {key: value for key, value in data.items() if key not in BUDGET_KEYS}


def _refuse_filter(config: RunConfig, data: dict[str, object]) -> None:
    name = data.get("use")
    if not isinstance(name, str) or name not in registry.names("selector", config.plugins):
        return  # loading says so, with the nearest name
    plugin = registry.get("selector", name, config.plugins)
    if not plugin.traits.budgeted:
        told = f"--select: the filter {plugin.name!r} decides itself how many rows it keeps"
        raise ConfigError(told, hint="put it before the last entry of select: it then comes before every selector")


def _named(entries: Sequence[dict[str, object]], taken: Sequence[str]) -> list[dict[str, object]]:
    """The entries, numbered where several would have one name."""
    found: list[dict[str, object]] = []
    names = list(taken)
    for data in entries:
        name = first = str(data.get("name") or data.get("use"))
        number = 1
        while name in names:
            number += 1
            name = f"{first}_{number}"
        names.append(name)
        found.append({**data, "name": name})
    return found

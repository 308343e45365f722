"""Selectors to compare: entries of the select section, or plugins, each with its budget."""

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
    """Return the entry of the random baseline, whose name no other entry can have, so that its random draws differ."""
    plugin = registry.get("selector", UNIFORM)
    return SelectEntry(
        name=f"evaluate/{UNIFORM}", spec=registry.make_spec(plugin.cls(), UNIFORM), budget=Budget(keep=keep)
    )


def apply_options(config: EvaluateConfig, files: Sequence[str], seeds: int | None) -> EvaluateConfig:
    """Return the evaluate section with the options of the command line applied."""
    config = replace(config, files=tuple(files)) if files else config
    return replace(config, seeds=seeds) if seeds is not None else config


@dataclass(frozen=True, slots=True)
class Contender:
    """Selector to compare."""

    name: str
    entry: SelectEntry
    """Entry of the selector; its budget will be replaced."""


def parse_contenders(config: RunConfig, names: Sequence[str]) -> tuple[tuple[SelectEntry, ...], tuple[Contender, ...]]:
    """Return the filters that run before every selector, and the selectors to compare.

    Parameters
    ----------
    config : RunConfig
        Configuration of the run.
    names : sequence of str
        Names of entries in the select section, names of selectors, or YAML mappings such as ``{use: ccs, by: el2n}``.
        If empty, the last entry of the section.

    Returns
    -------
    filters : tuple of SelectEntry
        Filters of the select section that come before its last entry.
    contenders : tuple of Contender
        Selectors, with unique names.

    Raises
    ------
    ConfigErrors
        If a configuration with these entries would be wrong.
    """
    from curate.config.loader import config_from_dict

    entries_data: list[dict[str, object]] = list(config.resolved["select"])
    filters = [entry for entry in config.select[:-1] if entry.budget is None]
    kept = [data for data, entry in zip(entries_data, config.select, strict=True) if entry in filters]
    entries = [_data(config, text) for text in names or [config.select[-1].name]]
    entries = [data for data in entries if data != {"use": UNIFORM}]  # the random baseline is always included
    for data in entries:
        _refuse_uncomparable(config, data)
    unique = _named(entries, [entry.name for entry in filters])
    configs = [  # in each, the selector is the last entry, as an epoch plan must be, and no published rows are kept
        config_from_dict(
            {**config.resolved, "refresh": {}, "select": [*kept, {**data, "prune_rate": 0.5}]}, source="--select"
        )
        for data in unique
    ]
    return tuple(filters), tuple(Contender(one.select[-1].name, one.select[-1]) for one in configs)


def shrink_budgets(entries: Sequence[SelectEntry], remaining: int, n: int) -> tuple[SelectEntry, ...]:
    """Return the entries for fewer than n rows, with all numbers of rows and tokens scaled down."""

    def smaller(number: int) -> int:
        return max(1, number * remaining // n)

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
    """Return the number of rows that remain of n rows at each prune rate."""
    rows = {rate: int((1 - Fraction(str(rate))) * n) for rate in sorted(set(rates))}
    for rate, remaining in rows.items():
        if not remaining:
            raise ConfigError(f"--prune-rate {rate}: none of the {n:,} rows would remain", hint="lower it")
    return rows


def _data(config: RunConfig, text: str) -> dict[str, object]:
    """Return the plain data of a contender on the command line, without a budget."""
    if text.startswith("{"):
        parsed = yaml_positions.parse_yaml(text, f"--select {text}").data
        data: Mapping[str, object] = parsed if isinstance(parsed, dict) else {}
    else:
        matches = [entry for entry in config.resolved["select"] if text == (entry.get("name") or entry["use"])]
        data = matches[0] if matches else {"use": text}
    return {key: value for key, value in data.items() if key not in BUDGET_KEYS}


def _refuse_uncomparable(config: RunConfig, data: dict[str, object]) -> None:
    name = data.get("use")
    if not isinstance(name, str) or name not in registry.names("selector", config.plugins):
        return  # loading the configuration reports it, with the most similar name
    plugin = registry.get("selector", name, config.plugins)
    if not plugin.traits.budgeted:
        message = f"--select: the filter {plugin.name!r} takes no budget, so it cannot be compared at prune rates"
        hint = "put it before the last entry of the select section, and it runs before every selector"
        raise ConfigError(message, hint=hint)
    if plugin.traits.reads_judge:
        message = f"--select: the selector {plugin.name!r} asks a judge, once for each selection that is compared"
        raise ConfigError(message, hint="compare selectors that ask no judge; curate evaluate compares with uniform")


def _named(entries: Sequence[dict[str, object]], used_names: Sequence[str]) -> list[dict[str, object]]:
    """Return the entries with unique names, numbered if necessary."""
    result: list[dict[str, object]] = []
    names = list(used_names)
    for data in entries:
        name = first = str(data.get("name") or data.get("use"))
        number = 1
        while name in names:
            number += 1
            name = f"{first}_{number}"
        names.append(name)
        result.append({**data, "name": name})
    return result

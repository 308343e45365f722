"""Reads the entries of a section: finds each one's plugin and validates its keys, the driver's and the plugin's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from curate.config.budget import Budget
from curate.config.issues import nearest
from curate.config.model import KIND_OF, ONE, driver_fields
from curate.config.validator import Validator
from curate.config.yaml_positions import KeyPath
from curate.errors import PluginError
from curate.plugins import registry
from curate.plugins.fields import fields, show
from curate.plugins.interfaces import Kind
from curate.plugins.registry import KINDS, Plugin, Spec

BUDGET = tuple(field.name for field in fields(Budget))
RESERVED = frozenset({"use", "name", *BUDGET, "within", "quota", "quality"})
"""Keys that no plugin may have as a field, whatever its kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """An entry as it was written, each key valid by itself."""

    section: str
    path: KeyPath
    name: str
    """"" where it cannot be told."""

    plugin: Plugin | None
    """None if there is none of that name."""

    built: Any
    """The plugin object; None if a key is wrong."""

    keys: Mapping[str, Any]
    """The driver's keys that were given and not null."""

    given: Mapping[str, Any]
    """Everything that was given, as plain data."""

    spec: Spec | None


def drafts(section: str, data: Any, validator: Validator) -> list[Draft]:
    """The entries of a section; what is wrong with them is in the validator's report."""
    if section == "embed" and isinstance(data, dict):
        return _draft(section, data, (section,), validator)
    if section in ONE:
        return _draft(section, data, (section,), validator)
    if not isinstance(data, list):
        hint = "begin each entry with '- '" if isinstance(data, dict) else ""
        kinds = "an entry or a list of entries" if section == "embed" else "a list of entries"
        validator.report.add((section,), f"must be {kinds}; got {show(data)}", hint)
        return []
    if not data and section not in ("score", "metrics"):
        validator.report.add((section,), "must have at least one entry")
    return [draft for index, entry in enumerate(data) for draft in _draft(section, entry, (section, index), validator)]


def alone(section: str, data: Any, validator: Validator) -> Draft:
    """One entry without a configuration around it; its keys stand at the top."""
    return _draft(section, data, (), validator)[0]


def _draft(section: str, data: Any, path: KeyPath, validator: Validator) -> list[Draft]:
    kind: Kind = KIND_OF[section][0]
    report = validator.report
    if not isinstance(data, dict):
        hint = f"write {{use: {data}}}" if isinstance(data, str) else ""
        report.add(path, f"must be a mapping; got {show(data)}", hint)
        return []
    known = driver_fields(section)
    keys = {key: value for key, value in validator.values(known, data, path).items() if value is not None}
    plugin = _plugin(kind, keys.get("use"), (*path, "use"), validator)
    name = _name(section, data, path, validator)
    if plugin is None:
        return [Draft(section=section, path=path, name=name, plugin=None, built=None, keys=keys, given=data, spec=None)]
    own = fields(plugin.cls)
    _refuse_reserved(section, plugin)
    meant = [field.name for field in (*known, *own)]
    if not plugin.traits.budgeted:
        meant = [key for key in meant if key not in BUDGET]
        for key in [key for key in BUDGET if key in keys]:
            report.add((*path, key), f"the filter {plugin.name!r} decides itself how many rows it keeps", "remove it")
    validator.unknown(meant, {key: value for key, value in data.items() if key not in BUDGET or key in meant}, path)
    built = validator.build(plugin.cls, validator.values(own, data, path), path)
    local = tuple(file for file in validator.local if file.path == plugin.origin)
    spec = None if built is None else registry.spec_of(built, plugin.name, local)
    return [Draft(section=section, path=path, name=name, plugin=plugin, built=built, keys=keys, given=data, spec=spec)]


def _plugin(kind: Kind, use: str | None, path: KeyPath, validator: Validator) -> Plugin | None:
    """The plugin that ``use`` names. One that exists but cannot be imported stops everything: the file is right."""
    if use is None:
        return None
    names = registry.names(kind, validator.local)
    if use in names:
        return registry.get(kind, use, validator.local)
    others = [other for other in KINDS if use in registry.names(other, validator.local)]
    hint = f"that is {'an' if others[0][0] in 'e' else 'a'} {others[0]}" if others else nearest(use, names)
    validator.report.add(path, f"unknown {kind} {use!r}", hint)
    return None


def _name(section: str, data: Mapping[str, Any], path: KeyPath, validator: Validator) -> str:
    key = "name" if section not in ONE and data.get("name") is not None else "use"
    name = data.get(key)
    if not isinstance(name, str) or not name:
        return ""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) and section not in ONE:
        message = f"must be letters, digits and underscores, and not begin with a digit; got {show(name)}"
        if key == "name":
            validator.report.add((*path, key), message)
        elif name in registry.names(KIND_OF[section][0], validator.local):
            validator.report.add(
                path, f"{name!r} cannot be an entry's name", "give the entry another with the key 'name'"
            )
    return name


def _refuse_reserved(section: str, plugin: Plugin) -> None:
    taken = RESERVED | {field.name for field in driver_fields(section)}
    clash = [field.name for field in fields(plugin.cls) if field.name in taken]
    if clash:
        raise PluginError(
            f"{plugin.kind} {plugin.name!r} may not have a field called {clash[0]!r}: every entry has that key",
            where=plugin.origin,
            hint="rename the field",
        )

"""Reads the entries of a section: finds each one's plugin and validates its keys, the driver's and the plugin's."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from curate.config.issues import IssueCollector, suggest_name
from curate.config.sections import BUDGET_KEYS, FILTER_KEYS, EntrySection, driver_fields, is_filter
from curate.config.validator import Validator, Values
from curate.config.yaml_positions import KeyPath, PlainData
from curate.errors import PluginError
from curate.plugins import registry
from curate.plugins.fields import fields, format_value
from curate.plugins.kinds import KINDS
from curate.plugins.registry import LocalPlugin, Plugin, PluginSpec

RESERVED = frozenset({"use", "name", *BUDGET_KEYS, "at_most", "within", "quota", "quality"})
"""Keys that no plugin may have as a field, whatever its kind; but a filter may have ``keep``."""

MAX_NAME_LENGTH = 255
"""Number of letters that the name of a folder may have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """An entry as it was written, each key valid by itself."""

    section: str
    path: KeyPath
    name: str
    """"" where it cannot be told."""

    plugin: Plugin | None
    """None if there is none of that name."""

    instance: object
    """The plugin object; None if a key is wrong."""

    keys: Values
    """The driver's keys that were given and not null."""

    data: Mapping[str, PlainData]
    """Everything that was given, as plain data."""

    spec: PluginSpec | None


def parse_entries(
    section: EntrySection, data: PlainData, local: tuple[LocalPlugin, ...], validator: Validator
) -> list[Draft]:
    """The entries of a section; what is wrong with them is in the validator's report."""
    path: KeyPath = (section.name,)
    if not section.is_list or (section.allows_single and isinstance(data, dict)):
        return _draft(section, data, path, local, validator)
    if not isinstance(data, list):
        hint = "begin each entry with '- '" if isinstance(data, dict) else ""
        validator.report.add(path, f"must be {section.type_name}; got {format_value(data)}", hint)
        return []
    if not data and not section.may_be_empty:
        validator.report.add(path, "must have at least one entry")
    return [draft for at, entry in enumerate(data) for draft in _draft(section, entry, (*path, at), local, validator)]


def parse_entry(section: EntrySection, data: PlainData, validator: Validator) -> Draft:
    """One entry without a configuration around it; its keys stand at the top."""
    return _draft(section, data, (), (), validator)[0]


def _draft(
    section: EntrySection, data: PlainData, path: KeyPath, local: tuple[LocalPlugin, ...], validator: Validator
) -> list[Draft]:
    report = validator.report
    if not isinstance(data, dict):
        hint = f"write {{use: {data}}}" if isinstance(data, str) else ""
        report.add(path, f"must be a mapping; got {format_value(data)}", hint)
        return []
    use = data.get("use")
    plugin = _plugin(section, use, (*path, "use"), local, report) if isinstance(use, str) and use else None
    driver = driver_fields(section, plugin)
    keys = {key: value for key, value in validator.values(driver, data, path).items() if value is not None}
    names = registry.names(section.kind, local)
    name = _name(section, data, path, names, report)
    built, spec = None, None
    if plugin is not None:
        own = fields(plugin.cls)
        _refuse_reserved({*RESERVED, *(field.name for field in driver)}, plugin)
        known = [field.name for field in (*driver, *own)]
        if not plugin.traits.budgeted:
            budget = (*BUDGET_KEYS, "at_most")
            known = [key for key in known if key not in budget]
            for key in [key for key in budget if key in keys]:
                message = f"the filter {plugin.name!r} decides itself how many rows it keeps"
                report.add((*path, key), message, "remove it")
        validator.unknown(known, [key for key in data if key not in (*BUDGET_KEYS, "at_most") or key in known], path)
        built = validator.build(plugin.cls, validator.values(own, data, path), path)
        if built is not None:
            files = tuple(file for file in local if file.path == plugin.origin)
            spec = registry.make_spec(built, plugin.name, files)
    return [
        Draft(
            section=section.name, path=path, name=name, plugin=plugin, instance=built, keys=keys, data=data, spec=spec
        )
    ]


def _plugin(
    section: EntrySection, use: str, path: KeyPath, local: tuple[LocalPlugin, ...], report: IssueCollector
) -> Plugin | None:
    """Return the plugin that ``use`` names, or None if there is none; raise if it exists but cannot be imported."""
    names = registry.names(section.kind, local)
    if use in names:
        return registry.get(section.kind, use, local)
    others = [other for other in KINDS if use in registry.names(other, local)]
    hint = f"that is {'an' if others[0][0] in 'e' else 'a'} {others[0]}" if others else suggest_name(use, names)
    report.add(path, f"unknown {section.kind} {use!r}", hint)
    return None


def _name(
    section: EntrySection, data: Mapping[str, PlainData], path: KeyPath, names: Sequence[str], report: IssueCollector
) -> str:
    key = "name" if section.is_list and data.get("name") is not None else "use"
    name = data.get(key)
    if not isinstance(name, str) or not name:
        return ""
    if section.is_list and len(name) > MAX_NAME_LENGTH:
        report.add(
            (*path, key), f"must have at most {MAX_NAME_LENGTH} letters, as a folder is named so; got {len(name)}"
        )
    elif section.is_list and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        message = f"must be letters, digits and underscores, and not begin with a digit; got {format_value(name)}"
        if key == "name":
            report.add((*path, key), message)
        elif name in names:
            report.add(path, f"{name!r} cannot be an entry's name", "give the entry another with the key 'name'")
    return name


def _refuse_reserved(taken: set[str], plugin: Plugin) -> None:
    if is_filter(plugin):
        taken = taken - FILTER_KEYS
    clash = [field.name for field in fields(plugin.cls) if field.name in taken]
    if clash:
        raise PluginError(
            f"{plugin.kind} {plugin.name!r} may not have a field called {clash[0]!r}: every entry has that key",
            where=plugin.origin,
            hint="rename the field",
        )

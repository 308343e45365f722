"""``--set KEY=VALUE``: puts a value into the data of a configuration before it is validated."""

from __future__ import annotations

from curate.config import yaml_positions
from curate.config.issues import IssueCollector, Location, format_path
from curate.config.yaml_positions import KeyPath, PlainData
from curate.errors import ConfigError
from curate.paths import hide_secrets
from curate.plugins.fields import format_value


def override_location(override: str, number: int) -> Location:
    """Return the place of an override, which is the ``number``-th of the command line, from 0."""
    return Location(1 << 31, number, f"--set {hide_secrets(override)}", override=True)


def apply_override(override: str, place: Location, data: dict[str, PlainData], report: IssueCollector) -> None:
    """Set one value in ``data``.

    KEY is a path such as ``select.2.prune_rate``: list positions count from 0, and an entry may also be called by its
    name (``select.ccs.prune_rate``). Sections that are missing on the way are made. VALUE is YAML.
    """
    key, equals, value = override.partition("=")
    steps = key.strip().split(".")
    if not equals or not all(steps):
        report.add((), "write KEY=VALUE", "for example: --set select.0.keep_rate=0.1", place)
        return
    try:
        document = yaml_positions.parse_yaml(value, place.text) if value.strip() else yaml_positions.Document(None)
    except ConfigError as error:
        report.add((), error.message, error.hint, place)
        return
    path = _put(data, steps, document.data, place, report)
    if path is None:
        return
    report.override(path, place)
    for fault in document.faults:
        report.add((*path, *fault.path), fault.message, fault.hint, place)


def _put(
    data: dict[str, PlainData], steps: list[str], value: PlainData, place: Location, report: IssueCollector
) -> KeyPath | None:
    """Put ``value`` at the end of ``steps``; the path it has there, None if there is no such place."""
    at: PlainData = data
    path: KeyPath = ()
    for index, step in enumerate(steps):
        last = index == len(steps) - 1
        if isinstance(at, dict):
            path = (*path, step)
            if last:
                at[step] = value
            elif at.get(step) is None:
                at[step] = {}
            at = at[step]
        elif isinstance(at, list):
            position = _position(at, step, path, place, report)
            if position is None:
                return None
            path = (*path, position)
            if last:
                at[position] = value
            at = at[position]
        else:
            report.add((), f"{format_path(path)} is {format_value(at)}, and has nothing in it to set", "", place)
            return None
    return path


def _position(
    entries: list[PlainData], step: str, path: KeyPath, place: Location, report: IssueCollector
) -> int | None:
    """The position in a list that a number or an entry's name tells."""
    if step.isdecimal():
        if int(step) < len(entries):
            return int(step)
        there = f"{len(entries)} entries, 0 to {len(entries) - 1}" if len(entries) > 1 else f"{len(entries)} entry"
        report.add((), f"{format_path(path)} has {there}", "", place)
        return None
    named = [
        index
        for index, entry in enumerate(entries)
        if isinstance(entry, dict) and step == (entry.get("name") or entry.get("use"))
    ]
    if len(named) == 1:
        return named[0]
    many = "more than one entry" if named else "no entry"
    report.add((), f"{format_path(path)} has {many} called {step!r}", "write its position, from 0", place)
    return None

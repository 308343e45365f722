"""A configuration, from a YAML file or a dict, to a frozen ``RunConfig``, or to every error in it at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

from curate import paths
from curate.config import cross_checks, entries, yaml_positions
from curate.config import overrides as sets
from curate.config.issues import IssueCollector
from curate.config.model import RunConfig, SelectEntry, parse_size
from curate.config.sections import BUDGET_KEYS, ENTRY_SECTIONS, SECTIONS, TOP_LEVEL_FIELDS, resolve_config
from curate.config.validator import Validator, Values
from curate.config.yaml_positions import KeyPath, PlainData
from curate.errors import ConfigError, PluginError
from curate.plugins.fields import Field, format_value
from curate.plugins.registry import LocalPlugin


def load_config(path: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """The configuration in a YAML file.

    Parameters
    ----------
    path : the file
    overrides : ``KEY=VALUE`` each, as ``--set`` takes them: ``select.2.prune_rate=0.9``

    Raises
    ------
    ConfigErrors : everything that is wrong with it, one a line, in the order of the file
    PluginError : if a plugin that it uses cannot be imported
    """
    return _run_config(_document(path), str(path), overrides)


def load_run_config(run: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Return the configuration that a run directory holds.

    Raises
    ------
    ConfigError : if it is missing, or is not as the run wrote it
    """
    path, again = run / "config.yaml", "run again, which writes it: curate run CONFIG"
    if not path.exists():
        message = "the configuration of the run is missing, or a link that leads nowhere"
        raise ConfigError(message, where=str(path), hint=again)
    try:
        return load_config(path, overrides)
    except ConfigError as error:
        if overrides:
            raise
        raise ConfigError(f"{str(error).splitlines()[0]}; it is not as a run wrote it", hint=again) from error


def load_local_plugins(path: Path) -> tuple[LocalPlugin, ...]:
    """Return the plugin files that the configuration in a YAML file names, whatever else is in it.

    Raises
    ------
    ConfigErrors : if they cannot be read
    """
    document = _document(path)
    report, data = IssueCollector(str(path), document), document.data
    if not isinstance(data, dict):
        return ()
    top = {field.name: field for field in TOP_LEVEL_FIELDS}
    found = _local_plugins(data.get("plugins", []), top["plugins"], Validator(report))
    report.raise_if_any()
    return found


def read_run_directory(path: Path) -> str:
    """Return the run directory that the configuration in a YAML file names, whatever else is in it.

    Raises
    ------
    ConfigError : if it cannot be read, or names none
    """
    data = _document(path).data
    name = data.get("run") if isinstance(data, dict) else None
    if not isinstance(name, str) or not name:
        raise ConfigError("no configuration: it has no key 'run'", where=str(path))
    return name


def _document(path: Path) -> yaml_positions.Document:
    try:
        text = paths.read_bytes(path).decode("utf-8-sig")
    except OSError as error:
        hint = "name the YAML file in it" if path.is_dir() else ""
        raise ConfigError(f"cannot read the configuration: {error.strerror}", where=str(path), hint=hint) from error
    except UnicodeDecodeError as error:
        byte = f"byte {error.start} is {error.object[error.start]:#04x}"
        raise ConfigError(f"not UTF-8 text: {byte}", where=str(path)) from error
    return yaml_positions.parse_yaml(text, str(path))


def config_from_dict(data: Mapping[str, object], overrides: Sequence[str] = (), source: str = "<dict>") -> RunConfig:
    """The configuration in a dict, as a notebook writes it; raises what ``load`` raises, naming the ``source``."""
    return _run_config(yaml_positions.document_from_python(data), source, overrides)


def selector_entry_from_dict(data: Mapping[str, object], scores: Sequence[str] = ()) -> SelectEntry:
    """Return an entry of the select section, for use without a configuration.

    Parameters
    ----------
    data : ``use``, a budget unless it is a filter, ``within`` and ``quota``, and the selector's own fields
    scores : the names of the scores that its fields may refer to

    Raises
    ------
    ConfigErrors : everything that is wrong with it
    """
    document = yaml_positions.document_from_python(data)
    report = IssueCollector("select", document)
    draft = entries.parse_entry(ENTRY_SECTIONS["select"], document.data, Validator(report))
    budget = cross_checks.check_single_entry(draft, scores, report)
    for key in draft.keys.keys() - {"use", "within", "quota", "at_most", *BUDGET_KEYS}:
        report.add((key,), "has a meaning in a configuration only", "remove it")
    report.raise_if_any()
    within, quota = draft.keys.get("within"), draft.keys.get("quota")
    return SelectEntry(name=draft.name, spec=draft.spec, budget=budget, within=within, quota=quota)  # type: ignore[arg-type] # a report without errors has a spec


def _run_config(document: yaml_positions.Document, source: str, overrides: Sequence[str]) -> RunConfig:
    report, values = _validated(document, source, overrides)
    for number in reversed(range(len(overrides) if report.issues else 0)):
        try:
            before, _ = _validated(document, source, overrides[:number])
        except PluginError:  # an override took a plugin out that cannot be imported
            break
        report.attribute_to_override(before, sets.override_location(overrides[number], number))
    report.raise_if_any()
    config = RunConfig(source=source, **values)
    return replace(config, resolved=resolve_config(config))


def _validated(
    document: yaml_positions.Document, source: str, overrides: Sequence[str]
) -> tuple[IssueCollector, Values]:
    """Return what is wrong with a document after some overrides, and the fields of ``RunConfig`` if nothing is."""
    report, data = IssueCollector(source, document), deepcopy(document.data)
    if not isinstance(data, dict):
        report.add((), f"must be a mapping of sections; got {format_value(data)}", "begin with the line 'curate: 1'")
        return report, {}
    for number, override in enumerate(overrides):
        sets.apply_override(override, sets.override_location(override, number), data, report)
    return report, _sections(_without_secrets(data, (), report), Validator(report))


def _without_secrets(data: Any, path: KeyPath, report: IssueCollector) -> Any:
    """Return the data without the secrets of its URLs, each of which is a problem; nothing after this can show one."""
    if isinstance(data, dict):
        found = {}
        for key, value in data.items():
            below = (*path, paths.hide_secrets(key))
            found[_without_secrets(key, below, report)] = _without_secrets(value, below, report)
        return found
    if isinstance(data, list):
        return [_without_secrets(value, (*path, place), report) for place, value in enumerate(data)]
    if isinstance(data, str) and paths.is_url(data) and paths.has_secret(data):
        report.add(path, paths.CREDENTIALS_IN_URL)
        return paths.hide_secrets(data)
    return data


def _sections(data: dict[str, PlainData], validator: Validator) -> Values:
    """The fields of ``RunConfig``."""
    top = {field.name: field for field in TOP_LEVEL_FIELDS}
    validator.unknown(top, data, ())
    _check_version(data, validator.report)
    found = validator.values([top["run"], top["seed"]], data, ())
    if "memory_limit" in data:
        found["memory_limit"] = _size(data["memory_limit"], validator.report)
    found["plugins"] = local = _local_plugins(data.get("plugins", []), top["plugins"], validator)
    given = {name: section.default for name, section in SECTIONS.items() if section.default is not None} | data
    for name, section in SECTIONS.items():
        if section.required and name not in given:
            validator.missing(top[name], ())
        elif name not in ENTRY_SECTIONS:
            found[name] = validator.object(section.cls, given[name], (name,)) if name in given else None
    drafts = {
        name: entries.parse_entries(section, given[name], local, validator) if name in given else []
        for name, section in ENTRY_SECTIONS.items()
    }
    cross_checks.check_epoch_plans(drafts["select"], found["refresh"], validator.report)
    if "decontaminate" in data:
        cross_checks.check_decontamination(drafts, found["decontaminate"], validator.report)
    cross_checks.check_primary_metric(drafts["metrics"], found["evaluate"], local, data.get("input"), validator.report)
    return {**found, "curate": 1, **cross_checks.check_entries(drafts, data.get("input"), validator.report)}


def _check_version(data: dict[str, PlainData], report: IssueCollector) -> None:
    hint = "this release reads version 1"
    if "curate" in data:
        if format_value(data["curate"]) != "1":  # neither true nor 1.0
            report.add(("curate",), f"must be 1, the version of the format; got {format_value(data['curate'])}", hint)
    else:
        report.add(("curate",), "missing", f"add the line 'curate: 1', the version of the format; {hint}")


def _size(value: PlainData, report: IssueCollector) -> int | None:
    count = parse_size(value) if isinstance(value, str) else value
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        message = f"must be a number of bytes >= 1, or a size such as '8GiB'; got {format_value(value)}"
        report.add(("memory_limit",), message)
        return None
    return count


def _local_plugins(data: PlainData, field: Field, validator: Validator) -> tuple[LocalPlugin, ...]:
    found: list[LocalPlugin] = []
    for index, name in enumerate(validator.value(field.type, data, ("plugins",)) or ()):
        try:
            found.append(LocalPlugin.from_path(Path(name)))
        except PluginError as error:
            validator.report.add(
                ("plugins", index), f"{error.where}: {error.message}", "paths are relative to the current folder"
            )
    return tuple(found)

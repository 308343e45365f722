"""Loader of configurations from YAML files and dicts, which reports all errors at once."""

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
from curate.config.model import EmbedEntry, RunConfig, SelectEntry, parse_size
from curate.config.sections import BUDGET_KEYS, ENTRY_SECTIONS, SECTIONS, TOP_LEVEL_FIELDS, resolve_config
from curate.config.validator import Validator, Values
from curate.config.yaml_positions import KeyPath, PlainData
from curate.errors import ConfigError, PluginError
from curate.plugins.fields import Field, format_value
from curate.plugins.registry import LocalPlugin


def load_config(path: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Load the configuration from a YAML file.

    Parameters
    ----------
    path : Path
        YAML file.
    overrides : sequence of str
        Overrides as ``KEY=VALUE``, as ``--set`` takes them: ``select.2.prune_rate=0.9``.

    Raises
    ------
    ConfigErrors
        If the configuration is wrong; lists all issues, one per line, in the order of the file.
    PluginError
        If a plugin that it uses cannot be imported.
    """
    return _run_config(_document(path), str(path), overrides)


def load_run_config(run: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Load the configuration that is stored in a run directory.

    Raises
    ------
    ConfigError
        If it is missing, or was changed since the run wrote it.
    """
    path, rerun_hint = run / "config.yaml", "run `curate run CONFIG` again, which writes it"
    if not path.exists():
        message = "the configuration of the run is missing"
        raise ConfigError(message, where=str(path), hint=rerun_hint)
    try:
        return load_config(path, overrides)
    except ConfigError as error:
        if overrides:
            raise
        message = f"{str(error).splitlines()[0]}; the file was changed since the run wrote it"
        raise ConfigError(message, hint=rerun_hint) from error


def load_local_plugins(path: Path) -> tuple[LocalPlugin, ...]:
    """Load the plugin files that a YAML configuration lists, without validating the rest of it.

    Raises
    ------
    ConfigErrors
        If they cannot be read.
    """
    document = _document(path)
    report, data = IssueCollector(str(path), document), document.data
    if not isinstance(data, dict):
        return ()
    top = {field.name: field for field in TOP_LEVEL_FIELDS}
    values = _local_plugins(data.get("plugins", []), top["plugins"], Validator(report))
    report.raise_if_any()
    return values


def read_run_directory(path: Path) -> str:
    """Return the run directory that a YAML configuration sets, without validating the rest of it.

    Raises
    ------
    ConfigError
        If the file cannot be read, or has no key ``run``.
    """
    data = _document(path).data
    name = data.get("run") if isinstance(data, dict) else None
    if not isinstance(name, str) or not name:
        raise ConfigError("this is not a configuration: it has no key 'run'", where=str(path))
    return name


def _document(path: Path) -> yaml_positions.Document:
    try:
        text = paths.read_bytes(path).decode("utf-8-sig")
    except OSError as error:
        hint = "pass the YAML file in this directory" if path.is_dir() else ""
        raise ConfigError(f"cannot read the configuration: {error.strerror}", where=str(path), hint=hint) from error
    except UnicodeDecodeError as error:
        byte = f"byte {error.start} is {error.object[error.start]:#04x}"
        raise ConfigError(f"not UTF-8 text: {byte}", where=str(path)) from error
    return yaml_positions.parse_yaml(text, str(path))


def config_from_dict(data: Mapping[str, object], overrides: Sequence[str] = (), source: str = "<dict>") -> RunConfig:
    """Load the configuration from a dict; raises the same errors as ``load_config``, with ``source`` as the file."""
    return _run_config(yaml_positions.document_from_python(data), source, overrides)


def embed_entry_from_dict(data: Mapping[str, object]) -> EmbedEntry:
    """Return an entry of the embed section, for use outside of a configuration.

    Parameters
    ----------
    data : mapping
        ``use``, and the options of the embedder.

    Raises
    ------
    ConfigErrors
        If the entry is wrong; lists all issues.
    """
    draft, report = _parse_entry("embed", data)
    report.raise_if_any()
    return EmbedEntry(name=draft.name, spec=draft.spec)  # type: ignore[arg-type] # without issues, spec is set


def _parse_entry(section: str, data: Mapping[str, object]) -> tuple[entries.Draft, IssueCollector]:
    document = yaml_positions.document_from_python(data)
    report = IssueCollector(section, document)
    return entries.parse_entry(ENTRY_SECTIONS[section], document.data, Validator(report)), report


def selector_entry_from_dict(data: Mapping[str, object], scores: Sequence[str] = ()) -> SelectEntry:
    """Return an entry of the select section, for use outside of a configuration.

    Parameters
    ----------
    data : mapping
        ``use``, a budget unless the selector is a filter, ``within``, ``quota``, and the options of the selector.
    scores : sequence of str
        Names of the scores that its options may refer to.

    Raises
    ------
    ConfigErrors
        If the entry is wrong; lists all issues.
    """
    draft, report = _parse_entry("select", data)
    budget = cross_checks.check_single_entry(draft, scores, report)
    for key in draft.keys.keys() - {"use", "within", "quota", "at_most", *BUDGET_KEYS}:
        report.add((key,), "this key can only be used in a configuration", "remove it")
    report.raise_if_any()
    within, quota = draft.keys.get("within"), draft.keys.get("quota")
    return SelectEntry(name=draft.name, spec=draft.spec, budget=budget, within=within, quota=quota)  # type: ignore[arg-type] # without issues, spec is set


def _run_config(document: yaml_positions.Document, source: str, overrides: Sequence[str]) -> RunConfig:
    report, values = _validated(document, source, overrides)
    for number in reversed(range(len(overrides) if report.issues else 0)):
        try:
            before, _ = _validated(document, source, overrides[:number])
        except PluginError:  # an override removed a plugin that cannot be imported
            break
        report.attribute_to_override(before, sets.override_location(overrides[number], number))
    report.raise_if_any()
    config = RunConfig(source=source, **values)
    return replace(config, resolved=resolve_config(config))


def _validated(
    document: yaml_positions.Document, source: str, overrides: Sequence[str]
) -> tuple[IssueCollector, Values]:
    """Return the issues of a document after some overrides, and the fields of ``RunConfig`` if there are no issues."""
    report, data = IssueCollector(source, document), deepcopy(document.data)
    if not isinstance(data, dict):
        report.add((), f"must be a mapping of sections; got {format_value(data)}", "begin with the line 'curate: 1'")
        return report, {}
    for number, override in enumerate(overrides):
        sets.apply_override(override, sets.override_location(override, number), data, report)
    return report, _sections(_without_secrets(data, (), report), Validator(report))


def _without_secrets(data: Any, path: KeyPath, report: IssueCollector) -> Any:
    """Return the data without secrets in URLs, and report each of them, so that no later message can show a secret."""
    if isinstance(data, dict):
        safe = {}
        for key, value in data.items():
            below = (*path, paths.hide_secrets(key))
            safe[_without_secrets(key, below, report)] = _without_secrets(value, below, report)
        return safe
    if isinstance(data, list):
        return [_without_secrets(value, (*path, index), report) for index, value in enumerate(data)]
    if isinstance(data, str) and paths.is_url(data) and paths.has_secret(data):
        report.add(path, paths.CREDENTIALS_IN_URL)
        return paths.hide_secrets(data)
    return data


def _sections(data: dict[str, PlainData], validator: Validator) -> Values:
    """Validate all sections, and return the fields of ``RunConfig``."""
    top = {field.name: field for field in TOP_LEVEL_FIELDS}
    validator.unknown(top, data, ())
    _check_version(data, validator.report)
    values = validator.values([top["run"], top["seed"]], data, ())
    if "memory_limit" in data:
        values["memory_limit"] = _size(data["memory_limit"], validator.report)
    values["plugins"] = local = _local_plugins(data.get("plugins", []), top["plugins"], validator)
    sections = {name: section.default for name, section in SECTIONS.items() if section.default is not None} | data
    if "embed" not in data and _has_only_images(data.get("input")):
        sections["embed"] = {"use": "image_features"}
    for name, section in SECTIONS.items():
        if section.required and name not in sections:
            validator.missing(top[name], ())
        elif name not in ENTRY_SECTIONS:
            values[name] = validator.object(section.cls, sections[name], (name,)) if name in sections else None
    drafts = {
        name: entries.parse_entries(section, sections[name], local, validator) if name in sections else []
        for name, section in ENTRY_SECTIONS.items()
    }
    cross_checks.check_epoch_plans(drafts["select"], values["refresh"], validator.report)
    cross_checks.check_split(drafts, values["split"], data.get("input"), validator.report)
    cross_checks.check_review(drafts, values["review"], data.get("input"), validator.report)
    cross_checks.check_target(values["target"], data.get("input"), validator.report)
    if "decontaminate" in data:
        cross_checks.check_decontamination(drafts, values["decontaminate"], data.get("input"), validator.report)
    cross_checks.check_primary_metric(drafts["metrics"], values["evaluate"], local, data.get("input"), validator.report)
    return {
        **values,
        "curate": 1,
        **cross_checks.check_entries(drafts, data.get("input"), validator.report, values["target"], values["judge"]),
    }


def _has_only_images(section: PlainData) -> bool:
    return isinstance(section, dict) and bool(section.get("image")) and not section.get("text")


def _check_version(data: dict[str, PlainData], report: IssueCollector) -> None:
    hint = "this release of curate supports version 1"
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
    values: list[LocalPlugin] = []
    for index, name in enumerate(validator.value(field.type, data, ("plugins",)) or ()):
        try:
            values.append(LocalPlugin.from_path(Path(name)))
        except PluginError as error:
            validator.report.add(
                ("plugins", index), f"{error.where}: {error.message}", "paths are relative to the current directory"
            )
    return tuple(values)

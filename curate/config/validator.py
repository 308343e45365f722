"""One value, or one object of a dataclass, from plain data; every problem goes to a report."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from curate.config import yaml_positions
from curate.config.issues import Report, nearest
from curate.config.yaml_positions import KeyPath
from curate.errors import ConfigError
from curate.plugins.fields import Field, describe, fields, item_type, nested, not_null, show


@lru_cache
def _adapter(annotation: Any) -> TypeAdapter[Any]:
    return TypeAdapter(annotation)


def _locate(annotation: Any, value: Any, loc: Iterable[int | str]) -> tuple[KeyPath, Any, Any]:
    """The innermost list item or mapping value that an error is about: its path, type and value.

    ``loc`` also names the alternatives of unions that were tried; those lead nowhere.
    """
    path: KeyPath = ()
    for step in loc:
        there = (isinstance(value, list) and isinstance(step, int)) or (isinstance(value, dict) and step in value)
        inner = item_type(annotation, type(value)) if there else None
        if inner is not None:
            annotation, value, path = inner, value[step], (*path, step)
    return path, annotation, value


class Validator:
    """Validate values and objects; what it returns counts only if ``report`` has no problem."""

    def __init__(self, report: Report) -> None:
        self.report = report

    def value(self, annotation: Any, value: Any, path: KeyPath) -> Any:
        """One value, in the type that its field has."""
        inner = nested(annotation)
        if inner and isinstance(value, dict):
            return self.object(inner, value, path)
        item = item_type(annotation, list)
        if value and isinstance(value, list) and nested(item):
            return tuple(self.value(item, each, (*path, index)) for index, each in enumerate(value))
        try:
            return _adapter(annotation).validate_json(json.dumps(value), strict=True)
        except ValidationError as error:
            wrong = {at: rest for at, *rest in (_locate(annotation, value, each["loc"]) for each in error.errors())}
            for at, (wanted, got) in wrong.items():
                if not any(other != at and other[: len(at)] == at for other in wrong):
                    hint = "remove the quotes" if isinstance(got, str) and self._fits_unquoted(wanted, got) else ""
                    self.report.add((*path, *at), f"must be {describe(not_null(wanted))}; got {show(got)}", hint)
            return None

    def _fits_unquoted(self, annotation: Any, text: str) -> bool:
        try:
            bare = yaml_positions.parse(text, "").data
            _adapter(annotation).validate_json(json.dumps(bare), strict=True)
        except (ConfigError, ValidationError):
            return False
        return not isinstance(bare, str | list | dict | None)

    def values(self, known: Sequence[Field], data: Mapping[str, Any], path: KeyPath) -> dict[str, Any]:
        """The values of the fields that ``data`` has; complains of those that it lacks."""
        found: dict[str, Any] = {}
        for field in known:
            if field.name in data:
                found[field.name] = self.value(field.type, data[field.name], (*path, field.name))
            elif field.required:
                self.missing(field, path)
        return found

    def missing(self, field: Field, path: KeyPath) -> None:
        doc = field.doc.rstrip(".")
        if doc[1:2].islower() or doc[1:2] == " ":
            doc = doc[0].lower() + doc[1:]
        self.report.add((*path, field.name), "missing", doc or f"it must be {field.text}")

    def unknown(self, known: Iterable[str], keys: Iterable[str], path: KeyPath) -> None:
        names = list(known)
        for key in keys:
            if key not in names:
                self.report.add((*path, key), "unknown key", nearest(key, names))

    def object(self, cls: type, data: Any, path: KeyPath) -> Any:
        """An object of a dataclass whose fields are the keys."""
        if not isinstance(data, dict):
            self.report.add(path, f"must be a mapping; got {show(data)}")
            return None
        self.unknown([field.name for field in fields(cls)], data, path)
        return self.build(cls, self.values(fields(cls), data, path), path)

    def build(self, cls: type, values: dict[str, Any], path: KeyPath) -> Any:
        """The object, if its values are right; else what ``__post_init__`` says, at the key its message begins with."""
        if self.report.blames(path):
            return None
        try:
            return cls(**values)
        except ValueError as error:
            key, colon, message = str(error).partition(": ")
            named = bool(colon) and any(field.name == key for field in fields(cls))
            self.report.add((*path, key) if named else path, message if named else str(error))
            return None

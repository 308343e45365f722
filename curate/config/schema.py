"""The JSON Schema of a configuration, so that an editor completes its keys, explains them and marks mistakes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, get_args, get_origin

import annotated_types as at

from curate.config.budget import Budget
from curate.config.model import KIND_OF, ONE, SIZE, TOP_KEYS, RunConfig, driver_fields, plain
from curate.plugins import registry
from curate.plugins.fields import Field, fields, item_type, members, nested, not_null, split
from curate.plugins.registry import Local, Plugin

_NAMES: dict[object, str] = {int: "integer", float: "number", str: "string", bool: "boolean", type(None): "null"}
_BOUNDS = (
    (at.Ge, "ge", "minimum"),
    (at.Gt, "gt", "exclusiveMinimum"),
    (at.Le, "le", "maximum"),
    (at.Lt, "lt", "exclusiveMaximum"),
)


def json_schema(local: tuple[Local, ...] = ()) -> dict[str, Any]:
    """The schema (draft 2020-12), with every plugin that is installed and those in the files ``local``.

    It knows which keys there are and what each may hold. What must hold between entries (names that exist, for example)
    only loading the configuration can tell.
    """
    definitions: dict[str, Any] = {}
    properties: dict[str, Any] = {}
    for field in fields(RunConfig):
        if field.name in KIND_OF:
            properties[field.name] = {**_section(field.name, local, definitions), "description": field.doc}
        elif field.name in TOP_KEYS:
            properties[field.name] = _top(field)
    required = ["curate", "run", "input", "select"]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "curate configuration",
        **_closed(properties, required),
        "$defs": definitions,
    }


def _top(field: Field) -> dict[str, Any]:
    if field.name == "memory_limit":
        sizes = {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": f"^{SIZE}$"}]}
        return {**sizes, "description": field.doc}
    if field.name == "plugins":
        return {"type": "array", "items": {"type": "string"}, "description": field.doc}
    return _property(replace(field, type=not_null(field.type)))


def _section(section: str, local: tuple[Local, ...], definitions: dict[str, Any]) -> dict[str, Any]:
    """The schema of a section; its plugins are added to ``definitions``."""
    kind = KIND_OF[section][0]
    names = registry.names(kind, local)
    choices = []
    for name in names:
        definitions[f"{kind}.{name}"] = _entry(section, registry.get(kind, name, local))
        matches = {"properties": {"use": {"const": name}}, "required": ["use"]}
        choices.append({"if": matches, "then": {"$ref": f"#/$defs/{kind}.{name}"}})
    use = {"enum": names, "description": driver_fields(section)[0].doc}
    definitions[section] = {"type": "object", "properties": {"use": use}, "required": ["use"], "allOf": choices}
    one = {"$ref": f"#/$defs/{section}"}
    if section in ONE:
        return one
    many = {"type": "array", "items": one, "minItems": 0 if section in ("score", "metrics") else 1}
    return {"anyOf": [one, many]} if section == "embed" else many


def _entry(section: str, plugin: Plugin) -> dict[str, Any]:
    """An entry that uses one plugin: the driver's keys and the plugin's."""
    budget = [field.name for field in fields(Budget)] if section == "select" else []
    useless = {"quality"} - plugin.traits.reads if section == "select" else set()
    if section in ("proxy", "score", "select", "metrics") and "embedding" not in plugin.traits.reads:
        useless.add("embedding")
    if not plugin.traits.budgeted:
        useless |= {*budget, "quota"}
    driver = [field for field in driver_fields(section) if field.name not in useless]
    known = {field.name: _property(field) for field in (*driver, *fields(plugin.cls))}
    known["use"] = {"const": plugin.name, "description": plugin.summary()}
    required = ["use", *(field.name for field in fields(plugin.cls) if field.required)]
    schema = {"description": plugin.summary(), **_closed(known, required)}
    if budget and plugin.traits.budgeted:
        schema["oneOf"] = [{"required": [key], "properties": {key: {"not": {"type": "null"}}}} for key in budget]
    return schema


def _closed(properties: dict[str, Any], required: Sequence[str]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def _property(field: Field) -> dict[str, Any]:
    schema = of_type(field.type)
    if field.doc:
        schema["description"] = field.doc
    if not field.required and field.default is not None:
        schema["default"] = plain(field.default)
    return schema


def of_type(annotation: Any) -> dict[str, Any]:
    """The schema of a field's type.

    >>> from typing import Annotated
    >>> of_type(Annotated[int, at.Ge(1)] | Literal["auto"])
    {'anyOf': [{'type': 'integer', 'minimum': 1}, {'const': 'auto'}]}
    """
    alternatives = members(annotation)
    if len(alternatives) > 1:
        return {"anyOf": [of_type(member) for member in alternatives]}
    base, marks = split(annotation)
    if get_origin(base) is Literal:
        values = list(get_args(base))
        return {"const": values[0]} if len(values) == 1 else {"enum": values}
    shortest = next((mark.min_length for mark in marks if isinstance(mark, at.MinLen)), 0)
    item = item_type(base, list)
    if item is not None:
        return {"type": "array", "items": of_type(item), **({"minItems": shortest} if shortest else {})}
    value = item_type(base, dict)
    if value is not None:
        least = {"minProperties": shortest} if shortest else {}
        return {"type": "object", "additionalProperties": of_type(value), **least}
    cls = nested(base)
    if cls is not None:
        properties = {field.name: _property(field) for field in fields(cls)}
        return _closed(properties, [field.name for field in fields(cls) if field.required])
    schema: dict[str, Any] = {"type": _NAMES[base], **({"minLength": shortest} if shortest else {})}
    for kind, attribute, key in _BOUNDS:
        for mark in marks:
            if isinstance(mark, kind):
                schema[key] = getattr(mark, attribute)
    return schema

"""JSON Schema of a configuration, which lets an editor complete and explain keys and mark mistakes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias, get_args, get_origin

import annotated_types as at

from curate.config.model import SIZE, to_plain
from curate.config.sections import BUDGET_KEYS, ENTRY_SECTIONS, TOP_LEVEL_FIELDS, USE_FIELD, EntrySection, driver_fields
from curate.plugins import registry
from curate.plugins.fields import (
    Field,
    fields,
    item_type,
    nested_dataclass,
    required_unless,
    split_annotated,
    union_members,
    without_null,
)
from curate.plugins.registry import LocalPlugin, Plugin

Schema: TypeAlias = dict[str, Any]

_NAMES: dict[object, str] = {int: "integer", float: "number", str: "string", bool: "boolean", type(None): "null"}
_BOUNDS = (
    (at.Ge, "ge", "minimum"),
    (at.Gt, "gt", "exclusiveMinimum"),
    (at.Le, "le", "maximum"),
    (at.Lt, "lt", "exclusiveMaximum"),
)


def json_schema(local: tuple[LocalPlugin, ...] = ()) -> Schema:
    """Return the schema (draft 2020-12), with every installed plugin and the plugins in the files ``local``.

    It covers which keys exist and which values they accept. Conditions that involve several entries, such as
    references to names, are only checked when the configuration is loaded.
    """
    definitions: Schema = {}
    properties: Schema = {}
    for field in TOP_LEVEL_FIELDS:
        section = ENTRY_SECTIONS.get(field.name)
        schema = _section(section, local, definitions) if section else type_schema(without_null(field.type))
        properties[field.name] = _explained(field, schema)
    properties["memory_limit"]["anyOf"][1]["pattern"] = f"^{SIZE}$"
    required = [field.name for field in TOP_LEVEL_FIELDS if field.required]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "curate configuration",
        **_closed(properties, required),
        "$defs": definitions,
    }


def _section(section: EntrySection, local: tuple[LocalPlugin, ...], definitions: Schema) -> Schema:
    """Return the schema of a section, and add its plugins to ``definitions``."""
    kind = section.kind
    names = registry.names(kind, local)
    choices = []
    for name in names:
        definitions[f"{kind}.{name}"] = _entry(section, registry.get(kind, name, local))
        matches = {"properties": {"use": {"const": name}}, "required": ["use"]}
        choices.append({"if": matches, "then": {"$ref": f"#/$defs/{kind}.{name}"}})
    use = {"enum": names, "description": USE_FIELD.doc}
    definitions[section.name] = {"type": "object", "properties": {"use": use}, "required": ["use"], "allOf": choices}
    one = {"$ref": f"#/$defs/{section.name}"}
    many = {"type": "array", "items": one, "minItems": 0 if section.may_be_empty else 1}
    return {"anyOf": [one, many]} if section.allows_single else many if section.is_list else one


def _entry(section: EntrySection, plugin: Plugin) -> Schema:
    """Return the schema of an entry that uses one plugin: the common keys and the options of the plugin."""
    driver, options = driver_fields(section, plugin), fields(plugin.cls)
    budget = [field.name for field in driver if field.name in BUDGET_KEYS]
    useless = {key for key in ("quality", "embedding") if key not in plugin.traits.reads and section.name != "cluster"}
    if not plugin.traits.budgeted:
        useless |= {*budget, "at_most", "quota"}
    known = {field.name: _property(field) for field in (*(one for one in driver if one.name not in useless), *options)}
    known["use"] = {"const": plugin.name, "description": plugin.summary()}
    required = ["use", *(field.name for field in options if field.required)]
    schema = {"description": plugin.summary(), **_closed(known, required)}
    if budget and plugin.traits.budgeted:
        schema["oneOf"] = [{"required": [key], "properties": {key: {"not": {"type": "null"}}}} for key in budget]
    return schema


def _closed(properties: Schema, required: Sequence[str]) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def _property(field: Field) -> Schema:
    return _explained(field, type_schema(field.type))


def _explained(field: Field, schema: Schema) -> Schema:
    if field.doc:
        schema["description"] = field.doc
    if not field.required and field.default is not None:
        schema["default"] = to_plain(field.default)
    return schema


def type_schema(annotation: object) -> Schema:
    """Return the schema of a field's type.

    Examples
    --------
    >>> from typing import Annotated
    >>> type_schema(Annotated[int, at.Ge(1)] | Literal["auto"])
    {'anyOf': [{'type': 'integer', 'minimum': 1}, {'const': 'auto'}]}
    """
    alternatives = union_members(annotation)
    if len(alternatives) > 1:
        schemas = [type_schema(member) for member in alternatives]
        if (
            cls := nested_dataclass(annotation)
        ) is not None:  # a mapping with a key of the dataclass is parsed as the dataclass
            reserved = {"propertyNames": {"not": {"enum": [field.name for field in fields(cls)]}}}
            free = [item_type(member, dict) is not None for member in alternatives]
            schemas = [one | reserved if open_ else one for one, open_ in zip(schemas, free, strict=True)]
        return {"anyOf": schemas}
    base, marks = split_annotated(annotation)
    if get_origin(base) is Literal:
        values = list(get_args(base))
        return {"const": values[0]} if len(values) == 1 else {"enum": values}
    shortest = next((mark.min_length for mark in marks if isinstance(mark, at.MinLen)), 0)
    item = item_type(base, list)
    if item is not None:
        return {"type": "array", "items": type_schema(item), **({"minItems": shortest} if shortest else {})}
    value = item_type(base, dict)
    if value is not None:
        least = {"minProperties": shortest} if shortest else {}
        return {"type": "object", "additionalProperties": type_schema(value), **least}
    cls = nested_dataclass(base)
    if cls is not None:
        properties = {field.name: _property(field) for field in fields(cls)}
        mapping = _closed(properties, [field.name for field in fields(cls) if field.required])
        either = [(field.name, other) for field in fields(cls) if (other := required_unless(field))]
        return mapping | ({"anyOf": [{"required": [key]} for key in either[0]]} if either else {})
    schema: Schema = {"type": _NAMES[base], **({"minLength": shortest} if shortest else {})}
    for kind, attribute, key in _BOUNDS:
        for mark in marks:
            if isinstance(mark, kind):
                schema[key] = getattr(mark, attribute)
    return schema

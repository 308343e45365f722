"""The contract of plugins of every kind: declaration, documentation and errors."""

from __future__ import annotations

import dataclasses
import inspect
import sys
from collections.abc import Iterator
from typing import Any

import annotated_types
import pytest

from curate.config import sections
from curate.config.loader import config_from_dict
from curate.errors import ConfigErrors
from curate.plugins import registry
from curate.plugins.fields import describe, fields, format_value, iter_marks, without_null

SECTION = {section.kind: section for section in sections.ENTRY_SECTIONS.values()}
ALL = [pytest.param(kind, name, id=f"{kind}-{name}") for kind in registry.KINDS for name in registry.names(kind)]
BEYOND = {
    annotated_types.Ge: lambda mark, step: mark.ge - step,
    annotated_types.Gt: lambda mark, step: mark.gt,
    annotated_types.Le: lambda mark, step: mark.le + step,
    annotated_types.Lt: lambda mark, step: mark.lt,
}
every_plugin = pytest.mark.parametrize(("kind", "name"), ALL)
ENTRIES = [case for case in ALL if case.values[0] in SECTION]
every_plugin_of_an_entry = pytest.mark.parametrize(("kind", "name"), ENTRIES)


def bounds() -> Iterator[Any]:
    """Return every bound of every field, with a value just outside it."""
    for kind, name in (case.values for case in ENTRIES):
        for field in fields(registry.get(kind, name).cls):
            for mark in iter_marks(field.type):
                if type(mark) in BEYOND:
                    step = 1 if "integer" in field.text else 0.5
                    value = BEYOND[type(mark)](mark, step)
                    yield pytest.param(kind, name, field, value, id=f"{name}-{field.name}-{type(mark).__name__}")


def refused(kind: str, name: str, **wrong: Any) -> list[str]:
    """Return the errors of a configuration in which a plugin has ``wrong`` values."""
    entry = {"use": name, **registry.get(kind, name).traits.example, **wrong}
    if kind == "selector" and registry.get(kind, name).traits.budgeted:
        entry["keep"] = 1
    section = SECTION[kind]
    data: dict[str, Any] = {"curate": 1, "run": "r", "input": {"files": "a.jsonl", "text": "t", "image": "i"}}
    data["select"] = [{"use": "uniform", "keep": 1}]
    data[section.name] = [entry] if section.must_be_list else entry
    with pytest.raises(ConfigErrors) as caught:
        config_from_dict(data)
    return str(caught.value).splitlines()


@pytest.mark.parametrize(("kind", "name", "field", "value"), list(bounds()))
def test_a_value_beyond_a_bound_is_refused_with_the_field_and_what_it_must_be(kind, name, field, value):
    position = f"{SECTION[kind].name}.0" if SECTION[kind].must_be_list else SECTION[kind].name
    expected = (
        f"<dict>: {position}.{field.name}: must be {describe(without_null(field.type))}; got {format_value(value)}"
    )
    assert expected in refused(kind, name, **{field.name: value})


@every_plugin_of_an_entry
def test_a_key_that_is_no_field_is_refused(kind, name):
    assert any(".no_such_field: unknown key" in line for line in refused(kind, name, no_such_field=1))


@every_plugin
def test_the_example_names_the_fields_without_a_default_and_none_that_has_one(kind, name):
    plugin = registry.get(kind, name)
    required = {field.name for field in fields(plugin.cls) if field.required}
    optional = {field.name for field in fields(plugin.cls) if not field.required and field.default is None}
    assert required <= set(plugin.traits.example) <= required | optional


@every_plugin
def test_it_declares_the_methods_that_it_has_and_has_those_that_it_declares(kind, name):
    plugin = registry.get(kind, name)
    optional = {"embedder": {"fit": "fits", "restore": "fits", "revision": "revision"}}
    optional |= {"scorer": {"fit": "fits", "restore": "fits", "describe_fit": "fits"}}
    optional |= {"selector": {"sketch": "has_sketches", "keys": "has_links", "link": "has_links"}}
    for method, trait in optional.get(kind, {}).items():
        assert hasattr(plugin.cls, method) == (getattr(plugin.traits, trait) not in (False, None))


@every_plugin
def test_every_field_is_documented_and_no_name_is_reserved(kind, name):
    plugin = registry.get(kind, name)
    own = fields(plugin.cls)
    assert all(field.doc.endswith(".") for field in own)
    drivers = {field.name for field in sections.driver_fields(SECTION[kind], plugin)} if kind in SECTION else {"use"}
    assert not {field.name for field in own} & drivers


@every_plugin
def test_the_module_and_the_class_have_a_one_sentence_summary(kind, name):
    plugin = registry.get(kind, name)
    module = inspect.getdoc(sys.modules[plugin.cls.__module__])
    assert module is not None
    assert module.endswith(".")
    assert "\n\n" not in module
    assert plugin.summary()


@pytest.mark.parametrize(("kind", "name"), [case for case in ALL if case.values[0] != "exporter"])
def test_references_are_given(kind, name):
    assert "\nReferences\n----------\n" in inspect.getdoc(registry.get(kind, name).cls)


@every_plugin
def test_it_is_frozen_slotted_keyword_only_and_not_named_like_a_standard_module(kind, name):
    plugin = registry.get(kind, name)
    built = plugin.cls(**plugin.traits.example)
    assert plugin.cls.__dataclass_params__.frozen
    assert not hasattr(built, "__dict__")
    assert all(field.kw_only for field in dataclasses.fields(plugin.cls))
    assert name not in sys.stdlib_module_names or name == "csv"  # imported by its full name only

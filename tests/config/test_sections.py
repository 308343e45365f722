"""Tests that the table of sections agrees with the configuration."""

from __future__ import annotations

from typing import get_args, get_origin, get_type_hints

from curate.config.loader import config_from_dict
from curate.config.model import RunConfig
from curate.config.sections import ENTRY_SECTIONS, SECTIONS, TOP_LEVEL_FIELDS, driver_fields, resolve_config
from curate.plugins import registry

LEAST = {"curate": 1, "run": "run", "input": {"files": "a", "text": "t"}, "select": [{"use": "uniform", "keep": 1}]}


def test_every_section_is_an_attribute_of_its_dataclass() -> None:
    hints = get_type_hints(RunConfig)
    for section in SECTIONS.values():
        many = section.name in ENTRY_SECTIONS and ENTRY_SECTIONS[section.name].is_list
        hint = hints[section.name]
        assert (get_origin(hint) is tuple) == many
        assert section.cls in (get_args(hint) or (hint,))


def test_every_kind_of_plugin_has_one_section() -> None:
    assert sorted(section.kind for section in ENTRY_SECTIONS.values()) == sorted(registry.KINDS)


def test_a_missing_section_is_read_as_its_default() -> None:
    defaults = {name: section.default for name, section in SECTIONS.items() if section.default is not None}
    assert config_from_dict(LEAST) == config_from_dict({**LEAST, **defaults})
    assert {name for name, section in SECTIONS.items() if section.required} == {"input", "select"}


def test_a_resolved_configuration_has_the_keys_of_a_file() -> None:
    keys = [field.name for field in TOP_LEVEL_FIELDS]
    data = resolve_config(config_from_dict(LEAST))
    assert [key for key in keys if key in data] == list(data)
    assert set(keys) - data.keys() == {"proxy", "judge", "target", "review", "decontaminate", "split"}


def test_only_entries_of_a_list_have_names_and_only_selectors_budgets() -> None:
    known = {name: {field.name for field in driver_fields(section)} for name, section in ENTRY_SECTIONS.items()}
    assert {name for name, keys in known.items() if "name" in keys} == {
        "annotate",
        "model",
        "embed",
        "score",
        "select",
        "metrics",
    }
    assert {name for name, keys in known.items() if "keep" in keys} == {"select"}
    assert all("use" in keys and not keys & {"spec", "budget"} for keys in known.values())

"""Tests that keys of earlier versions are refused with the name of their replacement."""

from __future__ import annotations

import pytest

from curate.config.entries import parse_entry
from curate.config.issues import SYNONYMS, IssueCollector, suggest_name
from curate.config.sections import ENTRY_SECTIONS, SECTIONS, TOP_LEVEL_FIELDS, EntrySection, driver_fields
from curate.config.validator import Validator
from curate.config.yaml_positions import document_from_python
from curate.plugins import registry
from curate.plugins.fields import expand_nested, fields


def keys_of_every_mapping():
    """Yield the keys that are valid next to each other: of each section, and of an entry of each plugin."""
    yield {field.name for field in TOP_LEVEL_FIELDS}
    yield from ({field.name for field in fields(one.cls)} for one in SECTIONS.values() if type(one) is not EntrySection)
    for section in ENTRY_SECTIONS.values():
        for name in registry.names(section.kind):
            plugin = registry.get(section.kind, name)
            options = [field.name for field in expand_nested(fields(plugin.cls))]
            yield {*options, *(field.name for field in driver_fields(section, plugin))}


VALID = list(keys_of_every_mapping())


RENAMED = {
    **SYNONYMS,
    "neighbours": ("n_neighbors",),
    "never_learnt": ("never_learned",),
    "regularisation": ("regularization",),
}
"""All keys that were renamed; those that SYNONYMS lacks are similar enough to the new ones."""


@pytest.mark.parametrize("old", RENAMED)
def test_an_old_key_is_answered_with_the_new_one(old):
    homes = [keys for keys in VALID for new in RENAMED[old] if new in keys and old not in keys]
    assert homes
    for keys in homes:
        assert suggest_name(old, keys) == f"did you mean {next(new for new in RENAMED[old] if new in keys)!r}?"


def entries_with_an_old_key():
    """Yield each plugin that has an option in place of an old key, with that key and the new one."""
    for section in ENTRY_SECTIONS.values():
        for name in registry.names(section.kind):
            options = {field.name for field in fields(registry.get(section.kind, name).cls)}
            for old, news in RENAMED.items():
                for new in options.intersection(news) if old not in options else ():
                    yield pytest.param(section, name, old, new, id=f"{name}.{old}")


@pytest.mark.parametrize(("section", "name", "old", "new"), list(entries_with_an_old_key()))
def test_an_entry_with_an_old_key_is_refused_with_the_new_one(section, name, old, new):
    report = IssueCollector("x.yaml", document_from_python({"use": name, old: 1}))
    parse_entry(section, {"use": name, old: 1}, Validator(report))
    (hint,) = [issue.hint for issue in report.issues if issue.path == (old,)]
    assert hint == f"did you mean {new!r}?"


def test_for_an_unknown_key_the_most_similar_one_is_suggested():
    assert suggest_name("n_neighbor", ["n_neighbors", "n_probe"]) == "did you mean 'n_neighbors'?"
    assert suggest_name("first", ["last"]) == "there are: last"

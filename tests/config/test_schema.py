"""Tests that the JSON Schema for editors agrees with the loader."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from curate.config import yaml_positions
from curate.config.loader import config_from_dict
from curate.config.schema import json_schema
from curate.config.sections import ENTRY_SECTIONS
from curate.errors import ConfigError
from curate.plugins import registry
from curate.plugins.registry import LocalPlugin

jsonschema = pytest.importorskip("jsonschema")
CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))


def complaints(data: Any, local: tuple[LocalPlugin, ...] = ()) -> list[str]:
    return [error.message for error in jsonschema.Draft202012Validator(json_schema(local)).iter_errors(data)]


def test_the_schema_is_valid() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())


@pytest.mark.parametrize("path", CONFIGS, ids=[path.name for path in CONFIGS])
def test_every_recipe_is_valid_under_the_schema(path: Path) -> None:
    assert complaints(yaml_positions.parse_yaml(path.read_text(encoding="utf-8"), str(path)).data) == []


@pytest.mark.parametrize("kind", [section.kind for section in ENTRY_SECTIONS.values()])
def test_the_schema_contains_every_plugin(kind: Any) -> None:
    assert {f"{kind}.{name}" for name in registry.names(kind)} <= set(json_schema()["$defs"])


def test_every_key_of_the_schema_has_a_description() -> None:
    def unexplained(schema: Any, path: str) -> list[str]:
        found = []
        for key, value in schema.get("properties", {}).items() if isinstance(schema, dict) else ():
            found += [f"{path}.{key}"] * ("description" not in value and "const" not in value)
            found += unexplained(value, f"{path}.{key}")
        return found

    schema = json_schema()
    assert unexplained(schema, "") == []
    local = [name for name in schema["$defs"] if unexplained(schema["$defs"][name], name)]
    assert local == []


@pytest.fixture
def right(base: str) -> dict[str, Any]:
    text = base + "score: [{use: size}]\nselect: [{use: spread, keep: 5}, {use: needle, word: x}]\n"
    data: dict[str, Any] = yaml_positions.parse_yaml(text, "x").data
    return data


@pytest.mark.parametrize(
    ("path", "value"),
    [
        pytest.param(("curate",), 2, id="another version"),
        pytest.param(("gaurd",), {}, id="an unknown section"),
        pytest.param(("select", 0, "kep"), 1, id="an unknown key"),
        pytest.param(("select", 0, "use"), "zzz", id="an unknown plugin"),
        pytest.param(("select", 0, "quality_weight"), 1.5, id="out of bounds"),
        pytest.param(("select", 0, "quality_weight"), "0.5", id="a string for a number"),
        pytest.param(("select", 0, "order"), "x", id="none of the choices"),
        pytest.param(("select", 0, "keep_rate"), 0.5, id="two budgets"),
        pytest.param(("select", 0, "keep"), None, id="no budget"),
        pytest.param(("select", 0, "quota"), {"temperature": 0}, id="a temperature of 0"),
        pytest.param(("select", 1, "keep"), 5, id="a budget for a filter"),
        pytest.param(("select", 1, "word"), None, id="null for a string"),
        pytest.param(("score", 0, "embedding"), "words", id="an embedding for a plugin that reads none"),
        pytest.param(("memory_limit",), "8 gigs", id="an invalid size"),
        pytest.param(("input", "files"), [], id="no files"),
        pytest.param(("decontaminate",), None, id="a decontamination that is null"),
        pytest.param(("decontaminate",), {"files": {}}, id="a decontamination without a set"),
        pytest.param(("select",), [], id="nothing selected"),
        pytest.param(("cluster",), [], id="a list where one entry belongs"),
    ],
)
def test_the_schema_refuses_what_loading_refuses(right: dict[str, Any], path: tuple[Any, ...], value: Any) -> None:
    local = tuple(LocalPlugin.from_path(Path(name)) for name in right["plugins"])
    assert complaints(right, local) == []
    config_from_dict(right)
    section = right
    for step in path[:-1]:
        section = section[step]
    section[path[-1]] = value
    assert complaints(right, local) != []
    with pytest.raises(ConfigError):
        config_from_dict(right)

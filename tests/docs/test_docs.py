"""Tests of the documentation: generated pages are up to date, examples run, and links have targets."""

from __future__ import annotations

import importlib.util
import re
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import curate
from curate.config import yaml_positions
from curate.config.loader import config_from_dict
from curate.config.sections import ENTRY_SECTIONS
from curate.errors import ConfigError
from curate.kernels.types import Texts
from curate.plugins import registry

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "data_samples").glob("*.md")])


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


@pytest.fixture
def generate(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs")
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_generated_pages_are_fresh(generate, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["generate.py", "--check"])
    assert generate.main() == 0, f"{capsys.readouterr().out}\nrun: make docs"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_have_targets(page):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        assert "://" in target or (page.parent / target).exists(), target


def test_the_selector_in_the_docs_runs_and_so_does_its_test(pool, config, monkeypatch):
    page = ROOT / "docs" / "how-to" / "write-a-plugin.md"
    code, its_test, _ = blocks(page, "python")
    Path("nearest_to_mean.py").write_text(code)
    select = [{"use": "nearest_to_mean", "keep_rate": 0.2, "quality_weight": 0.3}]
    summary = curate.run(config(plugins=["nearest_to_mean.py"], select=select))
    assert summary.kept == 12
    before = pl.read_parquet("run/select/*.parquet")["selected"].to_list()
    Path("nearest_to_mean.py").write_text(code.replace("argsort(-merit", "argsort(merit"))
    curate.run(config(plugins=["nearest_to_mean.py"], select=select))
    assert pl.read_parquet("run/select/*.parquet")["selected"].to_list() != before

    name = "curate.plugins.selectors.nearest_to_mean"
    module = types.ModuleType(name)
    monkeypatch.setitem(sys.modules, name, module)
    exec(compile(code, "nearest_to_mean.py", "exec"), vars(module))
    tests: dict[str, Any] = {}
    exec(compile(its_test, "test_nearest_to_mean.py", "exec"), tests)
    for test in [value for key, value in tests.items() if key.startswith("test_")]:
        test()


def test_the_readme_names_commands_that_exist(command):
    readme = (ROOT / "README.md").read_text()
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"\bmake ([a-z]+)\b", " ".join(blocks(ROOT / "README.md", "sh")))):
        assert re.search(rf"^[a-z ]*\b{target}\b[a-z ]*:", makefile, re.MULTILINE), target
    for name in set(re.findall(r"\bcurate ([a-z]+) ", " ".join(blocks(ROOT / "README.md", "sh")))):
        assert command(name, "--help").returncode == 0, name
    assert readme.startswith("# curate")


def test_python_in_the_readme_runs(plain_map, monkeypatch):
    monkeypatch.chdir(ROOT)
    for number, code in enumerate(blocks(ROOT / "README.md", "python")):
        exec(compile(code, f"README.md, block {number}", "exec"), {"__name__": "readme"})


def test_every_page_is_listed_in_the_index():
    index, plugins = ((ROOT / "docs" / page).read_text() for page in ("README.md", "plugins/README.md"))
    for page in (ROOT / "docs").rglob("*.md"):
        listed = plugins if page.parent.name == "plugins" and page.name != "README.md" else index
        assert (
            page == ROOT / "docs/README.md"
            or f"({page.relative_to(ROOT / 'docs')})" in index
            or f"({page.name})" in listed
        )


FULL: dict[str, Any] = {
    **{"curate": 1, "run": "run", "seed": 1, "memory_limit": "1GiB", "plugins": []},
    **{
        "input": {"files": "a.jsonl", "text": "text", "label": "a"},
        "annotate": [],
        "model": {"use": "causal_lm", "model": "folder"},
        "judge": {"base_url": "http://localhost/v1", "model": "m"},
        "embed": [{"use": "lsa"}],
        "cluster": {"use": "kmeans"},
    },
    **{"proxy": {"use": "recorded", "files": "log.jsonl"}, "score": [{"use": "length"}], "guard": {"min_rows": 1}},
    **{
        "review": {"by": ["length"]},
        "target": {"files": "task.jsonl"},
        "decontaminate": {"files": "test.jsonl"},
        "select": [{"use": "uniform", "keep": 1}],
        "refresh": {"refit": "drift"},
        "split": {"unit": "tokens"},
    },
    **{"export": {"use": "jsonl"}, "metrics": [{"use": "coverage"}], "evaluate": {"seeds": 2}},
}


def tables(page: str) -> dict[str, dict[str, tuple[str, str]]]:
    """Return value and default of every key, by the heading above its table."""
    found: dict[str, dict[str, tuple[str, str]]] = {}
    for part in (ROOT / "docs" / page).read_text().split("\n## ")[1:]:
        rows = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*?) \|", part, re.MULTILINE)
        found[part.partition("\n")[0]] = {key: (value, default) for key, value, default in rows}
    return found


def missing(data: dict[str, Any]) -> bool:
    """Return whether a configuration is refused because a key is missing."""
    try:
        config_from_dict(data)
    except ConfigError as error:
        return ": missing" in str(error)
    return False


def test_the_page_of_the_configuration_names_every_key_and_those_that_may_not_be_missing():
    config_from_dict(FULL)
    pages = tables("reference/configuration.md")
    required = {key for key, (_, default) in pages["Top level"].items() if default == "required"}
    assert pages["Top level"].keys() == FULL.keys()
    assert required == {key for key in FULL if missing({name: FULL[name] for name in FULL if name != key})}
    for section in ("input", "target", "decontaminate", "split", "guard", "refresh", "evaluate"):
        needed = {key for key, (_, default) in pages[section].items() if default.startswith("required")}
        least = {name: FULL[name] for name in required}
        assert missing({**least, section: {}}) == bool(needed)
        config_from_dict({**least, section: {key: FULL[section][key] for key in needed}})


def test_the_page_of_the_configuration_describes_every_top_level_key():
    kinds = {"list": [], "mapping": {}, "entry": {}, "integer": 1, "string": "1GiB"}
    for key, (value, _) in tables("reference/configuration.md")["Top level"].items():
        for kind, empty in kinds.items() if value != "1" else ():
            try:
                config_from_dict({**FULL, key: empty})
            except ConfigError as error:
                refused = f"<dict>: {key}: must be" in str(error) and "at least one entry" not in str(error)
            else:
                refused = False
            named = re.search(rf"\b{kind}\b", value.replace("list of entries", "list"))
            same = kind in ("mapping", "entry") and re.search("mapping|an entry", value)
            assert refused == (not named and not same), (key, value, kind)


def test_the_docs_read_the_texts_of_a_pool():
    code = blocks(ROOT / "docs" / "how-to" / "write-a-plugin.md", "python")[2]
    names = {"np": np, "pool": types.SimpleNamespace(texts=Texts.from_list(["a", "bcd", ""], block=2))}
    exec(compile(code, "write-a-plugin.md", "exec"), names)
    assert names["lengths"].tolist() == [1, 3, 0]


def test_an_example_of_a_plugin_has_the_form_of_its_section():
    pages = (ROOT / "docs" / "plugins").glob("[a-z]*.md")
    for text in (text for page in pages for text in blocks(page, "yaml")):
        name, entry = yaml_positions.parse_yaml(text, "an example").data.popitem()  # a proxy may precede it
        section = ENTRY_SECTIONS[name]
        assert isinstance(entry, list) == section.must_be_list, text
        found = registry.get(section.kind, (entry[0] if section.is_list and isinstance(entry, list) else entry)["use"])
        assert found.kind == section.kind


def test_the_generator_covers_every_command(generate):
    from typer.main import get_command

    from curate.cli.app import app

    assert sorted(generate.COMMANDS) == sorted(get_command(app).commands)

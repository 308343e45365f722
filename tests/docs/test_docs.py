"""The documentation does what it says: generated pages are fresh, examples run, links lead somewhere."""

from __future__ import annotations

import importlib.util
import re
import sys
import types
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import curate

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "data_samples").glob("*.md")])


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
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        assert "://" in target or (page.parent / target).exists(), target


def test_the_selector_in_the_docs_runs_and_so_does_its_test(pool, config, monkeypatch):
    page = ROOT / "docs" / "adding-a-plugin.md"
    code, its_test = blocks(page, "python")
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


def test_every_page_is_listed_in_the_readme():
    readme = (ROOT / "README.md").read_text()
    for page in (ROOT / "docs").glob("*.md"):
        assert f"docs/{page.name}" in readme, page.name


def test_the_generator_covers_every_command(generate):
    from curate.cli.app import app

    assert sorted(generate.COMMANDS) == sorted(
        command.name or command.callback.__name__ for command in app.registered_commands
    )

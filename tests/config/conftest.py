"""Plugin files of every kind, so that these tests do not depend on the built-in plugins."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from curate.config.loader import load_config
from curate.errors import ConfigError

HEAD = """
from __future__ import annotations
from dataclasses import dataclass
from typing import Annotated, Literal
from annotated_types import Ge, Le
from curate.plugins.interfaces import *
"""
CLASS = "@dataclass(frozen=True, slots=True, kw_only=True)\nclass Mine:\n"
PLUGINS = {
    "words": "@embedder(version=3)\n" + CLASS + '''
    """Vectors of words."""
    dimensions: Annotated[int, Ge(1)] | Literal["auto"] = 8
    """How long a vector is."""
    batch_size: Annotated[int, Ge(1), ExecutionOnly()] = 32
    """How many texts at a time."""
''',
    "groups": "@clusterer(version=1)\n" + CLASS + '    """Groups."""\n',
    "size": "@scorer(version=1, reads={'text'}, columns=(OutputColumn(higher_is_better=True),))\n"
    + CLASS + '    """How long."""\n',
    "shape": "@scorer(version=1, reads={'text'}, columns=(OutputColumn(name='width', higher_is_better=True),"
    "OutputColumn(name='height', higher_is_better=False)))\n" + CLASS + '    """How wide and how high."""\n',
    "central": "@scorer(version=1, reads={'embedding', 'cluster'}, columns=(OutputColumn(higher_is_better=True),))\n"
    + CLASS + '    """How near to the centre."""\n',
    "agreement": "@scorer(version=1, reads={'embedding', 'label'}, columns=(OutputColumn(higher_is_better=True),))\n"
    + CLASS + '    """How many neighbours have the same label."""\n',
    "spread": "@selector(version=2, reads={'embedding', 'quality', 'scores'})\n" + CLASS + '''
    """Keep rows that are spread out."""
    quality_weight: Annotated[float, Ge(0), Le(1)] = 0.5
    """1 = quality only; 0 = none of it."""
    order: Literal["hard", "easy"] = "hard"
    """Which come first."""
    by: ScoreName | None = None
    """The score that says how hard a row is."""
    also: tuple[ScoreName, ...] = ()
    """More of them."""
    strict: bool = False
    """Whether to be strict."""
    def __post_init__(self):
        if self.strict and self.by is None:
            raise ValueError("by: must name a score when strict is true")
        if self.strict and self.also:
            raise ValueError("strict and also exclude each other")
''',
    "best": "@selector(version=1, reads={'quality'}, needs_quality=True)\n" + CLASS + '    """The best."""\n',
    "any": "@selector(version=1, reads=frozenset())\n" + CLASS + '    """At random."""\n',
    "draws": "@selector(version=1, reads=frozenset())\n" + CLASS + '''
    """At random, anew for every epoch."""
    epochs: Annotated[int, Ge(1)] = 10
    """How many are planned."""
''',
    "needle": "@selector(version=1, reads={'frame'}, budgeted=False)\n" + CLASS + '''
    """Drop rows that contain a word."""
    word: str
    """The word to look for."""
''',
    "plain": "@exporter(version=1)\n" + CLASS + '    """Lines."""\n',
}  # fmt: skip

BASE = """curate: 1
run: runs/x
plugins: [{plugins}]
input: {{files: "*.jsonl", text: text}}
embed: {{use: words}}
cluster: {{use: groups}}
export: {{use: plain}}
"""


@pytest.fixture(autouse=True)
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, body in PLUGINS.items():
        (tmp_path / f"{name}.py").write_text(HEAD + body, encoding="utf-8")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def base() -> str:
    """Return seven valid lines, to which a test adds score and select."""
    return BASE.format(plugins=", ".join(f"{name}.py" for name in PLUGINS))


@pytest.fixture
def errors_of(base: str) -> Callable[..., str]:
    """Return the errors of loading ``x.yaml``; the lines of the base precede ``text``, unless it is a complete file."""

    def told(text: str, *overrides: str, whole: bool = False) -> str:
        Path("x.yaml").write_text(text if whole else base + text, encoding="utf-8")
        with pytest.raises(ConfigError) as caught:
            load_config(Path("x.yaml"), overrides)
        assert caught.value.exit_code == 2
        return str(caught.value)

    return told

"""Commands start without collecting garbage, and the work of a run collects it as usual."""

import gc
import json
from pathlib import Path

import pytest

from curate import pipeline
from curate.cli import garbage
from curate.errors import ConfigError


@pytest.fixture(autouse=True)
def restored():
    """Other tests of this process run commands."""
    thresholds = gc.get_threshold()
    gc.set_threshold(*garbage._DEFAULT)
    gc.unfreeze()
    yield
    gc.set_threshold(*thresholds)
    gc.unfreeze()


def test_collection_is_postponed_and_resumed():
    usual, frozen = gc.get_threshold(), gc.get_freeze_count()
    garbage.postpone()
    assert gc.get_threshold()[0] > usual[0]
    garbage.resume()
    assert gc.get_threshold() == usual
    assert gc.get_freeze_count() > frozen


def test_nothing_is_frozen_unless_collection_was_postponed():
    garbage.resume()
    assert gc.get_freeze_count() == 0


def test_a_run_collects_garbage_as_usual(pool, config, command, monkeypatch):
    usual, seen = gc.get_threshold(), []

    def run(*_: object, **__: object) -> None:
        seen.append(gc.get_threshold())
        raise ConfigError("enough")

    monkeypatch.setattr(pipeline, "run", run)
    Path("config.json").write_text(json.dumps(config()))
    garbage.postpone()
    command("run", "config.json")
    assert seen == [usual]

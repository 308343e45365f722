"""A small sample of the campaign: a kill of every kind, one in every stage, every byte as if there had been none."""

from __future__ import annotations

import importlib.util
import random
import shutil
import sys
from pathlib import Path

import pytest

if not Path("/proc/self/stat").exists():
    pytest.skip("the campaign looks for processes in /proc", allow_module_level=True)

pytestmark = pytest.mark.xdist_group("kills")  # they share a scene


@pytest.fixture(scope="module")
def campaign():
    path = Path(__file__).with_name("campaign.py")
    spec = importlib.util.spec_from_file_location("campaign", path)
    sys.modules["campaign"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules["campaign"]


@pytest.fixture(scope="module")
def scene(campaign, tmp_path_factory):
    """A finished run whose input has changed since, and what an undisturbed run makes of it."""
    folder = tmp_path_factory.mktemp("kills")
    return campaign.scene(campaign.prepare(folder / "states"), "new input", "processes", folder / "undisturbed")


@pytest.mark.parametrize(
    ("executor", "kills"),
    [
        (
            "processes",
            [
                ("input", "driver", "group"),
                ("embed", "driver", "sigterm"),
                ("cluster", "driver", "driver"),
                ("score", "driver", "sigint"),
            ],
        ),
        (
            "serial",
            [
                ("cluster", "driver", "sigint"),
                ("select", "driver", "driver"),
                ("select", "driver", "group"),
                ("export", "driver", "sigterm"),
                ("export", "driver", "driver"),
            ],
        ),
        ("processes", [("embed", "worker", "worker")]),
        ("processes", [("score", "worker", "worker")]),
        ("processes", [("input", "worker", "sigterm"), ("cluster", "worker", "group")]),
    ],
    ids=lambda value: "-".join(kind for _, _, kind in value) if isinstance(value, list) else value,
)
def test_a_run_that_is_killed_in_every_stage_ends_as_one_left_alone(campaign, scene, tmp_path, executor, kills):
    here, rng = tmp_path / "here", random.Random(0)
    shutil.copytree(scene.folder, here, symlinks=True)
    for stage, role, kind in kills:
        nth = rng.randint(1, max(1, scene.touches[role, stage] // 4))  # while the stage is at work, not when it is read
        planned = campaign.Kill(stage=stage, role=role, nth=nth, kind=kind, flight=None)
        assert campaign.kill(here, executor, planned, rng)
    if kinds_left := [kind for *_, kind in kills if kind != "worker"]:
        assert campaign.differences(here / "run", scene.expected), kinds_left  # there was something left to do
        campaign.finish(campaign.start(here, "serial"))
    assert campaign.differences(here / "run", scene.expected) == []

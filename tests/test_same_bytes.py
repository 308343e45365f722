"""The sha256 of the export depends on the configuration and the pool, and on nothing about how it was computed."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import curate

SECTIONS: dict[str, Any] = {  # what computes with BLAS, in more than one block and shard, and a selector of every scope
    "plugins": [str(Path(__file__).with_name("fake.py"))],
    "embed": {"use": "lsa", "dimensions": 24},
    "proxy": {"use": "mlp", "hidden_size": 16, "epochs": 3, "runs": 2},
    "target": {"files": "pool/a.jsonl", "label": "topic"},
    "annotate": [{"use": "fake"}],
    "model": {"use": "fake", "model": "m"},
    "score": [
        {"use": "loss"},
        {"use": "pairwise_quality", "comparisons": 4},
        {"use": "prototypicality"},
        {"use": "density", "n_neighbors": 5},
        {"use": "kde"},
        *({"use": name, field: 12} for name, field in (("data_oob", "models"), ("memorization", "subsets"))),
        {"use": "data_banzhaf", "trainings": 12, "group": "cluster"},
        *({"use": name} for name in ("el2n", "vog", "consistency", "second_split_forgetting")),
        {"use": "influence", "method": "conjugate_gradient", "reference": "held_out"},
        {"use": "influence", "name": "lissa", "method": "lissa", "damping": 100.0, "max_iterations": 99},
        *({"use": name} for name in ("tracin", "self_influence")),
    ],
    "select": [
        {"use": "where", "drop": "score_prototypicality > 0.99"},
        {"use": "fineweb_quality", "min_terminal_line_rate": None, "max_short_line_rate": None},
        {"use": "exact_duplicates", "normalize": ["case"]},
        {"use": "minhash", "min_similarity": 0.97, "ngram_size": 1},
        {"use": "repeated_spans", "min_words": 12, "min_repeated_rate": 0.99},
        {"use": "semdedup", "min_similarity": 0.98},
        {"use": "moderate", "keep_rate": 0.95},
        {"use": "k_center", "keep_rate": 0.9, "n_partitions": 3},
        {"use": "facility_location", "keep_rate": 0.5, "within": "cluster"},
    ],
    "split": {"shares": {"train": 0.6, "test": 0.4}},
    "export": {
        "use": "parquet",
        "rows_per_file": 100,
        "remove_repeated_spans": 9,
        "add": ["rank", "gain", "scores", "cluster"],
    },
}


def digest(run: str) -> str:
    root = Path(run) / "export" / "current"
    whole = hashlib.sha256()
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        whole.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return whole.hexdigest()


@pytest.fixture(scope="module")
def expected() -> list[str]:
    """The digest of the serial run, once there is one."""
    return []


@pytest.fixture
def run(pool, config, expected):
    """Runs the configuration, and says whether its export is that of a serial run."""
    words = [path.read_text() for path in sorted(pool.glob("*.jsonl"))]
    for copy in range(6):
        for name, text in zip("cd", words, strict=True):
            rows = [json.loads(line) for line in text.splitlines()]
            told = [row | {"id": f"{row['id']}-{copy}", "text": f"{row['text']} x{copy} {copy * 7}"} for row in rows]
            (pool / f"{name}{copy}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in told))
    settings = config(**SECTIONS)
    settings["input"]["rows_per_shard"] = 64

    Path("config.yaml").write_text(json.dumps(settings))
    if not expected:
        curate.run("config.yaml", ["run=serial"])
        expected.append(digest("serial"))

    def same(**how: Any) -> bool:
        if how:
            curate.run("config.yaml", **how)
        return [digest("run")] == expected

    return same


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_for_any_number_of_processes(run, workers):
    assert run(executor="processes", workers=workers)


@pytest.mark.exhaustive
@pytest.mark.xdist_group("ray")
def test_on_ray_also_when_a_worker_is_killed_in_mid_stage(run, ray_cluster, monkeypatch):
    from curate.stages.base import Context

    killed = Path("killed").absolute()
    real = Context.map

    def murderous(self, what, fn, tasks, sizes, unit="rows"):
        kills = "assigning" in what or "linking" in what
        return real(self, what, Killer(fn, str(killed)) if kills else fn, tasks, sizes, unit)

    monkeypatch.setattr(Context, "map", murderous)
    assert run(executor="ray", workers=2, ray_address=ray_cluster)
    assert killed.exists()


class Killer:
    """Kills the worker that first comes by, with its task half done."""

    def __init__(self, fn: Any, mark: str) -> None:
        self.fn, self.mark = fn, mark

    def __call__(self, task: Any) -> Any:
        done = self.fn(task)
        if not Path(self.mark).exists():
            Path(self.mark).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return done


def test_interrupted_and_resumed(run, monkeypatch):
    from curate.stages.embed import stage as embed_stage

    real, calls = embed_stage._embed_shard, []

    def dies(task):
        calls.append(task)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(task)

    monkeypatch.setattr(embed_stage, "_embed_shard", dies)
    with pytest.raises(KeyboardInterrupt):
        run(executor="serial")
    monkeypatch.setattr(embed_stage, "_embed_shard", real)
    assert run(executor="processes", workers=2)


def test_for_input_files_written_in_another_order(run, pool):
    for age, path in enumerate(sorted(pool.iterdir(), reverse=True)):
        os.utime(path, (age + 1, age + 1))
    assert run(executor="serial")


@pytest.mark.parametrize("threads", ["1", "2", "4"])
def test_for_any_number_of_threads(run, threads):
    names = ("CURATE_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS")
    command = [sys.executable, "-m", "curate", "run", "config.yaml", "--executor", "serial", "--log-format", "quiet"]
    subprocess.run(command, env={**os.environ, **dict.fromkeys(names, threads)}, check=True, capture_output=True)
    assert run()

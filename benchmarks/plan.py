"""Compare the seconds that ``curate plan`` estimates before a first run with those of the run; prints JSON lines.

    python benchmarks/plan.py [--configs quickstart ccs …] [--documents 20000 60000]

It takes the configurations in ``configs/`` that need no model, and pools of documents (the functions in the Python
sources of this environment, see ``documents.py``) with a pipeline for text. Each is planned and run, without workers,
in an empty directory and in its own process. ``measured`` is the processor time of the main thread, and that of all
other threads divided by the number of cores: the time on a machine that does nothing else. ``wall`` is the time that
passed. ``ratio`` is the estimate divided by ``measured``; ``steps`` has estimate, measurement and ratio of every step
that takes, or is expected to take, at least a second, and ``worst`` the ratio furthest from 1 among them.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import runpy
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl
from calibration import Clock
from documents import documents

from curate import pipeline
from curate.config.loader import config_from_dict, load_config
from curate.config.model import RunConfig
from curate.executors.serial import Serial
from curate.kernels.parallel import thread_count

ROOT = Path(__file__).parents[1]
NEED_A_MODEL = {"semantic", "web_text"}
CONFIGS = sorted({path.stem for path in (ROOT / "configs").glob("*.yaml")} - NEED_A_MODEL)
PIPELINE = {
    "curate": 1,
    "embed": {"use": "lsa"},
    "cluster": {"use": "kmeans"},
    "score": [{"use": "lexical_quality"}, {"use": "prototypicality"}, {"use": "perplexity"}],
    "select": [
        {"use": "where", "drop": "score_lexical_quality < 0.3"},
        {"use": "exact_duplicates"},
        {"use": "minhash"},
        {"use": "semdedup", "min_similarity": 0.95},
        {"use": "facility_location", "keep_rate": 0.1},
    ],
}


def settings(name: str, folder: Path) -> RunConfig:
    """Write the pool that a configuration needs, and return the configuration."""
    overrides = [f"run={folder}/run"]
    if name == "docstrings":
        rows = runpy.run_path(str(ROOT / "data_samples/docstrings.py"))["rows"](Path(os.__file__).parent)
        (folder / "docstrings.jsonl").write_text("".join(json.dumps(row) + "\n" for row in islice(rows, 4_000)))
        overrides.append(f"input.files={folder}/docstrings.jsonl")
    if name == "precomputed":
        runpy.run_path(str(ROOT / "data_samples/with_embeddings.py"))["main"](folder / "vectors.parquet")
        overrides.append(f"input.files={folder}/vectors.parquet")
    return load_config(ROOT / "configs" / f"{name}.yaml", overrides)


def document_settings(rows: int, folder: Path) -> RunConfig:
    """Write a pool of documents, and return a configuration for it."""
    texts = pl.DataFrame({"id": [f"d{number}" for number in range(rows)], "text": documents(rows)})
    texts.write_ndjson(folder / "pool.jsonl")
    files = {"files": f"{folder}/pool.jsonl", "id": "id", "text": "text"}
    return config_from_dict(PIPELINE | {"run": f"{folder}/run", "input": files})


def compare(name: str | int) -> dict[str, Any]:
    """Plan and run a configuration, or the pipeline for a number of documents."""
    os.chdir(ROOT)
    with tempfile.TemporaryDirectory(prefix="curate-plan-") as place:
        folder, clock = Path(place), Clock()
        config = settings(name, folder) if isinstance(name, str) else document_settings(name, folder)
        planned = {(step.stage, step.name): step.seconds for step in pipeline.plan(config, Serial())}
        begun = time.perf_counter()
        lines = pipeline.run(config, Serial(), clock, report=False).accounting()
        wall = time.perf_counter() - begun
    steps: dict[str, tuple[float, float]] = {}
    for line in lines:
        if (estimate := planned.get((line["stage"], line["name"]))) is not None:
            steps[f"{line['stage']} {line['name']}"] = estimate, processor_seconds(line, lines, clock)
    estimated, measured = (sum(column) for column in zip(*steps.values(), strict=True))
    shown = {
        step: (round(guess, 1), round(taken, 1), round(guess / taken, 2))
        for step, (guess, taken) in steps.items()
        if max(guess, taken) >= 1
    }
    ratios = [ratio for *_, ratio in shown.values()]
    return {
        "pool": name if isinstance(name, str) else f"{name:,} documents",
        "estimated": round(estimated, 1),
        "measured": round(measured, 1),
        "ratio": round(estimated / measured, 2),
        "wall": round(wall, 1),
        "worst": max(ratios, key=lambda ratio: max(ratio, 1 / ratio) if ratio else float("inf"), default=None),
        "steps": shown,
        "unknown": [" ".join(step) for step, seconds in planned.items() if seconds is None],
    }


def processor_seconds(line: dict[str, Any], lines: list[dict[str, Any]], clock: Clock) -> float:
    """Return the processor time of a step; the entries of select share that of their stage by their durations."""
    entries = [one for one in lines if one["stage"] == line["stage"]]
    times = [seconds for (stage, name), seconds in clock.seconds.items() if stage == line["stage"]]
    if line["stage"] != "select":
        times, entries = [clock.seconds[line["stage"], line["name"]]], [line]
    total = sum(main + others / thread_count() for main, others in times)
    return total * line["seconds"] / max(sum(one["seconds"] for one in entries), 1e-9)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--configs", nargs="*", default=CONFIGS)
    parser.add_argument("--documents", nargs="*", type=int, default=[20_000, 60_000])
    given = parser.parse_args()
    for name in [*given.configs, *given.documents]:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as worker:
            print(json.dumps(worker.submit(compare, name).result()), flush=True)


if __name__ == "__main__":
    main()

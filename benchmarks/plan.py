"""Compare the seconds that ``curate plan`` estimates before a first run with those of the run; prints JSON lines.

    python benchmarks/plan.py [--configs quickstart ccs …] [--documents 20000 60000]

It takes the configurations in ``configs/`` that need no model, and pools of documents (the functions in the Python
sources of this environment, see ``documents.py``) with a pipeline for text. Each is planned and run in an empty
directory. ``ratio`` is the estimate divided by the measured time. ``worst_step`` is the ratio furthest from 1 among the
steps that take, or are expected to take, at least a second.
"""

from __future__ import annotations

import argparse
import json
import os
import runpy
import subprocess
import sys
import tempfile
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl
from documents import documents

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


def arguments(name: str, folder: Path) -> list[str]:
    """Write the pool that a configuration needs, and return the arguments of the command."""
    command = [str(ROOT / "configs" / f"{name}.yaml"), "--set", f"run={folder}/run"]
    if name == "docstrings":
        rows = runpy.run_path(str(ROOT / "data_samples/docstrings.py"))["rows"](Path(os.__file__).parent)
        (folder / "docstrings.jsonl").write_text("".join(json.dumps(row) + "\n" for row in islice(rows, 4_000)))
        command += ["--set", f"input.files={folder}/docstrings.jsonl"]
    if name == "precomputed":
        runpy.run_path(str(ROOT / "data_samples/with_embeddings.py"))["main"](folder / "vectors.parquet")
        command += ["--set", f"input.files={folder}/vectors.parquet"]
    return command


def pool(rows: int, folder: Path) -> list[str]:
    """Write a pool of documents with its configuration, and return the arguments of the command."""
    texts = pl.DataFrame({"id": [f"d{number}" for number in range(rows)], "text": documents(rows)})
    texts.write_ndjson(folder / "pool.jsonl")
    config = PIPELINE | {"run": f"{folder}/run", "input": {"files": f"{folder}/pool.jsonl", "id": "id", "text": "text"}}
    (folder / "config.json").write_text(json.dumps(config))
    return [str(folder / "config.json")]


def curate(*words: str) -> Any:
    command = [sys.executable, "-m", "curate", *words, "--json", "--log-format", "quiet"]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True, cwd=ROOT).stdout)


def compare(name: str, command: list[str]) -> None:
    planned = {(step["stage"], step["name"]): step["seconds"] for step in curate("plan", *command)}
    lines = curate("run", *command, "--no-report")["accounting"]
    measured = {(line["stage"], line["name"]): line["seconds"] for line in lines}
    unknown = [" ".join(step) for step, seconds in planned.items() if seconds is None]
    steps = {step: (planned[step] or 0.0, seconds) for step, seconds in measured.items() if step in planned}
    estimated, taken = (sum(values) for values in zip(*steps.values(), strict=True))
    ratios = {
        " ".join(step): (round(guess, 1), round(seconds, 1), round(guess / seconds, 2))
        for step, (guess, seconds) in steps.items()
        if max(guess, seconds) >= 1 and seconds > 0
    }
    worst = max(ratios.items(), key=lambda one: max(one[1][2], 1 / max(one[1][2], 1e-9)), default=None)
    line = {"config": name, "estimated": round(estimated, 1), "measured": round(taken, 1)}
    line |= {"ratio": round(estimated / taken, 2), "worst_step": worst, "steps": ratios, "unknown": unknown}
    print(json.dumps(line), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--configs", nargs="*", default=CONFIGS)
    parser.add_argument("--documents", nargs="*", type=int, default=[20_000, 60_000])
    given = parser.parse_args()
    for name in given.configs:
        with tempfile.TemporaryDirectory(prefix="curate-plan-") as folder:
            compare(name, arguments(name, Path(folder)))
    for rows in given.documents:
        with tempfile.TemporaryDirectory(prefix="curate-plan-") as folder:
            compare(f"{rows:,} documents", pool(rows, Path(folder)))


if __name__ == "__main__":
    main()

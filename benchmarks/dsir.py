"""Compare the scores of dsir with those of the authors' package, data-selection, on the same texts.

    CURATE_PEERS_PYTHON=peers/bin/python python benchmarks/dsir.py --rows 50000
    … --rows 1000000 --only curate

The texts are those of ``documents.py``, and 1,000 further ones are the target. Both read the pool from a JSON Lines
file twice, to count and to score, with two processes. The variants alternate in separate processes. For curate,
``seconds`` are those of the score stage, which reads the texts from its Parquet shards; for the package, those of
``fit_importance_estimator`` and ``compute_importance_weights``. ``difference`` is the largest one between the
logarithms of the weights, which curate stores as float32, relative to the size of the weight.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

TARGETS = 1_000
MODULES = {"curate": "", "data-selection": "data_selection"}


def curate(folder: Path) -> tuple[float, np.ndarray, dict[str, Any]]:
    import polars as pl

    from curate import pipeline
    from curate.config.loader import config_from_dict
    from curate.executors.processes import Processes

    run = folder / "run"
    shutil.rmtree(run, ignore_errors=True)
    config = {
        "curate": 1,
        "run": str(run),
        "input": {"files": str(folder / "pool.jsonl"), "text": "contents", "rows_per_shard": 8_192},
        "embed": {"use": "hashing", "dimensions": 16},
        "target": {"files": str(folder / "target.jsonl"), "test_share": 0},
        "score": [{"use": "dsir"}],
        "select": [{"use": "gumbel_top_k", "keep_rate": 0.1, "quality": "dsir"}],
    }
    pipeline.run(config_from_dict(config), Processes(2))
    record = json.loads((run / "score" / "dsir" / "manifest.json").read_text())
    scores = pl.read_parquet(run / "score" / "dsir" / "part-*.parquet")["score_dsir"].to_numpy()
    return record["seconds"], scores, {"peak_mib": record["peak_memory"] // 2**20}


def data_selection(folder: Path) -> tuple[float, np.ndarray, dict[str, Any]]:
    from data_selection import HashedNgramDSIR

    shutil.rmtree(folder / "cache", ignore_errors=True)

    def contents(row: dict[str, str]) -> str:
        return row["contents"]

    paths = [[str(folder / f"{name}.jsonl")] for name in ("pool", "target")]
    dsir = HashedNgramDSIR(
        *paths,
        cache_dir=str(folder / "cache"),
        num_proc=2,
        raw_parse_example_fn=contents,
        target_parse_example_fn=contents,
    )
    began = time.perf_counter()
    dsir.fit_importance_estimator(num_tokens_to_fit="all")
    dsir.compute_importance_weights()
    seconds = time.perf_counter() - began
    parts = sorted((folder / "cache" / "log_importance_weights").glob("*.npy"), key=lambda path: int(path.stem))
    interleaved = [np.load(path) for path in parts]  # each process has every second row
    scores = np.empty(sum(map(len, interleaved)))
    for number, part in enumerate(interleaved):
        scores[number :: len(interleaved)] = part
    return seconds, scores, {}


def write_texts(folder: Path, rows: int) -> None:
    """Write the pool and the target."""
    from documents import documents

    texts = documents(rows + TARGETS)
    for name, part in (("pool", texts[TARGETS:]), ("target", texts[:TARGETS])):
        lines = (json.dumps({"contents": text}) + "\n" for text in part)
        (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", choices=MODULES)
    parser.add_argument("--child", choices=MODULES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        seconds, scores, more = {"curate": curate, "data-selection": data_selection}[given.child](given.folder)
        np.save(given.folder / f"{given.child}.npy", scores)
        print(json.dumps({"seconds": seconds, "documents_per_second": len(scores) / seconds, **more}))
        return
    from measuring import find_variants, machine, print_line, run_in_rounds, summary

    print_line({"bench": "dsir", "rows": given.rows, **machine()})
    variants = find_variants("dsir", MODULES)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_texts(folder, given.rows)
        commands = {
            variant: (python, ["--child", variant, "--folder", name])
            for variant, python in variants.items()
            if given.only in (None, variant)
        }
        runs = run_in_rounds("dsir", commands, given.repeats, script=__file__, kernel=None)
        lines = {variant: summary(one, ("seconds", "documents_per_second")) for variant, one in runs.items()}
        for variant, line in lines.items():
            print_line({"bench": "dsir", "variant": variant, "rows": given.rows, **line})
        if len(lines) == len(MODULES) and not any("failed" in line for line in lines.values()):
            ours, theirs = (np.load(folder / f"{variant}.npy") for variant in MODULES)
            print_line(
                {
                    "bench": "dsir",
                    "speedup": lines["data-selection"]["seconds"] / lines["curate"]["seconds"],
                    "difference": float((np.abs(ours - theirs) / np.maximum(np.abs(theirs), 1)).max()),
                }
            )


if __name__ == "__main__":
    sys.exit(main())

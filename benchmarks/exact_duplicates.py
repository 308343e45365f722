"""Compare the time of exact deduplication with the time of reading the texts from Parquet.

    python benchmarks/exact_duplicates.py --rows 200000

First, curate runs on a pool of ``documents.py`` in which every tenth text occurs twice. Then, alternating and each in a
separate process: "read" reads the text column from the Parquet shards of the run into Arrow arrays, "read to Python"
converts it to strings, "curate" finds the duplicates like an entry of a run, and "curate, normalized" ignores case,
punctuation, white space and the form of characters. Seconds exclude startup.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import polars as pl
from documents import documents
from measuring import find_variants, machine, memory, print_line, run_in_rounds, summary
from mixture import CACHE

DIFFERENCES = {"curate": (), "curate, normalized": ("case", "punctuation", "space", "unicode")}
VARIANTS = ("read", "read to Python", *DIFFERENCES)


def config(rows: int) -> dict[str, Any]:
    file = CACHE / f"twice-{rows}.parquet"
    if not file.exists():
        texts = documents(rows)
        pl.DataFrame({"text": texts + texts[::10]}).write_parquet(file)
    return {
        "curate": 1,
        "run": str(CACHE / f"exact-{rows}"),
        "input": {"files": str(file), "text": "text"},
        "embed": {"use": "hashing", "dimensions": 8},
        "cluster": {"use": "kmeans", "n_clusters": 4},
        "select": [{"use": "exact_duplicates"}],
    }


def child(variant: str, rows: int) -> dict[str, Any]:
    import numpy as np
    import pyarrow.parquet as pq

    from curate import pipeline
    from curate.config.loader import config_from_dict
    from curate.executors.serial import Serial
    from curate.plugins.selectors.duplicates.exact_duplicates import exact_duplicates

    pool = pipeline.build_pool(pipeline.make_context(config_from_dict(config(rows)), Serial()))
    shards = sorted(Path(config(rows)["run"]).glob("input/part-*.parquet"))
    began = time.perf_counter()
    if variant in DIFFERENCES:
        stands, _ = exact_duplicates(
            pool.texts(), np.zeros(sum(pool.rows), np.float32), differences=DIFFERENCES[variant]
        )
        result = {"dropped": int((stands >= 0).sum())}
    else:
        columns = [pq.read_table(shard, columns=["text"])["text"] for shard in shards]
        result = {"texts": sum(map(len, columns if variant == "read" else (column.to_pylist() for column in columns)))}
    return {"seconds": time.perf_counter() - began, **result, "peak_mib": memory("VmHWM"), **machine()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(child(options.one, options.rows)))
        return
    import curate

    curate.run(config(options.rows))
    pythons = find_variants("exact_duplicates", dict.fromkeys(VARIANTS, ""))
    commands = {each: (python, ["--one", each, "--rows", str(options.rows)]) for each, python in pythons.items()}
    runs = run_in_rounds("exact_duplicates", commands, options.repeats, script=__file__, kernel=None)
    for variant, of_one in runs.items():
        print_line({"bench": "exact_duplicates", "variant": variant, **summary(of_one)})


if __name__ == "__main__":
    main()

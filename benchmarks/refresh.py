"""Measure the cost of a nightly run after a share of the pool has changed, compared with a new run; prints JSON lines.

    python benchmarks/refresh.py [--rows 100000] [--rates 0.001 0.01 0.1] [--embed '{"use": "lsa"}'] [--folder /tmp]

A pool of generated texts of about 60 words, in eight files, is curated once. Then, for each rate, that share of its
rows is removed, as many are changed and as many are added, and every file is written again in another order. The same
command refreshes a copy of the first run directory, for each weight of the published rows, and runs in an empty
directory. Seconds are those of the complete command; ``encoded`` is the number of embedded rows; ``churn`` is relative
to the first run's export, of which ``gone`` rows were removed from the pool or changed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from memory import texts

from curate.stages.embed.stage import EmbedResult
from curate.store import manifest, versions
from curate.store.churn import compute_churn

FILES = 8


def pool_at(rows: list[dict[str, str]], size: int, rate: float) -> list[dict[str, str]]:
    """Return the first ``size`` rows, of which a share is removed, as many are changed, and as many others added."""
    if not rate:
        return rows[:size]
    rng = np.random.default_rng(1)
    moved = round(rate * size)
    touched = rng.choice(size, 2 * moved, replace=False)
    gone, changed = set(touched[:moved].tolist()), set(touched[moved:].tolist())
    changed_pool = [
        row | {"text": f"{row['text']} again"} if number in changed else row
        for number, row in enumerate(rows[:size])
        if number not in gone
    ]
    changed_pool += rows[size : size + moved]
    return [changed_pool[place] for place in rng.permutation(len(changed_pool))]


def write_pool(folder: Path, rows: list[dict[str, str]]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for number in range(FILES):
        with (folder / f"{number}.jsonl").open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows[number::FILES])


def config(pool: Path, run: Path, embed: dict[str, Any], weight: float) -> dict[str, Any]:
    return {
        "curate": 1,
        "run": str(run),
        "input": {
            "files": f"{pool}/*.jsonl",
            "id": "id",
            "text": "text",
            "label": "topic",
            "source": "source",
            "rows_per_shard": 8192,
        },
        "embed": {"name": "embed", **embed},
        "score": [{"use": "prototypicality"}, {"use": "length"}],
        "select": [
            {"use": "semdedup", "min_similarity": 0.95},
            {"use": "facility_location", "keep_rate": 0.1, "within": "cluster"},
        ],
        "refresh": {"keep_previous_weight": weight},
    }


def run(settings: dict[str, Any], workers: int) -> dict[str, Any]:
    """Run the command, and return its wall time and the number of rows that were embedded."""
    folder = Path(settings["run"])
    written = folder.with_suffix(".yaml")
    written.write_text(json.dumps(settings))  # JSON is YAML
    begun = time.perf_counter()
    command = [
        sys.executable,
        "-c",
        "from curate.cli import main; main()",
        "run",
        str(written),
        "--log-format",
        "quiet",
    ]
    subprocess.run([*command, "--workers", str(workers)], stdout=subprocess.DEVNULL, check=True)
    seconds = time.perf_counter() - begun
    record = manifest.load(folder / "embed" / "embed", EmbedResult)
    return {"seconds": round(seconds, 2), "encoded": record.result.encoded if record else None}


def published(folder: Path) -> Any:
    root = folder / versions.FOLDER
    return versions.read_ids(root, versions.published_version(root) or "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rates", type=float, nargs="+", default=[0.001, 0.01, 0.1])
    parser.add_argument("--weights", type=float, nargs="+", default=[0.0, 0.9])
    parser.add_argument("--embed", type=json.loads, default={"use": "lsa"}, help="the embed section, as JSON")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="where to put the pool and runs while they are measured")
    chosen = parser.parse_args()
    rows = list(texts(chosen.rows + round(max(chosen.rates) * chosen.rows)))
    with tempfile.TemporaryDirectory(prefix="curate-refresh-", dir=chosen.folder) as name:
        folder = Path(name)
        first, pool = folder / "first", folder / "pool"
        write_pool(pool, pool_at(rows, chosen.rows, 0))
        common = {"rows": chosen.rows, "embed": chosen.embed["use"]}
        print(
            json.dumps({**common, "what": "first", **run(config(pool, first, chosen.embed, 0), chosen.workers)}),
            flush=True,
        )
        before = published(first)
        for rate in chosen.rates:
            changed_pool = pool_at(rows, chosen.rows, rate)
            write_pool(pool, changed_pool)
            same = {row["id"] for row in changed_pool if not row["text"].endswith(" again")}
            gone = sum(name not in same for name in before["id"])
            for what, weight in [("new", 0.0), *(("refresh", weight) for weight in chosen.weights)]:
                target = folder / "night"
                shutil.rmtree(target, ignore_errors=True)
                if what == "refresh":
                    shutil.copytree(first, target, symlinks=True)
                done = run(config(pool, target, chosen.embed, weight), chosen.workers)
                moved = compute_churn(before, published(target))
                line = {**common, "what": what, "rate": rate, "keep_previous_weight": weight, **done}
                line |= {"added": moved.added, "removed": moved.removed, "churn": round(moved.rate, 4), "gone": gone}
                print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()

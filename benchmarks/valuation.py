"""Measure the time and the memory of scorers that value rows: by trainings of the proxy, by densities, and by a log.

    python benchmarks/valuation.py [--rows 5000] [--only data_oob …] [--repeats 3] [--kernel SkylakeX]

Scorers that train the proxy (a logistic regression with its defaults, 384 dimensions, ``--classes`` classes) run with
their default numbers of trainings; the time of one is ``seconds_per_training``. kde, source_value and knn_shapley run
with their defaults; retrieval_importance reads a query for every tenth row, which retrieves 100 rows. Every run is a
process with two threads. Prints JSON lines: runs, and medians with ranges.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from measuring import machine, memory, print_line, reset_peak, run_in_rounds, summary
from mixture import mixture

Batch = Callable[[int, int], Any]


def learner(rows: int, classes: int) -> Any:
    """Return rows whose classes are the nearest of some random rows, five percent of them wrong, in three groups."""
    from curate.plugins.batches import ScoreBatch
    from curate.plugins.dynamics import Learner
    from curate.plugins.proxies.logistic import Logistic

    x, rng = mixture(rows), np.random.default_rng(0)
    labels = (x @ x[rng.choice(rows, classes, replace=False)].T).argmax(axis=1).astype(np.int32)
    wrong = rng.random(rows) < 0.05
    labels[wrong] = rng.integers(classes, size=wrong.sum())
    groups = rng.integers(8, size=rows).astype(np.int32)
    return ScoreBatch(learner=Learner(x, labels, classes, Logistic()), groups=groups, group_names=tuple("abcdefgh"))


def vectors(rows: int, classes: int) -> Any:  # noqa: ARG001
    from curate.plugins.batches import ScoreBatch

    groups = np.random.default_rng(0).integers(8, size=rows).astype(np.int32)
    return ScoreBatch(embeddings=mixture(rows), groups=groups, group_names=tuple("abcdefgh"))


def labeled(rows: int, classes: int) -> Any:
    from curate.plugins.batches import ScoreBatch

    batch = learner(rows, classes)
    return ScoreBatch(embeddings=batch.learner.embeddings, labels=[str(label) for label in batch.learner.labels])


def log(rows: int, classes: int) -> Any:  # noqa: ARG001
    from curate.plugins.batches import Retrievals, ScoreBatch

    rng, queries = np.random.default_rng(0), rows // 10
    retrieved = np.concatenate([rng.choice(rows, 100, replace=False) for _ in range(queries)])
    utility = (rng.random(100 * queries) < 0.3).astype(np.float64)
    return ScoreBatch(retrievals=Retrievals(retrieved, 100 * np.arange(queries + 1), utility, rows))


SCORERS: dict[str, tuple[Batch, dict[str, Any], str]] = {
    "data_oob": (learner, {}, "models"),
    "memorization": (learner, {}, "subsets"),
    "beta_shapley": (learner, {"group": "source", "trainings": 100}, "trainings"),
    "data_banzhaf": (learner, {"trainings": 100}, "trainings"),
    "knn_shapley": (labeled, {}, ""),
    "kde": (vectors, {}, ""),
    "source_value": (vectors, {"buyer": "a"}, ""),
    "retrieval_importance": (log, {"files": "log.jsonl"}, ""),
}
"""Inputs of each scorer, its fields, and the field with the number of its trainings."""


def run(name: str, size: argparse.Namespace) -> dict[str, Any]:
    """Return the time and the memory of one scorer, in a separate process."""
    from curate.plugins import registry

    make, fields, trainings = SCORERS[name]
    scorer, batch = registry.get("scorer", name).cls(**fields), make(size.rows, size.classes)
    before = reset_peak()
    began, began_cpu = time.perf_counter(), time.process_time()
    scorer.score(batch, np.random.default_rng(0))
    seconds, cpu = time.perf_counter() - began, time.process_time() - began_cpu
    found = {"seconds": seconds, "cpu_seconds": cpu, "peak_mib": memory("VmHWM"), "before_mib": before}
    if trainings:
        number = getattr(scorer, trainings)
        found |= {"trainings": number, "seconds_per_training": seconds / number}
    return found | machine()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=5_000)
    parser.add_argument("--classes", type=int, default=50)
    parser.add_argument("--only", nargs="+", default=list(SCORERS), choices=SCORERS, metavar="NAME")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--kernel", help="OPENBLAS_CORETYPE: Haswell, SkylakeX, Zen, …")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    size = parser.parse_args()
    if size.child:
        print(json.dumps(run(size.child, size)))
        return
    mixture(size.rows)
    arguments = ["--rows", str(size.rows), "--classes", str(size.classes)]
    commands = {name: (sys.executable, [*arguments, "--child", name]) for name in size.only}
    runs = run_in_rounds("valuation", commands, size.repeats, script=__file__, kernel=size.kernel)
    for name, results in runs.items():
        keys = ("seconds", "cpu_seconds", "seconds_per_training")
        print_line({"bench": "valuation", "scorer": name, "rows": size.rows, **summary(results, keys)})


if __name__ == "__main__":
    sys.exit(main())

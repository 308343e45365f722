"""Training and evaluation shared by metrics that predict labels."""

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
"""Columns that every probe measures."""

Probe = Callable[[Matrix, Codes, Vector, Matrix], tuple[Matrix, tuple[str, ...]]]
"""Function of (k, d) rows, their (k,) classes 0 … c − 1 with c at least 2, (k,) weights of mean 1, and (m, d) test
rows, that returns (m, c) probabilities and notes."""


def evaluate_probe(inputs: MetricInput, probe: Probe) -> MetricResult:
    """Train ``probe`` on the selected rows that have a label, and test it on the test rows.

    Rows are passed to the probe in an order that depends on their content, so the order of the pool does not matter. A
    class without a selected row is never predicted, and its test rows count as wrong; if the selected rows have only
    one class, that class is predicted. All values are NaN without labels, without test rows, or if no selected row has
    a label.

    Parameters
    ----------
    inputs : selection to evaluate
    probe : function that trains a model and returns class probabilities
    """
    from sklearn.metrics import f1_score

    label, test_label = require(inputs.label), require(inputs.test_label)
    labeled = inputs.selected[label[inputs.selected] >= 0]
    if not len(labeled) or not len(test_label):
        reason = "there are no test rows with a label" if len(labeled) else "no selected row has a label"
        return MetricResult(dict.fromkeys((column.name for column in PROBE_COLUMNS), float("nan")), notes=(reason,))
    x = require(inputs.embeddings)
    order = content_order(x[labeled], 0)
    seen_classes, classes = np.unique(label[labeled][order], return_inverse=True)
    weight = np.ones(len(labeled), np.float32)
    if inputs.weight is not None:
        weight = inputs.weight[label[inputs.selected] >= 0][order]
        weight = (weight / weight.mean(dtype=np.float64)).astype(np.float32)
    test = require(inputs.test_embeddings)
    probability, notes = np.ones((len(test), 1), np.float32), _notes(inputs, labeled.size, seen_classes)
    if len(seen_classes) > 1:
        probability, probe_notes = probe(x[labeled[order]], classes.astype(np.int32), weight, test)
        notes += probe_notes
    predicted = seen_classes[probability.argmax(axis=1)]
    positions = np.searchsorted(seen_classes, test_label).clip(max=len(seen_classes) - 1)
    true_probability = np.where(seen_classes[positions] == test_label, probability[np.arange(len(test)), positions], 0)
    hits = predicted == test_label
    values = {
        "accuracy": float(hits.mean()),
        "macro_f1": float(f1_score(test_label, predicted, labels=np.unique(test_label), average="macro")),
        "cross_entropy": cross_entropy(true_probability, len(labeled), len(inputs.classes)),
    }
    return MetricResult(values, hits, notes)


def _notes(inputs: MetricInput, n_labeled: int, seen_classes: Codes) -> tuple[str, ...]:
    notes = []
    if n_labeled < len(inputs.selected):
        notes.append(f"{len(inputs.selected) - n_labeled} selected rows have no label and were excluded from training")
    missing = np.setdiff1d(require(inputs.test_label), seen_classes)
    if len(missing):
        names = ", ".join(inputs.classes[code] for code in missing[:3]) + (", …" if len(missing) > 3 else "")
        notes.append(f"{len(missing)} labels of the test rows have no selected row and are never predicted: {names}")
    return tuple(notes)

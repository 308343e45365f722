"""Estimate of the number of wrong labels, and of the classes that are confused, from held-out predictions.

Reads one shard at a time, twice; memory for 4 bytes per row.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from curate.kernels.stats.confident_joint import (
    class_sums,
    confident_classes,
    confident_joint,
    noise_matrix,
    thresholds_from_sums,
)
from curate.kernels.types import Codes, Matrix
from curate.pool.stage_outputs import HeldOutOutput
from curate.pool.view import PoolView
from curate.report.report_data import LabelConfusion, LabelNoise

_LISTED = 10  # pairs of classes


def read_mean(output: HeldOutOutput, number: int) -> tuple[Matrix, Codes]:
    """Read the held-out probabilities of the rows of a shard, in the mean over the runs, and their labels."""
    held_out = output.read([number])
    mean = np.zeros((len(held_out), output.classes), np.float32)
    for run in range(output.runs):
        mean += held_out.probabilities(run)
    mean /= np.float32(output.runs)
    return mean, held_out.labels


def estimate(pool: PoolView, output: HeldOutOutput, names: pa.Array) -> LabelNoise:
    """Estimate the label noise of the pool by the confident joint; ``names`` are the labels of the classes."""

    def labeled() -> Iterator[tuple[Matrix, Codes]]:
        for number in pool.numbers:
            mean, labels = read_mean(output, number)
            yield mean[labels >= 0], labels[labels >= 0]

    sums, counts = np.zeros(output.classes), np.zeros(output.classes, np.int64)
    for mean, labels in labeled():
        shard_sums, shard_counts = class_sums(mean, labels)
        sums += shard_sums
        counts += shard_counts
    thresholds = thresholds_from_sums(sums, counts)
    parts = [(confident_classes(mean, thresholds), labels) for mean, labels in labeled()]
    confident, every = (np.concatenate(column) for column in zip(*parts, strict=True))
    joint = confident_joint(confident, every, output.classes)
    shares, errors = noise_matrix(joint), joint.copy()
    np.fill_diagonal(errors, 0)
    order = np.argsort(-errors, axis=None, kind="stable")[:_LISTED]
    label_names = names.to_pylist()
    return LabelNoise(
        labels=int(joint.sum()),
        errors=int(errors.sum()),
        confusions=tuple(
            LabelConfusion(
                label=label_names[given],
                true=label_names[true],
                rows=int(errors[given, true]),
                share=float(shares[given, true]),
            )
            for given, true in zip(*np.unravel_index(order, errors.shape), strict=True)
            if errors[given, true]
        ),
    )

"""Confident learning: the joint distribution of given and true labels, and the rows whose label is an error."""

from __future__ import annotations

from typing import Literal

import numpy as np

from curate.kernels.parallel import block_slices
from curate.kernels.types import Codes, Counts, Flags, Matrix, Numbers, Vector

ErrorFilter = Literal["prune_by_noise_rate", "prune_by_class", "both", "confident_joint"]
"""Way to find label errors; see ``find_label_errors``."""

_ROWS = 16_384
_TOLERANCE = 1e-6  # of comparisons of probabilities, so that the order in which they were added is irrelevant


def class_thresholds(probabilities: Matrix, labels: Codes) -> Numbers:
    """Compute the mean probability of each class over the rows with that label.

    Parameters
    ----------
    probabilities : (n, classes) float32, held-out predictions
    labels : (n,) int32 in 0 … classes − 1

    Returns
    -------
    (classes,) float64; infinity for a class without a row

    Notes
    -----
    Cost: O(n) time, O(n + classes) memory.

    References
    ----------
    Northcutt, Jiang & Chuang (2021), Confident Learning, arXiv:1911.00068, equation 2.

    Examples
    --------
    >>> p = np.array([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8]], np.float32)
    >>> class_thresholds(p, np.array([0, 0, 1], np.int32)).round(2).tolist()
    [0.8, 0.8]
    """
    return thresholds_from_sums(*class_sums(probabilities, labels))


def class_sums(probabilities: Matrix, labels: Codes) -> tuple[Numbers, Counts]:
    """Return the sum of the probabilities of each class over the rows with that label, and the number of these rows.

    Those of several blocks of rows can be added, and then passed to ``thresholds_from_sums``.

    Parameters
    ----------
    probabilities : (n, classes) float32, held-out predictions
    labels : (n,) int32 in 0 … classes − 1

    Returns
    -------
    sums, counts : (classes,) float64 and int64

    Examples
    --------
    >>> sums, counts = class_sums(np.array([[0.5, 0.5], [0.25, 0.75]], np.float32), np.array([0, 0], np.int32))
    >>> sums.tolist(), counts.tolist()
    ([0.75, 0.0], [2, 0])
    """
    classes = probabilities.shape[1]
    sums = np.bincount(labels, self_confidence(probabilities, labels), classes).astype(np.float64)
    return sums, np.bincount(labels, minlength=classes)


def thresholds_from_sums(sums: Numbers, counts: Counts) -> Numbers:
    """Return the thresholds of ``class_thresholds`` from the sums of ``class_sums``.

    Parameters
    ----------
    sums, counts : (classes,) float64 and int64

    Returns
    -------
    (classes,) float64; infinity for a class without a row

    Examples
    --------
    >>> thresholds_from_sums(np.array([1.5, 0.0]), np.array([2, 0])).tolist()
    [0.75, inf]
    """
    thresholds: Numbers = np.where(counts > 0, sums / np.maximum(counts, 1), np.inf)
    return thresholds


def confident_classes(probabilities: Matrix, thresholds: Numbers) -> Codes:
    """Return the class that each row confidently belongs to: one whose probability reaches the threshold of the class.

    Parameters
    ----------
    probabilities : (n, classes) float32
    thresholds : (classes,) float64

    Returns
    -------
    (n,) int32; -1 for a row that reaches no threshold

    Notes
    -----
    Cost: O(n classes) time; the result and a block of 16,384 rows in memory.

    Deviations: a row that reaches several thresholds belongs to its most probable class, as in the authors' code. By
    the equation of the paper, it is the most probable of the classes whose threshold is reached.

    References
    ----------
    Northcutt, Jiang & Chuang (2021), Confident Learning, arXiv:1911.00068, equation 1.

    Examples
    --------
    >>> confident_classes(np.array([[0.6, 0.4], [0.45, 0.55]], np.float32), np.array([0.5, 0.6])).tolist()
    [0, -1]
    """
    result = np.full(len(probabilities), -1, np.int32)
    for rows in block_slices(len(probabilities), _ROWS):
        block = probabilities[rows]
        reached = block >= thresholds - _TOLERANCE
        n_reached = reached.sum(axis=1)
        candidates = np.where(n_reached > 1, block.argmax(axis=1), reached.argmax(axis=1))
        result[rows] = np.where(n_reached > 0, candidates, -1)
    return result


def confident_joint(confident: Codes, labels: Codes, classes: int) -> Counts:
    """Estimate the number of rows for each pair of a given and a true label.

    Rows are counted by their given label and the class that they confidently belong to. The counts are then scaled so
    that each given label has as many rows as in the data.

    Parameters
    ----------
    confident : (n,) int32, class that each row confidently belongs to, -1 for none
    labels : (n,) int32 in 0 … classes − 1
    classes : number of classes

    Returns
    -------
    (classes, classes) int64; a row for each given label, with the sum of its number of rows

    Notes
    -----
    Cost: O(n + classes² log classes) time, O(n + classes²) memory. Each class counts as having at least one row with a
    correct label.

    References
    ----------
    Northcutt, Jiang & Chuang (2021), Confident Learning, arXiv:1911.00068, equations 1 and 3.

    Examples
    --------
    >>> confident, labels = np.array([0, 0, 1, 1, -1], np.int32), np.array([0, 0, 0, 1, 1], np.int32)
    >>> confident_joint(confident, labels, 2).tolist()
    [[2, 1], [0, 2]]
    """
    known = confident >= 0
    pairs = labels[known].astype(np.int64) * classes + confident[known]
    counts = np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)
    np.fill_diagonal(counts, np.maximum(counts.diagonal(), 1))
    sizes = np.bincount(labels, minlength=classes)
    return _round_rows(counts / counts.sum(axis=1, keepdims=True) * sizes[:, None])


def noise_matrix(joint: Counts) -> Numbers:
    """Compute the probability of each given label for each true label.

    Parameters
    ----------
    joint : (classes, classes), a row for each given label, as ``confident_joint`` returns it

    Returns
    -------
    (classes, classes) float64, a row for each given label; columns sum to 1, or are 0 for a class without a row

    References
    ----------
    Northcutt, Jiang & Chuang (2021), Confident Learning, arXiv:1911.00068, section 2.

    Examples
    --------
    >>> noise_matrix(np.array([[3, 1], [1, 3]])).tolist()
    [[0.75, 0.25], [0.25, 0.75]]
    """
    matrix: Numbers = joint / np.maximum(joint.sum(axis=0), 1)
    return matrix


def self_confidence(probabilities: Matrix, labels: Codes) -> Vector:
    """Return the probability of the label of each row.

    Parameters
    ----------
    probabilities : (n, classes) float32
    labels : (n,) int32 in 0 … classes − 1

    Returns
    -------
    (n,) float32

    Examples
    --------
    >>> self_confidence(np.array([[0.25, 0.75]], np.float32), np.array([1], np.int32)).tolist()
    [0.75]
    """
    return probabilities[np.arange(len(labels)), labels]


def normalized_margin(probabilities: Matrix, labels: Codes) -> Vector:
    """Compute the margin of the label over the most probable other class, mapped to [0, 1].

    Parameters
    ----------
    probabilities : (n, classes) float32
    labels : (n,) int32 in 0 … classes − 1

    Returns
    -------
    (n,) float32; below 0.5 if another class is more probable

    Notes
    -----
    Cost: O(n classes) time; the result and a block of 16,384 rows in memory.

    Examples
    --------
    >>> normalized_margin(np.array([[0.25, 0.75]], np.float32), np.array([0], np.int32)).tolist()
    [0.25]
    """
    result = np.empty(len(labels), np.float32)
    for rows in block_slices(len(labels), _ROWS):
        others = probabilities[rows].copy()
        positions = np.arange(len(others)), labels[rows]
        own = others[positions]
        others[positions] = 0
        result[rows] = (own - others.max(axis=1) + 1) / 2
    return result


def find_label_errors(probabilities: Matrix, labels: Codes, filter_by: ErrorFilter) -> Flags:
    """Find the rows whose label is an error, as many as the confident joint estimates.

    - ``prune_by_noise_rate``: for each pair of a given and another label, as many rows as the joint counts, those with
      the largest difference between the probabilities of the other and of the given label.
    - ``prune_by_class``: for each given label, as many rows as the joint counts outside its diagonal, those with the
      lowest probability of the label.
    - ``both``: rows that both of these find.
    - ``confident_joint``: rows that confidently belong to another class, without estimating their number.

    Parameters
    ----------
    probabilities : (n, classes) float32, held-out predictions
    labels : (n,) int32 in 0 … classes − 1
    filter_by : way to find them

    Returns
    -------
    (n,) bool; False for a row whose label is its most probable class, and for the only row of a class

    Notes
    -----
    Cost: O(n classes) time and, for one class, O(rows of the class × classes) memory.

    Deviations: the authors' code breaks ties arbitrarily when it rounds counts, here the order of the classes decides.
    Rows that tie at the last place, such as copies, are all left out, so that the result does not depend
    on the order of the rows; the authors' code takes some of them. The name ``confident_joint`` is "confident_learning"
    in their code.

    References
    ----------
    Northcutt, Jiang & Chuang (2021), Confident Learning, arXiv:1911.00068, section 3.2.

    Examples
    --------
    >>> p = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8], [0.1, 0.9]], np.float32)
    >>> find_label_errors(p, np.array([0, 0, 0, 1, 1], np.int32), "prune_by_class").tolist()
    [False, False, True, False, False]
    """
    confident = confident_classes(probabilities, class_thresholds(probabilities, labels))
    if filter_by == "confident_joint":
        errors = (confident >= 0) & (confident != labels)
    else:
        joint = _keep_one_row(confident_joint(confident, labels, probabilities.shape[1]))
        errors = np.zeros(len(labels), np.bool_)
        order = np.argsort(labels, kind="stable")
        ends = np.cumsum(np.bincount(labels, minlength=len(joint)))
        for label, rows in enumerate(np.split(order, ends[:-1])):
            if len(rows) > 1:
                errors[rows] = _prune(probabilities[rows], label, joint[label], filter_by)
    margin = normalized_margin(probabilities, labels)
    flags: Flags = errors & (margin < 0.5 - _TOLERANCE / 2)
    return flags


def _prune(probabilities: Matrix, label: int, counts: Counts, filter_by: ErrorFilter) -> Flags:
    """Return the errors among the rows of one label, with the counts of their true labels."""
    own = probabilities[:, label]
    by_class = by_rate = np.ones(len(own), np.bool_)
    if filter_by != "prune_by_noise_rate":
        by_class = _largest(-own, len(own) - int(counts[label]))
    if filter_by != "prune_by_class":
        by_rate = np.zeros(len(own), np.bool_)
        for other in np.flatnonzero(counts):
            if other != label:
                by_rate |= _largest(probabilities[:, other] - own, int(counts[other]))
    return by_class & by_rate


def _largest(values: Vector, count: int) -> Flags:
    """Return the ``count`` largest values, without those that tie with the first that is left out."""
    if count >= len(values):
        return np.ones(len(values), np.bool_)
    flags: Flags = values > np.partition(values, len(values) - count - 1)[len(values) - count - 1]
    return flags


def _keep_one_row(joint: Counts) -> Counts:
    """Return the joint with at least one correct row for each label: of labels without one, every error loses a row."""
    is_empty = joint.diagonal() < 1
    kept = np.where(is_empty[:, None], np.maximum(joint - 1, 0), joint)
    np.fill_diagonal(kept, np.maximum(joint.diagonal(), 1))
    return kept


def _round_rows(shares: Numbers) -> Counts:
    """Round to integers so that the sum of each row stays the same: the largest rounding errors are corrected."""
    counts = np.round(shares)
    for row, share in zip(counts, shares, strict=True):
        missing = round(float(share.sum() - row.sum()))
        order = np.argsort(share - row, kind="stable")
        row[order[len(order) - max(missing, 0) :]] += 1
        row[order[: max(-missing, 0)]] -= 1
    return counts.astype(np.int64)

"""Clusterer that uses the values of a column as clusters."""

from __future__ import annotations

from dataclasses import dataclass

from curate.plugins.interfaces import ColumnName, clusterer


@clusterer(version=1, reads="column", example={"column": "topic"})
@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One cluster for each value of an input column.

    Use it when the pool already has groups, such as topics or classes, that selectors should balance or run within.
    Without such a column, use ``kmeans``.

    Clusters are numbered in the order of the sorted values; a row without a value is in no cluster (-1). The centroid
    of a cluster is the mean direction of its rows.

    References
    ----------
    None: the groups are the user's.
    """

    column: ColumnName
    """Column whose values are the clusters."""

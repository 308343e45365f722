"""Groups that the user already has: one cluster for each value of a column."""

from __future__ import annotations

from dataclasses import dataclass

from curate.plugins.interfaces import ColumnName, clusterer


@clusterer(version=1, reads="column", example={"column": "topic"})
@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One cluster for each value of a column of the input.

    Clusters are numbered in the order of the sorted values; a row without a value is in no cluster (-1). The driver
    takes the mean direction of a cluster's rows as its centroid.

    References
    ----------
    None: the groups are the user's.
    """

    column: ColumnName
    """The column whose values name the clusters."""

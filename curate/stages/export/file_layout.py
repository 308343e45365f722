"""Layout of an export: which rows are in which file, and the names of the files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from curate.kernels.types import Counts
from curate.stages.column_names import EPOCH
from curate.store import versions


@dataclass(frozen=True, slots=True)
class Part:
    """Rows that are numbered together, and have separate files: all chosen rows, or those of an epoch or a split."""

    name: str
    """Beginning of the names of its files."""

    folder: str
    """Folder in the version."""

    epoch: int | None
    """Epoch of the rows; None for all epochs."""

    split: str | None
    """Split of the rows; None for all splits."""

    rows: tuple[int, ...]
    """Number of rows in each shard."""

    @property
    def total(self) -> int:
        """Number of rows."""
        return sum(self.rows)


@dataclass(frozen=True, slots=True)
class DataFile:
    """File of an export."""

    part: Part
    number: int
    """Number of the file in its part."""

    start: int
    """Number of its first row, counted in the order of the export of the part."""

    stop: int
    path: str
    """Path in the version."""


def data_folder(epoch: int | None, epochs: int) -> str:
    """Return the folder in a version for the files of an epoch; of all rows if ``epoch`` is None."""
    if epoch is None:
        return versions.DATA
    return f"{versions.DATA}/{EPOCH}={epoch:0{max(3, len(str(epochs - 1)))}d}"


def lay_out_files(part: Part, bounds: Sequence[int], suffix: str, *, has_index: bool) -> list[DataFile]:
    """Return the files of a part.

    Parameters
    ----------
    part : Part
        Rows of the files.
    bounds : sequence of int
        Number of the first row of each file, and the number of rows; see ``split_rows``.
    suffix : str
        File name extension.
    has_index : bool
        Whether the format lists all files of a folder in an index, so that each part needs a folder.
    """
    folder, count = f"{part.folder}/{part.name}" if has_index else part.folder, len(bounds) - 1
    return [
        DataFile(part, number, start, stop, f"{folder}/{part.name}-{number:05d}-of-{count:05d}{suffix}")
        for number, (start, stop) in enumerate(pairwise(bounds))
    ]


def split_rows(total: int, rows_per_file: int, bytes_per_file: int | None, sizes: Counts | None) -> list[int]:
    """Split rows over files.

    Parameters
    ----------
    total : int
        Number of rows.
    rows_per_file : int
        Maximum number of rows of a file.
    bytes_per_file : int or None
        Size of the rows of a file in bytes, which its last row may exceed; None without a limit.
    sizes : ndarray of int, shape (total,) or None
        Size of each row in bytes, in the order of the export; None without a limit.

    Returns
    -------
    list of int
        Number of the first row of each file, and ``total``.

    Examples
    --------
    >>> split_rows(5, 2, None, None), split_rows(5, 3, 10, np.array([4, 8, 1, 1, 1]))
    ([0, 2, 4, 5], [0, 2, 5])
    """
    bounds = [0]
    ends = None if sizes is None else np.cumsum(sizes)
    while (start := bounds[-1]) < total:
        stop = min(total, start + rows_per_file)
        if ends is not None and bytes_per_file is not None:
            before = int(ends[start - 1]) if start else 0
            stop = min(stop, max(start + 1, int(np.searchsorted(ends, before + bytes_per_file)) + 1))
        bounds.append(stop)
    return bounds

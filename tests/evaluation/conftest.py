"""Pools with vectors for which the best selector is known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

PROBE = str(Path(__file__).parent / "nearest_class.py")


def write(path: Path, vectors: np.ndarray, labels: np.ndarray, first: int = 0) -> None:
    """Write a file of rows with vectors and labels; their texts are numbered."""
    path.parent.mkdir(parents=True, exist_ok=True)
    n = len(vectors)
    numbers = range(first, first + n)
    table = pa.table(
        {
            "id": [f"r{number:05d}" for number in numbers],
            "text": [f"text number {number}" for number in numbers],
            "label": [None if label is None else str(label) for label in labels],
            "source": ["even" if number % 2 == 0 else "odd" for number in numbers],
            "vector": list(vectors.astype(np.float32)),
        }
    )
    pq.write_table(table, path)


def crowded(rng: np.random.Generator, common: int, rare: int, classes: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Return a pool in which a random selection misses classes: half have many similar rows, the other half few."""
    centres = np.linalg.qr(rng.normal(size=(32, classes)))[0].T
    labels = np.repeat(np.arange(classes), [common if code < classes // 2 else rare for code in range(classes)])
    return centres[labels] + 0.02 * rng.normal(size=(len(labels), 32)), labels


@pytest.fixture
def crowd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an unbalanced pool and a balanced test file."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    vectors, labels = crowded(rng, 100, 6)
    order = rng.permutation(len(labels))
    write(tmp_path / "pool/a.parquet", vectors[order], labels[order])
    vectors, labels = crowded(np.random.default_rng(0), 20, 20)
    write(tmp_path / "test.parquet", vectors, labels, first=10_000)
    return tmp_path


@pytest.fixture
def noise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a pool whose labels are independent of its vectors, and such a test file."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(2)
    write(tmp_path / "pool/a.parquet", rng.normal(size=(400, 16)), rng.integers(4, size=400))
    write(tmp_path / "test.parquet", rng.normal(size=(300, 16)), rng.integers(4, size=300), first=10_000)
    return tmp_path


@pytest.fixture
def over() -> Callable[..., dict[str, Any]]:
    """Write a configuration for such a pool; keyword arguments replace its sections."""

    def made(**sections: Any) -> dict[str, Any]:
        return {
            "curate": 1,
            "run": "run",
            "plugins": [PROBE],
            "input": {"files": "pool/*.parquet", "id": "id", "text": "text", "label": "label", "source": "source"},
            "embed": {"use": "column", "column": "vector"},
            "cluster": {"use": "kmeans", "n_clusters": 12},
            "score": [{"use": "prototypicality"}],
            "select": [{"use": "facility_location", "prune_rate": 0.9}],
            "metrics": [{"use": "nearest_class"}],
            "evaluate": {"files": "test.parquet"},
        } | sections

    return made

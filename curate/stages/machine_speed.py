"""Speed of this machine relative to the one of the cost table, measured once and kept in the user's cache directory."""

from __future__ import annotations

import json
import math
import os
import platform
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from curate.store.json_shape import has_shape
from curate.version import __version__

Work = Literal["text", "matrix"]
"""Kind of work: on strings in the interpreter, or on arrays."""

_REPEATS = 5
_TEXT = "The quick brown fox jumps over the lazy dog, and 1 of 3 dogs jumps too. " * 200


def measure() -> dict[Work, float]:
    """Measure the processor seconds of two small tasks, the best of some repetitions; half a second in total."""
    return {"text": _best(_process_text), "matrix": _best(_multiply)}


def seconds() -> Mapping[Work, float]:
    """Return the seconds of both tasks on this machine, from the cache if they were measured before.

    The cache is only a convenience: if it cannot be read or written, they are measured again.
    """
    machine = {
        "machine": f"{platform.node()} {platform.machine()} {os.cpu_count()} Python {platform.python_version()}",
        "curate": __version__,
    }
    path = cache_file()
    stored = _read(path)
    if stored is not None and machine.items() <= stored.items():
        return {"text": stored["text"], "matrix": stored["matrix"]}
    measured = measure()
    if path is not None:
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(f"{path.name}.{os.getpid()}")
            partial.write_text(json.dumps({**machine, **measured}), encoding="utf-8")
            partial.replace(path)
    return measured


def cache_file() -> Path | None:
    """Return the path of the cached measurement; None for a user without a home directory."""
    folder = os.environ.get("XDG_CACHE_HOME")
    with suppress(RuntimeError):
        return (Path(folder) if folder else Path("~/.cache").expanduser()) / "curate" / "speed.json"
    return None


def _read(path: Path | None) -> dict[str, Any] | None:
    """Return the cached measurement; None if it is missing or corrupt."""
    if path is None:
        return None
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        if has_shape(stored, _CACHED) and all(0 < stored[work] < math.inf for work in ("text", "matrix")):
            return dict(stored)
    except (OSError, ValueError, RecursionError):
        pass
    return None


_CACHED = {"machine": str, "curate": str, "text": float, "matrix": float}
"""Shape of the cached measurement."""


def _best(task: Callable[[], object]) -> float:
    durations = []
    for _ in range(_REPEATS):
        begun = time.process_time()  # not wall time: other processes are no property of the machine
        task()
        durations.append(time.process_time() - begun)
    return round(max(min(durations), 1e-6), 6)


def _process_text() -> int:
    words = Counter(word.strip(".,").lower() for word in _TEXT.split())
    records = [json.dumps({"id": number, "text": _TEXT[number : number + 500]}) for number in range(2_000)]
    trigrams = {record[start : start + 3] for record in records[:20] for start in range(len(record))}
    return len(words) + len(trigrams) + sum(len(json.loads(record)["text"]) for record in records)


def _multiply() -> float:
    import numpy as np

    from curate.kernels.parallel import one_blas_thread

    rows = np.random.default_rng(0).standard_normal((1_500, 256), dtype=np.float32)
    with one_blas_thread():
        similarities = rows @ rows.T
    return float(np.sort(similarities[:300], axis=1)[:, -10:].sum())

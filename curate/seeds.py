"""Random generators: one seed in the configuration, an independent generator for every stage and task."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def rng_for(seed: int, stage: str, task: int = 0) -> np.random.Generator:
    """Return a generator that depends only on the seed, the stage's name and the task's number.

    It does not depend on which worker runs the task, nor on when it runs.

    >>> float(rng_for(0, "embed").random()) == float(rng_for(0, "embed").random())
    True
    >>> float(rng_for(0, "embed").random()) == float(rng_for(0, "embed", 1).random())
    False
    """
    import numpy as np

    return np.random.Generator(
        np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(zlib.crc32(stage.encode()), task)))
    )

"""Instruction-following difficulty: how little a prompt helps a model to predict the response."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curate.kernels.types import Numbers, Vector
from curate.plugins.batches import ScoreBatch, require
from curate.plugins.interfaces import OutputColumn, scorer
from curate.plugins.language_models import LossRequest, ModelRequest, sum_same_losses


def instruction_following_difficulty(conditional: Numbers, unconditional: Numbers) -> Vector:
    """Compute the ratio of the loss of a response given its prompt to its loss alone.

    Parameters
    ----------
    conditional, unconditional : (n,) floats, means or sums over the same tokens

    Returns
    -------
    (n,) float32; NaN where a loss is NaN or the unconditional loss is 0

    Examples
    --------
    >>> instruction_following_difficulty(np.array([1.0, 2.0, 1.0]), np.array([2.0, 1.0, 0.0])).tolist()
    [0.5, 2.0, nan]
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(unconditional > 0, conditional / unconditional, np.nan)
    difficulty: Vector = ratio.astype(np.float32)
    return difficulty


@scorer(
    version=2,
    reads={"model"},
    columns=(
        OutputColumn(
            higher_is_better=True, unit="ratio of losses", range=(0.0, float("inf")), higher_means="harder to follow"
        ),
        OutputColumn(
            name="aligned", higher_is_better=True, unit="0 or 1", range=(0.0, 1.0), higher_means="the prompt helps"
        ),
    ),
    cost="two passes of the model over each row",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class IFD:
    """Instruction-following difficulty (IFD): loss of the response given the prompt, divided by its loss alone.

    Use it to choose instruction data: among rows whose prompt helps, with a ratio below 1, the highest ratios teach a
    model most. A ratio of 1 or more means that the prompt does not help, so prompt and response do not belong together.
    The column ``aligned`` is 1 below that published cut, and 0 otherwise: drop the rows with
    ``{use: where, drop: "score_ifd_aligned = 0 or score_ifd_aligned is null"}``, and keep the ``top_k`` of the rest.

    Both losses are means over the same tokens, which leave out the first one if the model has no token for the
    beginning of a text, after which it would predict it. A truncated response is truncated for both. NaN without a
    prompt or without such a token. Short responses have noisy ratios.

    References
    ----------
    Li et al. (2024), arXiv:2308.12032.
    """

    model: str | None = None
    """Name of the model entry; the first by default."""

    def requests(self) -> tuple[ModelRequest, ...]:
        return tuple(ModelRequest(LossRequest(with_prompt=shown), self.model) for shown in (True, False))

    def score(self, batch: ScoreBatch, rng: np.random.Generator) -> Vector:  # noqa: ARG002 - interface
        with_prompt, alone = require(batch.outputs)
        conditional, unconditional, tokens = sum_same_losses(with_prompt, alone)
        ratio = instruction_following_difficulty(conditional, unconditional)
        has_prompt = (with_prompt["prompt_tokens"] > alone["prompt_tokens"]) | (tokens < with_prompt["tokens"])
        ratio = np.where(has_prompt & (tokens > 0), ratio, np.float32(np.nan))
        aligned = np.where(np.isnan(ratio), np.float32(np.nan), (ratio < 1).astype(np.float32))
        return np.stack([ratio, aligned], axis=1)

"""Requests to language models, and what they return."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import numpy as np
from annotated_types import Ge, MinLen

if TYPE_CHECKING:
    from curate.kernels.types import AnyArray, Numbers, Rows

Pooling = Literal["last", "mean", "weighted"]
Parameters = Literal["all", "lora"]
Ability = Literal["loss", "hidden", "answers", "gradients"]
"""Kind of request that a model can answer."""


@dataclass(frozen=True, slots=True)
class Turn:
    """Message of a chat."""

    role: str
    """Role of its author, such as "user"."""

    content: str
    """Text of the message."""


@dataclass(frozen=True, slots=True)
class Example:
    """Row as a language model reads it."""

    prompt: tuple[Turn, ...]
    """Messages before the response; empty for a text without a prompt."""

    response: str
    """Text whose probability is measured."""


@dataclass(frozen=True, slots=True)
class Examples:
    """Rows that can be read block by block, any number of times, without loading all of them."""

    sizes: tuple[int, ...]
    """Number of rows in each block."""

    read: Callable[[int], Sequence[Example]]
    """Read the block with that number."""

    def __len__(self) -> int:
        return sum(self.sizes)

    @classmethod
    def from_list(cls, examples: Sequence[Example]) -> Examples:
        """Return examples that read from a list in memory."""
        return cls((len(examples),), lambda _: examples)

    def blocks(self) -> Iterator[Sequence[Example]]:
        """Return a new iterator over the blocks, one in memory at a time."""
        return map(self.read, range(len(self.sizes)))

    def take(self, rows: Sequence[int]) -> list[Example]:
        """Read some rows, in the given order; each block is read at most once."""
        wanted, found, start = set(rows), dict[int, Example](), 0
        for number, size in enumerate(self.sizes):
            here = sorted(row for row in wanted if start <= row < start + size)
            block = self.read(number) if here else ()
            found.update({row: block[row - start] for row in here})
            start += size
        return [found[row] for row in rows]


@dataclass(frozen=True, slots=True, kw_only=True)
class LossRequest:
    """Losses of the tokens of the response, in nats.

    The columns are ``loss`` (n,) float32, the mean over the predicted tokens; ``tokens``, ``prompt_tokens`` (n,) int32,
    the number of predicted tokens and of tokens before them; ``truncated`` (n,) bool; ``quantiles`` (n, 5) float32, of
    the losses of the tokens at 10, 25, 50, 75 and 90 percent; and ``first_loss`` (n,) float32, the loss of the first
    token of the response, NaN if no token is before it. Without a predicted token, losses are NaN.
    """

    with_prompt: bool = True
    """Whether the model reads the prompt; without it, the loss is that of the response alone, which is truncated where
    it is with the prompt."""

    ability: Literal["loss"] = "loss"

    @property
    def name(self) -> str:
        """Name of its folder."""
        return "loss" if self.with_prompt else "loss_without_prompt"

    @property
    def description(self) -> str:
        """Description of the outputs."""
        return f"Losses of the responses {'given their prompts' if self.with_prompt else 'alone'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class HiddenRequest:
    """Hidden states of prompt and response, pooled over the tokens.

    The columns are ``vector`` (n, d) float32, and ``tokens`` (n,) int32 and ``truncated`` (n,) bool.
    """

    pooling: Pooling = "weighted"
    """Pooling: the last token, the mean, or the mean weighted by the position, 1 for the first token."""

    layer: int = -1
    """Layer, counted from the last one, which is -1."""

    ability: Literal["hidden"] = "hidden"

    @property
    def name(self) -> str:
        """Name of its folder."""
        return f"hidden_{self.pooling}" + (f"_{-self.layer}" if self.layer != -1 else "")

    @property
    def description(self) -> str:
        """Description of the outputs."""
        return f"Hidden states of prompts and responses, pooled over the tokens ({self.pooling})"


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerRequest:
    """Probabilities of the first token of some answers to a question about the row.

    The columns are ``log_probabilities`` (n, answers) float32, natural logarithms over the vocabulary, ``tokens`` (n,)
    int32, and ``truncated`` (n,) bool. The question is the message of a user. Without a text for a place of the
    question, the probabilities of a row are NaN.
    """

    label: str
    """Beginning of the name of its folder."""

    question: str
    """Question, with {prompt}, {response} and {text} (both) in place of the parts of the row."""

    answers: Annotated[tuple[str, ...], MinLen(1)]
    """Answers, which must begin with different tokens."""

    ability: Literal["answers"] = "answers"

    @property
    def name(self) -> str:
        """Name of its folder."""
        content = "\0".join((self.question, *self.answers)).encode()
        return f"answers_{self.label}_{hashlib.blake2b(content, digest_size=4).hexdigest()}"

    @property
    def description(self) -> str:
        """Description of the outputs."""
        return f"Probabilities of the answers {', '.join(self.answers)} to a question about each row"


@dataclass(frozen=True, slots=True, kw_only=True)
class GradientRequest:
    """Gradient of the mean loss of the response with respect to the parameters, projected at random.

    The columns are ``vector`` (n, dimension) float32, ``loss`` (n,) float32, ``tokens`` (n,) int32 and ``truncated``
    (n,) bool. Without a predicted token, vectors and losses are NaN.
    """

    dimension: Annotated[int, Ge(1)] = 4096
    """Number of dimensions of the projection."""

    parameters: Parameters = "all"
    """Parameters: all of them, or those of low-rank adapters of the linear layers."""

    rank: Annotated[int, Ge(1)] = 8
    """Rank of the adapters."""

    adam: bool = False
    """Whether the gradient is replaced by the direction of a step of Adam, with the saved moments of the checkpoint."""

    seed: Annotated[int, Ge(0)] = 0
    """Seed of the projection and of the adapters."""

    ability: Literal["gradients"] = "gradients"

    @property
    def name(self) -> str:
        """Name of its folder."""
        adapters = f"_lora{self.rank}" if self.parameters == "lora" else ""
        return f"gradients_{self.dimension}{adapters}{'_adam' * self.adam}_{self.seed}"

    @property
    def description(self) -> str:
        """Description of the outputs."""
        kind = "Directions of Adam" if self.adam else "Gradients"
        parameters = "all parameters" if self.parameters == "all" else f"adapters of rank {self.rank}"
        return f"{kind} of the losses of the responses ({parameters}), projected to {self.dimension:,} dimensions"


Request: TypeAlias = LossRequest | HiddenRequest | AnswerRequest | GradientRequest
Outputs: TypeAlias = "Mapping[str, AnyArray]"
"""Columns of the outputs of n rows, by name."""


def take_rows(outputs: Outputs, rows: Rows) -> Outputs:
    """Return the outputs of some rows."""
    return {name: values[rows] for name, values in outputs.items()}


def sum_same_losses(with_prompt: Outputs, alone: Outputs) -> tuple[Numbers, Numbers, Numbers]:
    """Sum the losses of the tokens of each response that are predicted both with and without the prompt.

    The first token of a response alone is predicted only by models with a token for the beginning of a text.

    Parameters
    ----------
    with_prompt, alone : outputs of both kinds of ``LossRequest``, n rows

    Returns
    -------
    (n,) float64 sum with the prompt, (n,) float64 sum without it, and (n,) number of tokens
    """
    both = [outputs["loss"].astype(np.float64) * outputs["tokens"] for outputs in (with_prompt, alone)]
    extra = np.isnan(alone["first_loss"]) & ~np.isnan(with_prompt["first_loss"])
    shared = both[0] - np.where(extra, with_prompt["first_loss"], 0)
    return shared, both[1], with_prompt["tokens"] - extra


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """Request of a plugin to one of the models of the configuration."""

    request: Request
    """Outputs that the plugin reads."""

    model: str | None = None
    """Name of the model entry; the first by default."""

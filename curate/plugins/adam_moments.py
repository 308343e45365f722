"""Moments of Adam, as the Trainer of the transformers library saves them in a checkpoint."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from curate.errors import PluginError
from curate.paths import hash_content

if TYPE_CHECKING:
    import torch
    from torch.nn import Module

    Tensor: TypeAlias = torch.Tensor

FILES = ("optimizer.pt", "optimizer.bin")
"""Names that the optimizer's state has in a checkpoint."""

_WITHOUT_DECAY = re.compile(r"bias|layernorm|rmsnorm|(?:^|\.)norm(?:$|\.)|_norm(?:$|\.)")
"""Names of the parameters that the Trainer puts into its second group, without weight decay."""


@dataclass(frozen=True, slots=True)
class AdamMoments:
    """Saved moments of a parameter, and the settings of its optimizer."""

    first: Tensor
    """Mean of the gradients, m, in the shape of the parameter."""

    second: Tensor
    """Mean of their squares, v."""

    betas: tuple[float, float]
    """Weights of the previous means."""

    epsilon: float

    def direction(self, gradient: Tensor) -> Tensor:
        """Return the direction of the step that Adam would take with a gradient, from the saved moments.

        It is (β₁ m + (1 − β₁) g) / √(β₂ v + (1 − β₂) g² + ε), without the correction of the bias of the first steps.

        References
        ----------
        Xia et al. (2024), LESS, arXiv:2402.04333, section 3.1, and their code for the place of ε.
        """
        first, second = (moment.to(gradient.device, gradient.dtype) for moment in (self.first, self.second))
        b1, b2 = self.betas
        scale = second.mul(b2).addcmul_(gradient, gradient, value=1 - b2).add_(self.epsilon).sqrt_()
        return gradient.mul(1 - b1).add_(first, alpha=b1).div_(scale)


def read_moments(model: str, network: Module) -> Mapping[str, AdamMoments]:
    """Read the moments of the parameters of a checkpoint, by their names.

    The optimizer numbers the trained parameters in the order of the model, either all of them, or, as the Trainer does,
    first those with weight decay. Both the number and the shapes of the parameters must fit.

    Parameters
    ----------
    model : str
        Path of the checkpoint, a directory with a file ``optimizer.pt``.
    network : torch.nn.Module
        The model of the checkpoint.

    Returns
    -------
    mapping
        Moments of each trained parameter; untrained ones are missing.

    Raises
    ------
    PluginError
        There is no state of an optimizer, or it does not fit the model.
    """
    path = find_state(model)
    parameters = {name: tuple(parameter.shape) for name, parameter in network.named_parameters()}
    return _read(str(path), hash_content(path), tuple(parameters.items()), _norms(network))


def find_state(model: str) -> Path:
    """Return the path of the optimizer's state in a checkpoint.

    Raises
    ------
    PluginError
        There is none.
    """
    folder = Path(model).expanduser()
    for name in FILES:
        if (folder / name).is_file():
            return folder / name
    message = f"the model {model!r} has no file {FILES[0]} with the moments of Adam"
    raise PluginError(message, hint="use a checkpoint that the Trainer saved with its optimizer, or set adam: false")


@lru_cache(maxsize=2)
def _read(
    path: str,
    content_hash: str,  # noqa: ARG001 - cache key
    parameters: tuple[tuple[str, tuple[int, ...]], ...],
    norms: frozenset[str],
) -> Mapping[str, AdamMoments]:
    import torch

    try:
        saved = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        groups, state = saved["param_groups"], saved["state"]
        numbers = [number for group in groups for number in group["params"]]
        first = [state[number]["exp_avg"] for number in numbers]
        second = [state[number]["exp_avg_sq"] for number in numbers]
        settings = [(group["betas"], group["eps"]) for group in groups for _ in group["params"]]
    except Exception as error:  # a pickle of anything
        reason = f"{type(error).__name__}: {error}"
        hint = "it must be the state of torch.optim.Adam or AdamW, saved with torch.save"
        raise PluginError(f"cannot read the moments of Adam: {reason[:200]}", where=path, hint=hint) from error
    shapes = [tuple(moment.shape) for moment in first]
    sizes = [len(group["params"]) for group in groups]
    names = next((names for names in _orders(parameters, norms, sizes) if _fits(names, parameters, shapes)), None)
    if names is None:
        message = (
            f"the moments of Adam are of {len(shapes)} parameters in groups of {sizes}, which are not those of the "
            f"model with {len(parameters)} parameters"
        )
        hint = "the Trainer must have trained the same model, and all of its parameters or all adapters"
        raise PluginError(message, where=path, hint=hint)
    return {
        name: AdamMoments(m, v, (float(betas[0]), float(betas[1])), float(epsilon))
        for name, m, v, (betas, epsilon) in zip(names, first, second, settings, strict=True)
    }


def _orders(
    parameters: Sequence[tuple[str, tuple[int, ...]]], norms: frozenset[str], sizes: Sequence[int]
) -> Iterator[list[str]]:
    """Yield possible orders of the trained parameters in the optimizer."""
    every = [name for name, _ in parameters]
    adapters = [name for name in every if is_adapter(name)]
    for trained in (every, adapters):
        rest = [name for name in trained if name in norms or _WITHOUT_DECAY.search(name.lower())]
        decayed = [name for name in trained if name not in set(rest)]
        if sizes in ([len(decayed), len(rest)], [len(decayed)] if not rest else []):
            yield [*decayed, *rest]
        if sizes == [len(trained)]:
            yield trained


def _fits(
    names: Sequence[str], parameters: Sequence[tuple[str, tuple[int, ...]]], shapes: Sequence[tuple[int, ...]]
) -> bool:
    shape_of = dict(parameters)
    return [shape_of[name] for name in names] == list(shapes)


def _norms(network: Module) -> frozenset[str]:
    """Return the names of the parameters of layers that the Trainer never decays."""
    import torch

    return frozenset(
        f"{name}.{own}"
        for name, module in network.named_modules()
        if isinstance(module, torch.nn.LayerNorm)
        for own, _ in module.named_parameters(recurse=False)
    )


def is_adapter(name: str) -> bool:
    """Return whether a module or parameter belongs to a low-rank adapter, as the library peft names them."""
    return any(part.startswith("lora_") for part in name.split("."))

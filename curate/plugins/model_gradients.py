"""Gradients of a causal language model for each row, projected at random to a few thousand dimensions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from curate.errors import PluginError
from curate.kernels.types import Advance, Matrix, Rows, Vector
from curate.plugins.adam_moments import AdamMoments, is_adapter, read_moments
from curate.plugins.causal_models import (
    Encoded,
    LoadedModel,
    compute_last_logits,
    encode_examples,
    run_batches,
    to_batch,
)
from curate.plugins.language_models import Example, GradientRequest, Outputs, Parameters
from curate.seeds import rng_for

if TYPE_CHECKING:
    import torch
    from torch.nn import Module
    from transformers import PreTrainedModel

    Tensor: TypeAlias = torch.Tensor


# ---------------------------------------------------------------- the projection


@dataclass(frozen=True)
class Projection:
    """Random signs for both sides of each gradient matrix; the projected matrices are added.

    The gradient G of a weight, (out, in), becomes the first D entries of U G Vᵀ / √D, where U (a, out) and V (b, in)
    have independent entries −1 and 1, and a b ≥ D. The results of all weights are added.

    Notes
    -----
    The inner product of two projected gradients is that of the gradients, in expectation over the signs. With gradients
    G_l and H_l of the weights l, its variance is at most the sum of two parts, with Frobenius norms:

    - between weights, (‖G‖² ‖H‖² + ⟨G, H⟩²) / D, as for a dense matrix with D signs for each parameter;
    - within them, Σ_l 2 ‖G_l H_lᵀ‖² b / D + 2 ‖G_lᵀ H_l‖² a / D + 9 ‖G_l‖² ‖H_l‖² / D.

    A single weight has a larger variance than with a dense matrix, by up to about √D; it is averaged over the weights.
    With a model of 135 M parameters, the errors of the cosines of real rows were 1.5 times those of a dense matrix, for
    D = 4096 a standard deviation of 0.024.

    References
    ----------
    Choe et al. (2024), LoGra, arXiv:2405.13954, for the projection from both sides; Park et al. (2023), TRAK,
    arXiv:2303.14186, for the inner products.
    """

    dimension: int
    seed: int

    @property
    def sides(self) -> tuple[int, int]:
        """Rows of the matrices of signs: a for outputs, b for inputs."""
        b = math.isqrt(self.dimension - 1) + 1
        return -(-self.dimension // b), b

    def signs(self, name: str, rows: int, width: int, device: str = "cpu") -> Tensor:
        """Return a matrix (rows, width) of −1 and 1, determined by the seed and the name."""
        return _signs(self.seed, name, rows, width, device)

    def finish(self, total: Tensor) -> Tensor:
        """Return projected gradients (n, D) of the sums (n, a, b) of U G Vᵀ."""
        return total.flatten(1)[:, : self.dimension] / math.sqrt(self.dimension)


@lru_cache(maxsize=4096)
def _signs(seed: int, name: str, rows: int, width: int, device: str) -> Tensor:
    import torch

    count = rows * width
    bits = np.unpackbits(np.frombuffer(rng_for(seed, name).bytes(-(-count // 8)), np.uint8), count=count)
    return torch.from_numpy(bits.astype(np.float32) * 2 - 1).reshape(rows, width).to(device)


# ---------------------------------------------------------------- the weights


@dataclass(frozen=True, slots=True)
class Weight:
    """Weight matrix of a module, whose gradient is projected."""

    module: str
    """Name of the module."""

    name: str
    """Name of the parameter; modules that share a parameter have the same."""

    bias: str | None
    """Name of the bias; None without one."""

    shape: tuple[int, int]
    """Number of outputs, or of tokens for an embedding, and number of inputs."""

    kind: Literal["linear", "transposed", "embedding"]
    """Kind of the module; ``transposed`` weights have the shape (in, out)."""

    def left(self, projection: Projection, device: str) -> Tensor:
        """Return the signs of the outputs."""
        return projection.signs(f"outputs of {self.name}", projection.sides[0], self.shape[0], device)

    def right(self, projection: Projection, device: str) -> Tensor:
        """Return the signs of the inputs."""
        return projection.signs(f"inputs of {self.name}", projection.sides[1], self.shape[1], device)

    def right_of_bias(self, projection: Projection, device: str) -> Tensor | None:
        """Return the signs (1, b) of the constant input of the bias; None without a bias."""
        if self.bias is None:
            return None
        return projection.signs(f"inputs of {self.bias}", projection.sides[1], 1, device).T


def find_weights(network: PreTrainedModel, parameters: Parameters, name: str) -> list[Weight]:
    """Return the weights whose gradients are computed.

    Parameters
    ----------
    network : torch.nn.Module
        Model.
    parameters : {"all", "lora"}
        All weights and biases of linear layers and embeddings, or those of low-rank adapters: the model's own, or fresh
        ones of its linear layers but the last.
    name : str
        Name of the model, for errors.

    Raises
    ------
    PluginError
        A matrix of the model is in no linear layer and no embedding.
    """
    import torch
    from transformers.pytorch_utils import Conv1D

    names: dict[int, str] = {id(parameter): parameter_name for parameter_name, parameter in network.named_parameters()}
    last = network.get_output_embeddings()
    found = []
    for module_name, module in network.named_modules():
        kind: Literal["linear", "transposed", "embedding"]
        if isinstance(module, torch.nn.Linear):
            kind, shape = "linear", tuple(module.weight.shape)
        elif isinstance(module, Conv1D):
            kind, shape = "transposed", tuple(module.weight.shape)[::-1]
        elif isinstance(module, torch.nn.Embedding):
            kind, shape = "embedding", tuple(module.weight.shape)
        else:
            continue
        if parameters == "lora" and (kind == "embedding" or module is last):
            continue
        bias = getattr(module, "bias", None)
        bias_name = None if bias is None else names[id(bias)]
        found.append(Weight(module_name, names[id(module.weight)], bias_name, (shape[0], shape[1]), kind))
    if parameters == "lora":
        return [weight for weight in found if is_adapter(weight.module)] or found
    covered = {weight.name for weight in found}
    for parameter_name, parameter in network.named_parameters():
        if parameter.dim() > 1 and parameter_name not in covered:
            message = f"the parameter {parameter_name} of {name!r} is in no linear layer and no embedding"
            raise PluginError(message, hint="gradients of such a model are not supported; use another model")
    return found


# ---------------------------------------------------------------- the gradients


def project_gradients(
    loaded: LoadedModel, examples: Sequence[Example], request: GradientRequest, advance: Advance
) -> Outputs:
    """Compute the projected gradient of the mean loss of each response; see ``GradientRequest``.

    Parameters
    ----------
    loaded : LoadedModel
        Model.
    examples : sequence of Example
        Rows, n in total.
    request : GradientRequest
        Parameters and projection.
    advance : callable
        Receives the number of finished rows.

    Returns
    -------
    mapping
        ``vector`` (n, dimension) float32, not normalized; ``loss`` (n,) float32; ``tokens`` (n,) int32; ``truncated``
        (n,) bool. Vectors and losses are NaN for rows without a predicted token.

    Raises
    ------
    PluginError
        The layers of the model are not supported, or ``adam`` is set and the model has no moments that fit.

    Notes
    -----
    Parameters: with "all", weights and biases of linear layers and embeddings. A matrix that is both the embedding and
    the last layer has the sum of both gradients. Parameters of norms are left out, less than 0.1 percent of a model.
    With "lora", the adapters of the model, or, if it has none, fresh ones of all linear layers but the last: there
    B = 0, so the gradient of A is 0 and that of B is Σ_t δ_t (A x_t)ᵀ, where A is uniform in ±1/√in as in the library
    peft, and constant factors are left out.

    Cost: without Adam, a forward pass and a backward pass with respect to the activations of a batch of rows. With the
    inputs x_t of a layer and the gradients δ_t at its outputs, the projection U (Σ_t δ_t x_tᵀ) Vᵀ is the sum of
    (U δ_t)(V x_t)ᵀ, so no gradient of a weight is ever formed. With Adam, whose direction is not linear in the
    gradient, each row needs a backward pass with respect to all weights, and memory for their gradients. Memory for the
    logits of a batch: about 20 bytes for each token of the vocabulary and of the responses, in each thread.

    References
    ----------
    Xia et al. (2024), LESS, arXiv:2402.04333; Choe et al. (2024), LoGra, arXiv:2405.13954.

    See Also
    --------
    Projection : The projection, its expectation and its variance.
    """
    rows = encode_examples(loaded, examples)
    weights = find_weights(loaded.network, request.parameters, loaded.name)
    projection = Projection(request.dimension, request.seed)
    vectors = np.full((len(rows), request.dimension), np.nan, np.float32)
    loss = np.full(len(rows), np.nan, np.float32)
    moments = None
    if request.adam:
        if request.parameters == "lora" and not is_adapter(weights[0].module):
            message = f"the model {loaded.name!r} has no adapters, and fresh ones have no moments of Adam"
            raise PluginError(message, hint="use a checkpoint of adapters, or set parameters: all or adam: false")
        moments = _require_moments(read_moments(loaded.name, loaded.network), weights, loaded.name)

    def run(model: LoadedModel, part: Rows) -> None:
        batch = [rows[row] for row in part.tolist()]
        if moments is None:
            vectors[part], loss[part] = _project_batch(model, batch, weights, projection, _adapter_rank(request))
            return
        for row, encoded in zip(part.tolist(), batch, strict=True):
            vectors[row], loss[row] = _project_row(model, encoded, weights, projection, moments)

    run_batches(loaded, [len(row.ids) if row.predicted > 0 else 0 for row in rows], run, advance)
    return {
        "vector": vectors,
        "loss": loss,
        "tokens": np.array([max(0, row.predicted) for row in rows], np.int32),
        "truncated": np.array([row.truncated for row in rows], np.bool_),
    }


def _adapter_rank(request: GradientRequest) -> int | None:
    return request.rank if request.parameters == "lora" else None


def _require_moments(
    moments: Mapping[str, AdamMoments], weights: Sequence[Weight], name: str
) -> Mapping[str, AdamMoments]:
    """Return the moments, which must have those of all weights."""
    needed = [parameter for weight in weights for parameter in (weight.name, weight.bias) if parameter is not None]
    if missing := [parameter for parameter in needed if parameter not in moments]:
        message = f"the checkpoint {name!r} has no moments of Adam for {missing[0]} and {len(missing) - 1} others"
        raise PluginError(message, hint="set parameters: lora for a checkpoint of adapters, and otherwise all")
    return moments


def _project_batch(
    model: LoadedModel,
    batch: Sequence[Encoded],
    weights: Sequence[Weight],
    projection: Projection,
    rank: int | None,
) -> tuple[Matrix, Vector]:
    """Return projected gradients (n, D) and losses (n,) of rows, from inputs and gradients of the layers."""
    import torch

    total = torch.zeros((len(batch), *projection.sides), device=model.device)
    with torch.enable_grad(), _watch_layers(model.network, weights, projection, rank, total):
        losses = mean_losses(model, batch)
        torch.autograd.backward(losses.sum())
    return projection.finish(total).cpu().numpy(), losses.detach().cpu().numpy()


def mean_losses(model: LoadedModel, batch: Sequence[Encoded], call: Callable[..., Any] | None = None) -> Tensor:
    """Return the mean loss of the response of each row, (n,) float32; ``call`` replaces the call of the network."""
    import torch

    inputs = to_batch(model, batch)
    ids = inputs["input_ids"]
    count = max(row.predicted for row in batch)
    logits = compute_last_logits(model, inputs, count + 1, call)[:, :-1]
    lengths = torch.tensor([row.predicted for row in batch], device=ids.device)
    is_predicted = torch.arange(count, device=ids.device) >= count - lengths[:, None]
    targets = ids[:, -count:].masked_fill(~is_predicted, -100)
    losses = torch.nn.functional.cross_entropy(logits.float().transpose(1, 2), targets, reduction="none")
    return losses.sum(1) / lengths


@contextmanager
def _watch_layers(
    network: PreTrainedModel, weights: Sequence[Weight], projection: Projection, rank: int | None, total: Tensor
) -> Iterator[None]:
    """Add projected gradients of each row to ``total`` (n, a, b) in the backward pass within the context."""
    modules = dict(network.named_modules())
    first = network.get_input_embeddings()
    is_fresh = rank is not None and not is_adapter(weights[0].module)
    handles = [first.register_forward_hook(lambda _module, _inputs, output: output.requires_grad_())]
    for weight in weights:
        hook = _layer_hook(weight, projection, rank if is_fresh else None, total)
        handles.append(modules[weight.module].register_forward_hook(hook))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _layer_hook(
    weight: Weight, projection: Projection, rank: int | None, total: Tensor
) -> Callable[[Module, tuple[Tensor, ...], Tensor], None]:
    """Return a hook of a module, which adds its projected gradient when that of its output is known."""
    import torch

    device = str(total.device)
    left = weight.left(projection, device)
    right = weight.right(projection, device) if rank is None else _adapter_signs(weight, projection, rank, device)
    constant = weight.right_of_bias(projection, device) if rank is None else None

    def watch(_module: Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if weight.kind == "embedding":
            output.requires_grad_()  # so that autograd reaches it without gradients of weights
        if not output.requires_grad:
            return
        given = inputs[0].detach()
        if len(given) != len(total) or output.dim() != 3:
            message = f"the layer {weight.module} reads the tokens of several rows at once"
            raise PluginError(message, hint="gradients of such a model (a mixture of experts) are not supported")
        if weight.kind == "embedding":
            selected = left[:, given.flatten()].T.reshape(*given.shape, -1)

            def add(gradient: Tensor) -> None:
                total.baddbmm_(selected.transpose(1, 2), gradient.float() @ right.T)
        else:
            projected = given.float() @ right.T
            if constant is not None:
                projected += constant

            def add(gradient: Tensor) -> None:
                total.baddbmm_((gradient.float() @ left.T).transpose(1, 2), projected)

        output.register_hook(torch.no_grad()(add))  # type: ignore[no-untyped-call]

    return watch


def _adapter_signs(weight: Weight, projection: Projection, rank: int, device: str) -> Tensor:
    """Return the signs of the inputs of B times A, (b, in), for a fresh adapter."""
    signs = projection.signs(f"inputs of adapter of {weight.name}", projection.sides[1], rank, device)
    return signs @ fresh_adapter(weight, projection.seed, rank).to(device)


def fresh_adapter(weight: Weight, seed: int, rank: int) -> Tensor:
    """Return the matrix A of a new adapter, (rank, in) float32, uniform in ±1/√in."""
    import torch

    limit = 1 / math.sqrt(weight.shape[1])
    values = rng_for(seed, f"adapter of {weight.name}").uniform(-limit, limit, (rank, weight.shape[1]))
    return torch.from_numpy(values.astype(np.float32))


def _project_row(
    model: LoadedModel,
    row: Encoded,
    weights: Sequence[Weight],
    projection: Projection,
    moments: Mapping[str, AdamMoments],
) -> tuple[Vector, float]:
    """Return the projected direction of Adam (D,) and the loss of a row, from the gradients of all weights."""
    import torch

    device = str(model.device)
    named = dict(model.network.named_parameters())
    names = sorted({name for weight in weights for name in (weight.name, weight.bias) if name is not None})
    values = {name: named[name].detach().requires_grad_() for name in names}

    def call(**inputs: Tensor) -> Any:
        return torch.func.functional_call(model.network, values, kwargs=inputs)

    with torch.enable_grad():
        loss = mean_losses(model, [row], call)[0]
        found = torch.autograd.grad(loss, [values[name] for name in names], allow_unused=True)
    gradients = dict(zip(names, found, strict=True))
    del found
    total = torch.zeros(projection.sides, device=device)
    for weight in {weight.name: weight for weight in weights}.values():
        for name in (weight.name, weight.bias):
            gradient = None if name is None else gradients.pop(name)
            if name is None or gradient is None:
                continue
            direction = moments[name].direction(gradient.float())
            if name == weight.bias:
                constant = weight.right_of_bias(projection, device)
                if constant is not None:
                    total += torch.outer(weight.left(projection, device) @ direction, constant[0])
                continue
            direction = direction.T if weight.kind == "transposed" else direction
            total += weight.left(projection, device) @ direction @ weight.right(projection, device).T
    return projection.finish(total[None])[0].cpu().numpy(), float(loss.detach())

"""Projected gradients of a language model, next to a plain backward pass over the same batches.

    python benchmarks/language_model_gradients.py MODEL [--rows 32] [--tokens 256] [--dimension 4096]

MODEL is a directory with a causal language model. All rows have the same number of tokens, drawn uniformly from the
vocabulary. The plain backward pass computes the gradients of all weights for the sum of the losses of a batch, with the
same batches and threads. Times are the best of several rounds, in which the variants alternate.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from curate.plugins.adam_moments import AdamMoments
from curate.plugins.causal_models import Encoded, LoadedModel, run_batches
from curate.plugins.language_models import GradientRequest
from curate.plugins.model_gradients import Projection, _project_batch, _project_row, find_weights, mean_losses
from curate.plugins.models.causal_lm import CausalLM


def plain_backward(loaded: LoadedModel, rows: list[Encoded]) -> None:
    """Compute the gradients of all weights for each batch."""

    def run(model: LoadedModel, part: np.ndarray) -> None:
        values = {name: one.detach().requires_grad_() for name, one in model.network.named_parameters()}

        def call(**inputs: torch.Tensor) -> object:
            return torch.func.functional_call(model.network, values, kwargs=inputs)

        with torch.enable_grad():
            losses = mean_losses(model, [rows[row] for row in part.tolist()], call)
            torch.autograd.grad(losses.sum(), list(values.values()))

    run_batches(loaded, [len(row.ids) for row in rows], run, lambda _: None)


def projected(loaded: LoadedModel, rows: list[Encoded], request: GradientRequest) -> None:
    """Compute projected gradients of all rows."""
    weights = find_weights(loaded.network, request.parameters, loaded.name)
    projection, rank = Projection(request.dimension, request.seed), 8 if request.parameters == "lora" else None

    def run(model: LoadedModel, part: np.ndarray) -> None:
        _project_batch(model, [rows[row] for row in part.tolist()], weights, projection, rank)

    run_batches(loaded, [len(row.ids) for row in rows], run, lambda _: None)


def projected_adam(loaded: LoadedModel, rows: list[Encoded], request: GradientRequest) -> None:
    """Compute projected directions of Adam of all rows, from moments that are 0 and 1."""
    weights = find_weights(loaded.network, request.parameters, loaded.name)
    projection = Projection(request.dimension, request.seed)
    moments = {
        name: AdamMoments(torch.zeros_like(one), torch.ones_like(one), (0.9, 0.999), 1e-8)
        for name, one in loaded.network.named_parameters()
    }

    def run(model: LoadedModel, part: np.ndarray) -> None:
        for row in part.tolist():
            _project_row(model, rows[row], weights, projection, moments)

    run_batches(loaded, [len(row.ids) for row in rows], run, lambda _: None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--dimension", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dtype", default="float32")
    arguments = parser.parse_args()
    loaded = replace(CausalLM(model=arguments.model, dtype=arguments.dtype).load(), batch_tokens=1024)
    rng = np.random.default_rng(0)
    ids = rng.integers(0, loaded.vocabulary, (arguments.rows, arguments.tokens)).tolist()
    rows = [Encoded(tuple(row), 0, truncated=False) for row in ids]
    everything = GradientRequest(dimension=arguments.dimension)
    variants: dict[str, Callable[[], None]] = {
        "plain backward pass": lambda: plain_backward(loaded, rows),
        "projected, all": lambda: projected(loaded, rows, everything),
        "projected, all, Adam": lambda: projected_adam(loaded, rows, everything),
        "projected, lora": lambda: projected(loaded, rows, replace(everything, parameters="lora")),
    }
    best = dict.fromkeys(variants, float("inf"))
    for _ in range(arguments.rounds):
        for name, run in variants.items():
            started = time.perf_counter()
            run()
            best[name] = min(best[name], time.perf_counter() - started)
    for name, seconds in best.items():
        ratio = best["plain backward pass"] / seconds
        print(f"{name:22s} {arguments.rows / seconds:7.2f} rows/s   {ratio:5.2f} x the plain backward pass")


if __name__ == "__main__":
    main()

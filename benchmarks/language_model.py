"""Measure a causal language model against the usual loop; prints a JSON line for each.

    python benchmarks/language_model.py MODEL [--rows 1000] [--tokens 256] [--repeats 2] [--only loop loss ...]

MODEL is a directory or a .gguf file. Rows have between half and one and a half times ``--tokens`` tokens, half of which
are a prompt. ``loop`` is the usual loop: transformers in float32, batches of 8 rows in the order of the pool, padded to
the longest, with logits at all positions. Figures are the best of the repeats, which alternate. ``difference`` is the
largest difference of a loss from that of the loop; the mean follows.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModelForCausalLM, AutoTokenizer

from curate.kernels.parallel import thread_count
from curate.plugins.causal_models import Encoded, LoadedModel, ModelSource, pool_hidden_states
from curate.plugins.models.causal_lm import CausalLM, measure_losses

BATCH = 8


def draw_rows(loaded: LoadedModel, rows: int, tokens: int) -> list[Encoded]:
    """Return rows of random tokens."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(tokens // 2, tokens + tokens // 2 + 1, rows)
    ids = [rng.integers(3, len(loaded.tokenizer) - 1, length) for length in lengths]
    return [Encoded(tuple(one.tolist()), len(one) // 2, truncated=False) for one in ids]


def usual_loop(network: torch.nn.Module, rows: list[Encoded]) -> NDArray[np.float32]:
    """Return the losses of the responses, as most scripts compute them."""
    losses = []
    for start in range(0, len(rows), BATCH):
        batch = rows[start : start + BATCH]
        longest = max(len(row.ids) for row in batch)
        ids = torch.zeros((len(batch), longest), dtype=torch.long)
        mask, labels = torch.zeros_like(ids), torch.full_like(ids, -100)
        for number, row in enumerate(batch):
            ids[number, : len(row.ids)] = torch.tensor(row.ids)
            mask[number, : len(row.ids)] = 1
            labels[number, row.first : len(row.ids)] = ids[number, row.first : len(row.ids)]
        with torch.no_grad():
            logits = network(input_ids=ids, attention_mask=mask).logits
        shifted = torch.nn.functional.cross_entropy(
            logits[:, :-1].transpose(1, 2), labels[:, 1:], reduction="none", ignore_index=-100
        )
        losses.append((shifted.sum(1) / (labels[:, 1:] >= 0).sum(1)).numpy())
    return np.concatenate(losses)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--rows", type=int, default=1_000)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--only", nargs="+", default=["loop", "float32", "auto", "hidden"])
    options = parser.parse_args()
    torch.set_num_threads(thread_count())
    source, arguments = ModelSource(options.model).load_arguments()
    network = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32, **arguments).eval()
    AutoTokenizer.from_pretrained(source, **arguments)
    models = {name: CausalLM(model=options.model, dtype=name).load() for name in ("float32", "auto")}
    rows = draw_rows(models["auto"], options.rows, options.tokens)
    tokens = sum(len(row.ids) for row in rows)

    def ignore(_: float) -> None:
        pass

    runs: dict[str, Callable[[], NDArray[np.float32]]] = {
        "loop": lambda: usual_loop(network, rows),
        "float32": lambda: measure_losses(models["float32"], rows, ignore)["loss"],
        "auto": lambda: measure_losses(models["auto"], rows, ignore)["loss"],
        "hidden": lambda: pool_hidden_states(models["auto"], rows, "weighted", -1, ignore)["vector"],
    }
    seconds: dict[str, float] = {}
    results: dict[str, NDArray[np.float32]] = {}
    for _ in range(options.repeats):
        for name in options.only:
            torch.set_num_threads(thread_count())
            begun = time.perf_counter()
            results[name] = runs[name]()
            seconds[name] = min(time.perf_counter() - begun, seconds.get(name, float("inf")))
    facts = {"rows": options.rows, "tokens": tokens, "threads": thread_count(), "torch": torch.__version__}
    facts["blas"] = os.environ.get("OPENBLAS_CORETYPE", "default")
    for name in options.only:
        line = {
            "measured": name,
            "dtype": str(models["auto"].network.dtype) if name in ("auto", "hidden") else "float32",
        }
        line |= {"rows_per_second": round(options.rows / seconds[name], 2), "seconds": round(seconds[name], 1)}
        if "loop" in seconds:
            line["ratio"] = round(seconds["loop"] / seconds[name], 2)
        if name in ("float32", "auto") and "loop" in results:
            apart = np.abs(results[name] - results["loop"])
            line["difference"] = [round(float(apart.max()), 4), round(float(apart.mean()), 5)]
        print(json.dumps({**line, **facts}), flush=True)


if __name__ == "__main__":
    main()

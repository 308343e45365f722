"""Tiny causal language model that is built on disk, with one token per byte."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

INSTALLED = all(importlib.util.find_spec(name) is not None for name in ("torch", "transformers", "tokenizers"))
needs_transformers = pytest.mark.skipif(not INSTALLED, reason="transformers is not installed")

TEMPLATE = (
    "{% for message in messages %}{% if message['role'] == 'wizard' %}{{ raise_exception('no wizards') }}{% endif %}"
    "<{{ message['role'] }}>{{ message['content'] }}</>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def save(
    folder: Path,
    *,
    template: str | None = TEMPLATE,
    bos: bool = False,
    context: int = 64,
    seed: int = 0,
    extra: int = 0,
) -> Path:
    """Save a model with seeded random weights and its tokenizer; ``extra`` tokens have no embedding."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=257,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=context,
        initializer_range=0.3,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    save_tokenizer(folder, template=template, bos=bos, extra=extra)
    return folder


def save_tokenizer(folder: Path, *, template: str | None = None, bos: bool = False, extra: int = 0) -> None:
    """Save a tokenizer with one token per byte, and one for the beginning of a text if ``bos`` is set."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: number for number, letter in enumerate(letters)} | {"<s>": 256}
    vocabulary |= {f"<extra{number}>": 257 + number for number in range(extra)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    if bos:
        tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 256)])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>")
    fast.chat_template = template
    fast.save_pretrained(folder)


def save_encoder(folder: Path, *, context: int = 32) -> Path:
    """Save an encoder with seeded random weights and its tokenizer."""
    import torch
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    BertModel(BertConfig(vocab_size=257, max_position_embeddings=context, **sizes)).save_pretrained(folder)
    save_tokenizer(folder, bos=True)
    return folder

"""A CLIP model of a few thousand random weights, built on disk."""

from __future__ import annotations

import json
from pathlib import Path

SIZES = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}


def build(folder: Path) -> Path:
    """Build the model in a folder, and return the directory that sentence-transformers loads."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Transformer
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor, CLIPTokenizerFast

    letters = [chr(code) for code in range(33, 127)]
    vocabulary = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    parts = folder / "parts"
    parts.mkdir(parents=True)
    (parts / "vocab.json").write_text(json.dumps({token: number for number, token in enumerate(vocabulary)}))
    (parts / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizerFast(str(parts / "vocab.json"), str(parts / "merges.txt"), model_max_length=20)
    ids = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    config = CLIPConfig(
        text_config={**SIZES, **ids, "vocab_size": len(vocabulary), "max_position_embeddings": 20},
        vision_config={**SIZES, "image_size": 32, "patch_size": 8},
        projection_dim=12,
    )
    torch.manual_seed(0)
    CLIPModel(config).save_pretrained(parts)
    images = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    CLIPProcessor(images, tokenizer).save_pretrained(parts)
    SentenceTransformer(modules=[Transformer(str(parts))]).save_pretrained(str(folder / "clip"))
    return folder / "clip"

"""Hidden states of a tiny encoder, compared with one row at a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from curate.errors import PluginError
from curate.plugins.language_models import Example, HiddenRequest, LossRequest, Turn
from curate.plugins.models.encoder import Encoder
from tests.tiny_language_model import needs_transformers, save_encoder, save_tokenizer

pytestmark = [pytest.mark.slow, needs_transformers, pytest.mark.xdist_group("configs")]

EXAMPLES = [
    Example((Turn("user", "p"),), "a text"),
    Example((), "another, longer text"),
    Example((), " "),
    Example((), "w " * 40),
]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_encoder(tmp_path_factory.mktemp("bert"))


@pytest.mark.parametrize("pooling", ["last", "mean", "weighted"])
@pytest.mark.parametrize("batch_tokens", [1, 1000])
def test_hidden_states_are_those_of_each_row_alone(tiny, pooling, batch_tokens):
    import torch

    model = Encoder(model=str(tiny), dtype="float32", batch_tokens=batch_tokens)
    outputs = model.run(EXAMPLES, HiddenRequest(pooling=pooling), lambda _: None)
    loaded = model.load()
    for number, text in enumerate(["p\na text", "another, longer text", "", "w " * 40]):
        if not text:
            assert np.isnan(outputs["vector"][number]).all()
            continue
        ids = loaded.tokenizer(text, truncation=True, max_length=32, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            states = loaded.network(input_ids=ids).last_hidden_state[0].numpy()
        weights = {"last": np.arange(len(states)) == len(states) - 1, "mean": np.ones(len(states))}
        weights["weighted"] = np.arange(1, len(states) + 1)
        expected = np.average(states, axis=0, weights=weights[pooling])
        np.testing.assert_allclose(outputs["vector"][number], expected, atol=1e-5)
    assert outputs["truncated"].tolist() == [False, False, False, True]


def test_an_encoder_has_no_losses(tiny):
    with pytest.raises(PluginError, match="an encoder computes no loss; use the model causal_lm"):
        Encoder(model=str(tiny)).run(EXAMPLES, LossRequest(), lambda _: None)


def test_a_text_fills_the_positions_of_roberta_without_those_of_its_padding(tmp_path):
    from transformers import RobertaConfig, RobertaModel

    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    RobertaModel(RobertaConfig(vocab_size=257, max_position_embeddings=34, **sizes)).save_pretrained(tmp_path)
    save_tokenizer(tmp_path, bos=True)
    model = Encoder(model=str(tmp_path), dtype="float32")
    assert model.load().context == 32
    outputs = model.run([Example((), "w " * 40)], HiddenRequest(), lambda _: None)
    assert outputs["tokens"].tolist() == [32]
    assert np.isfinite(outputs["vector"]).all()


def test_a_model_with_a_decoder_is_refused(tmp_path):
    from transformers import T5Config, T5Model

    T5Model(T5Config(vocab_size=257, d_model=16, d_ff=24, num_layers=2, num_heads=2, d_kv=8)).save_pretrained(tmp_path)
    save_tokenizer(tmp_path, bos=True)
    with pytest.raises(PluginError, match="has an encoder and a decoder"):
        Encoder(model=str(tmp_path), dtype="float32").load()


def test_a_masked_language_model_is_an_encoder_without_a_pooler(tmp_path):
    from transformers import BertConfig, BertForMaskedLM

    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    BertForMaskedLM(BertConfig(vocab_size=257, **sizes)).save_pretrained(tmp_path)
    save_tokenizer(tmp_path, bos=True)
    outputs = Encoder(model=str(tmp_path), dtype="float32").run(EXAMPLES[:1], HiddenRequest(), lambda _: None)
    assert np.isfinite(outputs["vector"]).all()

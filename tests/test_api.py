"""The functions for notebooks do what the command line does."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import curate
from curate.errors import ConfigError, DataError, PluginError
from curate.plugins import registry
from curate.plugins.fields import fields

X = np.random.default_rng(0).standard_normal((200, 16))


@pytest.mark.parametrize(
    ("fields", "rows"),
    [
        ({"selector": "uniform", "keep": 7}, 7),
        ({"selector": "k_center", "keep_rate": 0.29}, 58),
        ({"selector": "facility_location", "prune_rate": 0.9, "n_neighbors": 8}, 20),
        ({"selector": "ccs", "prune_rate": 0.5, "by": "el2n", "scores": {"el2n": np.arange(200)}}, 100),
        ({"selector": "top_k", "keep": 3, "quality": np.arange(200)}, 3),
    ],
)
def test_a_selector_keeps_its_budget(fields, rows):
    chosen = curate.select(X, **fields)
    assert len(chosen.indices) == rows
    assert np.array_equal(chosen.indices, curate.select(X, **fields).indices)


def test_a_filter_decides_for_itself_and_clusters_are_found_where_needed():
    twice = np.concatenate([X, X[:50]])
    assert len(curate.select(twice, selector="semdedup").indices) == 200
    assert curate.select(X[:3], selector="exact_duplicates", texts=["a", "b", "a"]).indices.tolist() == [0, 1]


def test_vectors_need_not_be_of_unit_length():
    longer = X * np.arange(1, 201)[:, None]
    assert np.array_equal(
        curate.select(longer, selector="k_center", keep=9).indices,
        curate.select(X, selector="k_center", keep=9).indices,
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"selector": "k_centr", "keep": 3}, "unknown selector 'k_centr'; did you mean 'k_center'"),
        ({"selector": "k_center"}, "has no budget"),
        ({"selector": "k_center", "keep": 3, "keep_rate": 0.1}, "the entry already has a budget, keep"),
        ({"selector": "semdedup", "keep": 3}, "keep: must be one of 'farthest', 'nearest', 'best_quality'; got 3"),
        ({"selector": "semdedup", "keep_rate": 0.3}, "takes no budget"),
        ({"selector": "semdedup", "min_similarty": 0.3}, "did you mean 'min_similarity'"),
        ({"selector": "ccs", "keep": 3, "by": "x"}, "there is no score 'x'"),
        ({"selector": "exact_duplicates"}, "texts: missing; the selector 'exact_duplicates' reads texts; add texts="),
    ],
)
def test_a_wrong_argument_is_named(fields, message):
    with pytest.raises(ConfigError, match=message):
        curate.select(X, **fields)


def test_a_budget_beyond_the_rows_and_a_zero_row_are_refused():
    with pytest.raises(DataError, match="only 200 rows"):
        curate.select(X, selector="uniform", keep=201)
    with pytest.raises(ConfigError, match="row 0 is all zero"):
        curate.select(np.zeros((3, 2)), selector="uniform", keep=1)


# ---------------------------------------------------------------- groups and tokens

SIDES = np.repeat(["left", "right"], [450, 50])
Y = np.random.default_rng(1).standard_normal((500, 8))


def shares(chosen, groups=SIDES) -> list[int]:
    return [int((groups[chosen.indices] == name).sum()) for name in np.unique(groups)]


@pytest.mark.parametrize(
    ("quota", "expected"),
    [
        (None, [45, 5]),
        ("proportional", [45, 5]),
        ("balanced", [25, 25]),
        ({"temperature": 1e6}, [25, 25]),
        ({"right": 40}, [10, 40]),
        ({"right": 0.5, "left": 25}, [25, 25]),
    ],
)
@pytest.mark.parametrize("selector", ["uniform", "k_center", "facility_location"])
def test_a_quota_holds_within_groups(selector, quota, expected):
    assert shares(curate.select(Y, selector=selector, keep=50, within=SIDES, quota=quota)) == expected


@pytest.mark.parametrize(
    "groups",
    [SIDES, SIDES.tolist(), pl.Series(SIDES), SIDES == "left", (SIDES == "left").astype(int), pd.Series(SIDES)],
)
def test_groups_may_be_any_column(groups):
    chosen = curate.select(Y, selector="uniform", keep=50, within=groups, quota="balanced")
    assert shares(chosen) == [25, 25]


def test_groups_may_be_clusters_and_may_be_missing():
    given = curate.select(Y, selector="uniform", keep=50, within="cluster", cluster=SIDES == "left", quota="balanced")
    assert shares(given) == [25, 25]
    assert len(curate.select(Y, selector="uniform", keep=50, within="cluster").indices) == 50
    some = np.where(SIDES == "left", None, "right")
    assert shares(curate.select(Y, selector="uniform", keep=50, within=some, quota={"right": 30})) == [20, 30]


def test_a_filter_runs_within_groups():
    twice = np.concatenate([X[:100], X[:100]])
    halves = np.repeat([0, 1], 100)
    assert len(curate.select(twice, selector="semdedup").indices) == 100
    assert len(curate.select(twice, selector="semdedup", within=halves).indices) == 200


@pytest.mark.parametrize("selector", ["uniform", "k_center", "volume_sampling"])
@pytest.mark.parametrize("quota", ["balanced", "proportional", {"right": 0.5}])
def test_tokens_are_split_by_tokens_within_groups(selector, quota):
    tokens = np.where(SIDES == "left", 10, 100)  # 4,500 and 5,000 tokens
    chosen = curate.select(Y, selector=selector, keep_tokens=2_000, tokens=tokens, within=SIDES, quota=quota)
    spent = [int(tokens[chosen.indices][SIDES[chosen.indices] == side].sum()) for side in ("left", "right")]
    wanted = [2_000 * 4_500 / 9_500, 2_000 * 5_000 / 9_500] if quota == "proportional" else [1_000, 1_000]
    assert np.abs(np.subtract(spent, wanted)).max() <= 100
    assert 1_900 < sum(spent) <= 2_000


def test_a_bound_keeps_what_there_is():
    assert len(curate.select(X, selector="uniform", keep=500, at_most=True).indices) == 200
    tokens = np.full(200, 3)
    assert len(curate.select(X, selector="uniform", keep_tokens=900, tokens=tokens, at_most=True).indices) == 200
    assert shares(curate.select(Y, selector="uniform", keep=200, at_most=True, within=SIDES, quota={"right": 90})) == [
        150,
        50,
    ]


# ---------------------------------------------------------------- arguments of every kind

REFUSED = {
    "within": [
        "nonsense",
        ["a"] * 199,
        np.zeros((200, 2)),
        [["a"]] * 200,
        [["a"]] * 199 + ["b"],
        3,
        [object()] * 200,
        pl.Series([[1]] * 200),
    ],
    "quality": [
        np.zeros(199),
        np.zeros((200, 1)),
        ["x"] * 200,
        [None] * 200,
        3,
        pl.Series([[1.0]] * 200),
        1j * X[:, 0],
    ],
    "cluster": [np.full(200, 0.5), np.full(200, np.nan), np.full(200, 2**40), ["a"] * 200, np.zeros(3)],
    "tokens": [np.full(200, -1), np.full(200, 1.5), np.zeros(3), ["a"] * 200],
    "scores": [np.zeros(200), {"el2n": np.zeros(3)}, {"el2n": ["x"] * 200}],
    "texts": ["abc", ["a"] * 199, [1] * 200, [None] * 200, b"abc"],
    "quota": ["even", 0.5, {"x": "y"}, {"x": -1}, {"x": 3}, ["balanced"]],
    "keep": ["3", 0, -1, 2.5, True, [3]],
    "at_most": ["yes", 3],
}
NEEDS = {
    "within": {},
    "quality": {"selector": "top_k"},
    "cluster": {"within": "cluster"},
    "tokens": {"keep": None, "keep_tokens": 10},
    "scores": {"selector": "ccs", "by": "el2n"},
    "texts": {"selector": "exact_duplicates", "keep": None},
    "quota": {"within": ["a"] * 200},
    "keep": {},
    "at_most": {},
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in REFUSED.items() for value in values])
def test_an_argument_of_another_kind_is_named(name, value):
    arguments = {"selector": "uniform", "keep": 3} | NEEDS[name] | {name: value}
    with pytest.raises((ConfigError, DataError), match=rf"{name}|select uniform"):
        curate.select(X, **arguments)


@pytest.mark.parametrize(
    "embeddings",
    [
        X[0],
        X[None],
        X[:, :0],
        3.0,
        "abc",
        [["a"]],
        [[1.0], [1.0, 2.0]],
        X.astype(complex),
        np.full((3, 2), np.nan),
        np.full((3, 2), 1e300),
        pl.Series([[1.0, 2.0], [3.0]]),
        pl.DataFrame({"x": [[1.0, 2.0], None]}),
        pl.Series([[1.0, None], [3.0, 4.0]]),
        [None, None],
    ],
    ids=lambda value: f"{type(value).__name__} {getattr(value, 'shape', '')}",
)
def test_embeddings_of_another_kind_are_refused(embeddings):
    with pytest.raises(ConfigError, match="embeddings: "):
        curate.select(embeddings, selector="uniform", keep=1)


@pytest.mark.parametrize("convert", [np.asfortranarray, np.ndarray.tolist, pl.DataFrame, pd.DataFrame, np.float16])
def test_embeddings_may_be_what_numpy_reads(convert):
    rounded = X.astype(np.float16).astype(np.float64)
    assert np.array_equal(
        curate.select(convert(rounded), selector="k_center", keep=9).indices,
        curate.select(rounded, selector="k_center", keep=9).indices,
    )


def test_numbers_may_be_numpys_own():
    chosen = curate.select(X, selector="facility_location", keep=np.int64(7), n_neighbors=np.int32(8), seed=np.int64(3))
    assert len(chosen.indices) == 7
    assert len(curate.select(X, selector="uniform", keep_rate=np.float32(0.5)).indices) == 100


@pytest.mark.parametrize("name", ["against", "embedding", "name"])
def test_keys_of_a_configuration_are_refused(name):
    value = "published" if name == "against" else "x"
    with pytest.raises(ConfigError, match=f"{name}: this key can only be used in a configuration"):
        curate.select(X, selector="exact_duplicates", texts=["a"] * 200, **{name: value})


@pytest.mark.parametrize("selector", registry.names("selector"))
def test_every_selector_selects_from_arrays_or_says_why_not(selector):
    plugin = registry.get("selector", selector)
    arrays = {"texts": [f"text {row % 150}" for row in range(200)], "quality": np.arange(200), "scores": {"s": X[:, 0]}}
    own = {field.name: "s" if "score" in field.doc else [] for field in fields(plugin.cls) if field.required}
    budget = {"keep": 20} if plugin.traits.budgeted else {}
    try:
        chosen = curate.select(X, selector=selector, **arrays, **budget, **own)
    except ConfigError as error:
        assert re.search(r"there is no column|missing|must be|at least", str(error)), error
        return
    assert len(chosen.indices) <= 20 if budget else len(chosen.indices) <= 200


# ---------------------------------------------------------------- DataFrames and tensors

ROWS = {
    "text": [f"text {row % 150}" for row in range(200)],
    "lang": ["en" if row < 150 else "de" for row in range(200)],
    "stars": [row % 5 for row in range(200)],
    "vector": X.astype(np.float32).tolist(),
}
FRAMES = {
    "polars": lambda: pl.DataFrame(ROWS),
    "polars arrays": lambda: pl.DataFrame(ROWS, schema_overrides={"vector": pl.Array(pl.Float32, 16)}),
    "polars lazy": lambda: pl.LazyFrame(ROWS),
    "pandas": lambda: pd.DataFrame(ROWS),
    "pandas with arrays": lambda: pd.DataFrame({**ROWS, "vector": list(X.astype(np.float32))}),
    "arrow": lambda: pa.table(ROWS),
    "arrow batch": lambda: pa.RecordBatch.from_pydict(ROWS),
    "datasets": lambda: pytest.importorskip("datasets").Dataset.from_dict(ROWS),
}


@pytest.mark.parametrize("kind", FRAMES)
def test_rows_of_any_frame_are_selected_and_taken(kind):
    frame = FRAMES[kind]()
    chosen = curate.select(frame, selector="k_center", keep=9)
    assert np.array_equal(chosen.indices, curate.select(X, selector="k_center", keep=9).indices)
    if kind != "polars lazy":
        taken = chosen.take(frame)
        assert type(taken) is type(frame)
        assert [str(text) for text in taken["text"]] == [ROWS["text"][row] for row in chosen.indices]
    assert len(curate.select(frame, selector="exact_duplicates", texts="text").indices) == 150
    kept = curate.select(frame, selector="where", drop="lang = 'de' or stars < 3")
    assert kept.indices.tolist() == [row for row in range(150) if row % 5 >= 3]
    even = curate.select(frame, selector="uniform", keep=20, within="lang", quota="balanced").indices
    assert (even < 150).sum() == 10
    assert curate.select(frame, selector="top_k", keep=1, quality="stars").indices.tolist() == [4]
    by = curate.select(frame, selector="ccs", keep=50, by="stars", scores=["stars"])
    assert len(by.indices) == 50


def test_a_frame_of_numbers_is_a_matrix_unless_vectors_are_passed():
    numbers = pl.DataFrame({"stars": ROWS["stars"], "rank": range(200)})
    kept = curate.select(numbers, embeddings=X, selector="where", drop="stars < 4")
    assert kept.indices.tolist() == list(range(4, 200, 5))
    assert len(curate.select(numbers + 1, selector="k_center", keep=3).indices) == 3


def test_labels_groups_and_scores_are_columns_of_conditions():
    arrays = {"labels": np.arange(200) % 3, "groups": {"lang": ROWS["lang"]}, "scores": {"el2n": np.arange(200)}}
    kept = curate.select(X, selector="where", drop="label = 1 or lang = 'de' or score_el2n < 10", **arrays)
    assert kept.indices.tolist() == [row for row in range(10, 150) if row % 3 != 1]
    with pytest.raises(ConfigError, match="there is no column 'source'; there are: score_el2n, label, lang"):
        curate.select(X, selector="where", drop="source = 'a'", **arrays)
    assert len(curate.select(X, selector="uniform", keep=9, within="label", **arrays).indices) == 9


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16", "int32"])
def test_tensors_of_any_type_are_read(dtype):
    torch = pytest.importorskip("torch")
    tensor = (torch.from_numpy(X) * 8).to(getattr(torch, dtype))
    chosen = curate.select(tensor, selector="k_center", keep=9)
    same = curate.select(tensor.double().numpy(), selector="k_center", keep=9)
    assert np.array_equal(chosen.indices, same.indices)
    assert torch.equal(chosen.take(tensor), tensor[torch.from_numpy(chosen.indices)])
    if tensor.is_floating_point():
        learned = tensor.clone().requires_grad_()
        assert np.array_equal(curate.select(learned, selector="k_center", keep=9).indices, chosen.indices)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "data: missing"),
        ({"data": X, "embeddings": X}, "given twice"),
        ({"data": pl.DataFrame(ROWS), "texts": "txt"}, "texts: the DataFrame has no column 'txt'"),
        ({"data": pl.DataFrame(ROWS), "embeddings": X[:5]}, "one vector for each of the 200 rows"),
        ({"data": pl.DataFrame({**ROWS, "other": ROWS["vector"]})}, "several columns contain vectors"),
        ({"data": pl.DataFrame({"a": ["x"]})}, "embeddings: missing; the selector 'k_center' reads vectors"),
        ({"data": X, "groups": ["a"] * 200}, "groups: must be a mapping"),
        ({"data": X, "labels": ["a"] * 3}, "labels: must have one value for each of the 200 rows"),
    ],
)
def test_a_wrong_frame_is_named(arguments, message):
    with pytest.raises(ConfigError, match=message):
        curate.select(selector="k_center", keep=1, **arguments)


def test_a_selection_shows_itself_and_its_outcomes():
    chosen = curate.select(X, selector="k_center", keep=20)
    assert repr(chosen).startswith("<Selection of 20 of 200 rows: ")
    assert len(repr(chosen)) < 100
    assert "<th>gain</th>" in chosen._repr_html_()
    frame = chosen.to_frame()
    assert frame.height == 200
    assert frame.filter("selected").sort("rank")["row"].to_list() == chosen.indices.tolist()
    assert frame.filter(~pl.col("selected"))["reason"].null_count() == 0
    assert frame.filter("selected")["reason"].null_count() == 20
    twice = curate.select(np.concatenate([X, X[:50]]), selector="semdedup").to_frame()
    dropped = twice.filter(~pl.col("selected"))
    assert set(zip(dropped["row"], dropped["representative"], strict=True)) <= {
        pair for row in range(50) for pair in ((row, row + 200), (row + 200, row))
    }
    assert dropped["similarity"].min() > 0.99
    with pytest.raises(PluginError, match="the data have 3 rows, but 200"):
        chosen.take([1, 2, 3])


def test_the_module_shows_what_it_offers():
    assert dir(curate) == sorted(["__version__", "embed", "explain", "get_published", "load", "run", "select"])


# ---------------------------------------------------------------- runs


@pytest.fixture
def finished(pool, config, plain_map):
    return curate.run(config(score=[{"use": "length"}], select=[{"use": "uniform", "keep_rate": 0.5}]))


def test_results_of_a_run_are_frames(finished):
    ledger = finished.ledger().collect()
    assert ledger.height == finished.rows_in
    assert ledger.filter("selected").height == finished.kept
    assert finished.scores().collect().columns == ["id", "cluster", "score_length", "score_length_words"]
    vectors = finished.embeddings().collect()
    assert vectors.height == ledger.height
    export = finished.export().collect()
    assert export.height == finished.kept
    chosen = ledger.filter("selected")["id"]
    assert set(export["id"]) == set(chosen)
    with pytest.raises(ConfigError, match="no embeddings 'x'"):
        finished.embeddings("x")


def test_a_run_is_loaded_without_its_input(finished, pool):
    for file in pool.glob("**/*.jsonl"):
        if "run" not in file.parts:
            file.unlink()
    loaded = curate.load(finished.run)
    assert loaded.accounting() == [line for line in finished.accounting() if line["stage"] != "report"]
    assert (loaded.version, loaded.report) == (finished.version, finished.report)
    assert loaded.export().collect().equals(finished.export().collect())
    name = loaded.ledger().filter("selected").collect()["id"][0]
    assert "chosen" in str(curate.explain(finished.run, name).outcome.status)
    with pytest.raises(ConfigError, match="there is no completed run"):
        curate.load(Path(finished.run).parent)


def test_a_damaged_result_is_not_read(finished):
    shard = Path(finished.run) / "select" / "part-00000.parquet"
    data = bytearray(shard.read_bytes())
    data[60] ^= 1
    shard.write_bytes(bytes(data))
    with pytest.raises(DataError, match="corrupt"):
        finished.ledger()


def test_a_summary_shows_itself(finished):
    assert repr(finished).startswith(f"<Summary of {finished.run}: ")
    page = finished._repr_html_()
    assert "<td>select uniform</td>" in page
    assert "<td>input input</td>" in page


def test_texts_are_embedded_as_in_a_run(finished):
    rows = finished.export().collect()
    vectors = curate.embed(rows["text"], "hashing", dimensions=32)
    assert vectors.shape == (rows.height, 32)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1)
    assert np.array_equal(vectors, curate.embed(rows["text"].to_list(), "hashing", dimensions=32))
    assert np.array_equal(vectors, curate.embed(rows["text"].to_arrow(), "hashing", dimensions=32))
    with pytest.raises(ConfigError, match="does not read texts"):
        curate.embed(["a"], "column", column="x")
    with pytest.raises(ConfigError, match="row 1 is all zero"):
        curate.embed(["a b", ""], "hashing")


def test_fitted_vectors_are_those_of_a_run(tmp_path, plain_map):
    texts = [f"word{row % 7} word{row % 11} word{row % 13}" for row in range(60)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    done = curate.run(
        {
            "curate": 1,
            "run": str(tmp_path / "run"),
            "input": {"files": str(tmp_path / "a.jsonl"), "text": "text"},
            "embed": {"use": "lsa", "dimensions": 8},
            "select": [{"use": "uniform", "keep": 5}],
        }
    )
    stored = np.stack(done.embeddings().collect()["embedding"].to_list())
    assert np.allclose(stored, curate.embed(texts, "lsa", dimensions=8), atol=1e-6)

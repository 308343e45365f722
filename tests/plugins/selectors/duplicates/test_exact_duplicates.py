"""Exact duplicates keeps one row of every text, and drops nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import curate
from curate import pipeline
from curate.config.loader import config_from_dict
from curate.executors.serial import Serial
from curate.kernels.text.text_identity import normalize
from curate.kernels.types import Texts
from curate.plugins.batches import Pool
from curate.plugins.selectors.duplicates.exact_duplicates import ExactDuplicates, exact_duplicates, hash_texts

ROOT = Path(__file__).parents[4]
ALL = ("case", "punctuation", "space", "unicode")


def select(texts, *, quality=None, block=3, **fields):
    n = len(texts)
    quality = np.zeros(n, np.float32) if quality is None else np.array(quality, np.float32)
    pool = Pool(np.zeros((n, 0), np.float32), quality, np.zeros(n, np.int32), texts=Texts.from_list(texts, block))
    return ExactDuplicates(**fields).select(pool, None, np.random.default_rng(0)).check(n, None)


def kept(texts, **fields):
    return [texts[row] for row in select(texts, **fields).indices]


# ---------------------------------------------------------------- which rows


def test_where_hashes_are_known_no_text_is_read():
    words = ["b", "a", "b", "c", "a", "é", "b"]
    own = hash_texts(Texts.from_list(words), ()).T

    def read(number):
        raise AssertionError("a text was read")

    known = Texts((4, 3), read, lambda number: own[:4] if number == 0 else own[4:])
    zeros = np.zeros(7, np.float32)
    assert exact_duplicates(known, zeros)[0].tolist() == [-1, -1, 0, -1, 1, -1, 0]
    some = known.take(np.array([1, 2, 4, 6]))
    assert exact_duplicates(some, zeros[:4])[0].tolist() == [-1, -1, 0, 1]
    with pytest.raises(AssertionError, match="a text was read"):
        exact_duplicates(known, zeros, differences=["case"])


def test_the_hashes_that_a_run_stores_are_those_of_the_texts(pool, config):
    """So that entries with and without them agree, also with what was published."""
    texts = pipeline.build_pool(pipeline.make_context(config_from_dict(config()), Serial())).texts()
    some = texts.take(np.arange(5, 55, 3))
    for one in (texts, some):
        assert hash_texts(one, ()).tolist() == hash_texts(replace(one, hashes=None), ()).tolist()


def test_one_row_of_each_text_is_kept_with_the_number_it_represents():
    selection = select(["b", "a", "b", "c", "b", "a"])
    assert selection.indices.tolist() == [0, 1, 3]
    assert selection.gain.tolist() == [3, 2, 1]
    assert selection.representative.tolist() == [-1, -1, 0, -1, 0, 1]
    np.testing.assert_array_equal(selection.similarity, np.array([np.nan, np.nan, 1, np.nan, 1, 1], np.float32))
    assert selection.reasons == ("exact duplicate",)


def test_best_quality_is_kept_if_configured_ties_to_the_lowest_index():
    texts, quality = ["a", "b", "a", "b", "a"], [1, 5, 2, 7, 2]
    assert select(texts, quality=quality).indices.tolist() == [0, 1]
    selection = select(texts, quality=quality, keep="best_quality")
    assert selection.indices.tolist() == [2, 3]
    assert selection.gain.tolist() == [3, 2]
    assert selection.representative.tolist() == [2, 3, -1, -1, 2]


@given(
    texts=st.lists(st.text("aA.b \u200b\u00ad\u00e9e\u0301\u3000\ud800", max_size=3), max_size=40),
    seed=st.integers(0, 99),
    differences=st.sets(st.sampled_from(ALL)),
    first=st.sampled_from(["first", "best_quality"]),
    block=st.sampled_from([1, 7, 100]),
)
def test_same_as_a_dictionary_for_any_block_size(texts, seed, differences, first, block):
    n = len(texts)
    quality = np.random.default_rng(seed).integers(0, 3, n).astype(np.float32)
    representative, copies = exact_duplicates(
        Texts.from_list(texts, block), quality, differences=differences, keep=first
    )
    groups = {}
    for row, text in enumerate(texts):
        groups.setdefault(normalize(text, differences), []).append(row)
    for rows in groups.values():
        leader = rows[0] if first == "first" else max(rows, key=lambda row: quality[row])
        assert [representative[row] for row in rows] == [-1 if row == leader else leader for row in rows]
        assert [copies[row] for row in rows] == [len(rows) if row == leader else 0 for row in rows]


def test_a_hundred_thousand_copies_of_one_text_among_as_many_others():
    """A method that compares pairs would not end."""
    n = 100_000
    texts = Texts((n, n), lambda number: ["the same"] * n if number else [str(i) for i in range(n)])
    representative, copies = exact_duplicates(texts, np.zeros(2 * n, np.float32))
    assert (copies[:n] == 1).all()
    assert copies[n] == n
    assert (representative[n + 1 :] == n).all()


def test_the_texts_are_read_once_and_one_block_at_a_time():
    read, blocks = [], (["a", "b"], ["b", "c"])
    texts = Texts((2, 2), lambda number: read.append(number) or blocks[number])
    assert exact_duplicates(texts, np.zeros(4, np.float32))[0].tolist() == [-1, -1, 1, -1]
    assert read == [0, 1]


def test_a_pool_without_rows_stays_without():
    selection = select([])
    assert len(selection.indices) == len(selection.representative) == 0


# ---------------------------------------------------------------- which texts are the same


def test_every_character_counts_unless_configured_otherwise():
    texts = ["a b", "a  b", "a b ", "A b", "a b.", "a\u00a0b", "\u00e9", "e\u0301"]
    assert kept(texts) == texts


@pytest.mark.parametrize(
    ("option", "same", "different"),
    [
        ("case", ["STRASSE", "Straße", "strasse"], "stra sse"),
        ("space", ["a b", " a\t\n b\u00a0", "\u3000a\u2003b"], "ab"),
        ("punctuation", ["dont", "don't", "don’t", "«dont»", "¿dont…", "$dont"], "€dont"),
        (
            "unicode",
            ["caf\u00e9 ﬁ １", "cafe\u0301 fi 1", "\ufeffca\u00adfe\u0301 \u200bfi 1\ufe0f\0"],
            "cafe fi 1",
        ),
    ],
)
def test_an_option_ignores_only_what_it_documents(option, same, different):
    assert kept([*same, different], normalize=(option,)) == [same[0], different]
    others = tuple(name for name in ALL if name != option)
    assert len(kept(same, normalize=others)) > 1


def test_options_work_together_in_any_order():
    texts = ["Ｈｅｌｌｏ，  Ｗｏｒｌｄ！", "hello world", "HELLO - WORLD"]
    for options in (ALL, ALL[::-1]):
        selection = select(texts, normalize=options)
        assert selection.indices.tolist() == [0]
        assert selection.reasons == (f"exact duplicate, ignoring {', '.join(options)}",)


def test_removing_punctuation_between_a_letter_and_its_accent_leaves_the_letter_with_the_accent():
    assert normalize("e.\u0301", ["unicode", "punctuation"]) == "\u00e9"


def test_scripts_without_spaces_or_from_right_to_left_are_texts_like_any_other():
    texts = ["数据选择。", "数据选择", "データ", "ﾃﾞｰﾀ", "שלום, עולם", "שלום עולם", "مرحبا", "مرحبا؟"]
    assert kept(texts) == texts
    assert kept(texts, normalize=ALL) == ["数据选择。", "データ", "שלום, עולם", "مرحبا"]


def test_lone_surrogates_are_characters_like_any_other():
    texts = ["\ud800", "\udc00", "?", "\ud800"]
    assert kept(texts) == texts[:3]
    assert kept(texts, normalize=ALL) == texts[:3]


def test_texts_of_which_nothing_is_left_are_all_one():
    texts = ["", " ", "\n\u3000", "x", "?!", "..."]
    assert kept(texts) == texts  # nothing is removed
    assert kept(texts, normalize=("case",)) == ["", "x", "?!", "..."]
    assert kept(texts, normalize=("punctuation",)) == ["", "x"]


# ---------------------------------------------------------------- the sample data


def test_every_planted_copy_is_dropped_and_nothing_else(tmp_path, monkeypatch, plain_map):
    """One row of an original and its copies stays; which one, the key leaves open."""
    monkeypatch.chdir(ROOT)
    curate.run(
        {
            "curate": 1,
            "run": str(tmp_path / "run"),
            "input": {
                "files": "data_samples/pool/*.jsonl",
                "id": "id",
                "text": "{instruction}\n{output}",
                "source": "source",
                "rows_per_shard": 300,
            },
            "embed": {"use": "hashing", "dimensions": 16},
            "cluster": {"use": "kmeans", "n_clusters": 4},
            "select": [{"use": "exact_duplicates"}],
        }
    )
    lines = pl.read_parquet(tmp_path / "run/select/part-*.parquet")
    copies = pl.read_parquet(ROOT / "data_samples/key.parquet").filter(kind="exact_duplicate").select("id", "of")
    origin = dict(copies.iter_rows())
    dropped = {row["id"]: row for row in lines.filter(dropped_by="exact_duplicates").iter_rows(named=True)}
    groups: dict[str, set[str]] = {}
    for copy, original in origin.items():
        groups.setdefault(original, {original}).add(copy)
    assert len(dropped) == len(copies)
    for group in groups.values():
        (stays,) = group - dropped.keys()
        assert {dropped[name]["representative"] for name in group & dropped.keys()} == {stays}

"""The classifier detects planted junk, is calibrated, and gives no signal on noise."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.special import expit

from curate.errors import DataError
from curate.plugins.batches import ScoreBatch
from curate.plugins.scorers.quality_classifier import QualityClassifier, hashed_ngrams

SAMPLES = Path(__file__).parents[3] / "data_samples"
RNG = np.random.default_rng


def fitted(good, bad, **fields):
    plugin = QualityClassifier(positive="good.jsonl", negative="bad.jsonl", **fields)
    state = plugin.fit({"positive": good, "negative": bad}, RNG(0))
    return plugin.describe_fit(state), lambda texts: plugin.restore(state).score(ScoreBatch(texts=texts), RNG(0))


def drawn(rng, n, share):
    """Draw n texts of eight words, each from the second of two vocabularies with probability ``share``."""
    return [" ".join(f"{'b' if rng.random() < share else 'a'}{rng.integers(50)}" for _ in range(8)) for _ in range(n)]


@pytest.mark.slow
def test_planted_junk_is_separated_from_clean_rows():
    kinds = dict(pl.read_parquet(SAMPLES / "key.parquet").select("id", "kind").iter_rows())
    rows = []
    for path in sorted((SAMPLES / "pool").glob("*.jsonl")):
        for line in path.read_text().splitlines():
            row = json.loads(line) if line.endswith("}") else {}
            if row.get("id"):
                rows.append((kinds.get(row["id"], "clean"), f"{row['instruction']}\n{row['output']}"))
    clean, junk = ([text for kind, text in rows if kind == one] for one in ("clean", "junk"))
    report, score = fitted(clean[::2], junk[::2])
    assert report.facts["auc"] > 0.99
    assert report.facts["auc_low"] > 0.95
    assert (score(clean[1::2]) > 0.5).mean() > 0.99
    assert (score(junk[1::2]) < 0.5).mean() > 0.95


@pytest.mark.exhaustive
def test_probabilities_are_those_that_texts_were_drawn_with():
    rng = RNG(1)
    report, score = fitted(drawn(rng, 3000, 0.4), drawn(rng, 3000, 0.6), max_ngram_size=1)
    assert report.facts["calibration_error"] < 0.03
    queries = drawn(rng, 2000, 0.5)
    second = np.array([sum(word[0] == "b" for word in text.split()) for text in queries])
    true = expit((8 - 2 * second) * np.log(0.6 / 0.4))
    assert np.abs(score(queries) - true).mean() < 0.06


@pytest.mark.exhaustive
def test_labels_that_mean_nothing_teach_nothing():
    rng = RNG(2)
    texts = drawn(rng, 1200, 0.5)
    report, score = fitted(texts[:600], texts[600:])
    assert report.facts["auc_low"] <= 0.5 <= report.facts["auc_high"] + 0.02
    assert "the classes are indistinguishable" in report.summary
    assert np.abs(score(texts) - 0.5).mean() < 0.1  # also of those that it was shown


@pytest.mark.slow
def test_copies_are_on_one_side_of_every_split_so_that_remembering_them_gains_nothing():
    rng = RNG(3)
    texts = drawn(rng, 400, 0.5)
    copied = [f" {text.upper()}\n" for text in texts]
    report, _ = fitted(texts[:200] + copied[:200], texts[200:] + copied[200:])
    assert (report.facts["positive"], report.facts["negative"]) == (200, 200)
    assert report.facts["auc_low"] <= 0.5


@pytest.mark.exhaustive
def test_a_text_in_both_classes_is_positive():
    rng = RNG(4)
    good, bad = drawn(rng, 100, 0.1), drawn(rng, 100, 0.9)
    assert fitted(good, bad + good)[0].facts == fitted(good, bad)[0].facts
    with pytest.raises(
        DataError, match="negative: 0 distinct texts that are not positive examples, but at least 20 are needed"
    ):
        fitted(good, good)


@pytest.mark.parametrize("few", [[], ["one", "two"], [" ", ""] * 50, ["same"] * 100])
def test_too_few_texts_are_refused(few):
    with pytest.raises(
        DataError, match=r"quality_classifier\.positive: [012] distinct texts, but at least 20 are needed"
    ):
        fitted(few, drawn(RNG(5), 50, 0.5))
    with pytest.raises(DataError, match=r"quality_classifier\.negative: [012] distinct texts"):
        fitted(drawn(RNG(5), 50, 0.5), few)


@pytest.mark.slow
def test_hostile_texts_have_a_score():
    rng = RNG(6)
    _, score = fitted(drawn(rng, 50, 0.1), drawn(rng, 50, 0.9))
    result = score(["", " ", "\ud800", "\0", "你好吗" * 1000, "x" * 1_000_000, "עברית", "a1"])
    assert ((result >= 0) & (result <= 1)).all()


def test_ngrams_are_weighted_by_the_logarithm_of_their_count():
    one = hashed_ngrams(["a b b"], 1, 18)
    assert sorted((one.data / one.data.min()).round(4)) == [1, pytest.approx(1 + np.log(2), abs=1e-4)]
    assert np.square(hashed_ngrams(["a b b", "c"], 2, 18).toarray()).sum(axis=1) == pytest.approx([1, 1])

"""The language of a text, and its probability."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from curate import pipeline
from curate.config.loader import config_from_dict
from curate.errors import PLUGIN, ConfigErrors, PluginError, install_command
from curate.executors.serial import Serial
from curate.plugins.scorers import language as module
from curate.plugins.scorers.language import LANGUAGES, language

SAMPLES = Path(__file__).parents[3] / "data_samples"
SENTENCES = {
    "ar": "الطقس جميل اليوم ونحن نتنزه في الحديقة.",
    "de": "Das Wetter ist heute schön und wir gehen spazieren.",
    "en": "The weather is nice today and we walk in the park.",
    "es": "Hoy hace buen tiempo y vamos a pasear.",
    "fr": "Il fait beau aujourd'hui et nous nous promenons.",
    "hi": "आज मौसम अच्छा है और हम टहलते हैं।",
    "it": "Oggi fa bel tempo e facciamo una passeggiata.",
    "ja": "今日は天気がいいので公園を散歩します。",
    "ko": "오늘은 날씨가 좋아서 공원을 산책합니다.",
    "nl": "Het weer is mooi vandaag en wij gaan wandelen.",
    "pl": "Dziś jest ładna pogoda i idziemy na spacer.",
    "pt": "Hoje está bom tempo e vamos passear.",
    "ru": "Сегодня хорошая погода, и мы гуляем.",
    "sv": "Vädret är fint idag och vi går på promenad.",
    "tr": "Bugün hava güzel ve yürüyüşe çıkıyoruz.",
    "zh": "今天天气很好，我们去公园散步。",
}


def test_a_sentence_of_each_language_is_in_it_and_in_no_other():
    texts = list(SENTENCES.values())
    table = np.column_stack([language(texts, [name]) for name in SENTENCES])
    assert (table.diagonal() > 0.5).all()
    assert (table[~np.eye(len(table), dtype=bool)] < 0.5).all()


def test_languages_add_up_in_any_order():
    texts = [*SENTENCES.values(), "hello"]
    one, other = language(texts, ["en"]), language(texts, ["de"])
    np.testing.assert_allclose(language(texts, ["de", "en"]), one + other, atol=1e-6)
    np.testing.assert_array_equal(language(texts, ["de", "en"]), language(texts, ["en", "de"]))
    np.testing.assert_allclose(language(texts, sorted(LANGUAGES)), 1, atol=1e-5)


@pytest.mark.parametrize("text", ["", " \n", "a", "!!!", "\0", "\ud800"])
def test_a_text_without_evidence_has_the_share_of_the_configured_languages(text):
    assert language([text], ["en"])[0] == pytest.approx(1 / len(module._model().nb_classes), rel=0.02)


@pytest.mark.slow
def test_a_million_marks_on_one_letter_are_no_bomb():
    """The package normalizes texts, which takes more than half an hour for these."""
    above_and_below, ordered = language(
        ["e" + "\u0301\u0316" * 500_000, "e" + "\u0316" * 500_000 + "\u0301" * 500_000], ["en"]
    )
    assert above_and_below == ordered


def test_one_word_is_weak_evidence_and_a_mixture_is_split():
    word, mixed = language(["hello", f"{SENTENCES['zh']} {SENTENCES['en']}"], ["en"])
    assert word < 0.1
    assert 0 < mixed < 0.9
    assert language([f"\ud800{SENTENCES['en']}\udfff"], ["en"])[0] > 0.5


def test_the_languages_are_those_of_the_model():
    assert set(module._model().labels) == LANGUAGES
    with pytest.raises(ConfigErrors, match=r"score\.0\.languages: unknown language 'english'; available: ace, af, "):
        config_from_dict(sections(Path(), [{"use": "language", "languages": ["english"]}]))


def test_a_missing_extra_names_the_package_to_install(monkeypatch):
    module._model.cache_clear()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(PluginError, match="scorer 'language' needs the package 'py3langid'") as caught:
        language(["a"], ["en"])
    assert caught.value.hint == f"run: {install_command('language')}"
    assert caught.value.exit_code == PLUGIN


def sections(folder, score):
    return {
        **{"curate": 1, "run": str(folder / "run"), "embed": {"use": "hashing", "dimensions": 16}},
        "input": {"files": f"{SAMPLES}/pool/*.jsonl", "id": "id", "text": "{instruction}\n{output}"},
        **{"cluster": {"use": "kmeans", "n_clusters": 2}, "score": score},
        "select": [{"use": "where", "drop": "score_language < 0.5"}],
        "export": {"use": "jsonl"},
    }


@pytest.mark.slow
def test_the_rows_of_the_sample_in_another_language_are_dropped_and_no_clean_one(tmp_path, plain_map):
    """Recall 1; what else is dropped is junk, which is in no language."""
    done = pipeline.run(config_from_dict(sections(tmp_path, [{"use": "language"}])), Serial())
    (written,) = (done.version / "data").iterdir()
    kept = [json.loads(line)["id"] for line in written.read_text(encoding="utf-8").splitlines()]
    key = pl.read_parquet(SAMPLES / "key.parquet")
    kinds = dict(zip(key["id"], key["kind"], strict=True))
    every = [
        json.loads(line).get("id")
        for path in (SAMPLES / "pool").glob("*.jsonl")
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.endswith("}")
    ]
    dropped = [kinds.get(name, "clean") for name in set(every) - {None, *kept}]
    assert {kind: dropped.count(kind) for kind in dropped} == {"other_language": 60, "junk": 63, "blank": 1}

"""MinHash drops similar pairs, nothing else, and names the representatives."""

from __future__ import annotations

import gzip
import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from curate.kernels.neighbors.jaccard import HashSets
from curate.kernels.neighbors.minhash_signatures import candidate_probability, choose_bands
from curate.kernels.neighbors.rare_shingles import Profiles
from curate.kernels.types import Texts
from curate.plugins.batches import Pool
from curate.plugins.selectors.duplicates import minhash as module
from curate.plugins.selectors.duplicates.minhash import MinHash, minhash

DEFAULTS = {"ngram_unit": "word", "ngram_size": 5, "num_perm": 128, "max_miss_rate": 0.01, "linkage": "direct"}
ARTICLES = Path(os.environ.get("CURATE_DATA", "data")) / "minhash-articles"


def run(texts, *, quality=None, block=7, min_similarity=0.8, **fields):
    quality = np.zeros(len(texts)) if quality is None else np.asarray(quality)
    source = Texts.from_list(texts, block=block)
    return minhash(source, quality.astype(np.float32), min_similarity=min_similarity, **{**DEFAULTS, **fields})


def stands(texts, **fields):
    return run(texts, **fields)[0].tolist()


def sets(text, ngram_size=5):
    words = text.lower().split()
    return {tuple(words[i : i + ngram_size]) for i in range(max(1, len(words) - ngram_size + 1))}


def jaccard(one, other, ngram_size=5):
    a, b = sets(one, ngram_size), sets(other, ngram_size)
    return len(a & b) / len(a | b)


def random_texts(n, words, seed):
    return [[f"w{word}" for word in row] for row in np.random.default_rng(seed).integers(0, 10**6, (n, words))]


# ---------------------------------------------------------------- what is found


def test_planted_copies_are_found_by_the_curve_and_nothing_else_is():
    """Copies of 200 words with up to nine of them changed, at a cut that misses a share worth counting."""
    originals, r = random_texts(600, 200, seed=1), np.random.default_rng(2)
    copies = [list(words) for words in originals]
    for words in copies:
        for position in r.choice(200, r.integers(0, 10), replace=False):
            words[position] = "changed"
    texts = [" ".join(words) for words in originals + copies]
    representative, similarity, _ = run(texts, min_similarity=0.7, num_perm=32, max_miss_rate=0.3, block=100)
    true = np.array([jaccard(texts[i], texts[600 + i]) for i in range(600)])
    dropped = representative[600:] >= 0
    assert (representative[:600] == -1).all()
    assert (representative[600:][dropped] == np.flatnonzero(dropped)).all()
    assert (true[dropped] >= 0.7).all()
    np.testing.assert_allclose(similarity[600:][dropped], true[dropped], rtol=1e-6)
    chance = np.array([candidate_probability(s, *choose_bands(0.7, 32, 0.3)) for s in true[true >= 0.7]])
    assert abs(dropped.sum() - chance.sum()) <= 3 * np.sqrt((chance * (1 - chance)).sum())
    assert (true >= 0.7).sum() > dropped.sum(), "some are missed, or this would test nothing"


@pytest.mark.skipif(not ARTICLES.is_dir(), reason="needs the articles, in the folder that CURATE_DATA names")
@pytest.mark.parametrize("linkage", ["direct", "connected"])
@pytest.mark.parametrize("min_similarity", [0.5, 0.8, 0.9])
def test_every_planted_copy_among_real_articles_is_found_and_nothing_else(linkage, min_similarity):
    lines = gzip.decompress((ARTICLES / "articles_1000.train.gz").read_bytes()).decode().splitlines()
    ids, texts = zip(*(line.split(" ", 1) for line in lines), strict=True)
    truth = {frozenset(line.split()) for line in (ARTICLES / "articles_1000.truth").read_text().splitlines()}
    result = stands(texts, min_similarity=min_similarity, linkage=linkage)
    assert {frozenset((ids[i], ids[of])) for i, of in enumerate(result) if of >= 0} == truth


# ---------------------------------------------------------------- linkage and representatives

A, B, C = ("a b c d e f g h", "b c d e f g h i", "c d e f g h i j")  # 6 of 8 words joined; 4 of 10


@pytest.mark.parametrize(("linkage", "expected"), [("direct", [-1, 0, -1]), ("connected", [-1, 0, 0])])
def test_a_chain_drops_its_end_only_if_configured(linkage, expected):
    representative, similarity, nearest = run([A, B, C], ngram_size=1, min_similarity=0.7, linkage=linkage)
    assert representative.tolist() == expected
    np.testing.assert_allclose(similarity, [np.nan, 7 / 9, np.nan if linkage == "direct" else 6 / 10], rtol=1e-6)
    np.testing.assert_allclose(nearest[:2], [0, 7 / 9], rtol=1e-6)


def test_the_row_that_would_drop_another_must_itself_be_kept():
    """B is first: it represents both ends."""
    assert stands([B, A, C], ngram_size=1, min_similarity=0.7) == [-1, 0, 0]


def test_best_quality_is_kept_ties_to_the_first_and_copies_name_the_representative():
    texts = [A, B, A, B, B]
    assert stands(texts, ngram_size=1, min_similarity=0.7) == [-1, 0, 0, 0, 0]
    assert stands(texts, ngram_size=1, min_similarity=0.7, quality=[0, 1, 0, 2, 2]) == [3, 3, 3, -1, 3]
    similarity = run(texts, ngram_size=1, min_similarity=0.7, quality=[0, 1, 0, 2, 2])[1]
    np.testing.assert_allclose(similarity, [7 / 9, 1, 7 / 9, np.nan, 1], rtol=1e-6)


def test_the_most_similar_kept_row_is_the_representative():
    base = [f"w{i}" for i in range(20)]
    further, nearer = " ".join(base[:-3]), " ".join([*base[1:], "r"])  # .85 and .90 similar, .76 to each other
    assert stands([further, nearer, " ".join(base)], ngram_size=1) == [-1, -1, 1]


@pytest.mark.parametrize("crowd", [2, 256])
def test_rows_of_a_crowded_band_are_linked_as_by_brute_force(monkeypatch, crowd):
    """A template with two slots: all rows are alike, and at .8 those that have one value in common are similar."""
    monkeypatch.setattr(module, "_CROWD", crowd)
    r = np.random.default_rng(4)
    base = [f"w{i}" for i in range(60)]
    texts = [" ".join([*base[:20], f"a{a}", *base[20:40], f"b{b}", *base[40:]]) for a, b in r.integers(0, 6, (80, 2))]
    result = run(texts, min_similarity=0.8, max_miss_rate=1e-9, num_perm=4096, ngram_unit="word", ngram_size=5)
    kept, expected = [], []
    for i, text in enumerate(texts):
        best = max(kept, key=lambda k, text=text: jaccard(text, texts[k]), default=-1)
        expected.append(best if kept and jaccard(text, texts[best]) >= 0.8 else -1)
        kept += [i] if expected[-1] == -1 else []
    assert result[0].tolist() == expected
    assert len(kept) > 1


def test_a_template_needs_few_comparisons(monkeypatch):
    """3,000 pages of which no two are similar, though most share a band: of 4.5 million pairs a small part."""
    compared, true = [], HashSets.jaccard
    monkeypatch.setattr(HashSets, "jaccard", lambda self, a, b: compared.append(len(a)) or true(self, a, b))
    base, r = [f"w{i}" for i in range(60)], np.random.default_rng(5)
    slots = r.integers(0, 1000, (3000, 3))
    texts = [
        " ".join([*base[:15], f"a{a}", *base[15:30], f"b{b}", *base[30:45], f"c{c}", *base[45:]]) for a, b, c in slots
    ]
    for linkage in ("direct", "connected"):
        assert max(run(texts, min_similarity=0.9, linkage=linkage)[0]) == -1
    assert sum(compared) < 200_000


# ---------------------------------------------------------------- odd texts


def test_a_hundred_thousand_identical_documents_need_no_comparison(monkeypatch):
    compared = []
    monkeypatch.setattr(
        HashSets, "jaccard", lambda self, left, right: compared.append(len(left)) or np.zeros(len(left))
    )
    result = run(["the same document as all the others are"] * 100_000, block=65_536)[0]
    assert result.tolist() == [-1] + [0] * 99_999
    assert sum(compared) == 0


def test_capitals_and_white_space_make_no_difference_and_punctuation_does():
    texts = ["One two  three\nfour five six", "one two three four five SIX ", "one two three four five six."]
    assert stands(texts, min_similarity=1.0) == [-1, 0, -1]


def test_texts_of_at_most_one_word():
    texts = ["", "yes", "no", "Yes", " \n", "\ud800", "\ud800", "yes yes"]
    assert stands(texts) == [-1, -1, -1, 1, 0, -1, 5, -1]


def test_no_text_at_all():
    assert [part.tolist() for part in run([])] == [[], [], []]


def test_texts_without_blanks_and_from_right_to_left():
    chinese = "数据选择是训练语言模型之前的重要步骤因为重复的文本会浪费计算资源"
    hebrew = "בראשית ברא אלהים את השמים ואת הארץ והארץ היתה תהו ובהו וחשך על פני תהום ורוח אלהים מרחפת על פני המים"
    texts = [chinese, chinese + "啊", chinese[::-1], hebrew, hebrew + " ויאמר", hebrew[::-1]]
    assert stands(texts) == [-1, 0, -1, -1, 3, -1]


def test_repeated_words_are_one_shingle():
    """Equal sets, though one has a shingle more often."""
    representative, similarity, _ = run(["ha " * 10, "ha " * 20], min_similarity=1.0)
    assert representative.tolist() == [-1, 0]
    assert similarity[1] == 1


# ---------------------------------------------------------------- the plugin


def test_selection_has_gain_reason_and_similarity():
    texts = Texts.from_list([A, B, C, "nothing like it"])
    pool = Pool(np.zeros((4, 0), np.float32), np.zeros(4, np.float32), np.zeros(4, np.int32), texts=texts)
    selection = MinHash(ngram_size=1, min_similarity=0.7).select(pool, None, np.random.default_rng(0))
    assert selection.indices.tolist() == [0, 2, 3]
    np.testing.assert_allclose(selection.gain, [1, 1 - 6 / 10, 1], rtol=1e-6)
    assert selection.reasons == ("near-duplicate (Jaccard similarity at least 0.7)",)
    assert selection.representative.tolist() == [-1, 0, -1, -1]
    chained = MinHash(ngram_size=1, min_similarity=0.7, linkage="connected")
    connected = chained.select(pool, None, np.random.default_rng(0))
    assert connected.reasons == (
        "connected to its representative by near-duplicates (Jaccard similarity at least 0.7)",
    )


def test_earliest_row_is_kept_if_configured():
    quality = np.array([0, 1], np.float32)
    pool = Pool(np.zeros((2, 0), np.float32), quality, np.zeros(2, np.int32), texts=Texts.from_list([A, A]))
    for first, kept in (("best_quality", [1]), ("first", [0])):
        assert MinHash(keep=first).select(pool, None, np.random.default_rng(0)).indices.tolist() == kept


def test_too_few_permutations_are_refused_when_the_configuration_is_read():
    with pytest.raises(ValueError, match="requires at least 44"):
        MinHash(min_similarity=0.1, num_perm=16)


INVISIBLY_DIFFERENT = (
    "Où le café a-t-il été bu à l'époque, et par qui, s'il vous plaît ?",
    unicodedata.normalize("NFD", "Où le café a-t-il été bu à l'époque, et par qui, s'il vous plaît ?"),
    "Où le ca\u00adfé a-t-il été bu à l'épo\u200bque, et par\u2060 qui, s'il vous plaît ?\ufeff",
    "OÙ LE CAFÉ A-T-IL ÉTÉ BU À L'ÉPOQUE,  ET PAR QUI, S'IL VOUS PLAÎT ?",
)


@pytest.mark.parametrize("shingle", ["word", "character"])
@pytest.mark.parametrize(
    ("normalize", "kept"), [(None, 1), (("case", "space"), 3), (("unicode", "space"), 2), (("case",), None), ((), 4)]
)
def test_texts_that_differ_in_what_is_normalized_are_the_same(shingle, normalize, kept):
    options = {} if normalize is None else {"normalize": normalize}
    texts = Texts.from_list(INVISIBLY_DIFFERENT)
    pool = Pool(np.zeros((4, 0), np.float32), np.zeros(4, np.float32), np.zeros(4, np.int32), texts=texts)
    plugin = MinHash(ngram_unit=shingle, ngram_size=3, min_similarity=1.0, **options)
    wanted = kept or (3 if shingle == "word" else 4)  # words end at white space, characters count it
    assert len(plugin.select(pool, None, np.random.default_rng(0)).indices) == wanted


# ---------------------------------------------------------------- templates


def fills(n, words, values, seed=0, other=0):
    """Return texts of one template filled with ``values``; every ``other``-th has another ending."""
    base = [f"w{number}" for number in range(words)]
    positions = np.linspace(3, words - 4, len(values)).astype(int)
    built = []
    for number, row in enumerate(np.random.default_rng(seed).integers(0, values, (n, len(values))).tolist()):
        text = list(base)
        for fill, (at, value) in enumerate(zip(positions, row, strict=True)):
            text[at] = f"f{fill}.{value}"
        built.append(" ".join(text if not other or number % other else [*text[:-10], *"abcdefghij"]))
    return built


def first_of_chain(texts, threshold):
    """Return the first row of each component, by union-find over all pairs."""
    first = list(range(len(texts)))
    for one in range(len(texts)):
        for two in range(one):
            if jaccard(texts[one], texts[two]) >= threshold:
                low, high = sorted((first[one], first[two]))
                first = [low if value == high else value for value in first]
    return first


@pytest.mark.slow
@pytest.mark.parametrize("crowd", [2, 256])
@pytest.mark.parametrize("min_similarity", [0.4, 0.7, 0.9])
@pytest.mark.parametrize(
    "pool",
    [
        pytest.param(fills(90, 40, (10**9, 8, 10**9)), id="two fills that never repeat"),
        pytest.param(fills(90, 60, (3, 3, 3, 3)), id="few values"),
        pytest.param(fills(90, 60, (10**9,), other=2), id="two endings"),
        pytest.param(fills(40, 30, (5, 5)) + fills(40, 34, (5, 5), seed=1), id="two lengths"),
    ],
)
def test_components_of_templates_are_those_of_union_find(monkeypatch, pool, min_similarity, crowd):
    monkeypatch.setattr(module, "_CROWD", crowd)
    result = run(pool, min_similarity=min_similarity, max_miss_rate=1e-9, num_perm=4096, linkage="connected")[0]
    expected = first_of_chain(pool, min_similarity)
    assert [row if first < 0 else first for row, first in enumerate(result.tolist())] == expected


@pytest.mark.slow
@pytest.mark.parametrize(
    ("min_similarity", "words", "values"),
    [(0.5, 42, (10**9, 30, 10**12)), (0.7, 60, (1000,) * 3), (0.9, 200, (20,) * 4)],
)
def test_components_of_a_template_take_hardly_more_comparisons_than_direct_linkage(
    monkeypatch, min_similarity, words, values
):
    counted = []
    for kind in (HashSets, Profiles):
        true = kind.jaccard
        monkeypatch.setattr(kind, "jaccard", lambda self, a, b, true=true: counted.append(len(a)) or true(self, a, b))
    pool, compared = fills(2500, words, values, other=2), {}
    for linkage in ("direct", "connected"):
        run(pool, min_similarity=min_similarity, linkage=linkage)
        compared[linkage] = sum(counted)
        counted.clear()
    assert compared["direct"] > 0
    assert compared["connected"] <= 1.1 * compared["direct"] + 2 * len(pool)

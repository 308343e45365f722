"""Objectives, weights, optimizers and costs, combined by a configuration."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from curate.config.loader import selector_entry_from_dict
from curate.errors import ConfigErrors, PluginError
from curate.plugins.batches import Pool
from curate.plugins.interfaces import is_random
from curate.plugins.selectors.coverage.facility_location import FacilityLocation
from curate.plugins.selectors.coverage.submodular import OPTIONS, Submodular, Term, scale_terms

OPTIMIZERS = ("lazy", "naive", "stochastic", "threshold", "distributed")


def pool(n=200, *, seed=0, negative=False):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, 6)).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    el2n = rng.random(n, dtype=np.float32) - np.float32(0.5 if negative else 0)
    frame = pl.DataFrame(
        {
            "source": [f"s{i % 7}" if i % 3 else None for i in range(n)],
            "text": [f"word {i % 13} and {i % 5}" for i in range(n)],
            "tokens": rng.integers(1, 100, n),
        }
    )
    numbers = rng.random(n, dtype=np.float32)
    return Pool(x, numbers, np.zeros(n, np.int32), {"el2n": el2n, "len": numbers}, {"el2n": False, "len": True}, frame)


def select(some, budget, seed=0, **fields):
    fields = {
        key: tuple(Term(**term) for term in value) if key == "objective" else value for key, value in fields.items()
    }
    return Submodular(**fields).select(some, budget, np.random.default_rng(seed)).check(len(some), budget)


EVERY_TERM = (
    {"facility_location": 1.0},
    {"saturated_coverage": 1.0},
    {"saturated_coverage": 1.0, "saturation": 0.9},
    {"graph_cut": 1.0},
    {"graph_cut": 1.0, "redundancy": 0.1},
    {"log_determinant": 1.0},
    {"feature_based": 1.0, "by": "len"},
    {"feature_based": 1.0, "by": ("len", "el2n"), "concave": "log"},
    {"feature_based": 1.0, "column": "text"},
    {"group_balance": 1.0, "column": "source"},
    {"quality": 1.0},
    {"quality": 1.0, "by": "el2n"},
)


@pytest.mark.parametrize("term", EVERY_TERM, ids=lambda term: " ".join(map(str, term)))
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_objective_with_every_optimizer_meets_the_budget_near_the_greedy(term, optimizer):
    some = pool()
    greedy = select(some, 20, objective=(term,), optimizer="naive").gain.sum()
    result = select(some, 20, objective=(term,), optimizer=optimizer, epsilon=0.05).gain.sum()
    assert result >= (0.9 if optimizer == "distributed" else 0.94) * greedy
    if optimizer == "lazy":
        assert result == pytest.approx(greedy)


def test_the_terms_tried_are_all_there_are():
    assert {name for term in EVERY_TERM for name in term if name in OPTIONS} == set(OPTIONS)
    keys = {key for term in EVERY_TERM for key in term if key not in OPTIONS}
    assert keys == {key for some in OPTIONS.values() for key in some}


@pytest.mark.parametrize("optimizer", [*OPTIMIZERS, "distorted"])
def test_only_random_optimizers_are_declared_random(optimizer):
    plugin = Submodular(optimizer=optimizer, cost="tokens" if optimizer == "distorted" else None)
    rng = np.random.default_rng(0)
    before = rng.bit_generator.state
    plugin.select(pool(), 20, rng)
    assert (rng.bit_generator.state != before) == is_random(plugin)


def test_facility_location_alone_is_the_selector_of_that_name():
    some = pool()
    ours = select(some, 30)
    theirs = FacilityLocation().select(some, 30, np.random.default_rng(0))
    assert ours.indices.tolist() == theirs.indices.tolist()
    assert ours.gain.tolist() == theirs.gain.tolist()
    assert ours.representative.tolist() == theirs.representative.tolist()
    assert ours.similarity.tobytes() == theirs.similarity.tobytes()


def test_all_neighbors_are_every_row():
    some = pool()
    assert select(some, 30, n_neighbors="all").indices.tolist() == select(some, 30, n_neighbors=199).indices.tolist()


def test_a_term_of_weight_0_is_as_if_it_were_not_there():
    some = pool()
    alone = select(some, 20, objective=({"quality": 1.0, "by": "el2n"},))
    both = select(some, 20, objective=({"quality": 0.3, "by": "el2n"}, {"facility_location": 0.0}))
    assert both.indices.tolist() == alone.indices.tolist()
    assert both.gain.tolist() == alone.gain.tolist()


def test_quality_is_turned_so_that_higher_is_kept():
    some = pool()
    indices = select(some, 5, objective=({"quality": 1.0, "by": "el2n"},)).indices
    assert indices.tolist() == np.argsort(some.scores["el2n"], kind="stable")[:5].tolist()


def test_weights_move_the_choice_from_one_objective_to_the_other():
    """Each term's own value falls as its weight does, and with nearly all the weight it is nearly as good as alone."""
    some = pool()
    shares = []
    for weight in (0.98, 0.5, 0.02):
        terms = ({"facility_location": weight}, {"quality": 1 - weight, "by": "len"})
        indices = select(some, 20, objective=terms, n_neighbors="all").indices
        covered = np.clip(some.embeddings @ some.embeddings[indices].T, 0, 1).max(axis=1).sum()
        shares.append((covered, some.scores["len"][indices].sum()))
    covered, good = zip(*shares, strict=True)
    assert covered[0] > covered[1] > covered[2]
    assert good[0] < good[1] < good[2]
    assert covered[0] >= 0.98 * select(some, 20, n_neighbors="all").gain.sum()
    assert good[2] >= 0.98 * np.sort(some.scores["len"])[-20:].sum()


def test_gains_of_a_sum_are_shares_of_what_each_term_reaches_alone():
    some = pool()
    alone = select(some, 20, objective=({"quality": 1.0},)).gain.sum()
    twice = select(some, 20, objective=({"quality": 0.25}, {"quality": 0.5}))
    assert twice.gain.sum() == pytest.approx(0.75)
    np.testing.assert_allclose(twice.gain / twice.gain.sum(), np.sort(twice.gain)[::-1] / 0.75, rtol=1e-5)
    assert alone != pytest.approx(0.75)


def test_balance_takes_rows_of_each_group_in_turn_missing_ones_too():
    some = pool()
    indices = select(some, 16, objective=({"group_balance": 1.0, "column": "source"},)).indices
    taken = some.frame["source"].fill_null("none").gather(indices).value_counts()["count"]
    assert sorted(taken.to_list()) == [2] * 8


def test_features_of_text_take_what_has_new_trigrams():
    texts = ["the cat", "the cat", "the cat!", "a dog", "zebra zoo"]
    frame = pl.DataFrame({"text": texts})
    some = Pool(np.eye(5, dtype=np.float32), np.zeros(5, np.float32), np.zeros(5, np.int32), frame=frame)
    indices = select(some, 3, objective=({"feature_based": 1.0, "column": "text"},)).indices
    assert sorted(indices.tolist()) == [2, 3, 4]


# ---------------------------------------------------------------- cost


def test_cost_weight_0_is_the_objective_alone():
    some = pool()
    plain = select(some, 20).indices
    assert select(some, 20, optimizer="distorted", cost="tokens", cost_weight=0.0).indices.tolist() == plain.tolist()


def test_cost_weight_1_is_the_cheapest_rows():
    some = pool()
    indices = select(some, 20, optimizer="distorted", cost="tokens", cost_weight=1.0).indices
    prices = some.frame["tokens"].to_numpy()
    assert sorted(prices[indices]) == sorted(prices)[:20]


def test_a_cost_buys_less_coverage_for_fewer_tokens():
    some = pool()
    prices = some.frame["tokens"].to_numpy()
    free = select(some, 20).indices
    priced = select(some, 20, optimizer="distorted", cost="tokens", cost_weight=0.3).indices
    assert prices[priced].sum() < 0.8 * prices[free].sum()

    def covered(order):
        return np.clip(some.embeddings @ some.embeddings[order].T, 0, 1).max(axis=1).sum()

    assert 0.85 * covered(free) < covered(priced) < covered(free)


# ---------------------------------------------------------------- what is odd, and what is wrong


@pytest.mark.parametrize("term", EVERY_TERM, ids=lambda term: " ".join(map(str, term)))
def test_equal_rows_constant_scores_and_every_budget(term):
    n = 12
    x = np.repeat(np.eye(1, 6, dtype=np.float32), n, axis=0)
    frame = pl.DataFrame(
        {"source": [None] * n, "text": [""] * n, "tokens": [0] * n}, schema_overrides={"source": pl.String}
    )
    ones = np.ones(n, np.float32)
    same = Pool(x, ones, np.zeros(n, np.int32), {"el2n": ones, "len": 0 * ones}, {}, frame)
    for budget in (0, 1, 7, n):
        for optimizer in OPTIMIZERS:
            selection = select(same, budget, objective=(term, {"quality": 0.5}), optimizer=optimizer)
            assert np.isfinite(selection.gain).all()
    assert len(select(same, 7, objective=(term,), optimizer="distorted", cost="tokens").indices) == 7


def test_all_neighbors_of_too_many_rows_are_refused():
    many = Pool(np.ones((16_385, 1), np.float32), np.zeros(16_385, np.float32), np.zeros(16_385, np.int32))
    with pytest.raises(PluginError, match="16,385 rows are too many; the maximum is 16,384") as error:
        select(many, 3, n_neighbors="all")
    assert "within: cluster" in error.value.hint


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"objective": ({"feature_based": 1.0, "by": "el2n"},)}, "'el2n' is missing, infinite or negative for"),
        ({"optimizer": "distorted", "cost": "text"}, "'text' contains String, not numbers"),
    ],
)
def test_numbers_that_an_objective_is_not_defined_for_are_refused(fields, message):
    with pytest.raises(PluginError, match=message):
        select(pool(negative=True), 3, **fields)


def test_a_score_that_is_missing_is_no_quality():
    some = pool(3)
    broken = Pool(some.embeddings, some.quality, some.cluster, {"el2n": np.array([1, np.nan, 2], np.float32)})
    with pytest.raises(PluginError, match="'el2n' is missing or infinite for 1 rows"):
        select(broken, 1, objective=({"quality": 1.0, "by": "el2n"},))


WRONG = [
    (
        [{}],
        "select: objective.0: each item needs exactly one objective, got no objective; available: facility_location",
    ),
    (
        [{"quality": 1, "graph_cut": 1}],
        "select: objective.0: each item needs exactly one objective, got graph_cut and quality",
    ),
    ([{"quality": 1, "concave": "log"}], "select: objective.0.concave: quality does not use concave"),
    ([{"feature_based": 1}], "select: objective.0.feature_based: set either `by`, the scores, or `column`, the texts"),
    ([{"group_balance": 1}], "select: objective.0.group_balance: set `column`, the groups"),
    ([{"quality": 1, "by": ["a"]}], "select: objective.0.by: quality takes a single score"),
    ([{"quality": 1, "by": "b"}], "select: objective.0.by: there is no score 'b'"),
    ([{"feature_based": 1, "by": ["a", "b"]}], "select: objective.0.by.1: there is no score 'b'"),
    ([{"quality": 0}], "select: objective: all weights are 0"),
    ([{"quality": 2}], "select: objective.0.quality: must be a number in [0, 1]; got 2"),
    ([{"qualty": 1}], "select: objective.0.qualty: unknown key; did you mean 'quality'?"),
    (["quality"], "select: objective.0: must be a mapping with facility_location"),
    ([], "select: objective: must be a non-empty list of mappings"),
    ("quality", "select: objective: must be a non-empty list of mappings"),
]


@pytest.mark.parametrize(("objective", "message"), WRONG, ids=[message[:60] for _, message in WRONG])
def test_an_invalid_objective_is_an_error_with_its_location(objective, message):
    with pytest.raises(ConfigErrors) as raised:
        selector_entry_from_dict({"use": "submodular", "keep": 3, "objective": objective}, ["a"])
    assert message in str(raised.value)


def test_distorted_and_a_cost_go_together():
    for fields in ({"optimizer": "distorted"}, {"cost": "tokens"}):
        with pytest.raises(ValueError, match="`cost` requires optimizer distorted"):
            Submodular(**fields)


def test_normalized_leaves_one_term_alone_and_a_term_of_nothing_out():
    from curate.kernels.submodular.greedy import lazy
    from curate.kernels.submodular.objectives import Modular

    def search(f):
        return lazy(f, np.arange(2), 1)

    one = Modular(np.array([4.0, 2.0]))
    assert scale_terms([one], [0.3], search) is one
    f = scale_terms([one, Modular(np.zeros(2))], [0.5, 0.5], search)
    assert f.gains(np.arange(2)).tolist() == [0.5, 0.25]


# ---------------------------------------------------------------- parity


def counts(seed=0):
    return np.random.default_rng(seed).poisson(1.0, (60, 12)).astype(np.float64)


def test_picks_are_those_of_apricot():
    """On all similarities of 60 rows; where two gains tie, as none do here, the order would be free."""
    apricot = pytest.importorskip("apricot")
    some = pool(60)
    similarity = np.clip(some.embeddings.astype(np.float64) @ some.embeddings.T, 0, 1)
    covering = apricot.FacilityLocationSelection(10, metric="precomputed", optimizer="lazy").fit(similarity)
    assert select(some, 10, n_neighbors="all").indices.tolist() == covering.ranking.tolist()
    from scipy import sparse

    from curate.kernels.submodular.greedy import lazy
    from curate.kernels.submodular.objectives import FeatureBased

    for concave in ("sqrt", "log"):
        features = apricot.FeatureBasedSelection(10, concave_func=concave, optimizer="lazy").fit(counts())
        ours = lazy(FeatureBased(sparse.csr_array(counts().astype(np.float32)), concave), np.arange(60), 10)[0]
        assert ours.tolist() == features.ranking.tolist()

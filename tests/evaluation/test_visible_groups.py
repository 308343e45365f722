"""Tests of which selectors read labels and groups, directly or indirectly."""

from __future__ import annotations

from typing import Any

import pytest

from curate.config.loader import config_from_dict
from curate.evaluation import visible_groups


def sees(*select: dict[str, Any], **sections: Any) -> tuple[str, ...]:
    data = {
        "curate": 1,
        "run": "run",
        "input": {"files": "a.jsonl", "text": "text", "label": "topic", "source": "site"},
        "proxy": {"use": "logistic"},
        "score": [{"use": "length"}, {"use": "el2n"}, {"use": "prototypicality", "name": "near"}],
        "select": [*select[:-1], {**select[-1], "keep": 5}],
        **sections,
    }
    config = config_from_dict(data)
    return visible_groups.list_visible(config, config.select)


BY_TOPIC = {"cluster": {"use": "column", "column": "topic"}}

CASES = [
    ({"use": "uniform"}, (), "nothing"),
    ({"use": "k_center"}, (), "vectors"),
    ({"use": "top_k", "quality": "length"}, (), "a score of texts"),
    ({"use": "top_k", "quality": "el2n"}, ("labels",), "a score of a proxy"),
    ({"use": "top_k", "quality": "-el2n"}, ("labels",), "the same, turned around"),
    ({"use": "ccs", "by": "el2n"}, ("labels",), "a score in a field"),
    ({"use": "ccs", "by": "length", "cutoff_by": "el2n", "cutoff_rate": 0.1}, ("labels",), "a score in another field"),
    ({"use": "ccs", "by": "length"}, (), "a field with another score"),
    ({"use": "uniform", "within": "label"}, ("labels",), "within labels"),
    ({"use": "uniform", "within": "topic"}, ("labels",), "within the column of the labels"),
    ({"use": "uniform", "within": "source"}, ("groups of source",), "within sources"),
    ({"use": "uniform", "within": "site"}, ("groups of source",), "within the column of the sources"),
    ({"use": "uniform", "within": "lang"}, ("groups of lang",), "within a column"),
    ({"use": "uniform", "within": "cluster"}, ("groups of cluster",), "within clusters"),
    (
        {"use": "submodular", "objective": [{"facility_location": 0.7}, {"quality": 0.3, "by": "el2n"}]},
        ("labels",),
        "a score within a list",
    ),
]


@pytest.mark.parametrize(("entry", "expected"), [pytest.param(one, two, id=name) for one, two, name in CASES])
def test_a_selector_reads_labels_directly_or_through_its_scores(entry, expected):
    assert sees(entry) == expected


SCORES = [
    ({"use": "consistency"}, ("labels",)),
    ({"use": "data_oob"}, ("labels",)),
    ({"use": "source_value", "buyer": "a"}, ("groups of source",)),
    ({"use": "source_value", "buyer": "a", "group": "lang"}, ("groups of lang",)),
    ({"use": "source_value", "buyer": "0", "group": "cluster"}, ()),
    ({"use": "beta_shapley", "group": "site"}, ("labels", "groups of source")),
    ({"use": "retrieval_importance", "files": "a.jsonl"}, ()),
]


@pytest.mark.parametrize(("score", "expected"), SCORES, ids=lambda one: str(one)[:40])
def test_a_score_sees_the_labels_of_the_proxy_and_its_groups(score, expected):
    assert sees({"use": "top_k", "quality": score["use"]}, score=[score]) == expected


def test_labels_that_a_filter_reads_count_for_the_selector_after_it():
    where = {"use": "where", "drop": "score_el2n > 1 OR site = 'x' OR lang = 'de' OR tokens < 3"}
    assert sees(where, {"use": "uniform"}) == ("labels", "column lang", "groups of source")


def test_clusters_that_are_the_column_of_labels_are_labels():
    assert sees({"use": "uniform", "within": "cluster"}, **BY_TOPIC) == ("labels",)
    assert sees({"use": "top_k", "quality": "near"}, **BY_TOPIC) == ("labels",)
    assert sees({"use": "top_k", "quality": "near"}) == ()

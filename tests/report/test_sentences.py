from dataclasses import replace

import numpy as np
import pytest

from curate.accounting import Count
from curate.report import sentences, statistics
from curate.report.report_data import Neighbors, Report, Stage, Tokens


def run(*rows: Count, names: tuple[str, ...] = ("select a", "select b", "select c", "select d", "select e")) -> Report:
    stages = tuple(Stage(name=name, description="", rows=account) for name, account in zip(names, rows, strict=False))
    return Report(run="r", seed=0, version="1", stages=stages)


@pytest.mark.parametrize(
    ("report", "story"),
    [
        pytest.param(run(Count(3, 3)), "No row was dropped or quarantined.", id="nothing happened"),
        pytest.param(run(Count(3, 2, 1)), "1 row was dropped by a.", id="one row"),
        pytest.param(run(Count(9, 8, 0, 1)), "1 row could not be used and was quarantined.", id="only quarantined"),
        pytest.param(
            run(Count(9, 6, 2, 1), Count(6, 2, 4)),
            "2 rows were dropped by a and 4 by b; 1 row could not be used and was quarantined.",
            id="in the order they ran",
        ),
        pytest.param(
            run(Count(99, 98, 1), Count(98, 96, 2), Count(96, 90, 6), Count(90, 80, 10), Count(80, 75, 5)),
            "6 rows were dropped by c, 10 by d, 5 by e and 3 by 2 other entries.",
            id="small entries are summed",
        ),
    ],
)
def test_the_story_mentions_every_lost_row(report: Report, story: str) -> None:
    assert sentences.describe_drops(report) == story


@pytest.mark.parametrize(
    ("kept", "title"),
    [
        ([1, 0, 0, 0, 0], "The share of forum grows from 60 % to 100 %"),
        ([1, 0, 0, 1, 1], "The share of forum shrinks from 60 % to 33.3 %"),
        ([1, 1, 1, 1, 1], "The share of every source is unchanged"),
        ([0, 0, 0, 0, 0], "No row was kept"),
    ],
)
def test_the_share_that_changed_most_is_named_and_its_direction_is_true(kept: list[int], title: str) -> None:
    codes, names = np.array([0, 0, 0, 1, 2]), ["forum", "papers", "notes"]
    part = statistics.shares("source", codes, names, np.array(kept, bool), np.zeros(5, bool))
    assert sentences.describe_shares(part) == title


@pytest.mark.parametrize(
    ("values", "title"),
    [
        ([3, 1, 1, 1], "Kept rows have higher s: median 3, random baseline 1"),
        ([0, 1, 1, 1], "Kept rows have lower s: median 0, random baseline 1"),
        ([1, 1, 1, 1], "Kept rows have the same median s as the random baseline, 1"),
    ],
)
def test_a_scores_direction_is_true(values: list[float], title: str) -> None:
    kept, uniform = np.array([1, 0, 0, 0], bool), np.array([0, 1, 0, 0], bool)
    assert sentences.describe_score(statistics.histogram("s", np.array(values, float), kept, uniform)) == title


@pytest.mark.parametrize(
    ("after", "title"),
    [
        ([0.1, 0.2], "No kept row has a near-duplicate, compared with 50 % in the pool (random baseline: 0 %)"),
        (
            [0.1, 0.2, 0.3, 0.99],
            "25 % of kept rows have a near-duplicate, down from 50 % in the pool (random baseline: 0 %)",
        ),
        ([0.99, 0.2], "50 % of kept rows have a near-duplicate, as in the pool (random baseline: 0 %)"),
        ([0.99], "100 % of kept rows have a near-duplicate, up from 50 % in the pool (random baseline: 0 %)"),
        ([], "Too few rows were kept to compare them with neighbors"),
    ],
)
def test_the_share_of_near_copies_and_its_direction_are_true(after: list[float], title: str) -> None:
    sets = [np.array(each, np.float32) for each in ([0.99, 0.5], after, [0.5])]
    assert sentences.describe_neighbors(Neighbors(before=sets[0], after=sets[1], uniform=sets[2])) == title


@pytest.mark.parametrize(
    ("after", "uniform", "words"),
    [
        ([1, 1, 1], [1, 1, 0], "covers all 3 clusters, 1 more than a random baseline of the same size."),
        ([1, 0, 0], [1, 1, 1], "covers 1 of 3 clusters, 2 fewer than a random baseline of the same size."),
        ([1, 1, 0], [1, 0, 1], "covers 2 of 3 clusters, as does a random baseline of the same size."),
    ],
)
def test_the_number_of_clusters_is_compared_with_random(after: list[int], uniform: list[int], words: str) -> None:
    sets = [np.array(each) for each in (after, uniform)]
    part = statistics.shares("cluster", np.arange(3), list("abc"), sets[0] == 1, sets[1] == 1)
    assert sentences.list_gains(replace(run(Count(3, 2, 1)), shares=(part,)))[0].endswith(words)


def test_the_token_count_states_whether_it_is_an_estimate() -> None:
    counted = replace(run(Count(1, 1)), tokens=Tokens(20_000, 5_000, "column n_tokens", estimated=False))
    estimated = replace(counted, tokens=Tokens(20_000, 5_000, "estimated from the text", estimated=True))
    assert sentences.tokens(counted) == ("5 k", "of 20 k, column n_tokens")
    assert sentences.tokens(estimated) == ("≈ 5 k", "of ≈ 20 k, estimated from the text")


def test_evidence_measures_every_part_in_all_three_sets(rich: Report) -> None:
    rows = {row.name: row for row in sentences.evidence(rich)}
    near = rows["Rows with a near-duplicate"]
    assert near.selection < near.uniform < near.pool
    assert rows["Effective number of clusters"].selection > rows["Effective number of clusters"].uniform
    assert {"Median quality", "Number of sources"} <= rows.keys()


def test_the_headline_states_what_was_removed() -> None:
    stages = (
        Stage(name="input", description="", rows=Count(9, 9)),
        Stage(name="select minhash", description="", rows=Count(9, 6, 3), removed_kind="duplicate"),
        Stage(name="select where", description="", rows=Count(6, 5, 1)),
    )
    report = replace(run(Count(9, 9)), stages=stages)
    assert sentences.headline(report) == "5 of 9 rows kept, 3 duplicates removed"


@pytest.mark.parametrize(("better", "gained"), [(True, True), (False, False), (None, False)])
def test_a_score_that_changed_for_the_better_is_a_gain(better: bool | None, gained: bool) -> None:
    kept, uniform = np.array([[1, 1, 0, 0], [0, 0, 1, 1]], bool)
    score = statistics.histogram("s", np.array([3.0, 4, 1, 2]), kept, uniform, higher_is_better=better)
    assert bool(sentences.list_gains(replace(run(Count(4, 2, 2)), scores=(score,)))) == gained

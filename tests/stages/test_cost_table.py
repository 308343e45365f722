import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.config.loader import config_from_dict
from curate.stages import cost_table, machine_speed
from curate.stages.cost_table import TABLE, interpolate

CONFIG = {
    "curate": 1,
    "run": "run",
    "input": {"files": "pool.jsonl", "text": "text"},
    "select": [{"use": "uniform", "keep": 1}, {"use": "gopher_quality"}],
}


def estimate(*step, rows_per_shard=65_536):
    return cost_table.estimate(*step, rows_per_shard=rows_per_shard)


@given(
    st.lists(st.integers(1, 10**6), min_size=2, max_size=5, unique=True).map(sorted),
    st.lists(st.floats(0, 1e4), min_size=5, max_size=5),
    st.integers(0, 10**9),
)
def test_estimates_are_finite_equal_the_measurements_and_do_not_fall_beyond_them(rows, seconds, n):
    seconds = seconds[: len(rows)]
    for size, value in zip(rows, seconds, strict=True):
        assert interpolate(rows, seconds, size) == pytest.approx(value, abs=1e-6)
    assert 0 <= interpolate(rows, seconds, n) < float("inf")
    if n >= rows[-1]:
        assert interpolate(rows, seconds, n) >= seconds[-1] * (1 - 1e-9) - 1e-9


def test_a_fit_on_a_sample_grows_with_its_last_measurements():
    rows, seconds = [1_000, 4_000, 16_000, 64_000], [1.0, 4.0, 16.0, 20.0]
    assert interpolate(rows, seconds, 1_000_000) == pytest.approx(20 + 936 / 12, rel=0.01)


def test_a_quadratic_step_stays_quadratic_and_no_step_grows_faster():
    assert interpolate([1_000, 4_000], [1.0, 16.0], 40_000) == pytest.approx(1_600)
    assert interpolate([1_000, 4_000], [0.001, 16.0], 40_000) == pytest.approx(1_600)


def test_a_step_with_one_measurement_grows_with_the_rows():
    assert interpolate([1_000], [2.0], 500) == 2.0
    assert interpolate([1_000], [2.0], 5_000) == 10.0


def test_a_slow_machine_takes_longer_for_its_kind_of_work(monkeypatch):
    machine = json.loads(TABLE.read_text())["machine"]
    slow = {"text": 3 * machine["text"], "matrix": 7 * machine["matrix"]}
    monkeypatch.setattr(machine_speed, "seconds", lambda: slow)
    uniform, gopher = config_from_dict(CONFIG).select
    assert cost_table.slowdown(uniform) == pytest.approx(7)
    assert cost_table.slowdown(gopher) == cost_table.slowdown(None) == pytest.approx(3)


def test_longer_texts_and_wider_vectors_take_longer():
    uniform, gopher = config_from_dict(CONFIG).select
    assert estimate("select", gopher, 4_000, 2_000).seconds == pytest.approx(
        2 * estimate("select", gopher, 4_000, 1_000).seconds
    )
    assert estimate("select", uniform, 4_000, 2_000) == estimate("select", uniform, 4_000, 1_000)
    narrow, wide = (config_from_dict(CONFIG | {"embed": {"use": "lsa", "dimensions": d}}).embed[0] for d in (64, 512))
    costs = [estimate("embed", one, 4_000, 1_000) for one in (narrow, wide)]
    assert costs[0].seconds < costs[1].seconds
    assert costs[0].disk < costs[1].disk


@pytest.mark.parametrize(("epochs", "runs"), [(1, 1), (200, 1), (5, 3)])
def test_more_epochs_of_the_proxy_take_longer_to_train_and_to_read(epochs, runs):
    data = {
        **CONFIG,
        "input": {**CONFIG["input"], "label": "topic"},
        "score": [{"use": "aum"}, {"use": "length"}],
        "select": [{"use": "top_k", "keep": 1, "quality": "aum"}],
    }
    usual = config_from_dict(data | {"proxy": {"use": "logistic"}})
    other = config_from_dict(data | {"proxy": {"use": "logistic", "epochs": epochs, "runs": runs}})
    defaults = dict(usual.proxy.spec.fields)
    times = epochs * runs / (defaults["epochs"] * defaults["runs"])
    training = [estimate("proxy", one.proxy, 4_000, 600, one.proxy).seconds for one in (usual, other)]
    assert training[1] == pytest.approx(times * training[0])
    reading = [estimate("score", one.score[0], 4_000, 600, one.proxy).seconds for one in (usual, other)]
    assert reading[1] > 0
    assert (reading[1] > times * reading[0]) == (times > 1)
    assert estimate("score", usual.score[1], 4_000, 600, other.proxy) == estimate("score", usual.score[1], 4_000, 600)


def test_more_trainings_take_longer():
    data = {
        **CONFIG,
        "input": {**CONFIG["input"], "label": "topic"},
        "proxy": {"use": "logistic"},
        "score": [{"use": "data_oob"}, {"use": "data_oob", "name": "more", "models": 700}],
        "select": [{"use": "top_k", "keep": 1, "quality": "more"}],
    }
    settings = config_from_dict(data)
    few, many = (estimate("score", one, 2_000, 600, settings.proxy).seconds for one in settings.score)
    assert many == pytest.approx(7 * few)
    assert few > 0


def test_memory_of_a_step_with_tasks_is_that_of_a_shard():
    settings = config_from_dict(CONFIG | {"select": [{"use": "minhash"}, {"use": "facility_location", "keep": 1}]})
    minhash, facility_location = settings.select
    small, large = (estimate("select", minhash, rows, 1_000).memory for rows in (65_536, 65_536_000))
    assert large - small == 100 * (65_536_000 - 65_536)
    small, large = (estimate("select", facility_location, rows, 1_000).memory for rows in (65_536, 65_536_000))
    assert large > 100 * small


def test_shards_are_divided_over_the_cores(monkeypatch):
    monkeypatch.setattr(cost_table, "thread_count", lambda: 4)
    (gopher,) = config_from_dict(CONFIG | {"select": [{"use": "gopher_quality"}]}).select
    one, two, many = (
        estimate("select", gopher, 60_000, 1_000, rows_per_shard=rows).seconds for rows in (60_000, 30_000, 1_000)
    )
    assert one > two > many >= one / 4.01


def test_more_clusters_take_longer():
    few, many = (
        config_from_dict(CONFIG | {"cluster": {"use": "kmeans", "n_clusters": k}}).cluster for k in (100, 9_000)
    )
    assert estimate("cluster", many, 1_000_000, 1_000).seconds > 10 * estimate("cluster", few, 1_000_000, 1_000).seconds

import json

import pytest

from curate.stages import machine_speed

MEASURED = {"text": 0.5, "matrix": 0.25}


@pytest.fixture
def measurements(tmp_path, monkeypatch):
    """Use an empty cache directory, and count the measurements."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    calls = []
    monkeypatch.setattr(machine_speed, "measure", lambda: calls.append(0) or dict(MEASURED))
    return calls


def test_a_machine_is_measured_once(measurements, tmp_path):
    assert machine_speed.seconds() == machine_speed.seconds() == MEASURED
    assert len(measurements) == 1
    assert [path.name for path in (tmp_path / "cache/curate").iterdir()] == ["speed.json"]


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"machine": "x"}', "\ud800"])
def test_a_corrupt_cache_is_measured_again(measurements, text):
    path = machine_speed.cache_file()
    path.parent.mkdir(parents=True)
    path.write_bytes(text.encode(errors="surrogatepass"))
    assert machine_speed.seconds() == MEASURED
    assert machine_speed.seconds() == MEASURED
    assert len(measurements) == 1


@pytest.mark.parametrize("value", [0, -1, "x", None, [], float("nan"), float("inf")])
def test_a_cache_without_positive_seconds_is_measured_again(measurements, value):
    machine_speed.seconds()
    path = machine_speed.cache_file()
    path.write_text(json.dumps(json.loads(path.read_text()) | {"text": value}))
    assert machine_speed.seconds() == MEASURED


@pytest.mark.parametrize("key", ["machine", "curate"])
def test_the_measurement_of_another_machine_or_release_is_not_used(measurements, key):
    machine_speed.seconds()
    path = machine_speed.cache_file()
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: "another", "text": 9.0}))
    assert machine_speed.seconds() == MEASURED


def test_a_cache_that_cannot_be_written_is_no_error(measurements, tmp_path):
    (tmp_path / "cache").write_text("a file")
    assert machine_speed.seconds() == machine_speed.seconds() == MEASURED
    assert len(measurements) == 2


def test_a_machine_without_a_home_directory_is_measured(measurements, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr("pathlib.Path.expanduser", lambda path: (_ for _ in ()).throw(RuntimeError("no home")))
    assert machine_speed.seconds() == MEASURED


def test_both_tasks_take_time():
    assert all(0 < seconds < 60 for seconds in machine_speed.measure().values())

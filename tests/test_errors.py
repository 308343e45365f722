"""Errors of libraries come out as what they are."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import pytest

from curate import errors
from curate.errors import convert_panics
from curate.executors.base import Terminated


@pytest.mark.parametrize("signal", [KeyboardInterrupt, Terminated])
def test_a_signal_that_came_while_a_library_in_c_was_at_work_is_that_signal(signal):
    with pytest.raises(signal), convert_panics():
        raise SystemError("returned a result with an exception set") from signal()


@pytest.mark.parametrize("cause", [None, ValueError()])
def test_any_other_system_error_stays_one(cause):
    with pytest.raises(SystemError, match="bad argument"), convert_panics():
        raise SystemError("bad argument to internal function") from cause


def test_a_hint_to_install_works_in_a_checkout_elsewhere_and_without_one(monkeypatch, tmp_path):
    checkout = Path(errors.__file__).parent.parent
    monkeypatch.chdir(checkout)
    assert errors.install_command("ray") == "pip install --editable '.[ray]'"
    monkeypatch.chdir(tmp_path)
    assert errors.install_command("ray") == f"pip install --editable {shlex.quote(f'{checkout}[ray]')}"
    monkeypatch.setattr(errors, "__file__", str(tmp_path / "site-packages" / "curate" / "errors.py"))
    assert errors.install_command("ray") == "pip install 'curate-data[ray]'"


def test_the_distribution_and_every_extra_that_a_hint_names_exist():
    project = tomllib.loads((Path(errors.__file__).parent.parent / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["name"] == errors.DISTRIBUTION
    source = "\n".join(path.read_text("utf-8") for path in Path(errors.__file__).parent.rglob("*.py"))
    named = re.findall(r"missing_extra_error\(\s*\"[^\"]+\",\s*\"([^\"]+)\"", source)
    assert named
    assert set(named) <= set(project["optional-dependencies"])

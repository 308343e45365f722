"""Errors of libraries come out as what they are."""

from __future__ import annotations

import pytest

from curate.errors import catching_panics
from curate.executors.base import Terminated


@pytest.mark.parametrize("signal", [KeyboardInterrupt, Terminated])
def test_a_signal_that_came_while_a_library_in_c_was_at_work_is_that_signal(signal):
    with pytest.raises(signal), catching_panics():
        raise SystemError("returned a result with an exception set") from signal()


@pytest.mark.parametrize("cause", [None, ValueError()])
def test_any_other_system_error_stays_one(cause):
    with pytest.raises(SystemError, match="bad argument"), catching_panics():
        raise SystemError("bad argument to internal function") from cause

"""Fitted state is read as it was written, or not at all."""

from __future__ import annotations

import numpy as np
import pytest

from curate.store import npz


@pytest.fixture
def path(tmp_path):
    npz.save(tmp_path / "fitted.npz", "f", {"a": np.arange(3)})
    return tmp_path / "fitted.npz"


def test_arrays_are_read_back_for_the_same_fingerprint_only(path):
    assert npz.load(path, "f")["a"].tolist() == [0, 1, 2]
    assert npz.load(path, "g") is None
    assert npz.load(path.with_name("missing.npz"), "f") is None


def test_a_changed_byte_anywhere_gives_arrays_or_nothing(path):
    """Each byte of the archive is flipped in turn: flags of encryption and compression methods are among them."""
    data, lost = path.read_bytes(), 0
    for at in range(len(data)):
        for mask in (0x01, 0xFF):
            path.write_bytes(data[:at] + bytes([data[at] ^ mask]) + data[at + 1 :])
            lost += npz.load(path, "f") is None
    assert lost > len(data) / 2

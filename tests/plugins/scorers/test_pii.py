"""Counts of personal data."""

from __future__ import annotations

from curate.plugins import registry
from curate.plugins.scorers.pii import count_pii


def test_each_column_counts_its_kind_and_the_first_them_all():
    names = [column.name for column in registry.get("scorer", "pii").traits.columns]
    result = count_pii(["a@example.org, b@example.org, 81.2.69.142; card 4111111111111111", "GB82WEST12345698765432"])
    assert dict(zip(names, result[0].tolist(), strict=True)) == {
        **{"": 4, "keys": 0, "emails": 2, "ibans": 0, "cards": 1, "ips": 1, "phones": 0}
    }
    assert result[1].tolist() == [1, 0, 0, 1, 0, 0, 0]

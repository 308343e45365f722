"""Tokens are estimated from bytes, or counted by a tokenizer."""

from __future__ import annotations

import pyarrow as pa
import pytest

from curate.errors import PluginError
from curate.stages.ingest import token_counts


def test_an_estimate_is_a_quarter_of_the_bytes_rounded_up():
    assert token_counts.estimate(pa.array(["", "abcd", "abcde", "éé"])).to_pylist() == [0, 1, 2, 1]


def test_a_tokenizer_file_counts(tmp_path):
    tokenizers = pytest.importorskip("tokenizers")
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0, "b": 1, "[UNK]": 2}, unk_token="[UNK]"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.save(str(tmp_path / "tokenizer.json"))
    texts = pa.array(["a b c", "a", ""])
    assert token_counts.make_counter(str(tmp_path))(texts).to_pylist() == [3, 1, 0]
    assert token_counts.make_counter(str(tmp_path / "tokenizer.json"))(texts).to_pylist() == [3, 1, 0]


def test_what_is_no_tokenizer_says_what_may_stand_there(tmp_path):
    pytest.importorskip("tokenizers")
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(PluginError, match="neither a column of the input nor a tokenizer"):
        token_counts.make_counter(str(tmp_path))

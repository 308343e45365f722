"""Where: drop the rows for which a SQL condition over scores and input columns is true."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import polars as pl
import polars.selectors as cs

from curate.errors import PluginError
from curate.kernels.types import Flags
from curate.plugins.batches import Pool
from curate.plugins.interfaces import selector
from curate.plugins.results import Selection


def where(frame: pl.DataFrame, condition: str) -> Flags:
    """The rows for which ``condition`` is true; where it is null it is not true.

    Parameters
    ----------
    frame : n rows, with the columns that the condition names; NaN counts as null
    condition : a boolean expression in Polars' SQL; an aggregate in it is taken over all n rows

    Returns
    -------
    (n,) bool

    Cost: O(n) for every operation in the condition.

    References
    ----------
    Three-valued logic: ISO/IEC 9075-2 (SQL), search conditions.

    Deviations: in SQL and in Polars NaN is larger than every number; here it is a missing value, as in the scores.

    Raises
    ------
    PluginError : if the condition does not fit the columns' types, or is not boolean

    >>> where(pl.DataFrame({"score_length": [3.0, 40.0, None]}), "score_length < 5").tolist()
    [True, False, False]
    """
    try:
        result = (
            frame.lazy()
            .with_columns(cs.float().fill_nan(None))
            .with_columns(pl.sql_expr(with_quotes(condition)).alias(_RESULT))
            .select(_RESULT)
            .collect()[_RESULT]
        )
    except pl.exceptions.PolarsError as error:
        raise PluginError(
            f"drop: {condition!r} cannot be computed: {_first_line(error)}", hint=_types_of(frame)
        ) from error
    if result.dtype not in (pl.Boolean, pl.Null):
        raise PluginError(
            f"drop: {condition!r} gives {result.dtype}, not true or false",
            hint=f"compare it with something; {_types_of(frame)}",
        )
    return result.cast(pl.Boolean).fill_null(value=False).to_numpy()


_RESULT = "curate: the result"

_QUOTED = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*\"""")
_QUERY = re.compile(r"\bSELECT\b|\(\s*(?:FROM|WITH|VALUES|TABLE)\b", re.IGNORECASE)
_ODD = re.compile(r"--|/\*|[$`#']|[\w&]\0")


def check_no_query(condition: str) -> None:
    """Refuse a condition with a query in it: Polars opens the files that a query names as soon as it is parsed.

    Comments, dollar quotes and letters before a quote go too, as they could hide one.
    """
    code = _QUOTED.sub("\0", with_quotes(condition))
    if _QUERY.search(code):
        raise ValueError(f"drop: {condition!r} is not a SQL expression: it holds a query")
    if odd := _ODD.search(code):
        raise ValueError(
            f"drop: {condition!r} is not a SQL expression that is read here: write it without {odd[0][:1]!r}"
        )


_NO_COLUMNS = {"null", "true", "false", "not", "case", "when", "distinct"}
_NO_COLUMNS |= {"current_date", "current_time", "current_timestamp", "localtime"}
"""Words that stand where a value is due, and are no column unless they are quoted."""

_TOKEN = re.compile(
    r"""(?P<quoted>'(?:[^']|'')*'|"(?:[^"]|"")*")|(?P<word>[^\W\d]\w*)|(?P<number>\d[\d.]*\w*)|(?P<mark>\S)"""
)
_AFTER_A_VALUE = {
    "and",
    "or",
    "not",
    "is",
    "in",
    "like",
    "ilike",
    "rlike",
    "regexp",
    "between",
    "when",
    "then",
    "else",
    "end",
}
_BEFORE_A_VALUE = (_AFTER_A_VALUE - {"is", "end"}) | {"case", "distinct", "from"}


def with_quotes(condition: str) -> str:
    """Quote the columns of a SQL condition, as their names may be keywords: words where a value is due, and ends.

    >>> with_quotes("order > 3 AND CASE WHEN end = 1 THEN 2 END > group")
    '"order" > 3 AND CASE WHEN "end" = 1 THEN 2 END > "group"'
    """
    tokens = list(_TOKEN.finditer(condition))
    pieces, start = [], 0
    for before, token, after in zip([None, *tokens], tokens, [*tokens[1:], None], strict=False):
        word = (token["word"] or "").lower()
        if word and word not in _NO_COLUMNS and _wants_value(before) and _ends_value(after, word):
            pieces += [condition[start : token.start()], f'"{token["word"]}"']
            start = token.end()
    return "".join([*pieces, condition[start:]])


def _wants_value(before: re.Match[str] | None) -> bool:
    if before is None:
        return True
    return (before["mark"] or ")") not in "):" or (before["word"] or "").lower() in _BEFORE_A_VALUE


def _ends_value(after: re.Match[str] | None, word: str) -> bool:
    if after is None or (after["word"] or "").lower() in _AFTER_A_VALUE:
        return True
    return (after["mark"] or "(") != "(" and not (word == "select" and after["mark"] == "*")


def _types_of(frame: pl.DataFrame) -> str:
    types = "the columns are " + ", ".join(f"{name} ({dtype})" for name, dtype in frame.schema.items())
    return f"{types}; input.types declares text to be a number" if pl.String in frame.dtypes else types


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


@selector(
    version=1,
    reads={"frame"},
    budgeted=False,
    equivariant=True,
    example={"drop": "score_length < 0.25"},
    random=False,
    cost="O(n)",
    guarantee="exactly the rows that pass",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """Drop the rows for which a condition is true; keep those for which it is false or unknown (null or NaN).

    The rows kept stand in the pool's order, with gain 0.

    References
    ----------
    Polars user guide, SQL interface; ISO/IEC 9075-2 (SQL), search conditions.
    """

    drop: str
    """A condition in Polars' SQL over score and input columns, such as "score_language < 0.5 OR source = 'ads'". Names
    with spaces or marks stand in double quotes, and so do those that are operators (and, in); other keywords do not."""

    def __post_init__(self) -> None:
        check_no_query(self.drop)
        try:
            columns = self.columns()
        except pl.exceptions.PolarsError as error:
            raise ValueError(f"drop: {self.drop!r} is not a SQL expression: {_first_line(error)}") from error
        if not columns:
            raise ValueError(f"drop: {self.drop!r} names no column")

    def columns(self) -> tuple[str, ...]:
        """The input and score columns that the condition names, in the order it names them."""
        return tuple(dict.fromkeys(pl.sql_expr(with_quotes(self.drop)).meta.root_names()))

    def select(self, pool: Pool, budget: None, rng: np.random.Generator) -> Selection:  # noqa: ARG002
        if pool.frame is None:
            raise PluginError("drop: the pool has no columns")
        kept = np.flatnonzero(~where(pool.frame, self.drop))
        return Selection(kept, np.zeros(len(kept), np.float32), reasons=(f"drop: {self.drop}",))

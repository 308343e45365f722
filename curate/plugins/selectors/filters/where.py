"""Filter by a SQL condition over scores and input columns."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import polars as pl
import polars.selectors as cs

from curate.errors import PluginError
from curate.kernels.types import Flags
from curate.plugins.batches import Pool
from curate.plugins.interfaces import Scope, selector
from curate.plugins.results import Selection


def where(frame: pl.DataFrame, condition: str) -> Flags:
    """Return the rows for which ``condition`` is true; null counts as not true.

    Parameters
    ----------
    frame : n rows, with the columns of the condition; NaN counts as null
    condition : boolean expression in Polars' SQL; aggregates are computed over all n rows

    Returns
    -------
    (n,) bool

    Raises
    ------
    PluginError : if the condition does not fit the column types, or is not boolean

    Notes
    -----
    Cost: O(n) for every operation in the condition.

    Deviations: in SQL and in Polars NaN is larger than every number; here it is a missing value, as in scores.

    References
    ----------
    Three-valued logic: ISO/IEC 9075-2 (SQL), search conditions.

    Examples
    --------
    >>> where(pl.DataFrame({"score_length": [3.0, 40.0, None]}), "score_length < 5").tolist()
    [True, False, False]
    """
    try:
        result = (
            frame.lazy()
            .with_columns(cs.float().fill_nan(None))
            .with_columns(pl.sql_expr(quote_columns(condition)).alias(_RESULT))
            .select(_RESULT)
            .collect()[_RESULT]
        )
    except pl.exceptions.PolarsError as error:
        raise PluginError(
            f"drop: cannot evaluate {condition!r}: {_first_line(error)}", hint=_describe_columns(frame)
        ) from error
    if result.dtype not in (pl.Boolean, pl.Null):
        raise PluginError(
            f"drop: {condition!r} has type {result.dtype}, not boolean",
            hint=f"compare it with a value; {_describe_columns(frame)}",
        )
    return result.cast(pl.Boolean).fill_null(value=False).to_numpy()


_RESULT = "curate: the result"

_QUOTED = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*\"""")
_QUERY = re.compile(r"\bSELECT\b|\(\s*(?:FROM|WITH|VALUES|TABLE)\b", re.IGNORECASE)
_FORBIDDEN = re.compile(r"--|/\*|[$`#']|[\w&]\0")


def check_no_query(condition: str) -> None:
    """Refuse a condition that contains a query, because Polars opens the files that a query names when parsing it.

    Comments, dollar quotes and letters before a quote are refused too, as they could hide one.

    Raises
    ------
    ValueError : if the condition contains a query or a forbidden character
    """
    code = _QUOTED.sub("\0", quote_columns(condition))
    if _QUERY.search(code):
        raise ValueError(f"drop: {condition!r} is not a SQL expression: it contains a query")
    if forbidden := _FORBIDDEN.search(code):
        raise ValueError(f"drop: {condition!r} is not a supported SQL expression: remove {forbidden[0][:1]!r}")


_NOT_COLUMNS = {"null", "true", "false", "not", "case", "when", "distinct"}
"""Words in the position of a value that are not columns, unless quoted."""
_NOT_COLUMNS |= {"current_date", "current_time", "current_timestamp", "localtime"}
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


def quote_columns(condition: str) -> str:
    """Quote the columns of a SQL condition, as their names may be keywords: words in the position of a value.

    Examples
    --------
    >>> quote_columns("order > 3 AND CASE WHEN end = 1 THEN 2 END > group")
    '"order" > 3 AND CASE WHEN "end" = 1 THEN 2 END > "group"'
    """
    tokens = list(_TOKEN.finditer(condition))
    pieces, start = [], 0
    for before, token, after in zip([None, *tokens], tokens, [*tokens[1:], None], strict=False):
        word = (token["word"] or "").lower()
        if word and word not in _NOT_COLUMNS and _expects_value(before) and _ends_value(after, word):
            pieces += [condition[start : token.start()], f'"{token["word"]}"']
            start = token.end()
    return "".join([*pieces, condition[start:]])


_ROW_WISE = {
    *("abs", "acos", "array_contains", "array_length", "asin", "atan", "bit_length", "cast", "cbrt", "ceil", "ceiling"),
    *("char_length", "character_length", "coalesce", "concat", "concat_ws", "cos", "date_part", "div", "ends_with"),
    *(
        "exp",
        "extract",
        "floor",
        "greatest",
        "if",
        "ifnull",
        "initcap",
        "least",
        "left",
        "length",
        "ln",
        "log",
        "log10",
    ),
    *("log1p", "log2", "lower", "ltrim", "mod", "nullif", "octet_length", "pow", "power", "regexp_like", "replace"),
    *("reverse", "right", "round", "rtrim", "sign", "sin", "split_part", "sqrt", "starts_with", "strpos", "strptime"),
    *("substr", "substring", "tan", "trim", "try_cast", "upper"),
    *("and", "or", "not", "in", "is", "like", "ilike", "rlike", "regexp", "between", "when", "then", "else", "case"),
}
"""Functions of Polars' SQL whose value in a row depends on that row only, and operators that may precede a bracket."""


def is_row_wise(condition: str) -> bool:
    """Return whether the value of a condition in a row depends on that row only.

    A condition with a function that is not known to be such, or with a window, does not count as one.

    Examples
    --------
    >>> is_row_wise("LENGTH(text) > 3 AND score IN (1, 2)"), is_row_wise("score > AVG(score)")
    (True, False)
    """
    tokens = list(_TOKEN.finditer(condition))
    names = [name[0] for name, after in pairwise(tokens) if after["mark"] == "(" and not name["mark"]]
    times = [token[0] for token in tokens if token[0].lower().startswith(("current_", "localtime"))]
    return not times and all(name.lower() in _ROW_WISE for name in names)


def _expects_value(before: re.Match[str] | None) -> bool:
    if before is None:
        return True
    return (before["mark"] or ")") not in "):" or (before["word"] or "").lower() in _BEFORE_A_VALUE


def _ends_value(after: re.Match[str] | None, word: str) -> bool:
    if after is None or (after["word"] or "").lower() in _AFTER_A_VALUE:
        return True
    return (after["mark"] or "(") != "(" and not (word == "select" and after["mark"] == "*")


def _describe_columns(frame: pl.DataFrame) -> str:
    types = "the columns are " + ", ".join(f"{name} ({dtype})" for name, dtype in frame.schema.items())
    return f"{types}; declare types of text columns in input.types" if pl.String in frame.dtypes else types


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


@selector(
    version=1,
    scope=("row", "pool"),
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
    """Drop the rows for which a condition is true; keep rows for which it is false or unknown (null or NaN).

    Use it for thresholds on scores and for simple rules on input columns, such as languages, lengths or sources. To
    keep a fixed share of rows by a score, use ``top_k``.

    The kept rows are in pool order, with gain 0.

    References
    ----------
    Polars user guide, SQL interface; ISO/IEC 9075-2 (SQL), search conditions.
    """

    drop: str
    """Condition in Polars' SQL over score and input columns, such as "score_language < 0.5 OR source = 'ads'". Put
    names with spaces or punctuation in double quotes, and names that are operators (and, in); other keywords need none.
    """

    def __post_init__(self) -> None:
        check_no_query(self.drop)
        try:
            columns = self.columns()
        except pl.exceptions.PolarsError as error:
            raise ValueError(f"drop: {self.drop!r} is not a SQL expression: {_first_line(error)}") from error
        if not columns:
            raise ValueError(f"drop: {self.drop!r} does not use any column")

    def columns(self) -> tuple[str, ...]:
        """Return the input and score columns of the condition, in order of occurrence."""
        return tuple(dict.fromkeys(pl.sql_expr(quote_columns(self.drop)).meta.root_names()))

    def scope(self) -> Scope:
        """Return ``row``, or ``pool`` if the condition may need other rows, for an aggregate."""
        return "row" if is_row_wise(self.drop) else "pool"

    def select(self, pool: Pool, budget: None, rng: np.random.Generator) -> Selection:  # noqa: ARG002
        if pool.frame is None:
            raise PluginError("drop: the pool has no columns")
        kept = np.flatnonzero(~where(pool.frame, self.drop))
        return Selection(kept, np.zeros(len(kept), np.float32), reasons=(f"drop: {self.drop}",))

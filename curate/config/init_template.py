"""The configuration that ``curate init`` writes: short, commented, and fitted to the files that are there."""

from __future__ import annotations

from collections.abc import Sequence

from curate.config import yaml_positions

_TEXT = ("text", "content", "document", "body", "output", "response", "sentence", "prompt")
_ID = ("id", "uid", "uuid", "_id")
_LABEL = ("label", "topic", "category", "class")
_SOURCE = ("source", "dataset", "origin", "domain")


def starter(files: str, columns: Sequence[str], text: str | None, run: str) -> str:
    """A configuration for a pool with these columns.

    Parameters
    ----------
    files : the pool, as ``input.files`` takes it
    columns : of the pool's first file; empty if there is none yet
    text : the column or template that holds the text; guessed where None
    run : the folder for the results

    >>> starter("a.jsonl", ["body", "id"], None, "runs/a").splitlines()[5:8]
    ['  files: a.jsonl', '  text: body', '  id: id']
    """
    settings = [f"  files: {_quoted(files)}", f"  text: {_quoted(text or _guess(columns))}"]
    for key, names in (("id", _ID), ("label", _LABEL), ("source", _SOURCE)):
        found = next((name for name in names if name in columns), None)
        if found is not None:
            settings.append(f"  {key}: {_quoted(found)}")
    return _TEMPLATE.format(settings="\n".join(settings), run=_quoted(run))


def _guess(columns: Sequence[str]) -> str:
    for first, second in (("instruction", "output"), ("prompt", "response"), ("question", "answer")):
        if first in columns and second in columns:
            return f"{{{first}}}\n{{{second}}}"
    return next((name for name in _TEXT if name in columns), columns[0] if columns else "text")


def _quoted(value: str) -> str:
    if "\n" in value or "{" in value:
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
    return yaml_positions.dump(value).removesuffix("\n").removesuffix("\n...")


_TEMPLATE = """\
# What to train on. Look first: curate plan THIS_FILE. Every key is explained by: curate plugins KIND NAME.
curate: 1
run: {run}
seed: 0
input:
{settings}
embed:   {{use: lsa}}                 # no download; or {{use: sentence_transformers, model: …}}
cluster: {{use: kmeans, n_clusters: auto}}
score:
  - {{use: length}}
  - {{use: prototypicality}}
select:                             # in order; each sees what the last one left
  - {{use: where, drop: "score_length < 5"}}
  - {{use: semdedup, min_similarity: 0.95}}
  - {{use: ccs, prune_rate: 0.5, by: prototypicality}}
guard:   {{max_drop_rate: 0.9}}
export:  {{use: parquet}}
"""

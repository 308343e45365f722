"""Template of the configuration that ``curate init`` writes: short, commented, and adapted to the input files."""

from __future__ import annotations

from curate.config import yaml_positions


def render_starter_config(run: str, **settings: str | bool | None) -> str:
    """Return a starter configuration as YAML.

    Parameters
    ----------
    run : str
        Run directory.
    **settings : str, bool or None
        Keys of the input section; a key that is None is omitted.

    Examples
    --------
    >>> render_starter_config("runs/a", files="a.jsonl", text="body", id=None, header=False).splitlines()[5:8]
    ['  files: a.jsonl', '  text: body', '  header: false']
    """
    lines = [f"  {key}: {_quoted(value)}" for key, value in settings.items() if value is not None]
    return _TEMPLATE.format(settings="\n".join(lines), run=_quoted(run))


def _quoted(value: str | bool) -> str:
    if isinstance(value, str) and ("\n" in value or "{" in value):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
    return yaml_positions.dump_yaml(value).removesuffix("\n").removesuffix("\n...")


_TEMPLATE = """\
# Selects training data. Preview a run with `curate plan THIS_FILE`; `curate plugins KIND NAME` explains the options.
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
select:                             # in order; each entry reads the rows that the previous one kept
  - {{use: where, drop: "score_length < 5"}}
  - {{use: semdedup, min_similarity: 0.95}}
  - {{use: ccs, prune_rate: 0.5, by: prototypicality}}
guard:   {{max_drop_rate: 0.9}}
export:  {{use: parquet}}
"""

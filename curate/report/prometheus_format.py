"""Prometheus text format, as read by the textfile collector of node_exporter."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from curate.errors import escape_line

_LABEL = r'"((?:[^"\\]|\\.)*)"'


@dataclass(frozen=True, slots=True)
class Gauge:
    """Metric that may go up and down, with the labels and values of its samples."""

    name: str
    about: str
    samples: Sequence[tuple[Mapping[str, str], float]]


def render(gauges: Iterable[Gauge]) -> str:
    r"""Return the gauges that have samples as text.

    >>> print(render([Gauge("rows", "Rows kept.", [({"run": 'a "b"'}, 3)])]), end="")
    # HELP rows Rows kept.
    # TYPE rows gauge
    rows{run="a \"b\""} 3
    """
    lines: list[str] = []
    for gauge in gauges:
        if gauge.samples:
            lines += [f"# HELP {gauge.name} {gauge.about}", f"# TYPE {gauge.name} gauge"]
        for labels, value in gauge.samples:
            labels_text = ",".join(f'{name}="{_escaped(text)}"' for name, text in labels.items())
            lines.append(f"{gauge.name}{{{labels_text}}} {value!r}")
    return "".join(f"{line}\n" for line in lines)


def read_sample(text: str, name: str) -> tuple[str, float] | None:
    """Return label and value of the first sample of a gauge whose only label is ``run``; None if there is none."""
    match = re.search(rf"^{name}\{{run={_LABEL}\}} (\S+)$", text, re.MULTILINE)
    return None if match is None else (_plain(match[1]), float(match[2]))


def _escaped(text: str) -> str:
    lines = "\n".join(map(escape_line, text.split("\n")))
    return lines.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _plain(text: str) -> str:
    return re.sub(r"\\(.)", lambda match: "\n" if match[1] == "n" else match[1], text)

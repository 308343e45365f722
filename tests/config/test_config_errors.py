"""What a wrong configuration is answered with, to the letter."""
# ruff: noqa: E501 - an error is one line

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from curate.config.loader import from_data, load
from curate.errors import ConfigError, ConfigErrors, PluginError

FINE = "select:\n  - {use: any, keep: 5}\n"

ENTRIES = [  # what stands after the base's seven lines, what is said
    pytest.param(
        "select:\n  - {use: any, keep: 5}\ngaurd: {}\n",
        [
            "x.yaml:10:1: gaurd: unknown key; did you mean 'guard'?",
        ],
        id="an unknown key at the top is told with the nearest",
    ),
    pytest.param(
        "select:\n  - {use: any, keep: 5}\ntarget: {files: a.jsonl}\n",
        [
            "x.yaml:10:1: target: unknown key; there are: curate, run, seed, memory_limit, plugins, input, embed, cluster, proxy, score, decontaminate, select, guard, refresh, export, metrics, evaluate",
        ],
        id="a section of a later release is an unknown key",
    ),
    pytest.param(
        "select:\n  - {use: draws, epochs: 3, keep_tokens: 5}\n  - {use: draws, name: more, keep: 5}\n  - {use: any, keep: 2}\nrefresh: {keep_previous_weight: 0.5}\n",
        [
            "x.yaml:9:18: select.0.epochs: an epoch plan must be the last entry; move it to the end, or set epochs: 1",
            "x.yaml:9:29: select.0.keep_tokens: the budget of an epoch plan is in rows; give one of keep, keep_rate, prune_rate",
            "x.yaml:10:5: select.1.epochs: an epoch plan must be the last entry; move it to the end, or set epochs: 1",
            "x.yaml:12:11: refresh.keep_previous_weight: select.0 plans epochs, and a plan cannot be held to the published rows; set it to 0, or epochs: 1 there",
        ],
        id="what does not go with a plan of epochs, also where they are so many by default",
    ),
    pytest.param(
        "score: [{use: el2n}]\n" + FINE,
        [
            "x.yaml:8:10: score.0.use: the scorer 'el2n' reads how a proxy was trained, and there is none; add a section proxy: {use: logistic}",
        ],
        id="a scorer that reads dynamics needs a proxy",
    ),
    pytest.param(
        "proxy: {use: logistic}\n" + FINE,
        [
            "x.yaml:8:9: proxy.use: the proxy 'logistic' reads labels, and the input has none; name their column: input.label",
        ],
        id="a proxy needs labels",
    ),
    pytest.param(
        "proxy: {use: logistik, embedding: other}\nscore: [{use: el2n}]\n" + FINE,
        [
            "x.yaml:8:9: proxy.use: unknown proxy 'logistik'; did you mean 'logistic'?",
            "x.yaml:8:24: proxy.embedding: there is no embed entry 'other'; there are: words",
        ],
        id="a proxy that is wrong is not missing too",
    ),
    pytest.param(
        "proxy: {use: recorded, files: a.jsonl, embedding: words}\n" + FINE,
        [
            "x.yaml:8:9: proxy.use: the proxy 'recorded' reads labels, and the input has none; name their column: input.label",
            "x.yaml:8:40: proxy.embedding: the proxy 'recorded' reads no embeddings; remove it",
        ],
        id="a recorded proxy reads no embeddings",
    ),
    pytest.param(
        "proxy: [{use: logistic}]\n" + FINE,
        [
            "x.yaml:8:1: proxy: must be a mapping; got a list",
        ],
        id="a list where one proxy belongs",
    ),
    pytest.param(
        "decontaminate: null\n" + FINE,
        [
            "x.yaml:8:1: decontaminate: must be a mapping; got null",
        ],
        id="a decontamination that is null",
    ),
    pytest.param(
        "decontaminate: {files: {gsm8k: 5}, ngram: 0, min_overlap_rate: 2, similarity: 1}\n" + FINE,
        [
            "x.yaml:8:25: decontaminate.files.gsm8k: must be a non-empty string or a non-empty list of non-empty strings; got 5",
            "x.yaml:8:36: decontaminate.ngram: must be an integer in [1, 100]; got 0",
            "x.yaml:8:46: decontaminate.min_overlap_rate: must be a number in [0, 1]; got 2",
            "x.yaml:8:67: decontaminate.similarity: unknown key; did you mean 'min_similarity'?",
        ],
        id="keys of a decontamination",
    ),
    pytest.param(
        "decontaminate: {files: {}}\n" + FINE,
        [
            "x.yaml:8:17: decontaminate.files: must be a non-empty string, a non-empty list of non-empty strings or a non-empty mapping of non-empty strings or non-empty lists of non-empty strings; got an empty mapping",
        ],
        id="a decontamination without a set",
    ),
    pytest.param(
        "decontaminate: {files: a.jsonl, ngram: null}\n" + FINE,
        [
            "x.yaml:8:33: decontaminate.ngram: nothing is compared without an ngram or a min_similarity; give one of them",
        ],
        id="a decontamination that compares nothing",
    ),
    pytest.param(
        "decontaminate: {files: a.jsonl, ngram: 5}\n" + FINE,
        [
            "x.yaml:8:1: decontaminate.min_words: must be at most ngram, which is 5; got 8",
        ],
        id="a floor above the length of a run of words",
    ),
    pytest.param(
        "decontaminate: {files: a.jsonl, ngram: null, min_similarity: 0.9, max_ngram_rows: 5}\n" + FINE,
        ["x.yaml:8:67: decontaminate.max_ngram_rows: no runs of words are compared; give an ngram, or remove it"],
        id="common runs of words where none are compared",
    ),
    pytest.param(
        FINE + "  - {use: gopher_quality, min_words: 9, max_words: 8}\n",
        ["x.yaml:10:41: select.1.max_words: must be at least min_words, which is 9, or null; got 8"],
        id="limits that cross",
    ),
    pytest.param(
        "decontaminate: {files: {gsm8k: a.jsonl}, text: {gsm: question}}\n" + FINE,
        [
            "x.yaml:8:42: decontaminate.text: there is no evaluation set 'gsm'; name it in files",
        ],
        id="the text of a set that there is not",
    ),
    pytest.param(
        "decontaminate: {files: a.jsonl, embedding: words}\n" + FINE,
        [
            "x.yaml:8:33: decontaminate.embedding: no embeddings are compared; give a min_similarity, or remove it",
        ],
        id="an embedding that is not compared",
    ),
    pytest.param(
        "decontaminate: {files: a.jsonl, min_similarity: 0.9, embedding: word}\nselect:\n  - {use: any, name: decontaminate, keep: 5}\n",
        [
            "x.yaml:8:54: decontaminate.embedding: there is no embed entry 'word'; did you mean 'words'?",
            "x.yaml:10:5: select.0: the section decontaminate drops rows under that name; give the entry another with the key 'name'",
        ],
        id="an embedding that is not there, and an entry of the same name",
    ),
    pytest.param(
        "proxy: null\n" + FINE,
        [
            "x.yaml:8:1: proxy: must be a mapping; got null",
        ],
        id="a proxy that is null",
    ),
    pytest.param(
        "select:\n  - {use: spread, keep: 5, qualty_weight: 1}\n",
        [
            "x.yaml:9:28: select.0.qualty_weight: unknown key; did you mean 'quality_weight'?",
        ],
        id="an unknown key of a plugin is told with the nearest",
    ),
    pytest.param(
        "select:\n  - use: spread\n    keep_rat: 0.5\n    keep: 1\n",
        [
            "x.yaml:10:5: select.0.keep_rat: unknown key; did you mean 'keep_rate'?",
        ],
        id="an unknown key of the driver is told with the nearest",
    ),
    pytest.param(
        "select:\n  - {use: any, keep: 5}\nguard: {max_drop: 0.5}\n",
        [
            "x.yaml:10:9: guard.max_drop: unknown key; did you mean 'max_drop_rate'?",
        ],
        id="an unknown key in guard",
    ),
    pytest.param(
        "select:\n  - {use: any, keep: 5}\nguard: {zzz: 0.5}\n",
        [
            "x.yaml:10:9: guard.zzz: unknown key; there are: max_quarantine_rate, max_empty_file_rate, max_drop_rate, max_source_drop_rate, min_rows, max_churn_rate",
        ],
        id="an unknown key far from any other lists them all",
    ),
    pytest.param(
        "select: [{use: spred, keep: 5}]\n",
        [
            "x.yaml:8:11: select.0.use: unknown selector 'spred'; did you mean 'spread'?",
        ],
        id="an unknown plugin is told with the nearest",
    ),
    pytest.param(
        "select: [{use: words, keep: 5}]\n",
        [
            "x.yaml:8:11: select.0.use: unknown selector 'words'; that is an embedder",
        ],
        id="a plugin of another kind is told so",
    ),
    pytest.param(
        "select:\n  - {keep: 5}\n",
        [
            "x.yaml:9:5: select.0.use: missing; the plugin's name",
        ],
        id="an entry without use",
    ),
    pytest.param(
        "select:\n  - {use: 5, keep: 5}\n",
        [
            "x.yaml:9:6: select.0.use: must be a non-empty string; got 5",
        ],
        id="use must be a string",
    ),
    pytest.param(
        "select: [any]\n",
        [
            "x.yaml:8:10: select.0: must be a mapping; got 'any'; write {use: any}",
        ],
        id="a bare name instead of an entry",
    ),
    pytest.param(
        "select: {use: any, keep: 5}\n",
        [
            "x.yaml:8:1: select: must be a list of entries; got a mapping; begin each entry with '- '",
        ],
        id="one entry where a list belongs",
    ),
    pytest.param(
        "select: 5\n",
        [
            "x.yaml:8:1: select: must be a list of entries; got 5",
        ],
        id="a number where a list belongs",
    ),
    pytest.param(
        "select: []\n",
        [
            "x.yaml:8:1: select: must have at least one entry",
        ],
        id="select may not be empty",
    ),
    pytest.param(
        "",
        [
            "x.yaml:1:1: select: missing; a list of entries; each is given the rows that the one before has left",
        ],
        id="select may not be absent",
    ),
    pytest.param(
        "select:\n",
        [
            "x.yaml:8:1: select: must be a list of entries; got null",
        ],
        id="select may not be null",
    ),
    pytest.param(
        "select: [{use: spread, keep: 5, quality_weight: 1.5}]\n",
        [
            "x.yaml:8:33: select.0.quality_weight: must be a number in [0, 1]; got 1.5",
        ],
        id="a number above its bound",
    ),
    pytest.param(
        "select: [{use: any, keep: 0}]\n",
        [
            "x.yaml:8:21: select.0.keep: must be an integer >= 1; got 0",
        ],
        id="a number below its bound",
    ),
    pytest.param(
        "select: [{use: any, prune_rate: 1}]\n",
        [
            "x.yaml:8:21: select.0.prune_rate: must be a number in [0, 1); got 1",
        ],
        id="a rate of 1 prunes everything",
    ),
    pytest.param(
        "select: [{use: spread, keep: 5, quality_weight: '0.5'}]\n",
        [
            "x.yaml:8:33: select.0.quality_weight: must be a number in [0, 1]; got '0.5'; remove the quotes",
        ],
        id="a number in quotes is not a number",
    ),
    pytest.param(
        "select: [{use: spread, keep: 5, quality_weight: true}]\n",
        [
            "x.yaml:8:33: select.0.quality_weight: must be a number in [0, 1]; got true",
        ],
        id="true is not a number",
    ),
    pytest.param(
        "select: [{use: any, keep: true}]\n",
        [
            "x.yaml:8:21: select.0.keep: must be an integer >= 1; got true",
        ],
        id="true is not an integer",
    ),
    pytest.param(
        "select: [{use: spread, keep: 5, strict: 1}]\n",
        [
            "x.yaml:8:33: select.0.strict: must be true or false; got 1",
        ],
        id="1 is not true",
    ),
    pytest.param(
        "select: [{use: spread, keep: 5, strict: yes}]\n",
        [
            "x.yaml:8:33: select.0.strict: must be true or false; got 'yes'",
        ],
        id="yes is a string",
    ),
    pytest.param(
        "select: [{use: any, keep: 5.0}]\n",
        [
            "x.yaml:8:21: select.0.keep: must be an integer >= 1; got 5.0",
        ],
        id="5.0 is not an integer",
    ),
    pytest.param(
        "select: [{use: spread, keep: 5, order: x}]\n",
        [
            "x.yaml:8:33: select.0.order: must be one of 'hard', 'easy'; got 'x'",
        ],
        id="a value that is none of the choices",
    ),
    pytest.param(
        "select: [{use: spread, keep: 5, order: }]\n",
        [
            "x.yaml:8:33: select.0.order: must be one of 'hard', 'easy'; got null",
        ],
        id="null where a value belongs",
    ),
    pytest.param(
        "select: [{use: any, keep: [5]}]\n",
        [
            "x.yaml:8:21: select.0.keep: must be an integer >= 1; got a list",
        ],
        id="a list where a number belongs",
    ),
    pytest.param(
        "select: [{use: any, keep: {a: 5}}]\n",
        [
            "x.yaml:8:21: select.0.keep: must be an integer >= 1; got a mapping",
        ],
        id="a mapping where a number belongs",
    ),
    pytest.param(
        "select: [{use: needle}]\n",
        [
            "x.yaml:8:10: select.0.word: missing; the word to look for",
        ],
        id="a required field of a plugin is missing",
    ),
    pytest.param(
        "score: [{use: size}]\nselect:\n  - use: spread\n    keep: 5\n    strict: true\n    by:\n",
        [
            "x.yaml:13:5: select.0.by: must name a score when strict is true",
        ],
        id="what a plugin says against one field stands at that field",
    ),
    pytest.param(
        "score: [{use: size}]\nselect: [{use: spread, keep: 5, strict: true, by: size, also: [size]}]\n",
        [
            "x.yaml:9:10: select.0: strict and also exclude each other",
        ],
        id="what a plugin says against itself stands at its entry",
    ),
    pytest.param(
        "score: [{use: size}]\nselect: [{use: spread, keep: 5, by: sise}]\n",
        [
            "x.yaml:9:33: select.0.by: there is no score 'sise'; did you mean 'size'?",
        ],
        id="a score that does not exist is told with the nearest",
    ),
    pytest.param(
        "score: [{use: size}]\nselect: [{use: spread, keep: 5, also: [size, score_size]}]\n",
        [
            "x.yaml:9:46: select.0.also.1: there is no score 'score_size'; there are: size",
        ],
        id="a score in a list that does not exist",
    ),
    pytest.param(
        "score: [{use: shape}]\nselect: [{use: spread, keep: 5, by: shape}]\n",
        [
            "x.yaml:9:33: select.0.by: there is no score 'shape'; did you mean 'shape_width'?",
        ],
        id="a column of a scorer is named after both",
    ),
    pytest.param(
        "select: [{use: spread, keep: 5, by: size}]\n",
        [
            "x.yaml:8:33: select.0.by: there is no score 'size'; there are none: add an entry to score",
        ],
        id="a score where none is configured",
    ),
    pytest.param(
        "score: [{use: sizes}]\nselect: [{use: spread, keep: 5, by: sizes}]\n",
        [
            "x.yaml:8:10: score.0.use: unknown scorer 'sizes'; did you mean 'size'?",
        ],
        id="an unknown scorer does not make its score unknown too",
    ),
    pytest.param(
        "score: [{use: size}]\nselect: [{use: best, keep: 5, quality: -siz}]\n",
        [
            "x.yaml:9:31: select.0.quality: there is no score 'siz'; did you mean 'size'?",
        ],
        id="quality must name a score",
    ),
    pytest.param(
        "score: [{use: size}]\nselect: [{use: any, keep: 5, quality: size}]\n",
        [
            "x.yaml:9:30: select.0.quality: the selector 'any' reads no quality; remove it",
        ],
        id="quality for a selector that reads none",
    ),
    pytest.param(
        "select: [{use: best, keep: 5}]\n",
        [
            "x.yaml:8:11: select.0.use: 'best' ranks by a score, and there is none; add an entry to score",
        ],
        id="a selector that means nothing without a score",
    ),
    pytest.param(
        "select: [{use: any}]\n",
        [
            "x.yaml:8:10: select.0: missing a budget; give one of keep, keep_rate, prune_rate, keep_tokens",
        ],
        id="no budget",
    ),
    pytest.param(
        "select:\n  - use: any\n    keep_rate: 0.5\n    keep: 5\n",
        [
            "x.yaml:11:5: select.0.keep: a second budget beside keep_rate; give one of them",
        ],
        id="two budgets",
    ),
    pytest.param(
        "select: [{use: needle, word: x, prune_rate: 0.5}]\n",
        [
            "x.yaml:8:33: select.0.prune_rate: the filter 'needle' decides itself how many rows it keeps; remove it",
        ],
        id="a budget for a filter",
    ),
    pytest.param(
        "select: [{use: any, keep: 5, quota: balanced}]\n",
        [
            "x.yaml:8:30: select.0.quota: there are no groups to split the budget over; name them with the key 'within'",
        ],
        id="a quota without groups",
    ),
    pytest.param(
        "select: [{use: needle, word: x, within: cluster, quota: balanced}]\n",
        [
            "x.yaml:8:50: select.0.quota: the filter 'needle' has no budget to split; remove it",
        ],
        id="a quota for a filter",
    ),
    pytest.param(
        "select: [{use: any, keep: 5, within: cluster, quota: even}]\n",
        [
            "x.yaml:8:47: select.0.quota: must be 'proportional', 'balanced' or a mapping with temperature; got 'even'",
        ],
        id="a quota of another kind",
    ),
    pytest.param(
        "select: [{use: any, keep: 5, within: cluster, quota: {temperature: 0}}]\n",
        [
            "x.yaml:8:55: select.0.quota.temperature: must be a number > 0; got 0",
        ],
        id="a temperature of 0",
    ),
    pytest.param(
        "select: [{use: any, keep: 5, within: cluster, quota: {temprature: 2}}]\n",
        [
            "x.yaml:8:47: select.0.quota.temperature: missing; T: 1 is proportional, and the larger T, the nearer to balanced",
            "x.yaml:8:55: select.0.quota.temprature: unknown key; did you mean 'temperature'?",
        ],
        id="an unknown key in a quota",
    ),
    pytest.param(
        "select: [{use: any, keep: 5, within: source}]\n",
        [
            "x.yaml:8:30: select.0.within: input.source is not given; name the column there",
        ],
        id="groups by source without a source",
    ),
    pytest.param(
        "score: [{use: agreement}]\nselect:\n  - {use: any, keep: 5}\n",
        [
            "x.yaml:8:10: score.0.use: the scorer 'agreement' reads labels, and the input has none; name their column: input.label",
        ],
        id="a scorer that reads labels without labels",
    ),
    pytest.param(
        "select: [{use: spread, keep: 5, embedding: word}]\n",
        [
            "x.yaml:8:33: select.0.embedding: there is no embed entry 'word'; did you mean 'words'?",
        ],
        id="an embedding that does not exist",
    ),
    pytest.param(
        "score: [{use: size, embedding: words}]\nselect:\n  - {use: any, keep: 5}\n",
        [
            "x.yaml:8:21: score.0.embedding: the scorer 'size' reads no embeddings; remove it",
        ],
        id="an embedding for a plugin that reads none",
    ),
    pytest.param(
        "select:\n  - {use: any, keep: 5}\n  - {use: any, keep: 4}\n",
        [
            "x.yaml:10:5: select.1: select.0 is called 'any' too; give each entry a name of its own with the key 'name'",
        ],
        id="two entries of one name",
    ),
    pytest.param(
        "score:\n  - {use: shape}\n  - {use: size, name: shape_width}\nselect:\n  - {use: any, keep: 5}\n",
        [
            "x.yaml:10:5: score.1: score.0 gives a score 'shape_width' too; give the entry another name with the key 'name'",
        ],
        id="two scores of one name",
    ),
    pytest.param(
        "score: [{use: size, name: a b}]\nselect:\n  - {use: any, keep: 5}\n",
        [
            "x.yaml:8:21: score.0.name: must be letters, digits and underscores, and not begin with a digit; got 'a b'",
        ],
        id="a name that could not be a column",
    ),
    pytest.param(
        "seed: -1\nselect:\n  - {use: any, keep: 5}\n",
        [
            "x.yaml:8:1: seed: must be an integer >= 0; got -1",
        ],
        id="a seed below 0",
    ),
    pytest.param(
        "memory_limit: 8 gigs\nselect:\n  - {use: any, keep: 5}\n",
        [
            "x.yaml:8:1: memory_limit: must be a number of bytes >= 1, or a size such as '8GiB'; got '8 gigs'",
        ],
        id="a size that is none",
    ),
    pytest.param(
        "memory_limit: 0\nselect:\n  - {use: any, keep: 5}\n",
        [
            "x.yaml:8:1: memory_limit: must be a number of bytes >= 1, or a size such as '8GiB'; got 0",
        ],
        id="a size of 0",
    ),
    pytest.param(
        "seed: 1\nselect:\n  - {use: any, keep: 5}\nseed: 2\n",
        [
            "x.yaml:11:1: seed: given twice; first at 8:1",
        ],
        id="a key given twice",
    ),
    pytest.param(
        "1: x\nselect:\n  - {use: any, keep: 5}\n",
        [
            'x.yaml:8:1: a key must be a string; got 1; write "1" if it is meant',
        ],
        id="a key that is not a string",
    ),
    pytest.param(
        "select:\n  - {use: any, keep: 5}\nguard: {<<: {max_drop_rate: 1}}\n",
        [
            "x.yaml:10:9: guard.<<: YAML 1.2 has no merge keys; write the keys out",
        ],
        id="a merge key",
    ),
    pytest.param(
        "select: [{use: spread, keep: 5, quality_weight: .nan}]\n",
        [
            "x.yaml:8:33: select.0.quality_weight: must be a finite number; got .nan",
        ],
        id="a number that is not finite",
    ),
    pytest.param(
        "select: [{use: spread, keep: 5, quality_weight: 1e999}]\n",
        [
            "x.yaml:8:33: select.0.quality_weight: must be a finite number; got 1e999",
        ],
        id="a number that is infinite once read",
    ),
    pytest.param(
        "select: [{use: any, keep: !!python/name:os.system x}]\n",
        [
            "x.yaml:8:21: select.0.keep: the tag !!python/name:os.system is not supported",
        ],
        id="a tag",
    ),
    pytest.param(
        "guard: &a {max_drop_rate: *a}\nselect:\n  - {use: any, keep: 5}\n",
        [
            "x.yaml:8:12: guard.max_drop_rate: refers to itself",
        ],
        id="a value that refers to itself",
    ),
    pytest.param(
        "seed: x\n"
        "score: [{use: siz}]\n"
        "select:\n"
        "  - {use: spread, keep: 0, ordr: easy}\n"
        "  - {use: any}\n"
        "guard: {max_drop_rate: 2}\n",
        [
            "x.yaml:8:1: seed: must be an integer >= 0; got 'x'",
            "x.yaml:9:10: score.0.use: unknown scorer 'siz'; did you mean 'size'?",
            "x.yaml:11:19: select.0.keep: must be an integer >= 1; got 0",
            "x.yaml:11:28: select.0.ordr: unknown key; did you mean 'order'?",
            "x.yaml:12:5: select.1: missing a budget; give one of keep, keep_rate, prune_rate, keep_tokens",
            "x.yaml:13:9: guard.max_drop_rate: must be a number in [0, 1]; got 2",
        ],
        id="everything at once, in the order of the file",
    ),
]

FILES = [  # the whole file, what is said
    pytest.param(
        "run: x\ninput: {files: a, text: t}\nselect: [{use: uniform, keep: 1}]\n",
        [
            "x.yaml:1:1: curate: missing; add the line 'curate: 1', the version of the format; this release reads version 1",
        ],
        id="the version must be given",
    ),
    pytest.param(
        "curate: 2\nrun: x\ninput: {files: a, text: t}\nselect: [{use: uniform, keep: 1}]\n",
        [
            "x.yaml:1:1: curate: must be 1, the version of the format; got 2; this release reads version 1",
        ],
        id="another version is refused",
    ),
    pytest.param(
        "curate: true\nrun: x\ninput: {files: a, text: t}\nselect: [{use: uniform, keep: 1}]\n",
        [
            "x.yaml:1:1: curate: must be 1, the version of the format; got true; this release reads version 1",
        ],
        id="true is not version 1",
    ),
    pytest.param(
        "curate: 1\nselect: [{use: uniform, keep: 1}]\n",
        [
            "x.yaml:1:1: run: missing; the folder that the run's results are written to, "
            'or a URL such as "s3://bucket/run"',
            "x.yaml:1:1: input: missing; the pool",
        ],
        id="run and input must be given",
    ),
    pytest.param(
        "curate: 1\nrun: s3://key:hidden@bucket/run\n"
        "input: {files: [a, 's3://key:hid/den@bucket/*.jsonl'], text: t}\nselect: [{use: uniform, keep: 1}]\n",
        [
            "x.yaml:2:1: run: holds credentials: leave them out of the URL and in the environment",
            "x.yaml:3:9: input.files: holds credentials: leave them out of the URL and in the environment",
        ],
        id="credentials in a URL",
    ),
    pytest.param(
        "curate: 1\nrun: x\ninput: {}\nselect: [{use: uniform, keep: 1}]\n",
        [
            'x.yaml:3:1: input.files: missing; a file or a pattern such as "pool/**/*.jsonl", or a list of them, relative to the current folder; or URLs',
            'x.yaml:3:1: input.text: missing; the text of a row: a column\'s name, or a template over columns such as "{instruction}\\n{output}"',
        ],
        id="input must say files and text",
    ),
    pytest.param(
        "curate: 1\nrun: x\ninput: {files: [a, 3], text: t}\nselect: [{use: uniform, keep: 1}]\n",
        [
            "x.yaml:3:20: input.files.1: must be a non-empty string; got 3",
        ],
        id="a file that is not a string",
    ),
    pytest.param(
        "curate: 1\nrun: x\ninput: {files: [], text: t}\nselect: [{use: uniform, keep: 1}]\n",
        [
            "x.yaml:3:9: input.files: must be a non-empty string or a non-empty list of non-empty strings; got an empty list",
        ],
        id="no files",
    ),
    pytest.param(
        "curate: 1\nrun: x\ninput: {files: a, text: ''}\nselect: [{use: uniform, keep: 1}]\n",
        [
            "x.yaml:3:19: input.text: must be a non-empty string; got ''",
        ],
        id="empty text",
    ),
    pytest.param(
        "curate: 1\nrun: x\ninput:\n  files: a\n  text: '{a'\nselect: [{use: uniform, keep: 1}]\n",
        [
            'x.yaml:5:3: input.text: expected \'}\' before end of string; write columns as "{name}", a brace itself as "{{"',
        ],
        id="an open brace",
    ),
    pytest.param(
        "curate: 1\nrun: x\ninput: {files: a, text: '{a!r}'}\nselect: [{use: uniform, keep: 1}]\n",
        [
            'x.yaml:3:19: input.text: only a plain column\'s name may stand in braces, such as "{name}"',
        ],
        id="a conversion in braces",
    ),
    pytest.param(
        "curate: 1\nrun: x\ninput: a\nselect: [{use: uniform, keep: 1}]\n",
        [
            "x.yaml:3:1: input: must be a mapping; got 'a'",
        ],
        id="input is a string",
    ),
    pytest.param(
        "curate: 1\nrun: x\ninput: {files: a, text: t}\nplugins: [no.py]\nselect: [{use: uniform, keep: 1}]\n",
        [
            "x.yaml:4:11: plugins.0: cannot read the plugin file: No such file or directory; paths are relative to the current folder",
        ],
        id="a plugin file that does not exist",
    ),
    pytest.param(
        "curate: 1\n"
        "run: x\n"
        "input: {files: a, text: t}\n"
        "export: {use: parquet, add: [rank, rank]}\n"
        "select: [{use: uniform, keep: 1}]\n",
        [
            "x.yaml:4:36: export.add.1: 'rank' stands in the list already",
        ],
        id="a column added twice",
    ),
    pytest.param(
        "curate: 1\n"
        "run: x\n"
        "input: {files: a, text: t}\n"
        "export: {use: parquet, add: [rank, x]}\n"
        "select: [{use: uniform, keep: 1}]\n",
        [
            "x.yaml:4:36: export.add.1: must be one of 'id', 'cluster', 'scores', 'rank', 'gain', 'weight'; got 'x'",
        ],
        id="an unknown column to add",
    ),
    pytest.param(
        "curate: 1\n"
        "run: x\n"
        "input: {files: a, text: t}\n"
        "cluster: {use: kmeans, name: x}\n"
        "select: [{use: uniform, keep: 1}]\n",
        [
            "x.yaml:4:24: cluster.name: unknown key; there are: use, embedding, n_clusters, max_iterations, tolerance, sample_per_cluster",
        ],
        id="the one cluster entry takes no name",
    ),
    pytest.param(
        "curate: 1\nrun: x\ninput: {files: a, text: t}\nembed: []\nselect: [{use: uniform, keep: 1}]\n",
        [
            "x.yaml:4:1: embed: must have at least one entry",
        ],
        id="no entry to embed with",
    ),
    pytest.param(
        "",
        [
            "x.yaml: the file is empty; begin with the line 'curate: 1'",
        ],
        id="an empty file",
    ),
    pytest.param(
        "# nothing\n",
        [
            "x.yaml: the file is empty; begin with the line 'curate: 1'",
        ],
        id="only a comment",
    ),
    pytest.param(
        "- a\n",
        [
            "x.yaml:1:1: must be a mapping of sections; got a list; begin with the line 'curate: 1'",
        ],
        id="a list",
    ),
    pytest.param(
        "a\n",
        [
            "x.yaml:1:1: must be a mapping of sections; got 'a'; begin with the line 'curate: 1'",
        ],
        id="a word",
    ),
    pytest.param(
        "curate: 1\n---\ncurate: 1\n",
        [
            "x.yaml:3:1: a second YAML document begins here; one file, one document",
        ],
        id="two documents",
    ),
    pytest.param(
        "curate: 1\nrun: 'x\n",
        [
            "x.yaml:3:1: not valid YAML: found unexpected end of stream, while scanning a quoted scalar that begins at 2:6",
        ],
        id="a quote that is not closed",
    ),
    pytest.param(
        "curate: 1\nselect: [\n",
        [
            "x.yaml:3:1: not valid YAML: expected the node content, but found '<stream end>', while parsing a flow node that begins at 3:1",
        ],
        id="a bracket that is not closed",
    ),
    pytest.param(
        "curate: 1\ninput:\n\tfiles: a\n",
        [
            "x.yaml:3:1: not valid YAML: found character '\\t' that cannot start any token; indent with spaces, not tabs",
        ],
        id="a tab",
    ),
    pytest.param(
        "curate: 1\nrun: a: b\n",
        [
            "x.yaml:2:7: not valid YAML: mapping values are not allowed here",
        ],
        id="a colon too many",
    ),
    pytest.param(
        "curate: 1\nrun: \x07\n",
        [
            "x.yaml:2:6: not valid YAML: the character U+0007 is not allowed",
        ],
        id="a control character",
    ),
    pytest.param(
        "curate: 1\nrun: *x\n",
        [
            "x.yaml:2:6: not valid YAML: found undefined alias 'x'",
        ],
        id="an unknown alias",
    ),
    pytest.param(
        "curate: !!int x\n",
        [
            "x.yaml:1:1: curate: 'x' is not what its tag !!int says",
            "x.yaml:1:1: run: missing; the folder that the run's results are written to, "
            'or a URL such as "s3://bucket/run"',
            "x.yaml:1:1: input: missing; the pool",
            "x.yaml:1:1: select: missing; a list of entries; each is given the rows that the one before has left",
        ],
        id="a tag that the value is not",
    ),
]

OVERRIDES = [  # what follows --set, what is said of a file that is right
    pytest.param(
        "select.0.keep=0",
        [
            "--set select.0.keep=0: must be an integer >= 1; got 0",
        ],
        id="a value out of bounds",
    ),
    pytest.param(
        "select.0.keep=abc",
        [
            "--set select.0.keep=abc: must be an integer >= 1; got 'abc'",
        ],
        id="not a number",
    ),
    pytest.param(
        "select.0.keep",
        [
            "--set select.0.keep: write KEY=VALUE; for example: --set select.0.keep_rate=0.1",
        ],
        id="no equals sign",
    ),
    pytest.param(
        "select.0.kep=3",
        [
            "--set select.0.kep=3: unknown key; did you mean 'keep'?",
        ],
        id="unknown key",
    ),
    pytest.param(
        "select.3.keep=3",
        [
            "--set select.3.keep=3: select has 1 entry",
        ],
        id="position beyond",
    ),
    pytest.param(
        "select.zz.keep=3",
        [
            "--set select.zz.keep=3: select has no entry called 'zz'; write its position, from 0",
        ],
        id="no entry of that name",
    ),
    pytest.param(
        "select.0.keep.x=3",
        [
            "--set select.0.keep.x=3: select.0.keep is 5, and has nothing in it to set",
        ],
        id="inside a number",
    ),
    pytest.param(
        "select.0.keep=[",
        [
            "--set select.0.keep=[: not valid YAML: expected the node content, but found '<stream end>', while parsing a flow node that begins at 1:2",
        ],
        id="not yaml",
    ),
    pytest.param(
        "run=s3://key:hidden@bucket/run",
        [
            "--set run=s3://…: holds credentials: leave them out of the URL and in the environment",
        ],
        id="credentials in a URL",
    ),
    pytest.param(
        "select.0.keep=.nan",
        [
            "--set select.0.keep=.nan: must be a finite number; got .nan",
        ],
        id="nan",
    ),
    pytest.param(
        "select.0.keep_rate=0.5",
        [
            "--set select.0.keep_rate=0.5: a second budget beside keep; give one of them",
        ],
        id="second budget",
    ),
    pytest.param(
        "select.0={use: any, keep: 0}",
        [
            "--set select.0={use: any, keep: 0}: select.0.keep: must be an integer >= 1; got 0",
        ],
        id="nested",
    ),
]


Told = Callable[..., str]


@pytest.mark.parametrize(("text", "expected"), ENTRIES)
def test_an_error_in_a_section(errors_of: Told, text: str, expected: list[str]) -> None:
    assert errors_of(text).splitlines() == expected


@pytest.mark.parametrize(("text", "expected"), FILES)
def test_an_error_in_a_file(errors_of: Told, text: str, expected: list[str]) -> None:
    assert errors_of(text, whole=True).splitlines() == expected


@pytest.mark.parametrize(("override", "expected"), OVERRIDES)
def test_an_error_on_the_command_line(errors_of: Told, override: str, expected: list[str]) -> None:
    assert errors_of(FINE, override).splitlines() == expected


BROKEN_BY_OVERRIDES = [  # a file without errors but for what the overrides do to it; where each error is, its key
    (["selct.0.keep=2"], ["--set selct.0.keep=2: selct: unknown key"]),
    (["targets.files=a"], ["--set targets.files=a: targets: unknown key"]),
    (["targets=1"], ["--set targets=1: unknown key"]),
    (["guard.max.rows=1"], ["--set guard.max.rows=1: guard.max: unknown key"]),
    (["evaluate.sed=1"], ["--set evaluate.sed=1: unknown key"]),
    (["evaluate.a.b.c=1"], ["--set evaluate.a.b.c=1: evaluate.a: unknown key"]),
    (["select.0.a.b=1"], ["--set select.0.a.b=1: select.0.a: unknown key"]),
    (["select.spread.also.0=1"], ["--set select.spread.also.0=1: select.0.also: must be a list"]),
    (["score.size.use.x=1"], ["--set score.size.use.x=1: score.0.use is 'size'"]),
    (["metrics.0.use=nn"], ["--set metrics.0.use=nn: metrics: must be a list of entries; got a mapping"]),
    (["proxy.0.use=logistic"], ["--set proxy.0.use=logistic: proxy.use: missing"]),
    (["export.add.0=rank"], ["--set export.add.0=rank: export.add: must be a list"]),
    (["decontaminate.ngram=5"], ["decontaminate.files: missing"]),
    (["decontaminate={files: a, ngram: 5}"], ["decontaminate.min_words: must be at most ngram"]),
    (["input={files: a}"], ["--set input={files: a}: input.text: missing"]),
    (["select.0.keep="], ["--set select.0.keep=: select.0: missing a budget"]),
    (["select.0.use=needle"], ["select.0.word: missing", "select.0.keep: the filter 'needle'"]),
    (["select.spread={use: any}"], ["--set select.spread={use: any}: missing a budget"]),
    (["score=[]"], ["--set score=[]: select.0.by: there is no score 'size'"]),
    (["embed.name=other"], ["--set embed.name=other: cluster.embedding: there is no embed entry 'words'"]),
    (["select=3"], ["--set select=3: must be a list of entries"]),
    (["seed=1", "select.0.keep_rate=1", "selct.a=1"], ["selct.a=1: selct: unknown", "keep_rate=1: a second budget"]),
    (["seed=1", "selct.a=1", "seed=2"], ["--set selct.a=1: selct: unknown key"]),
    (["selct.a=1", "selct.b=1"], ["--set selct.a=1: selct: unknown key"]),
    (["score=[{use: shape}]", "score=[]", "seed=3"], ["--set score=[{use: shape}]: select.0.by: there is no score"]),
]


@pytest.mark.parametrize(("overrides", "expected"), BROKEN_BY_OVERRIDES, ids=lambda value: value[0])
def test_what_an_override_breaks_is_reported_at_the_override(
    errors_of: Told, base: str, overrides: list[str], expected: list[str]
) -> None:
    base = base.replace("{use: groups}", "{use: groups, embedding: words}")
    text = base + "score: [{use: size}]\nselect:\n  - {use: spread, by: size, keep: 5}\nguard: {}\n"
    lines = errors_of(text, *overrides, whole=True).splitlines()
    assert [line for line in lines if not line.startswith("--set ")] == []
    assert [part for part in expected if not any(part in line for line in lines)] == []


def test_an_error_of_the_file_stays_there_whatever_is_overridden(errors_of: Told) -> None:
    assert errors_of("gaurd: {}\n" + FINE, "guard.max_drop_rate=0.5", "gaurd.x=1").splitlines() == [
        "x.yaml:8:1: gaurd: unknown key; did you mean 'guard'?",
    ]


def test_errors_of_the_command_line_come_last_in_its_order(errors_of: Told) -> None:
    assert errors_of(FINE + "sed: 1\n", "select.0.keep=0", "seed=-1").splitlines() == [
        "x.yaml:10:1: sed: unknown key; did you mean 'seed'?",
        "--set select.0.keep=0: must be an integer >= 1; got 0",
        "--set seed=-1: must be an integer >= 0; got -1",
    ]


def test_a_value_that_an_override_replaces_is_not_complained_of(base: str) -> None:
    Path("x.yaml").write_text(base + "select:\n  - {use: any, keep: none}\n", encoding="utf-8")
    assert load(Path("x.yaml"), ["select.0.keep=3"]).select[0].budget.rows(5, "any") == 3


def test_a_selector_that_plans_no_epochs_stands_anywhere(base: str) -> None:
    entries = (
        "select: [{use: draws, epochs: 1, keep_tokens: 5}, {use: any, keep: 2}]\nrefresh: {keep_previous_weight: 1}\n"
    )
    Path("x.yaml").write_text(base + entries, encoding="utf-8")
    assert [entry.epochs for entry in load(Path("x.yaml")).select] == [1, 1]


def test_a_name_like_no_other_is_answered_with_all_there_are(errors_of: Told) -> None:
    told = errors_of("select: [{use: zzzzzz, keep: 5}]\n")
    assert told.startswith("x.yaml:8:11: select.0.use: unknown selector 'zzzzzz'; there are: any, autocoreset, best, ")
    assert "spread" in told


def test_aliases_that_multiply_are_stopped(errors_of: Told) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    assert "its aliases make it more than 100,000 values" in errors_of("\n".join(lines), whole=True)


@pytest.mark.parametrize("text", ["[" * 3000, "a: " + "{a: " * 3000], ids=["lists", "mappings"])
def test_nesting_without_end_is_an_error_of_ours(errors_of: Told, text: str) -> None:
    assert errors_of(text, whole=True) == "x.yaml: nested too deeply"


def test_a_number_longer_than_any_computer_holds(errors_of: Told) -> None:
    assert errors_of(FINE + f"seed: {'9' * 5000}\n") == "x.yaml:10:1: seed: must have at most 100 digits; got 5000"


def test_a_file_that_cannot_be_read() -> None:
    with pytest.raises(ConfigError, match=r"^no.yaml: cannot read the configuration: No such file or directory$"):
        load(Path("no.yaml"))


def test_a_file_that_is_not_utf_8() -> None:
    Path("x.yaml").write_bytes(b"curate: 1\nrun: \xff\n")
    with pytest.raises(ConfigError, match=r"^x.yaml: not UTF-8 text: byte 15 is 0xff$"):
        load(Path("x.yaml"))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param({"seed": float("nan")}, "<dict>: seed: must be a finite number; got nan", id="NaN"),
        pytest.param({"run": Path("x")}, "<dict>: run: must be plain data; got a PosixPath", id="an object"),
        pytest.param({"seed": 10**200}, "<dict>: seed: must have at most 100 digits", id="a huge number"),
        pytest.param({"guard": {1: 2}}, "<dict>: guard: a key must be a string; got 1", id="a key that is no string"),
        pytest.param({"seed": "0"}, "<dict>: seed: must be an integer >= 0; got '0'; remove the quotes", id="a string"),
    ],
)
def test_a_dict_is_held_to_the_same(change: dict[str, object], expected: str) -> None:
    data = {"curate": 1, "run": "x", "input": {"files": "a", "text": "t"}, "select": [{"use": "uniform", "keep": 1}]}
    with pytest.raises(ConfigErrors) as caught:
        from_data({**data, **change})
    assert str(caught.value) == expected


def test_a_dict_that_holds_itself_is_an_error_of_ours() -> None:
    data: dict[str, object] = {"curate": 1}
    data["guard"] = data
    with pytest.raises(ConfigError, match="nested too deeply, or refers to itself"):
        from_data(data)


def test_a_plugin_that_takes_a_key_of_the_drivers_is_refused(base: str) -> None:
    text = Path("any.py").read_text(encoding="utf-8") + '    keep: int = 1\n    """Mine."""\n'
    Path("greedy.py").write_text(text, encoding="utf-8")
    Path("x.yaml").write_text(
        base.replace("any.py", "greedy.py") + "select: [{use: greedy, keep: 5}]\n", encoding="utf-8"
    )
    with pytest.raises(PluginError, match="selector 'greedy' may not have a field called 'keep'"):
        load(Path("x.yaml"))


def test_a_plugin_file_that_does_not_load_is_the_plugins_fault(base: str) -> None:
    Path("broken.py").write_text("1 / 0\n", encoding="utf-8")
    Path("x.yaml").write_text(base.replace("any.py", "broken.py") + FINE, encoding="utf-8")
    with pytest.raises(PluginError, match=r"broken.py: the plugin file fails to load: ZeroDivisionError"):
        load(Path("x.yaml"))

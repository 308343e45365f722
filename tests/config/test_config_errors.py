"""Where each error of a wrong configuration stands: its file, line, column and key.

What the messages say lies in ``messages.txt``. To write it again: ``CURATE_WRITE_MESSAGES=1 python -m pytest
tests/config/test_config_errors.py``.
"""
# ruff: noqa: E501 - some configurations are one line

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from curate.config.loader import config_from_dict, load_config
from curate.errors import ConfigError, ConfigErrors, PluginError

FINE = "select:\n  - {use: any, keep: 5}\n"

ENTRIES = [  # what stands after the base's seven lines, where the errors stand
    pytest.param(
        "select:\n  - {use: any, keep: 5}\ngaurd: {}\n",
        ["x.yaml:10:1: gaurd"],
        id="an unknown key at the top level",
    ),
    pytest.param(
        "select:\n  - {use: any, keep: 5}\nmixture: {files: a.jsonl}\n",
        ["x.yaml:10:1: mixture"],
        id="a section of a later release is an unknown key",
    ),
    pytest.param(
        "select:\n  - {use: draws, epochs: 3, keep_tokens: 5}\n  - {use: draws, name: more, keep: 5}\n  - {use: any, keep: 2}\nrefresh: {keep_previous_weight: 0.5}\n",
        [
            "x.yaml:9:18: select.0.epochs",
            "x.yaml:9:29: select.0.keep_tokens",
            "x.yaml:10:5: select.1.epochs",
            "x.yaml:12:11: refresh.keep_previous_weight",
        ],
        id="keys that cannot be combined with a plan of epochs, given or by default",
    ),
    pytest.param(
        "score: [{use: el2n}]\n" + FINE,
        ["x.yaml:8:10: score.0.use"],
        id="a scorer that reads dynamics needs a proxy",
    ),
    pytest.param(
        "proxy: {use: logistic}\n" + FINE,
        ["x.yaml:8:9: proxy.use"],
        id="a proxy needs labels",
    ),
    pytest.param(
        "proxy: {use: logistik, embedding: other}\nscore: [{use: el2n}]\n" + FINE,
        ["x.yaml:8:9: proxy.use", "x.yaml:8:24: proxy.embedding"],
        id="an invalid proxy is not reported as missing too",
    ),
    pytest.param(
        "proxy: {use: recorded, files: a.jsonl, embedding: words}\n" + FINE,
        ["x.yaml:8:9: proxy.use", "x.yaml:8:40: proxy.embedding"],
        id="a recorded proxy reads no embeddings",
    ),
    pytest.param(
        "proxy: [{use: logistic}]\n" + FINE,
        ["x.yaml:8:1: proxy"],
        id="a list in place of one proxy",
    ),
    pytest.param(
        "evaluate: {primary: logistic_prob}\n" + FINE,
        ["x.yaml:8:12: evaluate.primary"],
        id="a primary metric that does not exist",
    ),
    pytest.param(
        "metrics: [{use: coverage}, {use: tokens}]\nevaluate: {primary: vendi}\n" + FINE,
        ["x.yaml:9:12: evaluate.primary"],
        id="a primary metric that is not among those listed",
    ),
    pytest.param(
        "metrics: [{use: coverage, name: mine}]\nevaluate: {primary: mine.accuracy}\n" + FINE,
        ["x.yaml:9:12: evaluate.primary"],
        id="a value that the primary metric does not compute",
    ),
    pytest.param(
        "evaluate: {primary: knn_probe}\n" + FINE,
        ["x.yaml:8:12: evaluate.primary"],
        id="a primary metric that reads labels of an input without labels",
    ),
    pytest.param(
        "evaluate: {primary: tokens}\n" + FINE,
        ["x.yaml:8:12: evaluate.primary"],
        id="a primary metric without a better direction",
    ),
    pytest.param(
        "decontaminate: null\n" + FINE,
        ["x.yaml:8:1: decontaminate"],
        id="a decontamination that is null",
    ),
    pytest.param(
        "decontaminate: {files: {gsm8k: 5}, ngram_size: 0, min_overlap_rate: 2, similarity: 1}\n" + FINE,
        [
            "x.yaml:8:25: decontaminate.files.gsm8k",
            "x.yaml:8:36: decontaminate.ngram_size",
            "x.yaml:8:51: decontaminate.min_overlap_rate",
            "x.yaml:8:72: decontaminate.similarity",
        ],
        id="keys of a decontamination",
    ),
    pytest.param(
        "decontaminate: {files: {}}\n" + FINE,
        ["x.yaml:8:17: decontaminate.files"],
        id="a decontamination without a set",
    ),
    pytest.param(
        "decontaminate: {files: a.jsonl, ngram_size: null}\n" + FINE,
        ["x.yaml:8:33: decontaminate.ngram_size"],
        id="a decontamination that compares nothing",
    ),
    pytest.param(
        "decontaminate: {files: a.jsonl, ngram_size: 5}\n" + FINE,
        ["x.yaml:8:1: decontaminate.min_words"],
        id="a minimum overlap above the length of an n-gram",
    ),
    pytest.param(
        "decontaminate: {files: a.jsonl, ngram_size: null, min_similarity: 0.9, max_ngram_rows: 5}\n" + FINE,
        ["x.yaml:8:72: decontaminate.max_ngram_rows"],
        id="common n-grams without n-grams to compare",
    ),
    pytest.param(
        FINE + "  - {use: gopher_quality, min_words: 9, max_words: 8}\n",
        ["x.yaml:10:41: select.1.max_words"],
        id="limits in the wrong order",
    ),
    pytest.param(
        "decontaminate: {files: {gsm8k: a.jsonl}, text: {gsm: question}}\n" + FINE,
        ["x.yaml:8:42: decontaminate.text"],
        id="the text of a set that does not exist",
    ),
    pytest.param(
        "decontaminate: {files: a.jsonl, embedding: words}\n" + FINE,
        ["x.yaml:8:33: decontaminate.embedding"],
        id="an embedding that is not compared",
    ),
    pytest.param(
        "decontaminate: {files: a.jsonl, min_similarity: 0.9, embedding: word}\nselect:\n  - {use: any, name: decontaminate, keep: 5}\n",
        ["x.yaml:8:54: decontaminate.embedding", "x.yaml:10:5: select.0"],
        id="an embedding that does not exist, and an entry of the same name",
    ),
    pytest.param(
        "proxy: null\n" + FINE,
        ["x.yaml:8:1: proxy"],
        id="a proxy that is null",
    ),
    pytest.param(
        "select:\n  - {use: spread, keep: 5, qualty_weight: 1}\n",
        ["x.yaml:9:28: select.0.qualty_weight"],
        id="an unknown key of a plugin",
    ),
    pytest.param(
        "select:\n  - use: spread\n    keep_rat: 0.5\n    keep: 1\n",
        ["x.yaml:10:5: select.0.keep_rat"],
        id="an unknown key of an entry",
    ),
    pytest.param(
        "select:\n  - {use: any, keep: 5}\nguard: {max_drop: 0.5}\n",
        ["x.yaml:10:9: guard.max_drop"],
        id="an unknown key in guard",
    ),
    pytest.param(
        "select:\n  - {use: any, keep: 5}\nguard: {zzz: 0.5}\n",
        ["x.yaml:10:9: guard.zzz"],
        id="an unknown key without similar ones lists all keys",
    ),
    pytest.param(
        "select: [{use: spred, keep: 5}]\n",
        ["x.yaml:8:11: select.0.use"],
        id="an unknown plugin",
    ),
    pytest.param(
        "select: [{use: words, keep: 5}]\n",
        ["x.yaml:8:11: select.0.use"],
        id="a plugin of another kind",
    ),
    pytest.param(
        "select:\n  - {keep: 5}\n",
        ["x.yaml:9:5: select.0.use"],
        id="an entry without use",
    ),
    pytest.param(
        "select:\n  - {use: 5, keep: 5}\n",
        ["x.yaml:9:6: select.0.use"],
        id="use must be a string",
    ),
    pytest.param(
        "select: [any]\n",
        ["x.yaml:8:10: select.0"],
        id="a bare name instead of an entry",
    ),
    pytest.param(
        "select: {use: any, keep: 5}\n",
        ["x.yaml:8:1: select"],
        id="one entry in place of a list",
    ),
    pytest.param(
        "select: 5\n",
        ["x.yaml:8:1: select"],
        id="a number in place of a list",
    ),
    pytest.param(
        "select: []\n",
        ["x.yaml:8:1: select"],
        id="select may not be empty",
    ),
    pytest.param(
        "",
        ["x.yaml:1:1: select"],
        id="select may not be absent",
    ),
    pytest.param(
        "select:\n",
        ["x.yaml:8:1: select"],
        id="select may not be null",
    ),
    pytest.param(
        "select: [{use: spread, keep: 5, quality_weight: 1.5}]\n",
        ["x.yaml:8:33: select.0.quality_weight"],
        id="a number above its bound",
    ),
    pytest.param(
        "select: [{use: any, keep: 0}]\n",
        ["x.yaml:8:21: select.0.keep"],
        id="a number below its bound",
    ),
    pytest.param(
        "select: [{use: any, prune_rate: 1}]\n",
        ["x.yaml:8:21: select.0.prune_rate"],
        id="a rate of 1 prunes everything",
    ),
    pytest.param(
        "select: [{use: spread, keep: 5, quality_weight: '0.5'}]\n",
        ["x.yaml:8:33: select.0.quality_weight"],
        id="a number in quotes is not a number",
    ),
    pytest.param(
        "select: [{use: spread, keep: 5, quality_weight: true}]\n",
        ["x.yaml:8:33: select.0.quality_weight"],
        id="true is not a number",
    ),
    pytest.param(
        "select: [{use: any, keep: true}]\n",
        ["x.yaml:8:21: select.0.keep"],
        id="true is not an integer",
    ),
    pytest.param(
        "select: [{use: spread, keep: 5, strict: 1}]\n",
        ["x.yaml:8:33: select.0.strict"],
        id="1 is not true",
    ),
    pytest.param(
        "select: [{use: spread, keep: 5, strict: yes}]\n",
        ["x.yaml:8:33: select.0.strict"],
        id="yes is a string",
    ),
    pytest.param(
        "select: [{use: any, keep: 5.0}]\n",
        ["x.yaml:8:21: select.0.keep"],
        id="5.0 is not an integer",
    ),
    pytest.param(
        "select: [{use: spread, keep: 5, order: x}]\n",
        ["x.yaml:8:33: select.0.order"],
        id="a value that is none of the choices",
    ),
    pytest.param(
        "select: [{use: spread, keep: 5, order: }]\n",
        ["x.yaml:8:33: select.0.order"],
        id="null in place of a value",
    ),
    pytest.param(
        "select: [{use: any, keep: [5]}]\n",
        ["x.yaml:8:21: select.0.keep"],
        id="a list in place of a number",
    ),
    pytest.param(
        "select: [{use: any, keep: {a: 5}}]\n",
        ["x.yaml:8:21: select.0.keep"],
        id="a mapping in place of a number",
    ),
    pytest.param(
        "select: [{use: needle}]\n",
        ["x.yaml:8:10: select.0.word"],
        id="a required field of a plugin is missing",
    ),
    pytest.param(
        "score: [{use: size}]\nselect:\n  - use: spread\n    keep: 5\n    strict: true\n    by:\n",
        ["x.yaml:13:5: select.0.by"],
        id="an error of a plugin about one field has the place of the field",
    ),
    pytest.param(
        "score: [{use: size}]\nselect: [{use: spread, keep: 5, strict: true, by: size, also: [size]}]\n",
        ["x.yaml:9:10: select.0"],
        id="an error of a plugin about several fields has the place of the entry",
    ),
    pytest.param(
        "score: [{use: size}]\nselect: [{use: spread, keep: 5, by: sise}]\n",
        ["x.yaml:9:33: select.0.by"],
        id="a score that does not exist",
    ),
    pytest.param(
        "score: [{use: size}]\nselect: [{use: spread, keep: 5, also: [size, score_size]}]\n",
        ["x.yaml:9:46: select.0.also.1"],
        id="a score in a list that does not exist",
    ),
    pytest.param(
        "score: [{use: shape}]\nselect: [{use: spread, keep: 5, by: shape}]\n",
        ["x.yaml:9:33: select.0.by"],
        id="a column of a scorer is named after both",
    ),
    pytest.param(
        "select: [{use: spread, keep: 5, by: size}]\n",
        ["x.yaml:8:33: select.0.by"],
        id="a score without a score section",
    ),
    pytest.param(
        "score: [{use: sizes}]\nselect: [{use: spread, keep: 5, by: sizes}]\n",
        ["x.yaml:8:10: score.0.use"],
        id="the score of an unknown scorer is not reported as unknown too",
    ),
    pytest.param(
        "score: [{use: size}]\nselect: [{use: best, keep: 5, quality: -siz}]\n",
        ["x.yaml:9:31: select.0.quality"],
        id="quality must name a score",
    ),
    pytest.param(
        "score: [{use: size}]\nselect: [{use: any, keep: 5, quality: size}]\n",
        ["x.yaml:9:30: select.0.quality"],
        id="quality for a selector that reads none",
    ),
    pytest.param(
        "select: [{use: best, keep: 5}]\n",
        ["x.yaml:8:11: select.0.use"],
        id="a selector that needs a score",
    ),
    pytest.param(
        "select: [{use: any}]\n",
        ["x.yaml:8:10: select.0"],
        id="no budget",
    ),
    pytest.param(
        "select:\n  - use: any\n    keep_rate: 0.5\n    keep: 5\n",
        ["x.yaml:11:5: select.0.keep"],
        id="two budgets",
    ),
    pytest.param(
        "select: [{use: needle, word: x, prune_rate: 0.5}]\n",
        ["x.yaml:8:33: select.0.prune_rate"],
        id="a budget for a filter",
    ),
    pytest.param(
        "select: [{use: any, keep: 5, quota: balanced}]\n",
        ["x.yaml:8:30: select.0.quota"],
        id="a quota without groups",
    ),
    pytest.param(
        "select: [{use: needle, word: x, within: cluster, quota: balanced}]\n",
        ["x.yaml:8:50: select.0.quota"],
        id="a quota for a filter",
    ),
    pytest.param(
        "select: [{use: any, keep: 5, within: cluster, quota: even}]\n",
        ["x.yaml:8:47: select.0.quota"],
        id="a quota of another kind",
    ),
    pytest.param(
        "select: [{use: any, keep: 5, within: cluster, quota: {temperature: 0}}]\n",
        ["x.yaml:8:55: select.0.quota.temperature"],
        id="a temperature of 0",
    ),
    pytest.param(
        "select: [{use: any, keep: 5, within: cluster, quota: {temprature: 2}}]\n",
        ["x.yaml:8:55: select.0.quota.temprature"],
        id="an unknown key in a quota",
    ),
    pytest.param(
        "select: [{use: any, keep: 5, within: cluster, quota: {temperature: 2, code: 3}}]\n",
        ["x.yaml:8:71: select.0.quota.code"],
        id="a group next to a temperature",
    ),
    pytest.param(
        'select: [{use: any, keep: 5, within: cluster, quota: {"0": 1.5}}]\n',
        ["x.yaml:8:55: select.0.quota.0"],
        id="a share of a budget above 1",
    ),
    pytest.param(
        "select: [{use: any, keep_rate: 0.5, at_most: true}]\n",
        ["x.yaml:8:37: select.0.at_most"],
        id="a rate that is a bound",
    ),
    pytest.param(
        "select: [{use: needle, word: x, at_most: true}]\n",
        ["x.yaml:8:33: select.0.at_most"],
        id="a bound for a filter",
    ),
    pytest.param(
        "select: [{use: any, keep: 5, within: source}]\n",
        ["x.yaml:8:30: select.0.within"],
        id="groups by source without a source",
    ),
    pytest.param(
        "score: [{use: agreement}]\nselect:\n  - {use: any, keep: 5}\n",
        ["x.yaml:8:10: score.0.use"],
        id="a scorer that reads labels without labels",
    ),
    pytest.param(
        "select: [{use: spread, keep: 5, embedding: word}]\n",
        ["x.yaml:8:33: select.0.embedding"],
        id="an embedding that does not exist",
    ),
    pytest.param(
        "score: [{use: size, embedding: words}]\nselect:\n  - {use: any, keep: 5}\n",
        ["x.yaml:8:21: score.0.embedding"],
        id="an embedding for a plugin that reads none",
    ),
    pytest.param(
        "select:\n  - {use: any, keep: 5}\n  - {use: any, keep: 4}\n",
        ["x.yaml:10:5: select.1"],
        id="two entries of one name",
    ),
    pytest.param(
        "score:\n  - {use: shape}\n  - {use: size, name: shape_width}\nselect:\n  - {use: any, keep: 5}\n",
        ["x.yaml:10:5: score.1"],
        id="two scores of one name",
    ),
    pytest.param(
        "score: [{use: size, name: a b}]\nselect:\n  - {use: any, keep: 5}\n",
        ["x.yaml:8:21: score.0.name"],
        id="a name that could not be a column",
    ),
    pytest.param(
        "seed: -1\nselect:\n  - {use: any, keep: 5}\n",
        ["x.yaml:8:1: seed"],
        id="a seed below 0",
    ),
    pytest.param(
        "memory_limit: 8 gigs\nselect:\n  - {use: any, keep: 5}\n",
        ["x.yaml:8:1: memory_limit"],
        id="an invalid size",
    ),
    pytest.param(
        "memory_limit: 0\nselect:\n  - {use: any, keep: 5}\n",
        ["x.yaml:8:1: memory_limit"],
        id="a size of 0",
    ),
    pytest.param(
        "seed: 1\nselect:\n  - {use: any, keep: 5}\nseed: 2\n",
        ["x.yaml:11:1: seed"],
        id="a key given twice",
    ),
    pytest.param(
        "1: x\nselect:\n  - {use: any, keep: 5}\n",
        ["x.yaml:8:1"],
        id="a key that is not a string",
    ),
    pytest.param(
        "select:\n  - {use: any, keep: 5}\nguard: {<<: {max_drop_rate: 1}}\n",
        ["x.yaml:10:9: guard.<<"],
        id="a merge key",
    ),
    pytest.param(
        "select: [{use: spread, keep: 5, quality_weight: .nan}]\n",
        ["x.yaml:8:33: select.0.quality_weight"],
        id="a number that is not finite",
    ),
    pytest.param(
        "select: [{use: spread, keep: 5, quality_weight: 1e999}]\n",
        ["x.yaml:8:33: select.0.quality_weight"],
        id="a number that is too large for a float",
    ),
    pytest.param(
        "select: [{use: any, keep: !!python/name:os.system x}]\n",
        ["x.yaml:8:21: select.0.keep"],
        id="a tag",
    ),
    pytest.param(
        "guard: &a {max_drop_rate: *a}\nselect:\n  - {use: any, keep: 5}\n",
        ["x.yaml:8:12: guard.max_drop_rate"],
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
            "x.yaml:8:1: seed",
            "x.yaml:9:10: score.0.use",
            "x.yaml:11:19: select.0.keep",
            "x.yaml:11:28: select.0.ordr",
            "x.yaml:12:5: select.1",
            "x.yaml:13:9: guard.max_drop_rate",
        ],
        id="everything at once, in the order of the file",
    ),
]

FILES = [  # the whole file, where the errors stand
    pytest.param(
        "run: x\ninput: {files: a, text: t}\nselect: [{use: uniform, keep: 1}]\n",
        ["x.yaml:1:1: curate"],
        id="the version must be given",
    ),
    pytest.param(
        "curate: 2\nrun: x\ninput: {files: a, text: t}\nselect: [{use: uniform, keep: 1}]\n",
        ["x.yaml:1:1: curate"],
        id="another version is refused",
    ),
    pytest.param(
        "curate: true\nrun: x\ninput: {files: a, text: t}\nselect: [{use: uniform, keep: 1}]\n",
        ["x.yaml:1:1: curate"],
        id="true is not version 1",
    ),
    pytest.param(
        "curate: 1\nselect: [{use: uniform, keep: 1}]\n",
        ["x.yaml:1:1: run", "x.yaml:1:1: input"],
        id="run and input must be given",
    ),
    pytest.param(
        "curate: 1\nrun: s3://key:hidden@bucket/run\n"
        "input: {files: [a, 's3://key:hid/den@bucket/*.jsonl'], text: t}\nselect: [{use: uniform, keep: 1}]\n",
        ["x.yaml:2:1: run", "x.yaml:3:20: input.files.1"],
        id="credentials in a URL",
    ),
    pytest.param(
        "curate: 1\nrun: x\ninput: {}\nselect: [{use: uniform, keep: 1}]\n",
        ["x.yaml:3:1: input.files", "x.yaml:3:1: input.text"],
        id="input must contain files and text",
    ),
    pytest.param(
        "curate: 1\nrun: x\ninput: {files: a, text: t, vectors: emb/c.npz}\nselect: [{use: uniform, keep: 1}]\n",
        ["x.yaml:3:28: input.vectors"],
        id="vectors that are no array file",
    ),
    pytest.param(
        "curate: 1\nrun: x\ninput: {files: [a, 3], text: t}\nselect: [{use: uniform, keep: 1}]\n",
        ["x.yaml:3:20: input.files.1"],
        id="a file that is not a string",
    ),
    pytest.param(
        "curate: 1\nrun: x\ninput: {files: [], text: t}\nselect: [{use: uniform, keep: 1}]\n",
        ["x.yaml:3:9: input.files"],
        id="no files",
    ),
    pytest.param(
        "curate: 1\nrun: x\ninput: {files: a, text: ''}\nselect: [{use: uniform, keep: 1}]\n",
        ["x.yaml:3:19: input.text"],
        id="empty text",
    ),
    pytest.param(
        "curate: 1\nrun: x\ninput:\n  files: a\n  text: '{a'\nselect: [{use: uniform, keep: 1}]\n",
        ["x.yaml:5:3: input.text"],
        id="an open brace",
    ),
    pytest.param(
        "curate: 1\nrun: x\ninput: {files: a, text: '{a!r}'}\nselect: [{use: uniform, keep: 1}]\n",
        ["x.yaml:3:19: input.text"],
        id="a conversion in braces",
    ),
    pytest.param(
        "curate: 1\nrun: x\ninput: a\nselect: [{use: uniform, keep: 1}]\n",
        ["x.yaml:3:1: input"],
        id="input is a string",
    ),
    pytest.param(
        "curate: 1\nrun: x\ninput: {files: a, text: t}\nplugins: [no.py]\nselect: [{use: uniform, keep: 1}]\n",
        ["x.yaml:4:11: plugins.0"],
        id="a plugin file that does not exist",
    ),
    pytest.param(
        "curate: 1\n"
        "run: x\n"
        "input: {files: a, text: t}\n"
        "export: {use: parquet, add: [rank, rank]}\n"
        "select: [{use: uniform, keep: 1}]\n",
        ["x.yaml:4:36: export.add.1"],
        id="a column added twice",
    ),
    pytest.param(
        "curate: 1\n"
        "run: x\n"
        "input: {files: a, text: t}\n"
        "export: {use: parquet, add: [rank, x]}\n"
        "select: [{use: uniform, keep: 1}]\n",
        ["x.yaml:4:36: export.add.1"],
        id="an unknown column to add",
    ),
    pytest.param(
        "curate: 1\n"
        "run: x\n"
        "input: {files: a, text: t}\n"
        "cluster: {use: kmeans, name: x}\n"
        "select: [{use: uniform, keep: 1}]\n",
        ["x.yaml:4:24: cluster.name"],
        id="the one cluster entry takes no name",
    ),
    pytest.param(
        "curate: 1\nrun: x\ninput: {files: a, text: t}\nembed: []\nselect: [{use: uniform, keep: 1}]\n",
        ["x.yaml:4:1: embed"],
        id="no embed entry",
    ),
    pytest.param(
        "",
        ["x.yaml"],
        id="an empty file",
    ),
    pytest.param(
        "# nothing\n",
        ["x.yaml"],
        id="only a comment",
    ),
    pytest.param(
        "- a\n",
        ["x.yaml:1:1"],
        id="a list",
    ),
    pytest.param(
        "a\n",
        ["x.yaml:1:1"],
        id="a single word",
    ),
    pytest.param(
        "curate: 1\n---\ncurate: 1\n",
        ["x.yaml:3:1"],
        id="two documents",
    ),
    pytest.param(
        "curate: 1\nrun: 'x\n",
        ["x.yaml:3:1"],
        id="a quote that is not closed",
    ),
    pytest.param(
        "curate: 1\nselect: [\n",
        ["x.yaml:3:1"],
        id="a bracket that is not closed",
    ),
    pytest.param(
        "curate: 1\ninput:\n\tfiles: a\n",
        ["x.yaml:3:1"],
        id="a tab",
    ),
    pytest.param(
        "curate: 1\nrun: a: b\n",
        ["x.yaml:2:7"],
        id="one colon too many",
    ),
    pytest.param(
        "curate: 1\nrun: \x07\n",
        ["x.yaml:2:6"],
        id="a control character",
    ),
    pytest.param(
        "curate: 1\nrun: *x\n",
        ["x.yaml:2:6"],
        id="an unknown alias",
    ),
    pytest.param(
        "curate: !!int x\n",
        ["x.yaml:1:1: curate", "x.yaml:1:1: run", "x.yaml:1:1: input", "x.yaml:1:1: select"],
        id="a tag that does not fit the value",
    ),
]

OVERRIDES = [  # what follows --set, where the errors of a file that is right stand
    pytest.param(
        "select.0.keep=0",
        ["--set select.0.keep=0"],
        id="a value out of bounds",
    ),
    pytest.param(
        "select.0.keep=abc",
        ["--set select.0.keep=abc"],
        id="not a number",
    ),
    pytest.param(
        "select.0.keep",
        ["--set select.0.keep"],
        id="no equals sign",
    ),
    pytest.param(
        "select.0.kep=3",
        ["--set select.0.kep=3"],
        id="unknown key",
    ),
    pytest.param(
        "select.3.keep=3",
        ["--set select.3.keep=3"],
        id="position beyond",
    ),
    pytest.param(
        "select.zz.keep=3",
        ["--set select.zz.keep=3"],
        id="no entry of that name",
    ),
    pytest.param(
        "select.0.keep.x=3",
        ["--set select.0.keep.x=3"],
        id="inside a number",
    ),
    pytest.param(
        "select.0.keep=[",
        ["--set select.0.keep=["],
        id="not yaml",
    ),
    pytest.param(
        "run=s3://key:hidden@bucket/run",
        ["--set run=s3://…"],
        id="credentials in a URL",
    ),
    pytest.param(
        "select.0.keep=.nan",
        ["--set select.0.keep=.nan"],
        id="nan",
    ),
    pytest.param(
        "select.0.keep_rate=0.5",
        ["--set select.0.keep_rate=0.5"],
        id="second budget",
    ),
    pytest.param(
        "select.0={use: any, keep: 0}",
        ["--set select.0={use: any, keep: 0}: select.0.keep"],
        id="nested",
    ),
]


Told = Callable[..., str]
MESSAGES = Path(__file__).with_name("messages.txt")


def stand_at(places: list[str], told: str) -> bool:
    """Return whether there is exactly one error at each place, in this order."""
    lines = told.splitlines()
    return len(lines) == len(places) and all(map(str.startswith, lines, [f"{place}: " for place in places]))


@pytest.mark.parametrize(("text", "places"), ENTRIES)
def test_an_error_in_a_section(errors_of: Told, text: str, places: list[str]) -> None:
    assert stand_at(places, errors_of(text))


@pytest.mark.parametrize(("text", "places"), FILES)
def test_an_error_in_a_file(errors_of: Told, text: str, places: list[str]) -> None:
    assert stand_at(places, errors_of(text, whole=True))


@pytest.mark.parametrize(("override", "places"), OVERRIDES)
def test_an_error_on_the_command_line(errors_of: Told, override: str, places: list[str]) -> None:
    assert stand_at(places, errors_of(FINE, override))


def test_messages_are_those_of_the_snapshot(errors_of: Told) -> None:
    told = [(case, errors_of(case.values[0])) for case in ENTRIES]
    told += [(case, errors_of(case.values[0], whole=True)) for case in FILES]
    told += [(case, errors_of(FINE, case.values[0])) for case in OVERRIDES]
    text = "\n".join(f"# {case.id}\n{errors}\n" for case, errors in told)
    if os.environ.get("CURATE_WRITE_MESSAGES"):
        MESSAGES.write_text(text, encoding="utf-8")
    assert text == MESSAGES.read_text(encoding="utf-8")


def test_errors_of_overrides_come_last_in_the_order_of_the_command_line(errors_of: Told) -> None:
    told = errors_of(FINE + "sed: 1\n", "select.0.keep=0", "seed=-1")
    assert stand_at(["x.yaml:10:1: sed", "--set select.0.keep=0", "--set seed=-1"], told)


def test_a_value_that_an_override_replaces_causes_no_error(base: str) -> None:
    Path("x.yaml").write_text(base + "select:\n  - {use: any, keep: none}\n", encoding="utf-8")
    assert load_config(Path("x.yaml"), ["select.0.keep=3"]).select[0].budget.resolve_rows(5, "any") == 3


def test_a_selector_that_plans_no_epochs_may_have_any_position(base: str) -> None:
    entries = (
        "select: [{use: draws, epochs: 1, keep_tokens: 5}, {use: any, keep: 2}]\nrefresh: {keep_previous_weight: 1}\n"
    )
    Path("x.yaml").write_text(base + entries, encoding="utf-8")
    assert [entry.epochs for entry in load_config(Path("x.yaml")).select] == [1, 1]


def test_for_a_name_without_similar_ones_all_names_are_listed(errors_of: Told) -> None:
    told = errors_of("select: [{use: zzzzzz, keep: 5}]\n")
    assert told.startswith(
        "x.yaml:8:11: select.0.use: unknown selector 'zzzzzz'; there are: add_one_in, any, autocoreset, "
    )
    assert "spread" in told


def test_exponentially_growing_aliases_are_refused(errors_of: Told) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    assert "its aliases expand to more than 100,000 values" in errors_of("\n".join(lines), whole=True)


@pytest.mark.parametrize("text", ["[" * 3000, "a: " + "{a: " * 3000], ids=["lists", "mappings"])
def test_too_deep_nesting_is_a_config_error(errors_of: Told, text: str) -> None:
    assert errors_of(text, whole=True) == "x.yaml: nested too deeply"


def test_a_number_with_too_many_digits_is_an_error(errors_of: Told) -> None:
    assert errors_of(FINE + f"seed: {'9' * 5000}\n") == "x.yaml:10:1: seed: must have at most 100 digits; got 5000"


def test_a_file_that_cannot_be_read() -> None:
    with pytest.raises(ConfigError, match=r"^no.yaml: cannot read the configuration: No such file or directory$"):
        load_config(Path("no.yaml"))


def test_a_file_that_is_not_utf_8() -> None:
    Path("x.yaml").write_bytes(b"curate: 1\nrun: \xff\n")
    with pytest.raises(ConfigError, match=r"^x.yaml: not UTF-8 text: byte 15 is 0xff$"):
        load_config(Path("x.yaml"))


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
def test_a_dict_is_validated_like_a_file(change: dict[str, object], expected: str) -> None:
    data = {"curate": 1, "run": "x", "input": {"files": "a", "text": "t"}, "select": [{"use": "uniform", "keep": 1}]}
    with pytest.raises(ConfigErrors) as caught:
        config_from_dict({**data, **change})
    assert str(caught.value) == expected


def test_a_dict_that_contains_itself_is_a_config_error() -> None:
    data: dict[str, object] = {"curate": 1}
    data["guard"] = data
    with pytest.raises(ConfigError, match="nested too deeply, or refers to itself"):
        config_from_dict(data)


def test_a_plugin_with_an_option_named_like_a_reserved_key_is_refused(base: str) -> None:
    text = Path("any.py").read_text(encoding="utf-8") + '    keep: int = 1\n    """Mine."""\n'
    Path("greedy.py").write_text(text, encoding="utf-8")
    Path("x.yaml").write_text(
        base.replace("any.py", "greedy.py") + "select: [{use: greedy, keep: 5}]\n", encoding="utf-8"
    )
    with pytest.raises(PluginError, match="selector 'greedy' must not have an option called 'keep'"):
        load_config(Path("x.yaml"))


def test_a_plugin_file_that_does_not_load_is_a_plugin_error(base: str) -> None:
    Path("broken.py").write_text("1 / 0\n", encoding="utf-8")
    Path("x.yaml").write_text(base.replace("any.py", "broken.py") + FINE, encoding="utf-8")
    with pytest.raises(PluginError, match=r"broken.py: the plugin file fails to import: ZeroDivisionError"):
        load_config(Path("x.yaml"))

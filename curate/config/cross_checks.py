"""Checks that involve several entries: references to names, budgets, quality scores; they return the final entries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from curate.config import template_syntax
from curate.config.budget import Budget
from curate.config.entries import Draft
from curate.config.issues import IssueCollector, format_path, suggest_name
from curate.config.model import (
    DECONTAMINATE,
    JUDGE,
    REVIEW,
    SPLIT,
    TARGET,
    DecontaminateConfig,
    EvaluateConfig,
    JudgeConfig,
    RefreshConfig,
    ReviewConfig,
    SplitConfig,
    TargetConfig,
    count_epochs,
    parse_size,
)
from curate.config.sections import BUDGET_KEYS, ENTRY_SECTIONS
from curate.config.validator import Values
from curate.config.yaml_positions import KeyPath, PlainData
from curate.plugins import registry
from curate.plugins.fields import Field, fields, find_marked, format_value, iter_marks
from curate.plugins.interfaces import PROXY_READS, ConfigReference, TemplateField, TextTemplate
from curate.plugins.registry import Plugin

if TYPE_CHECKING:
    from curate.plugins.language_models import ModelRequest

_TEMPLATE = Field(name="text", type=TextTemplate)
"""Field with the type of a text of a row."""


def check_entries(
    drafts: Mapping[str, list[Draft]],
    pool: PlainData,
    report: IssueCollector,
    target: TargetConfig | None = None,
    judge: JudgeConfig | None = None,
) -> Values:
    """Check the entries of all sections, and return the fields of ``RunConfig`` that contain entries.

    Defaults that depend on other entries are filled in.

    Parameters
    ----------
    drafts : mapping of str to list of Draft
        Parsed entries by section.
    pool : plain data
        The input section as written.
    report : IssueCollector
        Receives the issues; if it has any, nothing is returned.
    target : TargetConfig, optional
        The target section.
    judge : JudgeConfig, optional
        The judge section.
    """
    checks = _Checks(drafts, pool if isinstance(pool, dict) else {}, report, target, judge)
    section_checks = {
        "annotate": checks.check_examples,
        "model": checks.check_examples,
        "score": checks.check_score,
        "select": checks.check_select,
        "export": checks.check_export,
    }
    keys = {
        section: [section_checks.get(section, checks.check_entry)(draft) for draft in drafts[section]]
        for section in ENTRY_SECTIONS
    }
    if report.issues:
        return {}
    built: Values = {}
    for name, section in ENTRY_SECTIONS.items():
        objects = [
            section.cls(**{**values, "name": draft.name, "spec": draft.spec})
            for draft, values in zip(drafts[name], keys[name], strict=True)
        ]
        built[name] = tuple(objects) if section.is_list else objects[0] if objects else None
    return built


def check_epoch_plans(select: Sequence[Draft], refresh: RefreshConfig | None, report: IssueCollector) -> None:
    """Report what a selector that plans epochs cannot be combined with: later entries, tokens, keep_previous_weight."""
    for number, draft in enumerate(select, 1):
        if draft.spec is None or count_epochs(draft.spec) == 1:
            continue
        if number < len(select):
            hint = "move it to the end, or set epochs: 1"
            report.add((*draft.path, "epochs"), "an epoch plan must be the last entry", hint)
        if "keep_tokens" in draft.keys:
            hint = "set one of keep, keep_rate, prune_rate instead"
            report.add((*draft.path, "keep_tokens"), "the budget of an epoch plan must be in rows", hint)
        if refresh is not None and refresh.keep_previous_weight:
            message = f"{format_path(draft.path)} plans epochs, and an epoch plan cannot keep published rows"
            report.add(("refresh", "keep_previous_weight"), message, "set it to 0, or set epochs: 1 in that entry")


def check_split(
    drafts: Mapping[str, list[Draft]], section: SplitConfig | None, pool: PlainData, report: IssueCollector
) -> None:
    """Report conflicts of the section split: with an epoch plan, or groups that the input does not have."""
    if section is None:
        return
    if any(draft.spec is not None and count_epochs(draft.spec) > 1 for draft in drafts["select"]):
        report.add((SPLIT,), "rows of an epoch plan cannot be split", "set epochs: 1, or remove the section")
    roles = pool if isinstance(pool, dict) else {}
    keys: list[tuple[KeyPath, str | None]] = [(("groups", number), name) for number, name in enumerate(section.groups)]
    for path, name in [*keys, (("stratify",), section.stratify)]:
        if name in ("label", "source") and not roles.get(name):
            report.add((SPLIT, *path), f"input.{name} is not set", "set it to the name of the column")


def check_review(
    drafts: Mapping[str, list[Draft]], section: ReviewConfig | None, pool: PlainData, report: IssueCollector
) -> None:
    """Report conflicts of the section review: no labels, unknown scores, or an unknown embed entry."""
    if section is None:
        return
    if not (isinstance(pool, dict) and pool.get("label")):
        report.add((REVIEW,), "there are no labels to review", "set input.label, or remove the section")
    columns = {
        f"{draft.name}_{column.name}" if column.name else draft.name: column
        for draft in drafts["score"]
        if draft.plugin is not None
        for column in draft.plugin.traits.columns
    }
    for number, name in enumerate(section.by or ()):
        if (plain := name.removeprefix("-")) not in columns and not report.has_issue(("score",)):
            hint = suggest_name(plain, columns) if columns else "there are no scores: add an entry to score"
            report.add((REVIEW, "by", number), f"there is no score {plain!r}", hint)
    finds_errors = any(column.label_errors is not None for column in columns.values())
    if section.by is None and not finds_errors and not report.has_issue(("score",)):
        hint = "add one to the section score, such as {use: knn_disagreement}, or set review.by"
        report.add((REVIEW,), "no score finds wrong labels", hint)
    known = [draft.name for draft in drafts["embed"] if draft.name]
    if section.embedding is not None and section.embedding not in known and not report.has_issue(("embed",)):
        message = f"there is no embed entry {section.embedding!r}"
        report.add((REVIEW, "embedding"), message, suggest_name(section.embedding, known))


def check_target(section: TargetConfig | None, pool: PlainData, report: IssueCollector) -> None:
    """Report labels of target rows that cannot be compared with any of the pool."""
    if section is not None and section.label is not None and not (isinstance(pool, dict) and pool.get("label")):
        report.add((TARGET, "label"), "the labels are compared with those of the pool", "set input.label")


def check_decontamination(
    drafts: Mapping[str, list[Draft]], section: DecontaminateConfig | None, pool: PlainData, report: IssueCollector
) -> None:
    """Report conflicts with the section decontaminate: an entry with its name, no texts, or an unknown embed entry."""
    for draft in drafts["select"]:
        if draft.name == DECONTAMINATE:
            message = f"the name {DECONTAMINATE!r} is reserved for the section {DECONTAMINATE}"
            report.add(draft.path, message, "choose another name for the entry with the key 'name'")
    if isinstance(pool, dict) and pool.get("image") and not pool.get("text"):
        message = "texts are compared with evaluation sets, and the input has none"
        report.add((DECONTAMINATE,), message, "set input.text, or remove the section")
    name = None if section is None else section.embedding
    known = [draft.name for draft in drafts["embed"] if draft.name]
    if name is not None and name not in known and not report.has_issue(("embed",)):
        report.add((DECONTAMINATE, "embedding"), f"there is no embed entry {name!r}", suggest_name(name, known))


def check_primary_metric(
    metrics: Sequence[Draft],
    section: EvaluateConfig | None,
    local: tuple[registry.LocalPlugin, ...],
    pool: PlainData,
    report: IssueCollector,
) -> None:
    """Check that ``evaluate.primary`` names a metric, or one of its values, that says which selection is better."""
    if section is None or section.primary is None or report.has_issue(("metrics",)) or report.has_issue(("plugins",)):
        return
    path, (name, _, column) = ("evaluate", "primary"), section.primary.partition(".")
    known = [draft.name for draft in metrics] or registry.names("metric", local)
    if name not in known:
        report.add(path, f"there is no metric {name!r}", suggest_name(name, known))
        return
    plugins = {draft.name: draft.plugin for draft in metrics}
    plugin = plugins[name] if metrics else registry.get("metric", name, local)
    if plugin is None:
        return
    if not metrics and "label" in plugin.traits.reads and not (isinstance(pool, dict) and pool.get("label")):
        message = f"the metric {name!r} reads labels, and the input has no label column"
        report.add(path, message, "set input.label")
        return
    if not metrics and (required := [field.name for field in fields(plugin.cls) if field.required]):
        report.add(path, f"the metric {name!r} needs {', '.join(required)}", "add an entry with these keys to metrics")
        return
    numbers = {measure.name: measure.higher_is_better for measure in plugin.traits.measures}
    oriented = [number for number, higher in numbers.items() if higher is not None]
    if column and column not in numbers:
        names = list(filter(None, numbers))
        report.add(path, f"the metric {name!r} has no value {column!r}", suggest_name(column, names))
    elif not oriented or (column and column not in oriented):
        hint = f"use one of its other values: {', '.join(oriented)}" if oriented else "use another metric"
        report.add(path, f"{section.primary!r} does not say which of two selections is better", hint)


def check_single_entry(draft: Draft, scores: Sequence[str], report: IssueCollector) -> Budget | None:
    """Check a select entry outside of a configuration, whose options may refer to ``scores``, and return its budget."""
    checks = _Checks({**{section: [] for section in ENTRY_SECTIONS}, "select": [draft]}, {}, report)
    checks.scores = dict.fromkeys(scores, ())
    checks.has_judge = True  # its absence is reported with the other inputs
    checks.check_references(draft)
    checks.check_quota(draft)
    return checks.check_budget(draft)


class _Checks:
    """Checks for the entries of each section, with the names that entries may refer to.

    The method for a section returns the keyword arguments of the entry.
    """

    def __init__(
        self,
        drafts: Mapping[str, list[Draft]],
        pool: Mapping[str, PlainData],
        report: IssueCollector,
        target: TargetConfig | None = None,
        judge: JudgeConfig | None = None,
    ) -> None:
        self.pool, self.report, self.target = pool, report, target
        self.has_judge = judge is not None or report.has_issue((JUDGE,))
        for name, section in ENTRY_SECTIONS.items():
            self._check_unique(drafts[name] if section.is_list else [])
        self.embeddings = [draft.name for draft in drafts["embed"]]
        clustered = drafts["cluster"][0].keys.get("embedding") if drafts["cluster"] else None
        self.clustered = clustered or (self.embeddings[0] if self.embeddings else None)
        self.proxy = drafts["proxy"][0] if drafts["proxy"] else None
        self.has_proxy = self.proxy is not None or report.has_issue(("proxy",))
        self.models = {draft.name: draft for draft in drafts["model"]}
        self.models_are_known = not report.has_issue(("model",))
        self.scores: dict[str, KeyPath] = {}
        self.scores_are_known = not report.has_issue(("score",))
        for draft in drafts["score"]:
            self._add_scores(draft)

    def _check_unique(self, drafts: list[Draft]) -> None:
        seen: dict[str, KeyPath] = {}
        for draft in drafts:
            if draft.name and draft.name in seen:
                hint = "give each entry a unique name with the key 'name'"
                self.report.add(draft.path, f"{format_path(seen[draft.name])} is also called {draft.name!r}", hint)
            seen.setdefault(draft.name, draft.path)

    def _add_scores(self, draft: Draft) -> None:
        for column in draft.plugin.traits.columns if draft.plugin else ():
            name = f"{draft.name}_{column.name}" if column.name else draft.name
            if name in self.scores and not self.report.has_issue(draft.path):
                hint = "choose another name for the entry with the key 'name'"
                self.report.add(draft.path, f"{format_path(self.scores[name])} also produces a score {name!r}", hint)
            self.scores.setdefault(name, draft.path)

    # ------------------------------------------------------------ sections

    def check_entry(self, draft: Draft) -> Values:
        """Return the keys of an entry of a section without additional checks."""
        self.check_references(draft)
        self._check_model(draft)
        self._check_target(draft)
        keys = {key: value for key, value in draft.keys.items() if key != "use"}
        return keys | ({"embedding": self._embedding(draft)} if draft.section != "embed" else {})

    def check_examples(self, draft: Draft) -> Values:
        """Check an entry that reads prompts and responses: report a row that is read in two ways, or without either."""
        self.check_references(draft)
        for key in ("prompt", "response"):
            if draft.keys.get(key) is None:
                continue
            if draft.keys.get("messages") is not None:
                self.report.add((*draft.path, key), "the rows are chats: messages is set", "remove one of the keys")
            self._check_template((*draft.path, key), _TEMPLATE, draft.keys[key])
        if draft.keys.get("prompt") is not None and draft.keys.get("response") is None:
            message = "without a response, the text of a row would be the response, which may contain the prompt"
            self.report.add((*draft.path, "prompt"), message, "set response to the column of the responses")
        if self._has_only_images and draft.keys.get("response") is None and draft.keys.get("messages") is None:
            self.report.add(draft.path, "the input has no texts", "set response to a column of texts")
        return {key: value for key, value in draft.keys.items() if key != "use"}

    def _check_model(self, draft: Draft) -> None:
        """Report a plugin that needs a language model that the configuration does not have, or that cannot answer."""
        if draft.plugin is None or not draft.plugin.traits.reads_model or not self.models_are_known:
            return
        plugin, path = draft.plugin, (*draft.path, "use")
        if not self.models:
            message = f"the {plugin.kind} {plugin.name!r} reads a language model, and there is no section model"
            self.report.add(path, message, "add a section model: {use: causal_lm, model: …}")
            return
        if draft.instance is None:
            return
        requests: Sequence[ModelRequest] = (
            [one for target in (False, True) for one in draft.instance.requests(target=target)]  # type: ignore[attr-defined]
            if plugin.kind == "embedder"
            else draft.instance.requests()  # type: ignore[attr-defined]
        )
        for request in requests:
            name = request.model or next(iter(self.models))
            model = self.models.get(name)
            if model is None:
                self.report.add(draft.path, f"there is no model {name!r}", suggest_name(name, self.models))
                return
            if model.plugin is not None and request.request.ability not in model.plugin.traits.abilities:
                message = f"the model {model.plugin.name!r} computes no {request.request.ability}"
                self.report.add(path, f"the {plugin.kind} {plugin.name!r} reads {request.request.ability}: {message}")
                return

    def check_score(self, draft: Draft) -> Values:
        self.check_references(draft)
        self._check_model(draft)
        self._check_proxy(draft)
        if draft.plugin and "group" in draft.plugin.traits.reads:
            self._check_group((*draft.path, "group"), getattr(draft.instance, "group", None))
        self._check_target(draft)
        embedding = self._embedding(draft)
        if draft.plugin and "cluster" in draft.plugin.traits.reads and embedding not in (None, self.clustered):
            message = f"the scorer {draft.plugin.name!r} compares vectors with cluster centers"
            hint = f"use the embedding that is clustered, {self.clustered!r}"
            self.report.add((*draft.path, "embedding"), message, hint)
        return {"embedding": embedding}

    def _check_proxy(self, draft: Draft) -> None:
        """Report a scorer that needs a proxy, or more of the proxy than it has."""
        traits = draft.plugin.traits if draft.plugin else None
        if traits is None or draft.plugin is None or not traits.reads & PROXY_READS:
            return
        use, name = (*draft.path, "use"), draft.plugin.name
        if not self.has_proxy:
            message = f"the scorer {name!r} reads a proxy, and there is no proxy"
            self.report.add(use, message, "add a section proxy: {use: logistic}")
            return
        proxy = self.proxy
        if proxy is None or proxy.plugin is None:
            return
        epochs = getattr(proxy.instance, "epochs", traits.min_epochs)
        if "log" in proxy.plugin.traits.reads:
            if traits.reads & PROXY_READS - {"dynamics", "features"}:
                message = f"the scorer {name!r} needs a trained proxy, and {proxy.plugin.name!r} reads a log"
                self.report.add(use, message, "use the proxy logistic or mlp, or another score")
        elif "input_gradients" in traits.reads and not proxy.plugin.traits.input_gradients:
            message = f"the scorer {name!r} needs gradients that differ by row, and {proxy.plugin.name!r} is linear"
            self.report.add(use, message, "use the proxy mlp")
        elif "dynamics" in traits.reads and epochs < traits.min_epochs:
            message = f"the scorer {name!r} needs {traits.min_epochs} epochs, and the proxy has {epochs}"
            self.report.add(use, message, f"set proxy.epochs to at least {traits.min_epochs}")

    def _check_target(self, draft: Draft) -> None:
        """Report a plugin that needs target rows, or predictions for them, which the configuration does not have."""
        if draft.plugin is None or self.report.has_issue((TARGET,)):
            return
        traits, name, path = draft.plugin.traits, draft.plugin.name, (*draft.path, "use")
        reference = getattr(draft.instance, "reference", None)
        if self.target is None and ("target" in traits.reads or reference == "target"):
            kind = draft.plugin.kind
            message = f"the {kind} {name!r} compares rows with those of a task, and there is no section target"
            self.report.add(path, message, "add a section target: {files: …}")
            return
        if draft.plugin.kind == "metric" and reference == "target" and self.target and not self.target.test_share:
            message = f"the metric {name!r} compares rows with the test rows of the target, and there are none"
            self.report.add(path, message, "set target.test_share above 0")
        if "dynamics" not in traits.reads or "target" not in traits.reads | traits.optional:
            return
        uses_target = self.target is not None and reference in (None, "target")
        is_log = self.proxy is not None and self.proxy.plugin is not None and "log" in self.proxy.plugin.traits.reads
        if uses_target and self.target is not None and self.target.label is None:
            message = f"the scorer {name!r} needs the labels of the target rows"
            self.report.add(path, message, "set target.label to the column with their labels")
        if is_log and (uses_target or reference == "held_out"):
            message = f"the scorer {name!r} needs predictions for rows that the log of the proxy does not have"
            self.report.add(path, message, "use the proxy logistic or mlp, or reference: pool")

    def check_select(self, draft: Draft) -> Values:
        self.check_references(draft)
        self._check_target(draft)
        keys = {key: value for key, value in draft.keys.items() if key not in ("use", "at_most", *BUDGET_KEYS)}
        keys["budget"] = self.check_budget(draft)
        keys |= {"embedding": self._embedding(draft), "quality": self._quality(draft)}
        self._check_group((*draft.path, "within"), keys.get("within"))
        if "within" in keys and keys["budget"]:
            keys.setdefault("quota", "proportional")
        self.check_quota(draft)
        self._check_against(draft)
        return keys

    def _check_group(self, path: KeyPath, name: PlainData) -> None:
        """Report groups by a role of the input that is not set."""
        if name in ("label", "source") and not self.pool.get(str(name)):
            self.report.add(path, f"input.{name} is not set", "set it to the name of the column")

    def check_quota(self, draft: Draft) -> None:
        """Report a quota without groups, or without a budget to split."""
        quota = (*draft.path, "quota")
        if draft.keys.get("quota") is None:
            return
        if draft.plugin and not draft.plugin.traits.budgeted:
            self.report.add(quota, f"the filter {draft.plugin.name!r} has no budget to split", "remove the key")
        elif "within" not in draft.data:
            self.report.add(quota, "there are no groups to split the budget over", "set them with the key 'within'")
        elif draft.keys.get("within") == "cluster" and isinstance(draft.keys["quota"], dict):
            for key in draft.keys["quota"]:
                if not key.isdecimal():
                    hint = (
                        suggest_name(key, ["temperature"])
                        if key[:1] == "t"
                        else 'write {"0": 300}, or {temperature: 3}'
                    )
                    self.report.add((*quota, key), f"clusters are numbered, but {key!r} is not a number", hint)

    def _check_against(self, draft: Draft) -> None:
        """Report a comparison with published rows for a selector without sketches, or within groups."""
        if draft.keys.get("against") is None or draft.plugin is None:
            return
        path = (*draft.path, "against")
        if draft.plugin.traits.sketch is None:
            message = f"the selector {draft.plugin.name!r} cannot compare rows with published rows"
            self.report.add(path, message, "use it with exact_duplicates, minhash or semdedup")
        elif draft.keys.get("within") is not None:
            self.report.add(path, "published rows are not in any group of the input", "remove 'within'")

    def check_export(self, draft: Draft) -> Values:
        if draft.keys.get("image") and not self.pool.get("image") and not self.report.has_issue(("input",)):
            self.report.add((*draft.path, "image"), "the input has no images", "set input.image, or remove the key")
        for key in ("columns", "drop", "add", "mask_pii"):
            names = draft.keys.get(key, ())
            for index, name in enumerate(names):
                if name in names[:index]:
                    self.report.add((*draft.path, key, index), f"{name!r} is listed twice", "remove it")
        self._check_exported_columns(draft)
        size = draft.keys.get("bytes_per_file")
        if isinstance(size, str) and not parse_size(size):
            message = f"must be a number of bytes >= 1, or a size such as '256MiB'; got {format_value(size)}"
            self.report.add((*draft.path, "bytes_per_file"), message)
        text, identity = str(self.pool.get("text") or ""), self.pool.get("id")
        for key, action in (("mask_pii", "masked"), ("remove_repeated_spans", "shortened")):
            if not draft.keys.get(key) or self.report.has_issue(("input",)):
                continue
            if self._has_only_images:
                self.report.add((*draft.path, key), "the input has no texts", "set input.text, or remove the key")
            if identity in [path[0] for path in template_syntax.extract_paths(text)]:
                message = f"column {identity!r} is in input.text and is also the id, and ids are never {action}"
                self.report.add((*draft.path, key), message, "remove it from input.text")
        return {key: value for key, value in draft.keys.items() if key != "use"}

    def _check_exported_columns(self, draft: Draft) -> None:
        """Report columns that are both kept and dropped, and new names that occur twice."""
        columns, drop = draft.keys.get("columns"), draft.keys.get("drop", ())
        if columns and drop:
            message = "columns are either listed to be kept or to be left out"
            self.report.add((*draft.path, "drop"), message, "remove columns or drop")
        renamed = draft.keys.get("rename") or {}
        left_out = [name for name in renamed if name in drop]
        if columns:
            left_out = [name for name in renamed if name not in columns and not name.startswith("curate_")]
        for name in left_out:
            message = f"column {name!r} is not exported"
            self.report.add((*draft.path, "rename", name), message, "remove it from rename, or export it")
        for index, (name, new) in enumerate(renamed.items()):
            if new in [*renamed.values()][:index]:
                message = f"two columns would be called {new!r}"
                self.report.add((*draft.path, "rename", name), message, "choose another name")

    # ------------------------------------------------------------ keys

    def check_references(self, draft: Draft) -> None:
        """Report columns and scores that a plugin reads and that do not exist."""
        if draft.plugin is None:
            return
        plugin = draft.plugin
        self._check_modality(draft, plugin)
        if plugin.traits.reads_judge and not self.has_judge:
            message = f"the {plugin.kind} {plugin.name!r} asks a judge, and there is no section judge"
            self.report.add((*draft.path, "use"), message, "add a section judge: {base_url: …, model: …}")
        if "label" in plugin.traits.reads and not self.pool.get("label"):
            message = f"the {plugin.kind} {plugin.name!r} reads labels, and the input has no label column"
            self.report.add((*draft.path, "use"), message, "set input.label")
        for field in fields(plugin.cls):
            value = draft.data.get(field.name) if draft.instance is None else getattr(draft.instance, field.name)
            for below, mark, name in find_marked(field.type, value, ConfigReference):
                if mark.target == "score":
                    plain = name.removeprefix("-") if mark.invertible else name
                    self._check_score_exists((*draft.path, field.name, *below), plain)
            if isinstance(value, str):
                self._check_template((*draft.path, field.name), field, value)

    @property
    def _has_only_images(self) -> bool:
        """Whether the input has images, but no texts."""
        return bool(self.pool.get("image")) and not self.pool.get("text")

    def _check_modality(self, draft: Draft, plugin: Plugin) -> None:
        """Report a plugin that reads texts or images that the input does not have."""
        reads: set[str] = {"text", "image"} & plugin.traits.reads
        if "modality" in (names := [field.name for field in fields(plugin.cls)]) and len(reads) > 1:
            reads = {str(draft.data.get("modality", "text"))}
        path = (*draft.path, "modality" if "modality" in names and "modality" in draft.data else "use")
        present = {name for name in ("text", "image") if self.pool.get(name)}
        if not present or not reads or reads & present or self.report.has_issue(("input",)):
            return
        missing = reads.pop()
        hint = f"set input.{missing}, or use another {plugin.kind}"
        if "modality" in names:
            hint = f"set modality: {next(iter(present))}"
        elif plugin.kind == "embedder":
            hint = f"set input.{missing}, or embed: {{use: {'image_features' if missing == 'text' else 'lsa'}}}"
        self.report.add(path, f"the {plugin.kind} {plugin.name!r} reads {missing}s, and the input has none", hint)

    def _check_template(self, path: KeyPath, field: Field, value: str) -> None:
        """Report a text that is not a valid column name or template, as in ``input.text``."""
        if any(isinstance(mark, TemplateField) for mark in iter_marks(field.type)):
            try:
                template_syntax.parse_template(value)
            except ValueError as error:
                self.report.add(path, str(error).removeprefix("text: "))

    def _check_score_exists(self, path: KeyPath, name: str) -> None:
        if name not in self.scores and self.scores_are_known:
            hint = suggest_name(name, self.scores) if self.scores else "there are no scores: add an entry to score"
            self.report.add(path, f"there is no score {name!r}", hint)

    def _embedding(self, draft: Draft) -> str | None:
        """Return the name of the embed entry that an entry reads; None for a plugin that reads no vectors."""
        reads = draft.plugin.traits.reads if draft.plugin else frozenset()
        name, path = draft.keys.get("embedding"), (*draft.path, "embedding")
        if name is not None and name not in self.embeddings:
            hint = suggest_name(name, filter(None, self.embeddings))
            self.report.add(path, f"there is no embed entry {name!r}", hint)
        if draft.section != "cluster" and "embedding" not in reads:
            if name is not None and draft.plugin:
                message = f"the {draft.plugin.kind} {draft.plugin.name!r} reads no embeddings"
                self.report.add(path, message, "remove the key")
            return None
        if draft.section == "score" and "cluster" in reads:
            return name or self.clustered
        return name or next(iter(self.embeddings), None)

    def _quality(self, draft: Draft) -> str | None:
        """Return the score that a selector uses as quality, the first by default; None if it reads no quality."""
        name, path = draft.keys.get("quality"), (*draft.path, "quality")
        if name is not None:
            self._check_score_exists(path, name.removeprefix("-"))
        if draft.plugin is None:
            return name
        if "quality" not in draft.plugin.traits.reads:
            if name is not None:
                self.report.add(path, f"the selector {draft.plugin.name!r} reads no quality", "remove the key")
            return None
        if draft.plugin.traits.needs_quality and not self.scores and self.scores_are_known:
            hint = "add an entry to score"
            message = f"the selector {draft.plugin.name!r} ranks rows by a score, and there is no score"
            self.report.add((*draft.path, "use"), message, hint)
        return name or next(iter(self.scores), None)

    def check_budget(self, draft: Draft) -> Budget | None:
        """Return the budget of a selector; None for a filter, and if the budget has an issue."""
        paths = {key: (*draft.path, key) for key in BUDGET_KEYS if key in draft.data}
        budgets = [key for key, path in paths.items() if draft.data[key] is not None or self.report.has_issue(path)]
        if draft.plugin is None or not draft.plugin.traits.budgeted:
            return None
        if not budgets:
            self.report.add(draft.path, "has no budget", f"add one of {', '.join(BUDGET_KEYS)}")
        if "keep_tokens" in budgets and self._has_only_images and not self.pool.get("tokens"):
            hint = "set input.tokens to a column, or use keep, keep_rate or prune_rate"
            self.report.add(paths["keep_tokens"], "images have no tokens", hint)
        first, *more = sorted(budgets, key=lambda key: self.report.location(paths[key])) or [""]
        for key in more:
            self.report.add(paths[key], f"the entry already has a budget, {first}", "remove one of them")
        if len(budgets) != 1 or first not in draft.keys:
            return None
        at_most = draft.keys.get("at_most") or None
        if at_most and first.endswith("_rate") and not isinstance(draft.keys.get("quota"), dict):
            message = f"{first} never exceeds the number of rows"
            self.report.add((*draft.path, "at_most"), message, "remove the key, or use keep or keep_tokens")
        return Budget(**{first: draft.keys[first]}, at_most=at_most)

"""What must hold between entries: names that exist, one budget each, a quality to rank by; then the entries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from curate.config import template_syntax
from curate.config.budget import Budget
from curate.config.entries import Draft
from curate.config.issues import IssueCollector, format_path, suggest_name
from curate.config.model import DECONTAMINATE, DecontaminateConfig, EvaluateConfig, RefreshConfig, count_epochs
from curate.config.sections import BUDGET_KEYS, ENTRY_SECTIONS
from curate.config.validator import Values
from curate.config.yaml_positions import KeyPath, PlainData
from curate.plugins import registry
from curate.plugins.fields import Field, fields, find_marked, iter_marks
from curate.plugins.interfaces import ConfigReference, TemplateField


def check_entries(drafts: Mapping[str, list[Draft]], pool: PlainData, report: IssueCollector) -> Values:
    """The sections of ``RunConfig`` that hold entries, with the defaults that depend on other entries filled in.

    Parameters
    ----------
    drafts : by section
    pool : the input section as it was written
    report : is told what is wrong; if it has been told of anything, there are no entries
    """
    checks = _Checks(drafts, pool if isinstance(pool, dict) else {}, report)
    own_checks = {"score": checks.score, "select": checks.select, "export": checks.export}
    keys = {
        section: [own_checks.get(section, checks.entry)(draft) for draft in drafts[section]]
        for section in ENTRY_SECTIONS
    }
    if report.issues:
        return {}
    built: Values = {}
    for name, section in ENTRY_SECTIONS.items():
        made = [
            section.cls(**{**own, "name": draft.name, "spec": draft.spec})
            for draft, own in zip(drafts[name], keys[name], strict=True)
        ]
        built[name] = tuple(made) if section.is_list else made[0] if made else None
    return built


def check_epoch_plans(select: Sequence[Draft], refresh: RefreshConfig | None, report: IssueCollector) -> None:
    """What does not go with a selector that plans epochs: entries after it, tokens, an anchor."""
    for number, draft in enumerate(select, 1):
        if draft.spec is None or count_epochs(draft.spec) == 1:
            continue
        if number < len(select):
            hint = "move it to the end, or set epochs: 1"
            report.add((*draft.path, "epochs"), "an epoch plan must be the last entry", hint)
        if "keep_tokens" in draft.keys:
            hint = "give one of keep, keep_rate, prune_rate"
            report.add((*draft.path, "keep_tokens"), "the budget of an epoch plan is in rows", hint)
        if refresh is not None and refresh.keep_previous_weight:
            told = f"{format_path(draft.path)} plans epochs, and a plan cannot be held to the published rows"
            report.add(("refresh", "keep_previous_weight"), told, "set it to 0, or epochs: 1 there")


def check_decontamination(
    drafts: Mapping[str, list[Draft]], section: DecontaminateConfig | None, report: IssueCollector
) -> None:
    """What does not go with a section decontaminate: an entry of its name, and an embed entry that is not there."""
    for draft in drafts["select"]:
        if draft.name == DECONTAMINATE:
            told = f"the section {DECONTAMINATE} drops rows under that name"
            report.add(draft.path, told, "give the entry another with the key 'name'")
    named = None if section is None else section.embedding
    known = [draft.name for draft in drafts["embed"] if draft.name]
    if named is not None and named not in known and not report.has_issue(("embed",)):
        report.add((DECONTAMINATE, "embedding"), f"there is no embed entry {named!r}", suggest_name(named, known))


def check_primary_metric(
    metrics: Sequence[Draft],
    section: EvaluateConfig | None,
    local: tuple[registry.LocalPlugin, ...],
    pool: PlainData,
    report: IssueCollector,
) -> None:
    """Check that ``evaluate.primary`` names a metric, or one of its numbers, with a better side."""
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
        message = f"the metric {name!r} reads labels, and the input has none"
        report.add(path, message, "name their column: input.label")
        return
    if not metrics and (needed := [field.name for field in fields(plugin.cls) if field.required]):
        report.add(path, f"the metric {name!r} needs {', '.join(needed)}", "list it in metrics, with its keys")
        return
    numbers = {measure.name: measure.higher_is_better for measure in plugin.traits.measures}
    oriented = [number for number, higher in numbers.items() if higher is not None]
    if column and column not in numbers:
        report.add(path, f"the metric {name!r} gives no {column!r}", suggest_name(column, list(filter(None, numbers))))
    elif not oriented or (column and column not in oriented):
        hint = f"name one of its other numbers: {', '.join(oriented)}" if oriented else "name another metric"
        report.add(path, f"{section.primary!r} has no better side, so that no selection can win by it", hint)


def check_single_entry(draft: Draft, scores: Sequence[str], report: IssueCollector) -> Budget | None:
    """Return the budget of a select entry without a configuration around it, whose fields may name these ``scores``."""
    checks = _Checks({**{section: [] for section in ENTRY_SECTIONS}, "select": [draft]}, {}, report)
    checks.scores = dict.fromkeys(scores, ())
    checks.references(draft)
    checks.quota(draft)
    return checks.budget(draft)


class _Checks:
    """The names that entries may refer to, and a check for each section; each gives the keys of the entry to be."""

    def __init__(
        self, drafts: Mapping[str, list[Draft]], pool: Mapping[str, PlainData], report: IssueCollector
    ) -> None:
        self.pool, self.report = pool, report
        for name, section in ENTRY_SECTIONS.items():
            self._unique(drafts[name] if section.is_list else [])
        self.embeddings = [draft.name for draft in drafts["embed"]]
        clustered = drafts["cluster"][0].keys.get("embedding") if drafts["cluster"] else None
        self.clustered = clustered or (self.embeddings[0] if self.embeddings else None)
        self.proxies = bool(drafts["proxy"]) or report.has_issue(("proxy",))
        self.scores: dict[str, KeyPath] = {}
        self.scores_are_known = not report.has_issue(("score",))
        for draft in drafts["score"]:
            self._add_scores(draft)

    def _unique(self, drafts: list[Draft]) -> None:
        seen: dict[str, KeyPath] = {}
        for draft in drafts:
            if draft.name and draft.name in seen:
                hint = "give each entry a name of its own with the key 'name'"
                self.report.add(draft.path, f"{format_path(seen[draft.name])} is called {draft.name!r} too", hint)
            seen.setdefault(draft.name, draft.path)

    def _add_scores(self, draft: Draft) -> None:
        for column in draft.plugin.traits.columns if draft.plugin else ():
            name = f"{draft.name}_{column.name}" if column.name else draft.name
            if name in self.scores and not self.report.has_issue(draft.path):
                hint = "give the entry another name with the key 'name'"
                self.report.add(draft.path, f"{format_path(self.scores[name])} gives a score {name!r} too", hint)
            self.scores.setdefault(name, draft.path)

    # ------------------------------------------------------------ sections

    def entry(self, draft: Draft) -> Values:
        """The keys of an entry that has no checks of its own."""
        self.references(draft)
        keys = {key: value for key, value in draft.keys.items() if key != "use"}
        return keys | ({"embedding": self._embedding(draft)} if draft.section != "embed" else {})

    def score(self, draft: Draft) -> Values:
        self.references(draft)
        if draft.plugin and "dynamics" in draft.plugin.traits.reads and not self.proxies:
            message = f"the scorer {draft.plugin.name!r} reads how a proxy was trained, and there is none"
            self.report.add((*draft.path, "use"), message, "add a section proxy: {use: logistic}")
        embedding = self._embedding(draft)
        if draft.plugin and "cluster" in draft.plugin.traits.reads and embedding not in (None, self.clustered):
            message = f"the scorer {draft.plugin.name!r} compares vectors with cluster centres"
            self.report.add((*draft.path, "embedding"), message, f"it must be the clustered one, {self.clustered!r}")
        return {"embedding": embedding}

    def select(self, draft: Draft) -> Values:
        self.references(draft)
        keys = {key: value for key, value in draft.keys.items() if key not in ("use", "at_most", *BUDGET_KEYS)}
        keys |= {"budget": self.budget(draft), "embedding": self._embedding(draft), "quality": self._quality(draft)}
        within = (*draft.path, "within")
        if keys.get("within") in ("label", "source") and not self.pool.get(keys["within"]):
            self.report.add(within, f"input.{keys['within']} is not given", "name the column there")
        if "within" in keys and keys["budget"]:
            keys.setdefault("quota", "proportional")
        self.quota(draft)
        self._against(draft)
        return keys

    def quota(self, draft: Draft) -> None:
        """A quota needs groups and a budget to split."""
        quota = (*draft.path, "quota")
        if draft.keys.get("quota") is None:
            return
        if draft.plugin and not draft.plugin.traits.budgeted:
            self.report.add(quota, f"the filter {draft.plugin.name!r} has no budget to split", "remove it")
        elif "within" not in draft.data:
            self.report.add(quota, "there are no groups to split the budget over", "name them with the key 'within'")
        elif draft.keys.get("within") == "cluster" and isinstance(draft.keys["quota"], dict):
            for key in draft.keys["quota"]:
                if not key.isdecimal():
                    hint = (
                        suggest_name(key, ["temperature"])
                        if key[:1] == "t"
                        else 'write {"0": 300}, or {temperature: 3}'
                    )
                    self.report.add((*quota, key), f"clusters are numbered; {key!r} is no number", hint)

    def _against(self, draft: Draft) -> None:
        """What was published can be compared with by selectors that keep sketches of it, and in no group."""
        if draft.keys.get("against") is None or draft.plugin is None:
            return
        path = (*draft.path, "against")
        if draft.plugin.traits.sketch is None:
            message = f"the selector {draft.plugin.name!r} cannot be compared with what was published"
            self.report.add(path, message, "it is for those that drop duplicates: exact_duplicates, minhash, semdedup")
        elif draft.keys.get("within") is not None:
            self.report.add(path, "what was published is in no group of tonight's rows", "remove 'within'")

    def export(self, draft: Draft) -> Values:
        for key in ("add", "mask_pii"):
            names = draft.keys.get(key, ())
            for index, name in enumerate(names):
                if name in names[:index]:
                    self.report.add((*draft.path, key, index), f"{name!r} stands in the list already")
        text, identity = str(self.pool.get("text", "")), self.pool.get("id")
        for key, done in (("mask_pii", "masked"), ("remove_repeated_spans", "cut")):
            if not draft.keys.get(key) or self.report.has_issue(("input",)):
                continue
            if identity in [path[0] for path in template_syntax.extract_paths(text)]:
                message = f"column {identity!r} is part of the text and the id, and ids are never {done}"
                self.report.add((*draft.path, key), message, "take it out of input.text")
        return {key: value for key, value in draft.keys.items() if key != "use"}

    # ------------------------------------------------------------ keys

    def references(self, draft: Draft) -> None:
        """The columns and scores that a plugin reads must exist."""
        if draft.plugin is None:
            return
        plugin = draft.plugin
        if "label" in plugin.traits.reads and not self.pool.get("label"):
            message = f"the {plugin.kind} {plugin.name!r} reads labels, and the input has none"
            self.report.add((*draft.path, "use"), message, "name their column: input.label")
        for field in fields(plugin.cls):
            value = draft.data.get(field.name) if draft.instance is None else getattr(draft.instance, field.name)
            for below, mark, name in find_marked(field.type, value, ConfigReference):
                if mark.target == "score":
                    self._known_score((*draft.path, field.name, *below), name)
            if isinstance(value, str):
                self._names_text((*draft.path, field.name), field, value)

    def _names_text(self, path: KeyPath, field: Field, value: str) -> None:
        """Refuse a text that is not named as ``input.text`` is."""
        if any(isinstance(mark, TemplateField) for mark in iter_marks(field.type)):
            try:
                template_syntax.parse_template(value)
            except ValueError as error:
                self.report.add(path, str(error).removeprefix("text: "))

    def _known_score(self, path: KeyPath, name: str) -> None:
        if name not in self.scores and self.scores_are_known:
            hint = suggest_name(name, self.scores) if self.scores else "there are none: add an entry to score"
            self.report.add(path, f"there is no score {name!r}", hint)

    def _embedding(self, draft: Draft) -> str | None:
        """The embed entry that is read; None for a plugin that reads no vectors."""
        reads = draft.plugin.traits.reads if draft.plugin else frozenset()
        given, path = draft.keys.get("embedding"), (*draft.path, "embedding")
        if given is not None and given not in self.embeddings:
            self.report.add(
                path, f"there is no embed entry {given!r}", suggest_name(given, filter(None, self.embeddings))
            )
        if draft.section != "cluster" and "embedding" not in reads:
            if given is not None and draft.plugin:
                message = f"the {draft.plugin.kind} {draft.plugin.name!r} reads no embeddings"
                self.report.add(path, message, "remove it")
            return None
        if draft.section == "score" and "cluster" in reads:
            return given or self.clustered
        return given or next(iter(self.embeddings), None)

    def _quality(self, draft: Draft) -> str | None:
        """The score that is quality: the first, for a selector that reads quality."""
        given, path = draft.keys.get("quality"), (*draft.path, "quality")
        if given is not None:
            self._known_score(path, given.removeprefix("-"))
        if draft.plugin is None:
            return given
        if "quality" not in draft.plugin.traits.reads:
            if given is not None:
                self.report.add(path, f"the selector {draft.plugin.name!r} reads no quality", "remove it")
            return None
        if draft.plugin.traits.needs_quality and not self.scores and self.scores_are_known:
            hint = "add an entry to score"
            self.report.add((*draft.path, "use"), f"{draft.plugin.name!r} ranks by a score, and there is none", hint)
        return given or next(iter(self.scores), None)

    def budget(self, draft: Draft) -> Budget | None:
        at = {key: (*draft.path, key) for key in BUDGET_KEYS if key in draft.data}
        given = [key for key, path in at.items() if draft.data[key] is not None or self.report.has_issue(path)]
        if draft.plugin is None or not draft.plugin.traits.budgeted:
            return None
        if not given:
            self.report.add(draft.path, "missing a budget", f"give one of {', '.join(BUDGET_KEYS)}")
        first, *more = sorted(given, key=lambda key: self.report.location(at[key])) or [""]
        for key in more:
            self.report.add(at[key], f"a second budget beside {first}", "give one of them")
        if len(given) != 1 or first not in draft.keys:
            return None
        at_most = draft.keys.get("at_most") or None
        if at_most and first.endswith("_rate") and not isinstance(draft.keys.get("quota"), dict):
            message = f"{first} never asks for more rows than there are"
            self.report.add((*draft.path, "at_most"), message, "remove it, or write keep or keep_tokens")
        return Budget(**{first: draft.keys[first]}, at_most=at_most)

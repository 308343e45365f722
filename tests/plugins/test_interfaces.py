"""A decorator refuses a class whose methods differ from its declaration."""

from dataclasses import dataclass

import pytest

from curate.errors import PluginError
from curate.plugins import registry
from curate.plugins.interfaces import (
    MetricColumn,
    OutputColumn,
    ScoreColumn,
    embedder,
    is_random,
    metric,
    scorer,
    selector,
)
from curate.plugins.registry import LocalPlugin

EMBEDDER = '''
from dataclasses import dataclass
from curate.plugins.interfaces import embedder

@embedder(version=1{declared})
@dataclass(frozen=True, slots=True, kw_only=True)
class Mine:
    """Number of characters."""

    def {method}(self, *args):
        return None
'''


def with_method(name):
    return type("Mine", (), {name: lambda self: None})


@pytest.mark.parametrize(
    ("decorator", "method", "hint"),
    [
        (
            embedder(version=1),
            "fit",
            r"declare it: @embedder\(fits=True, …\) or, .*@embedder\(fits=True, fidelity=True, …\)",
        ),
        (embedder(version=1), "revision", r"declare it: @embedder\(revision=True, …\)"),
        (embedder(version=1), "fidelity", r"declare it: @embedder\(fits=True, fidelity=True, …\)"),
        (scorer(version=1, reads={"text"}, columns=()), "fit", r"declare it: @scorer\(fits=True, …\)"),
        (selector(version=1), "sketch", r"declare it: @selector\(sketch=\(…\), …\)"),
    ],
)
def test_a_method_that_is_not_declared_is_refused_with_the_remedy(decorator, method, hint):
    with pytest.raises(PluginError, match=rf"Mine has {method!r}, but its decorator does not declare it.*{hint}"):
        decorator(with_method(method))


@pytest.mark.parametrize(
    ("decorator", "method"),
    [
        (embedder(version=1, fits=True), "fit"),
        (embedder(version=1, revision=True), "revision"),
        (scorer(version=1, reads={"text"}, columns=(), fits=True), "fit"),
        (selector(version=1, sketch=()), "sketch"),
    ],
)
def test_a_declared_method_that_is_missing_is_refused(decorator, method):
    with pytest.raises(PluginError, match=f"the class has no method {method!r}"):
        decorator(with_method("encode"))


@pytest.mark.parametrize("decorator", [selector(version=1), metric(version=1, reads=set(), measures=())])
def test_a_property_draws_is_refused_and_named_in_the_decorator_instead(decorator):
    with pytest.raises(PluginError, match=r"replace it with @\w+\(random={field: \(value, …\)}, …\)"):
        decorator(type("Mine", (), {"draws": property(lambda self: False)}))


def test_fidelity_without_a_fit_is_refused():
    with pytest.raises(PluginError, match="fidelity=True needs fits=True"):
        embedder(version=1, fidelity=True)


def test_a_score_declares_whether_higher_is_better():
    with pytest.raises(PluginError, match="column 'width' has higher_is_better=None; set it to True or False"):
        scorer(version=1, reads={"text"}, columns=(OutputColumn(name="width", higher_is_better=None),))


def test_plugins_may_import_a_column_by_its_earlier_names():
    assert ScoreColumn is MetricColumn is OutputColumn


def test_a_field_may_have_the_name_of_a_method_of_other_plugins():
    @embedder(version=1)
    @dataclass(frozen=True, slots=True, kw_only=True)
    class Hub:
        revision: str = "main"

    assert Hub().revision == "main"


def test_a_selector_draws_with_the_values_that_it_declares():
    @selector(version=1, random={"search": ("sampled",)})
    @dataclass(frozen=True, slots=True, kw_only=True)
    class Mine:
        search: str = "exact"

    assert not is_random(Mine())
    assert is_random(Mine(search="sampled"))


@pytest.mark.parametrize(("declared", "method"), [("", "fit"), (", fits=True", "encode")])
def test_the_message_about_a_plugin_file_names_the_file_and_keeps_its_hint(tmp_path, declared, method):
    file = tmp_path / "mine.py"
    file.write_text(EMBEDDER.format(declared=declared, method=method))
    with pytest.raises(PluginError, match="Mine") as caught:
        registry.get("embedder", "mine", (LocalPlugin.from_path(file),))
    assert caught.value.where == str(file)
    assert "@embedder(fits=True, …)" in caught.value.hint or "remove fits from the decorator" in caught.value.hint

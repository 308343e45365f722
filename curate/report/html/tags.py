"""HTML that is safe by construction: every text is escaped unless it is already markup."""

from __future__ import annotations

import html

from curate.errors import escape_controls


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def tag(name: str, *children: str | None, **attributes: str | None) -> Markup:
    """One element. Children that are no Markup are escaped, and None leaves a child or an attribute out.

    A trailing underscore in an attribute's name is dropped and the others become hyphens, so that ``class_`` and
    ``aria_label`` can be written.

    >>> tag("p", "a < b", tag("b", "c"), class_="note", title=None)
    '<p class="note">a &lt; b<b>c</b></p>'
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_escaped(text, quote=True)}"'
        for key, text in attributes.items()
        if text is not None
    )
    return Markup(f"<{name}{written}>{join(*children)}</{name}>")


def breakable(name: str) -> Markup:
    """A long name that a narrow column breaks after its underscores.

    >>> breakable("a_b<")
    'a_<wbr>b&lt;'
    """
    return Markup(join(name).replace("_", "_<wbr>"))


def join(*children: str | None) -> Markup:
    """The children one after the other.

    >>> join("<", Markup("<br>"))
    '&lt;<br>'
    """
    return Markup(
        "".join(
            child if isinstance(child, Markup) else _escaped(child, quote=False)
            for child in children
            if child is not None
        )
    )


def _escaped(text: str, *, quote: bool) -> str:
    return html.escape(escape_controls(text), quote=quote)

"""HTML builder that escapes every text unless it is already markup."""

from __future__ import annotations

import html

from curate.errors import escape_controls


class Markup(str):
    """Text that is already HTML."""

    __slots__ = ()


def tag(name: str, *children: str | None, **attributes: str | None) -> Markup:
    """Return an HTML element; children that are not Markup are escaped, and None children and attributes are skipped.

    In attribute names, a trailing underscore is removed and other underscores become hyphens, so that ``class_`` and
    ``aria_label`` can be used.

    >>> tag("p", "a < b", tag("b", "c"), class_="note", title=None)
    '<p class="note">a &lt; b<b>c</b></p>'
    """
    attributes_text = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_escaped(text, quote=True)}"'
        for key, text in attributes.items()
        if text is not None
    )
    return Markup(f"<{name}{attributes_text}>{join(*children)}</{name}>")


def breakable(name: str) -> Markup:
    """Return a long name that can be broken into lines after its underscores.

    >>> breakable("a_b<")
    'a_<wbr>b&lt;'
    """
    return Markup(join(name).replace("_", "_<wbr>"))


def join(*children: str | None) -> Markup:
    """Return the concatenation of children.

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

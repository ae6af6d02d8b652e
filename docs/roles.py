"""A Griffe extension: the markup of docstrings as the Markdown of the site, with links to what they name.

Docstrings write ``code``, :func:`funcnn.dense` and doctests. Private and unqualified names become code without a link.
"""

import re
from typing import Any

import griffe

_ROLE = re.compile(r":\w+:`~?([^`]+)`")
_DOCTEST = re.compile(r"^( *)>>> .*(?:\n(?! *$).*)*", re.MULTILINE)


class Roles(griffe.Extension):
    """Rewrites every docstring as it is loaded."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Called for every module, class, function and attribute."""
        if obj.docstring is not None:
            text = _ROLE.sub(_link, obj.docstring.value).replace("``", "`")
            obj.docstring.value = _DOCTEST.sub(r"\1```pycon\n\g<0>\n\1```", text)


def _link(match: re.Match[str]) -> str:
    name = match[1]
    linked = name.startswith("funcnn.") and "._" not in name
    return f"[`{name}`][{name}]" if linked else f"`{name}`"

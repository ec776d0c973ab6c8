"""A hook of mkdocs: roles of docstrings, such as :class:`Loss`, become plain code."""

import re
from typing import Any

_ROLE = re.compile(r":(?:attr|class|data|func|meth|mod):<code>~?")


def on_page_content(html: str, **kwargs: Any) -> str:
    """The page without the names of roles before code."""
    return _ROLE.sub("<code>", html)

"""The code of a page: the library that draws its charts, its own script, and the policy that admits nothing else."""

import json
from base64 import b64encode
from functools import cache
from hashlib import sha256
from importlib import resources
from typing import Any

EXTRA = "pip install 'metriscope[report]'"


def has_library() -> bool:
    """Whether the library that charts need is installed."""
    try:
        import vl_convert  # noqa: F401
    except ImportError:
        return False
    return True


@cache
def library() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script without a module."""
    import vl_convert

    made = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    # Text that ends up in a page holds no control characters; a tab in a string may be written without.
    return _plain(str(made).replace('"\t"', r'"\t"'))


def file(name: str) -> str:
    """The text of a file of this folder."""
    return _plain(resources.files(__package__).joinpath(name).read_text(encoding="utf-8"))


def policy(scripts: list[str]) -> str:
    """The tag by which a browser runs these scripts alone, and asks no host for anything."""
    hashes = [f"'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'" for script in scripts]
    rules = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {' '.join(hashes)}"
    return f'<meta http-equiv="Content-Security-Policy" content="{rules}">'


def as_script(content: Any) -> str:
    """Plain data as JSON that ends no tag, whatever its texts hold."""
    text = json.dumps(content, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _plain(text: str) -> str:
    """A script as a browser reads it, so that its hash is that of the file; a script that ends its tag is refused."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "\\0")
    if "</script" in text.lower() or "<!--" in text:
        raise ValueError("a script that would end its own tag")
    return text

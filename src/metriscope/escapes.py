"""Text of others as it is written into tables, pages, figures and terminals: never as a part of their markup."""

import re
from html import escape
from typing import Any

# Controls, line ends, what turns the direction of writing, and halves of characters.
_HIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_LONG = 80
_SPACES = re.compile("[\t\n\r\u2028\u2029]+")


def is_hidden(text: str) -> bool:
    """Whether a text holds characters that :func:`shown` replaces."""
    return _HIDDEN.search(text) is not None


def shown(text: str) -> str:
    """One line that any terminal and any encoding shows as it is: control characters are replaced, line ends too."""
    return _HIDDEN.sub("\N{REPLACEMENT CHARACTER}", _SPACES.sub(" ", text)) if is_hidden(text) else text


def cleaned(value: Any) -> Any:
    """Plain data in which every text is as :func:`shown`, keys too."""
    if isinstance(value, str):
        return shown(value)
    if isinstance(value, dict):
        return {cleaned(key): cleaned(item) for key, item in value.items()}
    return [cleaned(item) for item in value] if isinstance(value, list) else value


def for_html(text: str) -> str:
    """For a page of HTML, within tags and in their attributes."""
    return escape(shown(text))


def cut(text: str, most: int) -> str:
    """A text of at most ``most`` characters; a longer one keeps its beginning and its end."""
    if len(text) <= most:
        return text
    kept = max(most - 1, 1)
    return f"{text[: kept - kept // 2]}…{text[len(text) - kept // 2 :]}"


def for_figure(text: str, most: int = _LONG) -> str:
    """For Matplotlib, to which two dollar signs are a formula and a long text a large picture."""
    return shown(cut(text, most)).replace("$", r"\$")


def beside(text: str) -> str:
    """A name as a part of a line of Matplotlib: one that is written from right to left does not turn its neighbours."""
    return f"\u200e{text}\u200e"


def for_csv(value: Any) -> Any:
    """For a cell of a CSV file: spreadsheets take a text with one of these beginnings for a formula."""
    if not isinstance(value, str):
        return value
    text = shown(value)
    return f"'{text}" if text[:1] in ("=", "+", "-", "@") and text[1:] and not _is_number(text) else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


# Underscores within words, lone angle brackets and lone square brackets mean nothing in Markdown.
_MARKDOWN = re.compile(r"[\\`*|~$]|(?<!\w)_|_(?!\w)|\](?=[(\[:])")
_MARKUP = re.compile(r"[<&](?=[A-Za-z/!?#])")


def for_markdown(text: str) -> str:
    """For a line or a cell of a table in Markdown, without emphasis, links, formulas or HTML."""
    return _MARKUP.sub(lambda found: f"&{'lt' if found[0] == '<' else 'amp'};", _MARKDOWN.sub(r"\\\g<0>", shown(text)))


_LATEX = {"\\": "\\textbackslash{}", "±": "$\\pm$", "≈": "$\\approx$", "<": "$<$", ">": "$>$"}
_LATEX |= {"|": "\\textbar{}", "…": "\\ldots{}"}
_LATEX |= {"^": "\\textasciicircum{}", "~": "\\~{}", **{character: f"\\{character}" for character in "&%$#_{}"}}
_LATEX |= {"\N{REPLACEMENT CHARACTER}": "?"}


def for_latex(text: str) -> str:
    """For a line or a cell of a table in LaTeX."""
    return "".join(_LATEX.get(character, character) for character in shown(text))

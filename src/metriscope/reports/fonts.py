"""Fonts of figures: names of classes and methods may be in any script."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

log = logging.getLogger(__name__)

_FIRST = "DejaVu Sans"
# Families with Chinese, Japanese and Korean characters that systems ship, the most complete ones first.
_CJK = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans SC", "Noto Sans JP", "Noto Sans KR", "Source Han Sans SC",
    "Source Han Sans", "WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "Droid Sans Fallback", "Microsoft YaHei", "SimHei",
    "Yu Gothic", "MS Gothic", "Malgun Gothic", "PingFang SC", "Hiragino Sans", "Hiragino Sans GB",
    "Apple SD Gothic Neo", "IPAexGothic", "IPAGothic", "TakaoPGothic", "NanumGothic", "Arial Unicode MS", "Unifont",
)  # fmt: skip
# Up to here the font that Matplotlib brings has most characters.
_LAST_NARROW = "\u2e7f"


def is_wide(character: str) -> bool:
    """Whether a character is of a script whose characters are as wide as high."""
    return character > _LAST_NARROW and not "\ufb00" <= character <= "\ufeff" and character != "\ufffd"


@contextmanager
def with_fallbacks() -> Iterator[None]:
    """Texts that are made within the block may be in any script that this machine has a font for.

    Where it has none, boxes stand for these characters, and one warning says what to install.
    """
    from matplotlib import rc_context
    from matplotlib.font_manager import fontManager

    there = {font.name for font in fontManager.ttflist}
    families: Any = {"font.family": [_FIRST, *(name for name in _CJK if name in there)]}
    # Many of these families have no bold, which the library tells for each.
    search = logging.getLogger("matplotlib.font_manager")
    level = search.level
    search.setLevel(logging.ERROR)
    try:
        with rc_context(families), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield
    finally:
        search.setLevel(level)
    for one in caught:
        if str(one.message).startswith("Glyph "):
            _warn()
        else:
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)


@cache
def _warn() -> None:
    log.warning(
        "names hold characters that no font of this machine has: figures show boxes for them; install a font such as "
        "Noto Sans CJK"
    )

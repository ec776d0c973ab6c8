import logging
from itertools import pairwise
from pathlib import Path

import pytest
from matplotlib.font_manager import FontEntry, fontManager

from metriscope.reports import fonts
from metriscope.reports.style import GREY, Look, guarded, look, panels, save

CJK = "猫と犬"


def test_looks_differ() -> None:
    looks = [look(place) for place in range(350)]
    assert len({(one.color, str(one.style), one.marker) for one in looks}) == len(looks)
    assert len({one.color for one in looks[:8]}) == 8
    assert len({one.marker for one in looks[:11]}) == 11
    assert all(one.color != other.color for one, other in pairwise(looks))


@pytest.mark.parametrize("name", ["x" * 200, "A" * 200, "Ö" * 200, CJK * 60, "a_$1_to_$2"])
def test_long_names_stay_within_the_figure(name: str) -> None:
    key = {f"{place}{name}": look(place) for place in range(12)}
    figure, _ = panels([name] * 2, title=name, note=name, key=key)
    with fonts.with_fallbacks():
        figure.draw_without_rendering()
        width, height = figure.get_size_inches() * figure.dpi
        (legend,) = figure.legends
        titles = [axis._left_title for axis in figure.axes]  # type: ignore[attr-defined]
        for text in (*figure.texts, *legend.get_texts(), *titles):
            box = text.get_window_extent()
            assert box.x0 >= 0
            assert box.x1 <= width * 1.01
            assert box.y0 >= 0
            assert box.y1 <= height
        assert legend.get_window_extent().y0 > titles[0].get_window_extent().y1


def test_a_long_title_of_a_panel_goes_on_below() -> None:
    long = "Gradient norm per active sample (train)"
    figure, axes = panels([f"{long}, Synthetic", "Loss, Digits"], columns=2, width=3.6)
    assert [axis.get_title(loc="left") for axis in axes] == [f"{long}\nSynthetic", "Loss, Digits"]
    figure.draw_without_rendering()
    first, second = (axis._left_title.get_window_extent() for axis in axes)  # type: ignore[attr-defined]
    assert first.x1 < second.x0
    assert first.y1 <= figure.get_size_inches()[1] * figure.dpi


def test_characters_without_a_font_are_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fonts._warn.cache_clear()
    with caplog.at_level(logging.WARNING):
        for name in "ab":
            made = guarded(name, lambda: save(panels(["\U000e0041"], title="\u0b83")[0], tmp_path / "a.png"))
            assert made is not None
    assert [one.getMessage()[:5] for one in caplog.records] == ["names"]


def test_a_font_of_the_machine_draws_what_the_first_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fonts._warn.cache_clear()
    added = FontEntry(fname=str(_font(tmp_path / "own.ttf")), name="Noto Sans CJK SC")
    monkeypatch.setattr(fontManager, "ttflist", [*fontManager.ttflist, added])
    fontManager._findfont_cached.cache_clear()  # type: ignore[attr-defined]
    try:
        key = {CJK: Look(GREY, "-", "o")}
        assert guarded("a", lambda: save(panels([CJK], title=CJK, key=key)[0], tmp_path / "a.pdf")) is not None
    finally:
        fontManager._findfont_cached.cache_clear()  # type: ignore[attr-defined]
    assert caplog.records == []


def _font(path: Path) -> Path:
    """A font that has the characters of :data:`CJK` alone, each as a square."""
    from fontTools.fontBuilder import FontBuilder
    from fontTools.pens.ttGlyphPen import TTGlyphPen

    pen = TTGlyphPen(None)
    for place, point in enumerate([(0, 0), (0, 900), (900, 900), (900, 0)]):
        (pen.lineTo if place else pen.moveTo)(point)
    pen.closePath()
    square = pen.glyph()
    names = [".notdef", *(f"uni{ord(one):04X}" for one in CJK)]
    font = FontBuilder(1000, isTTF=True)
    font.setupGlyphOrder(names)
    font.setupCharacterMap({ord(one): f"uni{ord(one):04X}" for one in CJK})
    font.setupGlyf(dict.fromkeys(names, square))
    font.setupHorizontalMetrics(dict.fromkeys(names, (1000, 0)))
    font.setupHorizontalHeader(ascent=900, descent=-100)
    font.setupNameTable({"familyName": "Noto Sans CJK SC", "styleName": "Regular"})
    font.setupOS2(sTypoAscender=900, usWinAscent=900, usWinDescent=100)
    font.setupPost()
    font.save(path)
    return path

import pytest

from metriscope.escapes import cleaned, for_csv, for_figure, for_html, for_latex, for_markdown, is_hidden, shown

GONE = "\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("plain µ ± 本 'name'", "plain µ ± 本 'name'"),
        ("two\r\nlines\tof\u2028text", "two lines of text"),
        ("\x1b[2Jcleared\x07", f"{GONE}[2Jcleared{GONE}"),
        ("caf\udce9", f"caf{GONE}"),
        ("abc\u202egnp.exe", f"abc{GONE}gnp.exe"),
    ],
)
def test_a_text_is_one_line_that_any_terminal_shows(text: str, said: str) -> None:
    assert shown(text) == said
    assert is_hidden(text) == (text != said)
    assert cleaned({text: [text, 1, None, {"a": text}]}) == {said: [said, 1, None, {"a": said}]}
    for escape in (for_csv, for_figure, for_html, for_latex, for_markdown):
        assert not is_hidden(escape(text))
        assert escape(text).encode()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("test/recall_at_1", "test/recall_at_1"),
        ("p < 0.05 & n > 3", "p < 0.05 & n > 3"),
        ("[0.84, 0.88]", "[0.84, 0.88]"),
        ("<b onclick=x>", "&lt;b onclick=x>"),
        ("<!-- x", "&lt;!-- x"),
        ("&lt;b>", "&amp;lt;b>"),
        ("[a](javascript:b)", "[a\\](javascript:b)"),
        ("![a][b]", "![a\\][b]"),
        ("_a_ *b* `c` $d$ ~~e~~ a|b \\|", "\\_a\\_ \\*b\\* \\`c\\` \\$d\\$ \\~\\~e\\~\\~ a\\|b \\\\\\|"),
    ],
)
def test_markdown_shows_markup_as_it_is_written(text: str, said: str) -> None:
    assert for_markdown(text) == said


def test_html_and_latex() -> None:
    assert for_html("<a href='x'>&") == "&lt;a href=&#x27;x&#x27;&gt;&amp;"
    assert for_latex("\\input{x}\n%_") == "\\textbackslash{}input\\{x\\} \\%\\_"


@pytest.mark.parametrize("formula", ["=1+1", "+cmd", "-2+3", "@SUM(1)", "=cmd|' /c calc'!A0"])
def test_a_formula_is_text_in_a_spreadsheet(formula: str) -> None:
    assert for_csv(formula) == f"'{formula}"


@pytest.mark.parametrize("value", ["-", "-0.5", "+1e3", "a=b", "", 3, -0.5, None])
def test_other_values_stay_as_they_are_in_a_spreadsheet(value: object) -> None:
    assert for_csv(value) == value


def test_dollars_are_no_formula_in_a_figure_and_long_texts_are_cut() -> None:
    assert for_figure("from_$10_to_$20") == r"from_\$10_to_\$20"
    assert len(for_figure("x" * 10**6)) < 100

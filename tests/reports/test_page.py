from pathlib import Path

from metriscope.reports.comparison import Comparison
from metriscope.reports.page import write_page


def test_the_page_needs_no_other_file(found: Comparison, tmp_path: Path) -> None:
    picture = tmp_path / "learning_curves.png"
    picture.write_bytes(b"\x89PNG")
    page = write_page(found, [picture, tmp_path / "learning_curves.svg"], tmp_path / "page.html").read_text()
    assert "<b>0.8600 ± 0.0158<br>[0.8404, 0.8796]</b>" in page
    assert "<u>0.8100 ± 0.0158<br>[0.7904, 0.8296]</u>" in page
    assert page.count("src='data:image/png;base64,iVBORw==") == page.count("src=") == 1
    assert "http" not in page

"""The pages of the site that are made from the code; ``make docs`` checks their links."""

import re
from pathlib import Path

import pytest
import site_pages
import yaml
from pages import keys

from metriscope.config.defaults import groups, of_group
from metriscope.config.files import choices

NAV = yaml.safe_load((Path(__file__).parents[2] / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]


@pytest.fixture(scope="module")
def pages():
    return site_pages.pages()


def paths(nav):
    """All paths of a tree of navigation."""
    if isinstance(nav, str):
        return [nav]
    return [path for entry in (nav.values() if isinstance(nav, dict) else nav) for path in paths(entry)]


def test_the_navigation_lists_every_page(pages):
    tables = {page for page in pages if page.startswith("results/") and not page.endswith("/README.md")}
    assert set(pages) - tables == set(paths(NAV))


def test_every_choice_and_every_key_has_its_place(pages):
    for group in groups():
        page = pages[f"reference/keys/{group}.md"]
        assert re.findall(r"^## (.*)$", page, flags=re.MULTILINE) == choices(group)
        own = {key for key, values in of_group(group).items() if not key.endswith(("_target_", ".name"))}
        assert own <= set(re.findall(r"^\| `([\w.]+)`", page, flags=re.MULTILINE))


def test_a_key_says_its_default_and_what_it_may_be(pages):
    page = pages["reference/keys/loss.md"].partition("## triplet")[2].partition("## ")[0]
    assert "| `loss.margin` | `0.2` | a number of at least 0 | in units of the distance, at least 0. |" in page
    assert "| `loss.reduction` | `mean` | one of mean, sum, mean_active |" in page
    optimizers = pages["reference/keys/optimizer.md"]
    assert "| `optimizer.lr_trunk` | `null` | a number of at least 0, or null | null: lr |" in optimizers
    assert "It brings `backbone=resnet50`, `augmentation=dml_224`," in pages["reference/keys/dataset.md"]
    assert "| `resume` | `auto` | one of auto, never, must | What to do where" in pages["reference/keys.md"]


def test_comments_stand_behind_a_key_or_above_it():
    text = "# about\n# one\none: 1\ntwo: 2  # behind\n\n# lost\n\nthree:\n  # inner\n  four: 4\nfive: '#'\n"
    assert keys.comments(text) == {"one": "about one", "two": "behind", "three.four": "inner"}


def test_links_to_files_at_the_root_and_to_notebooks_lead_to_pages():
    assert site_pages.linked("[a](../../SECURITY.md#b) [c](../CHANGELOG.md) [d](x.md) [e](y/z.ipynb)") == (
        "[a](../project/security.md#b) [c](project/changelog.md) [d](x.md) [e](y/z.md)"
    )

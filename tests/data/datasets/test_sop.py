import layouts
import pytest

from metriscope.data.datasets import sop
from metriscope.data.splits import split
from metriscope.errors import InputError


@pytest.fixture
def products(tmp_path, monkeypatch):
    layouts.sop(tmp_path)
    monkeypatch.setattr(sop, "PUBLISHED", {"images": 16, "classes": 5, sop.TRAIN: 9, sop.TEST: 7})
    return tmp_path


def test_published_counts():
    assert sop.PUBLISHED == {"images": 120053, "classes": 22634, sop.TRAIN: 59551, sop.TEST: 60502}


def test_halves_by_class_are_kept(products):
    parts = split(sop.load(products, 8), "class_disjoint", validation=0)
    assert (parts.train.classes, parts.test.classes) == (("1", "2", "3"), ("4", "5"))
    assert (parts.train.counts.tolist(), parts.test.counts.tolist()) == ([3, 2, 4], [2, 5])
    assert parts.queries is None


def test_a_closed_set_pools_them(products):
    parts = split(sop.load(products, 8), "closed_set", validation=0)
    assert parts.train.classes == parts.test.classes == tuple("12345")
    assert parts.test.counts.tolist() == [1, 1, 2, 1, 2]


def test_what_is_missing_is_named(products):
    folder = products / "Stanford_Online_Products"
    (folder / "bicycle_final" / "111085122871_0.JPG").unlink()
    with pytest.raises(InputError, match=r"such as bicycle_final/111085122871_0\.JPG, 15 images .* 8 train images"):
        sop.load(products)
    (folder / "Ebay_test.txt").unlink()
    with pytest.raises(InputError, match=r"complete: Ebay_test\.txt missing"):
        sop.load(products)

import layouts
import pytest

from metriscope.data.datasets import inshop
from metriscope.data.splits import split
from metriscope.errors import InputError


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    published = {"images": 13, "classes": 5, inshop.TRAIN: 7, inshop.QUERIES: 3, inshop.GALLERY: 3}
    monkeypatch.setattr(inshop, "PUBLISHED", published)


@pytest.mark.parametrize("original", [False, True])
def test_query_and_gallery_go_through_the_split(tmp_path, original):
    layouts.inshop(tmp_path, original)
    parts = split(inshop.load(tmp_path, 8), "class_disjoint", validation=0)
    assert parts.train.classes == ("id_00000001", "id_00000003", "id_00000008")
    assert parts.train.counts.tolist() == [3, 2, 2]
    assert parts.test.classes == ("id_00000002", "id_00000007")
    assert parts.test.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert parts.queries.tolist() == [True, False, True, False, False, True]


def test_a_closed_set_has_no_gallery(tmp_path):
    layouts.inshop(tmp_path)
    parts = split(inshop.load(tmp_path, 8), "closed_set", validation=0)
    assert parts.test.num_classes == 5
    assert parts.queries is None


def test_queries_stay_with_their_images_when_some_are_missing(tmp_path):
    layouts.inshop(tmp_path)
    folder = tmp_path / "inshop" / "img" / "WOMEN" / "Blouses_Shirts" / "id_00000002"
    (folder / "02_0_front.jpg").unlink()
    with pytest.raises(InputError, match="2 query images instead of 3"):
        inshop.load(tmp_path)
    listing = inshop.find(tmp_path, verify=False)
    assert listing.queries == (False, True, False, False, True)
    assert len(listing.test) == 5


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(InputError, match=r"list_eval_partition\.txt and img missing in .*inshop; it cannot be downl"):
        inshop.load(tmp_path, download=True)
    layouts.inshop(tmp_path)
    (tmp_path / "inshop" / "img").rename(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=r"complete: img missing in .*inshop; .*password"):
        inshop.load(tmp_path)


def test_an_unknown_status_is_named_with_its_line(tmp_path):
    layouts.inshop(tmp_path)
    table = tmp_path / "inshop" / "list_eval_partition.txt"
    table.write_text(table.read_text().replace("gallery", "galery", 1))
    with pytest.raises(InputError, match=r"list_eval_partition\.txt line 7: the status is 'galery', not train, query"):
        inshop.load(tmp_path)

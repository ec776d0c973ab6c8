import shutil

import layouts
import pytest
import torch

from metriscope.data.datasets import cub
from metriscope.data.inputs.images import ImageFiles
from metriscope.data.splits import split
from metriscope.errors import InputError


@pytest.fixture
def birds(tmp_path, monkeypatch):
    """The official counts hold for the official data only: here they are those of the small copy."""
    layouts.cub(tmp_path)
    published = {"images": 16, "classes": 4, cub.FIRST: 7, cub.LAST: 9}
    monkeypatch.setattr(cub, "PUBLISHED", published)
    return tmp_path


def test_published_counts():
    assert cub.PUBLISHED == {"images": 11788, "classes": 200, cub.FIRST: 5864, cub.LAST: 5924}


def test_comes_as_one_in_the_order_of_its_lists(birds):
    source = cub.load(birds, image_size=8)
    assert source.test is None
    assert source.queries is None
    assert source.train.classes == layouts.BIRDS
    assert source.train.counts.tolist() == [4, 3, 5, 4]
    assert source.train.shape == (3, 8, 8)
    colours = source.train.fetch(torch.arange(16))[:, :2, 4, 4].int()
    wanted = torch.tensor([[20 * c, 10 * i] for c, n in enumerate([4, 3, 5, 4], start=1) for i in range(n)])
    assert (colours - wanted).abs().max() < 12


def test_class_order_is_that_of_classes_txt_not_of_names(tmp_path):
    layouts.cub(tmp_path, (2, 2, 2, 2), ("001.Zebra", "002.Ani", "003.Crow", "010.Auk"))
    parts = split(cub.load(tmp_path, 8, verify=False), "class_disjoint", validation=0)
    assert parts.train.classes == ("001.Zebra", "002.Ani")
    assert parts.test.classes == ("003.Crow", "010.Auk")


def test_protocols(birds):
    source = cub.load(birds, 8)
    assert isinstance(source.train.inputs, ImageFiles)
    disjoint = split(source, "class_disjoint", validation=0)
    assert (len(disjoint.train), len(disjoint.test)) == (7, 9)
    assert disjoint.test.classes == layouts.BIRDS[2:]
    closed = split(source, "closed_set", validation=0)
    assert closed.train.classes == closed.test.classes == layouts.BIRDS
    assert closed.test.counts.tolist() == [2, 1, 2, 2]
    assert not set(closed.train.inputs.paths) & set(closed.test.inputs.paths)


def test_the_archives_own_split_is_not_read(birds):
    (birds / "CUB_200_2011" / "train_test_split.txt").write_bytes(b"\xff\xfe")
    assert len(cub.load(birds, 8).train) == 16


def test_what_is_missing_is_named(birds):
    folder = birds / "CUB_200_2011"
    with pytest.raises(InputError, match=r"images.txt, .*, images missing in .*none/CUB_200_2011; dataset.download=tr"):
        cub.load(birds / "none")
    image = "003.Sooty_Albatross/Sooty_Albatross_0002_20.jpg"
    (folder / "images" / image).unlink()
    with pytest.raises(InputError) as error:
        cub.load(birds)
    line = str(error.value)
    assert f"1 of 16 listed images are missing, such as images/{image}" in line
    assert "15 images instead of 16" in line
    assert "8 images in the last half of the classes instead of 9" in line
    assert "dataset.verify=false" in line
    shutil.rmtree(folder / "images" / "004.Groove_billed_Ani")
    with pytest.raises(InputError, match="3 classes instead of 4"):
        cub.load(birds)
    (folder / "classes.txt").unlink()
    with pytest.raises(InputError, match=r"complete: classes\.txt missing in .*CUB_200_2011"):
        cub.load(birds)


def test_a_part_goes_on_only_when_told(birds, caplog):
    shutil.rmtree(birds / "CUB_200_2011" / "images" / "002.Laysan_Albatross")
    source = cub.load(birds, 8, verify=False)
    assert source.train.counts.tolist() == [4, 0, 5, 4]
    assert "13 images instead of 16" in caplog.text
    assert "dataset.verify=false" in caplog.text
    assert "002.Laysan_Albatross" not in split(source, "closed_set", validation=0).train.classes
    shutil.rmtree(birds / "CUB_200_2011" / "images")
    (birds / "CUB_200_2011" / "images").mkdir()
    with pytest.raises(InputError, match="0 images"):
        cub.load(birds, 8, verify=False)


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("images.txt", "1\n", r"images\.txt line 1: expected '<image id> <path>', found '1'"),
        ("image_class_labels.txt", "1 1\n2 9\n", r"image_class_labels\.txt line 2: there is no class 9"),
        ("image_class_labels.txt", "77 1\n", r"image_class_labels\.txt line 1: there is no image 77"),
        ("classes.txt", b"1 \xff\xff\n", r"classes\.txt: it is no UTF-8 text"),
    ],
)
def test_broken_lists_are_named_with_their_line(birds, file, content, words):
    content = content.encode() if isinstance(content, str) else content
    (birds / "CUB_200_2011" / file).write_bytes(content)
    with pytest.raises(InputError, match=words):
        cub.load(birds)


def test_the_data_folder_may_be_the_data_set(birds):
    assert len(cub.load(birds / "CUB_200_2011", 8).train) == 16

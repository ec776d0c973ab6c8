"""What an audit finds in small data sets in memory and in files."""

import numpy as np
import pytest
import torch
from PIL import Image

from metriscope.data.audit.audit import audit
from metriscope.data.audit.counts import counts
from metriscope.data.audit.findings import findings, names
from metriscope.data.examples import Examples, ImageFiles
from metriscope.data.inputs.boxes import Box, Item
from metriscope.data.splits import Splits


def pixels(*seeds):
    """An image of random smooth colours for each seed."""
    coarse = [torch.rand(3, 4, 4, generator=torch.Generator().manual_seed(seed)) * 200 + 20 for seed in seeds]
    return torch.nn.functional.interpolate(torch.stack(coarse), (40, 40), mode="bilinear").byte()


def splits(train, test, train_labels, test_labels, classes=("a", "b", "c"), queries=None):
    parts = [
        Examples(inputs, torch.tensor(labels), classes)
        for inputs, labels in ((train, train_labels), (test, test_labels))
    ]
    return Splits(parts[0], None, parts[1], "closed_set", queries)


def summary(found):
    return [(one.kind, one.positions) for one in findings(found)]


def test_images_in_memory():
    train, test = pixels(1, 2, 3, 1, 4), pixels(5, 2, 6, 6, 7)
    test[4] = train[4] + 9  # brighter
    train[2] = 77
    found = audit(splits(train, test, [0, 0, 1, 1, 2], [0, 0, 1, 2, 2]))
    assert summary(found) == [
        ("conflict", [0, 3]),
        ("conflict", [7, 8]),
        ("leak", [1, 6]),
        ("near leak", [4, 9]),
        ("one colour", [2]),
        ("alone", [7]),
    ]
    assert names(found)[6] == "test[1]"
    # Of the queries 0, 1, 3 and 4 the two of class a find one another; the copy at 3 finds the one of another class,
    # which is also the first that the last query can find.
    assert found.ceilings == {"test": (4, 2, 4)}


def test_counts_by_part():
    both = ("train", "test")
    train, test = pixels(1, 1, 2), pixels(2, 1, 3)
    found = counts(audit(splits(train, test, [0, 1, 0], [0, 0, 1])))
    assert found["identical"] == {("train", "train"): 1, ("test", "test"): 0, both: 2}
    assert found["identical_conflicts"] == {("train", "train"): 1, ("test", "test"): 0, both: 1}
    assert found["near"] == {("train", "train"): 0, ("test", "test"): 0, both: 0}
    assert found["alone"] == {("test", "test"): 1}
    assert "identical_bytes" not in found


def test_a_conflict_across_parts_says_so():
    found = audit(splits(pixels(1, 2, 2), pixels(1, 2, 3), [0, 0, 1], [1, 0, 2]))
    assert [(one.kind, one.positions, one.note) for one in findings(found)[:2]] == [
        ("conflict", [0, 3], "also in two parts"),
        ("conflict", [1, 2, 4], "also in two parts"),
    ]


def test_vectors():
    vectors = torch.randn(12, 6, generator=torch.Generator().manual_seed(0))
    vectors[5] = vectors[0]
    vectors[9] = vectors[1] + 0.02
    vectors[3, 0], vectors[4, 0] = torch.nan, 0.0
    vectors[10] = vectors[4]
    vectors[10, 0] = -0.0
    found = audit(splits(vectors[:6], vectors[6:], [0, 0, 0, 1, 1, 1], [0, 1, 0, 1, 1, 0]))
    assert summary(found) == [
        ("conflict", [0, 5]),
        ("leak", [4, 10]),
        ("near conflict", [1, 9]),
        ("unreadable", [3]),
    ]
    assert found.noun == "vectors"
    assert not audit(splits(vectors[:6], vectors[6:], [0] * 6, [0] * 6), limit=0).near.groups


def test_near_groups_name_the_pair_that_decides_first():
    train = pixels(1, 1, 1, 2, 2)
    train[1, :, 20] += 4
    train[2, :, 10:30] += 9
    train[3] += 2
    found = audit(splits(train, pixels(8, 9), [0, 0, 1, 2, 2], [0, 0]))
    assert summary(found) == [("near conflict", [1, 2, 0]), ("near copy", [3, 4])]
    assert found.near.closest[0] < found.near.conflicting[0] > found.near.conflicting[1]
    assert findings(found)[0].note == f"distance {found.near.conflicting[1]:.3f}"
    assert found.near.conflicts["train", "train"] == 2
    assert found.near.pairs["train", "train"] == 4


def test_queries_and_gallery():
    test = pixels(1, 1, 2, 3)
    queries = torch.tensor([True, False, True, False])
    found = audit(splits(pixels(5, 6), test, [0, 1], [0, 1, 2, 0], queries=queries))
    assert found.alone == {"test": ["c"]}
    assert found.ceilings["test"][:2] == (1, 0)


@pytest.fixture
def folder(tmp_path):
    def save(name, image, **options):
        path = tmp_path / name
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(path, **options)
        return str(path)

    return save


def test_image_files_are_compared_after_decoding(folder, tmp_path):
    one, two, three = pixels(1, 2, 3)
    train = [folder("a.png", one), folder("b.jpg", two), folder("plain.png", torch.full((3, 30, 30), 9).byte())]
    decoded = torch.from_numpy(np.array(Image.open(train[1]))).permute(2, 0, 1)
    test = [
        folder("copy.png", one),
        folder("other.png", one, compress_level=1),
        folder("encoded.jpg", two, quality=20),
        folder("decoded.png", decoded),
        folder("plain2.png", torch.full((3, 40, 30), 9).byte()),
        folder("third.png", three),
    ]
    (tmp_path / "broken.jpg").write_bytes((tmp_path / "b.jpg").read_bytes()[:300])
    test.append(str(tmp_path / "broken.jpg"))
    test.append(str(tmp_path / "gone.jpg"))
    labels = [0, 1, 2], [0, 0, 1, 1, 2, 0, 0, 1]
    found = audit(splits(ImageFiles(tuple(train)), ImageFiles(tuple(test)), *labels))
    kinds = {(one.kind, tuple(sorted(one.positions))): one.note for one in findings(found)}
    assert kinds.keys() == {
        ("leak", (0, 3, 4)),
        ("leak", (1, 6)),
        ("near leak", (1, 5, 6)),
        ("one colour", (2,)),
        ("one colour", (7,)),
        ("unreadable", (9,)),
        ("unreadable", (10,)),
        ("alone", (7,)),
    }
    assert kinds["leak", (0, 3, 4)] == "same pixels in other bytes"
    assert "broken.jpg" in kinds["unreadable", (9,)]
    assert names(found)[3] == "copy.png"
    assert found.stored[0] == found.stored[3] != found.stored[4]


def test_many_files_are_all_read(folder):
    paths = [folder(f"{number}.png", image) for number, image in enumerate(pixels(*range(5)))]
    files = ImageFiles(tuple(paths * 30))
    found = audit(splits(files, files, [0] * 150, [0] * 150))
    assert [len(group) for group in found.identical] == [60] * 5
    assert all(found.same_bytes(group) for group in found.identical)
    assert not found.near.groups


def test_boxes_of_one_photograph_are_no_copies(tmp_path):
    for number in range(2):
        wide = pixels(2 * number, 2 * number + 1)
        Image.fromarray(torch.cat([*wide], 2).permute(1, 2, 0).numpy()).save(tmp_path / f"{number}.png")
    boxes = Box(0, 0, 40, 40), Box(40, 0, 40, 40)
    files = [ImageFiles(()).holding(Item(str(tmp_path / f"{n}.png"), box) for box in boxes) for n in range(2)]
    assert summary(audit(splits(*files, [0, 1], [0, 1], classes=("a", "b")))) == [("alone", [2]), ("alone", [3])]

"""Which references have the class of an anchor: sizes, numbers and lists, beside labels compared one by one."""

import pytest
import torch
from combinations import every
from oracles import LAYOUTS
from row_oracles import MEMORY

from metriscope.objectives.classes import Classes, Members, listed, some_are_empty

EMPTY = {
    "empty places": [0, -1, 0, 1, 1, -1, 2, 0],
    "empty places alone": [-1, -1, -1],
    "one sample beside empty places": [-1, 3, -1],
    "large labels": [10**9, 7, 10**9, 7, 2**40],
}
EVERY_LAYOUT = {"no samples": [], **LAYOUTS, **EMPTY}
# References beyond the batch, and which of them are nobody's positives.
FURTHER = {
    "the batch alone": ([], None),
    "a memory": (MEMORY, None),
    "negatives only": (MEMORY, [True, False, True, False, True, True, True]),
    "none of them": ([0, 0, 1, 3], [True] * 4),
}


def tensor(labels):
    return torch.tensor(labels, dtype=torch.int64)


def expected(labels, further, never, anchors):
    """Positives and negatives of some anchors."""
    every = labels + further
    barred = [False] * len(labels) + (never or [False] * len(further))
    positive, negative = [], []
    for a in anchors:
        known = [labels[a] >= 0 and every[j] >= 0 for j in range(len(every))]
        same = [labels[a] == label for label in every]
        positive.append([known[j] and same[j] and j != a and not barred[j] for j in range(len(every))])
        negative.append([known[j] and not same[j] for j in range(len(every))])
    shape = len(positive), len(every)
    return (torch.tensor(mask, dtype=torch.bool).view(shape) for mask in (positive, negative))


def classes_of(labels, further, never, first, count):
    """Those of ``count`` anchors from ``first`` on."""
    every = tensor(labels + further)
    own = every if not further and count == len(labels) else every[first : first + count]
    barred = None if never is None else torch.tensor([False] * len(labels) + never)
    return Classes(own, every, first, barred)


def hold(classes, labels, further, never, first, rows):
    positive, negative = expected(labels, further, never, range(first + rows.start, first + rows.stop))
    for dtype in (torch.float32, torch.float64):
        found = classes.numbers(rows, dtype)
        assert [one.dtype for one in found] == [dtype] * 2
        for one, mask in zip(found, (positive, negative), strict=True):
            assert torch.equal(one, mask.to(dtype))
    sizes = torch.stack([positive.sum(1), negative.sum(1)], 1)
    assert classes.sizes.dtype == torch.int64
    assert torch.equal(classes.sizes[rows], sizes)
    for members in (classes.members(rows), listed(positive)):
        assert_lists(members, positive)


def assert_lists(members, mask):
    """Each entry of the mask once, and nothing else; columns are places even where nothing is present."""
    assert isinstance(members, Members)
    columns, present = members
    assert columns.shape == present.shape
    assert columns.shape[0] == len(mask)
    assert columns.shape[1] >= 1
    if mask.numel():
        assert int(columns.min()) >= 0
        assert int(columns.max()) < mask.shape[1]
    for row in range(len(mask)):
        assert sorted(columns[row, present[row]].tolist()) == mask[row].nonzero().squeeze(1).tolist()


@every(labels=EVERY_LAYOUT, beside=FURTHER)
def test_all_anchors_and_blocks_of_them(labels, beside):
    further, never = beside
    count = len(labels)
    classes = classes_of(labels, further, never, 0, count)
    for start, stop in {(0, count), (0, count // 2), (count // 2, count), (max(0, count - 1), count)}:
        hold(classes, labels, further, never, 0, slice(start, stop))


@every(labels=EVERY_LAYOUT, beside=FURTHER)
def test_ranges_of_anchors(labels, beside):
    further, never = beside
    for first in range(len(labels)):
        count = len(labels) - first
        for some in {1, count}:
            classes = classes_of(labels, further, never, first, some)
            for start in range(some):
                hold(classes, labels, further, never, first, slice(start, some))


def test_many_labels_in_any_order():
    source = torch.Generator().manual_seed(0)
    labels = (torch.randint(-1, 9, (60,), generator=source)).tolist()
    further = (torch.randint(-1, 12, (40,), generator=source)).tolist()
    never = (torch.rand(40, generator=source) < 0.3).tolist()
    hold(classes_of(labels, further, never, 0, 60), labels, further, never, 0, slice(0, 60))
    hold(classes_of(labels, further, never, 20, 30), labels, further, never, 20, slice(5, 25))


@every(shape=((0, 0), (0, 5), (3, 0), (1, 1), (4, 7)), share=(0.0, 0.4, 1.0))
def test_any_mask_as_a_list(shape, share):
    mask = torch.rand(shape, generator=torch.Generator().manual_seed(1)) < share
    assert_lists(listed(mask), mask)


def test_lists_are_as_short_as_they_can_be():
    mask = torch.zeros(4, 50, dtype=torch.bool)
    mask[1, [3, 7, 40]] = True
    mask[2, 9] = True
    assert listed(mask).columns.shape == (4, 3)
    assert listed(mask).columns[1].tolist() == [3, 7, 40]
    labels = [0, 0, 0, 1, 1, 2]
    assert classes_of(labels, [], None, 0, 6).members(slice(0, 6)).columns.shape == (6, 2)
    assert classes_of(labels, [], None, 0, 6).members(slice(3, 6)).columns.shape == (3, 1)


@pytest.mark.parametrize(("labels", "some"), [([], False), ([0, 2], False), ([0, -1], True), ([-1], True)])
def test_whether_places_may_be_empty(labels, some):
    assert some_are_empty(tensor(labels)) == some


def test_where_the_host_would_have_to_wait_there_is_no_list():
    labels = tensor([0, 0, 1])
    graph = torch.compile(lambda mask: listed(mask) is None, fullgraph=True, backend="eager")
    assert graph(labels.unsqueeze(1) == labels)
    of_classes = torch.compile(
        lambda own: Classes(own, own, 0, None).members(slice(0, 3)) is None, fullgraph=True, backend="eager"
    )
    assert of_classes(labels)
    meta = labels.to("meta")
    assert listed(meta.unsqueeze(1) == meta) is None
    assert some_are_empty(meta)

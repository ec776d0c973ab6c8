import pytest
import torch

from metriscope.data.examples import Examples, Source
from metriscope.data.splits import split, stratified
from metriscope.errors import InputError


def examples(counts, start=0, names=None):
    """Vectors whose only entry is a running number, so that a part tells which examples it holds."""
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    names = names or tuple(f"c{i}" for i in range(len(counts)))
    return Examples(torch.arange(start, start + len(labels)).float().unsqueeze(1), labels, names)


def ids(part):
    return set(part.inputs.squeeze(1).int().tolist())


def test_closed_set_folds_are_disjoint_stratified_and_complete():
    source = Source(examples([50, 30, 20]), examples([5, 5, 5], start=100))
    held_out = set()
    for fold in range(10):
        parts = split(source, "closed_set", fold)
        assert parts.validation.counts.tolist() == [5, 3, 2]
        assert ids(parts.train) | ids(parts.validation) == set(range(100))
        assert not ids(parts.validation) & held_out
        held_out |= ids(parts.validation)
        assert ids(parts.test) == set(range(100, 115))
    assert held_out == set(range(100))
    assert ids(split(source, "closed_set", 3).train) == ids(split(source, "closed_set", 3).train)


def test_closed_set_refuses_a_fold_or_share_out_of_range():
    source = Source(examples([50, 30]), examples([5, 5]))
    assert split(source, "closed_set", validation=0).validation is None
    for fold, share in [(10, 0.1), (3, 0.3), (-1, 0.1), (0, 1.0), (0, -0.1), (0, 0.001)]:
        with pytest.raises(InputError, match=r"dataset\.(fold|validation)"):
            split(source, "closed_set", fold, share)


def test_closed_set_keeps_a_single_image_in_train():
    labels = torch.tensor([0, 1, 1, 2])
    for fold in range(2):
        rest, part = stratified(labels, 0.5, fold)
        assert set(labels[rest].tolist()) == {0, 1, 2}
        assert sorted([*rest.tolist(), *part.tolist()]) == [0, 1, 2, 3]


def test_closed_set_aligns_test_ids_by_name():
    source = Source(examples([20, 20, 20]), examples([2, 3], names=("c2", "c0")))
    test = split(source, "closed_set").test
    assert test.classes == ("c0", "c1", "c2")
    assert test.counts.tolist() == [3, 0, 2]
    with pytest.raises(InputError, match=r"'new'.*class_disjoint"):
        split(Source(examples([20, 20]), examples([2], names=("new",))), "closed_set")


def test_closed_set_needs_two_classes():
    with pytest.raises(InputError, match="at least 2"):
        split(Source(examples([20]), examples([5])), "closed_set")


def test_class_disjoint_pools_and_halves_the_classes():
    source = Source(examples([3] * 20), examples([2] * 20, start=60))
    seen = []
    for fold in range(4):
        parts = split(source, "class_disjoint", fold)
        assert parts.test.classes == tuple(f"c{i}" for i in range(10, 20))
        assert len(parts.test) == 50
        assert set(parts.train.classes) | set(parts.validation.classes) == {f"c{i}" for i in range(10)}
        assert not set(parts.train.classes) & set(parts.validation.classes)
        for part in (parts.train, parts.validation, parts.test):
            assert part.counts.tolist() == [5] * part.num_classes
        seen += parts.validation.classes
    assert seen == [f"c{i}" for i in range(10)]
    with pytest.raises(InputError, match=r"folds 0\.\.3"):
        split(source, "class_disjoint", 4)


def test_class_disjoint_counts_of_cub_and_cars():
    for classes in (200, 196):
        parts = split(Source(examples([1] * classes), examples([1] * classes)), "class_disjoint")
        assert parts.test.num_classes == classes // 2
        assert parts.validation.num_classes == classes // 8


def test_class_disjoint_keeps_halves_that_share_no_class():
    source = Source(examples([4] * 8), examples([4] * 3, names=("x", "y", "z")))
    assert split(source, "class_disjoint").test.classes == ("x", "y", "z")


def test_class_disjoint_with_few_classes():
    def ten(classes):
        return Source(examples([4] * classes), examples([2] * classes))

    parts = split(ten(10), "class_disjoint", fold=1)
    assert parts.validation.classes == ("c2", "c3")
    assert split(ten(4), "class_disjoint", validation=0).train.num_classes == 2
    for classes, share in [(4, None), (3, 0), (10, 0.9)]:
        with pytest.raises(InputError):
            split(ten(classes), "class_disjoint", validation=share)


def test_data_that_come_as_one_are_split_by_the_protocol():
    whole = Source(examples([6] * 8), test_share=0.5)
    closed = split(whole, "closed_set", validation=0)
    assert closed.train.counts.tolist() == closed.test.counts.tolist() == [3] * 8
    assert not ids(closed.train) & ids(closed.test)
    disjoint = split(whole, "class_disjoint", validation=0)
    assert ids(disjoint.train) == set(range(24))
    assert ids(disjoint.test) == set(range(24, 48))
    assert [split(whole, "class_disjoint", fold).validation.classes for fold in (0, 1)] == [("c0", "c1"), ("c2", "c3")]
    with pytest.raises(ValueError, match="test_share"):
        Source(examples([6] * 8))


def test_halves_by_class_are_pooled_for_a_closed_set_only_where_that_is_meant():
    train, test = examples([4] * 3), examples([6] * 2, start=12, names=("x", "y"))
    parts = split(Source(train, test, test_share=0.5), "closed_set", validation=0)
    assert parts.train.classes == parts.test.classes == ("c0", "c1", "c2", "x", "y")
    assert parts.test.counts.tolist() == [2, 2, 2, 3, 3]
    with pytest.raises(InputError, match="class_disjoint"):
        split(Source(train, test), "closed_set")


def test_queries_stay_with_a_test_half_that_is_kept():
    queries = torch.tensor([True, False] * 4)
    disjoint = Source(examples([4] * 8), examples([4] * 2, names=("x", "y")), queries, test_share=0.5)
    assert split(disjoint, "class_disjoint").queries.tolist() == queries.tolist()
    assert split(disjoint, "closed_set", validation=0).queries is None
    shared = Source(examples([8] * 4), examples([2] * 4), queries)
    assert split(shared, "closed_set", validation=0).queries.tolist() == queries.tolist()
    assert split(shared, "class_disjoint", validation=0).queries is None
    with pytest.raises(ValueError, match=r"queries must be bool \(8,\)"):
        Source(examples([8] * 4), examples([2] * 4), queries[:3])


def test_a_validation_part_of_the_data_takes_the_place_of_a_share():
    train, test = examples([4] * 3), examples([2] * 3, start=12)
    validation = examples([2, 3], start=20, names=("c2", "c0"))
    source = Source(train, test, validation=validation)
    parts = split(source, "closed_set")
    assert (ids(parts.train), ids(parts.validation)) == (set(range(12)), set(range(20, 25)))
    assert parts.validation.classes == parts.train.classes
    assert parts.validation.counts.tolist() == [3, 0, 2]
    assert split(source, "closed_set", validation=0).validation is None
    for fold, share, key in [(1, None, "fold=1"), (0, 0.1, "validation=0.1"), (1, 0, "fold=1")]:
        with pytest.raises(InputError, match=f"^dataset.{key}: the data bring their own validation part"):
            split(source, "closed_set", fold, share)
    stranger = Source(train, test, validation=examples([2, 2], names=("c0", "x")))
    with pytest.raises(InputError, match=r"1 validation classes are not in the train half \(such as 'x'\)"):
        split(stranger, "closed_set")


def test_a_validation_part_shares_no_class_under_class_disjoint():
    train, test = examples([4] * 3), examples([2] * 3, start=12, names=("x", "y", "z"))

    def validated(*names):
        return split(
            Source(train, test, validation=examples([2] * len(names), start=20, names=names)), "class_disjoint"
        )

    parts = validated("v", "w")
    assert [part.classes for part in parts.parts.values()] == [("c0", "c1", "c2"), ("v", "w"), ("x", "y", "z")]
    for names, words in [
        (
            ("v", "c1"),
            r"1 validation classes are in the train half too \(such as 'c1'\): use dataset\.protocol=closed_set",
        ),
        (("v", "z"), r"1 validation classes are in the test half too \(such as 'z'\)"),
        (("v",), "validation part has 1 class, in which retrieval is always right"),
    ]:
        with pytest.raises(InputError, match=words):
            validated(*names)


def test_queries_without_a_gallery_of_their_class_are_counted():
    queries = torch.tensor([True, True, True, False, False, True])
    test = Examples(torch.zeros(6, 1), torch.tensor([0, 1, 1, 0, 2, 2]), ("x", "y", "z"))
    with pytest.warns(
        UserWarning, match=r"2 of 4 queries cannot find .* gallery has no image of their 1 classes, .* 'y'"
    ):
        parts = split(Source(examples([4] * 4), test, queries), "class_disjoint", validation=0)
    assert parts.queries.tolist() == queries.tolist()


def test_unknown_protocol():
    with pytest.raises(InputError, match="closed_set, class_disjoint"):
        split(Source(examples([4, 4]), examples([4, 4])), "open")

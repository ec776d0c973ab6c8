import pytest
import torch

from metriscope.data.examples import Examples
from metriscope.errors import InputError


def test_any_integer_labels_become_contiguous():
    values = [2**24 + 1, 2**24, -3, 2**40, 2**24 + 1]
    examples = Examples.from_labels(torch.zeros(5, 2), values, {-3: "minus three"})
    assert examples.labels.tolist() == [2, 1, 0, 3, 2]
    assert examples.classes == ("minus three", "16777216", "16777217", str(2**40))
    assert examples.counts.tolist() == [1, 1, 2, 1]


def test_take_keeps_ids_and_compact_closes_gaps():
    examples = Examples(torch.arange(8.0).view(4, 2), torch.tensor([0, 1, 2, 2]), ("a", "b", "c"))
    part = examples.take(torch.tensor([3, 0]))
    assert part.labels.tolist() == [2, 0]
    assert part.classes == ("a", "b", "c")
    assert part.inputs.tolist() == [[6, 7], [0, 1]]
    assert part.compact().labels.tolist() == [1, 0]
    assert part.compact().classes == ("a", "c")
    assert examples.compact() is examples
    assert examples.shape == (2,)
    assert examples.fetch(torch.tensor([1, 1])).tolist() == [[2, 3], [2, 3]]


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (torch.tensor([0, 1]), ("a", "b")),
        (torch.tensor([1, 2, 3]), ("a", "b", "c")),
        (torch.tensor([0, -1, 1]), ("a", "b")),
        (torch.tensor([0.0, 1, 1]), ("a", "b")),
        (torch.tensor([0, 1, 1]), ("a", "a")),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels, classes):
    with pytest.raises(InputError):
        Examples(torch.zeros(3, 2), labels, classes)

"""Negatives within the whiskers against a sorted list, and the numbers of the page."""

from types import SimpleNamespace

import pytest
import torch
from miner_cases import all_cases, case, pair_sets
from worked_examples import compared

from metriscope.errors import InputError
from metriscope.objectives.miners import whisker
from metriscope.objectives.miners.whisker import WhiskerMiner
from metriscope.objectives.selection import as_pairs


def loop(comparison, reach):
    """Each pair of two samples of the batch once, each pair with a memory once."""
    s, negative, batch = comparison.similarities.tolist(), comparison.negative.tolist(), len(comparison.anchors.labels)
    pairs = [(i, j) for i in range(batch) for j in range(len(s[0])) if negative[i][j]]
    values = sorted(s[i][j] for i, j in pairs if j > i)
    if not values:
        return set()
    first, third = values[int(0.25 * len(values))], values[int(0.75 * len(values))]
    low, high = first - reach * (third - first), third + reach * (third - first)
    return {(i, j) for i, j in pairs if low - 1e-12 <= s[i][j] <= high + 1e-12}


@pytest.fixture(params=["host counts", "no host"])
def path(request, monkeypatch):
    if request.param == "no host":
        monkeypatch.setattr(whisker, "_quartiles", whisker._quartiles_by_sorting)


@pytest.mark.parametrize("reach", [0.0, 0.3, 1.5])
@all_cases
def test_every_negative(path, layout, further, reach):
    comparison = case(layout, further)
    found = pair_sets(WhiskerMiner(reach)(comparison), comparison)
    assert found == (pair_sets(as_pairs(WhiskerMiner(99.0)(comparison), comparison))[0], loop(comparison, reach))


def test_the_fences_of_the_page():
    _, comparison = compared()
    found = as_pairs(WhiskerMiner(0.25)(comparison), comparison)
    assert torch.equal(found.positive, comparison.positive)
    left_out = comparison.negative & ~found.negative
    # Of 11 similarities three lie outside of [-0.9, 0.9].
    assert {(i, j) for i, j in left_out.nonzero().tolist() if i < j} == {(0, 5), (1, 3), (2, 4)}
    assert torch.equal(left_out, left_out.T)


def test_blocks_of_anchors_change_nothing():
    whole, split = case("many classes", "memory"), case("many classes", "memory")
    split.memory_mb = 2e-3
    assert len(list(split.blocks())) > 1
    assert pair_sets(WhiskerMiner(0.2)(whole), whole) == pair_sets(WhiskerMiner(0.2)(split), split)


@pytest.mark.parametrize("labels", [[0, 1], [3, 3, 3], [0]])
def test_one_pair_of_negatives_is_kept_and_none_is_none(path, labels):
    comparison = case(labels)
    assert torch.equal(as_pairs(WhiskerMiner(0.0)(comparison), comparison).negative, comparison.negative)


def test_equal_similarities_are_all_kept_whatever_their_rounding():
    negative = torch.ones(3, 3, dtype=torch.bool)
    similarities = 0.6 + torch.linspace(-2e-16, 2e-16, 9, dtype=torch.float64).view(3, 3)
    block = SimpleNamespace(rows=slice(0, 3), negative=negative, positive=~negative, similarities=similarities)
    labels = torch.arange(3)
    comparison = SimpleNamespace(first=0, blocks=lambda: [block], anchors=SimpleNamespace(labels=labels))
    assert WhiskerMiner(0.0).select(comparison).choose(block).negative.all()


def test_a_reach_below_zero():
    with pytest.raises(InputError, match=r"^range=-1.0: it has to be "):
        WhiskerMiner(-1.0)

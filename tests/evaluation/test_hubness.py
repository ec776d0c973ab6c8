"""How unevenly the items of a gallery occur among neighbours, against plain counting."""

import math

import pytest
import torch

from metriscope.evaluation.hubness import hubness, k_occurrences


@pytest.mark.parametrize("gallery", [False, True])
@pytest.mark.parametrize("distractors", [0, 9])
def test_counts_equal_brute_force(gallery: bool, distractors: int) -> None:
    points = torch.randint(0, 4, (40 + distractors, 2), generator=torch.Generator().manual_seed(0)).double()
    queries = torch.arange(40) % 4 == 0 if gallery else None
    asking = [i for i in range(40) if queries is None or queries[i]]
    kept = [j for j in range(len(points)) if j >= 40 or queries is None or not queries[j]]
    counts = dict.fromkeys(kept, 0)
    for i in asking:
        others = sorted((float((points[i] - points[j]).square().sum()), j) for j in kept if j != i)
        for _, j in others[:5]:
            counts[j] += 1
    found = k_occurrences(points[:40], 5, queries=queries, distractors=points[40:] if distractors else None)
    assert found.tolist() == list(counts.values())


def test_skewness_and_antihubs() -> None:
    # Mean 1, squares 1 1 1 9 over 4: variance 3; cubes -1 -1 -1 27 over 4: 6.
    assert hubness(torch.tensor([0, 0, 0, 4])) == pytest.approx((6 / 3**1.5, 3 / 4))
    assert hubness(torch.tensor([2, 2, 2])) == (0, 0)
    assert all(math.isnan(value) for value in hubness(torch.tensor([], dtype=torch.int64)))

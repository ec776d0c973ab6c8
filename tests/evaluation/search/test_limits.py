"""The nearest columns within a limit: the same as those of a whole ranking, however misleading the sample is."""

import pytest
import torch
from torch import Tensor

from metriscope.evaluation.search.limits import STEP, below_limits
from metriscope.evaluation.search.ranking import pack, smallest

SOURCE = torch.Generator().manual_seed(0)
WIDTH = 512
DISTANCES = {
    "random": torch.rand(7, WIDTH, generator=SOURCE),
    "ties": torch.randint(3, (7, WIDTH), generator=SOURCE).float(),
    "all equal": torch.ones(7, WIDTH),
    "none near in the sample": torch.where(torch.arange(WIDTH) % STEP == 0, 2.0, 1.0).repeat(7, 1),
    "all near in the sample": torch.where(torch.arange(WIDTH) % STEP == 0, 0.5, 1.0).repeat(7, 1),
    "mostly at infinity": torch.where(torch.arange(WIDTH) < WIDTH // 3, 1.0, torch.inf).repeat(7, 1),
}


@pytest.mark.parametrize("k", [1, 20, WIDTH // 4])
@pytest.mark.parametrize("distances", DISTANCES.values(), ids=list(DISTANCES))
def test_the_nearest_are_those_of_the_whole_row(distances: Tensor, k: int) -> None:
    columns = torch.arange(100, 100 + WIDTH)
    keys = torch.empty(distances.shape, dtype=torch.int64)
    expected = smallest(pack(distances, columns, torch.empty_like(keys)), k)
    assert torch.equal(below_limits(distances, 100, k, keys), expected)

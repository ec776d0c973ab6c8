"""A batch with worked values for many methods: six unit vectors in the plane, in exact decimals, and what goes with it.

Values were found by loops in float64 that know nothing of this library. ``S`` is taken as 36 independent entries, the
row the anchor's; a gradient by an embedding goes through its normalisation.
"""

import torch
from torch import Tensor

from metriscope.objectives.comparison import Comparison, Segment
from metriscope.objectives.distances.cosine import Cosine
from metriscope.objectives.losses.base import Loss
from metriscope.objectives.output import LossOutput
from metriscope.objectives.samples import Samples
from metriscope.objectives.selection import Pairs, Selection, TripletBand

POINTS = [(1, 0), (0.8, 0.6), (0.28, -0.96), (0.6, 0.8), (0, 1), (-0.96, 0.28)]
# The last class has a single sample: an anchor with negatives and no positive.
LABELS = [0, 0, 0, 1, 1, 2]
# Unit vectors of the same samples in another space, and of the three classes.
FEATURES = [(1, 0, 0), (0.8, 0.6, 0), (0.6, 0, 0.8), (0, 0.6, 0.8), (0, 0.28, 0.96), (0, 1, 0)]
CLASS_VECTORS = [(0.8, -0.6), (0.28, 0.96), (-0.6, -0.8)]
# To the digits that the values are given with.
EXACT = {"rtol": 0, "atol": 2e-12}


def tensor(values: list[tuple[float, ...]]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def compared(
    labels: list[int] = LABELS, affine: Tensor | None = None, points: Tensor | None = None
) -> tuple[Tensor, Comparison]:
    """The leaf and its comparison with itself, by the cosine distance."""
    z = (tensor(POINTS) if points is None else points).clone().requires_grad_()
    samples = Samples(z, torch.tensor(labels), torch.full((len(z),), -1), affine=affine)
    return z, Comparison(samples, [Segment(samples)], Cosine())


def nearest_share(comparison: Comparison, share: float) -> Pairs:
    """All positives, and the nearest ``share`` of each anchor's negatives."""
    negative = torch.zeros_like(comparison.negative)
    for i, row in enumerate(comparison.similarities.detach()):
        columns = comparison.negative[i].nonzero().flatten()
        kept = -int(-share * len(columns) // 1)
        negative[i, columns[row[columns].argsort(descending=True)[:kept]]] = True
    return Pairs(comparison.positive, negative)


def hold_example(
    loss: Loss,
    value: float,
    slopes: dict[tuple[int, int], float],
    by_first: float | None = None,
    selection: Selection | None = None,
    comparison: tuple[Tensor, Comparison] | None = None,
) -> LossOutput:
    """The value, dL/dS at some pairs, and the second component of the gradient by the first embedding, where given."""
    z, compare = comparison or compared()
    output = loss(compare, selection or TripletBand())
    torch.testing.assert_close(output.value.item(), value, **EXACT)
    matrix = [one.distances for one in compare.made] if output.slopes is None else []
    by_z, *by_distances = torch.autograd.grad(output.value, [z, *matrix])
    # The cosine distance is 1 - s.
    by_pairs = -by_distances[0] if matrix else output.slopes(slice(0, len(z))).slopes
    for pair, slope in slopes.items():
        torch.testing.assert_close(by_pairs[pair].item(), slope, **EXACT)
    if by_first is not None:
        torch.testing.assert_close(by_z[0], torch.tensor([0, by_first], dtype=torch.float64), **EXACT)
    return output

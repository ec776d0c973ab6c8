"""Samples whose columns do not fit each other, from users of single losses and from parts of one's own."""

import pytest
import torch

from metriscope.distances import Distance
from metriscope.errors import InputError
from metriscope.losses import ArcFaceLoss, CrossEntropyLoss, InfoNCELoss, TripletLoss
from metriscope.miners import AllMiner, BatchHardMiner
from metriscope.objectives.comparison import Segment
from metriscope.objectives.distances.euclidean import Euclidean
from metriscope.objectives.objective import Objective
from metriscope.objectives.references.base import References
from metriscope.objectives.samples import Samples, Spaces
from metriscope.objectives.selection import Pairs
from metriscope.objectives.weightings.base import Weighting

LABELS = torch.arange(8) // 2
Z = torch.nn.functional.normalize(torch.randn(8, 4, generator=torch.Generator().manual_seed(0)))
FEW = torch.tensor([0, 1])


def refused(line, call):
    with pytest.raises(InputError, match=line) as caught:
        call()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("loss", [TripletLoss(), InfoNCELoss()])
@pytest.mark.parametrize(
    ("embeddings", "labels", "further", "line"),
    [
        (Z, LABELS.tolist(), {}, "^labels of the batch are a list: give a tensor$"),
        (Z.numpy(), LABELS, {}, "^embeddings of the batch are a ndarray: give a tensor$"),
        (
            Z[0],
            LABELS,
            {},
            r"^the batch: embeddings \(4,\) and labels \(8,\) of torch.int64: give embeddings \(N, D\) and",
        ),
        (Z.long(), LABELS, {}, "^embeddings of the batch are of torch.int64: give numbers of floating point$"),
        (
            Z,
            LABELS[:3],
            {},
            r"^the batch: embeddings \(8, 4\) and labels \(3,\) of torch.int64: give embeddings \(N, D\)",
        ),
        (Z, LABELS.float(), {}, r"^the batch: .* and labels \(8,\) of torch.float32: give"),
        (Z, LABELS > 1, {}, r"^the batch: .* and labels \(8,\) of torch.bool: give"),
        (Z, LABELS.to("meta"), {}, "^labels of the batch are on meta, embeddings on cpu: move one of them$"),
        (
            Z,
            LABELS,
            {"index": LABELS[:3]},
            r"^the batch: .* and index \(3,\) of torch.int64: give embeddings \(N, D\) and index \(N,\)",
        ),
        (Z, LABELS, {"miner": BatchHardMiner}, "^miner=<class '.*'>: give an object of a subclass of Miner, or None$"),
        (Z, LABELS, {"distance": "cosine"}, "^distance=cosine: give an object of a subclass of Distance, or None$"),
        (Z, LABELS, {"references": (Z, LABELS)}, r"^references are a tuple: give Samples.of\(embeddings, labels\)$"),
        (
            Z,
            LABELS,
            {"references": Samples.of(torch.ones(2, 5), FEW)},
            r"^embeddings of references are \(2, 5\), those of the batch \(8, 4\): compare embeddings of one size$",
        ),
        (
            Z,
            LABELS,
            {"references": Samples.of(Z[:2], LABELS[:3])},
            r"^references: embeddings \(2, 4\) and labels \(3,\)",
        ),
        (
            Z,
            LABELS,
            {"references": Samples.of(Z[:2].to("meta"), FEW.to("meta"))},
            "^references are on meta, the batch is on cpu: move one of them$",
        ),
    ],
)
def test_a_loss_by_itself_refuses_what_does_not_fit(loss, embeddings, labels, further, line):
    refused(line, lambda: loss(embeddings, labels, **further))


@pytest.mark.parametrize("loss", [ArcFaceLoss, CrossEntropyLoss])
def test_a_loss_of_another_size_says_so(loss):
    line = r"^embeddings \(8, 4\), but the loss has embedding_size=5$"
    refused(line, lambda: loss(num_classes=4, embedding_size=5)(Z, LABELS))


def test_samples_of_small_whole_numbers_have_no_index():
    assert Samples.of(Z, LABELS.to(torch.uint8)).index.tolist() == [-1] * 8
    assert Spaces.of(Z, LABELS.to(torch.uint8)).index.tolist() == [-1] * 8


class Measured(Distance):
    """The distance that a function gives."""

    name = "measured"

    def __init__(self, block):
        super().__init__()
        self.block = block


@pytest.mark.parametrize("loss", [TripletLoss(), InfoNCELoss()])
@pytest.mark.parametrize(
    ("block", "found"),
    [
        (lambda a, r: a @ r[:3].T, r"\(8, 3\)"),
        (lambda a, r: (a @ r.T).sum(1), r"\(8,\)"),
        (lambda a, r: (a @ r.T, None), "tuple"),
        (lambda a, r: None, "NoneType"),
    ],
)
def test_a_distance_of_another_shape_says_so(loss, block, found):
    line = rf"^Measured.block gives {found}: it has to give distances \(8, 8\)$"
    refused(line, lambda: loss(Z, LABELS, distance=Measured(block)))


class Recalled(References):
    """What is given."""

    def __init__(self, given):
        super().__init__()
        self.given = given

    def recall(self, batch, moment):
        return self.given


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (Samples.of(Z, LABELS), "^Recalled.recall gives a Samples: it has to give a Segment of Samples, or None$"),
        (Segment(Samples.of(torch.ones(2, 5), FEW)), r"^embeddings of the references of Recalled.recall are \(2, 5\)"),
        (Segment(Samples.of(Z, LABELS[:3])), r"^the references of Recalled.recall: .* and labels \(3,\)"),
    ],
)
def test_references_that_do_not_fit_say_so(given, line):
    objective = Objective(Euclidean(), AllMiner(), InfoNCELoss(), [Recalled(given)])
    refused(line, lambda: objective(Spaces.of(Z, LABELS)))


def test_no_references_are_none():
    values = [
        Objective(Euclidean(), AllMiner(), InfoNCELoss(), references)(Spaces.of(Z, LABELS)).output.value
        for references in ([], [Recalled(None)], [Recalled(Segment(Samples.of(Z[:0], LABELS[:0])))])
    ]
    assert values[0] == values[1] == values[2]


class Weighs(Weighting):
    """Weights that functions give."""

    weighs = frozenset({"pairs", "rows"})

    def __init__(self, pairs=None, rows=None):
        super().__init__()
        self.pairs, self.rows = pairs, rows

    def weigh_pairs(self, comparison, pairs):
        return pairs if self.pairs is None else self.pairs(pairs)

    def weigh_rows(self, losses, index, moment):
        return torch.ones_like(losses) if self.rows is None else self.rows(losses)


@pytest.mark.parametrize(
    ("weighting", "line"),
    [
        (Weighs(rows=lambda x: x.squeeze(1)), r"^Weighs.weigh_rows gives \(8,\): it has to give weights \(8, 1\)$"),
        (Weighs(rows=lambda x: 2.0), r"^Weighs.weigh_rows gives float: it has to give weights \(8, 1\)$"),
        (
            Weighs(rows=lambda x: -torch.ones_like(x)),
            "^Weighs.weigh_rows gives weights below 0: they have to be at least",
        ),
        (Weighs(lambda p: torch.ones(8, 8)), "^Weighs.weigh_pairs gives a Tensor: it has to give Pairs$"),
        (
            Weighs(lambda p: Pairs(p.positive, p.negative, torch.ones(8, 1))),
            r"^Weighs.weigh_pairs gives \(8, 1\): it has to give weights \(8, 8\)$",
        ),
        (
            Weighs(lambda p: Pairs(p.positive, p.negative, None, -torch.ones(8, 8))),
            "^Weighs.weigh_pairs gives weights below 0",
        ),
    ],
)
def test_weights_that_do_not_fit_say_so(weighting, line):
    objective = Objective(Euclidean(), AllMiner(), InfoNCELoss(), (), weighting)
    refused(line, lambda: objective(Spaces.of(Z, LABELS)))

"""Losses and miners that Metriscope and pytorch-metric-learning both have, made equal where they can be."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

DIMENSION = 128

LossOfBatch = Callable[[Tensor, Tensor], Tensor]
"""(B, D) before normalisation and labels (B,) -> the loss."""


class Sizes(NamedTuple):
    """What there is of each kind in a batch; of positives and negatives the ordered pairs."""

    batch: int
    positives: int
    negatives: int
    triplets: int


def sizes(labels: Tensor) -> Sizes:
    """(B,) labels -> :class:`Sizes`."""
    batch, members = len(labels), [count for count in torch.bincount(labels).tolist() if count]
    positives = sum(count * (count - 1) for count in members)
    triplets = sum(count * (count - 1) * (batch - count) for count in members)
    return Sizes(batch, positives, batch * (batch - 1) - positives, triplets)


# Bytes that the peer needs at its peak, as measured where they fit.


def _matrices(found: Sizes) -> int:
    """Masks, index vectors and temporaries of all pairs."""
    return 100 * found.batch**2


def _listed(found: Sizes) -> int:
    """A byte for every three samples (up to 2**31), and indices, distances, hinges, gradients of each triplet."""
    cube = found.batch**3
    return (cube if cube < 2**31 else 0) + 50 * found.triplets


def _positives_by_negatives(found: Sizes) -> int:
    """A matrix of all positive pairs by all negative pairs, and its temporaries."""
    return 24 * found.positives * found.negatives


def _positives_by_batch(found: Sizes) -> int:
    return 24 * found.positives * found.batch


def _cubes(found: Sizes) -> int:
    return 28 * found.batch**3


def _differences(found: Sizes) -> int:
    """Every component of every difference of two embeddings."""
    return 12 * found.batch**2 * DIMENSION


@dataclass(frozen=True)
class Contest:
    """One loss on both sides.

    Attributes:
        overrides: our config.
        peer: makes the peer's side for C classes; it is given our loss, whose parameters it may copy.
        differs: why values are not compared; empty where both define the same.
        peer_bytes: what the peer is expected to need at its peak.
        equal_classes: whether the peer refuses classes of unequal size.
        single: whether the peer computes in float32, whatever it is given.
    """

    overrides: tuple[str, ...]
    peer: Callable[[int, nn.Module], LossOfBatch]
    differs: str = ""
    peer_bytes: Callable[[Sizes], int] = _matrices
    equal_classes: bool = False
    single: bool = False


def _peer(
    loss: str, miner: str | None = None, power: int | None = None, unit: bool = False, **options: Any
) -> Callable[..., LossOfBatch]:
    """The peer's loss by name, with its defaults but for ``options``.

    Args:
        miner: as ``Class`` or, with the loss's margin, ``TripletMarginMiner:kind``.
        power: of the Euclidean distance; None for the loss's own distance.
        unit: whether to give normalised embeddings to a loss that does not normalise all of them.
    """

    def build(classes: int, our_loss: nn.Module) -> LossOfBatch:
        from pytorch_metric_learning import distances, losses, miners

        space = {} if power is None else {"distance": distances.LpDistance(power=power)}
        judge = getattr(losses, loss)(**space, **options)
        if unit:
            return lambda raw, labels: judge(nn.functional.normalize(raw), labels)
        if miner is None:
            return judge
        name, _, kind = miner.partition(":")
        chosen = {"margin": options["margin"], "type_of_triplets": kind} if kind else {}
        mine = getattr(miners, name)(**space, **chosen)
        return lambda raw, labels: judge(raw, labels, mine(raw, labels))

    return build


def _proxies(
    loss: str, parameter: str, transposed: bool = True, unit: bool = False, **options: Any
) -> Callable[..., LossOfBatch]:
    """The peer's loss of that name with a copy of our proxies as its ``parameter``; ``unit`` as of :func:`_peer`."""

    def build(classes: int, our_loss: nn.Module) -> LossOfBatch:
        from pytorch_metric_learning import losses

        judge = getattr(losses, loss)(num_classes=classes, embedding_size=DIMENSION, **options)
        # Ours are ordered by place in the class, the peer's by class.
        ours = our_loss.proxies.detach().view(-1, classes, DIMENSION).transpose(0, 1).reshape(-1, DIMENSION)
        getattr(judge, parameter).data = (ours.T if transposed else ours).clone()
        return (lambda raw, labels: judge(nn.functional.normalize(raw), labels)) if unit else judge

    return build


def _boundaries(miner: str | None = None) -> Callable[..., LossOfBatch]:
    """The peer's margin loss with a learned boundary per class, as ours has them."""
    return lambda classes, our_loss: _peer("MarginLoss", miner, power=1, num_classes=classes, learn_beta=True)(
        classes, our_loss
    )


def _first_of_each(classes: int, our_loss: nn.Module) -> LossOfBatch:
    """The peer's instance loss of a batch in whose order the c-th sample is the first of class c."""
    judge = _peer("InstanceLoss")(classes, our_loss)

    def of_batch(raw: Tensor, labels: Tensor) -> Tensor:
        firsts = (labels.unsqueeze(0) == torch.arange(classes).unsqueeze(1)).int().argmax(1)
        rest = torch.ones(len(labels), dtype=torch.bool).index_fill(0, firsts, False).nonzero().squeeze(1)
        order = torch.cat([firsts, rest])
        return judge(raw[order], labels[order])

    return of_batch


def _constant_weights(classes: int, our_loss: nn.Module) -> LossOfBatch:
    """The peer's dynamic soft margin, without a gradient through its histogram, which is new in every step."""
    from pytorch_metric_learning import losses

    class Constant(losses.DynamicSoftMarginLoss):  # type: ignore[misc]
        def update_histogram(self, data: Tensor) -> None:
            self.hist_ = torch.zeros_like(self.hist_)
            super().update_histogram(data.detach())

    return Constant()


# A margin that some negatives of the batch are within and others are not.
_CONTRASTIVE = ("loss=contrastive", "loss.margin=1.4", "loss.reduction=mean_active")
_PLAIN = (*_CONTRASTIVE, "loss.squared=false")
_TRIPLET = ("loss=triplet", "loss.margin=0.2", "loss.reduction=mean_active")
DRAWN = "both draw at random"

BANDS = {
    "triplet, all": Contest((*_TRIPLET, "miner=all"), _peer("TripletMarginLoss", power=1, margin=0.2), "", _listed),
    **{
        f"triplet, {shown}": Contest(
            (*_TRIPLET, f"miner={name}"),
            _peer("TripletMarginLoss", f"TripletMarginMiner:{kind}", power=1, margin=0.2),
            "",
            _listed,
        )
        for shown, name, kind in (
            ("semi-hard", "semihard", "semihard"),
            ("hard", "hard", "hard"),
            ("violating", "violating", "all"),
        )
    },
    "triplet, squared": Contest(
        (*_TRIPLET, "miner=all", "distance=squared_euclidean"),
        _peer("TripletMarginLoss", power=2, margin=0.2),
        "",
        _listed,
    ),
}

PAIRS = {
    "contrastive, plain": Contest((*_PLAIN, "miner=all"), _peer("ContrastiveLoss", power=1, neg_margin=1.4)),
    "contrastive, squared": Contest(
        (*_CONTRASTIVE, "loss.squared=true", "miner=all"),
        _peer("ContrastiveLoss", power=2, neg_margin=1.4),
        "the peer squares the distance inside the hinge, max(0, m - d^2); [CT] the hinge, max(0, m - d)^2",
    ),
    "contrastive, mined": Contest(
        (*_PLAIN, "miner=pair_margin"), _peer("ContrastiveLoss", "PairMarginMiner", power=1, neg_margin=1.4)
    ),
    "contrastive, hdc": Contest(
        (*_PLAIN, "miner=hdc"),
        _peer("ContrastiveLoss", "HDCMiner", power=1, neg_margin=1.4),
    ),
    "contrastive, histogram": Contest(
        (*_PLAIN, "miner=uniform_histogram"),
        _peer("ContrastiveLoss", "UniformHistogramMiner", power=1, neg_margin=1.4),
        DRAWN,
    ),
    "multi_similarity": Contest(("loss=multi_similarity", "loss.base=0.5", "miner=all"), _peer("MultiSimilarityLoss")),
    "multi_similarity, mined": Contest(
        ("loss=multi_similarity", "loss.base=0.5", "miner=multi_similarity"),
        _peer("MultiSimilarityLoss", "MultiSimilarityMiner"),
        "an anchor left without pairs is no term for us, and a term of zero for the peer",
    ),
    "margin": Contest(
        ("loss=margin", "loss.count=triplets", "loss.reduction=mean_active", "miner=all"), _boundaries(), "", _listed
    ),
    "lifted_structure": Contest(
        ("loss=lifted_structure", "miner=all"), _peer("GeneralizedLiftedStructureLoss", power=1)
    ),
    "lifted_structure, original": Contest(
        ("loss=lifted_structure", "loss.form=original", "miner=all"),
        _peer("LiftedStructureLoss", power=1),
        "",
        _positives_by_negatives,
    ),
    "circle": Contest(("loss=circle", "miner=all"), _peer("CircleLoss")),
    "signal_to_noise": Contest(
        ("loss=signal_to_noise", "loss.reduction=mean_active", "miner=all"),
        _peer("SignalToNoiseRatioContrastiveLoss"),
        "",
        _differences,
    ),
    "intra_pair_variance": Contest(("loss=intra_pair_variance", "miner=all"), _peer("IntraPairVarianceLoss")),
    "threshold_consistent_margin": Contest(
        ("loss=threshold_consistent_margin", "miner=all"), _peer("ThresholdConsistentMarginLoss")
    ),
    "ranked_list": Contest(
        ("loss=ranked_list", "loss.detach_weights=false"),
        _peer("RankedListLoss", power=1, margin=0.4, alpha=1.2, Tn=10),
        "the peer adds 1e-5 to every weight in its denominators",
    ),
}

SMOOTH = {
    "triplet, soft margin": Contest(
        ("loss=soft_margin_triplet", "miner=all"),
        _peer("TripletMarginLoss", power=1, margin=0.0, smooth_loss=True),
        "",
        _listed,
    ),
    "dynamic_soft_margin": Contest(
        ("loss=dynamic_soft_margin", "loss.momentum=1", "miner=all"), _constant_weights, "", _listed
    ),
    "instance": Contest(("loss=instance",), _first_of_each),
    "n_pair": Contest(("loss=n_pair", "loss.anchors=first"), _peer("NPairsLoss")),
    "infonce": Contest(("loss=infonce", "miner=all"), _peer("NTXentLoss"), "", _positives_by_negatives),
    "supcon": Contest(("loss=supcon", "miner=all"), _peer("SupConLoss")),
    "nca": Contest(("loss=nca", "miner=all"), _peer("NCALoss")),
    "tuplet_margin": Contest(
        ("loss=tuplet_margin", "miner=all"), _peer("TupletMarginLoss"), "", _positives_by_negatives
    ),
    "angular": Contest(
        ("loss=angular", "miner=all"), _peer("AngularLoss", unit=True, alpha=45), "", _positives_by_batch
    ),
    "fastap": Contest(("loss=fastap",), _peer("FastAPLoss")),
    "histogram": Contest(("loss=histogram", "miner=all"), _peer("HistogramLoss"), "", _listed, single=True),
    "smooth_ap": Contest(
        ("loss=smooth_ap", "loss.include_anchor=true"),
        _peer("SmoothAPLoss"),
        "the peer takes the number of classes for the size of each, so it is right only where the two are equal",
        _cubes,
        equal_classes=True,
    ),
}

LISTS = {
    "triplet, batch-hard": Contest(
        (*_TRIPLET, "miner=batch_hard"), _peer("TripletMarginLoss", "BatchHardMiner", power=1, margin=0.2)
    ),
    "triplet, easy positive": Contest(
        (*_TRIPLET, "miner=batch_easy_positive", "miner.negative=semihard"),
        _peer("TripletMarginLoss", "BatchEasyHardMiner", power=1, margin=0.2),
    ),
    "margin, sampled": Contest(
        ("loss=margin", "loss.reduction=mean_active", "miner=distance_weighted"),
        _boundaries("DistanceWeightedMiner"),
        DRAWN,
    ),
}

PROXIES = {
    "arcface": Contest(("loss=arcface",), _proxies("ArcFaceLoss", "W", margin=math.degrees(0.5))),
    "cosface": Contest(("loss=cosface",), _proxies("CosFaceLoss", "W")),
    "sub_center_arcface": Contest(
        ("loss=sub_center_arcface",), _proxies("SubCenterArcFaceLoss", "W", margin=math.degrees(0.5))
    ),
    "sphereface": Contest(("loss=sphereface",), _proxies("SphereFaceLoss", "W", unit=True)),
    "large_margin_softmax": Contest(("loss=large_margin_softmax",), _proxies("LargeMarginSoftmaxLoss", "W", unit=True)),
    "normalized_softmax": Contest(("loss=normalized_softmax",), _proxies("NormalizedSoftmaxLoss", "W")),
    "proxy_nca": Contest(
        ("loss=proxy_nca", "loss.include_positive=true"), _proxies("ProxyNCALoss", "proxies", transposed=False)
    ),
    "proxy_anchor": Contest(("loss=proxy_anchor",), _proxies("ProxyAnchorLoss", "proxies", transposed=False)),
    "soft_triple": Contest(("loss=soft_triple", "loss.regularizer_weight=0"), _proxies("SoftTripleLoss", "fc")),
}

CONTESTS = BANDS | LISTS | PAIRS | SMOOTH | PROXIES

"""The losses and miners that ship, by name: what they are and which fit together. Imports no torch.

A test holds these entries equal to the classes that the configs name.
"""

from typing import NamedTuple


class LossEntry(NamedTuple):
    accepts: frozenset[str]
    """Kinds of selection that the loss takes."""
    source: str
    summary: str
    pairwise: bool = True
    """Whether it compares embeddings with each other, not with parameters of its own."""


class MinerEntry(NamedTuple):
    kind: str
    """Kind of selection that the miner gives."""
    source: str
    summary: str


_OWN = frozenset({"none"})
_PAIRS = frozenset({"all", "pairs", "triplets"})
CT = "arXiv:2510.02161"

LOSSES = {
    "contrastive": LossEntry(
        _PAIRS,
        CT,
        "pulls positives together, pushes negatives past a margin",
    ),
    "triplet": LossEntry(frozenset({"all", "band", "pairs", "triplets"}), CT, "hinge on d(a, p) - d(a, n) + margin"),
    "multi_similarity": LossEntry(_PAIRS, "arXiv:1904.06627", "soft weighting of pairs by own and relative similarity"),
    "margin": LossEntry(_PAIRS, "arXiv:1706.07567", "hinges on pairs around learned boundaries"),
    "lifted_structure": LossEntry(
        _PAIRS, "arXiv:1703.07737", "hinge on soft furthest positive minus soft closest negative"
    ),
    "circle": LossEntry(_PAIRS, "arXiv:2002.10857", "pairs pulled in proportion to the distance from their optimum"),
    "signal_to_noise": LossEntry(_PAIRS, "arXiv:1904.02616", "contrastive loss on the noise-to-signal ratio"),
    "tuplet_margin": LossEntry(
        _PAIRS, "Yu & Tao, ICCV 2019", "each positive pair against all negatives, slack margin in degrees"
    ),
    "angular": LossEntry(_PAIRS, "arXiv:1708.01682", "angle at the negative kept below alpha"),
    "ranked_list": LossEntry(
        frozenset({"all", "none"}), "arXiv:1903.03238", "weighted means of an anchor's non-trivial pairs"
    ),
    "soft_margin_triplet": LossEntry(
        frozenset({"all", "band", "pairs", "triplets"}), "arXiv:1703.07737", "softplus of d(a, p) - d(a, n)"
    ),
    "n_pair": LossEntry(_OWN, "Sohn, NIPS 2016", "a positive against one sample of each other class"),
    "infonce": LossEntry(_PAIRS, "arXiv:1807.03748", "each positive pair against the anchor's negatives"),
    "supcon": LossEntry(
        _PAIRS, "arXiv:2004.11362", "SCL, L_out: mean log-likelihood of the positives among all others"
    ),
    "decoupled_contrastive": LossEntry(_PAIRS, "arXiv:2110.06848", "InfoNCE without the positive in the denominator"),
    "nca": LossEntry(_PAIRS, "Goldberger et al., NIPS 2004", "chance of picking a neighbour of one's own class"),
    "fastap": LossEntry(_OWN, "Cakir et al., CVPR 2019", "average precision over soft histograms of distances"),
    "smooth_ap": LossEntry(_OWN, "arXiv:2007.12163", "average precision with sigmoids for steps"),
    "histogram": LossEntry(_PAIRS, "arXiv:1611.00822", "overlap of positive and negative similarity histograms"),
    "arcface": LossEntry(_OWN, "arXiv:1801.07698", "softmax over class vectors, margin on the angle", False),
    "cosface": LossEntry(_OWN, "arXiv:1801.09414", "softmax over class vectors, margin on the cosine", False),
    "sub_center_arcface": LossEntry(
        _OWN, "ECCV 2020 (Deng et al.)", "ArcFace with several vectors per class, the closest counts", False
    ),
    "normalized_softmax": LossEntry(_OWN, "arXiv:1811.12649", "softmax over cosines to class vectors", False),
    "proxy_nca": LossEntry(_OWN, "arXiv:1703.07464", "own proxy against the other proxies; ++ by keys", False),
    "proxy_anchor": LossEntry(
        _OWN, "arXiv:2003.13911", "each proxy pulls its samples, pushes the others, the hardest most", False
    ),
    "soft_triple": LossEntry(
        _OWN, "arXiv:1909.05235", "softmax over classes of several centres, with regulariser", False
    ),
    "center_contrastive": LossEntry(
        _OWN, "arXiv:2308.00458", "softmax over moving class centres plus pull to the own one", False
    ),
    "cross_entropy": LossEntry(_OWN, "arXiv:2003.08505", "linear classifier on the embedding, the baseline", False),
}

MINERS = {
    "all": MinerEntry("all", CT, "every pair and triplet that the labels allow"),
    "none": MinerEntry("none", "", "for losses that pick or weigh their terms themselves"),
    "semihard": MinerEntry("band", "arXiv:1503.03832", "0 < d(a, n) - d(a, p) < margin"),
    "hard": MinerEntry("band", "arXiv:1503.03832", "d(a, n) < d(a, p)"),
    "easy": MinerEntry("band", "arXiv:1503.03832", "d(a, n) - d(a, p) > margin"),
    "violating": MinerEntry("band", "arXiv:1503.03832", "d(a, n) - d(a, p) < margin: semi-hard and hard"),
    "batch_hard": MinerEntry("triplets", "arXiv:1703.07737", "furthest positive, closest negative"),
    "batch_easy_positive": MinerEntry(
        "triplets", "arXiv:1904.04370", "closest positive, closest or semi-hard negative"
    ),
    "distance_weighted": MinerEntry(
        "triplets", "arXiv:1706.07567", "negatives drawn evenly over distances, one per positive pair"
    ),
    "random": MinerEntry("triplets", "", "triplets drawn uniformly"),
    "pair_margin": MinerEntry("pairs", "", "positives beyond one margin, negatives within another"),
    "multi_similarity": MinerEntry(
        "pairs", "arXiv:1904.06627", "pairs near or past the anchor's hardest pair of the other kind"
    ),
    "batch_easy_hard": MinerEntry(
        "pairs", "arXiv:1904.04370", "all, easy, semi-hard or hard positives and negatives of each anchor"
    ),
    "angular": MinerEntry("triplets", "arXiv:1708.01682", "negatives that see the positive pair under a wide angle"),
    "hdc": MinerEntry("pairs", "arXiv:1611.05720", "the hardest share of all pairs"),
    "uniform_histogram": MinerEntry("pairs", "", "pairs drawn evenly over the histogram of distances"),
    "curriculum": MinerEntry("band", "arXiv:2310.13451", "semi-hard triplets first, hard or interpolated ones later"),
}


def fitting_miners(accepts: frozenset[str]) -> list[str]:
    """Names of the miners whose selections are among those accepted."""
    return [name for name, miner in MINERS.items() if miner.kind in accepts]


def describe() -> str:
    """Losses and miners with their one-line meaning, for the terminal."""
    width = max(map(len, [*LOSSES, *MINERS])) + 2
    losses = [f"  {name:{width}}{loss.summary}" for name, loss in LOSSES.items()]
    miners = [f"  {name:{width}}{miner.summary}" for name, miner in MINERS.items()]
    return "\n".join(["Losses:", *losses, "", "Miners:", *miners])

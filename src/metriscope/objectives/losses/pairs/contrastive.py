"""Contrastive loss over pairs."""

from metriscope.objectives.losses.pairs.hinges import PairHinges


class ContrastiveLoss(PairHinges):
    """Positives d^2 (or max(0, d - positive_margin)^2), negatives max(0, margin - d)^2.

    With ``distance=euclidean squared=true reduction=sum`` this is the contrastive loss of [CT]
    (arXiv:2510.02161) and of Hadsell et al. 2006; ``squared=false reduction=mean_active`` is the plain
    form of most libraries, where the means over non-zero positives and non-zero negatives are added.
    The default ``reduction=mean`` divides by all valid pairs.

    Args:
        margin: distance beyond which a negative costs nothing, above 0.
        positive_margin: distance below which a positive costs nothing, at least 0.
        squared: whether hinges are squared.
        reduction: ``mean``, ``sum`` or ``mean_active``.

    Reports the active ratio of positives and of negatives as ``active_ratio_positive`` and
    ``active_ratio_negative``.
    """

    paper = "arXiv:2510.02161"
    mixes = True

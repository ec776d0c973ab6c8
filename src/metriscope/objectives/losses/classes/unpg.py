"""Unified negative pair generation (UNPG): classes and pairs of samples in one softmax."""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from metriscope.objectives.arguments import Count, NonNegative, Positive
from metriscope.objectives.comparison import Comparison
from metriscope.objectives.losses.classes.proxies import (
    Own,
    ProxyLoss,
    add_angle,
    own_scores,
    softmax_loss,
)
from metriscope.objectives.losses.classes.synthesis import Synthesis
from metriscope.objectives.numerics import log_sum_exp, numbers
from metriscope.objectives.output import LossOutput
from metriscope.objectives.selection import Selection, as_pairs
from metriscope.parts import ArgumentError


class UNPGLoss(ProxyLoss):
    """-log e^{g t_y} / (e^{g t_y} + sum_{c != y} e^{g cos(theta_c)} + sum_{v in F} e^{g v}), a mean over samples.

    theta_c is the angle between the embedding and the vector of class c, t_y = cos(theta_y + m) (``base=arcface``) or
    cos(theta_y) - m (``base=cosface``), and F the cosines v of negative pairs of the batch. Jung et al.,
    arXiv:2203.11593 (verified in the authors' code, Jung-Jun-Uk/UNPG; of the paper, the abstract was read). F is the
    same for every sample, whose denominator so holds pairs that it is no part of. Each pair counts once, whichever way
    it was selected; a pair with further references (a memory) counts too. Of the sorted cosines V, without
    interpolation, q1 = V[int(l / 4)] and q3 = V[int(3 l / 4)] are the quartiles, and F keeps what lies in
    [q1 - r (q3 - q1), q3 + r (q3 - q1)], which drops far and too similar (mislabelled) pairs. Quartiles carry no
    gradient. Without a negative pair the loss is its base, ``arcface`` or ``cosface``; with ``margin=0`` either base is
    ``normalized_softmax``.

    The authors filter in the loss, as is done here; their code compares only the pairs of one device, this loss those
    of all.

    Which pairs count depends on all of them, so the matrix of distances is kept.

    Args:
        num_classes, embedding_size: see :class:`ProxyLoss`.
        base: ``arcface`` or ``cosface``.
        margin: m, in radians, from 0 to pi, for ``arcface``; a cosine, from 0 to 2, for ``cosface``.
        scale: g, above 0; 16 to 32 suits ten classes.
        whisker: r, at least 0; the authors have 1.5 on MS1MV2 and 1 on K-FACE. None to keep every pair.
        synthesis: see :class:`ProxyLoss`; synthetic samples are in no pair of F.

    ``active`` and ``terms`` both count samples. The part ``batch_mass`` is the mean share of the denominator that F
    has. Weights of pairs, as diagnostics show them, are those of pairs of samples.
    """

    accepts = frozenset({"all", "pairs", "triplets"})
    paper = "arXiv:2203.11593"

    def __init__(
        self,
        num_classes: Count,
        embedding_size: Count,
        base: Literal["arcface", "cosface"] = "arcface",
        margin: Annotated[float, Field(ge=0, le=math.pi)] = 0.5,
        scale: Positive = 64.0,
        whisker: NonNegative | None = 1.5,
        synthesis: Synthesis | None = None,
    ) -> None:
        super().__init__(num_classes, embedding_size, synthesis=synthesis)
        self.base = base
        self.margin = margin
        self.scale = scale
        self.whisker = whisker

    @classmethod
    def check(cls, arguments: Mapping[str, Any]) -> None:
        super().check(arguments)
        if arguments["base"] == "cosface" and arguments["margin"] > 2:
            raise ArgumentError("margin", arguments["margin"], "cosines are at most 2 apart; set it to 2 or less")

    def forward(self, comparison: Comparison, selection: Selection) -> LossOutput:
        own, classes, _, _ = self.compared(comparison)
        to_own = own_scores(classes, own)
        target = add_angle(to_own, self.margin) if self.base == "arcface" else to_own - self.margin
        pairs = self._log_sum(comparison, as_pairs(selection, comparison).negative).to(classes.dtype)
        scores = torch.cat([classes, pairs.expand(len(classes), 1) / self.scale], 1)
        output = softmax_loss(scores, own, self.scale, target, parts={"batch_mass": self._mass(scores, target, own)})
        return output._replace(similarities=None)

    def _log_sum(self, comparison: Comparison, negative: Tensor) -> Tensor:
        """log sum_{v in F} e^{g v}, (1, 1); far below every score without such pairs."""
        similarities = comparison.similarities
        with torch.no_grad():
            kept = self._within(similarities.detach(), _once(negative))
        if not kept.numel():
            return similarities.sum().view(1, 1) - torch.finfo(similarities.dtype).max / 8
        logits = self.scale * similarities
        return log_sum_exp(logits.flatten().unsqueeze(0), numbers(kept, logits.dtype).flatten().unsqueeze(0))

    def _within(self, similarities: Tensor, negative: Tensor) -> Tensor:
        """The negative pairs (B, R) between the fences."""
        if self.whisker is None or not negative.numel():
            return negative
        # Others stand behind all of them: no shape depends on labels.
        low, high = _quartiles(similarities.masked_fill(~negative, math.inf).flatten(), negative.sum())
        reach = self.whisker * (high - low)
        return negative & (similarities >= low - reach) & (similarities <= high + reach)

    @torch.no_grad()
    def _mass(self, scores: Tensor, target: Tensor, own: Own) -> Tensor:
        logits = self.scale * scores.scatter(1, own.column.unsqueeze(1), target.unsqueeze(1))
        share = logits.softmax(1)[:, -1]
        return (share * own.known).sum() / own.terms.clamp_min(1)


def _quartiles(values: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    """Two of the ``count`` smallest values (n,), without interpolation."""
    places = torch.stack([count // 4, 3 * count // 4])
    if values.device.type == "cpu" and not torch.compiler.is_compiling():
        # A seventh of the time of sorting, but the host has to know the places.
        low, high = (values.kthvalue(place + 1).values for place in places.tolist())
    else:
        low, high = values.sort().values[places].unbind()
    return low, high


def _once(mask: Tensor) -> Tensor:
    """A mask (B, R) of pairs, in which a pair of two samples of the batch is there once, if it is there either way."""
    batch = mask[:, : len(mask)]
    return torch.cat([(batch | batch.T).triu(1), mask[:, len(mask) :]], 1)

"""The miner that selects semi-hard triplets first and hard triplets later."""

import logging
import math
from collections.abc import Mapping
from typing import Annotated, Any

import torch
from pydantic import Field

from metriscope.objectives.arguments import Count, NonNegative, UnitInterval
from metriscope.objectives.comparison import Comparison
from metriscope.objectives.miners.base import Miner
from metriscope.objectives.mixed import Mixtures
from metriscope.objectives.selection import TripletBand
from metriscope.parts import ArgumentError

log = logging.getLogger(__name__)


class CurriculumMiner(Miner):
    """Two stages of training, as in arXiv:2310.13451: semi-hard triplets, then hard ones.

    - Epochs before ``semihard_share * epochs``: the semi-hard band, 0 < d(a, n) - d(a, p) < margin.
    - Later, without ``interpolation``: the hard band, d(a, n) < d(a, p), which is the second stage without its
      augmentation.
    - Later, with ``interpolation``: batch-hard triplets in the augmented space. Hard negatives become scarce as
      training succeeds, so the candidates are an anchor's negatives n and their interpolations l p + (1 - l) n with its
      furthest positive p. The closest candidate is selected, which gives one triplet per anchor. Its distance is
      computed from d_ap, d_an and d_pn (see :meth:`Distance.blend`), and gradients reach all three
      embeddings.

    Of the paper only the abstract could be read. It says that the second stage interpolates embeddings and mines hard
    triplets among them; between which points, with which share and when it begins, it does not say. One triplet per
    anchor, furthest positive and closest augmented negative, is this library's reading, not verified. d_pn is in the
    matrix of distances for positives of the batch only, so positives from a memory are left out of interpolated
    triplets. Bands list no triplets, and the host never waits. pytorch-metric-learning has no counterpart.

    Args:
        margin: upper end of the semi-hard band, in units of the distance; above 0 where there is a first stage.
        epochs: number of epochs of the whole training, at least 1.
        semihard_share: share of the epochs in the first stage, from 0 to 1.
        interpolation: l, above 0 (the negative) and below 1 (the positive), or None. Above 0.5, of which a warning
            tells, many of them are closer to the anchor than its positive, and false negatives.
        frozen: whether interpolations are constants, so that gradients reach anchor and positive alone, as in MoCHi
            (arXiv:2010.01028); otherwise the positive is pushed as a part of the negative. A negative that is closer
            than its interpolation is no constant. None for no.
        spherical: whether embeddings are L2-normalised; interpolations then are too.

    Raises:
        InputError: in :meth:`select`, a distance that cannot be interpolated.
    """

    needs_cosines = True
    kind = "band"
    paper = "arXiv:2310.13451"

    def __init__(
        self,
        margin: NonNegative = 0.2,
        epochs: Count = 10,
        semihard_share: UnitInterval = 0.5,
        interpolation: Annotated[float, Field(gt=0, lt=1)] | None = None,
        spherical: bool = True,
        frozen: bool | None = None,
    ) -> None:
        super().__init__()
        self.semihard = TripletBand(0.0, margin)
        self.hard = TripletBand(-math.inf, 0.0)
        self.hard_from = math.ceil(semihard_share * epochs)
        self.interpolation = interpolation
        self.spherical = spherical
        self.frozen = bool(frozen)
        if interpolation is not None and interpolation > 0.5:
            log.warning(
                "miner.interpolation=%g: above 0.5 interpolations are closer to the positive than to the negative, and "
                "many are false negatives: set it to 0.5 or less",
                interpolation,
            )

    @classmethod
    def check(cls, arguments: Mapping[str, Any]) -> None:
        if arguments["frozen"] and arguments["interpolation"] is None:
            raise ArgumentError("frozen", True, "nothing is interpolated that could be constant; set interpolation")
        if arguments["margin"] == 0 and arguments["semihard_share"] > 0:
            raise ArgumentError("margin", arguments["margin"], "no triplet is semi-hard then; set it above 0")

    def select(self, comparison: Comparison) -> TripletBand | Mixtures:
        if comparison.moment.epoch < self.hard_from:
            return self.semihard
        return self.hard if self.interpolation is None else self._augmented(comparison, self.interpolation)

    def _augmented(self, comparison: Comparison, share: float) -> Mixtures:
        distances, batch = comparison.distances, len(comparison.anchors.labels)
        own = comparison.positive[:, :batch]
        furthest, positive = distances[:, :batch].masked_fill(~own, -math.inf).max(1, keepdim=True)
        between = comparison.distance.blend(
            furthest.clamp_min(0),
            distances,
            distances.index_select(0, positive.squeeze(1)),
            distances.new_tensor(share),
            self.spherical,
        )
        plain, synthetic = (
            d.masked_fill(~comparison.negative, math.inf).min(1, keepdim=True) for d in (distances, between)
        )
        closer = synthetic.values < plain.values
        return Mixtures(
            positive,
            torch.where(closer, synthetic.indices, plain.indices),
            closer * distances.new_tensor(share),
            (own.any(1) & comparison.negative.any(1)).unsqueeze(1),
            frozen=self.frozen,
            spherical=self.spherical,
            positive=positive.squeeze(1),
        )

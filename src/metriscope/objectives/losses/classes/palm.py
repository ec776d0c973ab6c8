"""PALM: each class a mixture of prototypes, to which samples are assigned by optimal transport."""

from typing import Annotated, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from metriscope.objectives.arguments import Count, NonNegative, Positive, UnitInterval
from metriscope.objectives.comparison import Comparison, Segment
from metriscope.objectives.distances.products import DotProducts
from metriscope.objectives.kernels.rows import mean_over_anchors
from metriscope.objectives.kernels.rules import Rule
from metriscope.objectives.kernels.softmax import likelihood
from metriscope.objectives.losses.base import Loss
from metriscope.objectives.losses.classes.prototypes import moved, own_columns
from metriscope.objectives.losses.classes.proxies import Own, own_classes, precise, unit_vectors
from metriscope.objectives.output import Account, LossOutput
from metriscope.objectives.samples import Moment, Samples
from metriscope.objectives.selection import Selection, TripletBand, unbanded
from metriscope.unit import unit_rows


class Assigned(NamedTuple):
    """To which prototypes of its class a sample belongs.

    Attributes:
        columns: (B, K) int64, the prototypes of its class.
        weights: (B, K), at least 0, with the sum 1; 0 for a sample of no known class.
    """

    columns: Tensor
    weights: Tensor


class PALMLoss(Loss):
    """-mean_i [sum_j w_ij z_i . p_j / t - log sum_j exp(z_i . p_j / t)] + l L(p), p K prototypes of each class.

    Lu et al., Learning with Mixture of Prototypes for Out-of-Distribution Detection, arXiv:2402.02653 (verified in the
    authors' code, jeff024/PALM; the equations of the paper were not read). z are embeddings and p prototypes, both of
    unit length; j runs over the J = K C prototypes of all classes. One step of the training:

    1. A = diag(u) exp(z p^T / eps) diag(v): ``iterations`` times each prototype is given the same mass over the batch,
       then each sample the same mass over all J (Sinkhorn).
    2. U_ij = A_ij of the prototypes j of the class of i, those of its ``top`` largest A, in proportion, with sum 1.
    3. p_j <- normalise(m p_j + (1 - m) sum_i U_ij z_i / sum_i U_ij). A gradient flows through z_i here, none through A
       and U. Prototypes of no sample stay where they are.
    4. w_ij: as U, of the same prototypes, by an A of the new p.
    5. The first term above, with w and p held fixed.
    6. L(p) = mean_j [-mean_{j' of the same class} p_j . p_j' / t_p + log sum_{j' != j} exp(p_j . p_j' / t_p)], which
       keeps the prototypes of a class together and classes apart: its gradient reaches z through step 3, so it is of
       the order of 1 - m. Of a single prototype it is 0, and with K = 1 there is nothing to keep together.

    The name of the method is that of a likelihood, log sum_j w_ij exp(...); the authors' code, and this, has the sum
    outside the logarithm. Prototypes are a buffer, hence in the checkpoint (the authors do not save them), and move
    once in a step, after the loss of the batch, in training alone; elsewhere steps 1, 2 and 4 to 6 are of prototypes
    that stay. They begin in random directions (the authors': of no negative component).

    Time O(B J D + J^2 D), and O(B J) for each iteration, in the logarithms of u and v, so that any eps above 0 is safe.
    Nothing of size J x J is kept; with many thousands of classes the J^2 D of L(p) is most of a step, and
    ``prototype_weight=0`` leaves it out. pytorch-metric-learning has no such loss.

    Args:
        num_classes: C; class c has label c. Samples with another label have no term, and no mass.
        embedding_size: D.
        prototypes_per_class: K; 6 in the authors' code.
        top: at most so many prototypes of its class for each sample, 0 for all; 5 in the authors' code.
        temperature: t, above 0.
        prototype_temperature: t_p, above 0.
        prototype_weight: l, at least 0.
        momentum: m, from 0 to 1; 0.999 in the authors' code, for many steps.
        epsilon: eps, the temperature of the assignment, above 0.
        iterations: of Sinkhorn, at least 1.

    ``active`` and ``terms`` both count samples. The parts ``loss_likelihood`` and ``loss_prototypes``, the latter with
    its weight, add up to the value.

    >>> from metriscope.losses import PALMLoss
    >>> loss = PALMLoss(2, 2, 2, temperature=0.5, epsilon=0.5).eval()
    >>> _ = loss.prototypes.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8], [-1.0, 0.0]]))
    >>> round(loss(torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]]), torch.tensor([0, 0, 1])).item(), 3)
    2.033
    """

    needs_cosines = True
    accepts = frozenset({"none"})
    hinge = False
    paper = "arXiv:2402.02653"
    bound_to_classes = True
    prototypes: Tensor

    def __init__(
        self,
        num_classes: Count,
        embedding_size: Count,
        prototypes_per_class: Count = 4,
        top: Annotated[int, Field(ge=0)] = 3,
        temperature: Positive = 0.1,
        prototype_temperature: Positive = 0.5,
        prototype_weight: NonNegative = 1.0,
        momentum: UnitInterval = 0.99,
        epsilon: Positive = 0.05,
        iterations: Count = 3,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.per_class = prototypes_per_class
        self.top = min(top, prototypes_per_class) or prototypes_per_class
        self.temperature = temperature
        self.prototype_temperature = prototype_temperature
        self.prototype_weight = prototype_weight
        self.momentum = momentum
        self.epsilon = epsilon
        self.iterations = iterations
        self.register_buffer("prototypes", unit_vectors(num_classes * prototypes_per_class, embedding_size))

    def forward(self, comparison: Comparison, selection: Selection) -> LossOutput:
        own = own_classes(comparison.anchors.labels, self.num_classes)
        z, prototypes = precise(comparison.anchors.embeddings, self.prototypes)
        with torch.autocast(z.device.type, enabled=False):
            z = unit_rows(z)
            before = self._assign(z.detach() @ prototypes.T, own)
            after = self._moved(prototypes, before, z) if self.training else prototypes
            similarities = z @ after.detach().T
            targets = self._assign(similarities.detach(), own, before)
            logits = similarities / self.temperature
            pulls = (logits.gather(1, targets.columns) * targets.weights).sum(1)
            terms = own.terms.clamp_min(1)
            likely = ((logits.logsumexp(1) - pulls) * own.known).sum() / terms
            # A batch without a term says nothing of prototypes either.
            apart = self.prototype_weight * self._apart(after) * (own.terms > 0)
        parts = {"loss_likelihood": likely.detach(), "loss_prototypes": apart.detach()}
        value = likely + apart
        return LossOutput(value, own.terms, own.terms, parts, similarities, pending=before.weights)

    @torch.no_grad()
    def observe(self, account: Account, moment: Moment) -> None:
        weights, anchors = account.output.pending, account.comparison.anchors
        assert weights is not None
        columns = own_columns(own_classes(anchors.labels, self.num_classes), self.num_classes, self.per_class)
        z, prototypes = precise(anchors.embeddings, self.prototypes)
        with torch.autocast(z.device.type, enabled=False):
            self.prototypes.copy_(self._moved(prototypes, Assigned(columns, weights), unit_rows(z)))

    @torch.no_grad()
    def _assign(self, similarities: Tensor, own: Own, before: Assigned | None = None) -> Assigned:
        """By similarities (B, J); among the prototypes of ``before`` alone, where it is given."""
        logits = similarities / self.epsilon
        scales = balanced(logits, own.known, self.iterations)
        columns = own_columns(own, self.num_classes, self.per_class)
        # What scales a sample as a whole does not matter among the prototypes of its class.
        chosen = (logits + scales).gather(1, columns)
        if before is not None:
            among = before.weights > 0
        else:
            among = torch.zeros_like(chosen, dtype=torch.bool).scatter_(1, chosen.topk(self.top, 1).indices, True)
        weights = chosen.masked_fill(~among, torch.finfo(chosen.dtype).min / 8).softmax(1)
        return Assigned(columns, weights * own.known.unsqueeze(1))

    def _moved(self, prototypes: Tensor, assigned: Assigned, z: Tensor) -> Tensor:
        """(J, D), attached to the graph of unit embeddings z (B, D)."""
        shares = z.new_zeros(len(z), len(prototypes)).scatter(1, assigned.columns, assigned.weights)
        # A matrix product, because a scattered sum on a GPU adds in any order, and prototypes would differ between
        # processes.
        return moved(prototypes, shares.T @ z, shares.sum(0).unsqueeze(1), self.momentum)

    def _apart(self, prototypes: Tensor) -> Tensor:
        """L(p): the supervised contrastive loss of prototypes, in which those without a positive count as well."""
        if len(prototypes) == 1 or self.prototype_weight == 0:
            return prototypes.new_zeros(())
        labels = torch.arange(self.num_classes, device=prototypes.device).repeat(self.per_class)
        samples = Samples.of(prototypes, labels)
        comparison = Comparison(samples, [Segment(samples)], DotProducts())
        rule = likelihood(self.prototype_temperature)
        every = Rule(rule.judge, complete=False)
        return mean_over_anchors(comparison, unbanded(TripletBand()), every).value


def balanced(logits: Tensor, known: Tensor, iterations: int) -> Tensor:
    """(J,), the logarithms u of Sinkhorn: exp(u_j + l_ij + v_i) has the same sum over samples for each column.

    The sums over columns were the same for each sample in the iteration before; v is not given. u is known up to a
    constant.

    Args:
        logits: l (B, J).
        known: (B,) bool, the samples that have mass.
        iterations: how often columns are made equal, at least 1.
    """
    nothing = torch.finfo(logits.dtype).min / 8
    rows = torch.where(known, logits.new_zeros(()), nothing).unsqueeze(1)
    for left in reversed(range(iterations)):
        columns = -(logits + rows).logsumexp(0) if len(logits) else logits.new_zeros(logits.shape[1])
        if left:
            rows = torch.where(known, -(logits + columns).logsumexp(1), nothing).unsqueeze(1)
    return columns

"""Distances between anchors (B, D) and references (R, D): always a (B, R) matrix in which smaller means closer.

Each distance is computed in float32 at least, whatever the precision of training: losses are functions of differences
of distances, of which bfloat16 keeps two digits.
"""

from collections.abc import Callable, Iterator
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from metriscope.errors import InputError
from metriscope.evaluation.search.curved import Curved
from metriscope.objectives.distances.close import Pairs
from metriscope.parts import PartType
from metriscope.unit import unit_rows


def precise(embeddings: Tensor) -> Tensor:
    """Embeddings in float32 at least."""
    return embeddings if embeddings.dtype == torch.float64 else embeddings.float()


class Distance(nn.Module, metaclass=PartType):
    """Base class: how two embeddings are compared.

    A subclass defines :meth:`block` and :meth:`to_squared_euclidean`; :meth:`from_squared_euclidean` as well where
    mixtures of samples are to be compared. The rest follows from these, and may be defined where that is faster. A
    distance may have parameters; they learn with the loss.

    Attributes:
        name: the config choice.
        domain: where embeddings have to lie: ``any``; ``sphere`` where they have to be L2-normalised; ``tangent`` where
            their lengths mean something and they must not be.
        directions: whether the lengths of embeddings do not matter.
        differences: whether distances are functions of differences of prepared rows; see :meth:`products`.
    """

    name: ClassVar[str]
    domain: ClassVar[Literal["any", "sphere", "tangent"]] = "any"
    directions: ClassVar[bool] = False
    differences: ClassVar[bool] = False

    # The constructor of nn.Module takes anything.
    def __init__(self) -> None:
        super().__init__()

    @property
    def learns(self) -> bool:
        """Whether the distance has parameters."""
        return next(self.parameters(), None) is not None

    def prepare(self, anchors: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
        """Rows as :meth:`block` takes them, in O(B D), differentiable: here in float32 at least.

        Args:
            anchors: (B, D).
            others: (R, D) each, which are compared with the anchors.
        """
        return precise(anchors), *map(precise, others)

    def block(self, anchors: Tensor, references: Tensor) -> Tensor:
        """Prepared rows (r, D) and (R, D) -> distances (r, R), float32 or float64, attached to the graph."""
        raise NotImplementedError

    def pull(self, anchors: Tensor, references: Tensor, distances: Tensor, slopes: Tensor) -> tuple[Tensor, Tensor]:
        """The gradients (r, D) and (R, D) of sum(slopes * distances), by prepared rows.

        Args:
            anchors, references: prepared rows.
            distances: (r, R), as :meth:`block` gives them.
            slopes: (r, R), dL/d(distance).
        """
        return self._differentiated(self.block, anchors, references, slopes)

    def similarities(self, anchors: Tensor, references: Tensor) -> Tensor:
        """Prepared rows (r, D) and (R, D) -> :meth:`similarity` of their distances (r, R), attached to the graph.

        A class with :meth:`products` may define it as well, where similarities grow as dot products of prepared rows.
        """
        return self.similarity(self.block(anchors, references))

    def pull_similarities(self, anchors: Tensor, references: Tensor, slopes: Tensor) -> tuple[Tensor, Tensor]:
        """As :meth:`pull`, of sum(slopes * similarities)."""
        return self._differentiated(self.similarities, anchors, references, slopes)

    def products(self, distances: Tensor, slopes: Tensor) -> Tensor:
        """The same for a distance of dot products of prepared rows: dL/d(distance) -> dL/d(dot product), in place.

        With :attr:`differences`, of distances ||a - r|| that depend on lengths as well. The row engine turns these into
        gradients by two matrix products, many blocks into one tensor. A class that does not define this is
        differentiated.
        """
        raise NotImplementedError

    def pull_close(
        self, anchors: Tensor, references: Tensor, distances: Tensor, products: Tensor
    ) -> Iterator[tuple[Pairs, Tensor]]:
        """Pairs whose gradients two matrix products would lose to rounding, with p (r - a) for each, (n, D).

        They are taken out of the :meth:`products` (r, R). Only with :attr:`differences`; mostly there are none.
        """
        yield from ()

    @property
    def pulls(self) -> bool:
        """Whether slopes become gradients by a formula, which a compiler can trace."""
        return type(self).products is not Distance.products and not self.learns

    @property
    def multiplies(self) -> bool:
        """Whether the class says itself how similarities grow as dot products."""
        return type(self).similarities is not Distance.similarities

    def _differentiated(
        self, measure: Callable[[Tensor, Tensor], Tensor], anchors: Tensor, references: Tensor, slopes: Tensor
    ) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            leaves = anchors.detach().requires_grad_(), references.detach().requires_grad_()
            by_anchors, by_references = torch.autograd.grad(measure(*leaves), leaves, slopes)
        return by_anchors, by_references

    def forward(self, anchors: Tensor, references: Tensor) -> Tensor:
        """(B, D) and (R, D) -> (B, R), float32 or float64, attached to the graph."""
        if references is anchors:
            (rows,) = self.prepare(anchors)
            return self.block(rows, rows)
        return self.block(*self.prepare(anchors, references))

    def to_squared_euclidean(self, distances: Tensor) -> Tensor:
        """The squared Euclidean distance of L2-normalised embeddings at these distances (B, R), differentiable."""
        raise NotImplementedError

    def to_euclidean(self, distances: Tensor) -> Tensor:
        """The Euclidean distance of L2-normalised embeddings at these distances (B, R)."""
        return self.to_squared_euclidean(distances).clamp_min(0).sqrt()

    def similarity(self, distances: Tensor) -> Tensor:
        """The cosine similarity of L2-normalised embeddings at these distances (B, R), differentiable.

        For embeddings that are not normalised, 1 - d^2 / 2 with d the Euclidean distance.
        """
        return 1 - self.to_squared_euclidean(distances) / 2

    def slope(self, distances: Tensor) -> Tensor:
        """|d distance / d s| (B, R), s the dot product: the factor from dL/d(distance) to pair weights dL/ds.

        It puts all losses on the scale of general pair weighting (arXiv:1904.06627), whatever their distance.
        """
        slopes = self._squared_slope(distances)
        return (2 / slopes.abs()).masked_fill_(slopes == 0, 0)

    def from_similarity_(self, weights: Tensor, distances: Tensor) -> Tensor:
        """Turns dL/d(similarity), in place, into dL/d(distance) at these distances; see :meth:`similarity`."""
        return weights.mul_(self._squared_slope(distances)).mul_(-0.5)

    def _squared_slope(self, distances: Tensor) -> Tensor:
        """The derivative of :meth:`to_squared_euclidean` at each distance."""
        with torch.enable_grad():
            leaf = distances.detach().requires_grad_()
            (slopes,) = torch.autograd.grad(self.to_squared_euclidean(leaf).sum(), leaf)
        return slopes

    @property
    def space(self) -> Curved | None:
        """The space whose neighbours an evaluation looks for, if that is not Euclidean."""
        return None

    def search(self, points: Tensor) -> Tensor:
        """(N, D) -> points whose Euclidean distances rank as this distance ranks the given ones."""
        return unit_rows(precise(points)) if self.directions else points

    def blend(self, ap: Tensor, an: Tensor, pn: Tensor, share: Tensor, spherical: bool) -> Tensor:
        """The distance from a to l p + (1 - l) n, computed from distances alone; differentiable.

        In the plane of a, p and n, with d Euclidean,

            ||a - (l p + (1-l) n)||^2 = l d_ap^2 + (1-l) d_an^2 - l (1-l) d_pn^2,

        and on the unit sphere, where the mixture is normalised again, with s the cosine similarity,

            s = (l s_ap + (1-l) s_an) / sqrt(l^2 + (1-l)^2 + 2 l (1-l) s_pn).

        Args:
            ap, an, pn: distances, of one shape.
            share: l, from 0 (n itself) to 1, of the same shape or a scalar.
            spherical: whether mixtures are L2-normalised again; where lengths do not matter they are in any case.

        Raises:
            InputError: the distance has no mixtures, because it lacks :meth:`from_squared_euclidean`.
        """
        s_ap, s_an, s_pn = (self.similarity(d) for d in (ap, an, pn))
        rest = 1 - share
        mixed = share * s_ap + rest * s_an
        if spherical or self.directions:
            length = share.square() + rest.square() + 2 * share * rest * s_pn
            squared = 2 - 2 * mixed * length.clamp_min(torch.finfo(ap.dtype).eps).rsqrt()
        else:
            squared = 2 - 2 * mixed - 2 * share * rest * (1 - s_pn)
        result = self.from_squared_euclidean(squared.clamp_min(torch.finfo(ap.dtype).tiny))
        # Computing through similarities loses digits, so n itself keeps its given distance.
        return torch.where(share == 0, an, result)

    def from_squared_euclidean(self, squared: Tensor) -> Tensor:
        """This distance of L2-normalised embeddings at these squared Euclidean distances, differentiable."""
        raise InputError(f"distance={self.name} has no mixtures: choose a miner that makes none")

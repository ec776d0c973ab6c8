"""Hyperbolic distance: embeddings are tangent vectors at the origin of a space of constant negative curvature."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from metriscope.errors import InputError
from metriscope.evaluation.search.curved import LARGEST_RADIUS, Curved
from metriscope.objectives.arguments import Positive
from metriscope.objectives.distances.base import Distance, precise
from metriscope.objectives.distances.close import Pairs, in_parts, itself
from metriscope.objectives.numerics import equal
from metriscope.parts import ArgumentError

Curvature = Annotated[float, Field(gt=0, le=100)]


class Hyperbolic(Distance):
    """The distance of the Poincare ball of curvature -c, of embeddings u that are not normalised.

    An embedding longer than r is first scaled to length r (the clip). With x = tanh(sqrt(c) ||u||) u / (sqrt(c) ||u||),
    the exponential map at the origin, and y of another embedding v in the same way,

        d = 2 / sqrt(c) artanh(sqrt(c) ||(-x) (+)_c y||)
          = 2 / sqrt(c) arsinh(sqrt(c) ||x - y|| cosh(sqrt(c) ||u||) cosh(sqrt(c) ||v||)),

    Ermolov et al., arXiv:2203.10833 (``hyptorch/pmath.py`` of their code; the closed form was checked against theirs).
    So d(0, x) = 2 ||u||, and for c -> 0 it is 2 ||u - v||. Computed from P = sinh(2 sqrt(c) ||u||) / 2 u / ||u|| and
    p = cosh(2 sqrt(c) ||u||), and Q and q of the other, as arsinh(sqrt(S)) with S = (p q - 1) / 2 - 2 P.Q: one product
    of matrices in O(B R) memory. Of close pairs S is computed from P - Q. Their code adds 1e-5 in the clip and in the
    denominator of the Moebius sum, which is left out here: it agrees to 2e-5.

    The similarity is -d. There are no Euclidean distance and no mixtures of samples. At u = 0 the gradient is that of
    the identity, of coinciding embeddings it is 0, and clipped embeddings have no radial gradient. Everything is in
    float32 at least.

    >>> import torch
    >>> u = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0]], dtype=torch.float64)
    >>> [round(d, 4) for d in Hyperbolic(curvature=0.1, clip=2.3)(u, u)[0].tolist()]
    [0.0, 4.6766, 2.6]

    Args:
        curvature: c, from above 0 to 100.
        clip: r, a length; None for none but that sqrt(c) ||u|| is at most 15.

    Raises:
        InputError: sqrt(curvature) clip exceeds 15, where float32 ends.
    """

    name = "hyperbolic"
    domain = "tangent"

    def __init__(self, curvature: Curvature = 0.1, clip: Positive | None = 2.3) -> None:
        super().__init__()
        self.curvature = curvature
        self.clip = clip
        self.root = curvature**0.5

    @classmethod
    def check(cls, arguments: Mapping[str, Any]) -> None:
        """Refuse a clip beyond the range of float32."""
        clip, curvature = arguments.get("clip"), arguments.get("curvature")
        if clip is not None and curvature is not None and curvature**0.5 * clip > LARGEST_RADIUS:
            largest = LARGEST_RADIUS / curvature**0.5
            rule = f"with curvature={curvature:g} it has to be at most {largest:g}, or null"
            raise ArgumentError("clip", clip, rule)

    @property
    def radius(self) -> float:
        """The length that embeddings are scaled to where they are longer."""
        return LARGEST_RADIUS / self.root if self.clip is None else self.clip

    def prepare(self, anchors: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
        """The rows P of the formula above, (B, D) and (R, D)."""
        return self._prepared(anchors), *map(self._prepared, others)

    def _prepared(self, embeddings: Tensor) -> Tensor:
        u = precise(embeddings)
        lengths = torch.linalg.vector_norm(u, dim=1, keepdim=True)
        # The bound is a factor, so that a clipped row has the gradient of its direction alone.
        kept = u * (self.radius / lengths.clamp_min(self.radius))
        angle = (2 * self.root * lengths.clamp_max(self.radius)).clamp_min(torch.finfo(u.dtype).eps)
        rows: Tensor = kept * (self.root * angle.sinh() / angle)
        return rows

    def block(self, anchors: Tensor, references: Tensor) -> Tensor:
        if not torch.is_grad_enabled():
            return _measure(anchors, references, self.root)
        if references is anchors:
            # Compilers refuse one tensor as two inputs of a custom function.
            references = references.view_as(references)
        result: Tensor = _Hyperbolic.apply(anchors, references, self.root)
        return result

    def pull(self, anchors: Tensor, references: Tensor, distances: Tensor, slopes: Tensor) -> tuple[Tensor, Tensor]:
        return _pull(anchors, references, distances, slopes, self.root)

    def pull_similarities(self, anchors: Tensor, references: Tensor, slopes: Tensor) -> tuple[Tensor, Tensor]:
        distances = _measure(anchors, references, self.root)
        return _pull(anchors, references, distances, -slopes, self.root)

    def to_squared_euclidean(self, distances: Tensor) -> Tensor:
        raise InputError("distance=hyperbolic has no Euclidean distance and no cosine: choose parts that ask for none")

    def similarity(self, distances: Tensor) -> Tensor:
        """-d, differentiable."""
        return -distances

    def slope(self, distances: Tensor) -> Tensor:
        """1: pair weights are dL/d(-d)."""
        return torch.ones_like(distances)

    def from_similarity_(self, weights: Tensor, distances: Tensor) -> Tensor:
        return weights.neg_()

    @property
    def space(self) -> Curved:
        return Curved(self.curvature, self.clip)

    def search(self, points: Tensor) -> Tensor:
        """Not Euclidean: see :mod:`metriscope.evaluation.search.curved`.

        Raises:
            InputError: always.
        """
        raise InputError("distance=hyperbolic ranks as no Euclidean distance: search in its ``space``")


class _Sizes(NamedTuple):
    """Of rows P (n, D)."""

    p: Tensor
    """(n,) cosh(2 sqrt(c) ||u||)."""
    rise: Tensor
    """(n,) (p - 1) / 2, without cancellation near the origin."""

    @classmethod
    def of(cls, rows: Tensor) -> "_Sizes":
        lengths = torch.linalg.vector_norm(rows, dim=1)
        p = torch.hypot(2 * lengths, torch.ones_like(lengths))
        return cls(p, 2 * lengths.square() / (p + 1))


def _measure(anchors: Tensor, references: Tensor, root: float) -> Tensor:
    with torch.autocast(anchors.device.type, enabled=False), torch.no_grad():
        own = _Sizes.of(anchors)
        others = own if references is anchors else _Sizes.of(references)
        # (p q - 1) / 2 is p (q - 1) / 2 + (p - 1) / 2.
        squared = torch.outer(own.p, others.rise).addmm_(anchors, references.T, alpha=-2)
        squared.add_(own.rise.unsqueeze(1)).clamp_min_(0)
    pairs = _close(anchors, references, squared, own, others, squares=True)
    place = itself(anchors, references)
    if place is not None:
        squared.diagonal(place).zero_()
    for i, j in () if pairs is None else in_parts(pairs, anchors.shape[1]):
        squared[i, j] = _between(anchors[i], references[j], own.p[i] + others.p[j])
    return _arsinh_root(squared).mul_(2 / root)


def _arsinh_root(squared: Tensor) -> Tensor:
    """arsinh(sqrt(S)) = log(1 + t), t = sqrt(S) + S / (1 + sqrt(1 + S)), precise near 0; overwrites S.

    As log(w) t / (w - 1) with w = 1 + t rounded, which is several times as fast as asinh or log1p on a CPU.
    """
    t = (squared + 1).sqrt_().add_(1)
    t = torch.div(squared, t, out=t).add_(squared.sqrt_())
    whole = t + 1
    rounded = torch.sub(whole, 1, out=squared)
    # Where 1 + t is 1, the logarithm is t.
    none = equal(rounded, 0.0)
    result: Tensor = whole.log_().add_(none).mul_(t).div_(rounded.add_(none))
    return result


def _close(
    anchors: Tensor, references: Tensor, table: Tensor, own: _Sizes, others: _Sizes, squares: bool, root: float = 1.0
) -> Pairs | None:
    """Pairs whose S the product of matrices hides: below sqrt(eps) (p q - 1) / 2; None where there are none.

    Args:
        table: (r, R), S itself with ``squares``, else distances.
    """
    if table.device.type != "cpu" or torch.compiler.is_compiling() or table.numel() == 0:
        return None
    share = torch.finfo(table.dtype).eps ** 0.5

    def reach(size: Tensor) -> Tensor:
        within: Tensor = size * share if squares else (size * share).sqrt().asinh() * (2 / root)
        return within

    place = itself(anchors, references)
    if place is not None:
        table = table.clone()
        table.diagonal(place).fill_(torch.inf)
    limit = reach(own.p.max() * others.rise.max() + own.rise.max())
    # A minimum costs a tenth of a mask, and mostly there are none.
    if table.amin() >= limit:
        return None
    i, j = (table < limit).nonzero(as_tuple=True)
    near = table[i, j] < reach(own.p[i] * others.rise[j] + own.rise[i])
    return Pairs(i[near], j[near])


def _between(anchors: Tensor, references: Tensor, sums: Tensor) -> Tensor:
    """S (n,) of pairs of rows (n, D) from their differences; ``sums`` are p + q.

    With m = P + Q and the part h of P - Q along m, p - q = 4 h ||m|| / (p + q) and ||m||^2 = (p + q)^2 / 4 - 1 - S, so

        S = (||(P - Q) - h m/||m|| ||^2 + k) / (1 - k),   k = 4 h^2 / (p + q)^2.
    """
    apart, middle = anchors - references, anchors + references
    middle = middle / torch.linalg.vector_norm(middle, dim=1, keepdim=True).clamp_min(torch.finfo(apart.dtype).tiny)
    along = (apart * middle).sum(1, keepdim=True)
    across = (apart - along * middle).square().sum(1)
    k = (2 * along.squeeze(1) / sums).square()
    result: Tensor = (across + k) / (1 - k)
    return result


class _Hyperbolic(torch.autograd.Function):
    """The distance of prepared rows, keeping only the result for the backward pass; the gradient at 0 is 0."""

    @staticmethod
    def forward(ctx: Any, anchors: Tensor, references: Tensor, root: float) -> Tensor:
        distances = _measure(anchors, references, root)
        ctx.root = root
        ctx.save_for_backward(anchors, references, distances)
        return distances

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        anchors, references, distances = ctx.saved_tensors
        return *_pull(anchors, references, distances, grad, ctx.root), None


def _pull(anchors: Tensor, references: Tensor, distances: Tensor, slopes: Tensor, root: float) -> tuple[Tensor, Tensor]:
    """With w = dL/dS = 2 slope / (sqrt(c) sinh(sqrt(c) d)): dL/dP_i = 2 sum_j w_ij (q_j / p_i P_i - Q_j)."""
    with torch.autocast(anchors.device.type, enabled=False):
        own, others = _Sizes.of(anchors), _Sizes.of(references)
        zero = equal(distances, 0.0)
        x = distances * root
        # sinh(x) as tanh(x) cosh(x): precise near 0, and several times as fast on a CPU.
        sinh = x.exp()
        sinh.add_(sinh.reciprocal()).mul_(x.tanh_()).add_(zero)
        weights = torch.div(slopes, sinh).mul_(zero.neg_().add_(1).mul_(8 / root))
        apart = list(_pull_close(anchors, references, distances, weights, own, others, root))
        by_anchors = (anchors * ((weights @ others.p) / own.p).unsqueeze(1)).addmm_(weights, references, alpha=-1)
        by_references = (references * ((own.p @ weights) / others.p).unsqueeze(1)).addmm_(weights.T, anchors, alpha=-1)
    for (i, j), by, other in apart:
        by_anchors.index_add_(0, i, by)
        by_references.index_add_(0, j, other)
    return by_anchors, by_references


def _pull_close(
    anchors: Tensor, references: Tensor, distances: Tensor, weights: Tensor, own: _Sizes, others: _Sizes, root: float
) -> Iterator[tuple[Pairs, Tensor, Tensor]]:
    """Takes close pairs out of the weights, with their gradients from differences, in parts.

    q/p P - Q = (P - Q) + (q - p)/p P, with q - p = -4 (P - Q).(P + Q) / (p + q).
    """
    pairs = _close(anchors, references, distances, own, others, squares=False, root=root)
    for i, j in () if pairs is None else in_parts(pairs, anchors.shape[1]):
        a, r, p, q = anchors[i], references[j], own.p[i], others.p[j]
        apart = a - r
        shift = (-4 * (apart * (a + r)).sum(1) / (p + q)).unsqueeze(1)
        w = weights[i, j].unsqueeze(1)
        weights[i, j] = 0
        yield Pairs(i, j), (apart + shift / p.unsqueeze(1) * a) * w, (-apart - shift / q.unsqueeze(1) * r) * w

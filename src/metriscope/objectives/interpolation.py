"""Distances to negatives interpolated between a positive and a negative, computed from distances in the triplet."""

import torch
from torch import Tensor

from metriscope.errors import InputError
from metriscope.objectives.distances.base import Distance
from metriscope.objectives.distances.cosine import Cosine
from metriscope.objectives.distances.euclidean import Euclidean, SquaredEuclidean
from metriscope.objectives.selection import Comparison, Triplets


def interpolated(distance: Distance, ap: Tensor, an: Tensor, pn: Tensor, share: Tensor, spherical: bool) -> Tensor:
    """The distance from a to l p + (1 - l) n, computed from distances alone; differentiable.

    In the plane of a, p and n, with d Euclidean,

        ||a - (l p + (1-l) n)||^2 = l d_ap^2 + (1-l) d_an^2 - l (1-l) d_pn^2,

    and on the unit sphere, where the interpolated negative is normalised again, with s the cosine similarity,

        s = (l s_ap + (1-l) s_an) / sqrt(l^2 + (1-l)^2 + 2 l (1-l) s_pn).

    Args:
        distance: the distance in which ``ap``, ``an``, ``pn`` and the result are given.
        ap, an, pn: distances, of one shape.
        share: l, from 0 (the negative itself) to 1, of the same shape or a scalar.
        spherical: whether embeddings are L2-normalised; the cosine distance normalises them in any case.

    Raises:
        InputError: for a distance other than Euclidean, squared Euclidean and cosine.
    """
    s_ap, s_an, s_pn = (distance.similarity(d) for d in (ap, an, pn))
    rest = 1 - share
    mixed = share * s_ap + rest * s_an
    if spherical or isinstance(distance, Cosine):
        length = share.square() + rest.square() + 2 * share * rest * s_pn
        squared = 2 - 2 * mixed * length.clamp_min(torch.finfo(ap.dtype).eps).rsqrt()
    else:
        squared = 2 - 2 * mixed - 2 * share * rest * (1 - s_pn)
    squared = squared.clamp_min(torch.finfo(ap.dtype).tiny)
    if isinstance(distance, SquaredEuclidean):
        result = squared
    elif isinstance(distance, Euclidean):
        result = squared.sqrt()
    elif isinstance(distance, Cosine):
        result = squared / 2
    else:
        raise InputError(f"distance={distance.name} has no interpolated negatives: set miner.interpolation=null")
    # Computing through similarities loses digits, so negatives without interpolation keep their given distance.
    return torch.where(share == 0, an, result)


def negative_distances(selection: Triplets, comparison: Comparison) -> Tensor:
    """d(a, n) of each triplet (T,), n interpolated where the selection interpolates; attached to the graph."""
    distances = comparison.distances
    an = distances[selection.anchor, selection.negative]
    if selection.interpolation is None:
        return an
    ap = distances[selection.anchor, selection.positive]
    pn = distances[selection.positive, selection.negative]
    return interpolated(comparison.distance, ap, an, pn, selection.interpolation, selection.spherical)

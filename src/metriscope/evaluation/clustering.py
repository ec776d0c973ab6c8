"""Clustering metrics: the agreement of k-means clusters with the classes."""

import torch
from torch import Tensor

FULL_UP_TO = 10_000
"""The largest number of samples for full k-means; larger sets are clustered in mini-batches."""


def clustering_metrics(embeddings: Tensor, labels: Tensor, seed: int = 0) -> dict[str, float]:
    """Normalised and adjusted mutual information of k-means clusters with the classes.

    ``nmi`` is normalised by the arithmetic mean of the entropies; ``ami`` is corrected for chance (Vinh et al., JMLR
    2010). k-means has one cluster per class, starts once by k-means++ from ``seed``, and gives the same result on every
    process. O(N C D) time per step; above 10,000 samples mini-batch k-means.

    Args:
        embeddings: (N, D).
        labels: (N,) integers.

    Returns:
        ``nmi`` and ``ami``; both are 1 for a single class.
    """
    from sklearn.cluster import KMeans, MiniBatchKMeans
    from sklearn.metrics import adjusted_mutual_info_score, normalized_mutual_info_score

    points, truth = embeddings.float().cpu().numpy(), labels.cpu().numpy()
    classes = len(torch.unique(labels))
    if classes == 1:
        return {"nmi": 1.0, "ami": 1.0}
    if len(points) > FULL_UP_TO:
        clusterer = MiniBatchKMeans(classes, random_state=seed, n_init=1, batch_size=max(4096, 2 * classes))
    else:
        clusterer = KMeans(classes, random_state=seed, n_init=1)
    found = clusterer.fit_predict(points)
    return {
        "nmi": float(normalized_mutual_info_score(truth, found)),
        "ami": float(adjusted_mutual_info_score(truth, found)),
    }

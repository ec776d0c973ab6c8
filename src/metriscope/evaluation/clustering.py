"""Clustering: how well k-means, told only the number of classes, finds them again."""

import torch
from torch import Tensor

FULL_UP_TO = 10_000
"""Samples up to which every one takes part in every step of k-means; beyond, batches do."""


def clustering_metrics(embeddings: Tensor, labels: Tensor, seed: int = 0) -> dict[str, float]:
    """Normalised and adjusted mutual information of k-means clusters with the classes.

    ``nmi`` is normalised by the arithmetic mean of the entropies; ``ami`` is corrected for chance (Vinh et al., JMLR
    2010). k-means has as many clusters as there are classes, starts once by k-means++ from ``seed``, and gives the
    same on every process. O(N C D) time per step; above 10,000 samples mini-batch k-means.

    Args:
        embeddings: (N, D).
        labels: (N,) integers.

    Returns:
        ``nmi`` and ``ami``; of a single class 1, as nothing could be mixed up.
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

"""Classification on a frozen embedding, fitted on train and scored on test: closed-set data only."""

import warnings

import torch
from torch import Tensor

from metriscope.errors import InputError
from metriscope.evaluation.search.curved import Curved
from metriscope.evaluation.search.neighbors import nearest


def knn_accuracy(
    train_z: Tensor,
    train_labels: Tensor,
    test_z: Tensor,
    test_labels: Tensor,
    k: int,
    memory_mb: float = 256,
    space: Curved | None = None,
) -> float:
    """Share of test samples whose class wins the vote of their k nearest training samples.

    Among classes with the same number of votes the class with the nearest member wins.

    Args:
        train_z, test_z: embeddings (N, D) and (M, D).
        train_labels, test_labels: (N,) and (M,) integers of one label space.
        k: number of voters, cut to N where N is smaller.
        memory_mb: working memory of the search in MiB.
        space: where embeddings lie, if that is not Euclidean.

    Raises:
        InputError: k below 1, an empty set, or sets that share no class.
        RunError: embeddings that are not finite.
    """
    _check_closed_set(train_labels, test_labels)
    if k < 1:
        raise InputError(f"k={k}: it has to be at least 1")
    voters = train_labels[nearest(test_z, train_z, k, memory_mb=memory_mb, space=space)]
    votes = torch.zeros_like(voters)
    for column in voters.T:  # k columns of (M,): no (M, k, k) comparison
        votes += voters == column[:, None]
    width = voters.shape[1]
    # Votes count first, then nearness, so no two positions of different classes have the same standing.
    standing = votes * width - torch.arange(width, device=votes.device)
    winner = voters.gather(1, standing.argmax(1, keepdim=True)).squeeze(1)
    return float((winner == test_labels).double().mean())


def linear_probe_accuracy(
    train_z: Tensor,
    train_labels: Tensor,
    test_z: Tensor,
    test_labels: Tensor,
    *,
    inverse_penalty: float = 1.0,
    max_iterations: int = 200,
) -> float:
    """Test accuracy of a multinomial logistic regression (L-BFGS, L2 penalty) on standardised embeddings.

    Mean and standard deviation come from train. The fit starts from zero and uses no random numbers, so it is
    deterministic; it stops at ``max_iterations`` whether or not it has converged, which bounds its time.

    Args:
        train_z, test_z: embeddings (N, D) and (M, D).
        train_labels, test_labels: (N,) and (M,) integers of one label space.
        inverse_penalty: scikit-learn's ``C``.
        max_iterations: bound on the L-BFGS iterations.

    Raises:
        InputError: an empty set, or sets that share no class.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    _check_closed_set(train_labels, test_labels)
    if bool((train_labels == train_labels[0]).all()):  # a single class: every sample is predicted to have it
        return float((test_labels == train_labels[0]).double().mean())
    deviation, mean = torch.std_mean(train_z.double(), dim=0, correction=0)
    scale = deviation.where(deviation > 0, 1)
    train, test = (((z.double() - mean) / scale).float().cpu().numpy() for z in (train_z, test_z))
    probe = LogisticRegression(C=inverse_penalty, solver="lbfgs", max_iter=max_iterations, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        probe.fit(train, train_labels.cpu().numpy())
    return float(probe.score(test, test_labels.cpu().numpy()))


def _check_closed_set(train_labels: Tensor, test_labels: Tensor) -> None:
    if not torch.isin(test_labels, train_labels).any():
        raise InputError(
            f"no test sample ({len(test_labels)}) has a class of the training samples ({len(train_labels)}): "
            "k-NN and linear probe need closed-set data; evaluation.classification=false leaves them out"
        )

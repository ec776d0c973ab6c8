"""Every metric that ships: key, title, section, which end is better, definition. Imports no torch."""

import math

from metriscope.evaluation.metric import Metric

_ALL = ("train", "val", "test")
_LOSS = ("train", "val")
_POSITIVE = (0.0, math.inf)

METRICS = (
    Metric(
        "recall_at_{k}", "Recall@{k}", "retrieval", "max",
        "share of queries with a hit among the k nearest; leave-one-out, or queries in a gallery where the data "
        "set has them; ties go to the earlier sample",
        headline=True, unit="share",
    ),
    Metric(
        "map_at_r", "MAP@R", "retrieval", "max",
        "mean over queries of (1/R) sum_{i<=R} P(i) rel(i), arXiv:2003.08505", headline=True, unit="share",
    ),
    Metric(
        "r_precision", "R-precision", "retrieval", "max",
        "mean share of hits among the R nearest, R being the others of the query's class", headline=True, unit="share",
    ),
    Metric(
        "precision_at_{k}", "Precision@{k}", "retrieval", "max",
        "mean share of hits among the k nearest", headline=True, unit="share",
    ),
    Metric(
        "map_at_{k}", "MAP@{k}", "retrieval", "max",
        "mean over queries of (1/min(R, k)) sum_{i<=k} P(i) rel(i); with `evaluation.metrics.map_at=true`",
        headline=True, unit="share",
    ),
    Metric(
        "mean_average_precision", "MAP", "retrieval", "max",
        "mean over queries of (1/R) sum_i P(i) rel(i) over the whole ranking; with "
        "`evaluation.metrics.mean_average_precision=true`",
        headline=True, unit="share",
    ),
    Metric(
        "cmc_at_{k}", "CMC@{k}", "retrieval", "max",
        "mean over queries of the share of matches that are among the k nearest where each is the only match in the "
        "gallery: the cumulative matching characteristic; with `evaluation.metrics.cmc=true`",
        headline=True, unit="share",
    ),
    Metric("mrr", "MRR", "retrieval", "max", "mean of 1 / rank of the first hit", headline=True, unit="share"),
    Metric(
        "queries_skipped", "queries skipped", "retrieval", None,
        "number of queries with nothing of their class to find", headline=True, unit="count",
    ),
    *(
        Metric(
            f"{key}_{first}_to_{second}", f"{title}, side {first} to {second}", "retrieval", "max",
            f"`{key}` of queries of side {first} among all samples of side {second}, the own partner included; of data "
            "of two modalities, with `evaluation.metrics.across_sides=true`",
            headline=True, unit="share",
        )
        for key, title in (("mean_average_precision", "MAP"), ("mrr", "MRR"), ("recall_at_{k}", "Recall@{k}"))
        for first, second in ((0, 1), (1, 0))
    ),
    Metric(
        "modality_gap", "modality gap", "modalities", None,
        "distance between the means of both modalities, of embeddings of unit length, arXiv:2203.02053: from 0 to 2; "
        "with `evaluation.metrics.modality_gap=true`",
        headline=True, bounds=(0.0, 2.0),
    ),
    *(
        Metric(
            f"variance_{kind}_{of}", f"{kind}-class variance, {title}", "modalities", None,
            f"{what}{about}; of data of two modalities, with `evaluation.metrics.side_variance=true`",
            headline=True, bounds=_POSITIVE,
        )
        for kind, what, other in (
            ("intra", "mean over classes of the mean squared distance to the class mean", "class mean"),
            ("inter", "mean squared distance of class means to the mean of class means", "mean of class means"),
        )
        for of, title, about in (
            ("0", "side 0", " on side 0"),
            ("1", "side 1", " on side 1"),
            ("across", "across sides", f" of the other side, mean of both sides: how far one is from the {other} of "
             "the other"),
        )
    ),
    Metric(
        "knn_accuracy", "k-NN accuracy", "classification", "max",
        "vote of the nearest training samples, scored on test; closed set only", ("test",), True,
        "share",
    ),
    Metric(
        "linear_probe_accuracy", "linear-probe accuracy", "classification", "max",
        "logistic regression on the embedding, fitted on train, scored on test; closed set only", ("test",), True,
        "share",
    ),
    Metric(
        "nmi", "NMI", "clustering", "max",
        "normalised mutual information of k-means clusters with the classes, with `evaluation.metrics.clustering=true`",
        ("test",), True, "share",
    ),
    Metric(
        "ami", "AMI", "clustering", "max",
        "mutual information of k-means clusters with the classes, adjusted for chance", ("test",), True, "share",
    ),
    Metric(
        "pair_auc", "AUC of pairs", "pairs", "max",
        "area under the ROC curve of all positive pairs against all negative pairs, one threshold for all, ties as "
        "half; with `evaluation.metrics.pair_auc=true`",
        headline=True, unit="share",
    ),
    Metric(
        "tar_at_far_1e_{k}", "TAR at FAR 1e-{k}", "pairs", "max",
        "true accept rate of verification: share of positive pairs above the threshold at which a share of 10^-k of "
        "the negative pairs is accepted; with `evaluation.metrics.tar_at_far=true`",
        headline=True, unit="share",
    ),
    Metric(
        "eer", "EER", "pairs", "min",
        "equal error rate: the share of negative pairs that are accepted where the same share of positive pairs is "
        "rejected, linear between two thresholds; with `evaluation.metrics.eer=true`",
        headline=True, unit="share",
    ),
    Metric(
        "d_prime", "d'", "pairs", "max",
        "difference of the mean cosines of positive and of negative pairs, over the root of the mean of their "
        "variances; with `evaluation.metrics.d_prime=true`",
        headline=True,
    ),
    Metric(
        "best_threshold", "best threshold", "pairs", None,
        "the cosine threshold of `pair_accuracy`; with `evaluation.metrics.best_threshold=true`",
        headline=True, bounds=(-1.0, 1.0),
    ),
    Metric(
        "pair_accuracy", "accuracy of pairs", "pairs", "max",
        "(TAR + 1 - FAR) / 2 at the threshold where it is largest, chosen on the same pairs; with "
        "`evaluation.metrics.best_threshold=true`",
        headline=True, unit="share",
    ),
    Metric(
        "threshold_inconsistency", "threshold inconsistency", "pairs", "min",
        "variance over classes c of U_c(d) = 2 a b / (a + b), a = 1 - FAR_c(d), b = 1 - FRR_c(d), mean over 64 "
        "thresholds d between those of two FARs, after arXiv:2307.04047, whose text was not read; with "
        "`evaluation.metrics.threshold_inconsistency=true`",
        headline=True, unit="share",
    ),
    Metric(
        "pair_auc_hard", "AUC of hard pairs", "pairs", "max",
        "`pair_auc` with the k most similar negatives of each sample alone, arXiv:2510.00137; with "
        "`evaluation.metrics.pair_auc_hard=true`",
        headline=True, unit="share",
    ),
    Metric(
        "alignment", "alignment", "pairs", None,
        "mean squared distance of two samples of a class, arXiv:2005.10242; 0 where classes, or all samples, have "
        "collapsed; with `evaluation.metrics.alignment=true`",
        headline=True,
    ),
    Metric(
        "tolerance", "tolerance", "pairs", None,
        "mean cosine similarity of two samples of a class, arXiv:2012.09740; with `evaluation.metrics.tolerance=true`",
        headline=True,
    ),
    Metric(
        "icnn_score", "ICNN score", "pairs", "max",
        "inter- and intra-class nearest neighbour score of arXiv:2305.09062: how near neighbours of the own class are "
        "beside others, and how many there are; with `evaluation.metrics.icnn_score=true`",
        headline=True, unit="share",
    ),
    Metric(
        "uniformity", "uniformity", "coverage", None,
        "log of the mean over pairs of samples of exp(-2 d^2), arXiv:2005.10242: lower where they cover the sphere "
        "more evenly, 0 at one point; with `evaluation.metrics.uniformity=true`",
        headline=True,
    ),
    Metric(
        "hubness_at_{k}", "hubness@{k}", "coverage", "min",
        "skewness over the gallery of how many queries have an item among their k nearest, after Radovanovic et al. "
        "2010: 0 where no few items take the places of the others; with `evaluation.metrics.hubness=true`",
        headline=True,
    ),
    Metric(
        "antihubs_at_{k}", "anti-hubs@{k}", "coverage", "min",
        "share of the gallery that is among the k nearest of no query; with `evaluation.metrics.hubness=true`",
        headline=True, unit="share",
    ),
    Metric(
        "utilization", "utilization", "coverage", None,
        "mean squared distance of test samples to the nearest training sample, arXiv:2106.04990. Further training "
        "points can only lower it, so models are compared over the same ones; with "
        "`evaluation.metrics.utilization=true`",
        ("test",), True,
    ),
    Metric(
        "ood_auroc_mahalanobis", "AUROC of unseen classes (Mahalanobis)", "coverage", "max",
        "share of pairs (sample of a training class, sample of an unseen one) in which the latter is farther from the "
        "nearest training class, by a covariance that classes share (shrunk as by Ledoit and Wolf); ties as half. "
        "Unseen are the test classes, or `evaluation.distractors` in a closed set; with `evaluation.metrics.ood=true`",
        ("test",), True, "share",
    ),
    Metric(
        "ood_auroc_nearest", "AUROC of unseen classes (nearest)", "coverage", "max",
        "the same by the distance to the nearest training sample; with `evaluation.metrics.ood=true`",
        ("test",), True, "share",
    ),
    Metric(
        "variance_intra", "intra-class variance", "variance", None,
        "mean over classes of the mean squared distance to the class mean", headline=True, bounds=_POSITIVE,
    ),
    Metric(
        "variance_inter", "inter-class variance", "variance", None,
        "mean squared distance of class means to the mean of class means", headline=True, bounds=_POSITIVE,
    ),
    Metric(
        "variance_ratio", "variance ratio intra / inter", "variance", None,
        "`variance_intra` / `variance_inter`", headline=True, bounds=_POSITIVE,
    ),
    Metric(
        "variance_inter_pairwise", "inter-class variance, pairwise", "variance", None,
        "mean squared distance between two class means", bounds=_POSITIVE,
    ),
    Metric(
        "variance_inter_spread", "spread of inter-class distances", "variance", None,
        "standard deviation of the squared distances between two class means, over their mean: 0 where classes are "
        "evenly spaced", bounds=_POSITIVE,
    ),
    Metric(
        "variance_within", "variance within classes", "variance", None,
        "mean squared distance of samples to their class mean; total = within + between", bounds=_POSITIVE,
    ),
    Metric(
        "variance_between", "variance between classes", "variance", None,
        "mean over samples of the squared distance of their class mean to the mean of all", bounds=_POSITIVE,
    ),
    Metric(
        "variance_total", "total variance", "variance", None, "mean squared distance of samples to their mean",
        bounds=_POSITIVE,
    ),
    Metric(
        "cosine_intra", "intra-class cosine distance", "variance", None,
        "mean over classes of the mean cosine distance of two samples, arXiv:2002.08473", bounds=_POSITIVE,
    ),
    Metric(
        "cosine_inter", "inter-class cosine distance", "variance", None,
        "mean cosine distance of two class means, arXiv:2002.08473", bounds=_POSITIVE,
    ),
    Metric(
        "pi_ratio", "cosine ratio intra / inter", "variance", None, "`cosine_intra` / `cosine_inter`",
        bounds=_POSITIVE,
    ),
    Metric(
        "spectral_decay", "spectral decay", "variance", None,
        "KL divergence between the uniform distribution and the normalised singular values, arXiv:2002.08473",
        bounds=_POSITIVE,
    ),
    Metric(
        "participation_ratio", "participation ratio", "variance", None,
        "(sum e)^2 / sum e^2 of the eigenvalues e of the covariance: how many directions carry the variance, 1 to D",
        bounds=_POSITIVE,
    ),
    Metric(
        "active_ratio", "active ratio", "greediness", None,
        "share of terms (pairs, triplets) with a non-zero loss, among all that the labels allow", _LOSS, True,
        "share",
    ),
    Metric(
        "active_ratio_{k}", "active ratio, part {k}", "greediness", None,
        "active ratio of part k of `loss=sum`", _LOSS, unit="share",
    ),
    Metric(
        "active_ratio_positive", "active ratio, positives", "greediness", None,
        "active ratio of positive pairs", _LOSS, unit="share",
    ),
    Metric(
        "active_ratio_negative", "active ratio, negatives", "greediness", None,
        "active ratio of negative pairs", _LOSS, unit="share",
    ),
    Metric(
        "active_ratio_pairs", "active ratio (pairs)", "greediness", None,
        "share of pairs whose weight |dL/ds| exceeds `diagnostics.greediness.pair_weight_threshold` of the "
        "batch's largest: one scale for every loss; of batches above 4 million pairs, in logged steps",
        _LOSS, True, "share",
    ),
    Metric(
        "active_ratio_pairs_{k}", "active ratio (pairs), part {k}", "greediness", None,
        "active ratio of pairs of part k of `loss=sum`, where parts differ in distance, space or references", _LOSS,
        unit="share",
    ),
    Metric(
        "negative_spread", "spread of negatives", "greediness", None,
        "mean over anchors of exp(entropy of the weights |dL/ds| of their negatives) / number of negatives: 1 where "
        "all push alike, 1 / number where one pushes alone; with `diagnostics.greediness.negative_spread=true`",
        _LOSS, True, "share",
    ),
    Metric(
        "negative_spread_{k}", "spread of negatives, part {k}", "greediness", None,
        "spread of negatives of part k of `loss=sum`, where parts differ in distance, space or references", _LOSS,
        unit="share",
    ),
    Metric(
        "batch_hardness", "batch hardness", "greediness", None,
        "mean cosine similarity of the class means of a batch, less that of all classes as last seen: 0 for random "
        "classes; with `diagnostics.greediness.batch_hardness=true`",
        ("train",), True,
    ),
    Metric(
        "prototype_entropy", "entropy of prototypes", "greediness", None,
        "mean over classes of the entropy of its samples' most similar vectors of the class, over its maximum: 1 where "
        "samples of an epoch divide evenly among them; with `diagnostics.greediness.prototype_usage=true`",
        ("train",), True, "share",
    ),
    Metric(
        "prototypes_dead", "dead prototypes", "greediness", None,
        "share of the vectors of a class that were the most similar one to no sample of it in an epoch; with "
        "`diagnostics.greediness.prototype_usage=true`",
        ("train",), True, "share",
    ),
    Metric(
        "grad_norm", "gradient norm", "greediness", None,
        "L2 norm of the gradients of all parameters, unscaled, before clipping", ("train",), True, bounds=_POSITIVE,
    ),
    Metric(
        "grad_norm_trunk", "gradient norm, trunk", "greediness", None,
        "L2 norm of the gradients of the trunk", ("train",), True, bounds=_POSITIVE,
    ),
    Metric(
        "grad_norm_head", "gradient norm, head", "greediness", None,
        "L2 norm of the gradients of the head", ("train",), True, bounds=_POSITIVE,
    ),
    Metric(
        "grad_norm_loss", "gradient norm, loss", "greediness", None,
        "L2 norm of the gradients of the loss's own parameters", ("train",), bounds=_POSITIVE,
    ),
    Metric(
        "grad_norm_embedding", "gradient norm per sample", "greediness", None,
        "mean of ||dL/dz|| over samples", _LOSS, True, bounds=_POSITIVE,
    ),
    Metric(
        "grad_norm_embedding_active", "gradient norm per active sample", "greediness", None,
        "mean of ||dL/dz|| over samples in an active term", _LOSS, True, bounds=_POSITIVE,
    ),
    Metric("loss", "loss", "loss", "min", "value of the loss, mean over steps", _LOSS, True),
    Metric(
        "loss_mean", "mean loss", "loss", "min",
        "mean over all valid terms, where the loss is reduced in another way", _LOSS,
    ),
    Metric("loss_{k}", "loss, part {k}", "loss", "min", "value of part k of `loss=sum`, without its weight", _LOSS),
    Metric("loss_contrast", "loss, contrast", "loss", "min", "softmax term of `loss=center_contrastive`", _LOSS),
    Metric("loss_center", "loss, centre", "loss", "min", "centre term of `loss=center_contrastive`", _LOSS),
    Metric("loss_likelihood", "loss, likelihood", "loss", "min", "term of samples in `loss=palm`", _LOSS),
    Metric("loss_prototypes", "loss, prototypes", "loss", "min", "term of prototypes in `loss=palm`", _LOSS),
    Metric("attraction", "attraction", "loss", "min", "pull on positives in `loss=cacr`", _LOSS),
    Metric("repulsion", "repulsion", "loss", "min", "push on negatives in `loss=cacr`, below 0", _LOSS),
    Metric(
        "batch_mass", "share of batch pairs", "loss", None,
        "share of the denominator that pairs of samples have in `loss=unpg`", _LOSS, bounds=(0.0, 1.0),
    ),
    Metric("loss_invariance", "loss, invariance", "loss", "min", "invariance term of `loss=vicreg`", _LOSS),
    Metric("loss_variance", "loss, variance", "loss", "min", "variance term of `loss=vicreg`", _LOSS),
    Metric("loss_covariance", "loss, covariance", "loss", "min", "covariance term of `loss=vicreg`", _LOSS),
    Metric("sigmoid_scale", "scale of the sigmoid", "loss", None, "learned scale of `loss=sigmoid`", _LOSS),
    Metric("sigmoid_bias", "bias of the sigmoid", "loss", None, "learned bias of `loss=sigmoid`", _LOSS),
    Metric(
        "temperature", "temperature", "loss", None,
        "learned temperature of a softmax; in `loss=isogclr` the mean of the anchors' own", _LOSS, bounds=_POSITIVE,
    ),
    Metric(
        "estimate_lag", "lag of the moving average", "loss", None,
        "mean over anchors of |log u - log of the batch's own mean| in `loss=sogclr` and `loss=isogclr`", _LOSS,
        bounds=_POSITIVE,
    ),
    Metric(
        "negative_divergence", "divergence of negatives' weights", "loss", None,
        "mean over anchors of KL(weights of negatives || uniform) in `loss=sogclr` and `loss=isogclr`", _LOSS,
        bounds=_POSITIVE,
    ),
    Metric(
        "gate_mean", "mean gate", "loss", None,
        "mean over anchors and features of the gates of `loss=simlap`", _LOSS, unit="share",
    ),
    Metric(
        "gate_entropy", "entropy of gates", "loss", None,
        "mean entropy of the gates of `loss=simlap` in bits: 1 where they are half open, 0 where open or closed", _LOSS,
        unit="share",
    ),
    Metric("regularizer", "regulariser", "loss", "min", "spread of a class's centres in `loss=soft_triple`", _LOSS),
    Metric("zero_mean", "zero-mean term", "loss", "min", "regularising term of `loss=signal_to_noise`", _LOSS),
    Metric(
        "loss_mixed", "loss of mixtures", "loss", "min",
        "loss of the mixtures of `mixture=metrix`, without its weight", ("train",),
    ),
    Metric("beta", "mean beta", "loss", None, "mean boundary between positives and negatives in `loss=margin`", _LOSS),
    Metric(
        "weight_mean", "mean weight", "loss", None, "mean weight of the anchors of a batch, with `weighting=dbpm`",
        ("train",), bounds=_POSITIVE,
    ),
    Metric(
        "bad_easy_share", "share too easy", "loss", None,
        "share of training samples whose mean loss is far below that of others, with `weighting=dbpm`", ("train",),
        unit="share",
    ),
    Metric(
        "bad_hard_share", "share too hard", "loss", None,
        "share of training samples whose mean loss is far above that of others, with `weighting=dbpm`", ("train",),
        unit="share",
    ),
    Metric(
        "suspects", "suspected labels", "loss", None,
        "number of training samples that are too hard over the whole run, with `weighting=dbpm`; see `suspects.csv`",
        ("train",), True, "count",
    ),
    Metric(
        "suspects_precision", "suspects, precision", "loss", "max",
        "share of the suspected labels that are wrong, with `dataset.label_noise`", ("train",), True, "share",
    ),
    Metric(
        "suspects_recall", "suspects, recall", "loss", "max",
        "share of the wrong labels that are suspected, with `dataset.label_noise`", ("train",), True, "share",
    ),
    Metric(
        "loss_decay_rate", "drop of the loss per epoch", "loss", None,
        "(L of the epoch before - L) / L of the epoch before, of the mean over all terms", _LOSS, True,
    ),
    Metric(
        "loss_decay_fit", "decay rate (fit)", "loss", None,
        "rate of an exponential fit to the loss over the run, per epoch", ("train",), True,
    ),
    Metric(
        "loss_half_life", "half-life (epochs)", "loss", None,
        "half-life of an exponential fit to the loss over the run, in epochs", ("train",), True,
    ),
    Metric(
        "noisy_labels", "wrong training labels", "loss", None,
        "training labels that `dataset.label_noise` made wrong", ("train",),
    ),
    Metric(
        "gradient_per_active_term", "gradient per active term", "course", None,
        "mean over epochs of the gradient norm that an active term has on average", ("course",), bounds=_POSITIVE,
    ),
    Metric(
        "early_loss_decay", "early drop of the loss", "course", None,
        "relative drop of the mean loss from the first epoch to the end of the first third", ("course",),
    ),
    Metric(
        "late_gradient", "late gradient", "course", None,
        "gradient norm in the last third of the epochs over that in the first third", ("course",), bounds=_POSITIVE,
    ),
    Metric(
        "early_compaction", "early compaction", "course", None,
        "relative drop of `variance_intra` from the first epoch to the end of the first third", ("course",),
    ),
)  # fmt: skip

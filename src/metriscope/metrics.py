"""What an embedding space is measured by: metrics and functions by name.

>>> import torch
>>> from metriscope.metrics import retrieval_metrics
>>> z = torch.tensor([[0.0], [0.1], [1.0], [0.25]])
>>> retrieval_metrics(z, torch.tensor([0, 0, 1, 1]), recall_at=[1])["recall_at_1"]
0.75
"""

from metriscope.config.names import lazily

_MODULES = {
    "RetrievalMetrics": "metriscope.evaluation.retrieval",
    "retrieval_metrics": "metriscope.evaluation.retrieval",
    "knn_accuracy": "metriscope.evaluation.classification",
    "linear_probe_accuracy": "metriscope.evaluation.classification",
    "clustering_metrics": "metriscope.evaluation.clustering",
    "per_class": "metriscope.evaluation.per_class",
    "Metric": "metriscope.evaluation.metric",
    "SetMetric": "metriscope.evaluation.set_metric",
    "RecallAt": "metriscope.evaluation.shipped",
    "PrecisionAt": "metriscope.evaluation.shipped",
    "MRR": "metriscope.evaluation.shipped",
    "RPrecision": "metriscope.evaluation.shipped",
    "MAPAtR": "metriscope.evaluation.shipped",
    "MAPAt": "metriscope.evaluation.shipped",
    "MeanAveragePrecision": "metriscope.evaluation.shipped",
    "CMC": "metriscope.evaluation.shipped",
    "QueriesSkipped": "metriscope.evaluation.shipped",
    "KNNAccuracy": "metriscope.evaluation.shipped",
    "LinearProbeAccuracy": "metriscope.evaluation.shipped",
    "Clustering": "metriscope.evaluation.shipped",
    "PairAUC": "metriscope.evaluation.shipped",
    "TARAtFAR": "metriscope.evaluation.shipped",
    "EER": "metriscope.evaluation.shipped",
    "DPrime": "metriscope.evaluation.shipped",
    "BestThreshold": "metriscope.evaluation.shipped",
    "ThresholdInconsistency": "metriscope.evaluation.shipped",
    "PairAUCHard": "metriscope.evaluation.shipped",
    "Alignment": "metriscope.evaluation.shipped",
    "Tolerance": "metriscope.evaluation.shipped",
    "Uniformity": "metriscope.evaluation.shipped",
    "ICNNScore": "metriscope.evaluation.shipped",
    "Hubness": "metriscope.evaluation.shipped",
    "Utilization": "metriscope.evaluation.shipped",
    "OOD": "metriscope.evaluation.shipped",
    "k_occurrences": "metriscope.evaluation.hubness",
    "hubness": "metriscope.evaluation.hubness",
    "icnn_score": "metriscope.evaluation.neighbourhood",
    "alignment": "metriscope.evaluation.pairs",
    "tolerance": "metriscope.evaluation.pairs",
    "pair_auc": "metriscope.evaluation.pairs",
    "pair_auc_hard": "metriscope.evaluation.pairs",
    "PairCurve": "metriscope.evaluation.verification.curve",
    "Verification": "metriscope.evaluation.verification.of_set",
    "uniformity": "metriscope.evaluation.coverage",
    "utilization": "metriscope.evaluation.coverage",
    "auroc": "metriscope.evaluation.unseen",
    "unseen_auroc": "metriscope.evaluation.unseen",
    "nearest": "metriscope.evaluation.search.neighbors",
    "VarianceMetrics": "metriscope.diagnostics.variance",
    "spectral_decay": "metriscope.diagnostics.spectrum",
    "covariance": "metriscope.diagnostics.spectrum",
    "participation_ratio": "metriscope.diagnostics.spectrum",
    "weighting_profile": "metriscope.diagnostics.spectrum",
    "decay_rate": "metriscope.diagnostics.decay",
    "exponential_fit": "metriscope.diagnostics.decay",
}
__getattr__, __dir__ = lazily(__name__, _MODULES)
__all__ = sorted(_MODULES)

"""The metrics of evaluated sets that ship, as a config names them. Imports no torch until they compute.

What there is to know about their figures stands in :mod:`metriscope.evaluation.metrics`.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from metriscope.evaluation.measures import SKIPPED, Measures
from metriscope.evaluation.metric import Metric
from metriscope.evaluation.metrics import registered
from metriscope.evaluation.set_metric import SetMetric
from metriscope.parts import ArgumentError

if TYPE_CHECKING:
    from metriscope.evaluation.embedded import EvaluatedSet

Depths = Annotated[Sequence[Annotated[int, Field(ge=1)]], Field(min_length=1)]
Rate = Annotated[float, Field(gt=0, lt=1)]


def _exponent(far: float) -> int:
    return round(-math.log10(far))


class RecallAt(SetMetric):
    """Recall@K for each K of ``k``."""

    figures = registered("recall_at_{k}")

    def __init__(self, k: Depths = (1, 2, 4, 8)) -> None:
        self.k = tuple(dict.fromkeys(k))

    def measures(self) -> Measures:
        return SKIPPED._replace(recall_at=self.k)

    def __call__(self, embedded: "EvaluatedSet") -> dict[str, float]:
        from metriscope.evaluation.retrieval import recall_at

        return {f"recall_at_{k}": recall_at(embedded.ranked(), k) for k in self.k}


class PrecisionAt(SetMetric):
    """Precision@K for each K of ``k``."""

    figures = registered("precision_at_{k}")

    def __init__(self, k: Depths = (1,)) -> None:
        self.k = tuple(dict.fromkeys(k))

    def measures(self) -> Measures:
        return SKIPPED._replace(precision_at=self.k)

    def __call__(self, embedded: "EvaluatedSet") -> dict[str, float]:
        from metriscope.evaluation.retrieval import precision_at

        return {f"precision_at_{k}": precision_at(embedded.ranked(), k) for k in self.k}


class MRR(SetMetric):
    """Queries without a hit among the neighbours that other metrics need take one more pass over the gallery."""

    figures = registered("mrr")

    def measures(self) -> Measures:
        return SKIPPED._replace(mrr=True)

    def __call__(self, embedded: "EvaluatedSet") -> dict[str, float]:
        from metriscope.evaluation.retrieval import reciprocal_rank

        return {"mrr": reciprocal_rank(embedded.ranked())}


class RPrecision(SetMetric):
    """Looks at R neighbours of a query, R being the others of its class."""

    figures = registered("r_precision")

    def measures(self) -> Measures:
        return SKIPPED._replace(map_at_r=True)

    def __call__(self, embedded: "EvaluatedSet") -> dict[str, float]:
        from metriscope.evaluation.retrieval import mean

        return {"r_precision": mean(embedded.ranked(), embedded.ranked().r_precision)}


class MAPAtR(SetMetric):
    """Looks at R neighbours of a query, R being the others of its class."""

    figures = registered("map_at_r")

    def measures(self) -> Measures:
        return SKIPPED._replace(map_at_r=True)

    def __call__(self, embedded: "EvaluatedSet") -> dict[str, float]:
        from metriscope.evaluation.retrieval import mean

        return {"map_at_r": mean(embedded.ranked(), embedded.ranked().average_precision)}


class MAPAt(SetMetric):
    """MAP@K for each K of ``k``."""

    figures = registered("map_at_{k}")

    def __init__(self, k: Depths = (10,)) -> None:
        self.k = tuple(dict.fromkeys(k))

    def measures(self) -> Measures:
        return SKIPPED._replace(map_at=self.k)

    def __call__(self, embedded: "EvaluatedSet") -> dict[str, float]:
        from metriscope.evaluation.retrieval import map_at

        return {f"map_at_{k}": map_at(embedded.ranked(), k) for k in self.k}


class MeanAveragePrecision(SetMetric):
    """Over whole rankings; O(log N) per pair of a query and an item of the gallery, beside their distance."""

    figures = registered("mean_average_precision")

    def measures(self) -> Measures:
        return SKIPPED._replace(mean_average_precision=True)

    def __call__(self, embedded: "EvaluatedSet") -> dict[str, float]:
        from metriscope.evaluation.retrieval import mean

        return {"mean_average_precision": mean(embedded.ranked(), embedded.ranked().whole_average_precision)}


class CMC(SetMetric):
    """CMC@K for each K of ``k``; looks at R + K - 1 neighbours of a query."""

    figures = registered("cmc_at_{k}")

    def __init__(self, k: Depths = (1, 5, 10, 20)) -> None:
        self.k = tuple(dict.fromkeys(k))

    def measures(self) -> Measures:
        return SKIPPED._replace(cmc_at=self.k)

    def __call__(self, embedded: "EvaluatedSet") -> dict[str, float]:
        from metriscope.evaluation.retrieval import cmc_at

        return {f"cmc_at_{k}": cmc_at(embedded.ranked(), k) for k in self.k}


class QueriesSkipped(SetMetric):
    """Counts what the means of the other retrieval metrics leave out."""

    figures = registered("queries_skipped")

    def measures(self) -> Measures:
        return SKIPPED

    def __call__(self, embedded: "EvaluatedSet") -> dict[str, float]:
        from metriscope.evaluation.retrieval import skipped

        return {"queries_skipped": skipped(embedded.ranked())}


_DIRECTIONS = ((0, "0_to_1"), (1, "1_to_0"))


class AcrossSides(SetMetric):
    """Retrieval in each direction of two modalities: queries of one side among all samples of the other.

    A match is a sample of the query's class, its own partner included. MAP is over whole rankings, as audio-visual
    retrieval reports it; Recall@K for each K of ``k``. Other metrics of retrieval are means of both directions.
    """

    of_sides = True
    figures = registered(
        *(f"{name}_{way}" for name in ("mean_average_precision", "mrr", "recall_at_{k}") for _, way in _DIRECTIONS)
    )

    def __init__(self, k: Depths = (1, 5, 10)) -> None:
        self.k = tuple(dict.fromkeys(k))

    def measures(self) -> Measures:
        return SKIPPED._replace(recall_at=self.k, mrr=True, mean_average_precision=True)

    def __call__(self, embedded: "EvaluatedSet") -> dict[str, float]:
        from metriscope.evaluation.retrieval import mean, recall_at, reciprocal_rank
        from metriscope.evaluation.scores import of_queries

        found, side = {}, embedded.sides()
        for own, way in _DIRECTIONS:
            scores = of_queries(embedded.ranked(), side == own)
            found[f"mean_average_precision_{way}"] = mean(scores, scores.whole_average_precision)
            found[f"mrr_{way}"] = reciprocal_rank(scores)
            found |= {f"recall_at_{k}_{way}": recall_at(scores, k) for k in self.k}
        return found


class ModalityGap(SetMetric):
    """O(N D) time."""

    of_sides = True
    figures = registered("modality_gap")

    def __call__(self, embedded: "EvaluatedSet") -> dict[str, float]:
        from metriscope.evaluation.modalities import modality_gap

        return {"modality_gap": modality_gap(embedded.embeddings, embedded.sides())}


class VarianceOfSides(SetMetric):
    """O(N D) time."""

    of_sides = True
    figures = registered(*(f"variance_{kind}_{of}" for kind in ("intra", "inter") for of in ("0", "1", "across")))

    def __call__(self, embedded: "EvaluatedSet") -> dict[str, float]:
        from metriscope.evaluation.modalities import side_variance

        found = side_variance(embedded.embeddings, embedded.labels, embedded.sides())
        intra, inter = (*found.intra, found.intra_across), (*found.inter, found.inter_across)
        return dict(zip((one.key for one in self.figures), (*intra, *inter), strict=True))


class KNNAccuracy(SetMetric):
    """Vote of the ``k`` nearest training samples."""

    figures = registered("knn_accuracy")
    references = True

    def __init__(self, k: Annotated[int, Field(ge=1)] = 10) -> None:
        self.k = k

    def __call__(self, embedded: "EvaluatedSet") -> dict[str, float]:
        from metriscope.evaluation.classification import knn_accuracy

        return {"knn_accuracy": knn_accuracy(*embedded.known(), embedded.embeddings, embedded.labels, self.k)}


class LinearProbeAccuracy(SetMetric):
    """Logistic regression on the embedding; arguments as of ``linear_probe_accuracy``."""

    figures = registered("linear_probe_accuracy")
    references = True

    def __init__(
        self,
        inverse_penalty: Annotated[float, Field(gt=0)] = 1.0,
        max_iterations: Annotated[int, Field(ge=1)] = 200,
    ) -> None:
        self.inverse_penalty, self.max_iterations = inverse_penalty, max_iterations

    def __call__(self, embedded: "EvaluatedSet") -> dict[str, float]:
        from metriscope.evaluation.classification import linear_probe_accuracy

        value = linear_probe_accuracy(
            *embedded.known(),
            embedded.embeddings,
            embedded.labels,
            inverse_penalty=self.inverse_penalty,
            max_iterations=self.max_iterations,
        )
        return {"linear_probe_accuracy": value}


class Clustering(SetMetric):
    """NMI and AMI of k-means with as many clusters as classes, one start from ``seed``."""

    figures = registered("nmi", "ami")

    def __init__(self, seed: Annotated[int, Field(ge=0, lt=2**32)] = 0) -> None:
        self.seed = seed

    def __call__(self, embedded: "EvaluatedSet") -> dict[str, float]:
        from metriscope.evaluation.clustering import clustering_metrics

        return clustering_metrics(embedded.embeddings, embedded.labels, self.seed)


class PairAUC(SetMetric):
    """O(N^2 D) time, once for this and the other metrics of verification."""

    figures = registered("pair_auc")

    def __call__(self, embedded: "EvaluatedSet") -> dict[str, float]:
        return {"pair_auc": embedded.verified().curve.auc}


class TARAtFAR(SetMetric):
    """TAR at each FAR of ``far``, powers of ten."""

    figures = registered("tar_at_far_1e_{k}")

    def __init__(self, far: Annotated[Sequence[Rate], Field(min_length=1)] = (1e-2, 1e-3, 1e-4)) -> None:
        self.exponents = {_exponent(one): one for one in far}

    @classmethod
    def check(cls, arguments: Mapping[str, Any]) -> None:
        for far in arguments["far"]:
            if not math.isclose(far, 10.0 ** -_exponent(far)):
                rule = "each has to be a power of ten, such as 1e-2 or 1e-6: the keys that are logged name the exponent"
                raise ArgumentError("far", arguments["far"], rule)

    @classmethod
    def logged(cls, key: str, arguments: Mapping[str, Any]) -> tuple[Metric, ...]:
        return tuple(cls.figures[0].members(_exponent(far) for far in arguments["far"]))

    def __call__(self, embedded: "EvaluatedSet") -> dict[str, float]:
        pairs = embedded.verified()
        return {f"tar_at_far_1e_{k}": pairs.tar_at(far) for k, far in self.exponents.items()}


class EER(SetMetric):
    """O(N^2 D) time, once for this and the other metrics of verification."""

    figures = registered("eer")

    def __call__(self, embedded: "EvaluatedSet") -> dict[str, float]:
        return {"eer": embedded.verified().curve.eer}


class DPrime(SetMetric):
    """O(N^2 D) time, once for this and the other metrics of verification."""

    figures = registered("d_prime")

    def __call__(self, embedded: "EvaluatedSet") -> dict[str, float]:
        return {"d_prime": embedded.verified().curve.d_prime}


class BestThreshold(SetMetric):
    """O(N^2 D) time, once for this and the other metrics of verification."""

    figures = registered("best_threshold", "pair_accuracy")

    def __call__(self, embedded: "EvaluatedSet") -> dict[str, float]:
        best = embedded.verified().curve.best
        return {"best_threshold": best.threshold, "pair_accuracy": best.accuracy}


class ThresholdInconsistency(SetMetric):
    """Over thresholds between those of the two FARs of ``far``; one more pass of O(N^2 D) time."""

    figures = registered("threshold_inconsistency")

    def __init__(self, far: Annotated[Sequence[Rate], Field(min_length=2, max_length=2)] = (1e-4, 1e-1)) -> None:
        self.far = (far[0], far[1])

    def __call__(self, embedded: "EvaluatedSet") -> dict[str, float]:
        return {"threshold_inconsistency": embedded.verified().inconsistency(self.far)}


class PairAUCHard(SetMetric):
    """Of the negatives of a sample the ``k`` most similar; O(N^2 D) time."""

    figures = registered("pair_auc_hard")

    def __init__(self, k: Annotated[int, Field(ge=1)] = 500) -> None:
        self.k = k

    def __call__(self, embedded: "EvaluatedSet") -> dict[str, float]:
        from metriscope.evaluation.pairs import pair_auc_hard

        return {"pair_auc_hard": pair_auc_hard(embedded.embeddings, embedded.labels, self.k)}


class Alignment(SetMetric):
    """O(N D) time."""

    figures = registered("alignment")

    def __call__(self, embedded: "EvaluatedSet") -> dict[str, float]:
        from metriscope.evaluation.pairs import alignment

        return {"alignment": alignment(embedded.embeddings, embedded.labels)}


class Tolerance(SetMetric):
    """O(N D) time."""

    figures = registered("tolerance")

    def __call__(self, embedded: "EvaluatedSet") -> dict[str, float]:
        from metriscope.evaluation.pairs import tolerance

        return {"tolerance": tolerance(embedded.embeddings, embedded.labels)}


class Uniformity(SetMetric):
    """exp(-``t`` d^2) of all pairs; O(N^2 D) time."""

    figures = registered("uniformity")

    def __init__(self, t: Annotated[float, Field(gt=0)] = 2.0) -> None:
        self.t = t

    def __call__(self, embedded: "EvaluatedSet") -> dict[str, float]:
        from metriscope.evaluation.coverage import uniformity

        return {"uniformity": uniformity(embedded.embeddings, self.t)}


class ICNNScore(SetMetric):
    """Of the ``k`` nearest neighbours; O(N^2 D) time."""

    figures = registered("icnn_score")

    def __init__(self, k: Annotated[int, Field(ge=1)] = 4) -> None:
        self.k = k

    def __call__(self, embedded: "EvaluatedSet") -> dict[str, float]:
        from metriscope.evaluation.neighbourhood import icnn_score

        return {"icnn_score": icnn_score(embedded.embeddings, embedded.labels, self.k)}


class Hubness(SetMetric):
    """Of the ``k`` nearest neighbours, in a search of its own within ``memory_mb`` MiB."""

    figures = registered("hubness_at_{k}", "antihubs_at_{k}")

    def __init__(self, k: Annotated[int, Field(ge=1)] = 10, memory_mb: Annotated[float, Field(ge=1)] = 256) -> None:
        self.k, self.memory_mb = k, memory_mb

    def __call__(self, embedded: "EvaluatedSet") -> dict[str, float]:
        from metriscope.evaluation.hubness import hubness, k_occurrences

        further = {"queries": embedded.queries, "distractors": embedded.distractors, "side": embedded.side}
        found = hubness(k_occurrences(embedded.embeddings, self.k, memory_mb=self.memory_mb, **further))
        return {f"hubness_at_{self.k}": found.skewness, f"antihubs_at_{self.k}": found.antihubs}


class Utilization(SetMetric):
    """Of N samples and M of the training set, whatever their classes; O(N M D) time."""

    figures = registered("utilization")
    references = True
    classifies = False

    def __call__(self, embedded: "EvaluatedSet") -> dict[str, float]:
        from metriscope.evaluation.coverage import utilization

        return {"utilization": utilization(embedded.embeddings, embedded.known().embeddings)}


class OOD(SetMetric):
    """Unseen classes are those of the test set, or of distractors where training has the classes of the test set.

    With ``dataset.protocol=class_disjoint`` samples of seen classes are every fifth training image of a class, held out
    of what distances are taken to, though not of the training of the network: it knows them, so the figure is higher
    than for new images of these classes, and compares models. With ``closed_set`` they are the test set, which no
    training saw, and unseen ones the images of ``evaluation.distractors``. O(N M D) time, as of a search for
    neighbours of N samples among M of the training set, and O((N + M) D^2 + N C D) for distances to C classes.
    """

    figures = registered("ood_auroc_mahalanobis", "ood_auroc_nearest")
    references = True
    classifies = False
    unseen = True

    def __call__(self, embedded: "EvaluatedSet") -> dict[str, float]:
        from metriscope.evaluation.unseen import held_out, unseen_auroc

        known, z = embedded.known(), embedded.embeddings
        if embedded.seen:
            outside = z[:0] if embedded.distractors is None else embedded.distractors.to(z)
            found = unseen_auroc(known.embeddings, known.labels, z, outside)
        else:
            inside = held_out(known.labels)
            found = unseen_auroc(known.embeddings[~inside], known.labels[~inside], known.embeddings[inside], z)
        return dict(zip(("ood_auroc_mahalanobis", "ood_auroc_nearest"), found, strict=True))


SHIPPED: dict[str, type[SetMetric]] = {
    "recall_at": RecallAt,
    "precision_at": PrecisionAt,
    "mrr": MRR,
    "r_precision": RPrecision,
    "map_at_r": MAPAtR,
    "map_at": MAPAt,
    "mean_average_precision": MeanAveragePrecision,
    "cmc": CMC,
    "queries_skipped": QueriesSkipped,
    "across_sides": AcrossSides,
    "modality_gap": ModalityGap,
    "side_variance": VarianceOfSides,
    "knn_accuracy": KNNAccuracy,
    "linear_probe_accuracy": LinearProbeAccuracy,
    "clustering": Clustering,
    "pair_auc": PairAUC,
    "tar_at_far": TARAtFAR,
    "eer": EER,
    "d_prime": DPrime,
    "best_threshold": BestThreshold,
    "threshold_inconsistency": ThresholdInconsistency,
    "pair_auc_hard": PairAUCHard,
    "alignment": Alignment,
    "tolerance": Tolerance,
    "uniformity": Uniformity,
    "icnn_score": ICNNScore,
    "hubness": Hubness,
    "utilization": Utilization,
    "ood": OOD,
}
"""Every metric of an evaluated set that ships, by its key below ``evaluation.metrics``."""

"""The experiments of ``metriscope reproduce``, by name. Imports no torch."""

from metriscope.reports.experiments.base import Data, Experiment
from metriscope.reports.experiments.contrastive_vs_triplet import CONTRASTIVE_VS_TRIPLET
from metriscope.reports.experiments.cross_modal_triplets import CROSS_MODAL_TRIPLETS
from metriscope.reports.experiments.hard_batches import HARD_BATCHES
from metriscope.reports.experiments.hyperbolic import HYPERBOLIC
from metriscope.reports.experiments.label_noise import LABEL_NOISE
from metriscope.reports.experiments.mixtures import MIXTURES
from metriscope.reports.experiments.projection_head import PROJECTION_HEAD
from metriscope.reports.experiments.prototypes import PROTOTYPES
from metriscope.reports.experiments.small_batches import SMALL_BATCHES
from metriscope.reports.experiments.temperature import TEMPERATURE
from metriscope.reports.experiments.variance_greediness import VARIANCE_GREEDINESS

EXPERIMENTS = {
    "contrastive_vs_triplet": CONTRASTIVE_VS_TRIPLET,
    "variance_greediness": VARIANCE_GREEDINESS,
    "temperature": TEMPERATURE,
    "label_noise": LABEL_NOISE,
    "small_batches": SMALL_BATCHES,
    "mixtures": MIXTURES,
    "hard_batches": HARD_BATCHES,
    "prototypes": PROTOTYPES,
    "projection_head": PROJECTION_HEAD,
    "hyperbolic": HYPERBOLIC,
    "cross_modal_triplets": CROSS_MODAL_TRIPLETS,
}

__all__ = ["EXPERIMENTS", "Data", "Experiment"]

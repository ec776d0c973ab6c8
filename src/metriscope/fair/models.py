"""The models that a repeat of a winner trains: one on all training classes, or one without each fold. Imports no torch.

Fold models are those of [MLRC] arXiv:2003.08505, here for the winner's steps, without selection on the held-out fold.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from metriscope.config.evaluates import CONCATENATED, EVALUATES
from metriscope.fair.spaces import Search, trial_words
from metriscope.fair.words import FOLDS, Asked
from metriscope.run.ledger import Row

OF_REPEATS = ("++evaluation.metrics.pair_auc=true", "++evaluation.per_query=true")
"""What a reader of the report wants of repeats, beside what every run writes."""
_NEVER = 10**6
"""Epochs between validations where there shall be none."""


def model_words(asked: Asked, search: Search, row: Row) -> list[tuple[str, ...]]:
    """The overrides of each model of a repeat, its seed aside.

    Args:
        asked: the comparison.
        search: of the entry.
        row: the winner, whose parameters and steps the models have.
    """
    own = (*trial_words(search, row.params), f"++trainer.max_steps={row.steps}", *OF_REPEATS)
    if asked.models != FOLDS:
        return [(*own, "dataset.validation=0")]
    kept = (f"++evaluation.every_n_epochs={_NEVER}", "++evaluation.save_embeddings=true")
    share = 1 / asked.folds
    return [
        (*own, f"++dataset.fold={fold}", f"++dataset.validation={share!r}", *kept) for fold in range(asked.folds)
    ]  # fmt: skip


def concatenated_config(configs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The config of the evaluation that scores the fold models of a repeat as one embedding.

    Args:
        configs: of the models; they differ in the fold alone.
    """
    return {EVALUATES: CONCATENATED, **configs[0]}

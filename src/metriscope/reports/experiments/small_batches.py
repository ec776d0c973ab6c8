"""SogCLR against InfoNCE in small batches. Imports no torch."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from metriscope.evaluation.metrics import logged
from metriscope.reports.claims import Claim, Statement
from metriscope.reports.experiments.base import FASHION, Experiment
from metriscope.reports.sides import change, least, most

_SOURCE = "arXiv:2202.12387"
_BATCHES = (16, 64, 256)


def _group(loss: str, batch: int) -> Mapping[str, Any]:
    return {"sampler.batch_size": batch, "loss.name": loss}


def _loses_less(text: str, metric: str) -> Statement:
    small, large = min(_BATCHES), max(_BATCHES)
    kept, lost = (change(_group(loss, small), _group(loss, large)) for loss in ("sogclr", "infonce"))
    return Statement(text, metric, kept, lost)


def _better_at_16(text: str, metric: str) -> Statement:
    return Statement(text, metric, least(_group("sogclr", 16)), most(_group("infonce", 16)))


SMALL_BATCHES = Experiment(
    title="SogCLR against InfoNCE in small batches",
    source=_SOURCE,
    config="small_batches",
    sweeps=({"sampler.batch_size": tuple(map(str, _BATCHES)), "loss": ("infonce", "sogclr")},),
    baseline={"loss.name": "infonce"},
    data=(
        replace(
            FASHION,
            laptop=(
                "dataset.train_share=0.1",
                "dataset.validation=0.02",
                "trainer.max_epochs=8",
                "trainer.limit_train_batches=null",
            ),
        ),
    ),
    tables={"retrieval": logged("test", "recall_at_1", "map_at_r", "r_precision")},
    claims=(
        Claim(
            1,
            _SOURCE,
            "SogCLR loses less than InfoNCE from batches of 256 to batches of 16.",
            (
                _loses_less("SogCLR loses less MAP@R", "test/map_at_r"),
                _loses_less("SogCLR loses less Recall@1", "test/recall_at_1"),
            ),
        ),
        Claim(
            2,
            _SOURCE,
            "In batches of 16 SogCLR retrieves better than InfoNCE.",
            (
                _better_at_16("SogCLR has the higher MAP@R", "test/map_at_r"),
                _better_at_16("SogCLR has the higher Recall@1", "test/recall_at_1"),
            ),
        ),
    ),
    along="sampler.batch_size",
    about="Every batch size sees the same samples for the same number of epochs, so small batches make more steps. "
    "Both losses have the same temperature and the same learning rate.",
)

"""Training samples whose loss was far from that of others, which may have wrong labels: a report for each sample."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from metriscope.data.splits import Splits
from metriscope.escapes import for_csv
from metriscope.files import replacing
from metriscope.objectives.objective import Objective
from metriscope.objectives.objectives import Objectives
from metriscope.objectives.weightings.dbpm import DynamicBadPairWeighting, Judgement

_WORDS = {0: "", 1: "too hard", -1: "too easy"}


class Suspect(NamedTuple):
    """What the training says of one sample."""

    position: int
    """In the train part."""
    path: str | None
    class_name: str
    """Of the label that it was trained with."""
    true_class: str | None
    """None where the data record no label noise."""
    mean_loss: float
    deviations: float
    """Of the mean loss from the mean over all samples, in standard deviations."""
    suspect: str
    """``too hard``, ``too easy``, or nothing."""


def judgement_of(objective: Objective | Objectives) -> Judgement | None:
    """What the losses of the training say of each sample; None if no weighting has kept them.

    In a sum of objectives it is the first that has.
    """
    every = [objective] if isinstance(objective, Objective) else list(objective)
    parts = (one.weighting for one in every)
    found = next((part.judged() for part in parts if isinstance(part, DynamicBadPairWeighting)), None)
    return None if found is None else Judgement(*(column.cpu() for column in found))


def suspects(found: Judgement, splits: Splits) -> Iterator[Suspect]:
    """The training samples that have had a loss, the hardest first."""
    labels, true = splits.labels_to_train_on.tolist(), splits.train.labels.tolist()
    names, classes = splits.file_names("train"), splits.train.classes
    means, deviations = found.means.tolist(), ((found.means - found.mean) / found.deviation).tolist()
    kind, seen = found.kind.tolist(), found.seen.tolist()
    for place in found.means.argsort(descending=True, stable=True).tolist():
        if seen[place]:
            yield Suspect(
                position=place,
                path=None if names is None else names[place],
                class_name=classes[labels[place]],
                true_class=None if splits.noise is None else classes[true[place]],
                mean_loss=means[place],
                deviations=deviations[place],
                suspect=_WORDS[kind[place]],
            )


def write_suspects(path: Path, found: Judgement, splits: Splits) -> None:
    """Writes a CSV file with a line per training sample that has had a loss, the hardest first."""
    header: Sequence[str] = ["class" if name == "class_name" else name for name in Suspect._fields]
    with replacing(path) as draft, draft.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(map(for_csv, one) for one in suspects(found, splits))


def suspects_measures(found: Judgement, splits: Splits) -> dict[str, float]:
    """The number of samples that are too hard; with a record of label noise, how well they are the wrong labels.

    Precision is left out where no sample is too hard, recall where no label is wrong.
    """
    hard = found.kind == 1
    measures = {"suspects": float(hard.sum())}
    if splits.noise is None:
        return measures
    noisy = splits.noise.noisy
    right = float((hard & noisy).sum())
    shares = {"suspects_precision": int(hard.sum()), "suspects_recall": splits.noise.count}
    return measures | {name: right / number for name, number in shares.items() if number}

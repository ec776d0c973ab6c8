"""What a projection head does to the trunk before it, over heads, losses and settings. Imports no torch."""

from collections.abc import Mapping, Sequence
from typing import Any

from metriscope.evaluation.metrics import logged
from metriscope.reports.claims import Claim, Statement
from metriscope.reports.experiments.base import Data, Experiment
from metriscope.reports.sides import gain, least, mean

_SOURCE = "arXiv:2403.11391"
_HEADS = ("identity", "linear", "mlp", "reweight")
_LOSSES = {"supcon": "SupCon", "triplet": "triplet", "contrastive": "contrastive", "cross_entropy": "cross-entropy"}
_SIMILAR = 0.02
# Settings, each with its data sets: the classes of training, their subclasses, others.
_SAME, _FINER, _OTHER = ("digits", "synthetic"), ("synthetic_coarse",), ("digits_unseen", "synthetic_unseen")
_PROJECTIONS = {"linear": "linear head", "mlp": "MLP head"}

_Group = Mapping[str, Any]


def _group(head: str, loss: str) -> _Group:
    return {"head.name": head, "loss.name": loss}


def _groups(head: str) -> list[_Group]:
    return [_group(head, loss) for loss in _LOSSES]


def _broader(head: str, name: str) -> tuple[Statement, ...]:
    """Participation for each loss; spectral decay, which is lower where more directions carry the weight, over all."""
    ratio, decay = "test/participation_ratio", "test/spectral_decay"
    each = tuple(
        Statement(
            f"{title}, {name}: participation ratio of the trunk above that of the embedding",
            f"{ratio}_trunk",
            least(_group(head, loss)),
            least(_group(head, loss)),
            beside=ratio,
        )
        for loss, title in _LOSSES.items()
    )
    cells = mean(*_groups(head))
    said = f"mean over losses, {name}: spectral decay of the embedding above that of the trunk"
    return (*each, Statement(said, decay, cells, cells, beside=f"{decay}_trunk"))


def _retrieves(head: str, name: str, data: Sequence[str], trunk: bool) -> Statement:
    """The Recall@1 of one space above that of the other."""
    spaces = {"embedding": "test/recall_at_1", "trunk": "test/recall_at_1_trunk"}
    higher, lower = ("trunk", "embedding") if trunk else ("embedding", "trunk")
    cells = mean(*_groups(head))
    said = f"mean over losses, {name}: Recall@1 of the {higher} above that of the {lower}"
    return Statement(said, spaces[higher], cells, cells, beside=spaces[lower], data=data)


def _at_most_below(one: str, other: str, data: Sequence[str]) -> Statement:
    return Statement(
        f"mean over losses: Recall@1 of the trunk before {one} less than {_SIMILAR} below that before {other}",
        "test/recall_at_1_trunk",
        gain(_groups(one), _groups(other)),
        -_SIMILAR,
        data=data,
    )


_SHORT = ("trainer.max_epochs=20",)
# A trunk of 128 features there as well.
_SYNTHETIC = ("backbone.widths=[256,128]", "dataset.classes=40", "dataset.superclasses=8", "dataset.per_class=100")


def _data(choice: str, title: str, name: str, *words: str) -> Data:
    own = () if name == choice else (f"dataset.name={name}",)
    return Data(title, {choice: []}, _SHORT, (*(_SYNTHETIC if choice == "synthetic" else ()), *own, *words))


PROJECTION_HEAD = Experiment(
    title="What a projection head does to the trunk",
    source=_SOURCE,
    config="projection_head",
    sweeps=({"head": _HEADS, "loss": tuple(_LOSSES)},),
    baseline={"head.name": "identity"},
    data=(
        _data("digits", "digits", "digits"),
        _data("digits", "digits, unseen classes", "digits_unseen", "dataset.protocol=class_disjoint"),
        _data("synthetic", "synthetic", "synthetic"),
        _data("synthetic", "synthetic, coarse to fine", "synthetic_coarse", "dataset.train_labels=coarse"),
        _data("synthetic", "synthetic, unseen classes", "synthetic_unseen", "dataset.protocol=class_disjoint"),
    ),
    tables={
        "retrieval": logged("test", "recall_at_1", "recall_at_1_trunk", "map_at_r", "map_at_r_trunk"),
        "spectrum": logged(
            "test", "participation_ratio", "participation_ratio_trunk", "spectral_decay", "spectral_decay_trunk"
        ),
        "variance": logged("test", "variance_intra", "variance_intra_trunk", "variance_inter", "variance_inter_trunk"),
        "classification": logged("test", "linear_probe_accuracy", "linear_probe_accuracy_trunk"),
    },
    claims=(
        Claim(
            1,
            _SOURCE,
            "More directions carry the variance of the trunk than of the embedding behind a projection head.",
            tuple(statement for head, name in _PROJECTIONS.items() for statement in _broader(head, name)),
        ),
        Claim(
            2,
            _SOURCE,
            "On the classes of training the embedding retrieves at least as well as the trunk; on their subclasses, "
            "and on other classes, the trunk retrieves better.",
            tuple(
                _retrieves(head, name, data, trunk=data is not _SAME)
                for data in (_SAME, _FINER, _OTHER)
                for head, name in _PROJECTIONS.items()
            ),
        ),
        Claim(
            3,
            _SOURCE,
            "A fixed head that weights features anew comes to a similar trunk as an MLP head.",
            tuple(
                _at_most_below(one, other, data)
                for data in (_SAME, _FINER, _OTHER)
                for one, other in (("reweight", "mlp"), ("mlp", "reweight"))
            ),
        ),
    ),
    about="All heads stand on the same trunk of 128 features and give an embedding of 128 numbers, so that both spaces "
    "have as many directions; both are scaled to unit length before they are measured. `head=reweight` divides "
    "feature i by exp(8 i / 128). Digits are images of 8 x 8 pixels with a small CNN, synthetic data 40 Gaussian "
    "classes in 8 superclasses with an MLP. `_unseen` tests on other classes than those of training (synthetic: "
    "on other superclasses), `_coarse` trains on superclasses and tests on their classes. Seeds change initial "
    "values and batches; the data are the same. Nothing is tuned, and the epoch is chosen by MAP@R of the "
    "embedding on validation, by the labels of the test. Differences of claim 3 are those of the trunks plus "
    "0.02, so that it holds where neither trunk is 0.02 below the other. The profile of both spaces of each run "
    "is in its `spectrum.csv`.",
)

"""Every loss and every miner of pytorch-metric-learning works, with a memory or without, or is refused in one line."""

import inspect
from fnmatch import fnmatchcase

import pytest
import torch
from tiny_runs import COMPOSER

from metriscope.build.run import objective_of
from metriscope.config.plain import plain
from metriscope.config.rules import check
from metriscope.errors import InputError
from metriscope.objectives.distances.euclidean import Euclidean
from metriscope.objectives.miners.bands import AllMiner, BandMiner
from metriscope.objectives.miners.batch_hard import BatchHardMiner
from metriscope.objectives.objective import Objective
from metriscope.objectives.objectives import Objectives
from metriscope.objectives.peer import PeerLoss, PeerMiner
from metriscope.objectives.references.memory import CrossBatchMemory
from metriscope.objectives.samples import Samples, Spaces

losses = pytest.importorskip("pytorch_metric_learning.losses")
miners = pytest.importorskip("pytorch_metric_learning.miners")

BASE = "it is a base of other classes"
VIEWS = "it compares two views of each image"
REFUSED_LOSSES = {
    "BaseLossWrapper": BASE,
    "BaseMetricLossFunction": BASE,
    "EmbeddingRegularizerMixin": BASE,
    "GenericPairLoss": BASE,
    "WeightRegularizerMixin": BASE,
    "CrossBatchMemory": "it wraps another loss; use memory=xbm",
    "MultipleLosses": "it wraps other losses; use loss=sum",
    "SelfSupervisedLoss": VIEWS,
    "VICRegLoss": VIEWS,
    "ManifoldLoss": "it takes no labels",
    "SmoothAPLoss": "use loss=smooth_ap",
}
REFUSED_MINERS = {
    "BaseMiner": BASE,
    "EmbeddingsAlreadyPackagedAsTriplets": "it takes only batches that are packed as triplets",
}
NO_REFERENCES = "it takes no references beside the batch"
ITSELF = "it would compare each sample with itself as well"
WITHOUT_MEMORY = {
    "ArcFaceLoss": NO_REFERENCES,
    "CosFaceLoss": NO_REFERENCES,
    "FastAPLoss": NO_REFERENCES,
    "HistogramLoss": NO_REFERENCES,
    "InstanceLoss": NO_REFERENCES,
    "LargeMarginSoftmaxLoss": NO_REFERENCES,
    "NCALoss": ITSELF,
    "NPairsLoss": NO_REFERENCES,
    "NormalizedSoftmaxLoss": NO_REFERENCES,
    "P2SGradLoss": NO_REFERENCES,
    "PNPLoss": NO_REFERENCES,
    "ProxyAnchorLoss": NO_REFERENCES,
    "ProxyNCALoss": NO_REFERENCES,
    "RankedListLoss": NO_REFERENCES,
    "SoftTripleLoss": NO_REFERENCES,
    "SphereFaceLoss": NO_REFERENCES,
    "SubCenterArcFaceLoss": NO_REFERENCES,
    # It looks for references among the anchors.
    "ThresholdConsistentMarginLoss": NO_REFERENCES,
    # Of its default, easy positives.
    "BatchEasyHardMiner": "it would choose each sample itself as its positive",
}
WITHOUT_MINER = {"InstanceLoss", "P2SGradLoss", "PNPLoss", "RankedListLoss"}
NEEDED = {"RankedListLoss": {"margin": 0.4, "Tn": 1}}
PAIRS = {"BatchEasyHardMiner", "HDCMiner", "MultiSimilarityMiner", "PairMarginMiner", "UniformHistogramMiner"}
C, D = 5, 8


def classes(module):
    return sorted(name for name, value in vars(module).items() if inspect.isclass(value))


LOSSES = [name for name in classes(losses) if name not in REFUSED_LOSSES]
MINERS = [name for name in classes(miners) if name not in REFUSED_MINERS]


def batches(*counts):
    """Batches with so many samples of each class, in no order."""
    source = torch.Generator().manual_seed(0)
    for _ in range(3):
        labels = torch.arange(C).repeat_interleave(torch.tensor(counts))
        labels = labels[torch.randperm(len(labels), generator=source)]
        noise = torch.randn(len(labels), D, generator=source)
        yield torch.nn.functional.normalize(torch.eye(D)[labels] + noise, dim=1).requires_grad_(), labels


def refused(*words):
    """What the checks before data are loaded say of a config; empty where they let it pass."""
    try:
        check(COMPOSER(words))
    except InputError as error:
        line = str(error)
    else:
        line = ""
    assert "\n" not in line
    return line


def words(kind, name, *further):
    needed = ", ".join(f"{key}: {value}" for key, value in NEEDED.get(name, {}).items())
    return [f"{kind}=pml", f"{kind}.name={name}", *([f"{kind}.arguments={{{needed}}}"] if needed else []), *further]


def memory(size=40):
    return CrossBatchMemory(size, D)


def train(miner, loss, stored=None):
    """Values of a few steps, the gradient of each of which is finite."""
    objective = Objective(Euclidean(), miner, loss, [] if stored is None else [stored])
    values = []
    for embeddings, labels in batches(5, 4, 3, 2, 1):
        value = objective(Spaces.of(embeddings, labels)).output.value
        gradients = torch.autograd.grad(value, [embeddings, *objective.parameters()], allow_unused=True)
        assert value.shape == ()
        assert value.isfinite()
        assert gradients[0].isfinite().all()
        assert gradients[0].any(), "it learns"
        assert all(gradient is None or gradient.isfinite().all() for gradient in gradients)
        values.append(value.item())
    return values


@pytest.mark.parametrize(
    ("kind", "name", "reason"),
    [("loss", *pair) for pair in REFUSED_LOSSES.items()] + [("miner", *pair) for pair in REFUSED_MINERS.items()],
)
def test_what_no_config_can_use_is_refused_with_the_reason(kind, name, reason):
    line = refused(*words(kind, name))
    assert line.startswith(f"{kind}.name={name}: ")
    assert reason in line


@pytest.mark.parametrize("name", LOSSES)
def test_losses_train(name):
    assert not refused(*words("loss", name))
    loss = PeerLoss(name, C, D, NEEDED.get(name))
    train(AllMiner(), loss)
    assert ("pairs" in loss.accepts) == (name not in WITHOUT_MINER)
    line = refused(*words("loss", name, "miner=batch_hard"))
    assert bool(line) == (name in WITHOUT_MINER)
    if not line:
        train(BatchHardMiner(), loss)


@pytest.mark.parametrize("name", LOSSES)
def test_losses_train_against_a_memory_or_are_refused(name):
    line = refused(*words("loss", name, "memory=xbm"))
    if name in WITHOUT_MEMORY:
        assert line == f"memory=xbm does not go with {name}: {WITHOUT_MEMORY[name]}"
        with pytest.raises(InputError, match="memory"):
            train(AllMiner(), PeerLoss(name, C, D, NEEDED.get(name)), memory())
        return
    assert not line
    for miner in (AllMiner(), BatchHardMiner(), PeerMiner("MultiSimilarityMiner")):
        values = train(miner, PeerLoss(name, C, D), memory())
        assert values[0] == pytest.approx(train(miner, PeerLoss(name, C, D))[0]), "the memory was empty"


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("labels", [[0], [0, 0, 0], [0, 1, 2]], ids=["one sample", "one class", "no positives"])
def test_odd_batches_are_a_number(name, labels):
    embeddings, _ = next(batches(3, 3, 3, 3, 3))
    loss = PeerLoss(name, C, D, NEEDED.get(name))
    value = Objective(Euclidean(), AllMiner(), loss)(Spaces.of(embeddings[: len(labels)], torch.tensor(labels)))
    gradient = torch.autograd.grad(value.output.value, embeddings)[0]
    assert value.output.value.isfinite()
    assert gradient.isfinite().all()


@pytest.mark.parametrize("name", MINERS)
def test_miners_select_what_the_labels_allow(name):
    assert not refused(*words("miner", name))
    miner = PeerMiner(name)
    assert miner.kind == ("pairs" if name in PAIRS else "triplets")
    assert refused(*words("miner", name, "loss=fastap")).startswith(f"loss=fastap cannot take miner={name}")
    train(miner, PeerLoss("MultiSimilarityLoss", C, D))
    line = refused(*words("miner", name, "memory=xbm"))
    if name in WITHOUT_MEMORY:
        assert line == f"memory=xbm does not go with {name}: {WITHOUT_MEMORY[name]}"
        return
    assert not line
    objective = Objective(Euclidean(), miner, PeerLoss("MultiSimilarityLoss", C, D), [memory()])
    beyond = False
    for embeddings, labels in batches(5, 4, 3, 2, 1):
        comparison = objective.compare(Samples.of(embeddings, labels))
        selection = miner(comparison)
        if miner.kind == "pairs":
            positives, negatives = selection.positive.nonzero().T, selection.negative.nonzero().T
        else:
            positives = torch.stack([selection.anchor, selection.positive])
            negatives = torch.stack([selection.anchor, selection.negative])
        assert comparison.positive[tuple(positives)].all()
        assert comparison.negative[tuple(negatives)].all()
        beyond = beyond or bool((positives[1] >= len(labels)).any() and (negatives[1] >= len(labels)).any())
        objective(Spaces.of(embeddings, labels))
    assert beyond, "the memory is selected from"


@pytest.mark.parametrize("name", ["TripletMarginLoss", "ContrastiveLoss", "MultiSimilarityLoss", "AngularLoss"])
@pytest.mark.parametrize("miner", [None, "BatchHardMiner", "MultiSimilarityMiner"])
def test_a_memory_has_the_values_of_the_peers_own(name, miner):
    theirs = losses.CrossBatchMemory(getattr(losses, name)(), D, 40, getattr(miners, miner)() if miner else None)
    wanted = [theirs(embeddings, labels).item() for embeddings, labels in batches(5, 4, 3, 2, 1)]
    # Theirs puts the batch into the memory before, so that it holds one batch less of the past.
    found = train(PeerMiner(miner) if miner else AllMiner(), PeerLoss(name, C, D), memory(25))
    assert found == pytest.approx(wanted, rel=1e-4)


def test_a_band_is_refused():
    assert "cannot take miner=semihard (it selects band)" in refused("loss=pml", "miner=semihard")
    with pytest.raises(InputError, match="band"):
        train(BandMiner(0.0, 0.2), PeerLoss("TripletMarginLoss", C, D))


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (
            ["loss=pml", "loss.name=TripletMarginLos"],
            "loss.name=TripletMarginLos: *; did you mean 'TripletMarginLoss'?",
        ),
        (
            ["loss=pml", "loss.arguments={margn: 2}"],
            "loss.arguments.margn=2: * no such argument; did you mean 'margin'?",
        ),
        (["loss=pml", "loss.arguments.margin=2"], "loss.arguments.margin: add it with a plus*"),
        (["loss=pml", "loss.arguments={margin: wide}"], "loss.arguments={'margin': 'wide'}: TripletMarginLoss *"),
        (["loss=pml", "loss.name=RankedListLoss"], "loss.arguments=null: RankedListLoss needs margin, Tn"),
        (
            ["loss=pml", "loss.name=HistogramLoss", "loss.arguments={n_bins: 3, delta: 1}"],
            "loss.arguments=*: HistogramLoss says: delta and n_bins must*",
        ),
        (
            ["miner=pml", "miner.name=BatchEasyHardMiner", "miner.arguments={pos_strategi: hard}"],
            "miner.arguments.pos_strategi=hard: *did you mean 'pos_strategy'?",
        ),
        (
            ["loss=sum", "loss.losses=[{name: pml, peer: TripletMarginLoss, arguments: {margn: 2}}]"],
            "loss.losses[0].arguments.margn=2: *did you mean 'margin'?",
        ),
        (["loss=sum", "loss.losses=[{name: pml}]"], "loss.losses[0].peer=pml: give the name of a class as its peer"),
        (
            ["loss=sum", "loss.losses=[{name: pml, peer: NCALoss}]", "memory=xbm"],
            "memory=xbm does not go with NCALoss*",
        ),
        (["loss=sum", "loss.losses=[{name: pml, peer: CircleLoss}]", "miner=hard"], "loss=sum cannot take miner=hard*"),
    ],
)
def test_arguments_are_judged_before_data_are_loaded(given, line):
    assert fnmatchcase(refused(*given), line.replace("[", "[[]"))


@pytest.mark.parametrize(
    "given",
    [
        ["loss=pml", "loss.name=MultiSimilarityLoss", "loss.arguments={alpha: 3}"],
        ["loss=pml", "loss.name=MultiSimilarityLoss", "+loss.arguments.alpha=3"],
        ["loss=sum", "loss.losses=[{name: pml, peer: MultiSimilarityLoss, arguments: {alpha: 3}}]"],
    ],
)
def test_arguments_reach_the_class(given):
    cfg = COMPOSER(given)
    check(cfg)
    objective = objective_of(plain(cfg), C, D)
    first = next(iter(objective)) if isinstance(objective, Objectives) else objective
    assert first.loss.peer.alpha == 3


def test_arguments_of_a_miner_and_parts_within_arguments():
    cosine = "{_target_: pytorch_metric_learning.distances.CosineSimilarity}"
    cfg = COMPOSER(
        [
            *("loss=pml", f"loss.arguments={{distance: {cosine}}}"),
            *("miner=pml", "miner.name=BatchEasyHardMiner"),
            "miner.arguments={pos_strategy: hard, allowed_neg_range: [0.1, 1.5]}",
        ]
    )
    check(cfg)
    objective = objective_of(plain(cfg), C, D)
    assert type(objective.loss.peer.distance).__name__ == "CosineSimilarity"
    assert objective.miner.peer.pos_strategy == "hard"
    assert objective.miner.kind == "pairs"
    for embeddings, labels in batches(5, 4, 3, 2, 1):
        assert objective(Spaces.of(embeddings, labels)).output.value.isfinite()


def test_a_loss_with_parameters_for_each_class_has_no_value_on_other_classes():
    assert PeerLoss("SubCenterArcFaceLoss", C, D).bound_to_classes
    assert PeerLoss("P2SGradLoss", C, D).bound_to_classes
    assert not PeerLoss("MultiSimilarityLoss", C, D).bound_to_classes


def test_trials_leave_the_generator_alone():
    before = torch.get_rng_state()
    PeerLoss.traits("SoftTripleLoss")
    PeerMiner.traits("DistanceWeightedMiner")
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    "given",
    [
        ["loss=pml", "loss.name=SubCenterArcFaceLoss"],
        ["loss=pml", "loss.name=DynamicSoftMarginLoss", "miner=pml", "memory=xbm", "memory.warmup_steps=2"],
        ["loss=triplet", "miner=pml", "miner.name=MultiSimilarityMiner", "memory=xbm", "memory.warmup_steps=2"],
    ],
)
def test_whole_runs(run, given):
    metrics = run(*given, "trainer.max_epochs=1").metrics
    assert metrics["train/loss"] == metrics["train/loss"]
    assert metrics["train/grad_norm"] > 0

"""Every shipped config: says what it is, composes, passes the checks, and builds."""

import re
from functools import cache

import pytest
import pytorch_lightning as pl
import torch
from hydra.utils import get_class
from omegaconf import OmegaConf

from metriscope.build.run import data_of, network_of, objective_of, trainer_of
from metriscope.config.compose import compose_config
from metriscope.config.files import CONFIG_DIR, TITLED, choices, section, summary, title
from metriscope.config.objective import fitting_miners, shipped
from metriscope.config.plain import flatten, plain
from metriscope.config.rules import check
from metriscope.errors import InputError
from metriscope.run.folder import open_run
from metriscope.run.identity import identity
from metriscope.signals import Stop
from metriscope.training.optimizers import build_optimizer
from metriscope.training.schedules import build_scheduler

LOSSES = shipped("loss")
MINERS = shipped("miner")
WEIGHTINGS = shipped("weighting")
MIXTURES = shipped("mixture")

FILES = sorted(path.relative_to(CONFIG_DIR).as_posix() for path in CONFIG_DIR.rglob("*.yaml"))
GROUPS = sorted({path.split("/")[0] for path in FILES if "/" in path} - {"hydra", "experiment"})
CHOICES = [(group, choice) for group in [*GROUPS, "experiment"] for choice in choices(group)]
# A composition of losses, and the door to another library: what they take depends on their arguments.
SCALES = ("none", "full", "laptop")
PARTS = ("distance", "miner", "loss", "memory", "references")
OPEN_LOSSES, OPEN_MINERS = {"sum", "pml"}, {"pml"}
# Doors to other libraries, whose own names are given: here, a small one each.
DOORS = {"timm": "test_resnet", "torchvision": "resnet18"}


@cache
def composed(*words):
    return compose_config(words)


def sound(group, choice):
    """A config with this choice in it, and with what it needs beside it."""
    words = [f"{group}={choice}"]
    if group == "miner" and choice in MINERS:
        # A loss with a margin comes first: bands take theirs from it.
        names = ["triplet", *LOSSES]
        words = [f"loss={next(name for name in names if MINERS[choice].kind in LOSSES[name].accepts)}", *words]
    if group == "weighting" and choice in WEIGHTINGS:
        weighs = WEIGHTINGS[choice].weighs
        words = [f"loss={next(name for name, loss in LOSSES.items() if weighs <= loss.weighable)}", *words]
    if group == "mixture" and choice in MIXTURES:
        words = [f"loss={next(name for name, loss in LOSSES.items() if loss.mixes)}", *words]
    if group == "backbone" and choice in DOORS:
        words.append(f"backbone.name={DOORS[choice]}")
    if (group, choice) == ("distance", "hyperbolic"):
        words.append("head.normalize=false")
    return composed(*words)


@pytest.mark.parametrize("path", FILES)
def test_files_begin_with_a_comment_of_one_line(path):
    lines = (CONFIG_DIR / path).read_text(encoding="utf-8").splitlines()
    if lines[0].startswith("# @package"):
        lines = lines[1:]
    assert re.fullmatch(r"# \S.{3,}", lines[0]), lines[0]
    assert not lines[1].startswith("#"), "one line"


@pytest.mark.parametrize("group", TITLED)
def test_losses_and_data_sets_begin_with_a_name_of_their_own(group):
    titles = [title(group, name) for name in choices(group)]
    assert len(set(titles)) == len(titles)
    assert all(len(one) <= 30 and "." not in one for one in titles), "the name ends in a colon"
    assert title("loss", "MyLoss") == "MyLoss"
    assert title("loss", "../dataset/cub") == "../dataset/cub"


@pytest.mark.parametrize(("group", "choice"), [c for c in CHOICES if c[0] != "experiment"])
def test_names_are_those_of_the_files(group, choice):
    if choice != "pml" and not (group == "backbone" and choice in DOORS):  # there, the name is the other library's
        assert section(group, choice).name == choice


@pytest.mark.parametrize(("group", "choice"), CHOICES)
def test_choices_compose_and_pass_the_checks(group, choice):
    if group == "miner" and choice in OPEN_MINERS:
        pytest.skip("takes any loss")
    cfg = sound(group, choice)
    check(cfg)
    if group != "experiment" and choice != "pml":
        assert cfg[group].name == (DOORS.get(choice, choice) if group == "backbone" else choice)
    container = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    assert "hydra" not in container
    assert len(identity(container)) == 64


def test_every_loss_and_every_miner_is_shipped_by_its_own_name():
    assert set(LOSSES) == set(choices("loss")) - OPEN_LOSSES
    assert set(MINERS) == set(choices("miner")) - OPEN_MINERS


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_says_what_it_is_and_some_miner_fits(name):
    assert summary("loss", name)
    assert isinstance(LOSSES[name].paper, str)
    assert fitting_miners(LOSSES[name].accepts), "a loss that no miner fits could never run"


@pytest.mark.parametrize("name", MINERS)
def test_a_miner_says_what_it_is_and_fits_some_loss(name):
    assert summary("miner", name)
    assert isinstance(MINERS[name].paper, str)
    assert any(MINERS[name].kind in loss.accepts for loss in LOSSES.values()), "a miner that fits no loss"


@pytest.mark.parametrize(("group", "choice"), [c for c in CHOICES if c[0] in PARTS])
def test_objectives_build(group, choice):
    cfg = composed(f"{group}={choice}") if choice == "pml" else sound(group, choice)
    objective = objective_of(plain(cfg), num_classes=3, embedding_size=8)
    target = section(group, choice).get("_target_")
    if target and (group, choice) != ("memory", "none"):
        part = objective.references[0] if group in ("memory", "references") else getattr(objective, group)
        assert type(part) is get_class(target)


@pytest.mark.parametrize("choice", choices("backbone"))
def test_networks_build(choice):
    shape = {"mlp": (64,), "two_tower": (64, 32), "vit_b_32": (3, 224, 224)}.get(choice, (3, 32, 32))
    cfg = sound("backbone", choice).copy()
    cfg.backbone.weights = None
    with torch.device("meta"):  # no time is spent on initial values
        assert network_of(plain(cfg), shape).size == 128


@pytest.mark.parametrize("choice", choices("head"))
def test_heads_build(choice):
    embedder = network_of(plain(composed(f"head={choice}", "dataset=synthetic")), (64,))
    assert embedder(torch.randn(4, 64)).z.shape == (4, embedder.size)


@pytest.mark.parametrize("optimizer", choices("optimizer"))
@pytest.mark.parametrize("scheduler", choices("scheduler"))
def test_optimizers_and_schedules_build(optimizer, scheduler):
    weights = {"trunk": [torch.nn.Parameter(torch.ones(2))], "head": [torch.nn.Parameter(torch.ones(2))], "loss": []}
    built = build_optimizer(section("optimizer", optimizer), weights)
    schedule = build_scheduler(section("scheduler", scheduler), built, 100, 10, "val/map_at_r")
    assert (schedule is None) == (scheduler == "constant")


@pytest.mark.parametrize("choice", choices("sampler"))
@pytest.mark.parametrize("dataset", ["digits", "synthetic"])
def test_data_build(dataset, choice):
    data = data_of(plain(composed(f"dataset={dataset}", f"sampler={choice}")))
    inputs, labels, index = next(iter(data.train_dataloader()))
    assert 0 < len(inputs) == len(labels) == len(index) <= composed(f"dataset={dataset}").sampler.batch_size


@pytest.mark.parametrize("choice", choices("augmentation"))
def test_augmentations_build(choice):
    augmentation = data_of(plain(composed(f"augmentation={choice}"))).augmentation
    expected = {"none": ("none", False), "crop": ("pad", False), "crop_flip": ("pad", True)}
    expected["torchvision"] = ("random_resized", False)
    assert (augmentation.crop, augmentation.flip) == expected.get(choice, ("random_resized", True))


@pytest.mark.parametrize(("group", "choice"), [c for c in CHOICES if c[0] in ("trainer", "callbacks", "diagnostics")])
def test_trainers_build(group, choice, tmp_path):
    cfg = composed(f"{group}={choice}").copy()
    cfg.paths.output_dir = str(tmp_path)
    data = data_of(plain(cfg))
    with open_run(OmegaConf.to_container(cfg, resolve=True)) as run:
        if cfg.trainer.accelerator == "gpu" and not torch.cuda.is_available():
            with pytest.raises(InputError, match=r"trainer: .*gpu"):
                trainer_of(run, data, [], Stop())
            return
        trainer = trainer_of(run, data, [], Stop())
    assert trainer.max_epochs == cfg.trainer.max_epochs
    for key, node in cfg.callbacks.items():
        if key != "name":
            (found,) = [one for one in trainer.callbacks if type(one) is get_class(node._target_)]
            assert getattr(found, "mode", "max") == "max", "the better end of val/map_at_r"
    assert isinstance(trainer, pl.Trainer)


@pytest.mark.parametrize(
    ("dataset", "backbone", "augmentation"),
    [
        ("digits", "small_cnn", "none"),
        ("synthetic", "mlp", "none"),
        ("mnist", "small_cnn", "none"),
        ("cifar10", "resnet18_cifar", "crop_flip"),
        ("folder", "resnet18", "dml_224"),
        ("csv", "resnet18", "dml_224"),
        *((name, "resnet50", "dml_224") for name in ("cub", "cars196", "sop", "inshop", "tiny_imagenet")),
    ],
)
def test_a_data_set_brings_its_companions_and_the_command_line_wins(dataset, backbone, augmentation):
    cfg = composed(f"dataset={dataset}")
    assert (cfg.backbone.name, cfg.augmentation.name) == (backbone, augmentation)
    whole = OmegaConf.load(CONFIG_DIR / "dataset" / f"{dataset}.yaml")
    assert cfg.sampler.batch_size == whole.sampler.batch_size
    cfg = composed("backbone=resnet50", "augmentation=crop", "sampler.batch_size=7", f"dataset={dataset}")
    assert (cfg.backbone.name, cfg.augmentation.name, cfg.sampler.batch_size) == ("resnet50", "crop", 7)


@pytest.mark.parametrize("dataset", ["cub", "cars196", "sop", "inshop"])
def test_fine_grained_retrieval_is_class_disjoint_in_pairs_of_a_class(dataset):
    """[RDML] arXiv:2002.08473: batches of 112 with 2 samples per class, images of 224 pixels."""
    cfg = composed(f"dataset={dataset}")
    assert (cfg.dataset.protocol, cfg.dataset.image_size, cfg.augmentation.size) == ("class_disjoint", None, 224)
    assert (cfg.sampler.batch_size, cfg.sampler.samples_per_class, cfg.sampler.classes_per_batch) == (112, 2, None)
    assert cfg.dataset.verify is True
    assert cfg.dataset.download is False
    with pytest.raises(InputError, match="selecting by the test set is refused"):
        check(composed(f"dataset={dataset}", "evaluation.monitor=test/recall_at_1"))
    for key in ("download", "verify"):
        with pytest.raises(InputError, match=f"dataset.{key}=yes: it has to be one of true, false"):
            check(composed(f"dataset={dataset}", f"dataset.{key}=yes"))


def test_the_losses_of_the_paper():
    experiment = "experiment=paper/contrastive_vs_triplet"
    contrastive, triplet = (composed(experiment, f"loss={name}") for name in ("contrastive", "triplet"))
    assert (contrastive.loss.squared, contrastive.loss.reduction, triplet.loss.reduction) == (True, "sum", "sum")
    assert contrastive.distance._target_ == section("distance", "euclidean")._target_
    assert triplet.distance._target_ == section("distance", "squared_euclidean")._target_
    assert contrastive.miner.name == triplet.miner.name == "all"
    assert composed(experiment, "loss.reduction=mean").loss.reduction == "mean"


def test_the_scale_of_a_study_is_its_budget():
    experiment = "experiment=paper/contrastive_vs_triplet"
    epochs = {scale: composed(experiment, f"scale={scale}", "dataset=mnist").trainer.max_epochs for scale in SCALES}
    assert epochs == {"none": 10, "full": 100, "laptop": 4}
    assert composed(experiment, "scale=laptop", "dataset=folder", "dataset.path=x").trainer.max_epochs == 10
    assert composed(experiment, "trainer.max_epochs=7").trainer.max_epochs == 7


def test_a_config_is_closed_against_typing_errors():
    cfg = composed().copy()
    with pytest.raises(Exception, match="margn"):
        cfg.loss.margn = 1
    assert OmegaConf.is_struct(cfg)


def test_no_config_names_a_machine():
    for path in FILES:
        text = (CONFIG_DIR / path).read_text(encoding="utf-8")
        assert not re.search(r"/(home|root|work|tmp|mnt)\b", text), path


def test_keys_that_others_rely_on():
    keys = set(flatten(OmegaConf.to_container(composed("dataset=mnist"), resolve=True)))
    wanted = {"seed", "study", "paths.data_dir", "paths.output_dir", "dataset.protocol", "dataset.fold"}
    wanted |= {"dataset.download", "backbone.name", "backbone.weights", "backbone.freeze", "head.size"}
    wanted |= {"loss.margin", "sampler.classes_per_batch", "sampler.samples_per_class", "optimizer.lr"}
    assert wanted | {"trainer.max_epochs", "trainer.precision"} <= keys
    assert composed().study == "default"
    assert (composed().paths.data_dir, composed().paths.output_dir) == ("data", "outputs")

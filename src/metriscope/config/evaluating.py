"""The config of an evaluation: that of a run, or of a pretrained trunk, with what the words of a command line say."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from metriscope.config.aliases import today
from metriscope.config.callbacks import check_callbacks
from metriscope.config.completing import complete
from metriscope.config.compose import compose_config
from metriscope.config.defaults import groups, of_all, of_top_level
from metriscope.config.evaluates import ZERO_SHOT
from metriscope.config.files import default, section
from metriscope.config.hydra import apply_overrides
from metriscope.config.known import suggestion
from metriscope.config.plain import flatten, plain
from metriscope.config.rules import check_keys
from metriscope.config.search_path import folders, of_search_path, with_folder
from metriscope.config.sections import SECTIONS, check_sections
from metriscope.config.words import first_lines, forced, keys_of, parse
from metriscope.errors import InputError
from metriscope.evaluation.set_metric import asked_metrics
from metriscope.parts import instantiate

Config = dict[str, Any]

# Keys of the trainer that an evaluation has no use for.
_OF_FITTING = frozenset({
    "max_epochs", "min_epochs", "max_steps", "min_steps", "max_time", "limit_train_batches", "limit_val_batches",
    "val_check_interval", "gradient_clip_val", "gradient_clip_algorithm", "accumulate_grad_batches", "embed_chunk",
    "ema_decay",
    "fast_dev_run", "reload_dataloaders_every_n_epochs", "detect_anomaly",
})  # fmt: skip
_OF_SELECTING = frozenset({"monitor", "mode", "every_n_epochs"})
# Sections and keys that only training reads.
_OF_TRAINING = (
    "callbacks", "distance", "experiment", "init", "loss", "loss_memory_mb", "memory", "miner", "mixture", "optimizer",
    "pairs_across", "references", "sampler", "scale", "scheduler", "sweep", "weighting", "backbone.freeze_batch_norm",
    "dataset.label_noise", "dataset.label_noise_pairs", "dataset.train_labels",
    "diagnostics.greediness", *(f"evaluation.{key}" for key in sorted(_OF_SELECTING)),
    *(f"trainer.{key}" for key in sorted(_OF_FITTING)),
)  # fmt: skip
# What a run's network is made of, but for what changes no weight.
_OF_NETWORK = ("backbone", "head")
_NOT_OF_NETWORK = {
    "backbone.mean", "backbone.std", "backbone.cache_features", "backbone.channels_last", "backbone.precision",
    "head.normalize", "head.parts",
}  # fmt: skip
# Sections that an evaluation of a pretrained trunk reads.
_READ = (
    "seed", "study", "tags", "resume", "compile", "paths", "dataset", "backbone", "head", "augmentation", "evaluation",
    "diagnostics", "trainer", "logger",
)  # fmt: skip
_STATISTICS = ("mean", "std")


def of_pretrained(words: Sequence[str], config_dir: str | Path | None = None) -> Config:
    """The config that evaluates a trunk with its pretrained weights, without any section that only training reads.

    Args:
        words: of a command line; the head is the identity unless they choose another.
        config_dir: a folder of further choices.

    Raises:
        InputError: a word that has no effect here, weights that are null, or a head that would be random.
    """
    words = with_folder(words, config_dir)
    _check_words(words)
    given = keys_of(words)
    if "seed" in given:
        raise InputError("seed: nothing is drawn where nothing is trained; leave it out")
    cfg = compose_config(words if "head" in given else ["head=identity", *words])
    # What takes a name from the loss, such as a run in W&B, takes this one.
    cfg.loss.name, cfg.miner.name = ZERO_SHOT, "none"
    config = _checked(cfg, given)
    _check_weights(config)
    found = {key: config[key] for key in _READ}
    found["evaluation"] = _without(config["evaluation"], _OF_SELECTING)
    found["trainer"] = _without(config["trainer"], _OF_FITTING)
    return {"loss": {"name": ZERO_SHOT}, "miner": {"name": "none"}, **found}


def of_run(config: Config, words: Sequence[str], config_dir: str | Path | None = None) -> Config:
    """The config that evaluates the weights of a run.

    Other data are prepared as those of the run were: its mean and std stay, unless the words say others, and so does
    its augmentation.

    Args:
        config: of the run, nested and resolved.
        words: of a command line.
        config_dir: a folder of further choices.

    Raises:
        InputError: a word that has no effect here, or that would change the network.
    """
    words = forced(with_folder(words, config_dir))
    _check_words(words)
    given = keys_of(words)
    for word in words:
        key = str(parse(word).key_or_group)
        if key == "seed" or (key.split(".")[0] in _OF_NETWORK and key not in _NOT_OF_NETWORK):
            raise InputError(
                f"{word}: the weights are those of the run, and so is its {key.split('.')[0]}; leave it out"
            )
    cfg = _following(_whole(config))
    chosen = [word for word in words if str(parse(word).key_or_group) in groups()]
    composed = compose_config([*chosen, *of_search_path(words)]) if chosen else cfg
    for word in chosen:
        group = str(parse(word).key_or_group)
        cfg[group] = {**plain(composed[group], resolve=False), **_kept(group, config[group], given)}
    wandb = cfg.logger.get("wandb")
    if wandb:
        # Beside the run itself, which has curves.
        wandb.name = f"{plain(wandb, resolve=False)['name']}-evaluated"
    values = [parse(word) for word in words if word not in chosen and word not in of_search_path(words)]
    OmegaConf.set_struct(cfg, True)
    try:
        apply_overrides(values, cfg)
    except HydraException as error:
        raise InputError(_unknown(cfg, given, error)) from error
    return _checked(complete(cfg, folders(words), given), given)


def _kept(group: str, own: Mapping[str, Any], given: Collection[str]) -> Config:
    """The values of a run that stay where the words choose another section in the place of its own."""
    keys: Collection[str] = {"trainer": _OF_FITTING, "evaluation": _OF_SELECTING, "dataset": _STATISTICS}.get(group, ())
    return {key: own[key] for key in keys if f"{group}.{key}" not in given and key in own}


def _check_words(words: Sequence[str]) -> None:
    """Refuse words that only training reads, and those for several runs."""
    for word in words:
        override = parse(word)
        key = str(override.key_or_group)
        if override.is_sweep_override():
            raise InputError(f"{word} gives several values: evaluate takes one; quote it where it is one value")
        if key.startswith(("hydra/", "hydra.")) and word not in of_search_path(words):
            raise InputError(f"{word} is for sweeps: leave it out")
        if of := only_training(key):
            raise InputError(f"{word} has no effect: only training reads {of}, and nothing is trained; leave it out")


def only_training(key: str) -> str | None:
    """The section or key, at or above ``key``, that only training reads; None where an evaluation reads it."""
    return next((one for one in _OF_TRAINING if f"{today(key) or key}.".startswith(f"{one}.")), None)


def _checked(cfg: DictConfig, given: Collection[str]) -> Config:
    config = check_keys(cfg, trains=False)
    check_sections(config)
    check_callbacks({**config, "callbacks": {}})
    _check_references(config, given)
    return config


def _check_references(config: Config, given: Collection[str]) -> None:
    """Refuse a metric that is asked for by name and needs a training set of the same classes, where there is none."""
    evaluation, protocol = config["evaluation"], config["dataset"]["protocol"]
    if evaluation["classification"] is True or (evaluation["classification"] == "auto" and protocol == "closed_set"):
        return
    why = "evaluation.classification=false" if evaluation["classification"] is False else f"dataset.protocol={protocol}"
    for one in asked_metrics(evaluation):
        where = f"evaluation.metrics.{one.key}"
        if one.part.references and one.part.classifies and any(f"{key}.".startswith(f"{where}.") for key in given):
            raise InputError(
                f"{where} is fitted on a training set of the same classes, and there is none with {why}: leave it out"
            )


def _check_weights(config: Config) -> None:
    """Refuse a network that is random in any part."""
    backbone, head = config["backbone"], config["head"]
    if backbone.get("weights") is None:
        raise InputError(
            f"backbone={backbone['name']} backbone.weights=null: a trunk that was never trained is not evaluated; give "
            "backbone.weights=..., a backbone that has weights, or the folder of a run"
        )
    layers = instantiate(SECTIONS["head"].arguments(head), "head", features=head.get("size") or 1)
    if any(True for _ in layers.parameters()):
        raise InputError(
            f"head={head['name']}: it would be random, as nothing has trained it; leave it out for the features of the "
            "trunk, or give the folder of a run"
        )


def _whole(config: Config) -> Config:
    """The config of a run of an earlier version with the keys that came later, and without the sweep it was part of."""
    top = {key: values[0] for key, values in of_top_level().items() if "." not in key}
    evaluation = {**plain(section("evaluation", default("evaluation")), resolve=False), **config["evaluation"]}
    return {**top, **config, "evaluation": evaluation, **({"sweep": None} if "sweep" in config else {})}


def _following(config: Config) -> DictConfig:
    """A resolved config in which keys follow others again, where a shipped choice lets them and the value agrees."""
    cfg = OmegaConf.create(_escaped(config))
    assert isinstance(cfg, DictConfig)
    for key, value in flatten(config).items():
        for shipped in of_all().get(key, ()):
            if isinstance(shipped, str) and "${" in shipped:
                OmegaConf.update(cfg, key, shipped)
                if _selected(cfg, key) == value:
                    break
                OmegaConf.update(cfg, key, _escaped(value))
    return cfg


def _selected(cfg: DictConfig, key: str) -> Any:
    try:
        return OmegaConf.select(cfg, key)
    except OmegaConfBaseException:
        return None


def _escaped(value: Any) -> Any:
    """The same value, where what looks like an interpolation is text: it was resolved when the run began."""
    if isinstance(value, Mapping):
        return {key: _escaped(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_escaped(one) for one in value]
    return value.replace("${", "\\${") if isinstance(value, str) else value


def _unknown(cfg: DictConfig, given: Collection[str], error: Exception) -> str:
    """One line for a word that does not fit the config of a run."""
    known = flatten(plain(cfg, resolve=False))
    for key in sorted(given):
        if key not in known and not any(name.startswith(f"{key}.") for name in known) and not key.startswith("hydra"):
            return f"{key}: the run has no such key{suggestion(key, known)} Its keys: config.yaml in its folder"
    return first_lines(error)


def _without(own: Mapping[str, Any], keys: Collection[str]) -> Config:
    return {key: value for key, value in own.items() if key not in keys}

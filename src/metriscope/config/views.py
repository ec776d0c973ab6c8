"""Rules of several views of an image in a batch, and of images that are classes of their own."""

from collections.abc import Mapping
from typing import Any, Protocol

from metriscope.config.entries import entries
from metriscope.config.sections import SECTIONS, SIZES, sizes_for
from metriscope.errors import InputError
from metriscope.parts import instantiate


class _Drawing(Protocol):
    """What is asked of an augmentation."""

    views: int | None

    def varies(self, shape: tuple[int, ...] | None) -> bool: ...


def check_batches(config: Mapping[str, Any]) -> None:
    """Refuse ``sampler.views`` and ``sampler.labels`` that do not go with the other parts of a run.

    Args:
        config: plain and resolved; its parts are sound. Builds the augmentation, and losses where images are classes.

    Raises:
        InputError: naming the key, its value, and what would do.
    """
    views, by_image = config["sampler"].get("views") or 1, config["sampler"].get("labels") == "image"
    if views > 1:
        section = SECTIONS["augmentation"].arguments(config["augmentation"])
        check_views(views, by_image, instantiate(section, "augmentation", mean=None, std=None))
    elif by_image and config.get("pairs_across") is None:  # else, the two rows of a pair are two of its class
        check_views(views, by_image, None)
    if by_image:
        _check_images_as_classes(config)


def check_views(
    views: int, by_image: bool, augmentation: _Drawing | None, shape: tuple[int, ...] | None = None
) -> None:
    """Refuse views of an image that are alike, and classes of one sample each.

    Args:
        views: how many augmentations of each drawn image a batch holds.
        by_image: whether each image is a class of its own.
        augmentation: how images are augmented; not looked at for one view.
        shape: of one example; None where it is not known yet.

    Raises:
        InputError: saying which key to set.
    """
    if views == 1:
        # The two rows of a pair are two of its class.
        if by_image and (shape is None or len(shape) != 2):
            raise InputError(
                "sampler.labels=image: an image alone has nothing of its class to be compared with; set "
                "sampler.views to at least 2"
            )
        return
    assert augmentation is not None
    if not augmentation.varies(shape):
        what = "augment" if shape is None or len(shape) == 3 else "augment in vectors"
        raise InputError(
            f"sampler.views={views}: the views of an image would be alike, as there is nothing random to {what}; "
            "choose an augmentation that draws, such as augmentation=crop_flip, or leave sampler.views out"
        )
    if augmentation.views is not None and augmentation.views < views:
        raise InputError(
            f"sampler.views={views} with augmentation.views={augmentation.views}: some views of an image would be "
            f"alike; set augmentation.views to at least {views}"
        )


def _check_images_as_classes(config: Mapping[str, Any]) -> None:
    for entry in entries(config):
        if _is_bound(entry.loss, entry.where):
            raise InputError(
                f"sampler.labels=image does not go with {entry.where}={entry.loss['name']}, which learns something "
                "for each class, and there would be as many as images; use a loss that compares samples, such as "
                "loss=infonce"
            )
    weighting = config.get("weighting") or {}
    if "_target_" in weighting and _is_bound(weighting, "weighting"):
        raise InputError(
            f"sampler.labels=image does not go with weighting={weighting['name']}, which goes by the true classes; "
            "use weighting=none"
        )
    if config["dataset"].get("label_noise"):
        raise InputError(
            "sampler.labels=image trains without the labels that dataset.label_noise changes: leave one of them out"
        )


def _is_bound(section: Mapping[str, Any], where: str) -> bool:
    """Whether a part learns or knows something of each class, with these arguments."""
    import torch

    with torch.random.fork_rng(devices=[]):
        part = instantiate(section, where, **sizes_for(section, SIZES))
    return bool(getattr(part, "bound_to_classes", False))

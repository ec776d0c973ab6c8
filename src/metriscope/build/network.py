"""Builds the network of a run from sections of its config."""

import logging
from collections.abc import Mapping
from typing import Any

import torch

from metriscope import seeds
from metriscope.build.normalisation import Statistics, disagreement
from metriscope.config.sections import SECTIONS
from metriscope.data.inputs.images import ImageFiles
from metriscope.data.splits import Splits
from metriscope.errors import InputError
from metriscope.models.backbones import build_trunk
from metriscope.models.embedder import Embedder
from metriscope.models.trunk import Trunk
from metriscope.parts import instantiate

log = logging.getLogger(__name__)

# Below as many images, a trunk of more parameters learns more from ImageNet's weights than from random values.
_FEW_IMAGES, _MANY_PARAMETERS = 100_000, 5_000_000
# Weights from photographs of the usual size are of little use for smaller images.
_PHOTOGRAPH = 64


def build_embedder(
    backbone: Mapping[str, Any],
    head: Mapping[str, Any],
    input_shape: tuple[int, ...],
    *,
    normalised_with: Statistics,
    seed: int,
) -> Embedder:
    """The network that the sections ``backbone`` and ``head`` describe, for inputs of ``input_shape`` (no batch).

    Initial values are a function of the seed and the two sections; the global generator stays unchanged. A
    warning is logged if the weights expect another normalisation than ``normalised_with``.

    Raises:
        InputError: a choice does not exist or does not fit the data, or weights cannot be loaded.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seeds.derive(seed, "initialisation"))
        trunk = build_trunk(backbone, input_shape)
        layers = instantiate(SECTIONS["head"].arguments(head), "head", features=trunk.out_features)
    if not isinstance(getattr(layers, "size", None), int):
        raise InputError(f"head: {type(layers).__name__} lacks an attribute: give it size, the number of its outputs")
    loaded = trunk.loaded
    if loaded is not None and loaded.published is not None:
        settings = disagreement(normalised_with, (loaded.published.mean, loaded.published.std))
        if settings:
            log.warning("backbone.weights=%s expect images normalised in another way: set %s", loaded.source, settings)
    return Embedder(trunk, layers, layers.size, normalize=head["normalize"])


def warn_of_few_images(trunk: Trunk, splits: Splits, input_shape: tuple[int, ...]) -> None:
    """Warn where few photographs train a large trunk from random values, with the words that load weights."""
    images, parameters = len(splits.train), sum(values.numel() for values in trunk.parameters())
    photographs = isinstance(splits.train.inputs, ImageFiles) and min(input_shape[1:]) >= _PHOTOGRAPH
    learns_alone = trunk.loaded is None and not trunk.frozen
    if not (photographs and learns_alone and images < _FEW_IMAGES and parameters > _MANY_PARAMETERS):
        return
    downloads = f"backbone.weights={trunk.published[0]}, or " if trunk.published else ""
    log.warning(
        "%s images are few for the %.1f million random values of backbone=%s: set %sbackbone=efficientnet_lite0, "
        "whose weights are in a package",
        f"{images:,}",
        parameters / 1e6,
        trunk.config.get("name"),
        downloads,
    )

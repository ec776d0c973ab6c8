"""Builds the network of a run from sections of its config."""

import logging
from collections.abc import Mapping
from typing import Any

import torch

from metriscope import seeds
from metriscope.build.normalisation import Statistics, disagreement
from metriscope.config.sections import SECTIONS
from metriscope.errors import InputError
from metriscope.models.backbones import build_trunk
from metriscope.models.network import Network
from metriscope.parts import instantiate

log = logging.getLogger(__name__)


def build_network(
    backbone: Mapping[str, Any],
    head: Mapping[str, Any],
    input_shape: tuple[int, ...],
    *,
    normalised_with: Statistics,
    seed: int,
) -> Network:
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
    return Network(trunk, layers, layers.size, normalize=head["normalize"])

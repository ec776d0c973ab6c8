"""Builds the network of a run from sections of its config."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from metriscope import seeds
from metriscope.annotations import said
from metriscope.build.normalisation import Statistics, disagreement
from metriscope.config.head import parts_of
from metriscope.config.sections import SECTIONS
from metriscope.errors import InputError
from metriscope.models.backbones import build_trunk
from metriscope.models.network import Network
from metriscope.models.trunk import Trunk
from metriscope.parts import instantiate

log = logging.getLogger(__name__)

TrunkOf = Callable[[Mapping[str, Any], tuple[int, ...]], Trunk]
"""From the section ``backbone`` and the shape of one example to the trunk."""


class KeptTrunk:
    """Builds trunks as :func:`build_trunk` does, and keeps the last frozen one, for networks that follow each other.

    A frozen trunk has no state that training changes. The global generator is left as if the trunk had been built, so
    that the head, which is built after it, has the same initial values. Nothing is kept where the state of the
    generator before, the section or the shape differ.
    """

    def __init__(self) -> None:
        self._key: tuple[Any, ...] | None = None
        self._kept: tuple[Trunk, Tensor] | None = None

    def __call__(self, backbone: Mapping[str, Any], input_shape: tuple[int, ...]) -> Trunk:
        if not backbone.get("freeze"):
            return build_trunk(backbone, input_shape)
        key = said(dict(backbone)), tuple(input_shape), torch.get_rng_state().numpy().tobytes()
        if self._kept is None or key != self._key:
            self._key, self._kept = key, (build_trunk(backbone, input_shape), torch.get_rng_state())
        trunk, after = self._kept
        torch.set_rng_state(after)
        return trunk


def build_network(
    backbone: Mapping[str, Any],
    head: Mapping[str, Any],
    input_shape: tuple[int, ...],
    *,
    normalised_with: Statistics,
    seed: int,
    trunk_of: TrunkOf = build_trunk,
) -> Network:
    """The network that the sections ``backbone`` and ``head`` describe, for inputs of ``input_shape`` (no batch).

    Initial values are a function of the seed and the two sections; the global generator stays unchanged. A
    warning is logged if the weights expect another normalisation than ``normalised_with``.

    Args:
        backbone, head: sections of the config.
        input_shape: of one example.
        normalised_with: mean and standard deviation of the inputs.
        seed: of the run.
        trunk_of: gives the trunk, such as a :class:`KeptTrunk`.

    Raises:
        InputError: a choice does not exist or does not fit the data, or weights cannot be loaded.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seeds.derive(seed, "initialisation"))
        trunk = trunk_of(backbone, input_shape)
        layers = instantiate(SECTIONS["head"].arguments(head), "head", features=trunk.out_features)
    if not isinstance(getattr(layers, "size", None), int):
        raise InputError(f"head: {type(layers).__name__} lacks an attribute: give it size, the number of its outputs")
    loaded = trunk.loaded
    if loaded is not None and loaded.published is not None:
        settings = disagreement(normalised_with, (loaded.published.mean, loaded.published.std))
        if settings:
            log.warning("backbone.weights=%s expect images normalised in another way: set %s", loaded.source, settings)
    return Network(trunk, layers, layers.size, normalize=head["normalize"], parts=parts_of(head, layers.size))

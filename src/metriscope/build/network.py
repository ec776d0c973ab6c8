"""From a composed config to the network of a run."""

import logging

import torch
from omegaconf import DictConfig

from metriscope import seeds
from metriscope.build.normalisation import disagreement, normalisation
from metriscope.config.plain import plain
from metriscope.models.backbones import build_trunk
from metriscope.models.embedder import Embedder
from metriscope.models.heads import build_head

log = logging.getLogger(__name__)


def build_embedder(cfg: DictConfig, input_shape: tuple[int, ...]) -> Embedder:
    """The network that ``cfg.backbone`` and ``cfg.head`` describe, for inputs of ``input_shape`` (no batch).

    Initial values are a function of ``cfg.seed`` and the two configs; the global generator is left as it was.

    Raises:
        InputError: a choice that does not exist, does not fit the data, or weights that cannot be loaded.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seeds.derive(cfg.seed, "initialisation"))
        trunk = build_trunk(plain(cfg.backbone), input_shape)
        head, size = build_head(cfg.head.name, trunk.out_features, cfg.head.size, cfg.head.get("hidden"))
    loaded = trunk.loaded
    if loaded is not None and loaded.published is not None:
        expected = (loaded.published.mean, loaded.published.std)
        settings = disagreement(normalisation(cfg, input_shape[0]), expected)
        if settings:
            log.warning("backbone.weights=%s expect images normalised in another way: set %s", loaded.source, settings)
    return Embedder(trunk, head, size, normalize=cfg.head.normalize)

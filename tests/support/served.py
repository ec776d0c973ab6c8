"""A tiny model of images, as a run that is trained and as an embedder without one, and images for it."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from metriscope import compose_config, train
from metriscope.build.network import build_network
from metriscope.config.plain import plain
from metriscope.serving.description import Description
from metriscope.serving.embedder import Embedder

TINY = ["trainer.max_epochs=1", "logger=files", "logger.figures=false", "evaluation.save_embeddings=true"]
NETWORK = ["backbone=small_cnn", "backbone.widths=[4,8]", "head.size=8", "augmentation=none"]


def write_images(root: Path, classes: int = 4, each: int = 6, size: int = 20) -> Path:
    """PNG files ``class <c>/<number>.png`` of noise, brighter from class to class; returns ``root``."""
    source = np.random.default_rng(0)
    for label in range(classes):
        folder = root / f"class {label}"
        folder.mkdir(parents=True)
        for number in range(each):
            pixels = source.integers(0, 80, (size, size, 3)) + 40 * label
            Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
    return root


def train_tiny(root: Path) -> Path:
    """The folder of a run on images that are written to ``root / "photos"``."""
    photos = write_images(root / "photos")
    words = ["dataset=folder", f"dataset.path={photos}", "dataset.validation=0.25", "dataset.num_workers=0"]
    words += ["sampler.batch_size=8", f"paths.output_dir={root / 'outputs'}", *NETWORK, *TINY]
    return train(compose_config(words)).folder


def embedder(seed: int = 0, size: int = 20) -> Embedder:
    """An embedder with the weights of no training."""
    config = plain(compose_config(NETWORK))
    parts = {"backbone": config["backbone"], "head": config["head"]}
    shape = (3, size, size)
    network = build_network(**parts, input_shape=shape, normalised_with=(None, None), seed=seed)
    described = Description(**parts, augmentation=config["augmentation"], shape=list(shape), files=True)
    with torch.no_grad():
        return Embedder(described, network.state_dict())

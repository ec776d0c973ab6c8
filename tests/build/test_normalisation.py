from typing import Any

import pytest
import torch

from metriscope.build.normalisation import disagreement, normalisation
from metriscope.build.run import data_of
from metriscope.config.compose import compose_config
from metriscope.config.plain import plain

RGB = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


DATASET = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}


def test_the_backbone_comes_first() -> None:
    assert normalisation(DATASET, {"name": "mlp"}, 3) == ([0.1, 0.2, 0.3], [0.4, 0.5, 0.6])
    assert normalisation(DATASET, {"mean": None, "std": None}, 3) == ([0.1, 0.2, 0.3], [0.4, 0.5, 0.6])
    assert normalisation(DATASET, {"mean": [0.5], "std": [0.25]}, 3) == ([0.5], [0.25])
    assert normalisation({"mean": None, "std": None}, None, 3) == (None, None)


def test_grey_images_get_the_mean_over_channels() -> None:
    assert normalisation(DATASET, {"mean": [0.3, 0.6, 0.9], "std": [0.1, 0.2, 0.3]}, 1) == (
        [pytest.approx(0.6)],
        [pytest.approx(0.2)],
    )


def test_images_of_a_run_are_normalised_for_the_backbone() -> None:
    words = ("dataset=digits", "backbone=resnet18", "backbone.mean=[0.2,0.3,0.4]", "backbone.std=[0.5,0.5,0.5]")
    data = data_of(plain(compose_config(words)))
    batch = next(iter(data.train_dataloader()))
    images = data.on_after_batch_transfer(batch, 0)[0]
    torch.testing.assert_close(images, (batch[0] / 255 - 0.3) / 0.5)


@pytest.mark.parametrize(
    ("used", "settings"),
    [
        (RGB, None),
        (([0.48, 0.46, 0.41], [0.23, 0.23, 0.22]), None),
        (([0.449], [0.226]), None),
        ((None, None), "backbone.mean=[0.485,0.456,0.406] backbone.std=[0.229,0.224,0.225]"),
        (([0.1307], [0.226]), "backbone.mean=[0.485,0.456,0.406]"),
        (([0.485, 0.456, 0.406], [0.5, 0.5, 0.5]), "backbone.std=[0.229,0.224,0.225]"),
    ],
)
def test_disagreement_says_what_to_set(used: Any, settings: str | None) -> None:
    assert disagreement(used, RGB) == settings

from dataclasses import replace

import pytest
import torch
from torch import nn

from metriscope.build.few_images import warn_of_few_images
from metriscope.data.examples import Examples
from metriscope.data.inputs.images import ImageFiles
from metriscope.data.splits import Splits
from metriscope.models.trunk import Body, Trunk
from metriscope.models.weights import Pretrained

LARGE = Body(nn.Linear(2500, 2001), 2001, 3, pretrained={"IMAGENET1K_V1": Pretrained(dict, (0.0,), (1.0,))})
SIDE = (3, 224, 224)


def photographs(count=50):
    files = ImageFiles(tuple(f"{i}.jpg" for i in range(count)))
    part = Examples(files, torch.zeros(count, dtype=torch.int64), ("a",))
    return Splits(part, None, part, "closed_set")


def trunk(body=LARGE, **habits):
    return Trunk(body, config={"name": "large"}, **habits)


def test_few_photographs_for_a_large_trunk_are_one_warning(caplog):
    warn_of_few_images(trunk(), photographs(), SIDE)
    assert [record.getMessage() for record in caplog.records] == [
        "50 images are few for the 5.0 million random values of backbone=large: set "
        "backbone.weights=IMAGENET1K_V1, or backbone=efficientnet_lite0, whose weights are in a package"
    ]
    caplog.clear()
    warn_of_few_images(trunk(replace(LARGE, pretrained={})), photographs(), SIDE)
    assert "backbone=large: set backbone=efficientnet_lite0" in caplog.text


@pytest.mark.parametrize("case", ["small trunk", "frozen", "many", "in memory", "small images", "loaded"])
def test_no_warning_where_random_values_are_usual(caplog, case):
    given, splits, shape = trunk(), photographs(), SIDE
    if case == "small trunk":
        given = trunk(Body(nn.Linear(100, 100), 100))
    elif case == "frozen":
        given = trunk(freeze=True)
    elif case == "many":
        splits = photographs(100_000)
    elif case == "in memory":
        splits = replace(splits, train=replace(splits.train, inputs=torch.zeros(50, 3, 64, 64, dtype=torch.uint8)))
    elif case == "small images":
        shape = (3, 32, 32)
    else:
        given.loaded = object()
    warn_of_few_images(given, splits, shape)
    assert not caplog.records

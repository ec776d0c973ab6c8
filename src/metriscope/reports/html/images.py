"""Small pictures of the test images of a run, where its data are at hand."""

import io
import logging
import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from metriscope.errors import InputError
from metriscope.escapes import shown
from metriscope.reports.embedded import Embedded

log = logging.getLogger(__name__)

_SIDE = 56  # pixels
_MOST = 1500  # pictures of a page
_DATA = "data"  # where paths.data_dir is by default
_OF_TRAINING = ("label_noise", "label_noise_pairs", "train_labels")
_NO_PLACES = ("_target_", "name", "protocol", "cache", "test_labels")
# Runs of somebody else may name any function: only those of this package load data here.
_LOADER = re.compile(r"metriscope\.data\.datasets\.[a-z0-9_]+\.load")


class Pictures:
    """Pictures of a page as data URLs, each of them once."""

    def __init__(self) -> None:
        self.urls: list[str] = []
        self._places: dict[tuple[int, int], int | None] = {}

    def place(self, test: Any, position: int) -> int | None:
        """Where the picture of a test image is in ``urls``; None where it cannot be read, or there are too many.

        Args:
            test: the test part, of :func:`images_of`.
            position: of the image in it.
        """
        key = (id(test), position)
        if key not in self._places:
            url = _url(test, position) if len(self.urls) < _MOST else None
            self._places[key] = None if url is None else len(self.urls)
            self.urls += [] if url is None else [url]
        return self._places[key]


def images_of(one: Embedded, trusted: bool = False) -> Any:
    """The test part of a run's data; None without images, or where they are not the images that were embedded.

    Nothing is downloaded.

    Args:
        trusted: whether data are read from wherever the run's config says. Otherwise only data sets of this package
            in ``data`` are: a study of somebody else may name any file of one's own.
    """
    from metriscope.data.loading import load_splits
    from metriscope.run.configs import read_config

    if one.run.folder is None:
        return None
    try:
        dataset = read_config(one.run.folder).get("dataset")
        if isinstance(dataset, Mapping):  # test images are the same whatever the labels of training
            dataset = {key: value for key, value in dataset.items() if key not in _OF_TRAINING}
        if not isinstance(dataset, Mapping) or not (_is_shipped(dataset) and (trusted or _is_here(dataset))):
            return None
        splits = load_splits({**dataset, **({"download": False} if "download" in dataset else {})})
        test, paths = splits.test, splits.file_names("test")
    except Exception as error:  # data that are missing, or a config that no longer loads
        said = " ".join(str(error).split())[:160]
        log.info("no images of %s (%s)", shown(one.run.name), shown(said))
        return None
    same = np.array_equal(test.labels.numpy(), one.saved.labels) and list(test.classes) == one.saved.classes
    same = same and (one.saved.paths is None or one.saved.paths == paths)
    return test if same and len(test.shape) == 3 and test.shape[0] in (1, 3) else None


def _is_shipped(dataset: Mapping[str, Any]) -> bool:
    target = dataset.get("_target_")
    plain = all(value is None or isinstance(value, str | int | float | list) for value in dataset.values())
    return isinstance(target, str) and _LOADER.fullmatch(target) is not None and plain


def _is_here(dataset: Mapping[str, Any]) -> bool:
    """Whether no value names another place than the folder ``data``."""
    texts = {key: value for key, value in dataset.items() if key not in _NO_PLACES and not _is_number(value)}
    return all((key, value) == ("data_dir", _DATA) for key, value in texts.items())


def _is_number(value: Any) -> bool:
    values = value if isinstance(value, list) else [value]
    return all(one is None or isinstance(one, int | float) for one in values)


def _url(test: Any, position: int) -> str | None:
    import torch
    from PIL import Image

    from metriscope.data.inputs.images import ImageFiles

    inputs = test.inputs
    try:
        if isinstance(inputs, ImageFiles):
            pixels: Any = replace(inputs, transform=None).take([position]).fetch([0])[0]
        else:
            pixels = test.fetch(torch.tensor([position]))[0]
    except InputError:
        return None
    array = np.moveaxis(np.asarray(pixels, dtype=np.uint8), 0, -1)
    image = Image.fromarray(array.repeat(3, axis=-1) if array.shape[-1] == 1 else np.ascontiguousarray(array))
    image.thumbnail((_SIDE, _SIDE))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=75)
    return f"data:image/jpeg;base64,{b64encode(file.getvalue()).decode()}"

"""Warning where few photographs train a large trunk from random values."""

import logging

from metriscope.data.inputs.images import ImageFiles
from metriscope.data.splits import Splits
from metriscope.models.trunk import Trunk

log = logging.getLogger(__name__)

# Below as many images, a trunk of more parameters learns more from ImageNet's weights than from random values.
_FEW_IMAGES, _MANY_PARAMETERS = 100_000, 5_000_000
# Weights from photographs of the usual size are of little use for smaller images.
_PHOTOGRAPH = 64


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

"""The distance classes by name, and what a distance of one's own stands on.

>>> import torch
>>> from metriscope.distances import Cosine
>>> from metriscope.losses import TripletLoss
>>> z = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]])
>>> TripletLoss(margin=0.2)(z, torch.tensor([0, 0, 1]), distance=Cosine()).item() >= 0
True
"""

from metriscope.config.files import targets
from metriscope.config.names import lazily

_MODULES = {
    **targets("distance"),
    "Distance": "metriscope.objectives.distances.base",
}
__getattr__, __dir__ = lazily(__name__, _MODULES)
__all__ = sorted(_MODULES)

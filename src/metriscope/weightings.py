"""The weighting classes by name, and what a weighting of one's own stands on.

>>> import torch
>>> from metriscope import Objective
>>> from metriscope.distances import Cosine
>>> from metriscope.losses import InfoNCELoss
>>> from metriscope.miners import AllMiner
>>> from metriscope.objectives.samples import Spaces
>>> from metriscope.weightings import SoftNegativeWeighting
>>> objective = Objective(Cosine(), AllMiner(), InfoNCELoss(), weighting=SoftNegativeWeighting())
>>> z, features = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [0.6, 0.8]]), torch.eye(4)
>>> objective(Spaces.of(z, torch.tensor([0, 0, 1, 1]), trunk=features)).output.value.item() > 0
True
"""

from metriscope.config.files import targets
from metriscope.config.names import lazily

_MODULES = {
    **targets("weighting"),
    "Weighting": "metriscope.objectives.weightings.base",
}
__getattr__, __dir__ = lazily(__name__, _MODULES)
__all__ = sorted(_MODULES)

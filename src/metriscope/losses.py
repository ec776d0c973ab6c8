"""The loss classes by name, and what a loss of one's own stands on.

>>> import torch
>>> from metriscope.losses import TripletLoss
>>> z = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]])
>>> round(TripletLoss(margin=0.2)(z, torch.tensor([0, 0, 1])).item(), 4)
0.0
"""

from metriscope.config.files import targets
from metriscope.config.names import lazily

_MODULES = {
    **targets("loss"),
    "Loss": "metriscope.objectives.losses.base",
    "LossOutput": "metriscope.objectives.output",
    "RowLoss": "metriscope.objectives.losses.row_loss",
}
__getattr__, __dir__ = lazily(__name__, _MODULES)
__all__ = sorted(_MODULES)

"""The miner classes by name, and what a miner of one's own stands on.

>>> import torch
>>> from metriscope.losses import TripletLoss
>>> from metriscope.miners import BandMiner
>>> z = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]])
>>> TripletLoss(margin=0.2)(z, torch.tensor([0, 0, 1]), miner=BandMiner(low=0.0, high=0.2)).item() >= 0
True
"""

from metriscope.config.files import targets
from metriscope.config.names import lazily

_MODULES = {
    **targets("miner"),
    "Miner": "metriscope.objectives.miners.base",
}
__getattr__, __dir__ = lazily(__name__, _MODULES)
__all__ = sorted(_MODULES)

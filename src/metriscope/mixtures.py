"""The mixture classes by name, and what a mixture of one's own stands on.

>>> import torch
>>> from metriscope import Objective
>>> from metriscope.distances import Cosine
>>> from metriscope.losses import InfoNCELoss
>>> from metriscope.miners import AllMiner
>>> from metriscope.mixtures import HardNegativeMixture
>>> from metriscope.objectives.samples import Spaces
>>> plain, mixed = (
...     Objective(Cosine(), AllMiner(), InfoNCELoss(), mixture=mixture)
...     for mixture in (None, HardNegativeMixture(warmup_share=0.0))
... )
>>> z = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [0.6, 0.8]])
>>> batch = Spaces.of(z, torch.tensor([0, 0, 1, 1]))
>>> (mixed(batch).output.value > plain(batch).output.value).item()
True
"""

from metriscope.config.files import targets
from metriscope.config.names import lazily

_MODULES = {
    **targets("mixture"),
    "Mixture": "metriscope.objectives.mixtures.base",
    "Mixtures": "metriscope.objectives.mixed",
}
__getattr__, __dir__ = lazily(__name__, _MODULES)
__all__ = sorted(_MODULES)

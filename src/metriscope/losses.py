"""The loss classes by name, and what a loss of one's own stands on.

>>> from metriscope.losses import TripletLoss
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

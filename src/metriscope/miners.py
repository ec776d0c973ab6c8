"""The miner classes by name, and what a miner of one's own stands on.

>>> from metriscope.miners import BandMiner
"""

from metriscope.config.files import targets
from metriscope.config.names import lazily

_MODULES = {
    **targets("miner"),
    "Miner": "metriscope.objectives.miners.base",
}
__getattr__, __dir__ = lazily(__name__, _MODULES)
__all__ = sorted(_MODULES)

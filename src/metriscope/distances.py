"""The distance classes by name, and what a distance of one's own stands on.

>>> from metriscope.distances import Euclidean, Cosine
"""

from metriscope.config.files import targets
from metriscope.config.names import lazily

_MODULES = {
    **targets("distance"),
    "Distance": "metriscope.objectives.distances.base",
}
__getattr__, __dir__ = lazily(__name__, _MODULES)
__all__ = sorted(_MODULES)

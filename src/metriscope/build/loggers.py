"""Builds the loggers of a run from its config."""

import logging
from collections.abc import Iterator, Mapping
from typing import Any

from pytorch_lightning.utilities import rank_zero_only

from metriscope.config.plain import flatten
from metriscope.errors import InputError
from metriscope.parts import NotBuilt, arguments_of, instantiate, locate
from metriscope.run.folder import Run
from metriscope.tracking.base import RunLogger
from metriscope.tracking.checkpoints import Resumed
from metriscope.tracking.guard import first_line
from metriscope.tracking.guarded import GuardedLogger
from metriscope.tracking.loggers import own_loggers

log = logging.getLogger(__name__)

_PLACES = ("folder", "save_dir")
"""Arguments that say where a logger writes; Lightning's loggers take the second."""


def build_loggers(run: Run, resumed: Resumed | None) -> list[RunLogger]:
    """The run's own loggers, then those of ``logger.more``, whose failures never stop the run.

    Args:
        resumed: the checkpoint that a run goes on from; None for a new run.

    Raises:
        InputError: ``logger.more`` names what is no logger, or arguments that it does not take.
    """
    # First, so that a config refused here leaves nothing open.
    further = dict(_further(run))
    loggers, logged = own_loggers(run, resumed)
    for key, logger in further.items():
        guarded = GuardedLogger(logger, f"logger.more.{key}", logged)
        guarded.log_hyperparams(flatten(run.config))
        loggers.append(guarded)
    return loggers


def _further(run: Run) -> Iterator[tuple[str, Any]]:
    """The loggers of ``logger.more`` by their keys; only the first process of a run has any."""
    more = run.config["logger"].get("more") or {}
    if not isinstance(more, Mapping):
        raise InputError(f"logger.more={more}: it has to be a mapping of loggers by name, each with a _target_")
    if getattr(rank_zero_only, "rank", 0) != 0:
        return
    for key, section in more.items():
        if section is None:
            continue
        where = f"logger.more.{key}"
        if not isinstance(section, Mapping) or "_target_" not in section:
            raise InputError(f"{where}: it has to have a _target_, the dotted path of a logger")
        takes = arguments_of(locate(str(section["_target_"]), f"{where}."))
        places = {place: run.folder for place in _PLACES if place in takes and place not in section}
        try:
            logger = instantiate(section, where, **places)
        except NotBuilt as error:
            log.warning("%s could not start (%s): the run goes on without it", where, first_line(error.reason))
            continue
        except InputError as error:
            raise error if str(error).startswith(where) else InputError(f"{where}: {error}") from error
        if not callable(getattr(logger, "log_metrics", None)):
            raise InputError(f"{where}._target_={section['_target_']}: it is no logger, it has no log_metrics")
        yield str(key), logger

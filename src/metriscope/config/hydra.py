"""All that Metriscope uses of Hydra's private modules: a new release of Hydra can break this file only."""

from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from typing import Any

from hydra._internal.callbacks import Callbacks
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path, get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.types import HydraContext
from omegaconf import DictConfig

from metriscope.config.files import CONFIG_DIR


def flag_parser() -> ArgumentParser:
    """The parser of Hydra's flags, such as ``--multirun`` and ``--cfg``; the words go to ``overrides``."""
    return get_args_parser()


def apply_overrides(overrides: Sequence[Override], cfg: DictConfig) -> None:
    """What Hydra itself does last: sets the values of words that choose no part, in place."""
    ConfigLoaderImpl._apply_overrides_to_config(list(overrides), cfg)


def combinations(overrides: Sequence[Override]) -> list[tuple[str, ...]]:
    """The words of every job of a sweep: the product of all words that give several values."""
    (jobs,) = BasicSweeper.split_arguments(list(overrides), max_batch_size=None)
    return [tuple(job) for job in jobs]


def launcher(base: DictConfig, task: Callable[[DictConfig], Any]) -> Any:
    """The launcher that ``base`` chose, which composes the config of every job and calls ``task`` with it.

    Args:
        base: a config with Hydra's own settings. Its overrides for Hydra hold for every job, so that a search path
            among them is the jobs' too.
        task: called in whatever process the launcher starts.
    """
    GlobalHydra.instance().clear()
    hydra = Hydra.create_main_hydra2("train", create_config_search_path(str(CONFIG_DIR)))
    context = HydraContext(config_loader=hydra.config_loader, callbacks=Callbacks(base))
    return Plugins.instance().instantiate_launcher(context, task, base)

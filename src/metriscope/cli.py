"""The command line: Hydra composes, ``checks`` judges, ``app`` trains. Mistakes are answered without torch."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra import compose, initialize_config_dir
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from metriscope.catalog import describe
from metriscope.checks import check, nearest
from metriscope.configs import CONFIG_DIR, choices
from metriscope.errors import InputError, RunError
from metriscope.runs import flatten

FINISHED, RUN_FAILED, WRONG_INPUT, INTERRUPTED = 0, 1, 2, 130
# Far more jobs than these take longer to check ahead than they are worth: each is checked when it starts.
_JOBS_CHECKED_AHEAD = 32


def main() -> None:
    """Entry point of ``train.py``. Exits with 0 finished, 1 failed, 2 wrong input, 130 interrupted."""
    # On a CPU, large tensors come in huge pages: without, half the time of filling one goes into page faults.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    args = get_args_parser().parse_args()
    if not (args.help or args.hydra_help or args.info or args.shell_completion):
        try:
            check_command(args.overrides, args.multirun, args.config_dir)
        except InputError as error:
            fail(str(error), WRONG_INPUT)
    _run()
    if args.help:
        print(describe())
    if _Sweep.failed:
        fail(f"{len(_Sweep.failed)} of the jobs failed: {', '.join(_Sweep.failed)}", RUN_FAILED)


class _Sweep:
    """Names of the jobs of a multirun that failed in this process."""

    failed: list[str] = []  # noqa: RUF012


def fail(line: str, code: int) -> None:
    """Say why in one line on standard error, and exit."""
    print(f"metriscope: {line}", file=sys.stderr)
    sys.exit(code)


@hydra.main(version_base="1.3", config_path=str(CONFIG_DIR), config_name="train")
def _run(cfg: DictConfig) -> float | None:
    try:
        from metriscope.app import train

        outcome = train(cfg)
        return outcome.metrics.get(cfg.evaluation.monitor)
    except KeyboardInterrupt as error:
        fail(str(error) or "interrupted", INTERRUPTED)
    except Exception as error:
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            _next_job(error)
            return None
        if not isinstance(error, InputError | RunError):
            raise
        fail(str(error), WRONG_INPUT if isinstance(error, InputError) else RUN_FAILED)
    return None


def _next_job(error: Exception) -> None:
    """A job of a sweep that failed says so at once and leaves the others alone."""
    job = HydraConfig.get().job
    _Sweep.failed.append(job.override_dirname or str(job.num))
    print(f"metriscope: job {job.num} ({job.override_dirname}) failed: {error}", file=sys.stderr)
    if not isinstance(error, InputError | RunError):
        import traceback

        traceback.print_exception(error)


def check_command(words: Sequence[str], multirun: bool = False, config_dir: str | None = None) -> None:
    """Compose and check what the command line asks for.

    Raises:
        InputError: a word that cannot be read, a choice or key that is not there (with the nearest one), or a
            config that :func:`metriscope.checks.check` refuses.
    """
    overrides = [_parse(word) for word in words]
    if not multirun:
        for word, override in zip(words, overrides, strict=True):
            if override.is_sweep_override():
                raise InputError(f"{word} gives several values: add -m to run them all, or quote it as one value")
    jobs = [list(words)]
    if multirun and not any(o.key_or_group in ("hydra/sweeper", "sweep") for o in overrides):
        jobs = _expand(overrides)
    for job in jobs:
        cfg = compose_config(job, config_dir)
        check(cfg)


def _parse(word: str) -> Override:
    try:
        override: Override = OverridesParser.create().parse_override(word)
    except HydraException as error:
        raise InputError(f"cannot read '{word}': {_first_lines(error)}") from error
    return override


def _expand(overrides: list[Override]) -> list[list[str]]:
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

    ahead = [o for o in overrides if not str(o.key_or_group).startswith("hydra")]
    batches = BasicSweeper.split_arguments(ahead, max_batch_size=None)
    return [job for batch in batches for job in batch][:_JOBS_CHECKED_AHEAD]


def compose_config(words: Sequence[str], config_dir: str | None = None) -> DictConfig:
    """The config that Hydra composes from these overrides, also for tests and scripts.

    Raises:
        InputError: an unknown choice or key, with the nearest match.
    """
    own = [f"hydra.searchpath=[file://{Path(config_dir).resolve()}]"] if config_dir else []
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        try:
            return compose("train", overrides=[*words, *own])
        except (HydraException, ValueError) as error:
            raise InputError(_explain(error, words, config_dir)) from error


def _explain(error: Exception, words: Sequence[str], config_dir: str | None) -> str:
    """One line for a config that does not compose."""
    overrides = [_parse(word) for word in words]
    groups = {path.relative_to(CONFIG_DIR).as_posix() for path in CONFIG_DIR.rglob("*") if path.is_dir()}
    for override in overrides:
        key, value = str(override.key_or_group), override.value()
        if key not in groups or isinstance(value, list):
            continue
        there = [*choices(key), *(choices(key, Path(config_dir)) if config_dir else [])]
        if value not in there:
            return f"{key}={value}: no such choice{nearest(str(value), there)} There are: {', '.join(there)}"
    if isinstance(error, MissingConfigException):
        return _first_lines(error)
    chosen = [w for w, o in zip(words, overrides, strict=True) if str(o.key_or_group) in groups]
    known = _known_keys(chosen)
    for override in overrides:
        key = str(override.key_or_group)
        if key in groups or override.is_add() or override.is_force_add() or key.startswith("hydra"):
            continue
        if key not in known:
            return f"{key}: no such key{nearest(key, [*known, *groups])} All keys: python train.py --cfg job"
    return _first_lines(error)


def _known_keys(words: Sequence[str]) -> set[str]:
    """Every dotted key of the config, inner nodes included."""
    cfg: Any = OmegaConf.to_container(compose("train", overrides=list(words)), resolve=False)
    leaves = flatten(cfg)
    return {".".join(parts[:n]) for parts in (key.split(".") for key in leaves) for n in range(1, len(parts) + 1)}


def _first_lines(error: Exception) -> str:
    return " ".join(line.strip() for line in str(error).splitlines() if line.strip())[:300]

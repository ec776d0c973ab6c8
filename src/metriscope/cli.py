"""The command line: Hydra composes, ``checks`` judges, ``app`` trains. Mistakes are answered without torch."""

import os
import sys
from collections.abc import Sequence

import hydra
from hydra._internal.utils import get_args_parser
from omegaconf import DictConfig

from metriscope.config.catalog import describe
from metriscope.config.compose import Composer, compose_config, parse
from metriscope.config.files import CONFIG_DIR
from metriscope.config.rules import check
from metriscope.errors import InputError, RunError

__all__ = ["check_command", "compose_config", "main"]

FINISHED, RUN_FAILED, WRONG_INPUT, INTERRUPTED = 0, 1, 2, 130


def main() -> None:
    """Entry point of ``train.py``. Exits with 0 finished, 1 failed, 2 wrong input, 130 interrupted."""
    # On a CPU, large tensors come in huge pages: without, half the time of filling one goes into page faults.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    args = get_args_parser().parse_args()
    if args.help or args.hydra_help or args.info or args.shell_completion:
        _run()
        if args.help:
            print(describe())
        return
    try:
        if args.multirun and not args.cfg:
            sys.exit(FINISHED if _sweep(args.overrides, args.config_dir) else RUN_FAILED)
        check_command(args.overrides, args.multirun, args.config_dir)
    except KeyboardInterrupt as error:
        fail(str(error) or "interrupted", INTERRUPTED)
    except (InputError, RunError) as error:
        fail(str(error), WRONG_INPUT if isinstance(error, InputError) else RUN_FAILED)
    _run()


def fail(line: str, code: int) -> None:
    """Say why in one line on standard error, and exit."""
    print(f"metriscope: {line}", file=sys.stderr)
    sys.exit(code)


@hydra.main(version_base="1.3", config_path=str(CONFIG_DIR), config_name="train")
def _run(cfg: DictConfig) -> None:
    # Hydra would answer with a traceback where one line is due.
    try:
        from metriscope.app import train

        train(cfg)
    except KeyboardInterrupt as error:
        fail(str(error) or "interrupted", INTERRUPTED)
    except (InputError, RunError) as error:
        fail(str(error), WRONG_INPUT if isinstance(error, InputError) else RUN_FAILED)


def _sweep(words: Sequence[str], config_dir: str | None) -> bool:
    """Whether no run has failed."""
    from metriscope.sweeps.plan import base_config

    base = base_config(words, config_dir)
    if base.get("sweep"):
        from metriscope.sweeps.search import search

        return search(words, base, config_dir)
    from metriscope.sweeps.sweep import sweep

    return sweep(words, base, config_dir)


def check_command(words: Sequence[str], multirun: bool = False, config_dir: str | None = None) -> None:
    """Compose and check what the command line asks for.

    Raises:
        InputError: a word that cannot be read, a choice or key that is not there (with the nearest one), or a
            config that :func:`metriscope.config.rules.check` refuses.
    """
    if multirun:
        from metriscope.sweeps.plan import expand, first_job, split

        first = compose_config(first_job(words), config_dir)
        check(first)
        if not first.get("sweep"):
            composer = Composer(config_dir)
            for job in expand(split(words)[0]):
                check(composer(job))
        return
    for word in words:
        override = parse(word)
        if override.is_sweep_override():
            raise InputError(f"{word} gives several values: add -m to run them all, or quote it as one value")
        if str(override.key_or_group).startswith(("hydra/launcher", "hydra.launcher")):
            raise InputError(f"{word} is for sweeps: add -m, or leave it out")
    cfg = compose_config(words, config_dir)
    if cfg.get("sweep"):
        raise InputError(f"sweep={cfg.sweep.name} searches over many runs: add -m")
    check(cfg)

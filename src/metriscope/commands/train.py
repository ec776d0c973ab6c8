"""``metriscope train``: one run or, with ``-m``, a sweep. Hydra composes; mistakes are answered without torch."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from string import Template
from typing import NoReturn

import hydra
from omegaconf import DictConfig

from metriscope import environment
from metriscope.config.compose import Composer, compose_config
from metriscope.config.files import CONFIG_DIR, choices, summary
from metriscope.config.hydra import flag_parser
from metriscope.config.installed import installed
from metriscope.config.rules import check
from metriscope.config.search_path import folders, of_search_path, with_folder
from metriscope.config.words import parse, renamed
from metriscope.errors import Exit, InputError, nearest

# Flags of Hydra that would put another config in the place of the one that Metriscope checks.
_NOT_FOR_RUNS = ("config_path", "config_name", "experimental_rerun")


def main(words: Sequence[str]) -> int:
    """Do what the words and flags ask for, which may stand in any order; returns the exit code.

    Raises:
        InputError: a wrong word, flag, config or data.
        RunError: the run had to stop.
        KeyboardInterrupt: a signal stopped it.
    """
    environment.prepare()
    flags, overrides = _read(words)
    for name in _NOT_FOR_RUNS:
        if getattr(flags, name):
            raise InputError(f"--{name.replace('_', '-')} is not for Metriscope; --config-dir adds choices of your own")
    overrides = with_folder(overrides, flags.config_dir)
    if flags.help:
        print(_help(overrides))
        return Exit.FINISHED
    if flags.hydra_help or flags.info or flags.shell_completion or flags.cfg:
        flag_words = [word for word in words if word not in ("-m", "--multirun")]
        for word in flags.overrides:
            flag_words.remove(word)
        if flags.cfg and flags.multirun:
            from metriscope.sweeps.plan import first_job

            # Hydra shows one config: that of the first job.
            overrides = [*first_job(overrides), *of_search_path(overrides)]
        if flags.cfg and not flags.multirun:
            _single(overrides)
        _show([*flag_words, *renamed(overrides)])
        return Exit.FINISHED
    if flags.multirun:
        return Exit.FINISHED if _sweep(overrides) else Exit.RUN_FAILED
    cfg = _single(overrides)
    from metriscope.app import train

    train(cfg)
    return Exit.FINISHED


def _read(words: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    parser = flag_parser()
    known = [flag for action in parser._actions for flag in action.option_strings]

    def refuse(message: str) -> NoReturn:
        raise InputError(message)

    parser.error = refuse  # type: ignore[method-assign]
    flags, rest = parser.parse_known_intermixed_args(list(words))
    if rest:
        raise InputError(f"{rest[0]}: no such flag{nearest(rest[0], known)} There are: {', '.join(known)}")
    return flags, list(flags.overrides)


def _show(words: Sequence[str]) -> None:
    """Leave configs and Hydra's own help to Hydra, which reads flags before words only."""
    before, sys.argv = sys.argv, [sys.argv[0], *words]
    try:
        _shown_by_hydra()
    except SystemExit as ended:
        if ended.code:
            raise
    finally:
        sys.argv = before


@hydra.main(version_base="1.3", config_path=str(CONFIG_DIR), config_name="train")
def _shown_by_hydra(cfg: DictConfig) -> None:
    """Hydra calls this for runs only, and there are none here."""


def _help(words: Sequence[str]) -> str:
    """All choices of all groups, then losses and miners with the line that their configs begin with."""
    further = folders(words)
    lines = [f"{group}: {', '.join(names)}" for group, names in _groups(further).items()]
    template = compose_config(words, with_hydra=True).hydra.help.template
    text = Template(template).substitute(APP_CONFIG_GROUPS="\n".join([*lines, ""]))
    for group, title in (("loss", "Losses:"), ("miner", "Miners:")):
        found = {name: summary(group, name, root) for root in (CONFIG_DIR, *further) for name in choices(group, root)}
        text += "\n".join(["", title, *(f"  {name:23}{line}" for name, line in sorted(found.items())), ""])
    return "\n".join([text.rstrip("\n"), *(f"\nNote: {line}" for line in installed().broken)])


def _groups(further: Sequence[Path]) -> dict[str, list[str]]:
    """The choices of every group; Hydra's own are left out."""
    found: dict[str, set[str]] = {}
    for root in (CONFIG_DIR, *further):
        for path in root.rglob("*.yaml"):
            group = path.parent.relative_to(root)
            if group.parts and group.parts[0] != "hydra":
                found.setdefault(group.as_posix(), set()).add(path.stem)
    return {group: sorted(names) for group, names in sorted(found.items())}


def _sweep(words: Sequence[str]) -> bool:
    """Whether every run is finished, pruned, or at work elsewhere."""
    from metriscope.sweeps.plan import base_config

    base = base_config(words)
    if base.get("sweep"):
        from metriscope.sweeps.search import search

        return search(words, base)
    from metriscope.sweeps.sweep import sweep

    return sweep(words, base)


def _single(words: Sequence[str]) -> DictConfig:
    for word in words:
        override = parse(word)
        if override.is_sweep_override():
            raise InputError(f"{word} gives several values: add -m to run them all, or quote it as one value")
        if str(override.key_or_group).startswith(("hydra/launcher", "hydra.launcher")):
            raise InputError(f"{word} is for sweeps: add -m, or leave it out")
    cfg = compose_config(words)
    if cfg.get("sweep"):
        raise InputError(f"sweep={cfg.sweep.name} searches over many runs: add -m")
    return cfg


def check_command(words: Sequence[str], multirun: bool = False) -> None:
    """Compose and check what the command line asks for, without running it.

    Raises:
        InputError: a word that cannot be read, a choice or key that is not there (with the nearest one), or a
            config that :func:`metriscope.config.rules.check` refuses.
    """
    words = with_folder(words, None)
    if not multirun:
        check(_single(words))
        return
    from metriscope.sweeps.plan import expand, first_job

    first = compose_config([*first_job(words), *of_search_path(words)])
    check(first)
    if not first.get("sweep"):
        composer = Composer(words)
        for job in expand(words):
            check(composer(job))

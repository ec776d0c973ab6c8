"""One job of a sweep, as a launcher calls it in any process."""

import os
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from metriscope.config.completing import complete
from metriscope.config.plain import plain
from metriscope.config.search_path import folders
from metriscope.config.words import keys_of
from metriscope.errors import InputError, Pruned, RunError
from metriscope.run.folder import Taken
from metriscope.run.identity import folder_of
from metriscope.signals import handlers_can_be_set, notices, raise_interrupt
from metriscope.sweeps.devices import take_share

ELSEWHERE, REFUSED = "running elsewhere", "refused"


class Refusal(NamedTuple):
    """Reason a job was refused before it wrote to its run folder."""

    status: str
    reason: str


@dataclass(frozen=True)
class Task:
    """Function that a launcher calls for each job; it does not raise if a run fails.

    Attributes:
        stop: path of a file; while it exists, no further job starts.
        offline: path of a file; while it exists, W&B is used offline. A job whose data W&B did not take makes it.
        launcher: process id of the sweep.
        search_path: the words that name folders of further choices.
        side_by_side: whether other jobs run at the same time on this machine.
    """

    stop: Path
    offline: Path
    launcher: int
    side_by_side: bool
    search_path: tuple[str, ...] = ()

    def __call__(self, cfg: DictConfig) -> Refusal | None:
        """Train the run; returns a refusal or None: without a refusal ``run.json`` records how the run ended.

        Raises:
            KeyboardInterrupt: only in the process of the sweep itself, to stop the sweep with the job.
        """
        if self.stop.exists():
            return None
        # Launchers let Hydra compose the config of a job, which leaves out what a folder of one's own adds to it.
        complete(cfg, folders(self.search_path), _given())
        own_process = os.getpid() != self.launcher
        if self.side_by_side and own_process:
            self._settle(cfg)
        try:
            from metriscope.app import train

            if self.offline.exists() and cfg.logger.get("wandb"):
                cfg.logger.wandb.mode = "offline"
            if train(cfg).unsent:
                with suppress(OSError):  # a job of a cluster may outlive the folder of its sweep
                    self.offline.touch()
        except Taken as error:
            print(f"metriscope: {error}", file=sys.stderr)
            return Refusal(ELSEWHERE, str(error))
        except KeyboardInterrupt:
            if not own_process:
                raise
            if notices():
                # A job that returns a result counts as done, but SLURM may restart this job.
                sys.exit(130)
        except Pruned as error:
            print(f"{_folder(cfg)}: {error}", flush=True)
        except Exception as error:
            print(f"metriscope: {_folder(cfg)} failed: {error}", file=sys.stderr)
            if isinstance(error, InputError):
                return Refusal(REFUSED, str(error))
            if not isinstance(error, RunError):
                import traceback

                traceback.print_exception(error)
        return None

    def _settle(self, cfg: DictConfig) -> None:
        take_share(int(HydraConfig.get().job.num), cfg)
        if handlers_can_be_set():
            # Ctrl-C and the end of a terminal reach every process of it. Between runs only the sweep handles them, and
            # then sends SIGTERM to the runs.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, raise_interrupt)


def _given() -> frozenset[str]:
    """The keys of the job's command line."""
    return keys_of(HydraConfig.get().overrides.task) if HydraConfig.initialized() else frozenset()


def _folder(cfg: DictConfig) -> Path:
    return folder_of(plain(cfg))

"""The loggers of a run."""

from dataclasses import dataclass

from pytorch_lightning.loggers import Logger

from metriscope.tracking.history import HistoryLogger
from metriscope.tracking.wandb import GuardedWandb


@dataclass
class Loggers:
    """The loggers of a run: always its own history, and W&B if it can be used."""

    history: HistoryLogger
    wandb: GuardedWandb | None

    @property
    def all(self) -> list[Logger]:
        return [self.history, *([self.wandb] if self.wandb else [])]

    def finish(self, exit_code: int) -> None:
        self.history.close()
        if self.wandb:
            self.wandb.finish(exit_code)

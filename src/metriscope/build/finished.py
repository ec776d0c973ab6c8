"""Builds the objects of a run that has finished, from its folder."""

import torch
from pytorch_lightning.utilities.seed import isolate_rng

from metriscope.build.callbacks import build_evaluation, build_variance
from metriscope.build.run import data_of, learner_of
from metriscope.build.trainer import build_trainer
from metriscope.data.splits import Splits
from metriscope.errors import InputError
from metriscope.outcome import Parts
from metriscope.run.folder import Run
from metriscope.training.checkpoints import upgrade


def parts_of(run: Run, splits: Splits | None = None) -> Parts:
    """The data, the module with the weights of the best checkpoint (else the last), and a trainer that evaluates it.

    The trainer writes neither checkpoints nor logs. Without a checkpoint there is no module.

    Raises:
        InputError: the data cannot be loaded, or the checkpoint cannot be read.
    """
    config = run.config
    evaluation = config["evaluation"]
    data = data_of(config, splits)
    watch = [build_evaluation(evaluation), *build_variance(config["diagnostics"], evaluation)]
    options = {**config["trainer"], "enable_checkpointing": False}
    trainer = build_trainer(options, watch, [], run.folder, evaluation["every_n_epochs"])
    path = next((path for path in (run.best_checkpoint, run.last_checkpoint) if path.exists()), None)
    if path is None:
        return Parts(trainer, None, data)
    with isolate_rng(include_cuda=False):
        module = learner_of(config, data)
    try:
        checkpoint = torch.load(path, weights_only=True, map_location="cpu")
        upgrade(checkpoint, module.state_dict())
        module.load_state_dict(checkpoint["state_dict"])
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{path} is no checkpoint of this run: move it away, or set resume=never") from error
    return Parts(trainer, module.eval(), data)

"""Builds the objects of a run that has finished, from its folder."""

from pytorch_lightning.utilities.seed import isolate_rng

from metriscope import tensor_files
from metriscope.build.callbacks import build_evaluation, build_variance
from metriscope.build.run import data_of, learner_of
from metriscope.build.trainer import build_trainer
from metriscope.data.splits import Splits
from metriscope.errors import InputError
from metriscope.outcome import Parts
from metriscope.run.folder import Run
from metriscope.training.checkpoints import upgrade


def parts_of(run: Run, splits: Splits | None = None) -> Parts:
    """The data, the module with the tested weights, and a trainer that evaluates it.

    These are the weights of the best checkpoint, or of the last where no validation has selected any. Without this
    checkpoint there is no module. The trainer writes neither checkpoints nor logs.

    Raises:
        InputError: the data cannot be loaded, or the checkpoint is damaged.
    """
    config = run.config
    evaluation = config["evaluation"]
    data = data_of(config, splits)
    watch = [build_evaluation(evaluation), *build_variance(config["diagnostics"], evaluation)]
    options = {**config["trainer"], "enable_checkpointing": False}
    trainer = build_trainer(options, watch, [], run.folder, evaluation["every_n_epochs"])
    path = run.best_checkpoint if "best/epoch" in run.summary() else run.last_checkpoint
    if not path.exists():
        return Parts(trainer, None, data)
    with isolate_rng(include_cuda=False):
        module = learner_of(config, data)
    try:
        checkpoint = tensor_files.load(path)
        upgrade(checkpoint, module.state_dict())
        module.load_state_dict(checkpoint["state_dict"])
    except InputError:
        raise
    except Exception as error:
        known = isinstance(error, tensor_files.Damaged | tensor_files.Unsafe)
        why = f" (it {error})" if known else ""
        raise InputError(f"{path} is no checkpoint of this run{why}: move it away, or set resume=never") from error
    return Parts(trainer, module.eval(), data)

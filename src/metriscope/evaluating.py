"""Evaluation without training: of the weights of a finished run, or of a trunk with its pretrained weights."""

import logging
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metriscope import seeds, tensor_files
from metriscope.app import carry_out, load_checked
from metriscope.config.evaluates import EVALUATES, ZERO_SHOT
from metriscope.config.evaluating import of_pretrained, of_run
from metriscope.config.trainer import evaluates_average
from metriscope.errors import InputError
from metriscope.outcome import Outcome, Parts
from metriscope.run.folder import Run
from metriscope.run.identity import folder_of, located, name_without_seed, relevant, study_of
from metriscope.run.record import read_record
from metriscope.run.slurm import back_to_the_queue
from metriscope.signals import Stop

if TYPE_CHECKING:
    from metriscope.data.datamodule import DataModule
    from metriscope.models.network import Network
    from metriscope.tracking.base import RunLogger
    from metriscope.training.learner import MetricLearner

log = logging.getLogger(__name__)

# Keys of the section dataset that say how images are prepared and which labels are used, and not which data they are.
_PREPARATION = ("dataset.mean", "dataset.std", "dataset.train_labels", "dataset.test_labels")


@back_to_the_queue()
def evaluate(words: Sequence[str] = (), run: str | Path | None = None, config_dir: str | Path | None = None) -> Outcome:
    """Evaluate the weights of a finished run, or those that a library publishes, unless that has been done.

    The run folder that comes of it is one of the study in which the evaluated run lies.

    Args:
        words: overrides, as on the command line.
        run: the folder of the run; None for a trunk with its pretrained weights.
        config_dir: a folder of further choices.

    Raises:
        InputError: the words, the run, its checkpoint or the data are invalid, or do not fit each other.
        RunError: the evaluation had to stop.
        KeyboardInterrupt: a signal stopped it.
    """
    begun = time.monotonic()
    if run is None:
        config = located({EVALUATES: ZERO_SHOT, **of_pretrained(words, config_dir)})
        return carry_out(config, partial(_execute, None), partial(_parts, None), begun, _lacks)
    weights = _Weights(Path(run))
    config = located({EVALUATES: weights.name(), **_of(weights, words, config_dir)})
    weights.check_same(config)
    return carry_out(config, partial(_execute, weights), partial(_parts, weights), begun, _lacks)


def _of(weights: "_Weights", words: Sequence[str], config_dir: str | Path | None) -> dict[str, Any]:
    config = dict(weights.config)
    output_dir, study = study_of(weights.folder, config)
    paths = {**config["paths"], "output_dir": str(output_dir)}
    if "init" in config:
        config["init"] = None  # where the evaluated weights began is a matter of their run
    return of_run({**config, "paths": paths, "study": study, "resume": "auto"}, words, config_dir)


def _lacks(run: Run) -> bool:
    """Whether a finished evaluation is asked for a file that it did not write: its identity does not say so."""
    asked = {"save_embeddings": "embeddings.npz", "per_query": "per_query.csv", "spectrum": "spectrum.csv"}
    evaluation = run.config["evaluation"]
    return any(evaluation.get(key) and not (run.folder / name).exists() for key, name in asked.items())


class _Weights:
    """The tested weights of a finished run.

    Args:
        folder: of the run.

    Raises:
        InputError: it holds no finished run, or its checkpoint is gone or damaged.
    """

    def __init__(self, folder: Path) -> None:
        from metriscope.build.trained import read_trained

        self.trained = read_trained(folder)
        self.folder, self.config = folder, self.trained.config
        self.digest = tensor_files.seal_of(self.trained.checkpoint)

    def name(self) -> str:
        """Of the run, seeds aside; where the run from which it began is gone, its record says which that was."""
        origin = (self.trained.record.init or {}).get("run")
        if origin and self.config.get("init"):
            return name_without_seed({**self.config, "init": str(Path(self.config["init"]).with_name(str(origin)))})
        return name_without_seed(self.config)

    def check_same(self, config: Mapping[str, Any]) -> None:
        """Refuse to show an evaluation of weights that the run no longer has.

        Raises:
            InputError: the finished evaluation with this config was of others.
        """
        folder = folder_of(config)
        record = read_record(folder) if config["resume"] != "never" else None
        before = (record.data or {}).get("weights") if record else None
        if before not in (None, self.digest):
            raise InputError(f"{folder} is of weights that {self.folder} no longer has: set resume=never")

    def check_data(self, splits: Any, config: Mapping[str, Any]) -> None:
        """Refuse data on which the weights cannot be, or data that have changed since the run.

        Raises:
            InputError: the data, and how they differ.
        """
        from metriscope.data.fingerprint import difference

        before = self.trained.record.data or {}
        if not self.on_other_data(config):
            changed = difference(before, splits.fingerprint) if before.get("content") else None
            if changed:
                raise InputError(
                    f"the data are not those of {self.folder} ({changed}): restore them, or say dataset=... to "
                    "evaluate on others"
                )
            return
        shape, trained = splits.train.shape, self._trained_on()
        kinds = [{2: "pairs of vectors", 3: "images"}.get(len(one), "vectors") for one in (shape, trained) if one]
        name = config["dataset"]["name"]
        if len(set(kinds)) > 1:
            raise InputError(f"dataset={name} has {kinds[0]}, and {self.folder} was trained on {kinds[1]}")
        if len(shape) == 3 and trained and trained[0] != shape[0]:
            raise InputError(
                f"dataset={name} has images of {shape[0]} channels, and {self.folder} was trained on {trained[0]}"
            )

    def on_other_data(self, config: Mapping[str, Any]) -> bool:
        """Whether a config has other data than the run."""
        own, other = (
            {key: value for key, value in relevant({"dataset": one["dataset"]}).items() if key not in _PREPARATION}
            for one in (self.config, config)
        )
        return own != other

    def _trained_on(self) -> tuple[int, ...] | None:
        """The shape of an input of the training, of which runs of earlier versions tell the channels at most."""
        mean = self.config["dataset"].get("mean")
        if shape := self.trained.inputs.get("shape"):
            return tuple(shape)
        return (len(mean), 0, 0) if mean and len(mean) > 1 else None

    def load_into(self, network: "Network", averaged: bool) -> None:
        """Fill a network, with the moving average of its weights where that is meant.

        Raises:
            InputError: they do not fit it, or the run has kept no average.
        """
        found = self.trained.network(averaged)
        wanted = network.state_dict()
        shapes = {key: (tuple(value.shape), tuple(found[key].shape)) for key, value in wanted.items() if key in found}
        for key, (needs, has) in shapes.items():
            if needs != has:
                raise InputError(
                    f"the network of {self.folder} does not take these inputs: its {key} is {has}, and they would need "
                    f"{needs}"
                )
        if wanted.keys() != found.keys():
            raise InputError(f"{self.trained.checkpoint} holds another network than its config describes")
        network.load_state_dict(found)


def _execute(weights: _Weights | None, run: Run, stop: Stop) -> Outcome:
    from metriscope.build.finished import evaluator_of
    from metriscope.build.loggers import build_loggers
    from metriscope.callbacks.graceful_stop import GracefulStop
    from metriscope.ending import report

    splits = load_checked(run)
    data, module = _built(weights, run, splits)
    run.record_data({**splits.fingerprint, **({"weights": weights.digest} if weights else {})})
    loggers: list[RunLogger] = []
    exit_code = 1
    try:
        with stop.waiting():
            loggers += build_loggers(run, None)
            trainer = evaluator_of(run.config, run.folder, loggers, [GracefulStop(stop, run.last_checkpoint, 1)])
            trainer.test(module, datamodule=data, verbose=False)
        metrics = report(run, trainer, module, data, loggers, None)
        exit_code = 0
    finally:
        for logger in loggers:
            logger.finish(exit_code)
    unsent = any(logger.unsent for logger in loggers)
    return Outcome(metrics, run.folder, unsent=unsent, load=partial(Parts, trainer, module, data))


def _built(weights: _Weights | None, run: Run, splits: Any) -> "tuple[DataModule, MetricLearner]":
    """The data, and a module with the weights to evaluate."""
    import pytorch_lightning as pl

    from metriscope.build.learner import build_embedding_only
    from metriscope.build.normalisation import normalisation
    from metriscope.build.objective import ranking_space
    from metriscope.build.run import data_of, network_of

    config = dict(run.config)
    if run.is_main:
        log.info(splits.said())
    if weights is not None:
        weights.check_data(splits, config)
        other = weights.on_other_data(config)
        # Every weight of the network is in the checkpoint.
        config["backbone"] = {**config["backbone"], "weights": None}
        if other:
            # The cache holds features of whole data sets, and this needs those of a part, once.
            config["backbone"]["cache_features"] = False
        if other and run.is_main and len(splits.train.shape) == 3:
            mean, std = normalisation(config["dataset"], config["backbone"], splits.train.shape[0])
            name = config["augmentation"]["name"]
            kept = "as those of the run, but for what the words say"
            log.info("images are prepared %s: augmentation=%s, mean %s, std %s", kept, name, mean, std)
    data = data_of(config, splits, trains=False)
    pl.seed_everything(seeds.derive(config["seed"], "run") % 2**32, verbose=False)
    network = network_of(config, data.input_shape)
    if config["compile"]:
        network.compile()
    space = None if weights is None else ranking_space(weights.config)
    module = build_embedding_only(network, seed=config["seed"], space=space)
    if weights is None:
        _check_whole(network)
    else:
        weights.load_into(network, evaluates_average(config["evaluation"]))
    return data, module.eval()


def _check_whole(network: "Network") -> None:
    """Refuse a trunk that pretrained weights fill in part only.

    Raises:
        InputError: naming a tensor that would be random.
    """
    found, state = network.trunk.loaded, network.trunk.body.state_dict()
    # A single number, such as the exponent of gem, begins at a value of its own.
    lacking = [key for key in (*found.misfits, *found.missing) if state[key].ndim] if found else []
    if found and lacking:
        raise InputError(
            f"backbone.weights={found.source} fill {found.matched} of {found.total} tensors of the trunk: {lacking[0]} "
            "would be random; give weights that fit the backbone and the data"
        )


def _parts(weights: _Weights | None, run: Run, splits: Any) -> Parts:
    """The parts of an evaluation that had finished before."""
    from metriscope.build.finished import evaluator_of

    data, module = _built(weights, run, splits or load_checked(run))
    return Parts(evaluator_of(run.config, run.folder), module, data)

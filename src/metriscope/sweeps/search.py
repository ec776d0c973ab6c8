"""``python train.py -m sweep=optuna_tpe``: a search in which Optuna proposes runs from earlier results."""

import importlib.util
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout
from omegaconf import DictConfig, OmegaConf

from metriscope.annotations import said
from metriscope.config.compose import Composer
from metriscope.config.plain import plain
from metriscope.config.rules import check
from metriscope.config.search_path import folders
from metriscope.errors import InputError
from metriscope.evaluation.monitors import monitor_of
from metriscope.parts import instantiate
from metriscope.run.identity import folder_of, identity
from metriscope.run.record import FINISHED, FORMAT, PRUNED, duration, read_json
from metriscope.run.trials import open_storage
from metriscope.sweeps.launch import Launcher, check_launcher
from metriscope.sweeps.plan import Job, Words, split
from metriscope.sweeps.space import distributions, of_parts, split_space, words_of
from metriscope.sweeps.states import State, state_of
from metriscope.sweeps.sweep import Interruption, done, leave_agent, outcome

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution


@dataclass(frozen=True)
class _Trial:
    number: int
    params: Mapping[str, Any]
    job: Job


def search(words: Sequence[str], base: DictConfig) -> bool:
    """Run trials until there are ``sweep.trials``; trials of an earlier invocation count and are resumed.

    A trial stays open in the storage until its run is finished or pruned; the same command resumes trials that were
    stopped or killed or that failed.

    Args:
        words: overrides of the command line.
        base: config composed from the first value of each override, with Hydra's own settings.

    A trial whose metric is not finite counts, as a failed trial of a finished run.

    Returns:
        As :func:`metriscope.sweeps.sweep.done` of its runs.

    Raises:
        InputError: an override or a config is invalid, or the storage holds another search.
        Interruption: a signal stopped the search.
    """
    if importlib.util.find_spec("optuna") is None:
        raise InputError(f"sweep={base.sweep.name} needs a package: pip install optuna")
    check_launcher(base)
    settings = OmegaConf.masked_copy(base, [str(key) for key in base if key != "hydra"])
    _check_parts(check(settings)["sweep"])
    own, _ = split(words)
    ranges = of_parts(base.hydra.runtime.choices, folders(words)) if base.sweep.parts else []
    fixed, varied = split_space(own, [*base.sweep.space, *ranges])
    space = distributions(varied, folders(words))
    compose = _Jobs(fixed, Composer(words))
    compose(0, {key: _lowest(one) for key, one in space.items()})  # refuses unknown keys before any trial
    with _opened(settings, varied) as study:
        launcher = Launcher(base)
        waiting = [compose(trial.number, trial.params) for trial in _left_open(study)]
        print(f"study {settings.study}: {_beginning(study, settings.sweep.trials)}", flush=True)
        leave_agent()
        states: dict[int, State] = {}
        while not launcher.stopped:
            batch, waiting = waiting[: launcher.parallel], waiting[launcher.parallel :]
            while len(batch) < launcher.parallel and _number(study) < settings.sweep.trials:
                batch.append(_ask(study, settings, space, compose))
            if not batch:
                break
            refusals = launcher.launch([trial.job for trial in batch])
            for trial in batch:
                states[trial.number] = outcome(state_of(trial.job.folder), refusals)
                _tell(study, trial, states[trial.number], settings.sweep.metric)
        print(_report(study, states, settings.sweep.metric), flush=True)
    if launcher.stopped:
        raise Interruption("interrupted: the same command goes on")
    return done(states.values())


def _check_parts(sweep: Mapping[str, Any]) -> None:
    """Refuse a sampler or a pruner that is none, or that refuses its arguments.

    Raises:
        InputError: naming the key.
    """
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler

    kinds: dict[str, type] = {"sampler": BaseSampler, "pruner": BasePruner}
    for key, kind in kinds.items():
        section, where = sweep[key], f"sweep.{key}"
        if key == "pruner" and not section:
            continue
        if not isinstance(section, Mapping) or "_target_" not in section:
            raise InputError(f"{where}={said(section)}: it has to be a section with an Optuna {key} as its _target_")
        part = instantiate(section, where, **({"seed": 0} if key == "sampler" else {}))
        if not isinstance(part, kind):
            raise InputError(f"{where}._target_={section['_target_']}: it has to be an Optuna {key}")


class _Jobs:
    """Composes and checks the job of a trial from its parameters."""

    def __init__(self, fixed: Words, composer: Composer) -> None:
        self._fixed = fixed
        self._composer = composer

    def __call__(self, number: int, params: Mapping[str, Any]) -> _Trial:
        words = (*self._fixed, *words_of(params), f"sweep.trial={number}")
        cfg = self._composer(words)
        check(cfg)
        return _Trial(number, params, Job(words, folder_of(plain(cfg))))


@contextmanager
def _opened(settings: DictConfig, varied: Mapping[str, str]) -> "Iterator[Study]":
    """The Optuna study in its storage, locked for this process; created if missing."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path = Path(settings.sweep.storage)
    config = plain(settings)
    goal = monitor_of(config["sweep"], "sweep", config["evaluation"])
    like = {
        "format": FORMAT,
        "settings": identity(config),
        "space": dict(varied),
        "metric": settings.sweep.metric,
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock"), timeout=0):
            study = optuna.create_study(
                storage=open_storage(path),
                study_name=str(settings.study),
                direction="maximize" if goal.mode == "max" else "minimize",
                load_if_exists=True,
            )
            known = study.user_attrs.get("like", like)
            if "format" not in known:  # written by a version that hashed settings in another way
                known = {**known, "format": FORMAT, "settings": like["settings"]}
            if known != like:
                raise InputError(f"{path} holds a search over other settings: set another study, or move it away")
            study.set_user_attr("like", like)
            yield study
    except Timeout:
        raise InputError(f"{path}: another process is searching; wait for it, or set another study") from None
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}; set paths.output_dir") from error


def _left_open(study: "Study") -> list[Any]:
    """Trials that an earlier invocation left open. Trials with incomplete parameters are marked as failed."""
    from optuna.trial import TrialState

    left = []
    for trial in study.get_trials(states=[TrialState.RUNNING]):
        if _ran(trial):
            left.append(trial)
        else:
            study.tell(trial.number, state=TrialState.FAIL)
    return left


def _number(study: "Study") -> int:
    """How many trials count: all whose parameters were drawn."""
    from optuna.trial import TrialState

    trials = study.get_trials(deepcopy=False)
    return sum(trial.state != TrialState.FAIL or _ran(trial) for trial in trials)


def _ran(trial: Any) -> bool:
    return bool(trial.user_attrs.get("drawn"))


def _ask(study: "Study", settings: DictConfig, space: "Mapping[str, BaseDistribution]", compose: _Jobs) -> _Trial:
    import numpy as np

    number = len(study.get_trials(deepcopy=False))
    # The proposal depends on the trials so far, not on the number of interruptions.
    seed = int(np.random.SeedSequence([settings.sweep.seed, number]).generate_state(1)[0])
    study.sampler = instantiate(plain(settings.sweep.sampler), "sweep.sampler", seed=seed)
    trial = study.ask(dict(space))
    trial.set_user_attr("drawn", True)
    return compose(trial.number, trial.params)


def _tell(study: "Study", trial: _Trial, state: State, metric: str) -> None:
    from optuna.trial import TrialState

    if state.status == PRUNED:
        study.tell(trial.number, state=TrialState.PRUNED)
    elif state.status == FINISHED:
        summary = read_json(trial.job.folder / "summary.json")
        values = [summary[key] for key in (f"best/{metric}", metric) if key in summary]
        if not values:
            raise InputError(f"sweep.metric={metric}: {trial.job.folder} has no such figure in its summary.json")
        if values[0] is None or not math.isfinite(values[0]):  # JSON has no infinity
            study.tell(trial.number, state=TrialState.FAIL)
        else:
            study.tell(trial.number, values[0])


def _beginning(study: "Study", trials: int) -> str:
    number = Counter(trial.state.name for trial in study.get_trials(deepcopy=False) if _ran(trial))
    new = max(0, trials - _number(study))
    finished = {"finished": number["COMPLETE"], "without a finite metric": number["FAIL"], "pruned": number["PRUNED"]}
    parts = {**finished, "to resume": number["RUNNING"], "new": new}
    return f"{trials} trials: " + ", ".join(f"{count} {kind}" for kind, count in parts.items() if count)


def _report(study: "Study", states: Mapping[int, State], metric: str) -> str:
    """The table of all trials, the best trial, and the failures."""
    from optuna.trial import TrialState

    names = {
        TrialState.COMPLETE: FINISHED,
        TrialState.FAIL: FINISHED,
        TrialState.PRUNED: PRUNED,
        TrialState.RUNNING: "open",
    }
    lines = [f"\ntrial  status     {metric:>16}      time  parameters"]
    trials = [trial for trial in study.get_trials(deepcopy=False) if trial.state in names and _ran(trial)]
    for trial in trials:
        state = states.get(trial.number)
        status = state.status if state and trial.state == TrialState.RUNNING else names[trial.state]
        infinite = trial.state == TrialState.FAIL
        value = "not finite" if infinite else "-" if trial.value is None else f"{trial.value:.4f}"
        seconds = duration(state.seconds if state else None)
        reason = f"  ({state.reason})" if state and state.reason and not done([state]) else ""
        words = " ".join(words_of(trial.params))
        lines.append(f"{trial.number:>5}  {status:<11}{value:>16}{seconds:>10}  {words}{reason}")
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    if complete:
        best = study.best_trial
        lines.append(f"best: trial {best.number}, {metric} {best.value:.4f} with {' '.join(words_of(best.params))}")
    return "\n".join(lines)


def _lowest(one: "BaseDistribution") -> Any:
    return getattr(one, "low", None) if hasattr(one, "low") else one.choices[0]  # type: ignore[attr-defined]

"""``python train.py -m``: a study by one command, which can be repeated until all runs are finished."""

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from omegaconf import DictConfig

from metriscope.errors import RunError
from metriscope.run.record import FAILED, FINISHED, MISSING, PRUNED, RUNNING
from metriscope.sweeps.jobs import ELSEWHERE, Refusal
from metriscope.sweeps.launch import Launcher, check_launcher
from metriscope.sweeps.plan import Plan, plan
from metriscope.sweeps.states import State, counts, state_of, table

# A longer table shows only unfinished runs.
_ROWS = 40
# Variables in which a W&B agent names its single run; with them every job would log to that run.
_OF_ONE_RUN = ("WANDB_RUN_ID", "WANDB_SWEEP_ID", "WANDB_SWEEP_PARAM_PATH")


class Interruption(KeyboardInterrupt):
    """A signal stopped the sweep; the runs it had begun are saved."""


# A run that is at work belongs to another process.
_DONE = (FINISHED, PRUNED, RUNNING)


def done(states: Iterable[State]) -> bool:
    """Whether every run is finished, pruned, or at work elsewhere; one that is missing is not."""
    return all(state.status in _DONE for state in states)


def sweep(words: Sequence[str], base: DictConfig) -> bool:
    """Run all unfinished jobs that the overrides describe; print the number of runs by status before and after.

    Args:
        words: overrides of the command line.
        base: config composed from the first value of each override, with Hydra's own settings.

    Returns:
        As :func:`done`.

    Raises:
        InputError: an override or a config is invalid; raised before any run starts.
        RunError: the launcher failed.
        Interruption: a signal stopped the sweep.
    """
    check_launcher(base)
    planned = plan(words, base)
    print(f"study {planned.study}: {_beginning(planned)}", flush=True)
    if not planned.todo:
        return True
    leave_agent()
    launcher = Launcher(base)
    gave_up, refusals = None, {}
    try:
        refusals = launcher.launch(planned.todo)
    except RunError as error:
        gave_up = error
    states = [outcome(state_of(job.folder), refusals) for job in planned.jobs]
    report(states, planned.study, f"study {planned.study}: {counts(states)}")
    if gave_up:
        raise gave_up
    if launcher.stopped:
        raise Interruption("interrupted: the same command goes on")
    return done(states)


def leave_agent() -> None:
    """Give every job its own W&B run, also if a W&B agent started one run for the whole command."""
    for name in _OF_ONE_RUN:
        os.environ.pop(name, None)


def _beginning(planned: Plan) -> str:
    """``12 runs: 9 finished, 1 to resume, 1 to repeat (failed), 1 new``."""
    todo = {job.folder for job in planned.todo}
    number = Counter(_kind(state, state.folder in todo) for state in planned.states)
    parts = ", ".join(f"{number[kind]} {kind}" for kind in _KINDS if number[kind])
    return f"{len(planned.states)} run{'s' * (len(planned.states) != 1)}: {parts}"


_KINDS = ("finished", "running elsewhere", "to resume", "to repeat (failed)", "to run afresh", "new")


def _kind(state: State, todo: bool) -> str:
    if state.status == FINISHED:
        return "to run afresh" if todo else "finished"
    if state.status == RUNNING:
        return "running elsewhere"
    if state.status == FAILED:
        return "to repeat (failed)"
    return "new" if state.status == MISSING else "to resume"


def outcome(state: State, refusals: Mapping[Path, Refusal]) -> State:
    """The state of a run after its job; a refusal of the job replaces the state of the folder."""
    refusal = refusals.get(state.folder)
    if refusal is None:
        return state
    if refusal.status == ELSEWHERE:
        return state if state.status == FINISHED else replace(state, status=RUNNING, reason=refusal.reason)
    return state if state.status == FAILED else replace(state, status=FAILED, reason=refusal.reason)


def report(states: Sequence[State], study: Path, last: str) -> None:
    """Print the table of a sweep's runs."""
    rows = states if len(states) <= _ROWS else [state for state in states if state.status != FINISHED]
    print(f"\n{table(rows, study)}" if rows else "", flush=True)
    print(last, flush=True)

"""Repeats of a fair comparison as one run each, also where each is the models of several folds. Imports no torch."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from metriscope.config.evaluates import CONCATENATED, EVALUATES
from metriscope.reports.fair_study import ENTRY, FairStudy
from metriscope.reports.groups import FOLD
from metriscope.run.study import Study, StudyRun

WAY = "models.name"
"""Key that the report adds to the config of each repeat of fold models: how they were scored."""
SEPARATED = "separated"
_Repeat = tuple[str, Any]


def scored(study: FairStudy) -> dict[str, Study]:
    """The finished repeats, one run each, by the way in which their models were scored.

    Of fold models there are two ways: ``separated``, the mean of the figures of the models of all folds, and
    ``concatenated``, the figures of their embeddings as one; of one model for all training classes the only way is
    ``""``. A repeat of which a model is missing is left out.
    """
    if study.runs is None or not study.runs.finished:
        return {}
    if not study.of_folds:
        return {"": study.runs}
    ways = {SEPARATED: _separated(study, study.runs.finished), CONCATENATED: _concatenated(study.runs.finished)}
    return {way: replace(study.runs, runs=runs) for way, runs in ways.items() if runs}


def runs_of(study: FairStudy, way: str) -> list[StudyRun]:
    """The finished runs that have a part in what was scored in one way."""
    runs = study.runs.finished if study.runs else []
    return [run for run in runs if bool(run.config.get(EVALUATES)) == (way == CONCATENATED)]


def together(ways: Mapping[str, Study]) -> Study:
    """The repeats of all ways as one study, told apart by :data:`WAY`."""
    studies = list(ways.values())
    return replace(studies[0], runs=[run for one in studies for run in one.runs])


def _separated(study: FairStudy, runs: Sequence[StudyRun]) -> list[StudyRun]:
    found: dict[_Repeat, list[StudyRun]] = {}
    for run in runs:
        if not run.config.get(EVALUATES):
            found.setdefault((run.config[ENTRY], run.config["seed"]), []).append(run)
    return [_mean(models) for models in found.values() if len(models) == study.definition["folds"]]


def _mean(models: Sequence[StudyRun]) -> StudyRun:
    """One run with the mean of each figure that all models have."""
    first = models[0]
    keys = [key for key in first.metrics if all(key in one.metrics for one in models)]
    metrics = {key: math.fsum(one.metrics[key] for one in models) / len(models) for key in keys}
    return replace(first, config=_config(first, SEPARATED), metrics=metrics, history=lambda keys: [], folder=None)


def _concatenated(runs: Sequence[StudyRun]) -> list[StudyRun]:
    own = [run for run in runs if run.config.get(EVALUATES) == CONCATENATED]
    return [replace(run, config=_config(run, CONCATENATED)) for run in own]


def _config(run: StudyRun, way: str) -> dict[str, Any]:
    """The config of a repeat: neither a fold's nor that of an evaluation."""
    return {**{key: value for key, value in run.config.items() if key not in (FOLD, EVALUATES)}, WAY: way}

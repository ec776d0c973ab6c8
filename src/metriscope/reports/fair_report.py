"""The report of a fair comparison: one page with tables and figures, and its figures as files. Imports no torch."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from metriscope.config.evaluates import ZERO_SHOT
from metriscope.escapes import for_markdown
from metriscope.evaluation.metrics import logged
from metriscope.files import folder_in, replacing
from metriscope.reports.comparison import Comparison, compare
from metriscope.reports.fair_checks import FEWEST, Check, checks, checks_table, failures
from metriscope.reports.fair_models import WAY, runs_of, scored, together
from metriscope.reports.fair_pairs import all_pairs, pairs_rows, pairs_table, precisions_of
from metriscope.reports.fair_search import (
    Search,
    expected_best_figure,
    expected_best_rows,
    importance_rows,
    orders,
    search_rows,
    search_table,
    searches,
    winners_table,
)
from metriscope.reports.fair_study import ENTRY, FairStudy, read_fair
from metriscope.reports.ranks import critical_difference
from metriscope.reports.references import AtHand, at_hand, read_references, reference_tables
from metriscope.reports.report_folder import report_folder
from metriscope.reports.statistics import summarize
from metriscope.reports.study_figures import write_figures
from metriscope.reports.style import guarded, save_as
from metriscope.reports.table_formats import csv_text, markdown_table, markdown_tables, write_tables
from metriscope.reports.table_style import Written
from metriscope.reports.tables import Shown, Table
from metriscope.run.fair import MANIFEST, command
from metriscope.run.record import duration
from metriscope.run.study import Study

_RETRIEVAL = logged(
    "test", "recall_at_1", "recall_at_2", "recall_at_4", "recall_at_8", "map_at_r", "r_precision", "pair_auc"
)
_SPACE = (
    *logged("test", "variance_intra", "variance_inter", "variance_ratio"),
    *logged("train", "active_ratio", "active_ratio_pairs", "grad_norm"),
)
_FIGURES = ("intervals", "recall_against_variance")
_PUBLISHED = "mlrc"
_WAYS = (
    "Separated: the mean of the figures of the models of a repeat. Concatenated: their embeddings, each of unit "
    "length, as one (arXiv:2003.08505).\n"
)


def write_fair_report(folder: Path, out: Path | None = None) -> Path:
    """Write ``README.md``, figures and CSV files of a fair comparison; while it searches, of the search so far.

    Needs definition, ledger and manifest; what rests on repeats needs their run folders. Costs seconds: a forest of
    64 trees for each entry, and reading ``per_query.csv`` of every repeat.

    Args:
        folder: of the study, by ``metriscope fair``.
        out: where the report goes; ``report`` in the study's folder by default.

    Returns:
        the path of ``README.md``.

    Raises:
        InputError: the folder holds no fair comparison, or one of its files cannot be read; naming it.
        OSError: the report cannot be written.
    """
    study = read_fair(folder)
    place = report_folder(folder, out)
    found, lacking = searches(study)
    judged = checks(study)
    ways = scored(study)
    tested = {way: compare(one, [ENTRY], _measured(study, one)) for way, one in ways.items()}
    both = together(ways) if len(ways) > 1 else None
    shown = compare(both, [ENTRY, WAY], _measured(study, both)) if both else next(iter(tested.values()), None)
    repeats = len(next(iter(ways.values())).finished) if ways else 0
    parts = [*_head(study, repeats, judged, [*lacking, *(shown.notes if shown else ())])]
    if shown is not None:
        parts += _results(study, shown, tested, place)
    parts += _search(study, found, place)
    if ways:
        parts += _spaces(next(iter(ways.values())))
    parts += ["## Checks\n", markdown_table(checks_table(judged))]
    parts += _references(study, found, next(iter(tested.values()), None))
    parts += [*_times(study, found), *_circumstances(study)]
    _write(place / "README.md", "\n".join(parts))
    return place / "README.md"


def _measured(study: FairStudy, repeats: Study) -> list[str]:
    """The test metrics that the page shows, among those that any repeat has."""
    there = {metric for run in repeats.finished for metric in run.metrics}
    return [metric for metric in dict.fromkeys((study.tested, *_RETRIEVAL)) if metric in there]


def _head(study: FairStudy, repeats: int, judged: Sequence[Check], notes: Sequence[str]) -> list[str]:
    said = study.manifest["hash"] if study.manifest else "none: the search is not closed"
    lines = [*study.notes, *failures(judged), *notes]
    models = " with everything redrawn"
    if study.of_folds:
        models = (
            f" of {study.definition['folds']} models, each without one fold, with everything but the folds redrawn,"
        )
    return [
        f"# A fair comparison of {len(study.entries)} losses: {for_markdown(study.folder.resolve().name)}\n",
        f"{len(study.trials)} trials on folds of the training data chose the settings, and {repeats} repeats{models} "
        "were tested.\n",
        f"- manifest: `{said}`\n- ledger (SHA-256): `{study.digest}`\n",
        *(f"> **Note:** {for_markdown(line)}\n" for line in dict.fromkeys(lines)),
    ]


def _results(study: FairStudy, shown: Comparison, tested: Mapping[str, Comparison], place: Path) -> list[str]:
    """Tables of the test metrics, the pairs of entries, and figures.

    Args:
        study: the comparison.
        shown: all repeats.
        tested: the repeats by the way in which they were scored.
        place: folder of the report.
    """
    metric = study.tested
    write_tables(shown, place, ("csv", "tex", "json"))
    parts = ["## Results on test classes\n", *([_WAYS] if study.of_folds else []), markdown_tables(shown)]
    if study.zero_shot is not None and study.zero_shot.finished:
        there = [m for m in shown.metrics if any(m in run.metrics for run in study.zero_shot.finished)]
        if there:
            alone = compare(study.zero_shot, [ENTRY], there)
            parts += [f"The trunk without training ({ZERO_SHOT}):\n", markdown_tables(alone)]
    if metric not in shown.metrics:
        return [*parts, f"No repeat has {metric}, so entries are not tested against each other.\n"]
    figures = write_figures(shown, place / "figures", _FIGURES)
    for way, one in tested.items():
        parts += _differences(study, way, one, place)
        draw = partial(critical_difference, Written(one), metric, over_repeats=True)
        figures += _figure(place, "_".join(filter(None, ("critical_difference", way))), draw)
    return [*parts, *_pictures(figures, place), *_defaults(study)]


def _differences(study: FairStudy, way: str, tested: Comparison, place: Path) -> list[str]:
    """All pairs of entries, scored in one way."""
    written, metric = Written(tested), study.tested
    fewest = min(len(group.runs) for group in tested.grouping.groups)
    parts = [f"## Differences in {for_markdown(written.metric(metric))}{f', {way}' if way else ''}\n"]
    if metric not in tested.metrics:
        return [*parts, f"No repeat has {metric}.\n"]
    if fewest < FEWEST:
        parts += [f"Too few repeats for an interval: {fewest}, and {FEWEST} are needed.\n"]
    precisions, notes = precisions_of(runs_of(study, way))
    pairs = all_pairs(tested, metric, precisions)
    if pairs:
        parts += [markdown_table(pairs_table(pairs, written, metric))]
        _write(place / f"{'_'.join(filter(None, ('pairs', way)))}.csv", csv_text(pairs_rows(pairs)))
    elif len(tested.grouping.groups) > 1:
        parts += ["No two entries have a repeat in common.\n"]
    parts += [f"> **Note:** {for_markdown(line)}\n" for line in notes]
    if pairs and not any(pair.queries for pair in pairs):
        parts += ["No test over queries: repeats have no per_query.csv (evaluation.per_query=true).\n"]
    return parts


def _defaults(study: FairStudy) -> list[str]:
    """The same metrics of the default settings, where the study repeats these."""
    if study.untuned is None or not study.untuned.finished:
        return []
    said = "Repeats of trial 0 of each search, with its own steps and the same seeds:\n"
    return [
        "## The default settings\n",
        said,
        markdown_tables(compare(study.untuned, [ENTRY], _measured(study, study.untuned))),
    ]


def _search(study: FairStudy, found: Sequence[Search], place: Path) -> list[str]:
    if not found:
        return ["## The price of tuning\n", "No trial is complete.\n"]
    _write(place / "expected_best.csv", csv_text(expected_best_rows(found)))
    _write(place / "search.csv", csv_text(search_rows(found)))
    parts = ["## The price of tuning\n", markdown_table(search_table(study, found))]
    if len(found) > 1:
        parts += [f"The best expected after k trials: {for_markdown(orders(found, study.sign))}.\n"]
    name = study.folder.resolve().name
    parts += _pictures(_figure(place, "expected_best", lambda: expected_best_figure(study, found, name)), place)
    if any(one.best.params for one in found):
        parts += ["## What won, and which parameters matter\n", markdown_table(winners_table(study, found))]
    if any(one.weights for one in found):
        _write(place / "importances.csv", csv_text(importance_rows(found)))
    return parts


def _spaces(repeats: Study) -> list[str]:
    """Variances and greediness of the tuned losses."""
    there = {metric for run in repeats.finished for metric in run.metrics}
    metrics = [metric for metric in _SPACE if metric in there]
    if not metrics:
        return []
    return ["## Variance and greediness of the tuned losses\n", markdown_tables(compare(repeats, [ENTRY], metrics))]


def _references(study: FairStudy, found: Sequence[Search], tested: Comparison | None) -> list[str]:
    """Published figures of the same data set beside those of the search and of the repeats."""
    if tested is None:
        return []
    published = read_references(_PUBLISHED)
    data = {run.config.get("dataset.name") for run in tested.study.finished}
    same = [one for one in published if one.dataset in data]
    head = "## Published figures\n"
    if not same:
        return [head, f"{_PUBLISHED} has no figures of {for_markdown(', '.join(map(str, data)))}.\n"]
    metrics = [one.metric for one in same]
    folds = {one.entry: summarize(one.best.folds) for one in found if one.best.folds}
    disjoint = {run.config.get("dataset.protocol") for run in tested.study.finished} == {"class_disjoint"}
    protocol = {
        "folds": str(study.definition.get("folds", "-")),
        "trials": str(study.definition.get("trials", "-")),
        "selection": f"best trial by {study.metric}, mean over folds of training "
        f"{'classes' if disjoint else 'samples'}",
    }  # fmt: skip
    methods = []
    for group, one in zip(tested.grouping.groups, at_hand(Written(tested), metrics), strict=True):
        own = folds.get(group.values[ENTRY])
        figures = {**one.figures, **({study.metric: own} if own else {})}
        methods.append(AtHand(one.label, one.config, figures, protocol))
    tables = reference_tables(same, methods)
    beside = f"Beside {study.metric} stands that of the best trial, over its folds.\n"
    return [head, *map(markdown_table, tables), beside]


def _times(study: FairStudy, found: Sequence[Search]) -> list[str]:
    runs = study.runs.finished if study.runs else []
    rows = []
    for entry in study.entries:
        search = sum(trial.seconds for trial in study.of(entry))
        repeats = sum(run.record.seconds or 0.0 for run in runs if run.config[ENTRY] == entry)
        rows.append((entry, search, repeats))
    zero = sum(run.record.seconds or 0.0 for run in study.zero_shot.finished) if study.zero_shot else 0.0
    rows += [(ZERO_SHOT, 0.0, zero)] if study.zero_shot else []
    rows += [("all", sum(row[1] for row in rows), sum(row[2] for row in rows))]
    shown = [[Shown([text]) for text in (name, *map(duration, (a, b, a + b)))] for name, a, b in rows]
    caption = "Time of the processes that worked; several may have worked at once."
    return ["## Time\n", markdown_table(Table(caption, ["entry", "search", "repeats", "together"], shown, 1))]


def _circumstances(study: FairStudy) -> list[str]:
    """The command, and what the definition fixes, in lines."""
    kept = ("metric", "versions", "data")
    lines = [f"- {key}: {for_markdown(_plain(study.definition[key]))}" for key in kept if key in study.definition]
    words = command(study.definition)
    # A file that somebody else wrote must not end the block of code, nor be taken for HTML.
    safe = words.isprintable() and not {"`", "<"} & set(words)
    words = f"```console\n{words}\n```\n" if safe else f"{for_markdown(words)}\n"
    asked = ["Asked for by these words, and by the ranges that are searched:\n", words]
    return ["## Conditions\n", *asked, "\n".join(lines) + "\n", f"All of it is in `{MANIFEST}`.\n"]


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_plain(item)}" for key, item in value.items())
    return " ".join(map(_plain, value)) if isinstance(value, list | tuple) else str(value)


def _figure(place: Path, name: str, draw: Any) -> list[Path]:
    def write() -> list[Path]:
        figure = draw()
        return [] if figure is None else save_as(figure, folder_in(place, "figures") / name, ("png", "svg"))

    return guarded(name, write) or []


def _pictures(paths: Sequence[Path], place: Path) -> list[str]:
    shown = [path.relative_to(place).as_posix() for path in paths if path.suffix == ".png"]
    return [f"![{Path(name).stem.replace('_', ' ')}]({name})\n" for name in shown]


def _write(path: Path, text: str) -> None:
    with replacing(path) as draft:
        draft.write_text(text, encoding="utf-8")

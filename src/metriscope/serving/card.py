"""The card of an exported model: what it is, what it was trained on, its figures, and how to use it, in Markdown."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from metriscope.build.trained import Trained, tested
from metriscope.config.trainer import evaluates_average
from metriscope.errors import InputError
from metriscope.escapes import for_markdown, shown
from metriscope.evaluation.metrics import direction_of, metric_of, ordered
from metriscope.reports.statistics import CONFIDENCE, summarize
from metriscope.run.record import FINISHED, read_summary
from metriscope.run.study import repeats
from metriscope.serving.command import name_of, public_command
from metriscope.serving.embedder import Embedder
from metriscope.serving.onnx import Check
from metriscope.serving.usage import fenced, noun, usage, with_onnx

_FILL_IN = "*to be filled in*"
_TEST = "test/"


def card(run: Trained, model: Embedder, check: Check | None = None) -> str:
    """The text of the card.

    All that comes from the run is escaped; paths of a machine and its name are left out.

    Args:
        run: that was trained.
        model: of this run.
        check: how far the ONNX graph is from torch; None without one.

    Raises:
        InputError: the figures of the run cannot be read.
    """
    figures, why_none = _figures(run)
    parts = [
        _front(run, model, figures, check is not None),
        f"# {_title(run.config)}\n",
        f"An embedding model, trained with Metriscope on {_name(run.config['dataset'])}: it turns "
        f"{noun(model)} into vectors, in which those of one class lie close together.\n",
        _model(run.config, model),
        _data(run, model),
        _table(run, figures) if figures else f"## Figures\n\n{why_none}\n",
        _training(run, model),
        usage(model),
        with_onnx(model, check) if check is not None else "",
        _LIMITS,
        _licences(run.config),
    ]
    return "\n".join(part for part in parts if part)


def _figures(run: Trained) -> tuple[dict[str, float], str]:
    """Figures of the test set by their key; where there are none, why."""
    if run.record.status != FINISHED:
        return {}, f"None: the run is not finished ({run.record.status})."
    which = tested(run.folder)
    if run.checkpoint.stem != which:
        return {}, f"None: the figures of the run are of its checkpoint {which}, and this is the {run.checkpoint.stem}."
    summary = read_summary(run.folder)
    known = {key: value for key, value in summary.items() if key.startswith(_TEST) and value is not None}
    listed = [f"{_TEST}{metric.key}" for metric in ordered(known)]
    own = [key for key in known if metric_of(key) is None]
    return {key: known[key] for key in (*listed, *own)}, "None: the run measured none."


def _front(run: Trained, model: Embedder, figures: Mapping[str, float], graph: bool) -> str:
    config, names = run.config, [key.removeprefix(_TEST) for key in figures if direction_of(key) is not None]
    task = "image-feature-extraction" if model.preparation.of_images else "feature-extraction"
    dataset = shown(str(config["dataset"]["name"]))
    content: dict[str, Any] = {
        "library_name": "metriscope",
        "pipeline_tag": task,
        "license": "other",
        "license_name": "to-be-filled-in",
        "tags": ["metriscope", "metric-learning", "retrieval", *(["onnx"] if graph else [])],
    }
    if names:
        content["metrics"] = names
        measured = [
            {"type": name, "name": _title_of(run, name), "value": round(float(figures[f"{_TEST}{name}"]), 6)}
            for name in names
        ]
        result = {"task": {"type": task}, "dataset": {"type": dataset, "name": dataset}, "metrics": measured}
        content["model-index"] = [{"name": shown(_plain_title(config)), "results": [result]}]
    return f"---\n{yaml.safe_dump(content, sort_keys=False, allow_unicode=True)}---\n"


def _plain_title(config: Mapping[str, Any]) -> str:
    return ", ".join(_plain_name(config[group]) for group in ("dataset", "backbone", "loss"))


def _title(config: Mapping[str, Any]) -> str:
    return for_markdown(_plain_title(config))


def _plain_name(section: Mapping[str, Any]) -> str:
    """What a config calls a part; its class where it has no name."""
    return str(section.get("name") or str(section.get("_target_", "none")).rpartition(".")[2])


def _name(section: Mapping[str, Any]) -> str:
    return for_markdown(_plain_name(section))


def _model(config: Mapping[str, Any], model: Embedder) -> str:
    described, weights = model.described, config["backbone"].get("weights")
    parameters = sum(parameter.numel() for parameter in model.network.parameters())
    initial = "random" if weights is None else for_markdown(name_of(str(weights)))
    unit = model.network.normalize
    rows = {
        "trunk": f"{_name(config['backbone'])}, initial weights: {initial}",
        "head": _name(config["head"]),
        "parameters": f"{parameters:,}",
        "input": " x ".join(map(str, model.preparation.input_shape)),
        "normalisation of the input": _statistics(described.mean, described.std),
        "embedding": f"D = {model.size}, {'scaled to unit length (L2)' if unit else 'not normalised'}",
        "loss": f"{_name(config['loss'])}, miner {_name(config['miner'])}, distance {_name(config['distance'])}",
        **_average(config),
        "search": "Euclidean distance" + (", in the order of cosine similarity" if unit else ""),
    }
    return f"## The model\n\n{_lines(('part', 'what it is'), rows.items())}"


def _average(config: Mapping[str, Any]) -> dict[str, str]:
    if not evaluates_average(config.get("evaluation") or {}):
        return {}
    decay = (config.get("trainer") or {}).get("ema_decay")
    return {"weights": f"a moving average over the steps of training, decay {for_markdown(str(decay))}"}


def _statistics(mean: Sequence[float] | None, std: Sequence[float] | None) -> str:
    if mean is None and std is None:
        return "none beyond the scale of [0, 1]"
    said = ("-" if values is None else ", ".join(f"{value:.4g}" for value in values) for values in (mean, std))
    return "mean {}; standard deviation {} (scale [0, 1])".format(*said)


def _data(run: Trained, model: Embedder) -> str:
    dataset = run.config["dataset"]
    lines = [f"Data set {_name(dataset)}, protocol {for_markdown(str(dataset['protocol']))}."]
    content = (run.record.data or {}).get("content")
    parts = content.get("parts") if isinstance(content, Mapping) else None
    if isinstance(parts, Mapping) and all(isinstance(part, list) and len(part) == 2 for part in parts.values()):
        rows = [(for_markdown(str(name)), *(_count(number) for number in part)) for name, part in parts.items()]
        lines.append(_lines(("part", noun(model), "classes"), rows).strip())
    else:
        lines.append("The run has not written down how many examples its parts have.")
    if dataset.get("train_labels") == "coarse":
        lines.append(
            "Training used **coarse labels** (dataset.train_labels=coarse), the superclasses of these classes."
        )
    if dataset.get("test_labels") == "coarse":
        lines.append(
            "Figures are of **coarse labels** (dataset.test_labels=coarse), the superclasses of these classes."
        )
    if dataset.get("label_noise"):
        share = dataset["label_noise"]
        lines.append(f"Training labels were made **wrong** (dataset.label_noise={for_markdown(str(share))}).")
    verified = dataset.get("verify")
    if verified is True:
        lines.append("The numbers of images and classes were verified: they are those that were published.")
    elif verified is False:
        lines.append("The data were **not verified** (dataset.verify=false): images may have been missing.")
    else:
        lines.append("The data were **not verified** against published numbers of images and classes.")
    return "## Data\n\n" + "\n\n".join(lines) + "\n"


def _count(number: Any) -> str:
    return f"{number:,}" if isinstance(number, int) else "-"


def _table(run: Trained, figures: Mapping[str, float]) -> str:
    try:
        others = repeats(run.folder)
    except (InputError, OSError):
        others = []
    columns = ["figure of the test part", "this model"]
    several = len(others) > 1
    if several:
        columns += [f"mean over {len(others)} seeds", f"{CONFIDENCE:.0%} interval of the mean"]
    rows = []
    for key, value in figures.items():
        row = [for_markdown(_title_of(run, key.removeprefix(_TEST))), _number(value)]
        if several:
            found = summarize([one.metrics[key] for one in others if key in one.metrics] or [value])
            n = "" if found.n == len(others) else f" (n = {found.n})"
            low_high = "-" if found.interval is None else f"[{', '.join(map(_number, found.interval))}]"
            row += [f"{_number(found.mean)}{n}", low_high]
        rows.append(row)
    note = (
        f"n = {len(others)}: the finished runs of the same config that differ in the seed alone, this one among them; "
        "t interval of the mean."
        if several
        else "n = 1: no other seed of this run is beside it, so that no interval is known."
    )
    return f"## Figures\n\n{_lines(columns, rows)}\n{note}\n"


def _title_of(run: Trained, name: str) -> str:
    known = metric_of(name)
    return known.title if known is not None else shown(str((run.record.metrics.get(name) or [name])[0] or name))


def _number(value: float) -> str:
    return f"{value:.4g}"


def _training(run: Trained, model: Embedder) -> str:
    record, config = run.record, run.config
    command = public_command(record.command, record.host)
    lines = ["## How it was trained\n"]
    if command is None:
        lines.append("From Python, so that no command is known.\n")
    else:
        sweep = {"-m", "--multirun"} & set(record.command)
        lines.append(fenced(command, "console"))
        lines.append("Paths are reduced to names; keys of folders, loggers and studies are left out.")
        lines.append(f"It is a sweep, of which this is one run of seed {config['seed']}.\n" if sweep else "")
    git = record.git or {}
    commit = re.sub(r"[^0-9a-f]", "", str(git.get("commit", "")))[:40]
    rows = {
        "seed": str(config["seed"]),
        "epochs": "-" if record.epochs is None else str(record.epochs),
        "checkpoint": for_markdown(run.checkpoint.stem),
        "git commit": (commit or "-") + (", with local changes" if git.get("dirty") else ""),
        "run": for_markdown(str(record.identity or "-")[:16]),
        "digest of the model": model.digest,
        **{for_markdown(name): for_markdown(number) for name, number in record.versions.items()},
    }
    return "\n".join(lines) + "\n" + _lines(("what", "value"), rows.items())


def _licences(config: Mapping[str, Any]) -> str:
    weights = config["backbone"].get("weights")
    rows = {"these weights": _FILL_IN}
    if weights is not None:
        rows[f"the initial weights ({for_markdown(name_of(str(weights)))})"] = _FILL_IN
    rows[f"the data ({_name(config['dataset'])})"] = _FILL_IN
    return f"## Licences\n\n{_lines(('of', 'licence'), rows.items())}"


_LIMITS = """## Intended use and limits

For search by similarity, grouping and research, on data like those it was trained on. Distances are of this model
alone: embeddings of two models cannot be compared. The figures above hold for the test part of the data set that is
named; on other data they may be far lower, and should be measured. A near neighbour is no proof that two pictures show
the same thing; the model was not examined for bias, and is not meant to identify people.
"""


def _lines(columns: Sequence[str], rows: Any) -> str:
    table = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(row)} |\n" for row in table)

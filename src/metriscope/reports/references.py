"""Published figures beside one's own, with their sources and the protocol keys in which they differ."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metriscope.annotations import said
from metriscope.config.evaluates import EVALUATES
from metriscope.config.files import title
from metriscope.errors import InputError, nearest
from metriscope.evaluation.metrics import metric_of
from metriscope.reading import read_bytes
from metriscope.reports.groups import Group
from metriscope.reports.statistics import Summary, summarize
from metriscope.reports.table_style import Written
from metriscope.reports.tables import Shown, Table

_FOLDER = Path(__file__).parent / "published"
_BYTES = 2**24
_NEEDED = ("loss", "dataset", "metric", "value", "source")
_FIXED = (*_NEEDED, "untuned", "published_as")
# Words for protocol keys, as papers use them; a column with a dot in its name is a config key itself.
_KEYS: Mapping[str, str] = {
    "trunk": "backbone.name",
    "size": "head.size",
    "input": "augmentation.size",
    "batch": "sampler.batch_size",
    "miner": "miner.name",
    "optimizer": "optimizer.name",
    "learning_rate": "optimizer.lr",
    "weight_decay": "optimizer.weight_decay",
    "augmentation": "augmentation.name",
    "selection": "evaluation.monitor",
}
# Where a run chooses nothing, it has no miner; where it has one that takes all, that chooses nothing either.
_ALIKE = {"miner": {"none", "all"}}


@dataclass(frozen=True)
class Published:
    """One published figure.

    Attributes:
        loss: name of the loss here.
        published_as: what the source calls it.
        dataset: name of the data set here.
        metric: logged key whose split says on which classes it was measured.
        value: the figure.
        untuned: the same before tuning; None where the source has none.
        source: where it stands.
        protocol: how it was measured, by protocol key.
    """

    loss: str
    published_as: str
    dataset: str
    metric: str
    value: float
    untuned: float | None
    source: str
    protocol: Mapping[str, str]


@dataclass(frozen=True)
class AtHand:
    """A method of the study at hand.

    Attributes:
        label: what tables call it.
        config: flat config of one of its runs.
        figures: summaries by metric.
        protocol: protocol keys of which the config knows nothing.
    """

    label: str
    config: Mapping[str, Any]
    figures: Mapping[str, Summary]
    protocol: Mapping[str, str]


def shipped() -> list[str]:
    """Names of the references that come with the package."""
    return sorted(path.stem for path in _FOLDER.glob("*.csv"))


def read_references(name: str) -> list[Published]:
    """Published figures from a shipped file or from a CSV file of one's own.

    A file has the columns ``loss``, ``dataset``, ``metric`` (a logged key such as ``val/map_at_r``), ``value`` and
    ``source``, and it may have ``untuned`` and ``published_as``. Every other column is a protocol key.

    Args:
        name: of a shipped file, such as ``mlrc``, or a path.

    Raises:
        InputError: there is no such file, or a row lacks its source or has a value that is no number; naming the line.
    """
    path = _FOLDER / f"{name}.csv" if name in shipped() else Path(name)
    if not path.is_file():
        hint = nearest(name, shipped())
        raise InputError(f"reference {name}: no such file, and none of {', '.join(shipped())}{hint}")
    try:
        text = read_bytes(path, _BYTES).decode("utf-8-sig")
        rows = list(csv.DictReader(io.StringIO(text, newline=""), strict=True, restval=""))
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as CSV ({error})") from error
    missing = [column for column in _NEEDED if rows and column not in rows[0]]
    if not rows or missing:
        raise InputError(
            f"{path}: {f'no column {missing[0]!r}' if missing else 'no rows'}; needed: {', '.join(_NEEDED)}"
        )
    return [_published(row, f"{path}, row {place}") for place, row in enumerate(rows, start=1)]


def _published(row: Mapping[str, Any], where: str) -> Published:
    if None in row:
        raise InputError(f"{where}: more cells than columns; put text with a comma in quotes")
    cells = {key: value.strip() for key, value in row.items()}
    if not cells["source"]:
        raise InputError(f"{where}: no source; say where the value was published, or leave the row out")
    if empty := [key for key in _NEEDED if not cells[key]]:
        raise InputError(f"{where}: {empty[0]} is empty")
    return Published(
        loss=cells["loss"],
        published_as=cells.get("published_as") or cells["loss"],
        dataset=cells["dataset"],
        metric=cells["metric"],
        value=_number(cells["value"], f"{where}: value"),
        untuned=_number(cells["untuned"], f"{where}: untuned") if cells.get("untuned") else None,
        source=cells["source"],
        protocol={key: value for key, value in cells.items() if key not in _FIXED and value},
    )


def _number(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{where} {text!r} is no finite number")
    return value


def at_hand(written: Written, metrics: Sequence[str]) -> list[AtHand]:
    """The groups of a comparison as methods to hold beside published figures; evaluations without training left out.

    Args:
        written: the comparison.
        metrics: whose figures are wanted; of a validation metric that of the selected epoch counts.
    """
    groups = [group for group in written.comparison.grouping.groups if not group.runs[0].config.get(EVALUATES)]
    return [
        AtHand(written.group(group), group.runs[0].config, {m: s for m in metrics if (s := _summary(group, m))}, {})
        for group in groups
    ]


def _summary(group: Group, metric: str) -> Summary | None:
    values = [run.metrics.get(f"best/{metric}", run.metrics.get(metric)) for run in group.runs]
    known = [value for value in values if value is not None]
    return summarize(known) if known else None


def reference_tables(published: Sequence[Published], methods: Sequence[AtHand]) -> list[Table]:
    """Published figures beside those of the study at hand, and what differs between the two protocols.

    Rows of losses and data sets that the study has; where it has none of the losses, or none of the data sets, of all.
    """
    losses = {method.config.get("loss.name") for method in methods}
    data = {method.config.get("dataset.name") for method in methods}
    rows = [one for one in published if one.loss in losses] or list(published)
    rows = [one for one in rows if one.dataset in data] or rows
    letters: dict[tuple[tuple[str, str, str], ...], str] = {}
    lines = []
    for one in rows:
        for method in _of(one, methods):
            apart = tuple(_apart(one, method or methods[0], alone=method is not None)) if methods else ()
            letter = letters.setdefault(apart, _letter(len(letters))) if apart else "none"
            figure = method.figures.get(one.metric) if method else None
            untuned = "-" if one.untuned is None else _figure(one.untuned)
            cells = [title("dataset", one.dataset), one.published_as, _metric(one.metric), _figure(one.value), untuned]
            cells += [method.label if method else "-", _said(figure), letter]
            lines.append([Shown([cell]) for cell in cells])
    columns = ["data set", "published as", "metric", "published", "untuned", "here", "its figure", "differs in"]
    tables = [Table(_caption(rows), columns, lines, 3)]
    if letters:
        caption = "What differs from the study at hand, by the letters of the table above; -: not known of the study."
        found = [[letter, *line] for apart, letter in letters.items() for line in apart]
        cells_of = [[Shown([cell]) for cell in line] for line in found]
        tables.append(Table(caption, ["", "protocol", "published", "here"], cells_of, 4))
    return tables


def _of(one: Published, methods: Sequence[AtHand]) -> Sequence[AtHand | None]:
    """The methods with its loss, on its data if there are any; None where there is none."""
    same = [method for method in methods if method.config.get("loss.name") == one.loss]
    return [method for method in same if method.config.get("dataset.name") == one.dataset] or same or [None]


def _apart(one: Published, method: AtHand, alone: bool) -> list[tuple[str, str, str]]:
    """Key, published value and own value of all in which a protocol differs from that of a method.

    Args:
        alone: whether the method is that of the published figure; another tells of the study, not of loss and miner.
    """
    data = str(method.config.get("dataset.name", "-"))
    found = [("data set", one.dataset, data)] if data != one.dataset else []
    for key, value in one.protocol.items():
        if not alone and (key == "miner" or key.startswith("loss.")):
            continue
        own = _own(key, method)
        if not _equal(value, own) and not {value, own} <= _ALIKE.get(key, set()):
            found.append((key.replace("_", " "), value, own))
    return found


def _own(key: str, method: AtHand) -> str:
    if key in method.protocol:
        return method.protocol[key]
    if key == "batch_norm":
        return _batch_norm(method.config)
    value = method.config.get(_KEYS.get(key, key))
    return "-" if value is None else said(value)


def _batch_norm(config: Mapping[str, Any]) -> str:
    """A frozen trunk takes its batch norm along."""
    known = [config[key] for key in ("backbone.freeze", "backbone.freeze_batch_norm") if key in config]
    return ("frozen" if any(known) else "trained") if known else "-"


def _equal(first: str, second: str) -> bool:
    try:
        return float(first) == float(second)
    except ValueError:
        return first.casefold() == second.casefold()


def _letter(place: int) -> str:
    return chr(ord("a") + place) if place < 26 else f"{_letter(place // 26 - 1)}{_letter(place % 26)}"


def _caption(rows: Sequence[Published]) -> str:
    sources = list(dict.fromkeys(one.source for one in rows))
    splits = {one.metric.partition("/")[0] for one in rows if "/" in one.metric}
    words = f"Published figures; source: {'; '.join(sources)}."
    if "val" in splits:
        words += " Validation figures are of held-out training classes: no test figure compares with them."
    return words


def _metric(key: str) -> str:
    split, _, name = key.rpartition("/")
    known = metric_of(key)
    return f"{known.title if known else name}, {'validation' if split == 'val' else split}" if split else key


def _figure(value: float) -> str:
    return f"{value:.4g}"


def _said(summary: Summary | None) -> str:
    if summary is None:
        return "-"
    spread = f" ± {summary.std:.2g}" if summary.std is not None else ""
    return f"{summary.mean:.4f}{spread} (n = {summary.n})"

"""Output of a run on the terminal and in ``train.log``. Imports no torch."""

import logging
import os
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from metriscope.escapes import shown
from metriscope.evaluation.metric import Metric
from metriscope.evaluation.metrics import ordered, suffixed
from metriscope.files import refuse_link
from metriscope.terminal import is_interactive

if TYPE_CHECKING:
    from rich.tree import Tree

SPLITS = ("train", "val", "test")
# Suffix of the keys of a layer -> its words in the name of a section.
_LAYERS = {"": "", "_trunk": " of the trunk"}
# Tables with more rows than these are printed in sections.
_SHORT = 12
_WIDTH, _COLUMN = 80, 12


def print_config(cfg: Mapping[str, Any], verbose: bool = False) -> None:
    """The composed config (resolved, plain containers) as a tree; printed only on a terminal or if ``verbose``."""
    if not (verbose or is_interactive()):
        return
    from rich import print as show
    from rich.tree import Tree

    tree = Tree("[bold]config")
    _grow(tree, cfg)
    show(tree)


def _grow(tree: "Tree", cfg: Mapping[str, Any]) -> None:
    from rich.markup import escape

    for key, value in cfg.items():
        if isinstance(value, Mapping) and value:
            name = f" [dim]{escape(str(value['name']))}" if "name" in value else ""
            _grow(
                tree.add(f"[cyan]{escape(str(key))}[/]{name}"),
                {k: v for k, v in value.items() if k != "name"},
            )
        else:
            tree.add(f"{escape(str(key))}: {escape(str(value))}")


def results_rows(metrics: Mapping[str, float | None], own: Sequence[Metric] = ()) -> list[tuple[str, str, list[str]]]:
    """The figures of a run's table among ``{train,val,test}/...`` metrics: (section, title, one text per split).

    Those of the trunk come last, in sections of their own. Validation values are those of the selected epoch
    (``best/val/...``) if there is one, since the test used its checkpoint.
    """
    selected = {key.removeprefix("best/"): value for key, value in metrics.items() if key.startswith("best/val/")}
    metrics = {**metrics, **selected}
    rows = []
    for suffix, layer in _LAYERS.items():
        for metric in (*ordered(metrics, suffix), *(suffixed(one, suffix) for one in own)):
            values = [metrics.get(f"{split}/{metric.key}") for split in SPLITS]
            if metric.headline and any(value is not None for value in values):
                texts = ["" if value is None else _number(value, metric) for value in values]
                rows.append((f"{metric.section.capitalize()}{layer}", metric.title, texts))
    return rows


def _number(value: float, metric: Metric) -> str:
    if metric.unit == "count":
        return f"{value:.0f}"
    return f"{value:.4f}" if 0.01 <= abs(value) < 100 or value == 0 else f"{value:.4g}"


def print_results(
    metrics: Mapping[str, float | None],
    folder: Path,
    protocol: str,
    *,
    epochs: int | None = None,
    seconds: float | None = None,
    title: str = "results",
    own: Sequence[Metric] = (),
) -> None:
    """The table at the end of a run: a box on a terminal, plain aligned text elsewhere.

    Args:
        metrics: flat, as :func:`metriscope.run.history.summary` returns them (``best/epoch`` from 0).
        folder: the run folder, printed in the last line.
        protocol: how the data were split, such as "closed set"; metrics compare only under one protocol.
        epochs: number of trained epochs.
        seconds: wall time of the whole run.
        title: of the table.
        own: metrics of one's own.
    """
    rows = results_rows(metrics, own)
    splits = [i for i in range(len(SPLITS)) if any(values[i] for *_, values in rows)]
    table = [(section, label, [values[i] for i in splits]) for section, label, values in rows]
    best = metrics.get("best/epoch")
    heads = ["val (best)" if SPLITS[i] == "val" and best is not None else SPLITS[i] for i in splits]
    facts = [
        protocol,
        f"{epochs} epoch{'s' * (epochs != 1)}" if epochs is not None else "",
        f"best epoch {int(best) + 1}" if best is not None else "",
        f"{seconds:.1f} s" if seconds is not None else "",
    ]
    print_table = _print_box if is_interactive() else _print_plain
    print_table(f"{title}: {', '.join(filter(None, facts))}", heads, table)
    print(f"run folder: {folder}", flush=True)


def _print_plain(title: str, heads: list[str], rows: list[tuple[str, str, list[str]]]) -> None:
    indent = "  " if len(rows) > _SHORT else ""
    room = _WIDTH - _COLUMN * len(heads) - 2
    labels = [_cut(indent + label, room) for _, label, _ in rows]
    width = max(map(len, labels), default=0) + 2
    print(f"\n{title}\n{'':{width}}" + "".join(f"{head:>{_COLUMN}}" for head in heads))
    before = None
    for label, (section, _, values) in zip(labels, rows, strict=True):
        if indent and section != before:
            print(_cut(section, _WIDTH))
        before = section
        print(f"{label:{width}}" + "".join(f"{value or '-':>{_COLUMN}}" for value in values))


def _cut(text: str, length: int) -> str:
    text = shown(text)
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _print_box(title: str, heads: list[str], rows: list[tuple[str, str, list[str]]]) -> None:
    from rich import box
    from rich import print as show
    from rich.markup import escape
    from rich.table import Table

    table = Table("", title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    for i, (section, label, values) in enumerate(rows):
        if i == 0 or rows[i - 1][0] != section:
            table.add_row(f"[bold]{escape(shown(section))}")
        last = i + 1 < len(rows) and rows[i + 1][0] != section
        table.add_row(f"  {escape(shown(label))}", *values, end_section=last)
    show(table)


class _Terminal(logging.StreamHandler[TextIO]):
    """Writes above a progress bar instead of through it."""

    def emit(self, record: logging.LogRecord) -> None:
        if "tqdm" in sys.modules and is_interactive():
            sys.modules["tqdm"].tqdm.write(self.format(record), file=sys.stderr)
        else:
            super().emit(record)


class _LogFile(logging.FileHandler):
    """Appends to a file that is no link; what a full disk does not take is not logged."""

    def _open(self) -> Any:
        refuse_link(Path(self.baseFilename))
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
        return open(os.open(self.baseFilename, flags, 0o666), "a", encoding=self.encoding)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Does nothing: the run ends with a line of its own where its disk is full."""


@contextmanager
def log_to_file(folder: Path) -> Iterator[None]:
    """Append what Metriscope and Lightning log to ``train.log`` in the run's folder.

    Messages from INFO up, and Python's warnings as one line each, also go to standard error, unless an
    application, Hydra or pytest has already set up logging.

    Raises:
        OSError: the folder is missing, read-only or full, or the file is a link.
    """
    file = _LogFile(folder / "train.log", encoding="utf-8")
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    own = logging.getLogger("metriscope")
    handlers: list[tuple[logging.Logger, logging.Handler]] = [
        (own, file),
        (logging.getLogger("pytorch_lightning"), file),
    ]
    level, showwarning = own.level, warnings.showwarning
    if not logging.getLogger().handlers:
        terminal = _Terminal(sys.stderr)
        terminal.setLevel(logging.INFO)
        handlers.append((own, terminal))
        warnings.showwarning = warning_as_line
    own.setLevel(logging.DEBUG)
    for logger, handler in handlers:
        logger.addHandler(handler)
    try:
        yield
    finally:
        for logger, handler in handlers:
            logger.removeHandler(handler)
        own.setLevel(level)
        warnings.showwarning = showwarning
        file.close()


def warning_as_line(message: Warning | str, *args: Any, **kwargs: Any) -> None:
    """Log a warning of Python as one line; in place of :func:`warnings.showwarning`."""
    logging.getLogger("metriscope.warnings").warning("%s", str(message).strip().splitlines()[0])

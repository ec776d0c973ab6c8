"""Output of a run on the terminal and in ``train.log``. Imports no torch."""

import logging
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from metriscope.terminal import is_interactive

if TYPE_CHECKING:
    from rich.tree import Tree

SPLITS = ("train", "val", "test")

# Section -> (label, key without its split); a key ending in "_" stands for a family of keys such as recall_at_K.
FIGURES: dict[str, list[tuple[str, str]]] = {
    "Retrieval": [
        ("Recall@{}", "recall_at_"),
        ("MAP@R", "map_at_r"),
        ("R-precision", "r_precision"),
        ("Precision@1", "precision_at_1"),
    ],
    "Classification": [("k-NN accuracy", "knn_accuracy"), ("linear probe", "linear_probe_accuracy")],
    "Variance": [
        ("intra-class", "variance_intra"),
        ("inter-class", "variance_inter"),
        ("intra / inter", "variance_ratio"),
    ],
    "Greediness": [
        ("active ratio", "active_ratio"),
        ("active ratio (pairs)", "active_ratio_pairs"),
        ("grad norm", "grad_norm"),
        ("grad norm, trunk", "grad_norm_trunk"),
        ("grad norm, head", "grad_norm_head"),
        ("grad norm per sample", "grad_norm_embedding"),
        ("grad norm per active one", "grad_norm_embedding_active"),
    ],
    "Loss": [
        ("loss", "loss"),
        ("drop in the last epoch", "loss_decay_rate"),
        ("decay rate (fit)", "loss_decay_fit"),
        ("half-life (epochs)", "loss_half_life"),
    ],
}


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


def results_rows(metrics: Mapping[str, float | None]) -> list[tuple[str, str, list[str]]]:
    """The :data:`FIGURES` among ``{train,val,test}/...`` metrics: (section, label, one text per split).

    Validation values are those of the selected epoch (``best/val/...``) if there is one,
    since the test used its checkpoint.
    """
    selected = {key.removeprefix("best/"): value for key, value in metrics.items() if key.startswith("best/val/")}
    metrics = {**metrics, **selected}
    rows = []
    for section, figures in FIGURES.items():
        for label, key in _spread(figures, metrics):
            values = [metrics.get(f"{split}/{key}") for split in SPLITS]
            if any(value is not None for value in values):
                rows.append((section, label, ["" if value is None else _number(value) for value in values]))
    return rows


def _spread(figures: Sequence[tuple[str, str]], metrics: Mapping[str, float | None]) -> Iterator[tuple[str, str]]:
    """The listed figures, with a family such as ``recall_at_`` replaced by its members, sorted by K."""
    for label, key in figures:
        if not key.endswith("_"):
            yield label, key
            continue
        numbers = {name.rpartition(key)[2] for name in metrics if f"/{key}" in name}
        yield from ((label.format(k), f"{key}{k}") for k in sorted(filter(str.isdigit, numbers), key=int))


def _number(value: float) -> str:
    return f"{value:.4f}" if 0.01 <= abs(value) < 100 or value == 0 else f"{value:.4g}"


def print_results(
    metrics: Mapping[str, float | None],
    folder: Path,
    protocol: str,
    *,
    epochs: int | None = None,
    seconds: float | None = None,
    title: str = "results",
) -> None:
    """The table at the end of a run: a box on a terminal, plain aligned text elsewhere.

    Args:
        metrics: flat, as :func:`metriscope.run.history.summary` returns them (``best/epoch`` from 0).
        folder: the run folder, printed in the last line.
        protocol: how the data were split, such as "closed set"; metrics compare only under one protocol.
        epochs: number of trained epochs.
        seconds: wall time of the whole run.
    """
    rows = results_rows(metrics)
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
    width = max((len(label) for _, label, _ in rows), default=0) + 2
    print(f"\n{title}\n{'':{width}}" + "".join(f"{head:>12}" for head in heads))
    for _, label, values in rows:
        print(f"{label:{width}}" + "".join(f"{value or '-':>12}" for value in values))


def _print_box(title: str, heads: list[str], rows: list[tuple[str, str, list[str]]]) -> None:
    from rich import box
    from rich import print as show
    from rich.table import Table

    table = Table("", "", title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for head in heads:
        table.add_column(head, justify="right")
    for i, (section, label, values) in enumerate(rows):
        first = i == 0 or rows[i - 1][0] != section
        last = i + 1 < len(rows) and rows[i + 1][0] != section
        table.add_row(f"[bold]{section}" if first else "", label, *values, end_section=last)
    show(table)


class _Terminal(logging.StreamHandler[TextIO]):
    """Writes above a progress bar instead of through it."""

    def emit(self, record: logging.LogRecord) -> None:
        if "tqdm" in sys.modules and is_interactive():
            sys.modules["tqdm"].tqdm.write(self.format(record), file=sys.stderr)
        else:
            super().emit(record)


@contextmanager
def log_to_file(folder: Path) -> Iterator[None]:
    """Append what Metriscope and Lightning log to ``train.log`` in the run's folder.

    Messages from INFO up, and Python's warnings as one line each, also go to standard error, unless an
    application, Hydra or pytest has already set up logging.

    Raises:
        OSError: the folder is read-only or full.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = logging.FileHandler(folder / "train.log", encoding="utf-8")
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
        warnings.showwarning = _warning_as_line
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


def _warning_as_line(message: Warning | str, *args: Any, **kwargs: Any) -> None:
    logging.getLogger("metriscope.warnings").warning("%s", str(message).strip().splitlines()[0])

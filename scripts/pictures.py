"""Draw the pictures of README.md and docs/concepts: python scripts/pictures.py

Two runs on scikit-learn's digits, half a minute of one core, and a drawing of bands. They go to docs/pictures.
"""

import argparse
import tempfile
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from metriscope import Outcome, compose_config, train
from metriscope.reports.style import BLUE, RED

TARGET = Path(__file__).resolve().parents[1] / "docs" / "pictures"
COLOURS = {"contrastive": BLUE, "triplet": RED}
EPOCHS = 10


def runs(folder: str) -> dict[str, Outcome]:
    """A run of each loss, from the same weights."""
    words = ["dataset=digits", f"trainer.max_epochs={EPOCHS}", "logger=none", "evaluation.save_embeddings=true"]
    words += [f"paths.output_dir={folder}"]
    return {loss: train(compose_config([f"loss={loss}", *words])) for loss in COLOURS}


def spaces(outcomes: dict[str, Outcome]) -> Figure:
    """The test embeddings of both losses in the plane of their largest variance, and both variances by epoch."""
    import numpy as np

    figure = Figure(figsize=(11, 3.5), layout="constrained")
    *planes, curves = figure.subplots(1, 3)
    for axes, (loss, outcome) in zip(planes, outcomes.items(), strict=True):
        kept = np.load(outcome.folder / "embeddings.npz")
        z = kept["embeddings"] - kept["embeddings"].mean(0)
        z = z @ np.linalg.svd(z, full_matrices=False)[2][:2].T
        axes.scatter(*z.T, c=kept["labels"], cmap="tab10", s=7, linewidths=0)
        recall = outcome.metrics["test/recall_at_1"]
        axes.set(title=f"{loss}: Recall@1 {recall:.3f} (test)", xticks=[], yticks=[], aspect="equal")
    for loss, outcome in outcomes.items():
        for key, line in (("inter", "-"), ("intra", "--")):
            _course(curves, outcome, f"val/variance_{key}", line, f"{loss}, {key}-class", COLOURS[loss])
    curves.set(title="Variance of the embedding (validation)", xlabel="epoch")
    curves.legend(fontsize=8)
    return figure


def activity(outcomes: dict[str, Outcome]) -> Figure:
    """Both active ratios of both losses by epoch."""
    figure = Figure(figsize=(7.5, 3), layout="constrained")
    both = figure.subplots(1, 2, sharey=True)
    for axes, key, title in zip(
        both, ("active_ratio", "active_ratio_pairs"), ("active_ratio (terms)", "active_ratio_pairs"), strict=True
    ):
        for loss, outcome in outcomes.items():
            _course(axes, outcome, f"train/{key}", "-", loss, COLOURS[loss])
        axes.set(title=title, xlabel="epoch", ylim=(0, None))
    both[0].legend(fontsize=8)
    return figure


def bands(margin: float = 0.2) -> Figure:
    """Which negatives of a pair are easy, semi-hard and hard, by their distance from the anchor."""
    figure = Figure(figsize=(7.5, 1.9), layout="constrained")
    axes = figure.subplots()
    positive = 0.6
    shares = (("hard", 0, positive, "#f4b6b6"), ("semi-hard", positive, positive + margin, "#f8dfa8"))
    for name, low, high, colour in (*shares, ("easy", positive + margin, 1.4, "#cfe6c8")):
        axes.axvspan(low, high, color=colour)
        axes.text(low + 0.02, 0.8, name)
    axes.plot([0.25, 0.45, 0.68, 0.74, 0.9, 1.02, 1.2, 1.3], [0.35] * 8, "kx", label="negatives n")
    axes.plot([positive], [0.35], "ko", label="positive p")
    axes.annotate("", (positive, 0.12), (positive + margin, 0.12), arrowprops={"arrowstyle": "<->"})
    axes.text(positive + margin / 2, 0.18, "margin", ha="center", fontsize=8)
    axes.set(xlabel="distance from the anchor", yticks=[], xlim=(0, 1.4), ylim=(0, 1))
    axes.legend(loc="upper right", ncols=2, fontsize=8)
    return figure


def _course(axes: Axes, outcome: Outcome, key: str, line: str, label: str, colour: str) -> None:
    values = outcome.history[["epoch", key]].dropna()
    axes.plot(values["epoch"], values[key], line, label=label, color=colour)


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    TARGET.mkdir(exist_ok=True)
    matplotlib.rcParams.update({"svg.hashsalt": "metriscope", "axes.spines.top": False, "axes.spines.right": False})
    with tempfile.TemporaryDirectory() as folder:
        outcomes = runs(folder)
        spaces(outcomes).savefig(TARGET / "spaces.png", dpi=110)
        activity(outcomes).savefig(TARGET / "activity.svg", metadata={"Date": None})
    bands().savefig(TARGET / "bands.svg", metadata={"Date": None})
    for path in sorted(TARGET.iterdir()):
        print(f"{path}: {path.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()

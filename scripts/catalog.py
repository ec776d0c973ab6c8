"""Bring losses.md and metrics.md of docs/reference up to date with the code: python scripts/catalog.py"""

import argparse
from pathlib import Path

from omegaconf import OmegaConf

from metriscope.annotations import said
from metriscope.config.files import section, summary
from metriscope.config.objective import fitting_miners, shipped
from metriscope.evaluation.metrics import table
from metriscope.files import replacing

REFERENCE = Path(__file__).resolve().parents[1] / "docs" / "reference"
LOSSES = """# Losses and miners

Made from the code by `python scripts/catalog.py`; a test keeps it true.

A loss takes the miners whose kind of selection it accepts; any other pair is refused before data loads.
Parameters are set as `loss.<parameter>=<value>`, `miner.<parameter>=<value>` and `weighting.<parameter>=<value>`.

Beside these: `loss=sum` adds several losses with weights. An entry may have a miner, a distance and a space (`trunk`:
the features before the head) of its own; those of the config are its defaults:
`'loss.losses=[{name: triplet, margin: 0.1, miner: semihard}, {name: supcon, weight: 0.5, distance: cosine}]'`.
`loss=pml loss.name=<class>` and `miner=pml miner.name=<class>` take any loss or miner of pytorch-metric-learning, with
arguments of its own: `'loss.arguments={alpha: 2}'`. In a sum, a loss of that library is
`{name: pml, peer: <class>, arguments: {alpha: 2}}`.
"""

METRICS = """# What is measured

Made from the code by `python scripts/catalog.py`; a test keeps it true.

Keys are the same in W&B, `metrics.csv` and `summary.json`, below `train/`, `val/` and `test/`. The better end decides
which checkpoint is the best, when to stop early, and what `metriscope compare` marks; a metric without one is monitored
with `evaluation.mode=max` or `min`.
"""
METRICS_END = """
Variances are of the L2-normalised embedding, keys that end in `_raw` of the head's output before it is normalised,
keys that end in `_trunk` of the features before the head (`evaluation.layers=[trunk,embedding]`). Validation
losses are computed over fixed class-balanced batches of the validation embeddings.

How neighbours are searched for, and what every `evaluation` key does: [Evaluation](../how-to/evaluation.md).

Two conventions for losses, one key apart: `distance=squared_euclidean loss.reduction=sum` is the triplet loss of
arXiv:2510.02161, `distance=euclidean loss.reduction=mean_active` that of most libraries. The default
`loss.reduction=mean` divides by all valid terms, so that a falling curve means progress.
"""


def losses() -> str:
    """The page: one table of losses, one of miners, one of weightings."""
    lines = [LOSSES, "| loss | what it does | miners | parameters | source |", "| --- | --- | --- | --- | --- |"]
    for name, loss in shipped("loss").items():
        miners = ", ".join(fitting_miners(loss.accepts))
        lines.append(f"| `{name}` | {summary('loss', name)} | {miners} | {_parameters('loss', name)} | {loss.paper} |")
    lines += ["", "| miner | what it selects | kind | parameters | source |", "| --- | --- | --- | --- | --- |"]
    for name, miner in shipped("miner").items():
        does, parameters = summary("miner", name), _parameters("miner", name)
        lines.append(f"| `{name}` | {does} | {miner.kind} | {parameters} | {miner.paper} |")
    lines += ["", "| weighting | what it does | of | parameters | source |", "| --- | --- | --- | --- | --- |"]
    for name, weighting in shipped("weighting").items():
        does, parameters = summary("weighting", name), _parameters("weighting", name)
        of = ", ".join(sorted(weighting.weighs))
        lines.append(f"| `{name}` | {does} | {of} | {parameters} | {weighting.paper} |")
    return "\n".join(lines) + "\n"


def metrics() -> str:
    """The page: the registry of metrics."""
    return "\n".join([METRICS, table() + METRICS_END])


def pages() -> dict[Path, str]:
    """What each of the pages has to say."""
    return {REFERENCE / "losses.md": losses(), REFERENCE / "metrics.md": metrics()}


def _parameters(group: str, name: str) -> str:
    keys = OmegaConf.to_container(section(group, name), resolve=False)
    assert isinstance(keys, dict)
    return ", ".join(f"`{key}={said(keys[key])}`" for key in keys if key not in ("_target_", "name"))


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    for page, text in pages().items():
        with replacing(page) as draft:
            draft.write_text(text, encoding="utf-8")
        print(page)


if __name__ == "__main__":
    main()

"""Bring losses.md and metrics.md of docs/reference up to date with the code: python scripts/catalog.py"""

import argparse
import inspect
import re
from functools import cache
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from torch import nn

from metriscope.annotations import said
from metriscope.build.run import objective_of
from metriscope.config.compose import compose_config
from metriscope.config.files import section, space, summary
from metriscope.config.objective import fitting_miners, shipped
from metriscope.config.plain import plain
from metriscope.evaluation.metrics import table
from metriscope.files import replacing
from metriscope.objectives.samples import Spaces

REFERENCE = Path(__file__).resolve().parents[1] / "docs" / "reference"
LOSSES = """# Losses and miners

Made from the code by `python scripts/catalog.py`; a test keeps it true.

A loss takes the miners whose kind of selection it accepts; any other pair is refused before data loads.
Parameters are set as `loss.<parameter>=<value>`, `miner.<parameter>=<value>`, `weighting.<parameter>=<value>`
and `mixture.<parameter>=<value>`.

Beside these: `loss=sum` adds several losses with weights. An entry may have a miner, a distance and a space (`trunk`:
the features before the head) of its own; those of the config are its defaults:
`'loss.losses=[{name: triplet, margin: 0.1, miner: semihard}, {name: supcon, weight: 0.5, distance: cosine}]'`.
`loss=pml loss.name=<class>` and `miner=pml miner.name=<class>` take any loss or miner of pytorch-metric-learning, with
arguments of its own: `'loss.arguments={alpha: 2}'`. In a sum, a loss of that library is
`{name: pml, peer: <class>, arguments: {alpha: 2}}`.
"""

# What a docstring says of how a part was compared with its paper, with code of others, or with what others keep.
_CHECKED = re.compile(
    r"\b(verified|checked|equal to|the same pairs as|the same loss|read in|was read|were read|as read|secondary|"
    r"adaptation|reading of)\b",
    re.IGNORECASE,
)
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


@cache
def _config() -> dict[str, Any]:
    return plain(compose_config(["head.size=4"]))


def losses() -> str:
    """The page: a section for each loss, miner, weighting and mixture, each kind below a table of all."""
    lines = [LOSSES]
    for group, (title, word) in {
        "loss": ("Losses", "what it does"),
        "miner": ("Miners", "what it selects"),
        "weighting": ("Weightings", "what it does"),
        "mixture": ("Mixtures", "what it adds"),
    }.items():
        parts = shipped(group)
        lines += [f"## {title}", "", f"| {group} | {word} | source |", "| --- | --- | --- |"]
        lines += [
            f"| [`{name}`](#{group}{name}) | {summary(group, name)} | {one.paper} |" for name, one in parts.items()
        ]
        for name, part in parts.items():
            lines += ["", f"### {group}={name}", "", *_entry(group, name, part)]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _entry(group: str, name: str, part: Any) -> list[str]:
    """What is known of a part, as lines of a list."""
    text = inspect.getdoc(part) or ""
    body = text.partition("\nArgs:")[0]
    first, _, rest = body.partition("\n\n")
    facts = {
        "definition": _code(first),
        "source": part.paper,
        "checked": " ".join(one for one in _sentences(rest) if _CHECKED.search(one)),
        "parameters": _parameters(group, name),
        "searched": ", ".join(f"`{key}={value}`" for key, value in (space(group, name) or {}).items()),
        "goes with": _company(group, part),
        "cost": _cost(group, name, part, rest),
    }
    return [f"- **{what}**: {said}" for what, said in facts.items() if said]


def _company(group: str, part: Any) -> str:
    if group == "miner":
        return f"losses that take {part.kind}" if part.kind != "none" else "losses that need no miner"
    if group == "mixture":
        return f"losses {', '.join(f'`{loss}`' for loss, one in shipped('loss').items() if one.mixes)}"
    if group == "weighting":
        return f"losses that weigh {' and '.join(sorted(part.weighs))}"
    miners = ", ".join(f"`{miner}`" for miner in fitting_miners(part.accepts))
    weighed = f"; weightings of {' and '.join(sorted(part.weighable))}" if part.weighable else ""
    return f"miners {miners}{weighed}"


def _cost(group: str, name: str, part: Any, text: str) -> str:
    """What the docstring says of time and memory; for other losses, what is kept when one judges a batch."""
    said = " ".join(one for one in _sentences(text) if re.search(r"\bO\(|B x [RCN]", one))
    if said or group != "loss":
        return said
    if part.bound_to_classes:
        return "O(B C D) time and O(B C) memory."
    miner = section("miner", "all" if "all" in part.accepts else "none")
    parts = {"loss": section(group, name), "miner": miner, "distance": section("distance", "cosine")}
    config = {**_config(), **{key: plain(own, resolve=False) for key, own in parts.items()}}
    objective = objective_of(config, num_classes=4, embedding_size=4, trunk_size=4, num_samples=8)
    z, labels = nn.functional.normalize(torch.eye(8, 4) + 0.1), torch.arange(8) // 2
    step = objective(Spaces.of(z.requires_grad_(), labels, torch.arange(8), trunk=z.detach()))
    kept = step.comparison._kept.distances is not None
    return "O(B R D) time; " + (
        "the matrix of distances is kept: O(B R) memory." if kept else "computed in blocks of rows."
    )


def _sentences(text: str) -> list[str]:
    """The sentences of the paragraphs of a docstring, each in one line; tables, lists and examples are left out."""
    paragraphs = [" ".join(one.split()) for one in text.split("\n\n") if not re.match(r"\s|[-=>*]", one)]
    ends = r"(?<=[.])(?<!et al\.)(?<!e\.g\.)(?<!i\.e\.) (?=[A-Z(])"
    return [sentence for one in paragraphs for sentence in re.split(ends, re.sub(r":\w+:`[~.]?([^`]*)`", r"`\1`", one))]


def _code(text: str) -> str:
    """A definition in one line, as code where it is a formula."""
    line = " ".join(text.split())
    return f"`{line}`" if re.search(r"[=^|]|log|sum_|mean_", line) and "`" not in line else line


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

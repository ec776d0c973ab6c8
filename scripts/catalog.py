"""Bring docs/losses.md up to date with the code: python scripts/catalog.py"""

import argparse
from pathlib import Path

from omegaconf import OmegaConf

from metriscope.annotations import said
from metriscope.config.files import section, summary
from metriscope.config.objective import fitting_miners, shipped
from metriscope.files import replacing

PAGE = Path(__file__).resolve().parents[1] / "docs" / "losses.md"
HEADER = """# Losses and miners

Made from the code by `python scripts/catalog.py`; a test keeps it true.

A loss takes the miners whose kind of selection it accepts; any other pair is refused before data loads.
Parameters are set as `loss.<parameter>=<value>` and `miner.<parameter>=<value>`.

Beside these: `loss=sum` adds several losses with weights. An entry may have a miner, a distance and a space (`trunk`:
the features before the head) of its own; those of the config are its defaults:
`'loss.losses=[{name: triplet, margin: 0.1, miner: semihard}, {name: supcon, weight: 0.5, distance: cosine}]'`.
`loss=pml loss.name=<class>` and `miner=pml miner.name=<class>` take any loss or miner of pytorch-metric-learning, with
arguments of its own: `'loss.arguments={alpha: 2}'`. In a sum, a loss of that library is
`{name: pml, peer: <class>, arguments: {alpha: 2}}`.
"""


def markdown() -> str:
    """The page: one table of losses, one of miners."""
    lines = [HEADER, "| loss | what it does | miners | parameters | source |", "| --- | --- | --- | --- | --- |"]
    for name, loss in shipped("loss").items():
        miners = ", ".join(fitting_miners(loss.accepts))
        lines.append(f"| `{name}` | {summary('loss', name)} | {miners} | {_parameters('loss', name)} | {loss.paper} |")
    lines += ["", "| miner | what it selects | kind | parameters | source |", "| --- | --- | --- | --- | --- |"]
    for name, miner in shipped("miner").items():
        does, parameters = summary("miner", name), _parameters("miner", name)
        lines.append(f"| `{name}` | {does} | {miner.kind} | {parameters} | {miner.paper} |")
    return "\n".join(lines) + "\n"


def _parameters(group: str, name: str) -> str:
    keys = OmegaConf.to_container(section(group, name), resolve=False)
    assert isinstance(keys, dict)
    return ", ".join(f"`{key}={said(keys[key])}`" for key in keys if key not in ("_target_", "name"))


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    with replacing(PAGE) as draft:
        draft.write_text(markdown(), encoding="utf-8")
    print(PAGE)


if __name__ == "__main__":
    main()

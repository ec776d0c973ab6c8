"""List losses and miners; with --write, bring docs/losses.md up to date.

python scripts/catalog.py
python scripts/catalog.py --write
"""

import argparse
from pathlib import Path

from omegaconf import OmegaConf

from metriscope.config.catalog import LOSSES, MINERS, describe, fitting_miners
from metriscope.config.files import section
from metriscope.files import replacing

PAGE = Path(__file__).resolve().parents[1] / "docs" / "losses.md"
HEADER = """# Losses and miners

Made from the code by `python scripts/catalog.py --write`; a test keeps it true.

A loss takes the miners whose kind of selection it accepts; any other pair is refused before data loads.
Parameters are set as `loss.<parameter>=<value>` and `miner.<parameter>=<value>`.

Beside these: `loss=sum` adds several losses with weights; `loss=pml loss.name=<class>` and
`miner=pml miner.name=<class>` take any loss or miner of pytorch-metric-learning, with arguments of its own:
`'loss.arguments={alpha: 2}'`. In a sum, a loss of that library is `{name: pml, peer: <class>, arguments: {alpha: 2}}`.
"""


def markdown() -> str:
    """The page: one table of losses, one of miners."""
    lines = [HEADER, "| loss | what it does | miners | parameters | source |", "| --- | --- | --- | --- | --- |"]
    for name, entry in LOSSES.items():
        miners = ", ".join(fitting_miners(entry.accepts))
        lines.append(f"| `{name}` | {entry.summary} | {miners} | {_parameters('loss', name)} | {entry.source} |")
    lines += ["", "| miner | what it selects | kind | parameters | source |", "| --- | --- | --- | --- | --- |"]
    for name, miner in MINERS.items():
        lines.append(f"| `{name}` | {miner.summary} | {miner.kind} | {_parameters('miner', name)} | {miner.source} |")
    return "\n".join(lines) + "\n"


def _parameters(group: str, name: str) -> str:
    keys = OmegaConf.to_container(section(group, name), resolve=False)
    assert isinstance(keys, dict)
    return ", ".join(f"`{key}={_shown(keys[key])}`" for key in keys if key not in ("_target_", "name"))


def _shown(value: object) -> str:
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name} instead of printing a list")
    if parser.parse_args().write:
        with replacing(PAGE) as draft:
            draft.write_text(markdown(), encoding="utf-8")
        print(PAGE)
    else:
        print(describe())


if __name__ == "__main__":
    main()

"""Check and measure everything on a GPU by one command, in under 8 minutes on one of a data centre.

python scripts/gpu_check.py --out gpu.json
python scripts/gpu_check.py --device cpu --quick

Prints a table and writes it as JSON. A section that fails is a line of the table, and the others go on. Exits with 1 if
a section fails, a result differs from the CPU's, or a step waits for the host where it need not.
"""

import argparse
import importlib
import json
import platform
import sys
import time
from pathlib import Path

import torch
from gpu_checks.rows import Row, line

from metriscope import environment
from metriscope.errors import InputError

SECTIONS = {
    "exact": ("exactness", "losses, bands and search against the CPU in float64"),
    "waits": ("waits", "what the host waits for in a step of every loss and of every miner"),
    "losses": ("losses", "the engine against matrices of all pairs and a list of all triplets"),
    "compile": ("compiled", "torch.compile of an objective"),
    "search": ("search", "neighbours of 1,000,000 x 512"),
    "epoch": ("epoch", "an epoch of 50,000 random 32 px images, all diagnostics on and off"),
    "chunk": ("chunk", "trainer.embed_chunk with ResNet-50 at 224 px"),
}
"""Module, and what it does. The quick and certain ones come first."""


def main(words: list[str] | None = None) -> int:
    environment.prepare()
    chosen = _parser().parse_args(words)
    device = torch.device(chosen.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: torch sees no GPU here; give --device cpu")
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    print(f"{name}, torch {torch.__version__}", flush=True)
    every: list[Row] = []
    end = time.monotonic() + 60 * chosen.minutes
    for section in chosen.only or SECTIONS:
        module, words_of = SECTIONS[section]
        print(f"\n== {section}: {words_of}", flush=True)
        begun = time.monotonic()
        every += _rows(section, module, device, chosen.quick, end)
        print(f"[{section} took {time.monotonic() - begun:.0f} s]", flush=True)
    bad = [row for row in every if row.ok is False]
    print(f"\n{len(every)} lines, {len(bad)} bad")
    for row in bad:
        print(f"{row.section}: {row.case}: {row.note}")
    facts = {"device": name, "torch": torch.__version__, "quick": chosen.quick}
    if chosen.out:
        chosen.out.write_text(json.dumps({**facts, "rows": [row._asdict() for row in every]}, indent=1) + "\n")
    return int(bool(bad))


def _rows(section: str, module: str, device: torch.device, quick: bool, end: float) -> list[Row]:
    """Those of a section, printed as they come; the error, or the time, that ends it is the last of them."""
    found: list[Row] = []
    try:
        for row in importlib.import_module(f"gpu_checks.{module}").run(device, quick):
            found.append(row._replace(section=section))
            print(line(found[-1]), flush=True)
            if time.monotonic() > end:
                found.append(Row("the rest is left out", section=section, note="the time is over: raise --minutes"))
                print(line(found[-1]), flush=True)
                break
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        found.append(Row("the section fails", section=section, ok=False, note=reason))
        print(line(found[-1]), flush=True)
    finally:
        if device.type == "cuda":
            torch.cuda.set_sync_debug_mode("default")
            torch.cuda.empty_cache()
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), help="default: cuda where there is one")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: whether everything runs, in seconds")
    parser.add_argument("--minutes", type=float, default=7.5, help="no line begins later than that (default: 7.5)")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, metavar="SECTION", help=", ".join(SECTIONS))
    parser.add_argument("--out", type=Path, help="the file of JSON to write")
    return parser


if __name__ == "__main__":
    try:
        sys.exit(main())
    except InputError as error:
        sys.exit(f"gpu_check.py: {error}")

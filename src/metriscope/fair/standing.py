"""How far the search of a fair comparison is. Imports no torch."""

from pathlib import Path

from metriscope.run import ledger
from metriscope.run.fair import DEFINITION, read_signed, sealed
from metriscope.run.ledger import COMPLETE


def standing(folder: Path) -> str | None:
    """A line on a comparison that still searches; None once its runs say how far it is.

    Raises:
        InputError: its files do not read, or were edited.
    """
    if sealed(folder) is not None:
        return None
    definition = read_signed(folder / DEFINITION)
    rows = ledger.read(folder, definition["folds"])
    entries = [entry["name"] for entry in definition["entries"]]
    return f"{folder}: searching, {counts(rows, len(entries), definition['trials'])}; nothing is tested yet"


def counts(rows: list[ledger.Row], entries: int, trials: int) -> str:
    """``3 entries, 90 trials: 70 complete, 12 pruned, 2 failed, 6 to do``."""
    number = {status: sum(row.status == status for row in rows) for status in ledger.STATUSES}
    parts = {**number, "to do": entries * trials - len(rows)}
    said = ", ".join(f"{count} {what}" for what, count in parts.items() if count or what == COMPLETE)
    return f"{entries} entries, {entries * trials} trials: {said}"

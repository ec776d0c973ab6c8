"""An audit of a data set as JSON, and its findings as CSV."""

import csv
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from metriscope.data.audit.audit import Audit
from metriscope.data.audit.counts import counts
from metriscope.data.audit.findings import distances, findings, names
from metriscope.escapes import cleaned, for_csv
from metriscope.files import replacing, write_json
from metriscope.reports.audit_tables import title

_EXAMPLE = ("part", "position", "name", "label", "distance")
_COLUMNS = ("kind", "group", "note", *_EXAMPLE)


def write_audit_json(audit: Audit, path: Path, dataset: str) -> None:
    """Write counts, ceilings and all findings, each with its examples.

    Raises:
        OSError: the file cannot be written.
    """
    groups: dict[int, dict[str, Any]] = {}
    for row in _rows(audit):
        group = groups.setdefault(row["group"], {"kind": row["kind"], "note": row["note"], "examples": []})
        group["examples"].append({key: row[key] for key in _EXAMPLE})
    ceilings = {
        part: {"queries": one.queries, "hits": one.hits, "recall_at_1": one.recall, "hits_collapsed": one.collapsed}
        for part, one in audit.ceilings.items()
    }
    numbers = {key: {title(column): count for column, count in row.items()} for key, row in counts(audit).items()}
    whole = {"dataset": dataset, "near": audit.limit, "counts": numbers, "ceilings": ceilings}
    write_json(path, cleaned({**whole, "findings": list(groups.values())}))


def write_audit_csv(audit: Audit, path: Path) -> None:
    """Write one row for every example of every finding.

    Raises:
        OSError: the file cannot be written.
    """
    with replacing(path) as draft, draft.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_COLUMNS)
        writer.writerows([for_csv(row[key]) for key in _COLUMNS] for row in _rows(audit))


def _rows(audit: Audit) -> Iterator[dict[str, Any]]:
    name = names(audit)
    for number, one in enumerate(findings(audit)):
        for place in one.positions:
            part, position = audit.place(place)
            distance = float(distances(audit, one.kind)[place])
            near = one.kind.startswith("near") and math.isfinite(distance)
            values = (one.kind, number, one.note, part, position, name[place], audit.labels[place])
            yield dict(zip(_COLUMNS, (*values, round(distance, 4) if near else None), strict=True))

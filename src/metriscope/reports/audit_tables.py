"""An audit of a data set for a terminal: a table of counts, and lines that name the first findings of each kind."""

from collections.abc import Iterator

from metriscope.data.audit.audit import Audit
from metriscope.data.audit.counts import TITLES, Column, columns, counts
from metriscope.data.audit.findings import KINDS, findings, names
from metriscope.escapes import shown
from metriscope.reports.tables import Shown, Table

_FINDINGS = 10  # that are named of a kind
_MEMBERS = 4  # that are named of a group


def title(column: Column) -> str:
    """The heading of a column."""
    return column[0] if column[0] == column[1] else " & ".join(column)


def table(audit: Audit) -> Table:
    """The counts, and what Recall@1 can be at best."""
    every = columns(audit)
    rows = [
        [TITLES[key].format(noun=audit.noun), *(f"{row[one]:,}" if one in row else "" for one in every)]
        for key, row in counts(audit).items()
    ]
    best = {(part, part): f"{one.recall:.2%}" for part, one in audit.ceilings.items() if one.queries}
    rows.append(["Recall@1 at best", *(best.get(column, "") for column in every)])
    return Table(caption(audit), ["", *map(title, every)], [[Shown([cell]) for cell in row] for row in rows], 1)


def caption(audit: Audit) -> str:
    """What the rows of the table mean."""
    said = "A group counts wherever it has two examples. "
    if audit.limit > 0:
        said += (
            f"Near duplicates: signatures at most {audit.limit:g} apart (0: equal, 1: nothing in common), "
            "but not identical. "
        )
    for part, one in audit.ceilings.items():
        if one.hits < one.queries:
            said += (
                f"{part}: at most {one.hits:,} of {one.queries:,} queries can be hits where different {audit.noun} "
                f"have different embeddings, and {one.collapsed:,} in any case. "
            )
    return said.rstrip()


def listing(audit: Audit) -> Iterator[str]:
    """The first findings of each kind, with the number of all."""
    name, found = names(audit), findings(audit)
    for kind, heading in KINDS.items():
        of_kind = [one for one in found if one.kind == kind]
        if of_kind:
            first = f", of which the first {_FINDINGS}" if len(of_kind) > _FINDINGS else ""
            yield f"{heading}: {len(of_kind):,}{first}"
        for one in of_kind[:_FINDINGS]:
            members = [f"{origin(audit, place)} {name[place]}" for place in one.positions[:_MEMBERS]]
            if len(one.positions) > _MEMBERS:
                members.append(f"and {len(one.positions) - _MEMBERS:,} more")
            yield shown(f"  {'; '.join(members)}{f' ({one.note})' if one.note else ''}")


def origin(audit: Audit, position: int) -> str:
    """The part and the label of an example."""
    return f"{audit.place(position)[0]} [{audit.labels[position]}]"

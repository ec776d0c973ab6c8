"""What saved embeddings show: projections, galleries of the same queries for every loss, confused classes."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from metriscope.escapes import for_html
from metriscope.reports.embedded import (
    NEIGHBOURS,
    Embedded,
    confused,
    embedded_groups,
    shared_queries,
)
from metriscope.reports.html.charts import SHOWN, TOLD, Chart, hidden_losses, quantity, rounded
from metriscope.reports.html.images import Pictures, images_of
from metriscope.reports.html.series import Series
from metriscope.reports.projection import MAX_NAMED, project
from metriscope.reports.style import PALETTE
from metriscope.reports.table_style import Written
from metriscope.reports.tables import Shown, Table

_POINTS = 400  # of a projection


class Pictured(NamedTuple):
    """Parts of a page; all are empty where no run saved its embeddings.

    Attributes:
        projections: a chart for each group, with the position of its loss.
        galleries: HTML.
        confused: the table of confused classes, and the position of the loss of each row.
        urls: pictures, by the positions that charts and galleries name.
        classes: names, by the positions that charts name.
    """

    projections: list[tuple[Chart, int]]
    galleries: list[str]
    confused: tuple[Table, list[int]] | None
    urls: list[str]
    classes: list[str]


def pictured(written: Written, losses: Series, trusted: bool = False, method: str = "pca") -> Pictured:
    """Read the saved embeddings of a comparison, and the images where they are at hand.

    Args:
        trusted: as for :func:`metriscope.reports.html.images.images_of`.
        method: of the projections, as of :func:`metriscope.reports.projection.project`.
    """
    pictures, classes = Pictures(), list[str]()
    projections: list[tuple[Chart, int]] = []
    galleries: list[str] = []
    rows: list[list[Shown]] = []
    of_row: list[int] = []
    for groups in embedded_groups(written.comparison):
        images = images_of(groups[0], trusted)
        if images is not None:
            galleries.append(_gallery(written, losses, groups, images, pictures))
        for one in groups:
            loss = losses.of_group[one.group]
            name = written.group(written.comparison.grouping.groups[one.group])
            projections.append((_projection(name, one, loss, images, pictures, len(classes), method), loss))
            names = one.saved.classes
            for pair in confused(one):
                share = f"{pair.wrong / pair.queries:.1%}"
                cells = [name, names[pair.query], names[pair.neighbour], str(pair.wrong), share]
                rows.append([Shown([cell]) for cell in cells])
                of_row.append(loss)
        classes += groups[0].saved.classes
    caption = "Classes whose images have their nearest neighbour in another class most often, in one run of each group."
    table = Table(caption, ["group", "class", "taken for", "images", "share of the class"], rows, 3)
    return Pictured(projections, galleries, (table, of_row) if rows else None, pictures.urls, classes)


def _projection(name: str, one: Embedded, loss: int, images: Any, pictures: Pictures, first: int, method: str) -> Chart:
    labels = one.saved.labels
    plane = project(one.saved.embeddings.astype(np.float64), labels, method)
    present = np.unique(labels)
    rows = []
    for place, (x, y) in zip(plane.places[:_POINTS].tolist(), plane.points[:_POINTS].tolist(), strict=True):
        row = {"x": rounded(x), "y": rounded(y), "c": first + int(labels[place]), "loss": loss}
        if images is not None and (picture := pictures.place(images, place)) is not None:
            row["i"] = picture
        rows.append(row)
    few = len(present) <= MAX_NAMED
    places = [first + int(label) for label in present]
    colors = [PALETTE[i % len(PALETTE)] for i in range(len(present))]
    shapes = [("circle", "triangle-up", "square")[i // len(PALETTE) % 3] for i in range(len(present))]
    named = {"color": {"domain": places, "range": colors}, "shape": {"domain": places, "range": shapes}}
    color = {"field": "c", "type": "nominal", "legend": None, "scale": named["color"]}
    shape = {"field": "c", "type": "nominal", "legend": None, "scale": named["shape"]}
    turbo = {"field": "c", "type": "quantitative", "legend": None, "scale": {"scheme": "turbo"}}
    bare = {"axis": {"labels": False, "ticks": False, "grid": False}}
    spec = {
        "height": 300,
        "params": [hidden_losses(), {"name": "view", "select": "interval", "bind": "scales"}],
        "transform": [SHOWN],
        "mark": {"type": "point", "filled": True, "size": 42, "opacity": 0.75},
        "encoding": {
            "x": quantity("x", plane.axes[0], **bare),
            "y": quantity("y", plane.axes[1] or None, **bare),
            "tooltip": TOLD,
            **({"color": color, "shape": shape} if few else {"color": turbo}),
        },
    }
    return Chart(f"{name}: {one.run.name}", spec, rows, tip=[("class", "class")])


def _gallery(written: Written, losses: Series, groups: Sequence[Embedded], images: Any, pictures: Pictures) -> str:
    """A row for each query and a column for each group, so that the same query is seen side by side."""
    classes, labels = groups[0].saved.classes, groups[0].saved.labels

    def tile(place: int, kind: str, mark: str) -> str:
        picture, name = pictures.place(images, place), for_html(classes[labels[place]])
        image = f"<img alt='{name}' data-image='{picture}'>" if picture is not None else ""
        return f"<figure class='{kind}' title='{name}'>{image}<figcaption>{mark}{name}</figcaption></figure>"

    names = [for_html(written.group(written.comparison.grouping.groups[one.group])) for one in groups]
    places = [losses.of_group[one.group] for one in groups]
    heads = "".join(f"<th class='name' data-loss='{at}'>{name}</th>" for at, name in zip(places, names, strict=True))
    body = []
    for why, rows in shared_queries(groups).items():
        for row in rows:
            query = int(groups[0].queries[row])
            cells = [f"<td><small>{why}</small>{tile(query, 'query', '')}</td>"]
            for at, one in zip(places, groups, strict=True):
                near = one.neighbours[row].tolist()
                hits = [labels[place] == labels[query] for place in near]
                tiles = [
                    tile(place, "hit" if hit else "miss", "✓ " if hit else "✗ ")
                    for place, hit in zip(near, hits, strict=True)
                ]
                cells.append(f"<td data-loss='{at}'><div class='tiles'>{''.join(tiles)}</div></td>")
            body.append(f"<tr>{''.join(cells)}</tr>")
    caption = (
        f"Queries and their {NEIGHBOURS} nearest neighbours, closest first, in one run of each group: the queries "
    )
    caption += "with the fewest hits in all groups, and an even choice of others."
    return (
        f"<div class='wide'><table class='gallery'>"
        f"<tr><th class='name'>query</th>{heads}</tr>{''.join(body)}</table></div><p class='caption'>{caption}</p>"
    )

"""What a search has found, as a table for a terminal, as JSON and as CSV."""

import csv
import io
import json
from collections.abc import Iterator
from typing import NamedTuple

from metriscope.escapes import for_csv, shown
from metriscope.serving.embedded import Embedded, Neighbours

COLUMNS = ("query", "rank", "distance", "label", "path")


class Neighbour(NamedTuple):
    """One row of what was found.

    Attributes:
        rank: from 1.
        distance: Euclidean, of the embeddings.
        label: name of the folder of the image; empty where there is none.
        path: of the image, as the gallery names it.
        place: of the image in the gallery.
    """

    rank: int
    distance: float
    label: str
    path: str
    place: int


class Found(NamedTuple):
    """Queries with their neighbours. All images are files."""

    queries: Embedded
    neighbours: Neighbours

    def rows(self) -> Iterator[tuple[str, list[Neighbour]]]:
        """The path of each query, and its neighbours, nearest first."""
        gallery = self.neighbours.gallery
        paths, labels = gallery.paths or [""] * len(gallery), gallery.labels or [""] * len(gallery)
        both = zip(self.neighbours.indices.tolist(), self.neighbours.distances.tolist(), strict=True)
        for query, (places, distances) in zip(self.queries.paths or (), both, strict=True):
            line = zip(places, distances, strict=True)
            yield query, [Neighbour(i + 1, far, labels[at], paths[at], at) for i, (at, far) in enumerate(line)]


def table(found: Found) -> str:
    """A title and a table for each query."""
    text = io.StringIO()
    for query, near in found.rows():
        cells = [(str(one.rank), f"{one.distance:.4f}", shown(one.label), shown(one.path)) for one in near]
        labelled = any(label for _, _, label, _ in cells)
        width = max(len("label"), *(len(label) for _, _, label, _ in cells)) if labelled else 0
        text.write(f"{shown(query)}\n")
        for rank, distance, label, path in [("rank", "distance", "label", "path"), *cells]:
            middle = f"{label:<{width}}  " if labelled else ""
            text.write(f"{rank:>6}  {distance:>8}  {middle}{path}\n")
    return text.getvalue()


def as_json(found: Found) -> str:
    """Model, queries, and the neighbours of each."""
    queries = [{"path": query, "neighbours": [one._asdict() for one in near]} for query, near in found.rows()]
    gallery = found.neighbours.gallery
    about = {"model": gallery.model, "gallery": {"root": gallery.root, "images": len(gallery)}}
    return json.dumps({**about, "queries": queries}, indent=2) + "\n"


def as_csv(found: Found) -> str:
    """A row for each neighbour of each query."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for query, near in found.rows():
        writer.writerows(
            [for_csv(query), one.rank, one.distance, for_csv(one.label), for_csv(one.path)] for one in near
        )
    return text.getvalue()

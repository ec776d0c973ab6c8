"""Figures of a comparison that show saved embeddings: their projections, and the classes that they confuse."""

from typing import TYPE_CHECKING

from metriscope.reports.confusions import confused_by_group
from metriscope.reports.embedded import confused, embedded_groups, saved_of
from metriscope.reports.projection import draw_projection
from metriscope.reports.shown_groups import blocks, titled
from metriscope.reports.style import panels
from metriscope.reports.table_style import Written
from metriscope.run.embeddings import Saved

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def embeddings(written: Written, method: str = "pca") -> "Figure | None":
    """Test embeddings of one run per group in a plane, side by side; None if none were saved.

    Args:
        method: of the projection, as of :func:`draw_projection`.
    """
    drawn: list[tuple[str, Saved]] = []
    for members in blocks(written).values():
        for place in members:
            group = written.comparison.grouping.groups[place]
            saved = next((found for run in group.runs if (found := saved_of(run)) is not None), None)
            drawn += [] if saved is None else [(written.group(group), saved)]
    if not drawn:
        return None
    title = titled(written, "embeddings of the test set")
    figure, axes = panels([name for name, _ in drawn], columns=4, width=3.6, height=3.4, title=title)
    for axis, (_, saved) in zip(axes, drawn, strict=True):
        draw_projection(axis, saved.embeddings, saved.labels, saved.classes, legend=False, method=method)
    return figure


def confused_classes(written: Written) -> "Figure | None":
    """The class pairs that one run of each group confuses most; None if no embeddings were saved, or none is wrong."""
    found = [one for groups in embedded_groups(written.comparison) for one in groups]
    names = [written.group(written.comparison.grouping.groups[one.group]) for one in found]
    drawn = [(name, confused(one), one.saved.classes) for name, one in zip(names, found, strict=True)]
    return confused_by_group(drawn, titled(written, "confused classes"))

"""The weighting profile of a test set: how much each direction of a space varies, as a table and a figure."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch

from metriscope.diagnostics.spectrum import covariance, participation_ratio, second_moment, weighting_profile
from metriscope.evaluation.embedded import EvaluatedSet
from metriscope.files import replacing
from metriscope.reports.style import PLAIN, legend_above, look, panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_BLOCK = 8192
# A direction below this share of the largest is not resolved.
_RESOLVED = 1e-8


class Profile(NamedTuple):
    """How the variance of one layer is shared among its directions."""

    singular_values: Sequence[float]
    """Of the centred embeddings, the largest first."""
    participation: float
    """The participation ratio."""

    @property
    def shares(self) -> list[float]:
        """The share of the variance that each direction has; 0 where nothing varies."""
        squares = [value**2 for value in self.singular_values]
        total = sum(squares) or 1
        return [square / total for square in squares]


def profiles(tested: Mapping[str, EvaluatedSet]) -> dict[str, Profile]:
    """The profile of every layer of a test set, of N samples and D numbers each.

    O(N D^2 + D^3) time, in float64 on the processor; O(D^2) memory beside a block of samples.
    """
    found = {}
    for layer, evaluated in tested.items():
        z = evaluated.embeddings.cpu()
        moment = second_moment(z[:0])
        for start in range(0, len(z), _BLOCK):
            moment += second_moment(z[start : start + _BLOCK])
        spread = covariance(moment, z.mean(0, dtype=torch.float64), len(z))
        values = weighting_profile(spread, len(z)).tolist()
        found[layer] = Profile(values, float(participation_ratio(spread)))
    return found


def write_spectrum(path: Path, found: Mapping[str, Profile]) -> None:
    """Write a CSV file with a line for every direction of every layer: layer, rank, singular_value, variance_share."""
    with replacing(path) as draft, draft.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["layer", "rank", "singular_value", "variance_share"])
        for layer, profile in found.items():
            lines = zip(profile.singular_values, profile.shares, strict=True)
            writer.writerows([layer, rank, value, share] for rank, (value, share) in enumerate(lines, start=1))


def spectrum(found: Mapping[str, Profile], title: str = "") -> "Figure | None":
    """Singular values over their rank, as shares of the largest, a line for each layer; None where nothing varies.

    Args:
        found: by layer.
        title: which run it shows.
    """
    varied = {layer: one for layer, one in found.items() if one.participation > 0}
    if not varied:
        return None
    figure, (axis,) = panels(["Weighting profile (test)"], width=4.4, height=3.6, title=title, legend_rows=len(varied))
    for place, (layer, profile) in enumerate(varied.items()):
        shown = [value / profile.singular_values[0] for value in profile.singular_values]
        shown = [value for value in shown if value > _RESOLVED]
        color, style, _ = look(place)
        said = f"{layer}: participation ratio {profile.participation:.3g} of {len(profile.singular_values)}"
        axis.plot(range(1, len(shown) + 1), shown, color=color, linestyle=style, linewidth=1.5, label=said)
    axis.set_yscale("log")
    axis.set_xlabel("direction, the strongest first", fontsize=PLAIN)
    axis.set_ylabel("singular value / largest", fontsize=PLAIN)
    legend_above(axis, len(varied))
    return figure

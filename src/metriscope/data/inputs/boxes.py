"""Boxes to which images are cropped before anything else."""

from collections.abc import Iterable
from typing import NamedTuple

from metriscope.errors import InputError


class Box(NamedTuple):
    """A rectangle of an upright image, in pixels from its upper left corner."""

    x: int
    y: int
    width: int
    height: int

    @property
    def edges(self) -> tuple[int, int, int, int]:
        """Left, upper, right and lower edge, as Pillow crops by."""
        return self.x, self.y, self.x + self.width, self.y + self.height

    def check_inside(self, height: int, width: int) -> None:
        """Refuse a box that reaches beyond an image of this size; InputError."""
        left, upper, right, lower = self.edges
        if left < 0 or upper < 0 or right > width or lower > height:
            values = ",".join(map(str, self))
            raise InputError(f"its box {values} (x,y,width,height) is not inside of its {width} x {height} pixels")


class Item(NamedTuple):
    """What one example is read from: a whole image file, or a box of it."""

    path: str
    box: Box | None = None


def in_order(items: Iterable[Item]) -> tuple[Item, ...]:
    """Each item once, sorted by path and box."""
    return tuple(sorted(set(items), key=lambda item: (item.path, item.box or ())))

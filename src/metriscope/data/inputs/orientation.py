"""How an image has to be turned to stand upright, as its EXIF block says."""

import io
from typing import Any

from PIL import ExifTags, Image

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDEWAYS = {_TURNS[orientation] for orientation in (5, 6, 7, 8)}
"""Turns that exchange height and width."""
# Without one of these a JPEG says nothing about its orientation: EXIF and XMP.
_BLOCKS = (b"Exif\0", b"http://ns.adobe.com/xap/")


def turn_of(image: Image.Image) -> Image.Transpose | None:
    """The turn that makes an opened image upright; None where it is, or where its EXIF block is damaged."""
    if image.format == "TIFF":  # Pillow turns these when it reads their pixels, and says their upright size before
        return None
    try:
        # The method of PNG files would read all pixels in search of a block behind them.
        orientation: Any = Image.Image.getexif(image).get(ExifTags.Base.Orientation)
        return _TURNS.get(orientation)
    except Exception:  # as many types as a damaged block has ways
        return None


def upright_size(image: Image.Image, turn: Image.Transpose | None) -> tuple[int, int]:
    """Height and width of an image after this turn."""
    return (image.width, image.height) if turn in SIDEWAYS else (image.height, image.width)


def is_turned_jpeg(content: bytes) -> bool:
    """Whether the content of a JPEG file has to be turned."""
    if not any(block in content for block in _BLOCKS):
        return False
    with Image.open(io.BytesIO(content), formats=("JPEG",)) as image:
        return turn_of(image) is not None

"""Decoding one image file to uint8 RGB pixels, within a limit of memory."""

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from metriscope.data.inputs.boxes import Box
from metriscope.data.inputs.orientation import SIDEWAYS, is_turned_jpeg, turn_of, upright_size
from metriscope.errors import InputError
from metriscope.reading import kind_of

Size = tuple[int, int]  # height, width
ENDINGS = (".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm", ".pgm")
_JPEG_ENDINGS = (".jpg", ".jpeg", ".jfif")
# The formats of the listed endings. Pillow would try all that it knows, some of which start other programs.
FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF", "PPM")
LIMIT_MB = 512.0
_BYTES_PER_PIXEL = 4  # as Pillow holds RGB
_NARROW = 8  # the ratio of sides above which only the box that is kept is scaled


class ImageFileError(InputError):
    """A file that cannot be read as an image.

    A DataLoader re-raises a worker's exception as ``type(error)(text of its traceback)``; only the last line
    is the message.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message.rpartition("ImageFileError: ")[2].strip())


@dataclass(frozen=True)
class ResizeCrop:
    """torchvision's ``Resize`` and ``CenterCrop`` of a Pillow image, exact to the pixel: the usual evaluation.

    Of images eight times as long as wide, only what the crop keeps is scaled, exact but for rounding.

    Attributes:
        resize: the shorter side in pixels.
        size: side of the centre crop.
    """

    resize: int
    size: int

    def __call__(self, image: Image.Image) -> Image.Image:
        short = min(image.size)
        width, height = (self.resize if side == short else int(self.resize * side / short) for side in image.size)
        top, left = round((height - self.size) / 2), round((width - self.size) / 2)
        if max(width, height) <= _NARROW * self.resize or min(top, left) < 0:
            if image.size != (width, height):
                image = image.resize((width, height), Image.Resampling.BILINEAR)
            return image.crop((left, top, left + self.size, top + self.size))
        # Scaled as a whole, a strip would become a picture of millions of pixels. Others are, because scaling the box
        # alone rounds a few pixels in another way.
        across, down = image.width / width, image.height / height
        box = left * across, top * down, (left + self.size) * across, (top + self.size) * down
        return image.resize((self.size, self.size), Image.Resampling.BILINEAR, box)


@dataclass(frozen=True)
class Square:
    """The whole image squashed into a square, from which a random crop in the original aspect can be made later."""

    size: int

    def __call__(self, image: Image.Image) -> Image.Image:
        return image.resize((self.size, self.size), Image.Resampling.BILINEAR)


Transform = ResizeCrop | Square


def decode(
    path: str,
    size: Size | None = None,
    transform: Transform | None = None,
    limit_mb: float = LIMIT_MB,
    box: Box | None = None,
    exif: bool = False,
) -> tuple[Tensor, Size]:
    """Reads one image of any mode as uint8 (H, W, 3), with its height and width before the transform.

    Args:
        path: the file.
        size: (H, W) of the result of scaling the shorter side and cropping the centre; None keeps the image's
            size.
        transform: applied afterwards.
        limit_mb: MiB of memory that the decoded image may take, by its header, at four bytes per pixel.
        box: the part of the upright image that is read; None reads the whole.
        exif: turn the image upright, as its EXIF block says. Pillow does so with TIFF files in any case.

    Raises:
        InputError: the file is missing, truncated, too large or no image, or the box is not inside of it; the
            message names the file.
    """
    try:
        _check_regular(path)
        if size is None and transform is None and box is None and path.lower().endswith(_JPEG_ENDINGS):
            pixels = _decode_jpeg(path, limit_mb, exif)
            if pixels is not None:
                return pixels, (pixels.shape[0], pixels.shape[1])
        with Image.open(path, formats=FORMATS) as image:
            seen = size or _size_of(image, box, exif)
            return pixels_of(image, size, transform, limit_mb, box, exif), seen
    except Exception as error:  # Pillow raises almost any exception type for a broken file
        raise _unreadable(path, error) from error


def pixels_of(
    image: Image.Image,
    size: Size | None = None,
    transform: Transform | None = None,
    limit_mb: float = LIMIT_MB,
    box: Box | None = None,
    exif: bool = False,
) -> Tensor:
    """An image of any mode as uint8 (H, W, 3); arguments as of :func:`decode`.

    Raises:
        InputError: it is too large, its values cannot be read as colours, or the box is not inside of it.
    """
    turn = turn_of(image) if exif else None
    if box is not None:
        box.check_inside(*upright_size(image, turn))
    # JPEG can be decoded at a fraction of its size, in which no box fits; twice the target size keeps the quality
    elif size is not None:
        height, width = size[::-1] if turn in SIDEWAYS else size
        image.draft(None, (2 * width, 2 * height))
    elif isinstance(transform, Square):
        image.draft(None, (2 * transform.size, 2 * transform.size))
    _check_size((image.height, image.width), limit_mb)
    rgb = _rgb(image)
    if turn is not None:
        rgb = rgb.transpose(turn)
    if box is not None:
        rgb = rgb.crop(box.edges)
    if size is not None and rgb.size != size[::-1]:
        rgb = ImageOps.fit(rgb, size[::-1], Image.Resampling.BILINEAR)
    if transform is not None:
        rgb = transform(rgb)
    return torch.from_numpy(np.array(rgb))


def fitted(pixels: Tensor, size: Size) -> Tensor:
    """uint8 (H, W, 3) pixels, scaled by the shorter side and cropped to ``size`` around the centre."""
    return torch.from_numpy(
        np.array(ImageOps.fit(Image.fromarray(pixels.numpy()), size[::-1], Image.Resampling.BILINEAR))
    )


def header_size(path: str, box: Box | None = None, exif: bool = False) -> Size:
    """Height and width by the file's header; arguments and InputError as :func:`decode`."""
    try:
        _check_regular(path)
        with Image.open(path, formats=FORMATS) as image:
            if box is not None:
                box.check_inside(*_size_of(image, None, exif))
            return _size_of(image, box, exif)
    except Exception as error:
        raise _unreadable(path, error) from error


def _size_of(image: Image.Image, box: Box | None, exif: bool) -> Size:
    """Height and width of the part of an opened image that is read."""
    return upright_size(image, turn_of(image) if exif else None) if box is None else (box.height, box.width)


def _unreadable(path: str, error: Exception) -> ImageFileError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return ImageFileError(f"cannot read the image {path}: {reason}")


def _check_regular(path: str) -> None:
    # A pipe would be waited for without end.
    if (kind := kind_of(path, follow=True)) is not None:
        raise InputError(f"it is {kind}")


def _check_size(size: Size, limit_mb: float) -> None:
    needed = size[0] * size[1] * _BYTES_PER_PIXEL / 2**20
    if needed > limit_mb:
        raise InputError(
            f"its {size[1]} x {size[0]} pixels take {needed:,.0f} MiB, above dataset.image_limit_mb={limit_mb:g}: "
            "scale it down, or raise that key"
        )


def _decode_jpeg(path: str, limit_mb: float, exif: bool) -> Tensor | None:
    """(H, W, 3); None where Pillow has to look, which turns images, reads more formats and says what is wrong."""
    from torchvision import io  # seconds to import, three times Pillow's speed on small images

    try:
        content = io.read_file(path)
        file = content.numpy().tobytes()
        size = _jpeg_size(file)
        if size is None or (exif and is_turned_jpeg(file)):
            return None
        _check_size(size, limit_mb)
        image: Tensor = io.decode_jpeg(content, mode=io.ImageReadMode.RGB)
    except RuntimeError:
        return None
    return image.permute(1, 2, 0)


def _jpeg_size(content: bytes) -> Size | None:
    """Height and width by the frame header of a JPEG; None where there is none, or something unusual before it."""
    place = 2
    while content[:2] == b"\xff\xd8" and place + 9 <= len(content) and content[place] == 0xFF:
        marker = content[place + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return int.from_bytes(content[place + 5 : place + 7], "big"), int.from_bytes(
                content[place + 7 : place + 9], "big"
            )
        if marker in (0x00, 0x01, 0xFF) or 0xD0 <= marker <= 0xDA:
            return None
        place += 2 + int.from_bytes(content[place + 2 : place + 4], "big")
    return None


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(_bytes_of(image)).convert("RGB")
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return image.convert("RGB")


def _bytes_of(image: Image.Image) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]":
    """Grey values of more than 8 bits, scaled by the range that they are in: Pillow would clip them at 255."""
    values = np.asarray(image)
    low, high = values.min(), values.max()
    whole = image.mode != "F"
    if not whole and low >= 0 and high <= 1:
        return np.round(values * 255).astype(np.uint8)
    # A file of 16 bits has their range, whatever the values of one image.
    sixteen = image.mode != "I" or image.format == "PNG"
    if low >= 0 and high <= 255 and not (whole and sixteen):
        return np.round(values).astype(np.uint8)
    if whole and low >= 0 and high <= 65535:
        return (values >> 8).astype(np.uint8)
    ranges = "0 to 255 or 0 to 65535" if whole else "0 to 1 or 0 to 255"
    raise InputError(f"its mode {image.mode} has values from {low:g} to {high:g}: save it with values from {ranges}")

"""Antialiased bilinear resampling of whole batches: random crops for training, resize and centre crop for the rest."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import torch
import torch.nn.functional as F
from torch import Tensor


def resized_crops(images: Tensor, boxes: Tensor, mirrored: Tensor, size: int) -> Tensor:
    """A crop of each image, scaled to one size and mirrored on request.

    Args:
        images: uint8 (B, C, H, W).
        boxes: int64 (B, 4), top, left, height and width in pixels, within the images.
        mirrored: bool (B,), which crops to flip left to right.
        size: side of the result.

    Returns:
        uint8 (B, C, size, size) in the channels-last format. On a CPU the values are exactly those of torchvision; on
        other devices, which have no kernel for bytes, they differ by up to two levels of 255.
    """
    return (_one_by_one if images.device.type == "cpu" else _by_weights)(images, boxes, mirrored, size)


def resize_center_crop(images: Tensor, resize: int, size: int) -> Tensor:
    """torchvision's ``Resize(resize)`` and ``CenterCrop(size)`` of uint8 (B, C, H, W), size <= resize."""
    short = min(images.shape[2:])
    height, width = (resize if side == short else int(resize * side / short) for side in images.shape[2:])
    if (height, width) != tuple(images.shape[2:]):
        images = images if images.device.type == "cpu" else images.float()
        images = F.interpolate(images, (height, width), mode="bilinear", antialias=True)
        images = images.round_().to(torch.uint8) if images.is_floating_point() else images
    top, left = round((height - size) / 2), round((width - size) / 2)
    return images[:, :, top : top + size, left : left + size]


def _one_by_one(images: Tensor, boxes: Tensor, mirrored: Tensor, size: int) -> Tensor:
    """Crops one by one with the kernel for bytes, which is ten times faster than floats and releases the GIL."""
    B, C = images.shape[:2]
    result = torch.empty(B, size, size, C, dtype=torch.uint8).permute(0, 3, 1, 2)
    places, flips = boxes.tolist(), mirrored.tolist()

    def fill(rows: Iterable[int]) -> None:
        for row in rows:
            top, left, height, width = places[row]
            crop = images[row : row + 1, :, top : top + height, left : left + width]
            scaled = F.interpolate(crop, (size, size), mode="bilinear", antialias=True)
            result[row] = scaled[0].flip(2) if flips[row] else scaled[0]

    threads = min(torch.get_num_threads(), B)
    if threads < 2:
        fill(range(B))
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(fill, (range(start, B, threads) for start in range(threads))))
    return result


def _by_weights(images: Tensor, boxes: Tensor, mirrored: Tensor, size: int) -> Tensor:
    """All crops by two batched matrix products: rows, then columns."""
    H, W = images.shape[2:]
    top, left, height, width = boxes.unbind(1)
    down = _weights(top, height, size, H)
    across = _weights(left, width, size, W)
    across = torch.where(mirrored[:, None, None], across.flip(1), across)
    result = down[:, None] @ images.float() @ across[:, None].mT
    return result.round_().clamp_(0, 255).to(torch.uint8).contiguous(memory_format=torch.channels_last)


def _weights(start: Tensor, length: Tensor, size: int, extent: int) -> Tensor:
    """(B, size, extent): weight of each source pixel in each target pixel, by a triangle as wide as the step."""
    step = (length / size)[:, None, None]
    position = torch.arange(extent, device=start.device)
    target = torch.arange(size, device=start.device)[:, None]
    center = start[:, None, None] + (target + 0.5) * step
    weight = (1 - (position + 0.5 - center).abs() / step.clamp_min(1)).clamp_min(0)
    inside = (position >= start[:, None, None]) & (position < (start + length)[:, None, None])
    weight = weight * inside
    return weight / weight.sum(2, keepdim=True)

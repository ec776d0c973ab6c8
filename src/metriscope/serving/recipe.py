"""The preparation of images in other words: Python code that needs Pillow and NumPy alone, for users of a graph."""

from metriscope.serving.preparation import Preparation

# Images in memory are scaled by torch, whose weights are whole numbers of 16 bits where Pillow's have more.
_SCALED = """def scaled(pixels, size):
    # Along the last axis, with antialiasing, in the whole numbers that torch computes with.
    step = pixels.shape[-1] / size
    centres = (np.arange(size)[:, None] + 0.5) * step
    places = np.arange(pixels.shape[-1]) + 0.5
    weights = np.clip(1 - abs(places - centres) / max(step, 1), 0, None)
    weights /= weights.sum(1, keepdims=True)
    bits = next(b for b in range(22) if int(0.5 + weights.max() * 2 ** (b + 1)) >= 2**15)
    whole = (0.5 + weights * 2**bits).astype(np.int64)
    return np.clip((pixels @ whole.T + 2 ** (bits - 1)) >> bits, 0, 255)
"""


def pixels_code(preparation: Preparation) -> str:
    """The source of a function ``pixels(path)`` with the result of :meth:`Preparation.pixels`, as the network reads it.

    It is for images of up to 8 bits per channel.
    """
    described, augmentation = preparation.described, preparation.augmentation
    C, H, W = preparation.shape
    resize, size = augmentation.resize, augmentation.size
    side = described.image_size if described.files else None
    crops = augmentation.stored[1] is not None
    lines = ["image = Image.open(path)"]
    if side:
        lines.append(f"image.draft(None, ({2 * side}, {2 * side}))  # of a JPEG, at a part of its size")
    if described.exif:
        lines.append("image = ImageOps.exif_transpose(image)")
    lines += [
        'if image.mode == "P" and "transparency" in image.info:',
        '    image = image.convert("RGBA")',
        'image = image.convert("RGB")',
    ]
    if side or not (described.files and crops):
        lines.append(f"image = ImageOps.fit(image, ({side or W}, {side or H}), Image.Resampling.BILINEAR)")
    if C == 1:
        lines.append('image = image.convert("L")')
    if crops:
        lines += [
            "short = min(image.size)",
            f"width, height = ({resize} if side == short else int({resize} * side / short) for side in image.size)",
            f"left, top = round((width - {size}) / 2), round((height - {size}) / 2)",
        ]
    if crops and described.files:
        lines += [
            "image = image.resize((width, height), Image.Resampling.BILINEAR)",
            f"image = image.crop((left, top, left + {size}, top + {size}))",
        ]
    lines.append("array = np.asarray(image)[None]" if C == 1 else "array = np.asarray(image).transpose(2, 0, 1)")
    if crops and not described.files:
        lines += [
            "array = scaled(scaled(array.astype(np.int64), width).swapaxes(1, 2), height).swapaxes(1, 2)",
            f"array = array[:, top : top + {size}, left : left + {size}].astype(np.uint8)",
        ]
    lines.append("return array")
    body = "\n".join(f"    {line}" for line in lines)
    helper = f"{_SCALED}\n\n" if crops and not described.files else ""
    return f"import numpy as np\nfrom PIL import Image, ImageOps\n\n\n{helper}def pixels(path):\n{body}\n"

"""The preparation of images in other words: Python code that needs Pillow and NumPy alone, for users of a graph."""

from metriscope.serving.preparation import Preparation


def pixels_code(preparation: Preparation) -> str:
    """The source of a function ``pixels(path)`` with the result of :meth:`Preparation.pixels`, as the network reads it.

    It is for images of up to 8 bits per channel.
    """
    described, augmentation = preparation.described, preparation.augmentation
    C, H, W = preparation.shape
    lines = ["image = Image.open(path)"]
    side = described.image_size if described.files else None
    if side:
        lines.append(f"image.draft(None, ({2 * side}, {2 * side}))  # of a JPEG, at a part of its size")
    if described.files and described.exif:
        lines.append("image = ImageOps.exif_transpose(image)")
    lines += [
        'if image.mode == "P" and "transparency" in image.info:',
        '    image = image.convert("RGBA")',
        'image = image.convert("RGB")',
    ]
    crops = augmentation.stored[1] is not None
    if side:
        lines.append(f"image = ImageOps.fit(image, ({side}, {side}), Image.Resampling.BILINEAR)")
    elif not (described.files and crops):
        lines.append(f"image = ImageOps.fit(image, ({W}, {H}), Image.Resampling.BILINEAR)")
    if C == 1:
        lines.append('image = image.convert("L")')
    if crops:
        resize, size = augmentation.resize, augmentation.size
        lines += [
            "short = min(image.size)",
            f"width, height = ({resize} if side == short else int({resize} * side / short) for side in image.size)",
            "image = image.resize((width, height), Image.Resampling.BILINEAR)",
            f"left, top = round((width - {size}) / 2), round((height - {size}) / 2)",
            f"image = image.crop((left, top, left + {size}, top + {size}))",
        ]
    lines.append("return np.asarray(image)[None]" if C == 1 else "return np.asarray(image).transpose(2, 0, 1)")
    body = "\n".join(f"    {line}" for line in lines)
    return f"import numpy as np\nfrom PIL import Image, ImageOps\n\n\ndef pixels(path):\n{body}\n"

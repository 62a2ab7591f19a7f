"""Image files to uint8 squares of one size, once.

The largest square in the middle of an image, as it is to be looked at (EXIF), scaled by PIL's
bicubic filter, which smooths where it shrinks: what torchvision's Resize and CenterCrop give of
that size. Palettes and grey images become RGB, what is transparent becomes white, 16-bit grey is
divided by 256, and an animation is its first frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fl_core.base.errors import UserError
from fl_core.base.host import cores
from fl_core.base.told import told

VERSION = 1  # part of the name of what is kept; raised where pixels change
#: The ends of the names of images (torchvision's, and .gif).
ENDS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp", ".gif")
MOST_THREADS = 8


class UnreadableImage(UserError):
    """A file that is no image, or not a whole one."""


def decode(files: Sequence[Path | BytesIO], size: int, what: str) -> Tensor:
    """uint8 (N, 3, size, size) of image files, in a few threads: PIL lets go of Python's lock.

    what: in a line of progress. UnreadableImage names the first file that cannot be read.
    """
    pixels = np.empty((len(files), 3, size, size), np.uint8)

    def read(index: int) -> None:
        pixels[index] = square(files[index], size).transpose(2, 0, 1)

    pool = ThreadPoolExecutor(min(cores(), MOST_THREADS))
    try:
        for _ in told(pool.map(read, range(len(files))), what, len(files), lambda _: 1):
            pass
    finally:
        pool.shutdown(cancel_futures=True)  # after an error the others are of no use
    return torch.from_numpy(pixels)


def square(file: Path | BytesIO, size: int) -> np.ndarray:
    """uint8 (size, size, 3) of one image file."""
    from PIL import Image, ImageOps  # only where images are read

    try:
        with Image.open(file) as image:
            # a JPEG of many times this size is decoded at 1/2, 1/4 or 1/8 of its own: four times
            # as fast, and at most one step of 255 off
            image.draft(None, (4 * size, 4 * size))
            upright = ImageOps.exif_transpose(image)
            if upright.mode in ("F", "I"):
                raise ValueError(
                    f"the range of its numbers is not known (PIL's mode {upright.mode})"
                )
            if upright.mode.startswith("I;16"):
                upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
            if "A" in upright.getbands() or "transparency" in upright.info:
                seen = upright.convert("RGBA")
                white = Image.new("RGBA", seen.size, "white")
                upright = Image.alpha_composite(white, seen)
            whole = upright.convert("RGB")
            return np.asarray(ImageOps.fit(whole, (size, size), Image.Resampling.BICUBIC))
    except Exception as error:  # PIL's readers each raise their own
        why = " ".join(str(error).split()) or type(error).__name__
        raise UnreadableImage(f"{file}: is no image that can be read ({why})") from error

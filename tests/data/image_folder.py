"""A folder of small images that can be learnt: of a colour a class, in sizes, modes and formats."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from fl_core.base.contents import forget_contents

COLOURS = {"blue": (30, 40, 200), "green": (40, 190, 60), "red": (210, 40, 50),
           "white": (225, 230, 220), "yellow": (220, 210, 40)}  # fmt: skip
SIZES = ((20, 20), (40, 24), (17, 31), (64, 48))  # width, height
ENDS = ("png", "jpg", "gif", "webp", "png")
MODES = ("RGB", "RGB", "P", "RGB", "RGBA")


def picture(colour: tuple[int, int, int], number: int) -> Image.Image:
    """A blot of a colour on noise."""
    rng = np.random.default_rng(number)
    width, height = SIZES[number % len(SIZES)]
    noise = rng.normal(0, 25, (height, width, 3)) + np.array(colour)
    image = Image.fromarray(noise.clip(0, 255).astype(np.uint8))
    return image.convert(MODES[number % len(MODES)])


def write_images(folder: Path, count: int, colour: tuple[int, int, int], first: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(first, first + count):
        file = folder / f"{number:03}.{ENDS[number % len(ENDS)]}"
        picture(colour, number).save(file, **({"quality": 90} if file.suffix == ".jpg" else {}))


def image_folder(root: Path, train: int = 12, test: int = 0, part: str = "test") -> Path:
    """DIR/CLASS/*, or with a test part DIR/train/CLASS/* and DIR/test/CLASS/*."""
    for colour, rgb in COLOURS.items():
        write_images(root / ("train" if test else "") / colour, train, rgb)
        if test:
            write_images(root / part / colour, test, rgb, first=1000)
    forget_contents()
    return root

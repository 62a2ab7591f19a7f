"""data.name=folder: its layouts, its pixels, its name, and one line for what is wrong."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from image_folder import COLOURS, image_folder, picture, write_images
from PIL import Image
from torchvision import datasets
from torchvision.transforms import v2

from fl_core.base import cache, told
from fl_core.base.contents import forget_contents
from fl_core.base.errors import ConfigError
from fl_core.base.machine import Machine
from fl_core.config.fields import shown
from fl_core.config.sections import DataConfig
from fl_core.config.trial_config import TrialConfig
from fl_core.data import decoding, tasks
from fl_core.data.decoding import square
from fl_core.data.task import Examples
from fl_core.data.tasks import load_examples, task_of

NAMES = tuple(sorted(COLOURS))


def data_of(root: Path, size: int = 16, **fields: float) -> DataConfig:
    forget_contents()
    return DataConfig(name="folder", path=str(root), image_size=size, **fields)  # type: ignore


def both(root: Path, size: int = 16) -> tuple[Examples, Examples]:
    machine = Machine(cache_dir=root.parent / "cache")
    data = data_of(root, size)
    return load_examples(data, machine, train=True), load_examples(data, machine, train=False)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return image_folder(tmp_path_factory.mktemp("plain") / "images")


@pytest.fixture(scope="module")
def parted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return image_folder(tmp_path_factory.mktemp("parted") / "images", test=3)


# --- layouts --------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["test", "val"])
def test_train_and_test_are_torchvisions(part: str, parted: Path, tmp_path: Path) -> None:
    root = parted
    if part == "val":
        root = Path(shutil.copytree(parted, tmp_path / "images"))
        (root / "test").rename(root / "val")
    assert task_of(data_of(root)).names == NAMES
    for found, which in zip(both(root), ("train", part), strict=True):
        theirs = datasets.ImageFolder(str(root / which), is_valid_file=lambda _: True)
        assert found.labels.tolist() == theirs.targets
        for pixels, (file, _) in zip(found.inputs, theirs.samples, strict=True):
            assert torch.equal(pixels.permute(1, 2, 0), torch.tensor(square(Path(file), 16)))


def test_without_a_test_part_it_is_a_fifth_of_every_class(
    plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train, test = both(plain)
    assert torch.bincount(train.labels).tolist() == [10] * 5
    assert torch.bincount(test.labels).tolist() == [2] * 5
    said = capsys.readouterr().err
    assert said == f"{plain} has no test part: a fifth of every class, 10 images in all, is set " \
                   "aside for it\n"  # fmt: skip
    rows = {bytes(row) for row in torch.cat([train.inputs, test.inputs]).flatten(1).numpy()}
    assert len(rows) == 60  # each image once
    only_train = tmp_path / "images"
    shutil.copytree(plain, only_train / "train")
    for one, other in zip(both(only_train), (train, test), strict=True):
        assert torch.equal(one.inputs, other.inputs)


def test_tiny_imagenet(tmp_path: Path) -> None:
    """As it comes: boxes beside the images, unlabelled test images, more words than classes."""
    root, lines = tmp_path / "tiny", []
    classes = {"n02": "blue", "n01": "red"}
    for wnid, colour in classes.items():
        write_images(root / "train" / wnid / "images", 12, COLOURS[colour])
        (root / "train" / wnid / f"{wnid}_boxes.txt").write_text("0.png\t0\t0\t9\t9\n")
        for number in (1, 4):
            name = f"val_{wnid}_{number}.JPEG"
            (root / "val/images").mkdir(parents=True, exist_ok=True)
            picture(COLOURS[colour], number).convert("RGB").save(root / "val/images" / name)
            lines.append(f"{name}\t{wnid}\t0\t32\t44\t62\n")
    write_images(root / "test" / "images", 3, COLOURS["green"])
    (root / "val/val_annotations.txt").write_text("".join(reversed(lines)))
    (root / "wnids.txt").write_text("n02\nn01\n")
    (root / "words.txt").write_text("n00\tentity\nn01\tgoldfish, Carassius\nn02\tbee\n")
    assert task_of(data_of(root)).names == ("goldfish", "bee")
    train, test = both(root)
    assert train.labels.tolist() == [0] * 12 + [1] * 12
    assert test.labels.tolist() == [0, 0, 1, 1]
    mean = test.inputs.float().mean((2, 3))
    assert (mean[:2].argmax(1) == 0).all()  # red
    assert (mean[2:].argmax(1) == 2).all()  # blue


# --- pixels ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", range(4))
def test_a_square_is_torchvisions_resize_and_centre_cut(number: int, tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    rng = np.random.default_rng(number)
    shape = ((40, 90), (90, 41), (8, 8), (16, 16))[number]
    smooth = rng.integers(0, 256, (3, 3, 3), np.uint8)
    image = Image.fromarray(smooth).resize(shape[::-1], Image.Resampling.BICUBIC)
    image.save(file)
    steps = [v2.Resize(16, v2.InterpolationMode.BICUBIC), v2.CenterCrop(16)]
    wanted = np.asarray(v2.Compose(steps)(image)).astype(int)
    assert np.abs(square(file, 16) - wanted).mean() < 4  # they cut at whole pixels, after scaling
    if shape[0] == shape[1]:
        assert (square(file, 16) == wanted).all()


def test_every_kind_of_image_becomes_rgb(tmp_path: Path) -> None:
    def pixel(image: Image.Image, name: str = "a.png", **options: object) -> list[int]:
        image.save(tmp_path / name, **options)  # type: ignore[arg-type]
        found = square(tmp_path / name, 8)
        assert found.shape == (8, 8, 3)
        assert found.dtype == np.uint8
        return found[4, 4].tolist()  # type: ignore[no-any-return]

    size = (9, 9)
    assert pixel(Image.new("L", size, 77)) == [77] * 3
    assert pixel(Image.new("1", size, 1)) == [255] * 3
    assert pixel(Image.new("LA", size, (9, 0))) == [255] * 3  # transparent
    assert pixel(Image.new("RGBA", size, (200, 0, 0, 255))) == [200, 0, 0]
    assert pixel(Image.new("RGBA", size, (200, 0, 0, 0))) == [255] * 3
    assert pixel(Image.new("I;16", size, 77 * 256 + 9)) == [77] * 3
    assert pixel(Image.new("P", size, 0), transparency=0) == [255] * 3
    assert pixel(Image.new("CMYK", size, (0, 255, 255, 0)), "a.tif") == [255, 0, 0]
    frames = [Image.new("RGB", size, colour) for colour in ("red", "blue")]
    first = pixel(frames[0], "a.gif", save_all=True, append_images=frames[1:])
    assert first == [255, 0, 0]


def test_an_image_is_turned_as_its_exif_says(tmp_path: Path) -> None:
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[0] = 255  # a white line above
    image, exif = Image.fromarray(pixels), Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees, clockwise
    image.save(tmp_path / "a.png", exif=exif)
    assert (square(tmp_path / "a.png", 8)[:, -1] == 255).all()


def test_a_large_jpeg_is_what_it_is_when_decoded_whole(tmp_path: Path) -> None:
    smooth = np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)
    image = Image.fromarray(smooth).resize((360, 240), Image.Resampling.BICUBIC)
    image.save(tmp_path / "a.jpg", quality=95)
    image.save(tmp_path / "a.png")
    jpg, png = (square(tmp_path / f"a.{end}", 16).astype(int) for end in ("jpg", "png"))
    assert np.abs(jpg - png).max() <= 4


# --- the cache ------------------------------------------------------------------------------------


def test_it_is_decoded_once_and_noticed_if_damaged_or_changed(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[int] = []
    real = decoding.square
    monkeypatch.setattr(
        decoding, "square", lambda file, size: decoded.append(size) or real(file, size)
    )
    root = Path(shutil.copytree(plain, tmp_path / "images"))
    wanted = both(root)[0].inputs.clone()  # what is loaded stays in the file, which is spoilt here
    assert len(decoded) == 60
    (file,) = (tmp_path / "cache").iterdir()
    assert torch.equal(both(root)[0].inputs, wanted)
    assert len(decoded) == 60
    damaged = bytearray(file.read_bytes())
    damaged[-1] ^= 1
    file.write_bytes(damaged)
    assert torch.equal(both(root)[0].inputs, wanted)
    assert len(decoded) == 60 * 2
    assert both(root, 8)[0].inputs.shape[-1] == 8
    shutil.copyfile(root / "red" / "001.jpg", root / "red" / "006.jpg")
    assert not torch.equal(both(root)[0].inputs, wanted)
    assert len(list((tmp_path / "cache").iterdir())) == 3


def test_the_training_images_are_read_without_those_of_the_test(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def cached(path: Path, make: Callable[[], object], part: str, **options: bool) -> object:
        asked.append(part)
        return cache.cached(path, make, part, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(tasks, "cached", cached)
    load_examples(data_of(plain), Machine(cache_dir=tmp_path), train=True)
    assert asked == ["train_"]


def test_a_trial_is_named_by_content_and_not_by_place(plain: Path, tmp_path: Path) -> None:
    def digest(root: Path) -> str:
        forget_contents()
        return TrialConfig().override({"data.name": "folder", "data.path": str(root)}).digest()

    copy = Path(shutil.copytree(plain, tmp_path / "elsewhere"))
    assert digest(copy) == digest(plain)
    (copy / "red" / "000.png").unlink()
    assert digest(copy) != digest(plain)


def test_a_line_of_progress_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter([0, 20, 40, 60])
    monkeypatch.setattr(told.time, "monotonic", lambda: next(clock))
    assert list(told.told("abc", "images", 30, lambda _: 10)) == ["a", "b", "c"]
    assert capsys.readouterr().err == "images: 20/30 images, 20 s left\n"


# --- what is wrong --------------------------------------------------------------------------------


def no_images(root: Path) -> None:
    shutil.rmtree(root / "train/green")
    (root / "train/green").mkdir()
    (root / "train/green/notes.txt").write_text("none")


def stranger(root: Path) -> None:
    (root / "test/red").rename(root / "test/pink")


def few(root: Path) -> None:
    for file in sorted((root / "train/red").iterdir())[1:]:
        file.unlink()


def without_train(root: Path) -> None:
    shutil.rmtree(root / "train")


def one_class(root: Path) -> None:
    for name in NAMES[1:]:
        shutil.rmtree(root / "train" / name)


def flat(root: Path) -> None:
    for name in NAMES:
        (root / "train" / name).rename(root / "train" / f".{name}")


def empty(root: Path) -> None:
    (root / "test/red/1001.jpg").write_bytes(b"")


WRONG: list[tuple[Callable[[Path], object], str]] = [
    (shutil.rmtree, "is not a folder"),
    (no_images, "class folder train/green has no images (.jpg, .jpeg, "),
    (stranger, "test has pink, which train lacks"),
    (few, "class red has 1 images to train on: too few for the validation split of "),
    (without_train, "has test but no train"),
    (one_class, "needs a folder of images for each of at least two classes: train has blue"),
    (flat, "needs a folder of images for each of at least two classes: train has none"),
    (empty, "test/red/1001.jpg: is no image that can be read (an empty file)"),
]


@pytest.mark.parametrize(("spoil", "why"), WRONG, ids=lambda one: getattr(one, "__name__", None))
def test_a_wrong_folder_is_one_clear_line(
    spoil: Callable[[Path], object], why: str, parted: Path, tmp_path: Path
) -> None:
    root = Path(shutil.copytree(parted, tmp_path / "images"))
    spoil(root)
    with pytest.raises(ConfigError) as caught:
        task_of(data_of(root))
    assert str(caught.value).startswith(f"data.path={shown(str(root))}: {why}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("part", ["train", "test"])
@pytest.mark.parametrize("how", ["no image", "cut off", "float"])
def test_an_image_that_cannot_be_read_is_named_before_any_work(
    part: str, how: str, parted: Path, tmp_path: Path
) -> None:
    root = Path(shutil.copytree(parted, tmp_path / "images"))
    file = sorted((root / part / "red").glob("*.jpg"))[0]
    if how == "no image":
        file.write_text("<html>404</html>")
    elif how == "cut off":
        file.write_bytes(file.read_bytes()[:-200])
    else:
        Image.new("F", (9, 9)).save(file, "TIFF")
    with pytest.raises(ConfigError) as caught:  # training images are asked for
        load_examples(data_of(root), Machine(cache_dir=tmp_path / "cache"), train=True)
    place = re.escape(f"{part}/red/{file.name}: is no image that can be read (")
    assert re.search(place, str(caught.value))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "cache").exists()


def test_two_images_of_a_class_are_too_few_for_a_fifth(plain: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(plain, tmp_path / "images"))
    for file in sorted((root / "red").iterdir())[2:]:
        file.unlink()
    with pytest.raises(ConfigError, match="class red has 2 images: too few to set a fifth aside"):
        task_of(data_of(root))

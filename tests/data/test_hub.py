"""Data sets of the Hugging Face hub, by a library that is there or that looks like it."""

from __future__ import annotations

import sys
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pixels
from toy import machine_of

from fl_core.base.errors import ConfigError
from fl_core.config.sections import DataConfig
from fl_core.data.sets import hub
from fl_core.data.tasks import check_parts, load_examples, task_of


class Kind:
    """The type of a column."""

    def __init__(self, dtype: str = "string", names: list[str] | None = None) -> None:
        self.dtype = dtype
        if names:
            self.names = names


class Image(Kind):
    """Of a column of images."""

    def __init__(self, decode: bool = True) -> None:
        super().__init__("image")


class Split:
    """As much of a split as is read."""

    def __init__(self, columns: dict[str, Any], kinds: dict[str, Kind]) -> None:
        self.columns, self.features = columns, kinds

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def select_columns(self, names: list[str]) -> Split:
        return Split({n: self.columns[n] for n in names}, {n: self.features[n] for n in names})

    def with_format(self, name: str) -> Split:
        return self

    def cast_column(self, name: str, kind: Kind) -> Split:
        return self

    def select(self, rows: Any) -> Split:
        chosen = {n: [column[i] for i in rows] for n, column in self.columns.items()}
        return Split(chosen, self.features)

    def __getitem__(self, index: Any) -> Any:
        return {n: column[index] for n, column in self.columns.items()}


def png(value: int) -> dict[str, Any]:
    file = BytesIO()
    Pixels.fromarray(np.full((12, 12), value, np.uint8)).save(file, "PNG")
    return {"bytes": file.getvalue(), "path": None}


LETTERS = Split(
    {"image": [png(n) for n in range(40)], "writer_id": [f"w{n % 4}" for n in range(40)],
     "hsf_id": list(range(40)), "character": [n % 2 for n in range(40)]},
    {"image": Image(), "writer_id": Kind(), "hsf_id": Kind("int64"),
     "character": Kind("int64", ["a", "b"])},
)  # fmt: skip
TABLE = Split(
    {"x": [[float(n), 1.0] for n in range(20)], "z": list(range(20)), "text": ["t"] * 20,
     "target": ["no", "yes"] * 10},
    {"x": Kind("float32"), "z": Kind("int64"), "text": Kind(), "target": Kind()},
)  # fmt: skip
BLIND = Split({"text": ["t"] * 9, "label": [0, 1, 2] * 3},
              {"text": Kind(), "label": Kind("int64")})  # fmt: skip
UNTOLD = Split({"z": [1.0]}, {"z": Kind("float32")})
BROKEN = Split({**LETTERS.columns, "image": [{"bytes": b"no image", "path": None}] * 40},
               LETTERS.features)  # fmt: skip
THERE = {"me/letters": {"train": LETTERS}, "me/table": {"train": TABLE, "validation": TABLE},
         "me/blind": {"train": BLIND}, "me/untold": {"train": UNTOLD}, "me/odd": {"all": TABLE},
         "me/broken": {"train": BROKEN}}  # fmt: skip


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> None:
    module: Any = ModuleType("datasets")
    module.load_dataset = lambda name, revision: THERE[name]
    module.Image = Image
    monkeypatch.setitem(sys.modules, "datasets", module)
    hub._splits.cache_clear()


def of(name: str, **values: Any) -> DataConfig:
    return DataConfig(name=f"hf:{name}", **values)


@pytest.mark.usefixtures("library")
def test_images_with_owners_and_no_test_part(tmp_path: Path) -> None:
    data, machine = of("me/letters", image_size=12), machine_of(tmp_path)
    assert task_of(data).names == ("a", "b")
    train, test = (load_examples(data, machine, train=one) for one in (True, False))
    assert train.inputs.shape == (32, 3, 12, 12)
    assert test.inputs.shape == (8, 3, 12, 12)
    values = [*train.inputs[:, 0, 0, 0].tolist(), *test.inputs[:, 0, 0, 0].tolist()]
    assert sorted(values) == list(range(40))
    first = train.inputs[:, 0, 0, 0].numpy()
    assert train.labels.tolist() == (first % 2).tolist()
    assert train.owners is not None
    assert train.owners.tolist() == (first % 4).tolist()


@pytest.mark.usefixtures("library")
def test_columns_of_numbers(tmp_path: Path) -> None:
    found = load_examples(of("me/table"), machine_of(tmp_path), train=True)
    assert found.inputs[:2].tolist() == [[0, 1, 0], [1, 1, 1]]
    assert found.labels[:3].tolist() == [0, 1, 0]
    assert found.owners is None
    assert task_of(of("me/table")).names == ("no", "yes")


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("me/gone", "cannot be loaded (KeyError: 'me/gone')"),
        ("me/odd", "has no split train; it has all"),
        ("me/blind", "has no column of images or numbers; it has text, label"),
        ("me/untold", "has no label: needs a column label, labels, fine_label, character"),
        ("me/broken", "image 0: is no image that can be read (cannot identify image file"),
    ],
)
def test_what_is_no_task_is_one_line(name: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        check_parts(of(name), machine_of(tmp_path))
    assert str(caught.value).startswith(f"data.name='hf:{name}': {why}")


def test_the_name_and_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    assert of("a/b@main").image_size == 64
    for values, why in (({"name": "hf:mnist"}, "must be hf:OWNER/NAME"),
                        ({"name": "hf:a/b", "path": "x"}, "hf:a/b has none"),
                        ({"name": "cifar10", "image_size": 32}, "folder or hf:OWNER/NAME"),
                        ({"name": "mnist"}, "features, ")):  # fmt: skip
        with pytest.raises(ConfigError, match=why if why != "features, " else "hf:OWNER/NAME, or"):
            DataConfig(**values)
    monkeypatch.setitem(sys.modules, "datasets", None)
    hub._splits.cache_clear()
    with pytest.raises(ConfigError, match="needs the library datasets: pip install"):
        task_of(of("a/b"))

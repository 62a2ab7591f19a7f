"""Contract 8: an artefact is whole or absent; a damaged one is noticed and rebuilt, never used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from torch import Tensor

from fl_core.base import cache
from fl_core.base.cache import DamagedArtefact, cached, load_artefact, save_artefact
from fl_core.base.errors import UserError
from fl_core.base.rng import stream

META: dict[str, Any] = {"round": 3, "records": [{"loss": 0.1, "é": None}], "odd": float("inf")}


def some_tensors() -> dict[str, Tensor]:
    rng = stream(0, "tensors")
    return {
        "train_x": torch.from_numpy(rng.normal(size=(3, 5))).float(),
        "train_y": torch.arange(4, dtype=torch.uint8),
        "test_x": torch.tensor([[-3, 127], [0, -128]], dtype=torch.int8),
        "test_scalar": torch.tensor(2.5, dtype=torch.float64),
        "empty": torch.zeros(0, 4),
        "flags": torch.tensor([True, False]),
    }


def same(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> bool:
    return found.keys() == wanted.keys() and all(
        found[n].dtype == t.dtype and found[n].shape == t.shape and torch.equal(found[n], t)
        for n, t in wanted.items()
    )


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folders" / "x.safetensors"
    save_artefact(path, some_tensors(), META)
    tensors, meta = load_artefact(path)
    assert same(tensors, some_tensors())
    assert meta == META
    assert [file.name for file in path.parent.iterdir()] == ["x.safetensors"]


def test_tensors_that_share_memory_or_have_strides(tmp_path: Path) -> None:
    """The best parameters so far and the current ones are often the same tensor."""
    x = torch.arange(12.0, requires_grad=True)
    matrix = x.view(3, 4)
    tensors = {"params": x, "best": x, "turned": matrix.T, "part": x[3:6], "column": matrix[:, 1]}
    save_artefact(tmp_path / "a", tensors, {})
    assert same(load_artefact(tmp_path / "a")[0], {n: t.detach() for n, t in tensors.items()})


def test_no_tensors_only_metadata(tmp_path: Path) -> None:
    save_artefact(tmp_path / "a", {}, META)
    assert load_artefact(tmp_path / "a") == ({}, META)


def test_a_prefix_reads_those_tensors_alone(tmp_path: Path) -> None:
    path = tmp_path / "a"
    save_artefact(path, some_tensors(), META)
    assert load_artefact(path, "train")[0].keys() == {"train_x", "train_y"}
    assert load_artefact(path, "none") == ({}, META)
    path.write_bytes(damaged(path, some_tensors()["test_x"]))
    assert same(
        load_artefact(path, "train")[0], {n: some_tensors()[n] for n in ("train_x", "train_y")}
    )
    with pytest.raises(DamagedArtefact, match="wrong digest of test_x"):
        load_artefact(path, "test")


def damaged(path: Path, tensor: Tensor) -> bytes:
    """The file's bytes with the first byte of this tensor changed."""
    content, part = bytearray(path.read_bytes()), tensor.numpy().tobytes()
    place = content.rindex(part)
    content[place] ^= 1
    return bytes(content)


def test_every_byte_of_every_tensor_counts(tmp_path: Path) -> None:
    path = tmp_path / "a"
    tensors = some_tensors()
    del tensors["flags"]  # every byte but zero is the same True
    save_artefact(path, tensors, META)
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    assert len(content) - start == sum(t.numel() * t.element_size() for t in tensors.values())
    for place in range(start, len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x10]) + content[place + 1 :])
        with pytest.raises(DamagedArtefact, match="wrong digest of"):
            load_artefact(path)


@settings(
    max_examples=600, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(place=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
def test_a_changed_byte_anywhere_never_changes_what_is_read(
    tmp_path: Path, place: float, flip: int
) -> None:
    """Header and metadata too: what loads, loads as it was saved."""
    path = tmp_path / "a"
    save_artefact(path, some_tensors(), META)
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= flip
    path.write_bytes(content)
    try:
        tensors, meta = load_artefact(path)
        part, _ = load_artefact(path, "train")
    except DamagedArtefact:
        return
    assert same(tensors, some_tensors())
    assert meta == META
    assert same(part, {n: t for n, t in some_tensors().items() if n.startswith("train")})


def test_a_tensor_that_lost_its_name_is_missed(tmp_path: Path) -> None:
    path = tmp_path / "a"
    save_artefact(path, some_tensors(), META)
    path.write_bytes(path.read_bytes().replace(b'"train_x":{', b'"strange":{'))
    for prefix in ("", "train"):
        with pytest.raises(DamagedArtefact, match=r"strange|train_x"):
            load_artefact(path, prefix)
    assert load_artefact(path, "test")[0].keys() == {"test_x", "test_scalar"}


def test_metadata_counts_too(tmp_path: Path) -> None:
    path = tmp_path / "a"
    save_artefact(path, {}, {"accuracy": 0.25})
    path.write_bytes(path.read_bytes().replace(b"0.25", b"0.75"))
    with pytest.raises(DamagedArtefact, match="metadata"):
        load_artefact(path)


def test_what_was_read_does_not_follow_the_file(tmp_path: Path) -> None:
    """Safetensors maps files into memory: a file written over would change tensors in use."""
    path = tmp_path / "a"
    save_artefact(path, some_tensors(), META)
    tensors, _ = load_artefact(path)
    content = path.read_bytes()
    with path.open("r+b") as file:
        file.write(bytes(len(content)))
    assert same(tensors, some_tensors())


@pytest.mark.parametrize("lost", ["meta", "sha256", "checksum"])
def test_nothing_is_read_unchecked(tmp_path: Path, lost: str) -> None:
    path = tmp_path / "a"
    save_artefact(path, some_tensors(), META)
    with safe_open(path, framework="pt") as file:
        text = {name: value for name, value in file.metadata().items() if name != lost}
    safetensors.torch.save_file(some_tensors(), path, metadata=text)
    with pytest.raises(DamagedArtefact, match=lost):
        load_artefact(path)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.9, 0.999])
def test_a_truncated_file(tmp_path: Path, share: float) -> None:
    path = tmp_path / "a"
    save_artefact(path, some_tensors(), META)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(DamagedArtefact, match="cannot be read"):
        load_artefact(path)


def test_files_that_are_none_of_ours(tmp_path: Path) -> None:
    safetensors.torch.save_file(some_tensors(), tmp_path / "plain")
    torch.save(some_tensors(), tmp_path / "pickled")
    (tmp_path / "folder").mkdir()
    for name in ("plain", "pickled", "folder", "missing"):
        with pytest.raises(DamagedArtefact, match=f"{name}: cannot be read"):
            load_artefact(tmp_path / name)


def test_a_failed_write_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(tensors: object, path: Path, metadata: object) -> None:
        path.write_bytes(b"half of a file")
        raise OSError(28, "No space left on device")

    path = tmp_path / "a"
    monkeypatch.setattr(cache, "save_file", full_disk)
    with pytest.raises(UserError, match=r"a: cannot be written .*No space left on device"):
        save_artefact(path, some_tensors(), META)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    save_artefact(path, {"x": torch.ones(2)}, {"old": True})

    def killed(tensors: object, path: Path, metadata: object) -> None:
        path.write_bytes(b"half of a file")
        raise KeyboardInterrupt

    monkeypatch.setattr(cache, "save_file", killed)
    with pytest.raises(KeyboardInterrupt):
        save_artefact(path, {"x": torch.zeros(2)}, {"old": False})
    tensors, meta = load_artefact(path)
    assert tensors["x"].tolist() == [1, 1]
    assert meta == {"old": True}


def test_an_unwritable_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for path in (tmp_path / "file" / "a", tmp_path / "file" / "deeper" / "a"):
        with pytest.raises(UserError, match="a: cannot be written") as caught:
            save_artefact(path, {}, {})
        assert "\n" not in str(caught.value)
    assert (tmp_path / "file").read_text() == "in the way"


class Maker:
    """Counts how often it is asked."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        self.calls += 1
        return some_tensors(), META


def test_cached_makes_once(tmp_path: Path) -> None:
    make, path = Maker(), tmp_path / "folder" / "a"
    for _ in range(3):
        tensors, meta = cached(path, make)
        assert same(tensors, some_tensors())
        assert meta == META
    assert make.calls == 1
    assert cached(path, make, "train")[0].keys() == {"train_x", "train_y"}
    assert make.calls == 1


@pytest.mark.parametrize("kind", ["flipped", "truncated", "empty", "other", "missing"])
def test_cached_rebuilds_what_is_damaged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    make, path = Maker(), tmp_path / "a"
    save_artefact(path, some_tensors(), META)
    good = path.read_bytes()
    match kind:
        case "flipped":
            path.write_bytes(damaged(path, some_tensors()["train_x"]))
        case "truncated":
            path.write_bytes(good[:-1])
        case "empty":
            path.write_bytes(b"")
        case "other":
            safetensors.torch.save_file({"train_x": torch.zeros(3, 5)}, path)
        case "missing":
            path.unlink()
    tensors, _ = cached(path, make)
    assert same(tensors, some_tensors())
    assert make.calls == 1
    said = capsys.readouterr().err
    assert said.count("\n") == (kind != "missing")
    assert said.endswith("rebuilding it\n" if kind != "missing" else "")
    cached(path, make)
    assert make.calls == 1
